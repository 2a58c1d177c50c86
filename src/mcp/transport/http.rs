//! Streamable HTTP at `/mcp`, in both protocol eras, and legacy HTTP+SSE beside it: the routes, and serving them.
//!
//! The 2026-07-28 era has no sessions. The older one has, because a server asks its client (for a login, for a confirmation) within one; nothing else is kept there.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
    routing::get,
};
use http::StatusCode;
use rmcp::{
    ServerHandler,
    model::{ErrorCode, ErrorData},
    transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    card,
    guard::{self, Guard},
    message::MESSAGE_BYTES_MAX,
    sessions::Sessions,
    sse, streamable,
    wire::{self, refuse},
};
use crate::listen::{self, BodyBudget};

/// How long calls in flight may still run after the end was asked for.
const GRACE: Duration = Duration::from_millis(500);
/// How long connections may take to end after that.
const DRAIN: Duration = Duration::from_millis(750);
/// A comment goes down a silent stream this often, so that no proxy or client takes it for dead.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Says that the process runs.
const HEALTH: &str = "/healthz";

/// The routes of an MCP server.
pub fn router<H: ServerHandler + Clone>(handler: H, guard: Guard, with_sse: bool, stop: &CancellationToken) -> Router {
    let config = StreamableHttpServerConfig::default()
        // Our own layer looks at Host and Origin, for these routes and all others.
        .disable_allowed_hosts()
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_json_response(true)
        // Events without data belong to the revision 2025-11-25, and older clients break on them; the sessions send them where they are known.
        .with_sse_retry(None)
        .with_max_request_body_bytes(MESSAGE_BYTES_MAX)
        .with_cancellation_token(stop.clone());
    let fresh = handler.clone();
    let sessions = Arc::new(Sessions::default());
    let streamable = StreamableHttpService::new(move || Ok(fresh.clone()), sessions.clone(), config);
    let mut router = Router::new()
        .route_service("/mcp", streamable.clone())
        .route_service("/mcp/", streamable)
        .layer(from_fn_with_state(sessions, streamable::enter));
    if with_sse {
        router = router.merge(sse::router(handler, stop.clone()));
    }
    router
        .layer(from_fn_with_state(Arc::<BodyBudget>::default(), wire::check_message))
        .route(HEALTH, get(async || "ok"))
        .route(card::PATH, get(card::card))
        .route(card::WELL_KNOWN_PATH, get(card::card))
        .fallback(async || {
            let text = "Nothing is served here. MCP is at /mcp; clients that only know HTTP+SSE start at /sse.";
            refuse(StatusCode::NOT_FOUND, ErrorData::new(ErrorCode::INVALID_REQUEST, text, None))
        })
        .layer(from_fn_with_state(Arc::new(guard), guard::enter))
        .layer(from_fn(logged))
}

/// Leaves a line in the log for each request, as the gateway does; what a message said is not in it.
async fn logged(request: Request, next: Next) -> Response {
    let (method, path, began) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
    let response = next.run(request).await;
    // Whoever watches over a server asks this every few seconds.
    if path != HEALTH {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(ms, "{method} {path} {}", response.status().as_u16());
    }
    response
}

/// Serves until `stop` resolves, with no bound on the connections of each of `proxies`. Calls in flight get a moment to finish; the caller settles what is left.
pub async fn serve<H: ServerHandler + Clone>(
    handler: H,
    guard: Guard,
    with_sse: bool,
    listener: TcpListener,
    proxies: &[IpAddr],
    stop: impl Future<Output = ()>,
) {
    let streams = CancellationToken::new();
    let router = router(handler, guard, with_sse, &streams);
    let ending = streams.clone();
    let stop = async move {
        stop.await;
        // Streams stay open as long as their clients like, so they are ended for them.
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            ending.cancel();
        });
    };
    listen::serve(router, listener, proxies, stop, GRACE + DRAIN).await;
    streams.cancel();
}
