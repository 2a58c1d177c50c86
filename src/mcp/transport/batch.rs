//! Batches over Streamable HTTP, in the one revision that has them: each message goes its own way, and their answers come back together.

use std::collections::HashSet;

use axum::{body::Body, extract::Request};
use futures_util::future::join_all;
use http::{Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use rmcp::model::{ClientJsonRpcMessage, RequestId};
use serde_json::Value;

use super::{
    accept::last_message,
    message::{Incoming, Refusal},
    sessions::{Sessions, session_id},
    streamable::{OnlyAnswers, Passage, about},
    wire::json_response,
};

/// Answers a batch: with the answers to its requests, or with nothing where there are none.
pub(super) async fn answer(mut items: Vec<Incoming>, request: Request, passage: Passage, sessions: &Sessions) -> Response<Body> {
    let (mut parts, _) = request.into_parts();
    refuse_taken(&mut items, |id| session_id(&parts.headers).is_some_and(|session| sessions.is_under_way(session, id)));
    parts.headers.remove(header::CONTENT_LENGTH);
    // Nothing else has a place in the answer to a batch.
    parts.extensions.insert(OnlyAnswers);
    let answers = join_all(items.into_iter().map(|item| one(item, parts.clone(), passage.clone()))).await;
    let answers: Vec<Value> = answers.into_iter().flatten().collect();
    if answers.is_empty() {
        let mut accepted = Response::new(Body::empty());
        *accepted.status_mut() = StatusCode::ACCEPTED;
        return accepted;
    }
    json_response(StatusCode::OK, &Value::Array(answers))
}

/// Two requests with one id would share one answer, and one of them would wait for ever.
fn refuse_taken(items: &mut [Incoming], is_under_way: impl Fn(&RequestId) -> bool) {
    let mut seen = HashSet::new();
    for item in items {
        let Incoming::Message { message, .. } = &*item else { continue };
        let ClientJsonRpcMessage::Request(asked) = &**message else { continue };
        if is_under_way(&asked.id) || !seen.insert(asked.id.clone()) {
            *item = Incoming::Refused(Refusal::taken(item.id()));
        }
    }
}

async fn one(item: Incoming, parts: Parts, passage: Passage) -> Option<Value> {
    let id = item.id();
    if item.is_initialize() {
        return Some(Refusal::not_in_a_batch(id).to_value());
    }
    let message = match item {
        Incoming::Message { message, .. } => message,
        Incoming::Refused(refusal) => return Some(refusal.to_value()),
        Incoming::Batch(_) | Incoming::Ignored(_) => return None,
    };
    let body = serde_json::to_vec(&message).ok()?;
    let response = passage.answer(Request::from_parts(parts, Body::from(body))).await;
    let is_stream = response.headers().get(header::CONTENT_TYPE).is_some_and(|form| form.as_bytes().starts_with(b"text/event-stream"));
    if response.status().is_success() && is_stream {
        return last_message(response.into_body()).await;
    }
    let body = about(id.clone(), response).await.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok().filter(|_| !id.is_null())
}
