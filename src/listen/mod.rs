//! Listens on a socket and serves a router there: HTTP/1.1 and HTTP/2 on one port, limits on what a connection may take, and an end that lets requests in
//! flight finish. The gateway and the MCP server stand behind it.

mod body_budget;
mod caller;
mod lingering;
mod places;
mod strangers;
mod visit;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};

pub(crate) use crate::platform::{Ends, is_of_trusted_account};
pub(crate) use body_budget::{BodyBudget, BodyShare, OverBudget};
pub use caller::Peer;
pub(crate) use caller::{host, is_named, is_no_foreign_page, is_relayed, is_same_origin, is_this_machine, one};
use lingering::{Lingering, Unread};
use places::Places;
pub(crate) use strangers::Strangers;
use visit::Visit;

/// Most connections at a time. For one more, one that is idle makes room (`places`).
const CONNECTIONS_MAX: usize = 1_024;
/// Most connections of one peer on another machine, as many as four peers can have at once. A proxy that is named brings many clients and has no such bound.
const CONNECTIONS_OF_PEER_MAX: usize = CONNECTIONS_MAX / 4;
/// When nobody can make room, somebody may be able to after this long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);
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
        io::ErrorKind::AddrInUse => format!(
            "{address} is in use by another program, perhaps another lava-mcp\nhint: choose another port with --listen {}, or a free one with --listen {}",
            SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8080)),
            SocketAddr::new(address.ip(), 0)
        ),
        io::ErrorKind::PermissionDenied => {
            format!("you are not allowed to listen on {address}: ports below 1024 are for administrators\nhint: choose another port with --listen, such as 4040")
        }
        io::ErrorKind::AddrNotAvailable => format!("{} is not an address of this machine\nhint: listen on 127.0.0.1", address.ip()),
        _ => format!("cannot listen on {address}: {error}"),
    })
}

/// Serves until `stop` resolves; then lets requests in flight go on for `drain`. Connections from `proxies` are bounded only all together.
pub(crate) async fn serve(router: Router, listener: TcpListener, proxies: &[IpAddr], stop: impl Future<Output = ()>, drain: Duration) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut places = Places::default();
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
    'accept: loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((socket, there)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let peer = Peer::of(there);
        let bounded = peer.filter(|_| !proxies.contains(&there.ip().to_canonical()));
        if let Some(peer) = bounded
            && places.count(peer) >= CONNECTIONS_OF_PEER_MAX
            && !places.dismiss_one(Some(peer))
        {
            // All of its connections are busy; others need the places that are left.
            continue;
        }
        let place = loop {
            if let Ok(place) = free.clone().try_acquire_owned() {
                break place;
            }
            places.dismiss_one(None);
            tokio::select! {
                place = free.clone().acquire_owned() => if let Ok(place) = place { break place },
                () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
                () = &mut stop => break 'accept,
            }
        };
        // Small writes must not wait for each other: that is what stalls streams for 40 ms.
        let _ = socket.set_nodelay(true);
        // Who takes nothing of what is sent for this long is gone, although its socket is open.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&socket, READ_TIMEOUT_MS);
        let guest = places.welcome(bounded);
        let ends = socket.local_addr().ok().filter(|_| peer.is_none()).map(|here| Ends::new(here, there));
        let unread = Unread::default();
        let visit = Visit { router: router.clone(), peer, ends, guest: guest.clone(), unread: unread.clone() };
        let (builder, service, watcher) = (builder.clone(), TowerToHyperService::new(visit), connections.watcher());
        tokio::spawn(async move {
            let served = async {
                // The time limit on the head begins with the first byte; a client that sends none is not waited for any longer.
                if !matches!(tokio::time::timeout(HEAD_TIMEOUT, socket.readable()).await, Ok(Ok(()))) {
                    return;
                }
                let connection = builder.serve_connection(TokioIo::new(Lingering::new(socket, unread)), service);
                if let Err(error) = watcher.watch(connection).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            };
            tokio::select! {
                () = served => {}
                () = guest.dismissed() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(drain, connections.shutdown()).await;
}
