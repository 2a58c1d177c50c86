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
use crate::listen::{Peer, Strangers, host, is_no_foreign_page, is_this_machine};
use axum::{
    Router,
    extract::{Request, State},
    middleware::Next,
    routing::get,
};

/// Marks the answer to a key that was looked up in vain.
#[derive(Clone, Copy)]
pub(super) struct LookedUpInVain;

struct Door {
    gateway: Arc<Gateway>,
    is_local: bool,
    strangers: Strangers,
}

/// The gateway's routes as a listener at this address serves them: with metrics, and behind the rules on who may call.
pub(super) fn router(gateway: Arc<Gateway>, address: SocketAddr) -> Router {
    let is_local = address.ip().is_loopback();
    let readers = if is_local { Readers::ThisMachine } else { Readers::SecretKeys };
    let router = edge::router_with(gateway.clone(), connect::routes(gateway.clone(), is_local))
        .route("/metrics", get(metrics::page).with_state((gateway.clone(), readers)));
    let is_sandbox = gateway.sandbox;
    let door = Arc::new(Door { gateway, is_local, strangers: Strangers::default() });
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
        if self.is_local && !(host.is_some_and(is_this_machine) && is_no_foreign_page(request.headers())) {
            return Some(GatewayError::Forbidden(if request.uri().path() == connect::ADDRESS {
                "You came here from another web page, or under an unknown host name. To log in, copy the address that your program shows into the address bar."
            } else {
                "This gateway serves programs on its own machine; web pages and unknown host names may not call it."
            }));
        }
        let shows_a_secret = credential::is_shown(request.headers()) || connect::tries_a_secret(request);
        let peer = request.extensions().get::<Peer>().filter(|_| shows_a_secret)?;
        let wait = self.strangers.wait(*peer, Instant::now())?;
        Some(GatewayError::TooManyUnknownKeys { wait_s: wait.as_secs() + 1 })
    }

    fn refuse(&self, request: &Request, error: GatewayError) -> Response {
        let path = request.uri().path();
        let response = edge::respond_as(&edge::Form::of(request), Err(error));
        self.gateway.metrics.answered(Metrics::route(path), &response, Duration::ZERO);
        response
    }
}
