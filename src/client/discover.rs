//! Finding what can be bought. Our gateway has one route for it; hosted Lava has a public catalog of services, from which the same results are made.

use http::Method;
use serde_json::{Value, json};

use super::{Client, ClientError, SearchPage, segment};

/// Providers of a hosted catalog whose services are looked at for one search.
const PROVIDERS_MAX: usize = 3;
const RESULTS_DEFAULT: usize = 8;

impl Client {
    /// Searches models and providers.
    ///
    /// # Errors
    /// [`ClientError`] when the gateway does not answer.
    pub async fn search(&self, parameters: &[(&str, String)]) -> Result<SearchPage, ClientError> {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        match self.json(Method::GET, &format!("/v1/lava_mcp/search?{query}"), self.looker.as_ref(), None).await {
            Err(ClientError::Refused { status: 401..=405, .. }) => self.search_services(parameters).await,
            page => page,
        }
    }

    /// What one must know to call a provider.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with status 404 when there is no such provider.
    pub async fn provider_docs(&self, id: &str) -> Result<Value, ClientError> {
        match self.json(Method::GET, &format!("/v1/lava_mcp/providers/{}", segment(id)), self.looker.as_ref(), None).await {
            // Our gateway says so of an unknown provider; a gateway without the route says something else.
            Err(ClientError::Refused { status: 404, code, message, details, request_id })
                if code == "not_found" && message.contains("provider") =>
            {
                Err(ClientError::Refused { status: 404, code, message, details, request_id })
            }
            Err(ClientError::Refused { status: 401..=405, .. }) => self.service_docs(id).await,
            docs => docs,
        }
    }

    /// The search over hosted Lava's catalog: providers by the words of the query, then what they offer.
    async fn search_services(&self, parameters: &[(&str, String)]) -> Result<SearchPage, ClientError> {
        let parameter = |wanted: &str| {
            parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let providers = match parameter("provider") {
            Some(provider) => vec![provider.to_owned()],
            None => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("query", parameter("query").unwrap_or_default())
                    .finish();
                let found: Value = self.json(Method::GET, &format!("/v1/services/providers?{query}"), None, None).await?;
                list(&found, "providers").iter().take(PROVIDERS_MAX).filter_map(|provider| Some(text(provider, "id")?.to_owned())).collect()
            }
        };
        let mut results = Vec::new();
        for provider in providers {
            let services: Value = self.json(Method::GET, &format!("/v1/services?provider={}", segment(&provider)), None, None).await?;
            results.extend(list(&services, "services").iter().map(result_of));
        }
        if let Some(kind) = parameter("kind").filter(|kind| *kind != "any") {
            results.retain(|result| text(result, "kind") == Some(kind));
        }
        let start: usize = parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
        let limit = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(RESULTS_DEFAULT);
        let total = results.len();
        let page: Vec<Value> = results.into_iter().skip(start).take(limit).collect();
        let next = start.saturating_add(page.len());
        Ok(SearchPage { total, results: page, next_cursor: (next < total).then(|| next.to_string()), note: None })
    }

    async fn service_docs(&self, id: &str) -> Result<Value, ClientError> {
        let provider: Value = self.json(Method::GET, &format!("/v1/services/providers/{}", segment(id)), None, None).await?;
        let services: Value = self.json(Method::GET, &format!("/v1/services?provider={}", segment(id)), None, None).await?;
        let endpoints = list(&services, "services").iter().map(|service| {
            json!({"method": text(service, "method").unwrap_or("POST"), "url": address(service), "summary": text(service, "endpoint").or_else(|| text(service, "id"))})
        });
        let example = list(&services, "services").iter().find(|service| !service["example_body"].is_null()).map(|service| {
            json!({"method": text(service, "method").unwrap_or("POST"), "url": address(service), "body": service["example_body"]})
        });
        Ok(json!({
            "provider": id, "docs_url": text(&provider, "api_reference"), "endpoints": endpoints.collect::<Vec<_>>(),
            "auth": {"added_by": "gateway", "credentials": readiness(&provider)}, "example": example, "text": text(&provider, "label"),
        }))
    }
}

/// The items of an answer: a bare array, or below `data` or a name of their own.
fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    let items = answer.as_array().or_else(|| answer.get("data")?.as_array()).or_else(|| answer.get(name)?.as_array());
    items.map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn address(service: &Value) -> &str {
    text(service, "url_template").or_else(|| text(service, "endpoint")).unwrap_or_default()
}

/// Lava pays managed services itself; for the others the user has to connect a key there.
fn readiness(service: &Value) -> &'static str {
    if service.get("managed").and_then(Value::as_bool).unwrap_or(false) { "ready" } else { "missing" }
}

fn result_of(service: &Value) -> Value {
    let id = text(service, "id").unwrap_or_default();
    let is_model = service.pointer("/pricing/type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("tokens"));
    let label = text(service, "provider_label").or_else(|| text(service, "provider")).unwrap_or_default();
    let abilities: Vec<&str> = service["capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut result = json!({
        "id": id, "kind": if is_model { "model" } else { "service" }, "provider": text(service, "provider").unwrap_or_default(), "label": id,
        "summary": format!("{} by {label}; {}", text(service, "service_type").unwrap_or("service"), abilities.join(", ")),
        "method": text(service, "method").unwrap_or("POST"), "url": address(service), "example_body": service["example_body"],
        "pricing": service["pricing"], "credentials": readiness(service), "docs_url": text(service, "api_reference"),
        "available": readiness(service) == "ready",
    });
    if readiness(service) != "ready" {
        result["unavailable_reason"] = format!("Lava does not pay {label} itself; connect a key for it in your Lava account").into();
    }
    result
}
