//! Where requests come in and answers go out: the routes, who pays and on which terms, the request id, and errors in the caller's form.
//!
//! The router is called in memory by the MCP server, and can be served over a socket; both see the same bytes.

use std::{convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::Next,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::{
    Gateway,
    access_log::{LogEntry, Origin},
    authorise::{Fallback, Inbound, Target, payer},
    connect,
    credential::Credential,
    discover,
    door::LookedUpInVain,
    entrance,
    error::GatewayError,
    journey,
    lengths::{check_metadata, shown},
    manage,
    metrics::{Code, Metrics},
    models, no_route, owner,
    refused::Refused,
    reports,
    request_body::{self, BODY_BYTES_MAX, Received},
    screen::ANTHROPIC_BETA,
    upstream::ANTHROPIC_VERSION,
};
use crate::domain::{Money, RequestId, RequestShape, Secret, SpendKey};

/// An answer of the gateway.
pub type Response = http::Response<Body>;

/// How the headers begin that are for the gateway itself.
const OWN_PREFIX: &str = "x-lava-";
/// A longer reason of the router is left out.
const REASON_BYTES_MAX: usize = 16 << 10;
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

/// The gateway's routes, for callers in this process.
pub fn router(gateway: Arc<Gateway>) -> Router {
    entrance::behind(gateway.sandbox, Origin::ThisProcess, router_with(gateway, Router::new()))
}

/// The same without its entrance, and routes that only a listener has.
pub(super) fn router_with(gateway: Arc<Gateway>, more: Router<Arc<Gateway>>) -> Router {
    // What these show is in the books: they wait for answers that have ended and are not booked yet.
    let books = Router::new()
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
        .route_layer(axum::middleware::from_fn_with_state(gateway.clone(), once_booked));
    Router::new()
        .route("/", get(no_route::root))
        .route("/api/hello", get(no_route::root))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/forward", axum::routing::any(forward))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::retrieve).post(no_route::ask_of_google))
        .route("/v1/lava_mcp/search", get(discover::search))
        .route("/v1/lava_mcp/providers/{id}", get(discover::provider))
        .merge(books)
        .merge(more)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_route::not_found)
        .layer(axum::middleware::from_fn_with_state(gateway.clone(), counted))
        .with_state(gateway)
}

/// Read after write: whoever has got the last byte of an answer finds its cost.
async fn once_booked(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    gateway.store.once_booked().await;
    next.run(request).await
}

/// Counts every answer.
async fn counted(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let (route, began) = (Metrics::route(request.uri().path()), Instant::now());
    let form = Form::of(&request);
    let mut response = next.run(request).await;
    if response.status().is_client_error() && response.extensions().get::<Code>().is_none() {
        response = in_form(&form, response).await;
    }
    gateway.metrics.answered(route, &response, began.elapsed());
    let (id, status) = (form.request.as_ref().map(RequestId::as_str), response.status().as_u16());
    tracing::debug!(request = id, route = Metrics::route_name(route), status, "answered");
    response
}

/// What the router refuses by itself, such as a query that cannot be read, in the form of any other refusal.
async fn in_form(form: &Form, response: Response) -> Response {
    let reason = axum::body::to_bytes(response.into_body(), REASON_BYTES_MAX).await.unwrap_or_default();
    error_response(form, &GatewayError::BadRequest(shown(&String::from_utf8_lossy(&reason))))
}

async fn chat_completions(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    respond(paid(gateway, request, |_, body| Ok(Target::Chat { body })).await)
}

async fn messages(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let form = Form::of(&request);
    respond_as(&form, paid(gateway, request, |_, body| Ok(Target::Messages { body })).await)
}

async fn count_tokens(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let form = Form::of(&request);
    respond_as(&form, paid(gateway, request, |_, body| Ok(Target::CountTokens { body })).await)
}

async fn paid(
    gateway: Arc<Gateway>,
    request: Request,
    target: impl FnOnce(&http::request::Parts, Bytes) -> Result<Target, GatewayError>,
) -> Result<Response, Refused> {
    let received = request_body::read(&gateway, request, BODY_BYTES_MAX, |headers| Buyer::identify(&gateway, headers), Buyer::id).await?;
    let Received { parts, caller: Buyer { key, provider_key, terms }, body, share } = received;
    let log = LogEntry::of(&parts.extensions);
    log.pays(&key);
    let request = parts.extensions.get::<RequestId>().cloned().unwrap_or_else(|| RequestId::generate(false));
    let Terms { fallbacks, max_cost, headers } = terms;
    let inbound = Inbound { request, key, provider_key, target: target(&parts, body)?, fallbacks, max_cost, headers, share };
    journey(gateway.clone(), inbound, log).await
}

/// Who pays, and on which terms: all that is known before the body is read.
struct Buyer {
    key: SpendKey,
    /// The caller's own key for the provider, which then bills them.
    provider_key: Option<Secret>,
    terms: Terms,
}

impl Buyer {
    fn identify(gateway: &Gateway, headers: &HeaderMap) -> Result<Self, GatewayError> {
        let credential = Credential::from_headers(headers)?;
        let key = payer(gateway, credential.as_ref().map(|credential| &credential.key))?;
        Ok(Self { key, provider_key: credential.and_then(|credential| credential.provider_key), terms: Terms::read(headers)? })
    }

    fn id(&self) -> &str {
        self.key.id.as_str()
    }
}

async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let url = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "u").map(|(_, url)| url.into_owned());
    let mut form = Form::of(&request);
    form.read_address(url.as_deref().unwrap_or_default().split('?').next().unwrap_or_default());
    let target = |parts: &http::request::Parts, body| {
        let missing =
            || GatewayError::BadField { field: "u".to_owned(), message: "u: give the address to call, as /v1/forward?u=<url>".to_owned() };
        Ok(Target::Forward { method: parts.method.clone(), url: url.ok_or_else(missing)?, body })
    };
    respond_as(&form, paid(gateway, request, target).await)
}

/// The process runs.
async fn alive() -> &'static str {
    "ok"
}

/// Requests can be admitted: the ledger can be written.
async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    respond_json(http::StatusCode::OK, gateway.store.check().await.map(|()| "ok").map_err(GatewayError::from))
}

async fn method_not_allowed(request: Request) -> Response {
    let error = GatewayError::MethodNotAllowed { path: shown(request.uri().path()), method: request.method().to_string() };
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
        let shape = if request.headers().contains_key(ANTHROPIC_VERSION) { RequestShape::Anthropic } else { RequestShape::Openai };
        let mut form = Self { shape, request: request.extensions().get().cloned(), is_page: path.starts_with("/auth/") };
        form.read_address(path);
        form
    }

    /// Whoever asks in the Anthropic dialect reads errors in it, and who asks for a chat completion does not, whatever else is sent.
    fn read_address(&mut self, path: &str) {
        if path.contains("/messages") {
            self.shape = RequestShape::Anthropic;
        } else if path.ends_with("/chat/completions") {
            self.shape = RequestShape::Openai;
        }
    }

    pub(super) fn page() -> Self {
        Self { is_page: true, ..Self::default() }
    }
}

/// What the head of a paid request says beside who pays.
struct Terms {
    fallbacks: Vec<Fallback>,
    max_cost: Option<Money>,
    /// Headers that may travel to the provider.
    headers: HeaderMap,
}

impl Terms {
    fn read(from: &HeaderMap) -> Result<Self, GatewayError> {
        let bad = |field: &str, message: String| GatewayError::BadField { field: field.to_owned(), message };
        check_metadata(from)?;
        // Two readers could disagree on which of two counts.
        if let Some(name) = from.keys().find(|name| name.as_str().starts_with(OWN_PREFIX) && from.get_all(*name).iter().nth(1).is_some()) {
            return Err(bad(name.as_str(), format!("{name}: this header was sent more than once; send it once")));
        }
        let header = |name: &str| from.get(name).map(|value| value.to_str().unwrap_or_default());
        let fallbacks: Vec<Fallback> = match header(FALLBACKS) {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                bad(FALLBACKS, format!("{FALLBACKS}: must be a JSON array such as [{{\"url\": \"api.openai.com/v1/chat/completions\", \"model\": \"gpt-4o-mini\"}}]: {error}"))
            })?,
            None => Vec::new(),
        };
        let max_cost: Option<Money> = match header(MAX_COST) {
            Some(text) => Some(text.parse().map_err(|error| bad(MAX_COST, format!("{MAX_COST}: {error}")))?),
            None => None,
        };
        let mut headers = HeaderMap::new();
        for name in PASSED_ON {
            // A list may come in several lines; of anything else the first one counts.
            let lines = if name == ANTHROPIC_BETA { usize::MAX } else { 1 };
            for value in from.get_all(&name).iter().take(lines) {
                headers.append(name.clone(), value.clone());
            }
        }
        Ok(Self { fallbacks, max_cost, headers })
    }
}

/// An answer or an error as a response.
pub(super) fn respond(result: Result<Response, impl Into<Refused>>) -> Response {
    respond_as(&Form::default(), result)
}

pub(super) fn respond_as(form: &Form, result: Result<Response, impl Into<Refused>>) -> Response {
    result.unwrap_or_else(|refused| {
        let Refused { error, notes } = refused.into();
        let mut response = error_response(form, &error);
        response.headers_mut().extend(*notes);
        response
    })
}

/// A JSON answer, or an error, as a response.
pub(super) fn respond_json<T: Serialize>(status: http::StatusCode, result: Result<T, GatewayError>) -> Response {
    respond_json_as(&Form::default(), status, result)
}

/// The same for a caller who reads errors in this form.
pub(super) fn respond_json_as<T: Serialize>(form: &Form, status: http::StatusCode, result: Result<T, GatewayError>) -> Response {
    respond_as(form, result.map(|value| json_response(status, &value)))
}

fn json_response(status: http::StatusCode, value: &impl Serialize) -> Response {
    let mut response = http::Response::new(body_of(Bytes::from(serde_json::to_vec(value).unwrap_or_default())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn error_response(form: &Form, error: &GatewayError) -> Response {
    let mut response = if form.is_page {
        connect::refusal(error.status(), &error.message())
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

/// A body that is fed by another task, which learns by the guard when nobody reads it any more.
pub(super) fn stream_body(events: mpsc::Receiver<Bytes>, guard: DropGuard) -> Body {
    Body::from_stream(stream::unfold((events, guard), |(mut events, guard)| async move {
        let bytes = events.recv().await?;
        Some((Ok::<_, Infallible>(bytes), (events, guard)))
    }))
}
