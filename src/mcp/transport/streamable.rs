//! What comes before and after rmcp at `/mcp`: whose session it is, which form of an answer is wanted, batches, and errors that say which request they are about.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    middleware::Next,
};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData};
use serde_json::Value;

use super::{
    accept::{self, Accept},
    batch,
    message::{Incoming, NO_BATCHES, Refusal},
    sessions::{Caller, Full, SESSION_ID, Sessions, session_id},
    wire::{Parsed, answer, json_response, refuse},
};
use crate::session::Payer;

/// When a place may be free again.
const RETRY_AFTER_S: u64 = 30;
const NO_SESSION: &str = "This session is unknown or has ended. Start a new one with initialize.";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Put to a request whose client hears nothing but the answer: it cannot be asked anything on the way.
#[derive(Clone, Copy, Debug)]
pub(in crate::mcp) struct OnlyAnswers;

/// The way of a request to rmcp and back.
#[derive(Clone)]
pub(super) struct Passage {
    scope: String,
    next: Next,
}

impl Passage {
    /// Has rmcp answer a request.
    pub(super) async fn answer(self, request: Request) -> Response<Body> {
        let is_delete = request.method() == Method::DELETE;
        let mut response = match Caller::scope(&self.scope, self.next.run(request)).await {
            Ok(response) => response,
            Err(full) => full.into_response(),
        };
        // There is nothing to say about a session that has ended, and clients take another status for a failure.
        if is_delete && response.status() == StatusCode::ACCEPTED {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        response
    }
}

/// Lets callers into their own sessions only. To anybody else a session is one that does not exist.
pub(super) async fn enter(
    State(sessions): State<Arc<Sessions>>,
    Extension(payer): Extension<Payer>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let scope = payer.scope();
    let incoming = request.extensions_mut().remove::<Parsed>().map(Parsed::into_incoming);
    let id = incoming.as_ref().map_or(Value::Null, Incoming::id);
    let takes = Accept::of(request.headers());
    if let Err(refusal) = admit(&sessions, &scope, takes, incoming.as_ref(), &mut request) {
        return about(id, *refusal).await;
    }
    accept::take_both(request.headers_mut());
    let passage = Passage { scope, next };
    let response = match incoming {
        Some(Incoming::Batch(items)) => batch::answer(items, request, passage, &sessions).await,
        _ => {
            if !takes.events {
                request.extensions_mut().insert(OnlyAnswers);
            }
            passage.answer(request).await
        }
    };
    about(id, takes.fit(response).await).await
}

/// Whether a request goes on, or how it is refused.
fn admit(
    sessions: &Sessions,
    scope: &str,
    takes: Accept,
    incoming: Option<&Incoming>,
    request: &mut Request,
) -> Result<(), Box<Response<Body>>> {
    let no = |status, text: &'static str| Err(Box::new(refuse(status, ErrorData::invalid_request(text, None))));
    if request.method() == Method::GET && !takes.events {
        return no(StatusCode::NOT_ACCEPTABLE, "This is a stream of events; the Accept header must allow text/event-stream.");
    }
    if request.method() == Method::POST && !takes.json && !takes.events {
        return no(StatusCode::NOT_ACCEPTABLE, "Answers are application/json or text/event-stream; the Accept header allows neither.");
    }
    let session = session_id(request.headers()).map(str::to_owned);
    let session = match session.as_deref() {
        // Where a session begins, the name of one that has ended means nothing.
        Some(id) if incoming.is_some_and(Incoming::is_initialize) && (!sessions.is_known(id) || sessions.is_of_another(id, scope)) => {
            request.headers_mut().remove(SESSION_ID);
            None
        }
        Some(id) if sessions.is_of_another(id, scope) => {
            return no(StatusCode::NOT_FOUND, NO_SESSION);
        }
        session => session,
    };
    if request.method() == Method::DELETE && session.is_some_and(|id| !sessions.is_known(id)) {
        return no(StatusCode::NOT_FOUND, NO_SESSION);
    }
    if request.method() == Method::GET
        && let (Some(id), Some(last)) = (session, request.headers().get(LAST_EVENT_ID))
        && sessions.is_known(id)
        && !last.to_str().is_ok_and(|last| sessions.can_resume(id, last))
    {
        return no(StatusCode::NOT_FOUND, "This session has no event with this id: an answer is only kept for a minute.");
    }
    match incoming {
        Some(Incoming::Refused(refusal)) => Err(Box::new(answer(refusal.status(), refusal))),
        Some(Incoming::Ignored(error)) => Err(Box::new(refuse(StatusCode::BAD_REQUEST, error.clone()))),
        Some(Incoming::Batch(_)) if !session.is_some_and(|id| sessions.takes_batches(id)) => no(StatusCode::BAD_REQUEST, NO_BATCHES),
        Some(Incoming::Message { message, .. }) => match (&**message, session) {
            (ClientJsonRpcMessage::Request(asked), Some(id)) if sessions.is_under_way(id, &asked.id) => {
                Err(Box::new(answer(StatusCode::BAD_REQUEST, &Refusal::taken(asked.id.clone().into_json_value()))))
            }
            _ => Ok(()),
        },
        Some(Incoming::Batch(_)) | None => Ok(()),
    }
}

/// An error as JSON-RPC has it, with the id of the request that it is about. rmcp says some of them in plain text, and few with an id.
pub(super) async fn about(id: Value, response: Response<Body>) -> Response<Body> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let error = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(mut error)) => {
            let known = error.entry("id").or_insert(Value::Null);
            if known.is_null() {
                *known = id;
            }
            Value::Object(error)
        }
        _ => {
            let code = if status.is_server_error() { ErrorCode::INTERNAL_ERROR } else { ErrorCode::INVALID_REQUEST };
            Refusal::new(id, code, String::from_utf8_lossy(&body)).to_value()
        }
    };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, json_response(status, &error).into_body())
}

impl Full {
    fn into_response(self) -> Response<Body> {
        let (status, text) = match self {
            Self::Own => {
                (StatusCode::TOO_MANY_REQUESTS, "Each of this key's sessions has a call in progress. End one, or wait for an answer.")
            }
            Self::Everybody => (StatusCode::SERVICE_UNAVAILABLE, "This server has as many sessions as it allows. Try again later."),
        };
        let mut response = refuse(status, ErrorData::invalid_request(text, None));
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        response
    }
}
