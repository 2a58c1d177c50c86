//! `call`: requests an API address through the gateway, which adds the credential and books the cost.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Call, args,
    args::{input_schema, output_schema},
    error::ToolError,
    login::Describe as _,
    once::Once,
    prompt::{check_max_cost, read_money},
    text,
};
use crate::{
    client::{Client, Forwarded, RequestReport},
    session::Session,
};

/// As much of an answer is returned, in characters; clients cut what is longer themselves, and say less about it.
const BODY_CHARS_MAX: usize = 18_000;
/// Request headers that may be set. Credentials are added by the gateway.
const HEADERS_ALLOWED: [&str; 3] = ["accept", "content-type", "openai-beta"];
/// Response headers worth telling.
const HEADERS_TOLD: [&str; 2] = ["content-type", "x-lava-output-cap"];

/// Said where a person has switched on that the secret key pays.
const PAST_THE_LIMIT: &str = "paid with the secret key (LAVA_FORWARD_WITH): the session's limit does not hold for this call";

/// A verb of HTTP.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
enum Verb {
    #[serde(rename = "GET")]
    Get,
    #[serde(rename = "POST")]
    Post,
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "PATCH")]
    Patch,
    #[serde(rename = "DELETE")]
    Delete,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Args {
    /// An address or id from search, such as "https://api.openai.com/v1/embeddings" or "groq/llama-3.1-8b-instant".
    url: String,
    /// Default: POST with a body, GET without.
    method: Option<Verb>,
    /// Only accept, content-type and openai-beta. Never a key: the gateway adds it.
    headers: Option<BTreeMap<String, String>>,
    /// Parameters to add to the address.
    query: Option<BTreeMap<String, String>>,
    /// The JSON body; start from the example_body of search.
    body: Option<Map<String, Value>>,
    /// The most this call may cost, in US dollars, such as "0.05". It is refused if it could cost more.
    max_cost: Option<String>,
    /// A text of your choice. A repeated call with the same key and arguments returns the first result and is paid once.
    idempotency_key: Option<String>,
}

/// What the API answered, and what it cost.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Output {
    /// HTTP status.
    status: u16,
    /// A few response headers.
    headers: BTreeMap<String, String>,
    /// The answer: JSON, or text.
    body: Value,
    /// Present when the answer was too long: how many characters there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    truncated: Option<usize>,
    /// US dollars; null when the gateway does not tell.
    cost: Option<String>,
    /// US dollars left in this cycle.
    remaining: Option<String>,
    request_id: Option<String>,
    /// Present when the session's limit did not hold for this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("call", None, input_schema::<Args>())
        .with_title("Call an API")
        .with_raw_output_schema(output_schema::<Output>())
        // One tool that can read and write is annotated as the worst it can do.
        .with_annotations(ToolAnnotations::new().read_only(false).destructive(true).idempotent(false).open_world(true))
        .describe(
            "Requests an API address of the catalog and pays from the session's spend key; the gateway adds the provider's credential. Use it for addresses that \
             search returns, when prompt does not fit; needs login. Returns status, body, cost in USD and what is left. \
             Example: {\"url\": \"https://api.openai.com/v1/embeddings\", \"body\": {\"model\": \"text-embedding-3-small\", \"input\": \"Hello\"}}",
        )
}

pub(super) async fn run(session: &Session, once: &Once, call: &Call, arguments: JsonObject) -> Result<Output, ToolError> {
    let args: Args = args::parse(arguments.clone())?;
    let key = args.idempotency_key.clone();
    let scope = format!("call {}", call.payer.scope());
    once.run(&scope, key.as_deref(), &arguments, || request(session, call, args)).await
}

async fn request(session: &Session, call: &Call, args: Args) -> Result<Output, ToolError> {
    let max_cost = read_money(args.max_cost.as_deref())?;
    let headers = read_headers(args.headers.unwrap_or_default())?;
    let pays = session.forward_key(&call.payer).await?;
    let key = &pays.key;
    check_max_cost(session, key, max_cost).await?;
    let client = session.client().await?;
    let (mut url, body) = resolve(&client, args.url, args.body).await?;
    if let Some(query) = args.query.filter(|query| !query.is_empty()) {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        url = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
    }
    let method = match (args.method, &body) {
        (Some(Verb::Get), Some(_)) => return Err(ToolError::invalid("A GET request has no body; leave body out, or use POST.")),
        (Some(Verb::Get), None) | (None, None) => Method::GET,
        (Some(Verb::Post) | None, _) => Method::POST,
        (Some(Verb::Put), _) => Method::PUT,
        (Some(Verb::Patch), _) => Method::PATCH,
        (Some(Verb::Delete), _) => Method::DELETE,
    };
    let body = body.map(|body| Bytes::from(Value::Object(body).to_string()));
    let forwarded = tokio::select! {
        forwarded = client.forward(key, method, &url, headers, body, max_cost) => forwarded,
        () = call.context.ct.cancelled() => return Err(ToolError::new("cancelled", "The call was cancelled.", "What it had used is booked.")),
    };
    let forwarded = match forwarded {
        Ok(forwarded) => forwarded,
        Err(error) => {
            let error = ToolError::from(session.explain_forward(&call.payer, &pays, error).await);
            if error.is_key_refused() {
                session.forget().await;
            }
            return Err(error);
        }
    };
    let report = match &forwarded.request_id {
        Some(id) => client.report(key, id).await.ok().flatten(),
        None => None,
    };
    let mut output = output(&forwarded, report.as_ref());
    output.warning = (!pays.is_limited).then(|| PAST_THE_LIMIT.to_owned());
    Ok(output)
}

/// An address stays what it is; an id of the catalog becomes its address, and a model's id goes into the body.
async fn resolve(
    client: &Client,
    target: String,
    body: Option<Map<String, Value>>,
) -> Result<(String, Option<Map<String, Value>>), ToolError> {
    let looks_like_address = target.contains("://") || target.split('/').next().is_some_and(|host| host.contains('.'));
    if looks_like_address {
        return Ok((target, body));
    }
    let page = client.search(&[("query", target.clone()), ("limit", "25".to_owned())]).await?;
    let text = |hit: &Value, name: &str| hit.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let Some(hit) = page.results.iter().find(|hit| text(hit, "id") == target) else {
        let nearest: Vec<String> = page.results.iter().take(3).map(|hit| text(hit, "id")).collect();
        let message = format!("\"{target}\" is neither an address nor an id of the catalog. Nearest: {}.", nearest.join(", "));
        return Err(ToolError::new("forward_endpoint_not_supported", message, "Call search and use a url or id from its results."));
    };
    let mut body = body;
    if let Some(body) = &mut body
        && text(hit, "kind") == "model"
    {
        body.entry("model").or_insert_with(|| text(hit, "label").into());
    }
    Ok((text(hit, "url"), body))
}

fn read_headers(wanted: BTreeMap<String, String>) -> Result<HeaderMap, ToolError> {
    let mut headers = HeaderMap::new();
    for (name, value) in wanted {
        let lower = name.to_ascii_lowercase();
        if !HEADERS_ALLOWED.contains(&&*lower) {
            let allowed = HEADERS_ALLOWED.join(", ");
            return Err(ToolError::invalid(format!("headers: {name} cannot be set; {allowed} can. Credentials are added by the gateway.")));
        }
        let parsed = (HeaderName::from_bytes(lower.as_bytes()), HeaderValue::from_str(&value));
        let (Ok(name), Ok(value)) = parsed else { return Err(ToolError::invalid(format!("headers: the value of {name} is not valid"))) };
        headers.insert(name, value);
    }
    Ok(headers)
}

fn output(forwarded: &Forwarded, report: Option<&RequestReport>) -> Output {
    let told = |name: &&str| Some(((*name).to_owned(), forwarded.headers.get(*name)?.to_str().ok()?.to_owned()));
    let (body, truncated) = shown(&forwarded.body);
    Output {
        status: forwarded.status,
        headers: HEADERS_TOLD.iter().filter_map(told).collect(),
        body,
        truncated,
        cost: report.and_then(RequestReport::cost),
        remaining: report.and_then(RequestReport::remaining),
        request_id: forwarded.request_id.clone(),
        warning: None,
    }
}

/// The body as JSON if it is that and short enough, else as text, cut where it is too long.
fn shown(body: &Bytes) -> (Value, Option<usize>) {
    let raw = String::from_utf8_lossy(body);
    let (cut, is_cut) = text::shorten(&raw, BODY_CHARS_MAX);
    if is_cut {
        return (text::visible(&cut).into(), Some(raw.chars().count()));
    }
    // Cleaned after it was read: an escape in JSON can hide a character too.
    (text::visible_value(serde_json::from_str(&raw).unwrap_or(Value::String(cut))), None)
}

impl Output {
    pub(super) fn text(&self) -> String {
        let body = match &self.body {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let cut = self.truncated.map_or_else(String::new, |chars| format!("\n[cut: the first {BODY_CHARS_MAX} of {chars} characters]"));
        let cost = self.cost.as_deref().unwrap_or("unknown");
        let warning = self.warning.as_ref().map(|warning| format!("\n[{warning}]")).unwrap_or_default();
        format!(
            "HTTP {}\n{body}{cut}\n\n[cost {cost} USD · {} USD left]{warning}",
            self.status,
            self.remaining.as_deref().unwrap_or("unlimited")
        )
    }
}
