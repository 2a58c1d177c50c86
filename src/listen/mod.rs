//! Listens on a socket and serves a router there: HTTP/1.1 and HTTP/2 on one port, limits on what a connection may take, and an end that lets requests in
//! flight finish. The gateway and the MCP server stand behind it.

mod caller;
mod newcomers;
mod strangers;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tower::Service;

pub(crate) use crate::platform::Ends;
pub use caller::Peer;
pub(crate) use caller::{host, is_no_foreign_page, is_relayed, is_same_origin, is_this_machine, one};
use newcomers::{Newcomer, Newcomers};
pub(crate) use strangers::Strangers;

/// Most connections at a time. For one more, the oldest that has not asked for anything makes room.
const CONNECTIONS_MAX: usize = 1_024;
/// Time for the head of a request. hyper has such a limit, but without a timer it is silently off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, and its most fields.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEAD_FIELDS_MAX: usize = 100;
/// Most requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;
/// A client that reads nothing of an answer for this long is gone, in milliseconds.
#[cfg(any(target_os = "linux", target_os = "android"))]
const READ_TIMEOUT_MS: u32 = 60_000;
/// Pause after the system refused a connection, when it is out of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds an address.
///
/// # Errors
/// A sentence that names the address, when it is taken or cannot be used.
pub(crate) async fn bind(address: SocketAddr) -> Result<(SocketAddr, TcpListener), String> {
    let bound = TcpListener::bind(address).await.and_then(|listener| Ok((listener.local_addr()?, listener)));
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is taken by another program; choose another port, or 0 for a free one, with --listen {}:0", address.ip())
        }
        _ => format!("{address} cannot be listened on: {error}"),
    })
}

/// Serves until `stop` resolves; then lets requests in flight go on for `drain`.
pub(crate) async fn serve(router: Router, listener: TcpListener, stop: impl Future<Output = ()>, drain: Duration) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut newcomers = Newcomers::default();
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
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((socket, there)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let place = match places.clone().try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_) => {
                newcomers.dismiss_the_oldest();
                tokio::select! {
                    place = places.clone().acquire_owned() => place,
                    () = &mut stop => break,
                }
            }
        };
        // Small writes must not wait for each other: that is what stalls streams for 40 ms.
        let _ = socket.set_nodelay(true);
        // Who takes nothing of what is sent for this long is gone, although its socket is open.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&socket, READ_TIMEOUT_MS);
        let newcomer = newcomers.welcome();
        let peer = Peer::of(there);
        let ends = socket.local_addr().ok().filter(|_| peer.is_none()).map(|here| Ends::new(here, there));
        let visit = Visit { router: router.clone(), peer, ends, newcomer: newcomer.clone() };
        let (builder, service, watcher) = (builder.clone(), TowerToHyperService::new(visit), connections.watcher());
        tokio::spawn(async move {
            let served = async {
                // The time limit on the head begins with the first byte; a client that sends none is not waited for any longer.
                if !matches!(tokio::time::timeout(HEAD_TIMEOUT, socket.readable()).await, Ok(Ok(()))) {
                    return;
                }
                let connection = builder.serve_connection(TokioIo::new(socket), service);
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            };
            tokio::select! {
                () = served => {}
                () = newcomer.dismissed() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(drain, connections.shutdown()).await;
}

/// The router, called by one connection.
#[derive(Clone)]
struct Visit {
    router: Router,
    peer: Option<Peer>,
    /// Told of a connection on this machine.
    ends: Option<Ends>,
    newcomer: Arc<Newcomer>,
}

impl<B> Service<Request<B>> for Visit
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.router.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.newcomer.has_asked();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        if let Some(ends) = &self.ends {
            request.extensions_mut().insert(ends.clone());
        }
        self.router.call(request)
    }
}
