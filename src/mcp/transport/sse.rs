//! Legacy HTTP+SSE (revision 2024-11-05): `GET /sse` opens a stream that first tells where messages are to be sent, and then carries the answers. rmcp no longer has
//! this transport; some clients have no other. A connection ends with its stream, and takes the calls in flight along.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Query, Request, State},
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{get, post},
};
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use rmcp::{
    ServerHandler,
    model::{ClientJsonRpcMessage, ErrorCode, ErrorData, GetExtensions},
    service::serve_server_with_ct,
};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    channel::{Channel, QUEUE},
    http::KEEP_ALIVE,
    message::{Incoming, NO_BATCHES},
    wire::{Parsed, answer, refuse},
};
use crate::{domain::id::hex, session::Payer};

/// Most connections of one payer, and in all. One more is refused: each of the others belongs to a client that is there.
const CONNECTIONS_OF_PAYER_MAX: usize = 100;
const CONNECTIONS_MAX: usize = 400;
/// A client that reads nothing for this long is gone.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A server that takes a message no sooner is overwhelmed.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

struct Connections<H> {
    handler: H,
    stop: CancellationToken,
    open: Mutex<HashMap<String, Connection>>,
}

/// The way in to a connection, and whose it is.
#[derive(Clone)]
struct Connection {
    incoming: mpsc::Sender<Incoming>,
    takes_batches: Arc<AtomicBool>,
    owner: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sender {
    session_id: Option<String>,
}

pub(super) fn router<H: ServerHandler + Clone>(handler: H, stop: CancellationToken) -> Router {
    let connections = Arc::new(Connections { handler, stop, open: Mutex::default() });
    let mut router = Router::new();
    for slash in ["", "/"] {
        router = router.route(&format!("/sse{slash}"), get(connect::<H>)).route(&format!("/messages{slash}"), post(message::<H>));
    }
    router.with_state(connections)
}

async fn connect<H: ServerHandler + Clone>(
    State(connections): State<Arc<Connections<H>>>,
    Extension(payer): Extension<Payer>,
) -> Response<Body> {
    let mut id = [0_u8; 16];
    if getrandom::fill(&mut id).is_err() {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, ErrorData::internal_error("The system does not provide random numbers.", None));
    }
    let id = hex(&id);
    let (incoming, from_client) = mpsc::channel(QUEUE);
    let (to_client, outgoing) = mpsc::channel(QUEUE);
    let ended = connections.stop.child_token();
    let transport = Channel::new(from_client, to_client).with_patience(READ_TIMEOUT, ended.clone());
    if let Err(status) = connections.admit(&id, Connection { incoming, takes_batches: transport.takes_batches(), owner: payer.scope() }) {
        let text = "This server has as many connections open as it allows. Close one, or try again later.";
        let mut refusal = refuse(status, ErrorData::invalid_request(text, None));
        refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        return refusal;
    }
    let (handler, stop) = (connections.handler.clone(), ended.clone());
    tokio::spawn(async move {
        match serve_server_with_ct(handler, transport, stop.clone()).await {
            Ok(running) => drop(running.waiting().await),
            // Without the error, which quotes what the client sent.
            Err(_) => tracing::debug!("an SSE client went before it had introduced itself"),
        }
        stop.cancel();
    });
    let endpoint = Event::default().event("endpoint").data(format!("/messages?sessionId={id}"));
    let open = Open { _ended: ended.clone().drop_guard(), id, connections };
    let events = stream::unfold((Some(endpoint), outgoing, ended, open), |(first, mut outgoing, ended, open)| async move {
        let event = match first {
            Some(event) => event,
            None => tokio::select! {
                message = outgoing.recv() => Event::default().event("message").data(message?),
                () = ended.cancelled() => return None,
            },
        };
        Some((Ok::<_, Infallible>(event), (None, outgoing, ended, open)))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn message<H: ServerHandler + Clone>(
    State(connections): State<Arc<Connections<H>>>,
    Query(sender): Query<Sender>,
    Extension(payer): Extension<Payer>,
    request: Request,
) -> Response<Body> {
    let no = |status, text: &str| refuse(status, ErrorData::new(ErrorCode::INVALID_REQUEST, text.to_owned(), None));
    let Some(id) = sender.session_id else {
        return no(StatusCode::BAD_REQUEST, "Send messages to the address that the endpoint event of GET /sse gave, with its sessionId.");
    };
    // The id alone proves nothing: whoever sends must pay with the same key as whoever connected.
    let found = connections.lock().get(&id).filter(|connection| connection.owner == payer.scope()).cloned();
    let Some(connection) = found else {
        return no(StatusCode::NOT_FOUND, "This connection is unknown or has ended. Connect again with GET /sse.");
    };
    let (mut parts, _) = request.into_parts();
    let Some(parsed) = parts.extensions.remove::<Parsed>() else { return no(StatusCode::BAD_REQUEST, "The body must be a message.") };
    let mut incoming = parsed.into_incoming();
    let refused = match &mut incoming {
        Incoming::Refused(refusal) => Some(answer(refusal.status(), refusal)),
        Incoming::Ignored(error) => Some(refuse(StatusCode::BAD_REQUEST, error.clone())),
        Incoming::Batch(_) if !connection.takes_batches.load(Ordering::Relaxed) => {
            Some(refuse(StatusCode::BAD_REQUEST, ErrorData::invalid_request(NO_BATCHES, None)))
        }
        Incoming::Batch(items) => {
            items.iter_mut().for_each(|item| attach(item, &parts));
            None
        }
        message => {
            attach(message, &parts);
            None
        }
    };
    // Whoever waits for an answer to it waits at the stream.
    let refused = match refused {
        Some(refused) if incoming.id().is_null() && !matches!(incoming, Incoming::Batch(_)) => return refused,
        refused => refused,
    };
    match tokio::time::timeout(ACCEPT_TIMEOUT, connection.incoming.send(incoming)).await {
        Ok(Ok(())) => refused.unwrap_or_else(|| (StatusCode::ACCEPTED, "Accepted").into_response()),
        Ok(Err(_)) => no(StatusCode::NOT_FOUND, "The connection has ended. Connect again with GET /sse."),
        Err(_) => no(StatusCode::SERVICE_UNAVAILABLE, "Too many messages are waiting. Send this one again in a moment."),
    }
}

/// As rmcp does for Streamable HTTP: a handler sees the request that a message came with, and so who pays.
fn attach(incoming: &mut Incoming, parts: &http::request::Parts) {
    if let Incoming::Message { message, .. } = incoming
        && let ClientJsonRpcMessage::Request(request) = &mut **message
    {
        request.request.extensions_mut().insert(parts.clone());
    }
}

impl<H> Connections<H> {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, id: &str, connection: Connection) -> Result<(), StatusCode> {
        let mut open = self.lock();
        if open.values().filter(|other| other.owner == connection.owner).count() >= CONNECTIONS_OF_PAYER_MAX {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        if open.len() >= CONNECTIONS_MAX {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        open.insert(id.to_owned(), connection);
        Ok(())
    }
}

/// Lives as long as the stream to the client: with it go the connection, and every call in flight.
struct Open<H> {
    id: String,
    connections: Arc<Connections<H>>,
    _ended: DropGuard,
}

impl<H> Drop for Open<H> {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.id);
    }
}
