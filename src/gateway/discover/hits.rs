//! A result of the search: what it is, and a request for it that can be sent as it is, or why it would be refused.

use serde_json::{Value, json};
use url::Url;

use super::Hit;
use crate::{
    catalog::{self, Auth, Model, Provider, Rates},
    domain::{Rate, RequestShape},
    gateway::{
        offers::{Endpoint, Offers},
        providers::CustomProvider,
        route::below,
        sellers::Seller,
        unavailable::Unavailable,
    },
};

pub(super) fn result(offers: &Offers<'_>, hit: &Hit<'_>) -> Value {
    match *hit {
        Hit::Model(seller) => of_model(offers, &seller),
        Hit::Own(custom) => of_own(offers, custom),
        Hit::Service(provider) => of_service(offers, provider),
    }
}

/// Adds whether it can be bought, and why not.
fn with_availability(mut result: Value, check: Result<(), Unavailable>) -> Value {
    result["available"] = check.is_ok().into();
    if let Err(why) = check {
        result["unavailable_reason"] = why.reason().into();
    }
    result
}

fn of_model(offers: &Offers<'_>, seller: &Seller<'_>) -> Value {
    let (url, example) = request(offers, seller);
    let call = offers.check_call(seller).map(drop);
    let (mut summary, pricing, docs) = match seller {
        Seller::Catalog(provider, model) => (facts(provider, model), pricing(model), json!(provider.docs)),
        Seller::Custom(custom, _) => {
            let prices = custom.prices.as_ref().map(|prices| per_million(&prices.rates));
            (format!("chat model of {}, a provider from the config file", custom.id), json!(prices), Value::Null)
        }
        Seller::Local(server, _) => {
            let free = json!(per_million(&catalog::Prices::free().rates));
            (format!("chat model of {}, a model server on this machine; free", server.id), free, Value::Null)
        }
    };
    let mut tools = Vec::new();
    if can_be_prompted(offers, seller) {
        tools.push("prompt");
    } else if call.is_ok() && !matches!(offers.endpoint_of(seller), Ok(Endpoint::Embeddings)) {
        summary.push_str("; ask it with `call`: `prompt` does not translate to its dialect");
    }
    // A server on this machine has no address that `call` may go to.
    if call.is_ok() && !matches!(seller, Seller::Local(..)) {
        tools.push("call");
    }
    let result = json!({
        "id": seller.full_name(), "kind": "model", "provider": seller.provider(), "label": seller.model(), "summary": summary, "method": "POST",
        "url": url, "example_body": example, "pricing": pricing, "credentials": credentials(offers, seller), "docs_url": docs, "tools": tools,
    });
    with_availability(result, call)
}

/// Whether chat completions, and so the tool `prompt`, reach it.
fn can_be_prompted(offers: &Offers<'_>, seller: &Seller<'_>) -> bool {
    let has_shape = offers.key.is_none_or(|key| key.is_of_secret_key() || key.settings.shape == RequestShape::Openai);
    has_shape && offers.check(seller, Endpoint::ChatCompletions).is_ok()
}

/// The address at which a model is asked, and a body for it; the bare address of the provider where nothing here asks it.
pub(super) fn request(offers: &Offers<'_>, seller: &Seller<'_>) -> (String, Value) {
    let endpoint = offers.endpoint_of(seller).ok();
    let base = match seller {
        Seller::Custom(custom, _) => custom.base_url.as_str(),
        Seller::Local(server, _) => server.base_url.as_str(),
        Seller::Catalog(provider, _) => &offers.served(provider).unwrap_or(provider).base_url,
    };
    match endpoint {
        Some(endpoint) => (address(base, endpoint.path()), example(endpoint, seller.model())),
        None => (base.to_owned(), Value::Null),
    }
}

/// A body that asks a model through an endpoint.
pub(super) fn example(endpoint: Endpoint, model: &str) -> Value {
    match endpoint {
        Endpoint::Embeddings => json!({"model": model, "input": "Hello"}),
        // The same in both dialects, as short as it is.
        Endpoint::ChatCompletions | Endpoint::Messages | Endpoint::CountTokens => {
            json!({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100})
        }
    }
}

/// An address below a base address, which may have parts that are the customer's own.
pub(super) fn address(base: &str, path: &str) -> String {
    match Url::parse(base) {
        Ok(url) if !base.contains('{') => below(&url, path).to_string(),
        _ => format!("{}/{path}", base.trim_end_matches('/')),
    }
}

fn facts(provider: &Provider, model: &Model) -> String {
    let mut facts = vec![format!("{} model by {}", model.mode.as_str(), provider.name)];
    facts.extend(model.context.map(|context| format!("{context} tokens of context")));
    facts.extend(model.max_output.map(|max| format!("up to {max} tokens of output")));
    let capabilities: Vec<&str> = model.capabilities.iter().map(catalog::Capability::as_str).collect();
    if !capabilities.is_empty() {
        facts.push(capabilities.join(", "));
    }
    if model.retired {
        facts.push("retired: the provider may refuse it".to_owned());
    }
    facts.join("; ")
}

fn of_service(offers: &Offers<'_>, provider: &'static Provider) -> Value {
    let served = offers.served(provider).unwrap_or(provider);
    let seller = served.models_of.as_deref().unwrap_or(&provider.id);
    let count = offers.registry.catalog().models().iter().filter(|model| *model.provider == *seller).count();
    let url = if offers.served(provider).is_ok() { address(&served.base_url, "models") } else { served.base_url.to_string() };
    let result = json!({
        "id": provider.id, "kind": "service", "provider": provider.id, "label": provider.name,
        "summary": format!(
            "AI provider with {count} models in the catalog; speaks the {} dialect. Its address lists its models, for free",
            served.dialect.as_str()
        ),
        "method": "GET", "url": url, "example_body": Value::Null, "pricing": Value::Null,
        "credentials": of_catalog(offers, provider), "docs_url": provider.docs, "tools": ["call"],
    });
    with_availability(result, offers.check_provider(provider).map(drop))
}

fn of_own(offers: &Offers<'_>, custom: &CustomProvider) -> Value {
    let result = json!({
        "id": custom.id, "kind": "service", "provider": custom.id, "label": custom.id,
        "summary": "a provider from the config file; its address lists its models, for free", "method": "GET",
        "url": address(custom.base_url.as_str(), "models"), "example_body": Value::Null, "pricing": Value::Null,
        "credentials": of_custom(offers, custom), "docs_url": Value::Null, "tools": ["call"],
    });
    with_availability(result, offers.check_own(custom))
}

/// Prices in US dollars per million tokens, as decimal strings; other units say what they count.
fn pricing(model: &Model) -> Value {
    if let Some(prices) = model.prices() {
        return per_million(&prices.rates);
    }
    let units = model.units.iter().map(|(unit, rate)| (format!("per_million_{}", unit.as_str()), json!(rate.to_per_million())));
    Value::Object(std::iter::once(("type".to_owned(), json!("other"))).chain(units).collect())
}

fn per_million(rates: &Rates) -> Value {
    let text = |rate: Option<Rate>| rate.map(Rate::to_per_million);
    json!({
        "type": "tokens_1m", "input": rates.input.to_per_million(), "output": rates.output.to_per_million(),
        "cache_input_read": text(rates.cache_read), "cache_input_write": text(rates.cache_write), "cost_per_request": text(rates.request),
    })
}

/// Whether the key that a seller wants is there.
fn credentials(offers: &Offers<'_>, seller: &Seller<'_>) -> &'static str {
    match seller {
        Seller::Custom(custom, _) => of_custom(offers, custom),
        Seller::Catalog(provider, _) => of_catalog(offers, provider),
        Seller::Local(..) => "not_needed",
    }
}

pub(super) fn of_catalog(offers: &Offers<'_>, provider: &'static Provider) -> &'static str {
    // The key of the address that is called.
    let provider = offers.served(provider).unwrap_or(provider);
    match provider.auth {
        _ if offers.is_sandbox => "not_needed",
        Auth::None => "not_needed",
        _ if offers.has_key(provider) => "ready",
        _ => "missing",
    }
}

pub(super) fn of_custom(offers: &Offers<'_>, custom: &CustomProvider) -> &'static str {
    match custom.api_key_env {
        None => "not_needed",
        Some(_) if offers.is_sandbox => "not_needed",
        Some(_) if offers.has_own_key(custom) => "ready",
        Some(_) => "missing",
    }
}
