//! What one must know to call a provider: its addresses, where its key goes, and a request that can be sent, or why it would be refused.

use serde_json::{Value, json};

use super::hits::{address, example, of_catalog as credentials_of, of_custom, request};
use crate::{
    catalog::{Auth, Dialect, Mode, Model, Provider},
    gateway::{
        local::LocalServer,
        offers::{Endpoint, Offers},
        providers::CustomProvider,
        sellers::Seller,
    },
};

/// Names of models that are shown.
const SHOWN: usize = 5;

/// A provider of the catalog.
pub(super) fn of_catalog(offers: &Offers<'_>, provider: &'static Provider) -> Value {
    let served = offers.served(provider);
    let at = served.clone().unwrap_or(provider);
    let seller = at.models_of.as_deref().unwrap_or(&provider.id);
    let models: Vec<&'static Model> = offers
        .registry
        .catalog()
        .models()
        .iter()
        .filter(|model| *model.provider == *seller && !model.retired && model.prices().is_some())
        .collect();
    let sold: Vec<Seller<'_>> = models.iter().map(|model| Seller::Catalog(provider, model)).collect();
    let chat = |seller: &&Seller<'_>| matches!(seller, Seller::Catalog(_, model) if model.mode == Mode::Chat);
    let can_buy: Vec<&Seller<'_>> = sold.iter().filter(|seller| offers.check_call(seller).is_ok()).collect();
    let best = can_buy.iter().copied().find(chat).or_else(|| sold.iter().find(chat));
    let example = best.filter(|_| served.is_ok()).map(|seller| {
        let (url, body) = request(offers, seller);
        json!({"method": "POST", "url": url, "body": body})
    });
    let how = match &at.auth {
        Auth::None => "none".to_owned(),
        Auth::Bearer => "Authorization: Bearer <key>".to_owned(),
        Auth::Header { name, prefix } => format!("{name}: {prefix}<key>"),
        Auth::Query { name } => format!("?{name}=<key>"),
    };
    let names = || can_buy.iter().take(SHOWN).map(|seller| seller.model()).collect::<Vec<_>>().join(", ");
    let not_now = offers.nothing_of(provider, &sold).map(|why| why.reason());
    let state = match &not_now {
        None => format!("{} of them can be bought now, such as {}.", can_buy.len(), names()),
        Some(why) => format!("Nothing of it can be bought now: {why}."),
    };
    let variables = offers.registry.key_names(at).variables;
    json!({
        "provider": provider.id, "docs_url": provider.docs, "endpoints": endpoints(served.ok().map(|at| (at.dialect, &*at.base_url))),
        "auth": {"added_by": "gateway", "form": how, "variables": variables, "credentials": credentials_of(offers, provider)},
        "example": example, "available": not_now.is_none(), "unavailable_reason": not_now,
        "text": format!(
            "{} speaks the {} dialect. {} models with a price in the catalog. {state} The gateway adds the credential; never put one into a request.",
            provider.name, at.dialect.as_str(), models.len(),
        ),
    })
}

/// A provider of the config file.
pub(super) fn of_own(offers: &Offers<'_>, custom: &CustomProvider) -> Value {
    let check = offers.check_own(custom);
    let example = custom.models.first().map(|model| {
        let (url, body) = request(offers, &Seller::Custom(custom, model));
        json!({"method": "POST", "url": url, "body": body})
    });
    let form = match (&custom.api_key_env, custom.dialect) {
        (None, _) => "none",
        (Some(_), Dialect::Anthropic) => "x-api-key: <key>",
        (Some(_), _) => "Authorization: Bearer <key>",
    };
    let state = check.as_ref().err().map(|why| format!(" Nothing of it can be bought now: {}.", why.reason())).unwrap_or_default();
    json!({
        "provider": custom.id, "docs_url": Value::Null, "endpoints": endpoints(Some((custom.dialect, custom.base_url.as_str()))),
        "auth": {"added_by": "gateway", "form": form, "variables": custom.variables(), "credentials": of_custom(offers, custom)},
        "example": example, "available": check.is_ok(), "unavailable_reason": check.err().map(|why| why.reason()),
        "text": format!("{} is a provider from the config file, with the models {}.{state}", custom.id, custom.models.join(", ")),
    })
}

/// A model server on this machine.
pub(super) fn of_local(server: &LocalServer) -> Value {
    let url = address(server.base_url.as_str(), Endpoint::ChatCompletions.path());
    let body = |model: &String| example(Endpoint::ChatCompletions, model);
    json!({
        "provider": server.id, "docs_url": Value::Null, "endpoints": endpoints(Some((Dialect::Openai, server.base_url.as_str()))),
        "auth": {"added_by": "gateway", "form": "none", "variables": [], "credentials": "not_needed"},
        "example": server.models.first().map(|model| json!({"method": "POST", "url": url, "body": body(model)})), "available": true,
        "text": format!("{} is a model server on this machine, with the models {}. It is free.", server.id, server.models.join(", ")),
    })
}

/// What can be called below an address.
fn endpoints(served: Option<(Dialect, &str)>) -> Value {
    let of =
        |method: &str, path: &str, base: &str, summary: &str| json!({"method": method, "url": address(base, path), "summary": summary});
    match served {
        Some((Dialect::Openai, base)) => json!([
            of("POST", Endpoint::ChatCompletions.path(), base, "Chat completions, plain or streamed"),
            of("POST", Endpoint::Embeddings.path(), base, "Embeddings, where the provider has them"),
            of("GET", "models", base, "The provider's models; free"),
        ]),
        Some((Dialect::Anthropic, base)) => json!([
            of("POST", Endpoint::Messages.path(), base, "Messages, plain or streamed"),
            of("POST", Endpoint::CountTokens.path(), base, "Counts the tokens of a message; free"),
            of("GET", "models", base, "The provider's models; free"),
        ]),
        _ => json!([]),
    }
}
