//! The gateway behind a socket, up to an end in which every request is settled.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::net::TcpListener;

use super::{Gateway, door};
use crate::listen;
pub use crate::listen::Peer;

/// How long requests in flight may go on after the end was asked for.
const DRAIN: Duration = Duration::from_secs(25);

/// Serves until `stop` resolves, also under `names` that a proxy on this machine passes on, with no bound on the connections of each of `proxies`; then lets requests in flight finish, settles what is left, and closes the ledger.
///
/// # Errors
/// When the listener's address is not known.
pub async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    proxies: &[IpAddr],
    names: Vec<String>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = door::router(gateway.clone(), listener.local_addr()?, names);
    listen::serve(router, listener, proxies, stop, DRAIN).await;
    gateway.shut_down(Duration::from_secs(1)).await;
    Ok(())
}

/// The gateway's routes as a listener at this address serves them: with metrics, and behind the rules on who may call.
pub fn router(gateway: Arc<Gateway>, address: SocketAddr) -> Router {
    door::router(gateway, address, Vec::new())
}
