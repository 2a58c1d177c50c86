//! `call`: requests an API address through the gateway, which adds the credential and books the cost.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Call, LavaMcp,
    answer::{Answer, CHARS_MAX, Stop},
    args,
    confirm::{self, Purchase},
    content::{Shelf, Truncated},
    error::ToolError,
    login::Describe as _,
    media::{self, Media},
    once, paid,
    progress::Progress,
    resources, results,
    schema::{input_schema, output_schema},
    shapes, text,
};
use crate::{
    client::{Forward, Forwarded, RequestReport},
    session::SessionError,
};

/// Room for the answer in a result, in characters as JSON; beside it stand its headers, its cost, and where the rest is.
const BODY_CHARS_MAX: usize = CHARS_MAX - 1_500;
/// As much of an address or a header is shown, in characters.
const ADDRESS_CHARS_MAX: usize = 200;
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

impl Verb {
    const fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Args {
    /// An address or id from search, such as "https://api.openai.com/v1/embeddings" or "groq/llama-3.1-8b-instant". Or a lava-mcp:// address from a result that
    /// was cut, to read the rest for free.
    url: String,
    /// Default: POST with a body, GET without.
    method: Option<Verb>,
    /// Only accept, content-type and openai-beta. Never a key: the gateway adds it.
    #[schemars(with = "Option<shapes::Headers>")]
    headers: Option<BTreeMap<String, Option<String>>>,
    /// Parameters to add to the address.
    query: Option<Map<String, Value>>,
    /// The JSON body; start from the example_body of search.
    body: Option<Map<String, Value>>,
    /// The most this call may cost, in US dollars, such as "0.05". It is refused if it could cost more.
    max_cost: Option<String>,
    /// Any string. Repeating the call with the same key and arguments returns the first result and pays only once.
    idempotency_key: Option<String>,
}

/// What the API answered, and what it cost.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// HTTP status.
    status: u16,
    /// A few response headers.
    headers: BTreeMap<String, String>,
    #[schemars(with = "shapes::Body")]
    body: Value,
    /// Present when the answer was too long to be shown whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
    /// US dollars; absent when the gateway does not say.
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
             If the connection breaks, the same call with the same idempotency_key returns the answer that was paid for; without one a broken connection can cancel \
             the call. \
             Example: {\"url\": \"https://api.openai.com/v1/embeddings\", \"body\": {\"model\": \"text-embedding-3-small\", \"input\": \"Hello\"}}",
        )
}

pub(super) async fn run(server: &LavaMcp, call: Call, arguments: JsonObject) -> Result<Answer, Stop> {
    let args: Args = args::parse(arguments.clone())?;
    if args.url.starts_with(results::ADDRESS) {
        return read_on(server, &call, &args.url).await;
    }
    let digest = once::digest("call", &arguments);
    let key = args.idempotency_key.clone();
    paid::run(server, call, ("call", key), &arguments, |server, call| async move { request(&server, &call, args, digest).await }).await
}

async fn request(server: &LavaMcp, call: &Call, args: Args, digest: [u8; 32]) -> Result<Answer, Stop> {
    let session = &server.session;
    let max_cost = paid::read_money(args.max_cost.as_deref())?;
    let headers = read_headers(args.headers.unwrap_or_default())?;
    let pays = session.forward_key(&call.payer).await?;
    let key = &pays.key;
    let is_bounded = paid::is_bounded(server, key, max_cost).await?;
    let client = session.client().await?;
    // What is said of it is what this key may buy.
    let target = client.clone().looking_as(Some(key.clone())).find_target(&args.url).await.map_err(ToolError::from)?.with_body(args.body);
    let method = target.method(args.method.map(Verb::method)).map_err(ToolError::from)?;
    let (mut url, body) = (target.url, target.body);
    let shown = text::one_line(url.split(['?', '#']).next().unwrap_or_default(), ADDRESS_CHARS_MAX);
    if let Some(query) = args.query.filter(|query| !query.is_empty()) {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(read_query(query)?).finish();
        url = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
    }
    let changes = matches!(method, Method::PUT | Method::PATCH | Method::DELETE);
    let body = body.map(|body| Bytes::from(Value::Object(body).to_string()));
    let given_up = call.given_up(&server.cancellations, args.idempotency_key.is_some());
    let progress = Progress::start(&call.context);

    let purchase = Purchase { what: format!("{method} {shown}"), max_cost, changes, is_bounded, digest };
    let mut permit = confirm::permit(server, call, &purchase).await?;
    let asked = Forward { method, url, headers, body, max_cost: None };
    let forwarded = loop {
        let forwarded = tokio::select! {
            forwarded = client.forward(key, Forward { max_cost: permit.max_cost, ..asked.clone() }) => forwarded,
            // Dropping the request tells the gateway, which stops the provider and books what was used.
            () = given_up.cancelled() => return Err(ToolError::cancelled().into()),
        };
        match forwarded {
            Ok(forwarded) => break forwarded,
            Err(error) => {
                let error = match session.explain_forward(&call.payer, &pays, error).await {
                    SessionError::Client(error) => error,
                    explained => return Err(explained.into()),
                };
                permit = paid::after_failure(server, call, &purchase, &permit, (&client, key), error).await?;
            }
        }
    };
    let report = match &forwarded.request_id {
        Some(id) => client.report(key, id).await.ok().flatten(),
        None => None,
    };
    let mut shelf = Shelf::new(server, call);
    let mut output = output(&mut shelf, &forwarded, report.as_ref()).await;
    output.warning = (!pays.is_limited).then(|| PAST_THE_LIMIT.to_owned());
    if let Some(progress) = progress {
        progress.finish().await;
    }
    Ok(Answer::new(&output, &output.text()).with(shelf.into_blocks()))
}

/// The next page of a result that was cut, or a kept image, sound or file. No money is involved.
async fn read_on(server: &LavaMcp, call: &Call, address: &str) -> Result<Answer, Stop> {
    let Some(found) = resources::find(server, &call.payer, address).await else {
        let message =
            format!("The result at {} is no longer kept, or it belongs to another session.", text::one_line(address, ADDRESS_CHARS_MAX));
        return Err(ToolError::new("result_not_found", message, "Results are kept for a day. Repeat the call that made it.").into());
    };
    let mut shelf = Shelf::new(server, call);
    let (body, truncated) = match found.page(BODY_CHARS_MAX) {
        Some((page, rest)) => (page.into(), rest),
        None => (shelf.show(&Media { kind: found.kind, bytes: found.bytes }, Some(&found.kept)), None),
    };
    let cost = Some("0.00".to_owned());
    let output = Output { status: 200, headers: BTreeMap::new(), body, truncated, cost, remaining: None, request_id: None, warning: None };
    Ok(Answer::new(&output, &output.text()).with(shelf.into_blocks()))
}

/// The headers that may be set. One without a value was left out.
fn read_headers(wanted: BTreeMap<String, Option<String>>) -> Result<HeaderMap, ToolError> {
    let mut headers = HeaderMap::new();
    for (name, value) in wanted.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?))) {
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

/// The parameters of an address, which are texts whatever they were given as.
fn read_query(given: Map<String, Value>) -> Result<Vec<(String, String)>, ToolError> {
    let read = |(name, value): (String, Value)| match value {
        Value::Null => None,
        Value::String(text) => Some(Ok((name, text))),
        Value::Bool(_) | Value::Number(_) => Some(Ok((name, value.to_string()))),
        Value::Array(_) | Value::Object(_) => {
            let name = text::one_line(&name, ADDRESS_CHARS_MAX);
            Some(Err(ToolError::invalid(format!("query.{name}: must be a string; write lists and objects as the API asks for them"))))
        }
    };
    given.into_iter().filter_map(read).collect()
}

async fn output(shelf: &mut Shelf<'_>, forwarded: &Forwarded, report: Option<&RequestReport>) -> Output {
    let told = |name: &&str| {
        let value = forwarded.headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), text::one_line(value, ADDRESS_CHARS_MAX)))
    };
    let headers: BTreeMap<String, String> = HEADERS_TOLD.iter().filter_map(told).collect();
    let (body, truncated) = shown(shelf, headers.get("content-type").map(String::as_str), &forwarded.body).await;
    Output {
        status: forwarded.status,
        headers,
        body,
        truncated,
        cost: report.and_then(RequestReport::cost),
        remaining: report.and_then(RequestReport::remaining),
        request_id: forwarded.request_id.clone(),
        warning: None,
    }
}

/// The body as JSON if it is that and short enough, else as text, cut where it is too long; or what is said of one that is no text.
async fn shown(shelf: &mut Shelf<'_>, content_type: Option<&str>, body: &Bytes) -> (Value, Option<Truncated>) {
    if let Some(media) = media::of_body(content_type, body) {
        return (shelf.put(media).await, None);
    }
    let raw = String::from_utf8_lossy(body);
    let Ok(parsed) = serde_json::from_str::<Value>(&raw) else {
        let (text, truncated) = shelf.cut(text::visible(&raw), "text/plain", BODY_CHARS_MAX).await;
        return (text.into(), truncated);
    };
    // Cleaned after it was read: an escape in JSON can hide a character too.
    let mut value = text::visible_value(parsed);
    shelf.take_media(&mut value).await;
    let written = value.to_string();
    if written.chars().count() <= BODY_CHARS_MAX {
        // What the schema of the result has no type for is shown as JSON text.
        let is_list = value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
        let value = if value.is_object() || value.is_string() || is_list { value } else { written.into() };
        return (value, None);
    }
    let (text, truncated) = shelf.cut(written, "application/json", BODY_CHARS_MAX).await;
    (text.into(), truncated)
}

impl Output {
    fn text(&self) -> String {
        let body = match &self.body {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let cut = self.truncated.as_ref().map(|rest| format!("\n{}", rest.words())).unwrap_or_default();
        let cost = self.cost.as_deref().unwrap_or("unknown");
        let left = self.remaining.as_deref().map(|left| format!(" · {left} USD left")).unwrap_or_default();
        let warning = self.warning.as_ref().map(|warning| format!("\n[{warning}]")).unwrap_or_default();
        format!("HTTP {}\n{body}{cut}\n\n[cost {cost} USD{left}]{warning}", self.status)
    }
}
