//! Legacy HTTP+SSE (revision 2024-11-05): `GET /sse` opens a stream that first tells where messages are to be sent, and then carries the answers. rmcp no longer has
//! this transport; some clients have no other. A connection ends with its stream, and takes the calls in flight along.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    sync::{Arc, Mutex, PoisonError},
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
use http_body_util::BodyExt;
use rmcp::{
    RoleServer, ServerHandler,
    model::{ClientJsonRpcMessage, ErrorCode, ErrorData, GetExtensions},
    service::{RxJsonRpcMessage, TxJsonRpcMessage, serve_server_with_ct},
    transport::Transport,
};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{http::KEEP_ALIVE, wire::refuse};
use crate::{domain::id::hex, session::Payer};

/// Most connections of one payer, and in all. One more is refused: each of the others belongs to a client that is there.
const CONNECTIONS_OF_PAYER_MAX: usize = 100;
const CONNECTIONS_MAX: usize = 400;
/// Messages that may wait in one direction.
const QUEUE: usize = 64;
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
    incoming: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
    owner: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sender {
    session_id: Option<String>,
}

pub(super) fn router<H: ServerHandler + Clone>(handler: H, stop: CancellationToken) -> Router {
    let connections = Arc::new(Connections { handler, stop, open: Mutex::default() });
    Router::new().route("/sse", get(connect::<H>)).route("/messages", post(message::<H>)).with_state(connections)
}

async fn connect<H: ServerHandler + Clone>(
    State(connections): State<Arc<Connections<H>>>,
    Extension(payer): Extension<Payer>,
) -> Response<Body> {
    let mut id = [0_u8; 16];
    if getrandom::fill(&mut id).is_err() {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, ErrorData::internal_error("The system gives no random numbers.", None));
    }
    let id = hex(&id);
    let (incoming, from_client) = mpsc::channel(QUEUE);
    let (to_client, outgoing) = mpsc::channel(QUEUE);
    let ended = connections.stop.child_token();
    if let Err(status) = connections.admit(&id, Connection { incoming, owner: payer.scope() }) {
        let text = "There are as many connections as this server keeps open at a time. End one, or try again later.";
        let mut refusal = refuse(status, ErrorData::invalid_request(text, None));
        refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        return refusal;
    }
    let transport = Line { from_client, to_client, ended: ended.clone() };
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
        return no(StatusCode::BAD_REQUEST, "Send messages to the address that the endpoint event of GET /sse told, with its sessionId.");
    };
    // The id alone proves nothing: whoever sends must pay with the same key as whoever connected.
    let found = connections.lock().get(&id).filter(|connection| connection.owner == payer.scope()).cloned();
    let Some(connection) = found else {
        return no(StatusCode::NOT_FOUND, "There is no such connection (any more). Connect again with GET /sse.");
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return no(StatusCode::BAD_REQUEST, "The message could not be read.") };
    let mut message: ClientJsonRpcMessage = match serde_json::from_slice(&body.to_bytes()) {
        Ok(message) => message,
        Err(error) => return no(StatusCode::BAD_REQUEST, &format!("This is not a JSON-RPC message of MCP: {error}")),
    };
    // As rmcp does for Streamable HTTP: a handler sees the request that a message came with, and so who pays.
    if let ClientJsonRpcMessage::Request(request) = &mut message {
        request.request.extensions_mut().insert(parts);
    }
    match tokio::time::timeout(ACCEPT_TIMEOUT, connection.incoming.send(message)).await {
        Ok(Ok(())) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        Ok(Err(_)) => no(StatusCode::NOT_FOUND, "The connection has ended. Connect again with GET /sse."),
        Err(_) => no(StatusCode::SERVICE_UNAVAILABLE, "Too many messages are waiting. Send this one again in a moment."),
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

/// The two directions as rmcp wants them.
struct Line {
    from_client: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    to_client: mpsc::Sender<String>,
    ended: CancellationToken,
}

impl Transport<RoleServer> for Line {
    type Error = io::Error;

    fn send(&mut self, item: TxJsonRpcMessage<RoleServer>) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let (to_client, ended) = (self.to_client.clone(), self.ended.clone());
        async move {
            let text = serde_json::to_string(&item)?;
            match tokio::time::timeout(READ_TIMEOUT, to_client.send(text)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
                Err(_) => {
                    ended.cancel();
                    Err(io::Error::from(io::ErrorKind::TimedOut))
                }
            }
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.from_client.recv().await
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.from_client.close();
        Ok(())
    }
}
