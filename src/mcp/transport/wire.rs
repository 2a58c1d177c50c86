//! Bodies of HTTP requests, read within limits, and refusals as JSON-RPC errors.
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
use rmcp::model::{ErrorCode, ErrorData};
use serde_json::{Value, json};

use super::{
    envelope::Envelope,
    message::{self, Incoming, MESSAGE_BYTES_MAX, Refusal},
};
use crate::{
    listen::{BodyBudget, BodyShare, OverBudget},
    session::Payer,
};

/// Where the id of a message that is too large is looked for.
const ID_BYTES_MAX: usize = 64 << 10;
/// A caller who takes longer to send a message is not waited for.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// An error that answers a request whose id is not known.
pub(super) fn refuse(status: StatusCode, error: ErrorData) -> Response<Body> {
    let ErrorData { code, message, .. } = error;
    json_response(status, &json!({"jsonrpc": "2.0", "id": null, "error": {"code": code.0, "message": message}}))
}

/// An error that answers a request.
pub(super) fn answer(status: StatusCode, refusal: &Refusal) -> Response<Body> {
    json_response(status, &refusal.to_value())
}

pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The message of a request, beside its body.
#[derive(Clone, Debug)]
pub(super) struct Parsed(Arc<Incoming>);

impl Parsed {
    pub(super) fn into_incoming(self) -> Incoming {
        Arc::unwrap_or_clone(self.0)
    }
}

impl std::ops::Deref for Parsed {
    type Target = Incoming;

    fn deref(&self) -> &Incoming {
        &self.0
    }
}

/// Reads the message of a request. It is read for a payer who has been let in, within the room for their messages.
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
    let (mut parts, body) = request.into_parts();
    let no = |status, code, text: String| Err(Box::new(refuse(status, ErrorData::new(code, text, None))));
    let whole = match tokio::time::timeout(MESSAGE_TIMEOUT, whole_of(body, share)).await {
        Err(_) => {
            let text = format!("The message did not arrive within {} seconds.", MESSAGE_TIMEOUT.as_secs());
            return no(StatusCode::REQUEST_TIMEOUT, ErrorCode::INVALID_REQUEST, text);
        }
        Ok(Err(Unread::TooLarge(begun))) => {
            // The route knows where an answer to it is waited for.
            let refusal = Incoming::Refused(Refusal::too_large(Envelope::id_in(&begun)));
            parts.extensions.insert(Parsed(Arc::new(refusal)));
            return Ok(Request::from_parts(parts, Body::empty()));
        }
        Ok(Err(Unread::NoRoom(over))) => {
            let status = if over == OverBudget::Own { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::SERVICE_UNAVAILABLE };
            let text =
                "The messages in progress use all the memory there is for them. Send this one again in a moment, or send fewer at a time.";
            let mut refusal = refuse(status, ErrorData::internal_error(text, None));
            refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return Err(Box::new(refusal));
        }
        Ok(Err(Unread::Broken(error))) => {
            return no(StatusCode::BAD_REQUEST, ErrorCode::INVALID_REQUEST, format!("The message could not be read: {error}"));
        }
        Ok(Ok(whole)) => whole,
    };
    let mut incoming = message::read(&whole);
    let whole = match &mut incoming {
        Incoming::Message { rewritten: rewritten @ Some(_), .. } => rewritten.take().map_or(whole, Bytes::from),
        // Behind the mark that some programs begin a text with.
        _ if whole.starts_with(message::BYTE_ORDER_MARK) => whole.slice(message::BYTE_ORDER_MARK.len()..),
        _ => whole,
    };
    parts.extensions.insert(Parsed(Arc::new(incoming)));
    Ok(Request::from_parts(parts, Body::from(whole)))
}

/// Why a message was not read to its end.
enum Unread {
    /// With what there was of it.
    TooLarge(Bytes),
    NoRoom(OverBudget),
    Broken(axum::Error),
}

async fn whole_of(mut body: Body, share: &mut BodyShare) -> Result<Bytes, Unread> {
    let bytes_max = if body.size_hint().lower() > MESSAGE_BYTES_MAX as u64 { ID_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            whole.extend_from_slice(&data[..data.len().min(ID_BYTES_MAX)]);
            return Err(Unread::TooLarge(whole.freeze()));
        }
        share.grow(data.len()).map_err(Unread::NoRoom)?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
