//! Serves the router over a socket: HTTP/1.1 and HTTP/2 on one port, limits on what a connection may take, and an end in which every request is settled.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request, middleware::Next};
use http::{HeaderMap, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use url::Host;

use super::{
    Gateway,
    edge::{self, Response},
    error::GatewayError,
};

/// Most connections at a time; one more waits to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// Time for the head of a request. hyper has such a limit, but without a timer it is silently off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, and its most fields.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEAD_FIELDS_MAX: usize = 100;
/// Most requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// How long requests in flight may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(25);
/// Pause after the system refused a connection, when it is out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves; then lets requests in flight finish, settles what is left, and closes the ledger.
///
/// # Errors
/// When the listener's address is not known.
pub async fn serve(gateway: Arc<Gateway>, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
    let router = routes(gateway.clone(), listener.local_addr()?);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = GracefulShutdown::new();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX).max_headers(HEAD_FIELDS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, socket) = tokio::select! {
            next = next => next,
            () = &mut stop => break,
        };
        let Ok((socket, _)) = socket else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Small writes must not wait for each other: that is what stalls streams for 40 ms.
        let _ = socket.set_nodelay(true);
        let (builder, service, watcher) = (builder.clone(), TowerToHyperService::new(router.clone()), connections.watcher());
        tokio::spawn(async move {
            // The time limit on the head begins with the first byte; a client that sends none is not waited for any longer.
            if !matches!(tokio::time::timeout(HEAD_TIMEOUT, socket.readable()).await, Ok(Ok(()))) {
                return;
            }
            let connection = builder.serve_connection(TokioIo::new(socket), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
    gateway.shut_down(Duration::from_secs(1)).await;
    Ok(())
}

/// The router behind the rule on who may speak to a listener of this machine.
fn routes(gateway: Arc<Gateway>, address: SocketAddr) -> Router {
    let router = edge::router(gateway);
    if !address.ip().is_loopback() {
        return router;
    }
    router.layer(axum::middleware::from_fn(only_from_this_machine))
}

/// A web page can make a browser call this machine, under a name that its owner points here. Such a call names the page's host, or the page as its origin.
async fn only_from_this_machine(request: Request, next: Next) -> Response {
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.or_else(|| text(request.headers(), header::HOST));
    let origin_is_local = text(request.headers(), header::ORIGIN).is_none_or(|origin| is_local(&origin));
    if origin_is_local && host.is_some_and(|host| is_local(&format!("http://{host}"))) {
        return next.run(request).await;
    }
    edge::respond(Err(GatewayError::Forbidden(
        "This gateway serves programs on its own machine; a web page or a foreign host name may not call it.",
    )))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Whether a URL, such as an origin, leads to this machine.
fn is_local(url: &str) -> bool {
    // What nearly every request says, without reading it as a URL.
    let rest = url.strip_prefix("http://127.0.0.1").or_else(|| url.strip_prefix("http://localhost"));
    if rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())))
    {
        return true;
    }
    match url::Url::parse(url).as_ref().ok().and_then(url::Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
