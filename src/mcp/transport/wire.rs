//! Bodies of HTTP requests, read within limits, and refusals as JSON-RPC errors without an id.
//!
//! rmcp answers a body that is no JSON with plain text; a client should rather be told in its own protocol what is wrong.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware::Next,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt;
use rmcp::model::{ClientJsonRpcMessage, ErrorCode, ErrorData};
use serde_json::{Value, json};

use crate::{
    listen::{BodyBudget, BodyShare, OverBudget},
    session::Payer,
};

/// Largest message: as much as the gateway reads, and a little for the envelope.
pub(super) const MESSAGE_BYTES_MAX: usize = 33 << 20;
/// A caller who takes longer to send a message is not waited for.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// An error that answers a request whose id is not known.
pub(super) fn refuse(status: StatusCode, error: ErrorData) -> Response<Body> {
    let ErrorData { code, message, .. } = error;
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code.0, "message": message}}).to_string();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Lets through what is one JSON-RPC message by its form. It is read for a payer who has been let in, within the room for their messages.
pub(super) async fn check_message(
    State(bodies): State<Arc<BodyBudget>>,
    Extension(payer): Extension<Payer>,
    request: Request,
    next: Next,
) -> Response<Body> {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let mut share = bodies.share(&payer.scope());
    match read(request, &mut share).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => *refusal,
    }
}

async fn read(request: Request, share: &mut BodyShare) -> Result<Request, Box<Response<Body>>> {
    let (parts, body) = request.into_parts();
    let no = |status, code, text: String| Err(Box::new(refuse(status, ErrorData::new(code, text, None))));
    let whole = match tokio::time::timeout(MESSAGE_TIMEOUT, whole_of(body, share)).await {
        Err(_) => {
            let text = format!("The message did not arrive within {} seconds.", MESSAGE_TIMEOUT.as_secs());
            return no(StatusCode::REQUEST_TIMEOUT, ErrorCode::INVALID_REQUEST, text);
        }
        Ok(Err(Unread::TooLarge)) => {
            let text = format!("The message is larger than {} MiB.", MESSAGE_BYTES_MAX >> 20);
            return no(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::INVALID_REQUEST, text);
        }
        Ok(Err(Unread::NoRoom(over))) => {
            let status = if over == OverBudget::Own { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::SERVICE_UNAVAILABLE };
            let text = "The messages that are being worked on fill the room there is for them. Send this one again in a moment, or fewer at a time.";
            let mut refusal = refuse(status, ErrorData::internal_error(text, None));
            refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return Err(Box::new(refusal));
        }
        Ok(Err(Unread::Broken(error))) => {
            return no(StatusCode::BAD_REQUEST, ErrorCode::INVALID_REQUEST, format!("The message could not be read: {error}"));
        }
        Ok(Ok(whole)) => whole,
    };
    match fault(&whole) {
        None => Ok(Request::from_parts(parts, Body::from(whole))),
        Some(error) => Err(Box::new(refuse(StatusCode::BAD_REQUEST, error))),
    }
}

/// Why a message was not read to its end.
enum Unread {
    TooLarge,
    NoRoom(OverBudget),
    Broken(axum::Error),
}

async fn whole_of(mut body: Body, share: &mut BodyShare) -> Result<Bytes, Unread> {
    if body.size_hint().lower() > MESSAGE_BYTES_MAX as u64 {
        return Err(Unread::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > MESSAGE_BYTES_MAX {
            return Err(Unread::TooLarge);
        }
        share.grow(data.len()).map_err(Unread::NoRoom)?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// What keeps bytes from being one message.
fn fault(body: &Bytes) -> Option<ErrorData> {
    if serde_json::from_slice::<ClientJsonRpcMessage>(body).is_ok() {
        return None;
    }
    let text = match serde_json::from_slice::<Value>(body) {
        Err(error) => return Some(ErrorData::parse_error(format!("The message is not JSON: {error}"), None)),
        Ok(message) if !message.is_object() => {
            "One JSON-RPC message, an object, is needed. Batches are not part of MCP since its revision 2025-06-18: send each message by itself."
        }
        Ok(_) => {
            "This is not a message of JSON-RPC 2.0: it has \"jsonrpc\": \"2.0\", and a \"method\" with its \"params\" as an object, or a \"result\" or an \"error\"."
        }
    };
    Some(ErrorData::invalid_request(text, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_told_apart() {
        let code = |text: &'static str| fault(&Bytes::from_static(text.as_bytes())).map(|error| error.code);
        assert_eq!(code(" {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}\n"), None);
        assert_eq!(code("{\"jsonrpc\": \"2.0\"}"), Some(ErrorCode::INVALID_REQUEST));
        assert_eq!(code("{\"jsonrpc\": "), Some(ErrorCode::PARSE_ERROR));
        assert_eq!(code(""), Some(ErrorCode::PARSE_ERROR));
        assert_eq!(code("\n[{}]"), Some(ErrorCode::INVALID_REQUEST));
        assert_eq!(code("7"), Some(ErrorCode::INVALID_REQUEST));
        let deep = Bytes::from("[".repeat(100_000));
        assert_eq!(fault(&deep).map(|error| error.code), Some(ErrorCode::PARSE_ERROR));
    }
}
