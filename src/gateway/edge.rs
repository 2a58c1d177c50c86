//! Where requests come in and answers go out: the routes, the limits on what is read, the request id, and errors in the caller's form.
//!
//! The router is called in memory by the MCP server, and can be served over a socket; both see the same bytes.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    routing::{get, post},
};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    Gateway,
    authorise::{ANTHROPIC_BETA, Fallback, Inbound, Target},
    connect,
    credential::Credential,
    discover,
    door::LookedUpInVain,
    error::GatewayError,
    journey, manage,
    metrics::{Code, Metrics},
    owner, reports,
};
use crate::domain::{Money, RequestId, RequestShape};

/// An answer of the gateway.
pub type Response = http::Response<Body>;

/// Largest request body: a long conversation with images in it.
const BODY_BYTES_MAX: usize = 32 << 20;
/// A caller who sends nothing of the body for this long is not waited for, nor is one who takes longer for all of it.
const BODY_IDLE: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// On every answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-lava-request-id");
/// On every answer too: tells a client that this gateway has the routes and fields that Lava does not.
const GATEWAY: HeaderName = HeaderName::from_static("x-lava-mcp-gateway");
const FALLBACKS: &str = "x-lava-fallbacks";
/// The most this one request may cost, in US dollars.
const MAX_COST: &str = "x-lava-max-cost";
/// Request headers that travel on to the provider. Everything else stays here, credentials above all.
const PASSED_ON: [HeaderName; 4] = [
    header::ACCEPT,
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static(ANTHROPIC_BETA),
];

/// The gateway's routes.
pub fn router(gateway: Arc<Gateway>) -> Router {
    router_with(gateway, Router::new())
}

/// The same, and routes that only a listener has.
pub(super) fn router_with(gateway: Arc<Gateway>, more: Router<Arc<Gateway>>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/forward", axum::routing::any(forward))
        .route("/v1/models", get(discover::models))
        .route("/v1/spend_keys", get(manage::list).post(manage::create))
        .route("/v1/spend_keys/self", get(manage::own))
        .route("/v1/spend_keys/{id}", get(manage::retrieve).put(manage::update).delete(manage::revoke))
        .route("/v1/spend_keys/{id}/rotate", post(manage::rotate))
        .route("/v1/requests", get(reports::list))
        .route("/v1/requests/{id}", get(reports::retrieve))
        .route("/v1/lava_mcp/account", get(owner::account).put(owner::limit_account))
        .route("/v1/lava_mcp/holds", get(owner::holds))
        .route("/v1/lava_mcp/holds/{id}/write_off", post(owner::write_off))
        .route("/v1/lava_mcp/mispriced", get(owner::mispriced).delete(owner::sell_again))
        .route("/v1/lava_mcp/search", get(discover::search))
        .route("/v1/lava_mcp/providers/{id}", get(discover::provider))
        .merge(more)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), with_request_id))
        .with_state(gateway)
}

/// Gives every request its id before anything else happens, and puts it on the answer, which is counted.
async fn with_request_id(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let (route, began) = (Metrics::route(request.uri().path()), Instant::now());
    let id = RequestId::generate(gateway.sandbox);
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(GATEWAY, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    gateway.metrics.answered(route, &response, began.elapsed());
    response
}

async fn chat_completions(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    respond(paid(gateway, request, |body| Target::Chat { body }).await)
}

async fn messages(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let form = Form::of(&request);
    respond_as(&form, paid(gateway, request, |body| Target::Messages { body }).await)
}

async fn count_tokens(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let form = Form::of(&request);
    respond_as(&form, paid(gateway, request, |body| Target::CountTokens { body }).await)
}

async fn paid(gateway: Arc<Gateway>, request: Request, target: impl FnOnce(Bytes) -> Target) -> Result<Response, GatewayError> {
    let (parts, body) = read(request).await?;
    let inbound = inbound(&parts, target(body))?;
    journey(gateway, inbound).await
}

async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let url = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "u").map(|(_, url)| url.into_owned());
    // Whoever asks in the Anthropic dialect reads errors in it.
    let path = url.as_deref().unwrap_or_default().split('?').next().unwrap_or_default();
    let mut form = Form::of(&request);
    if path.ends_with("/messages") || path.ends_with("/messages/count_tokens") {
        form.shape = RequestShape::Anthropic;
    }
    let answer = async {
        let (parts, body) = read(request).await?;
        let missing = || GatewayError::BadField {
            field: "u".to_owned(),
            message: "u: the address to call is needed, as /v1/forward?u=<url>".to_owned(),
        };
        let target = Target::Forward { method: parts.method.clone(), url: url.ok_or_else(missing)?, body };
        journey(gateway, inbound(&parts, target)?).await
    };
    respond_as(&form, answer.await)
}

/// The process runs.
async fn alive() -> &'static str {
    "ok"
}

/// Requests can be admitted: the ledger can be written.
async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    respond_json(http::StatusCode::OK, gateway.store.check().await.map(|()| "ok").map_err(GatewayError::from))
}

async fn not_found(request: Request) -> Response {
    error_response(&Form::of(&request), &GatewayError::NotFound(format!("route {}", request.uri().path())))
}

async fn method_not_allowed(request: Request) -> Response {
    let error = GatewayError::MethodNotAllowed { path: request.uri().path().to_owned(), method: request.method().to_string() };
    error_response(&Form::of(&request), &error)
}

/// The form in which a caller reads errors.
#[derive(Default)]
pub(super) struct Form {
    shape: RequestShape,
    /// Anthropic's errors name the request.
    request: Option<RequestId>,
    /// A person reads it in a browser.
    is_page: bool,
}

impl Form {
    pub(super) fn of(request: &Request) -> Self {
        let path = request.uri().path();
        let shape = if path.starts_with("/v1/messages") { RequestShape::Anthropic } else { RequestShape::Openai };
        Self { shape, request: request.extensions().get().cloned(), is_page: path.starts_with("/auth/") }
    }

    pub(super) fn page() -> Self {
        Self { is_page: true, ..Self::default() }
    }
}

/// Reads the whole body, up to the limits on its size and time.
pub(super) async fn read(request: Request) -> Result<(http::request::Parts, Bytes), GatewayError> {
    read_up_to(request, BODY_BYTES_MAX).await
}

/// The same, for what is small by its nature.
pub(super) async fn read_up_to(request: Request, bytes_max: usize) -> Result<(http::request::Parts, Bytes), GatewayError> {
    let (parts, body) = request.into_parts();
    // A small body can unpack to a huge one, so only plain ones are read.
    if let Some(coding) = parts.headers.get(header::CONTENT_ENCODING).filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(GatewayError::Encoded(String::from_utf8_lossy(coding.as_bytes()).chars().take(50).collect()));
    }
    let body = read_body(body, bytes_max, BODY_IDLE, BODY_TIMEOUT).await?;
    Ok((parts, body))
}

async fn read_body(body: Body, bytes_max: usize, idle: Duration, timeout: Duration) -> Result<Bytes, GatewayError> {
    let mut body = Limited::new(body, bytes_max);
    let deadline = tokio::time::Instant::now() + timeout;
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    loop {
        let until = (tokio::time::Instant::now() + idle).min(deadline);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return Err(GatewayError::TooSlow),
            Ok(None) => return Ok(if whole.is_empty() { first } else { whole.freeze() }),
            Ok(Some(Err(error))) if error.is::<LengthLimitError>() => {
                return Err(GatewayError::TooLarge { limit_mib: bytes_max >> 20 });
            }
            Ok(Some(Err(error))) => return Err(GatewayError::BadRequest(format!("the body could not be read: {error}"))),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        // Most bodies come in one piece, which is not copied.
        if first.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
}

fn inbound(parts: &http::request::Parts, target: Target) -> Result<Inbound, GatewayError> {
    let request = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::generate(false));
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let bad = |field: &str, message: String| GatewayError::BadField { field: field.to_owned(), message };
    let fallbacks: Vec<Fallback> = match header(FALLBACKS) {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            bad(FALLBACKS, format!("{FALLBACKS}: a JSON array such as [{{\"url\": \"api.openai.com/v1/chat/completions\", \"model\": \"gpt-4o-mini\"}}] is needed: {error}"))
        })?,
        None => Vec::new(),
    };
    let max_cost: Option<Money> = match header(MAX_COST) {
        Some(text) => Some(text.parse().map_err(|error| bad(MAX_COST, format!("{MAX_COST}: {error}")))?),
        None => None,
    };
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Ok(Inbound { request, credential: Credential::from_headers(&parts.headers)?, target, fallbacks, max_cost, headers })
}

/// An answer or an error as a response.
pub(super) fn respond(result: Result<Response, GatewayError>) -> Response {
    respond_as(&Form::default(), result)
}

pub(super) fn respond_as(form: &Form, result: Result<Response, GatewayError>) -> Response {
    result.unwrap_or_else(|error| error_response(form, &error))
}

/// A JSON answer, or an error, as a response.
pub(super) fn respond_json<T: Serialize>(status: http::StatusCode, result: Result<T, GatewayError>) -> Response {
    respond_json_as(RequestShape::Openai, status, result)
}

/// The same for a caller of one endpoint family.
pub(super) fn respond_json_as<T: Serialize>(shape: RequestShape, status: http::StatusCode, result: Result<T, GatewayError>) -> Response {
    respond_as(&Form { shape, ..Form::default() }, result.map(|value| json_response(status, &value)))
}

fn json_response(status: http::StatusCode, value: &impl Serialize) -> Response {
    let mut response = http::Response::new(body_of(Bytes::from(serde_json::to_vec(value).unwrap_or_default())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error_response(form: &Form, error: &GatewayError) -> Response {
    let mut response = if form.is_page {
        connect::refusal(error.status(), &error.to_string())
    } else {
        json_response(error.status(), &error.body(form.shape, form.request.as_ref()))
    };
    response.headers_mut().extend(error.headers(form.shape));
    mark(&mut response, error);
    if error.status().is_server_error() {
        tracing::warn!(code = error.code(), error = error.for_log(), "request failed");
    } else {
        tracing::debug!(code = error.code(), "request refused");
    }
    response
}

/// Tells metrics and door what an answer refuses.
pub(super) fn mark(response: &mut Response, error: &GatewayError) {
    response.extensions_mut().insert(Code(error.code()));
    if matches!(error, GatewayError::UnknownKey | GatewayError::LoginCode) {
        response.extensions_mut().insert(LookedUpInVain);
    }
}

/// A body that is complete.
pub(super) fn body_of(bytes: Bytes) -> Body {
    Body::from(bytes)
}

/// A body that is fed by another task.
pub(super) fn stream_body(events: mpsc::Receiver<Bytes>) -> Body {
    Body::from_stream(stream::unfold(events, |mut events| async move {
        let bytes = events.recv().await?;
        Some((Ok::<_, Infallible>(bytes), events))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that comes in pieces of ten bytes, with a pause before each.
    fn paced(pieces: usize, pause: Duration) -> Body {
        Body::from_stream(stream::unfold(0, move |sent| async move {
            tokio::time::sleep(pause).await;
            (sent < pieces).then(|| (Ok::<_, Infallible>(Bytes::from_static(b"0123456789")), sent + 1))
        }))
    }

    #[tokio::test]
    async fn a_body_may_take_its_time_but_not_all_of_it() {
        let (idle, timeout) = (Duration::from_millis(200), Duration::from_millis(500));
        let whole = read_body(paced(3, Duration::from_millis(10)), BODY_BYTES_MAX, idle, timeout).await.unwrap();
        assert_eq!(&whole[..], b"012345678901234567890123456789");
        for (pieces, pause) in [(1, 5_000), (100, 50)] {
            let began = Instant::now();
            let error = read_body(paced(pieces, Duration::from_millis(pause)), BODY_BYTES_MAX, idle, timeout).await.unwrap_err();
            assert!(matches!(error, GatewayError::TooSlow), "{error}");
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        }
    }
}
