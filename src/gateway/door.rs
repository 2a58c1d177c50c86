//! Who may speak to a listener: told from the address it listens on, the names a request gives, and what a browser says about the page behind it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Gateway,
    access_log::Origin,
    connect, credential,
    edge::{self, Response},
    entrance,
    error::GatewayError,
    metrics::{self, Metrics, Readers},
};
use crate::listen::{Peer, Strangers, host, is_named, is_no_foreign_page, is_this_machine, one};
use axum::{
    Router,
    extract::{Request, State},
    middleware::Next,
    routing::get,
};
use http::{HeaderMap, header};

/// Marks the answer to a key that was looked up in vain.
#[derive(Clone, Copy)]
pub(super) struct LookedUpInVain;

struct Door {
    gateway: Arc<Gateway>,
    is_local: bool,
    /// Names, without ports, under which a proxy on this machine passes requests on.
    names: Vec<String>,
    strangers: Strangers,
}

/// The gateway's routes as a listener at this address serves them, also under these names: with metrics, and behind the rules on who may call.
pub(super) fn router(gateway: Arc<Gateway>, address: SocketAddr, names: Vec<String>) -> Router {
    let is_local = address.ip().is_loopback();
    // A gateway that has names is reached through a proxy, and a proxy need not say that it is one.
    let is_private = is_local && names.is_empty();
    let readers = if is_private { Readers::ThisMachine } else { Readers::SecretKeys };
    let router = edge::router_with(gateway.clone(), connect::routes(gateway.clone(), is_private))
        .route("/metrics", get(metrics::page).with_state((gateway.clone(), readers)));
    let is_sandbox = gateway.sandbox;
    let door = Arc::new(Door { gateway, is_local, names, strangers: Strangers::default() });
    entrance::behind(is_sandbox, Origin::Network, router.layer(axum::middleware::from_fn_with_state(door, enter)))
}

async fn enter(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if let Some(error) = door.refusal(&request) {
        return door.refuse(&request, error);
    }
    // From the socket; what a header says about the peer, the peer can make up.
    let peer = request.extensions().get::<Peer>().copied();
    let response = next.run(request).await;
    if let Some(peer) = peer
        && response.extensions().get::<LookedUpInVain>().is_some()
    {
        door.strangers.count(peer, Instant::now());
    }
    response
}

impl Door {
    fn refusal(&self, request: &Request) -> Option<GatewayError> {
        let Ok(host) = host(request) else {
            return Some(GatewayError::BadRequest("Send exactly one Host header, with the host that the request is for.".to_owned()));
        };
        if self.is_local && !(host.is_some_and(|host| self.is_ours(host)) && self.is_no_foreign_page(request.headers())) {
            return Some(GatewayError::Forbidden(if request.uri().path() == connect::ADDRESS {
                "You came here from another web page, or under an unknown host name. To log in, copy the address that your program shows into the address bar."
            } else {
                "This gateway serves programs on its own machine; web pages and unknown host names may not call it. Behind a proxy, start it with `--host NAME`."
            }));
        }
        let shows_a_secret = credential::is_shown(request.headers()) || connect::tries_a_secret(request);
        let peer = request.extensions().get::<Peer>().filter(|_| shows_a_secret)?;
        let wait = self.strangers.wait(*peer, Instant::now())?;
        Some(GatewayError::TooManyUnknownKeys { wait_s: wait.as_secs() + 1 })
    }

    fn is_ours(&self, host: &str) -> bool {
        is_this_machine(host) || is_named(host, &self.names)
    }

    fn is_no_foreign_page(&self, headers: &HeaderMap) -> bool {
        let origin = one(headers, &header::ORIGIN).ok().flatten();
        let is_own = origin.and_then(|origin| origin.split_once("://")).is_some_and(|(_, host)| is_named(host, &self.names));
        is_own || is_no_foreign_page(headers)
    }

    fn refuse(&self, request: &Request, error: GatewayError) -> Response {
        let path = request.uri().path();
        let response = edge::respond_as(&edge::Form::of(request), Err(error));
        self.gateway.metrics.answered(Metrics::route(path), &response, Duration::ZERO);
        response
    }
}
