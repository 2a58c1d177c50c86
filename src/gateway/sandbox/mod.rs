//! The built-in upstream of the sandbox. Nothing leaves the machine: it answers for every model, counts real tokens, and says in its text what it is.
//!
//! It is an upstream like any other: it gets the body a provider would get and answers in its dialect, so everything around it (holds, metering,
//! settlement, limits) is what happens with a real provider. What a provider refuses it refuses too.

mod anthropic;
mod chat;
mod embeddings;
mod example;
mod ids;
mod input;
mod refusal;
mod tools;
mod words;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use self::refusal::Refusal;
use super::{ask::Ask, reserve::Held, tokens, upstream::Reply, waits::Waits};
use crate::{domain::RequestShape, translate::sse::Event};

/// Answers a request as a provider would. `now` is the time in seconds since 1970.
pub(super) async fn answer(held: &Held, body: Bytes, now: i64) -> Reply {
    let (route, ask) = (held.route.clone(), held.ask.clone());
    // Counting is work, and the first count loads the vocabulary.
    let made = tokens::counting(move || {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let model = route.model.as_str();
        let made = match *ask {
            Ask::Chat(_) => chat::answer(&body, &chat::Asked { model, now, wants_usage: !ask.hides_usage() }),
            Ask::Messages(_) => anthropic::message(model, &body),
            Ask::CountTokens(_) => anthropic::count_tokens(&body),
            Ask::Embeddings(_) => Ok(Made::Plain(embeddings::answer(model, &body))),
            Ask::Free => Ok(Made::Plain(json!({"object": "list", "data": [], "sandbox": words::NOTE}))),
        };
        made.map_err(|refusal| in_dialect(&refusal, ask.shape()))
    });
    match made.await {
        Some(Ok(Made::Plain(value))) => reply(StatusCode::OK, "application/json", vec![Bytes::from(value.to_string())]),
        Some(Ok(Made::Stream(events))) => {
            reply(StatusCode::OK, "text/event-stream", events.iter().map(|event| event.raw().clone()).collect())
        }
        Some(Err(refused)) => reply(StatusCode::BAD_REQUEST, "application/json", vec![Bytes::from(refused.to_string())]),
        None => {
            let failed = br#"{"error":{"message":"the sandbox failed","type":"server_error","param":null,"code":null}}"#;
            reply(StatusCode::INTERNAL_SERVER_ERROR, "application/json", vec![Bytes::from_static(failed)])
        }
    }
}

fn reply(status: StatusCode, kind: &'static str, parts: Vec<Bytes>) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let body = stream::iter(parts.into_iter().map(Ok)).boxed();
    Reply { status, headers, body, is_stream: false, waits: Waits::default() }
}

fn in_dialect(refusal: &Refusal, shape: RequestShape) -> Value {
    match shape {
        RequestShape::Openai => refusal.to_openai(),
        RequestShape::Anthropic => refusal.to_anthropic(),
    }
}

/// An answer.
enum Made {
    Plain(Value),
    Stream(Vec<Event>),
}
