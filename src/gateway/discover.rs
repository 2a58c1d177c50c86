//! What can be bought: the search behind the MCP tool, and what one must know to call a provider. Open to everybody; it holds nothing secret.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Gateway,
    edge::{Response, respond_json},
    error::GatewayError,
    lengths::{check_name, shown},
    lookup::{Asker, look_up},
    providers::{CustomProvider, Ready, Registry, variables},
};
use crate::catalog::{self, Auth, Dialect, Item, Mode, Model, Provider};

const RESULTS_DEFAULT: usize = 8;
const RESULTS_MAX: usize = 25;
/// The longest question; the search itself looks at its first words only.
const QUERY_CHARS_MAX: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct SearchQuery {
    #[serde(default)]
    query: String,
    kind: Option<String>,
    provider: Option<String>,
    limit: Option<usize>,
    cursor: Option<usize>,
}

impl SearchQuery {
    fn check(&self) -> Result<(), GatewayError> {
        if self.query.chars().nth(QUERY_CHARS_MAX).is_some() {
            let message = format!("query: at most {QUERY_CHARS_MAX} characters are allowed; a few words find more");
            return Err(GatewayError::BadField { field: "query".to_owned(), message });
        }
        check_name("provider", self.provider.as_deref().unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Found {
    total: usize,
    results: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The search behind the MCP tool. Not part of Lava's API.
pub(super) async fn search(State(gateway): State<Arc<Gateway>>, Query(query): Query<SearchQuery>) -> Response {
    let found = match query.check() {
        Ok(()) => look_up(Asker::Anybody, move || find(&gateway, &query)).await.flatten(),
        Err(error) => Err(error),
    };
    respond_json(StatusCode::OK, found)
}

fn find(gateway: &Gateway, query: &SearchQuery) -> Result<Found, GatewayError> {
    let kind = match query.kind.as_deref().unwrap_or("any") {
        "any" => catalog::Kind::Any,
        "model" => catalog::Kind::Model,
        "service" => catalog::Kind::Service,
        _ => {
            return Err(GatewayError::BadField {
                field: "kind".to_owned(),
                message: "kind: \"model\", \"service\" or \"any\" is needed".to_owned(),
            });
        }
    };
    let registry = &gateway.registry;
    let readiness = registry.readiness();
    let ready = |id: &str| readiness.has(id);
    let provider = query.provider.as_deref().map(|id| known_as(registry, id));
    let hits = registry.catalog().find(&catalog::Query { text: &query.query, kind, provider: provider.as_deref(), ready: &ready });
    let custom = registry.custom.iter().filter(|_| kind != catalog::Kind::Service).flat_map(|custom| {
        let is_wanted = |model: &&String| {
            provider.as_deref().is_none_or(|provider| provider == custom.id)
                && (provider.is_some() && query.query.is_empty() || is_named(&query.query, &custom.id, model))
        };
        custom.models.iter().filter(is_wanted).map(move |model| (custom, model))
    });
    let custom: Vec<_> = custom.collect();
    let limit = query.limit.unwrap_or(RESULTS_DEFAULT).clamp(1, RESULTS_MAX);
    let start = query.cursor.unwrap_or(0);
    let total = custom.len() + hits.len();
    // Only what is shown is turned into results.
    let shown = custom.iter().map(Err).chain(hits.iter().map(Ok)).skip(start).take(limit);
    let results: Vec<Value> = shown
        .map(|found| match found {
            Err((custom, model)) => custom_result(custom, model, &readiness),
            Ok(hit) => match hit.item {
                Item::Model(model) => model_result(gateway, model, &readiness),
                Item::Provider(provider) => provider_result(gateway, provider, &readiness),
            },
        })
        .collect();
    let next = start.saturating_add(results.len());
    Ok(Found { total, results, next_cursor: (next < total).then(|| next.to_string()) })
}

/// The id of the provider that is meant, whose case people and models take from its name.
fn known_as(registry: &Registry, id: &str) -> String {
    let id = id.trim();
    let is_known = |id: &str| registry.custom(id).is_some() || registry.catalog().provider(id).is_some();
    if is_known(id) {
        return id.to_owned();
    }
    let lower = id.to_ascii_lowercase();
    let custom = registry.custom.iter().find(|custom| custom.id.eq_ignore_ascii_case(id));
    custom.map(|custom| custom.id.clone()).or_else(|| is_known(&lower).then_some(lower)).unwrap_or_else(|| id.to_owned())
}

/// Whether every word of a query stands in a configured model's name.
fn is_named(query: &str, provider: &str, model: &str) -> bool {
    let name = format!("{provider}/{model}").to_lowercase();
    !query.trim().is_empty() && query.to_lowercase().split_whitespace().all(|word| name.contains(word))
}

fn model_result(gateway: &Gateway, model: &Model, ready: &Ready<'_>) -> Value {
    let registry = &gateway.registry;
    let provider = registry.catalog().provider(&model.provider);
    let label = provider.map_or_else(|| model.provider.to_string(), |provider| provider.name.to_string());
    let mut facts = vec![format!("{} model by {label}", model.mode.as_str())];
    facts.extend(model.context.map(|context| format!("{context} tokens of context")));
    facts.extend(model.max_output.map(|max| format!("up to {max} tokens of output")));
    let capabilities: Vec<&str> = model.capabilities.iter().map(catalog::Capability::as_str).collect();
    if !capabilities.is_empty() {
        facts.push(capabilities.join(", "));
    }
    if model.retired {
        facts.push("retired".to_owned());
    }
    let (url, example) = match (provider, model.mode) {
        (Some(provider), Mode::Chat) if provider.dialect == Dialect::Openai => {
            (endpoint(provider, "chat/completions"), chat_example(&model.id))
        }
        (Some(provider), Mode::Embedding) if provider.dialect == Dialect::Openai => {
            (endpoint(provider, "embeddings"), json!({"model": model.id, "input": "Hello"}))
        }
        (Some(provider), _) => (provider.base_url.to_string(), chat_example(&model.id)),
        (None, _) => (String::new(), Value::Null),
    };
    json!({
        "id": format!("{}/{}", model.provider, model.id), "kind": "model", "provider": model.provider, "label": model.id,
        "summary": facts.join("; "), "method": "POST", "url": url, "example_body": example, "pricing": pricing(model),
        "credentials": credentials(gateway, provider, ready), "docs_url": provider.map(|provider| &provider.docs),
    })
}

fn provider_result(gateway: &Gateway, provider: &Provider, ready: &Ready<'_>) -> Value {
    let models = gateway.registry.catalog().models().iter().filter(|model| model.provider == (*provider.id).into());
    let count = models.count();
    json!({
        "id": provider.id, "kind": "service", "provider": provider.id, "label": provider.name,
        "summary": format!("AI provider with {count} models in the catalog; speaks the {} dialect", provider.dialect.as_str()),
        "method": "POST", "url": endpoint(provider, "chat/completions"), "example_body": Value::Null, "pricing": Value::Null,
        "credentials": credentials(gateway, Some(provider), ready), "docs_url": provider.docs,
    })
}

fn custom_result(custom: &CustomProvider, model: &str, ready: &Ready<'_>) -> Value {
    let price = custom.prices.as_ref().map(|prices| per_million(&prices.rates));
    json!({
        "id": format!("{}/{model}", custom.id), "kind": "model", "provider": custom.id, "label": model,
        "summary": format!("chat model of {}, a provider from the config file", custom.id), "method": "POST",
        "url": super::route::below(&custom.base_url, "chat/completions").as_str(), "example_body": chat_example(model), "pricing": price,
        "credentials": custom_credentials(custom, ready), "docs_url": Value::Null,
    })
}

fn chat_example(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100})
}

fn endpoint(provider: &Provider, path: &str) -> String {
    if provider.dialect == Dialect::Openai {
        format!("{}/{path}", provider.base_url.trim_end_matches('/'))
    } else {
        provider.base_url.to_string()
    }
}

/// Prices in US dollars per million tokens, as decimal strings; other units say what they count.
fn pricing(model: &Model) -> Value {
    if let Some(prices) = model.prices() {
        return per_million(&prices.rates);
    }
    let units = model.units.iter().map(|(unit, rate)| (format!("per_million_{}", unit.as_str()), json!(rate.to_per_million())));
    Value::Object(std::iter::once(("type".to_owned(), json!("other"))).chain(units).collect())
}

fn per_million(rates: &catalog::Rates) -> Value {
    let text = |rate: Option<crate::domain::Rate>| rate.map(crate::domain::Rate::to_per_million);
    json!({
        "type": "tokens_1m", "input": rates.input.to_per_million(), "output": rates.output.to_per_million(),
        "cache_input_read": text(rates.cache_read), "cache_input_write": text(rates.cache_write), "cost_per_request": text(rates.request),
    })
}

fn credentials(gateway: &Gateway, provider: Option<&Provider>, ready: &Ready<'_>) -> &'static str {
    match provider {
        _ if gateway.sandbox => "not_needed",
        Some(provider) if provider.auth == Auth::None => "not_needed",
        Some(provider) if ready.has(&provider.id) => "ready",
        _ => "missing",
    }
}

/// What one must know to call a provider. Not part of Lava's API.
pub(super) async fn provider(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let look = move || {
        let registry = &gateway.registry;
        let id = known_as(registry, &id);
        let found = registry.catalog().provider(&id).map(|provider| provider_docs(&gateway, provider));
        let custom = registry.custom(&id).map(|custom| custom_docs(custom, &registry.readiness()));
        custom.or(found).ok_or_else(|| GatewayError::NotFound(format!("provider {}", shown(&id))))
    };
    respond_json(StatusCode::OK, look_up(Asker::Anybody, look).await.flatten())
}

fn provider_docs(gateway: &Gateway, provider: &Provider) -> Value {
    let models: Vec<&Model> = gateway
        .registry
        .catalog()
        .models()
        .iter()
        .filter(|model| *model.provider == *provider.id && !model.retired && model.prices().is_some())
        .collect();
    let example = models
        .iter()
        .find(|model| model.mode == Mode::Chat)
        .map(|model| json!({"method": "POST", "url": endpoint(provider, "chat/completions"), "body": chat_example(&model.id)}));
    let endpoints = if provider.dialect == Dialect::Openai {
        json!([
            {"method": "POST", "url": endpoint(provider, "chat/completions"), "summary": "Chat completions, plain or streamed"},
            {"method": "POST", "url": endpoint(provider, "embeddings"), "summary": "Embeddings, where the provider has them"},
            {"method": "GET", "url": endpoint(provider, "models"), "summary": "The provider's models; free"},
        ])
    } else {
        json!([])
    };
    let how = match &provider.auth {
        Auth::None => "none".to_owned(),
        Auth::Bearer => "Authorization: Bearer <key>".to_owned(),
        Auth::Header { name, prefix } => format!("{name}: {prefix}<key>"),
        Auth::Query { name } => format!("?{name}=<key>"),
    };
    json!({
        "provider": provider.id, "docs_url": provider.docs, "endpoints": endpoints,
        "auth": {"added_by": "gateway", "form": how, "variables": variables(provider), "credentials": credentials(gateway, Some(provider), &gateway.registry.readiness())},
        "example": example,
        "text": format!(
            "{} speaks the {} dialect. {} models with a price, such as {}. The gateway adds the credential; never put one into a request.",
            provider.name, provider.dialect.as_str(), models.len(),
            models.iter().take(5).map(|model| &*model.id).collect::<Vec<_>>().join(", "),
        ),
    })
}

fn custom_credentials(custom: &CustomProvider, ready: &Ready<'_>) -> &'static str {
    match custom.api_key_env {
        None => "not_needed",
        Some(_) if ready.has(&custom.id) => "ready",
        Some(_) => "missing",
    }
}

fn custom_docs(custom: &CustomProvider, ready: &Ready<'_>) -> Value {
    let url = super::route::below(&custom.base_url, "chat/completions");
    json!({
        "provider": custom.id, "docs_url": Value::Null,
        "endpoints": [{"method": "POST", "url": url.as_str(), "summary": "Chat completions, plain or streamed"}],
        "auth": {"added_by": "gateway", "form": if custom.api_key_env.is_some() { "Authorization: Bearer <key>" } else { "none" },
                 "variables": custom.api_key_env.iter().collect::<Vec<_>>(), "credentials": custom_credentials(custom, ready)},
        "example": custom.models.first().map(|model| json!({"method": "POST", "url": url.as_str(), "body": chat_example(model)})),
        "text": format!("{} is a provider from the config file, with the models {}.", custom.id, custom.models.join(", ")),
    })
}
