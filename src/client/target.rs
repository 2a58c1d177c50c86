//! What a call is to go to: an address as it is, or a name of the catalog, from which the search makes an address. The MCP tool and the command line read it alike.

use http::Method;
use serde_json::{Map, Value};

use super::{Client, ClientError};

/// As many results are looked at for a name.
const RESULTS_MAX: &str = "25";
/// As many names are suggested.
const NEAREST_MAX: usize = 3;

/// An address to call, and what to send there.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address.
    pub url: String,
    /// The body, with the model in it where a model was named.
    pub body: Option<Map<String, Value>>,
    /// The model that was named.
    model: Option<String>,
    /// The verb that it wants, where that is known.
    method: Option<Method>,
    /// A body that could be sent there.
    example: Value,
}

/// Why nothing can be called under a name, by what the caller can do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TargetError {
    /// Another name is needed.
    #[error(
        "\"{named}\" is neither an address nor an id of the catalog{}{}",
        listed("; the nearest: ", nearest),
        listed("; that provider has ", endpoints)
    )]
    Unknown {
        /// What was asked for.
        named: String,
        /// Models that may have been meant.
        nearest: Vec<String>,
        /// The addresses of the provider that it begins with.
        endpoints: Vec<String>,
    },
    /// It is known, and has no address that can be called.
    #[error("{named} cannot be called now: {reason}")]
    NotNow {
        /// What was asked for.
        named: String,
        /// Why.
        reason: String,
    },
    /// A body is needed.
    #[error("this address needs a body{}", example_words(example))]
    NeedsBody {
        /// One that could be sent; null where none is known.
        example: Value,
    },
    /// The body has to go, or the verb.
    #[error("a GET request has no body; leave the body out, or use POST")]
    NoBodyWithGet,
    /// The gateway cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn listed(before: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{before}{}", names.join(", ")) }
}

fn example_words(example: &Value) -> String {
    if example.is_null() { String::new() } else { format!(", such as {example}") }
}

impl Target {
    /// The same with a body, in which the model that was named is put where it names none.
    #[must_use]
    pub fn with_body(mut self, body: Option<Map<String, Value>>) -> Self {
        self.body = body;
        if let (Some(body), Some(model)) = (&mut self.body, &self.model) {
            body.entry("model").or_insert_with(|| model.as_str().into());
        }
        self
    }

    /// Whether it is known to take no body.
    pub fn takes_no_body(&self) -> bool {
        self.method == Some(Method::GET)
    }

    /// The verb: the one that was given, else POST with a body and GET without, where the address is not known to want the other.
    ///
    /// # Errors
    /// [`TargetError::NoBodyWithGet`] and [`TargetError::NeedsBody`].
    pub fn method(&self, given: Option<Method>) -> Result<Method, TargetError> {
        match (given, &self.body) {
            (Some(Method::GET), Some(_)) => Err(TargetError::NoBodyWithGet),
            (Some(given), _) => Ok(given),
            (None, Some(_)) => Ok(Method::POST),
            (None, None) if self.method == Some(Method::POST) => Err(TargetError::NeedsBody { example: self.example.clone() }),
            (None, None) => Ok(Method::GET),
        }
    }
}

impl Client {
    /// Finds what is called so:
    ///
    /// - an address, with or without its scheme, stays what it is;
    /// - the id of a model or provider becomes its address;
    /// - a model without its provider goes to the first seller that can be bought from;
    /// - `provider/path`, such as `openai/embeddings`, is an address of that provider.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn find_target(&self, named: &str) -> Result<Target, TargetError> {
        let named = named.trim();
        if named.contains("://") {
            return Ok(of_address(named));
        }
        // Somebody's own provider may have a point in its name, as a host has.
        let exact = self.model_by_id(named).await?;
        if exact.is_none() && is_address(named) {
            return Ok(of_address(named));
        }
        if let Some(hit) = exact.as_ref().filter(|hit| is_available(hit)) {
            return of_hit(hit, named);
        }
        let page = self.search(&[("query", named.to_owned()), ("limit", RESULTS_MAX.to_owned())]).await?;
        // A name with a slash in it may be that of a model which somebody else sells under its maker's name.
        let called = meant(&page.results, named);
        if let Some(hit) = called.filter(|hit| is_available(hit)).or(exact.as_ref()).or(called) {
            return of_hit(hit, named);
        }
        let endpoints = match self.below_provider(named).await? {
            Ok(target) => return Ok(target),
            Err(endpoints) => endpoints,
        };
        let found = || page.results.iter().take(NEAREST_MAX).map(|hit| text(hit, "id").to_owned()).collect();
        // Who names a provider means one of its addresses; the words of the name find others.
        let found = || if endpoints.is_empty() { found() } else { Vec::new() };
        let nearest = self.models_near(named).await.unwrap_or_else(found);
        Err(TargetError::Unknown { named: named.to_owned(), nearest, endpoints })
    }

    /// The model with exactly this id, `provider/model`, as a search shows it. A search over all sellers shows one of them for a model, so the one that is named is asked for.
    ///
    /// # Errors
    /// [`ClientError`] when the gateway does not answer.
    pub async fn model_by_id(&self, id: &str) -> Result<Option<Value>, ClientError> {
        let Some((provider, model)) = id.split_once('/').filter(|(provider, model)| !provider.is_empty() && !model.is_empty()) else {
            return Ok(None);
        };
        let parameters = [("query", model), ("provider", provider), ("kind", "model"), ("limit", RESULTS_MAX)];
        let page = self.search(&parameters.map(|(name, value)| (name, value.to_owned()))).await?;
        Ok(page.results.into_iter().find(|hit| text(hit, "id").eq_ignore_ascii_case(id)))
    }

    /// Names of models that are written almost so; a search looks for words.
    async fn models_near(&self, named: &str) -> Option<Vec<String>> {
        let Err(ClientError::Refused { details, .. }) = self.model(named).await else { return None };
        let near: Vec<String> = serde_json::from_value(details.get("nearest")?.clone()).ok()?;
        (!near.is_empty()).then_some(near)
    }

    /// The address behind `provider/path`, or those that the provider has.
    async fn below_provider(&self, named: &str) -> Result<Result<Target, Vec<String>>, TargetError> {
        let Some((provider, path)) = named.split_once('/').filter(|(provider, path)| !provider.is_empty() && !path.is_empty()) else {
            return Ok(Err(Vec::new()));
        };
        let docs = match self.provider_docs(provider).await {
            Ok(docs) => docs,
            Err(ClientError::Refused { status: 404, .. }) => return Ok(Err(Vec::new())),
            Err(error) => return Err(error.into()),
        };
        let endpoints = docs.get("endpoints").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let path = path.trim_matches('/');
        let path = path.strip_prefix("v1/").unwrap_or(path);
        let base = endpoints.iter().find_map(|endpoint| text(endpoint, "url").strip_suffix("models"));
        let found = endpoints.iter().find(|endpoint| base.is_some_and(|base| text(endpoint, "url").strip_prefix(base) == Some(path)));
        let Some(endpoint) = found else { return Ok(Err(endpoints.iter().map(|endpoint| text(endpoint, "url").to_owned()).collect())) };
        let url = text(endpoint, "url").to_owned();
        let example = docs.get("example").filter(|example| text(example, "url") == url).and_then(|example| example.get("body"));
        Ok(Ok(Target { url, body: None, model: None, method: method_of(endpoint), example: example.cloned().unwrap_or_default() }))
    }
}

/// Whether it begins with the name of a host. A model may have a point in its name too, but nothing behind it.
fn is_address(named: &str) -> bool {
    let host = named.split_once('/').map(|(host, _)| host);
    host.is_some_and(|host| host.contains('.') || is_this_machine(host))
}

fn of_address(url: &str) -> Target {
    Target { url: url.to_owned(), body: None, model: None, method: None, example: Value::Null }
}

fn is_this_machine(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    name == "localhost" && port.parse::<u16>().is_ok()
}

/// The result that has this id; else the first that can be bought, or else the first, of those whose name it is.
fn meant<'a>(hits: &'a [Value], named: &str) -> Option<&'a Value> {
    let is = |hit: &&Value, field: &str| text(hit, field).eq_ignore_ascii_case(named);
    let mut called = hits.iter().filter(|hit| is(hit, "label")).peekable();
    let first = called.peek().copied();
    hits.iter().find(|hit| is(hit, "id")).or_else(|| called.find(|hit| is_available(hit))).or(first)
}

fn of_hit(hit: &Value, named: &str) -> Result<Target, TargetError> {
    let url = text(hit, "url");
    let is_model = text(hit, "kind") == "model";
    let has_gap = url.contains('{');
    // A gap in an address is for what is the customer's own. Of a model without an example, nobody knows how it is asked.
    if url.is_empty() || (!is_available(hit) && (has_gap || (is_model && hit.get("example_body").is_some_and(Value::is_null)))) {
        let reason = Some(text(hit, "unavailable_reason")).filter(|reason| !reason.is_empty()).unwrap_or("it has no address");
        return Err(TargetError::NotNow { named: named.to_owned(), reason: reason.to_owned() });
    }
    let model = is_model.then(|| text(hit, "label").to_owned());
    let example = hit.get("example_body").cloned().unwrap_or_default();
    Ok(Target { url: url.to_owned(), body: None, model, method: method_of(hit), example })
}

fn method_of(entry: &Value) -> Option<Method> {
    text(entry, "method").parse().ok()
}

fn is_available(hit: &Value) -> bool {
    hit.get("available").and_then(Value::as_bool).unwrap_or(true)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_told_from_a_name() {
        for named in ["api.openai.com/v1/models", "localhost:8000/v1/models", "127.0.0.1:8000/v1"] {
            assert!(is_address(named), "{named}");
        }
        for named in ["openai", "gpt-4.1-mini", "openai/gpt-4.1", "openai/embeddings", "llama3:8b", "localhost:x/y", "house/m"] {
            assert!(!is_address(named), "{named}");
        }
    }

    #[test]
    fn a_bare_name_goes_to_a_seller_that_can_be_bought_from() {
        let hit = |id: &str, available: bool| {
            let label = id.rsplit('/').next().unwrap();
            json!({"id": id, "kind": "model", "label": label, "url": format!("https://{id}"), "method": "POST", "available": available})
        };
        let hits = [hit("a/m", false), hit("b/m", true), hit("c/m-2", true)];
        let id = |named: &str| meant(&hits, named).map(|hit| text(hit, "id").to_owned());
        assert_eq!(id("m").as_deref(), Some("b/m"));
        assert_eq!(id("A/M").as_deref(), Some("a/m"), "who is named is meant");
        assert_eq!(id("m-3"), None);
        let target = of_hit(&hits[1], "m").unwrap().with_body(Some(Map::new()));
        assert_eq!((target.body.unwrap()["model"].as_str(), target.url.as_str()), (Some("m"), "https://b/m"));
        let bare = of_hit(&hits[1], "m").unwrap();
        assert!(matches!(bare.method(None), Err(TargetError::NeedsBody { .. })));
        assert_eq!(bare.method(Some(Method::GET)).unwrap(), Method::GET);
    }
}
