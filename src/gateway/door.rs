//! Who may speak to a listener: told from the address it listens on, the names a request gives, and what a browser says about the page behind it.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::Next,
    routing::get,
};
use http::{HeaderMap, HeaderName, Version, header, uri::Authority};

use super::{
    Gateway, credential,
    edge::{self, Response},
    error::GatewayError,
    metrics::{self, Metrics, Readers},
    strangers::{LookedUpInVain, Peer, Strangers},
};

/// What a browser says about the page that makes it call: whether it is of the same site.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

struct Door {
    gateway: Arc<Gateway>,
    is_local: bool,
    strangers: Strangers,
}

/// The gateway's routes as a listener at this address serves them: with metrics, and behind the rules on who may call.
pub(super) fn router(gateway: Arc<Gateway>, address: SocketAddr) -> Router {
    let is_local = address.ip().is_loopback();
    let readers = if is_local { Readers::ThisMachine } else { Readers::SecretKeys };
    let router = edge::router(gateway.clone()).route("/metrics", get(metrics::page).with_state((gateway.clone(), readers)));
    router.layer(axum::middleware::from_fn_with_state(Arc::new(Door { gateway, is_local, strangers: Strangers::default() }), enter))
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
            return Some(GatewayError::BadRequest(
                "One Host header is needed, and it must name the host that the request names.".to_owned(),
            ));
        };
        if self.is_local && !(host.is_some_and(is_this_machine) && is_no_foreign_page(request.headers())) {
            return Some(GatewayError::Forbidden(
                "This gateway serves programs on its own machine; a web page or a foreign host name may not call it.",
            ));
        }
        let peer = request.extensions().get::<Peer>().filter(|_| credential::is_shown(request.headers()))?;
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

/// The host a request is for. Two names for it are refused: what stands in front of the gateway may have gone by the other one.
fn host(request: &Request) -> Result<Option<&str>, ()> {
    let named = one(request.headers(), &header::HOST)?;
    match (request.uri().authority(), named) {
        (Some(target), Some(host)) if !target.as_str().eq_ignore_ascii_case(host) => Err(()),
        (_, None) if request.version() == Version::HTTP_11 => Err(()),
        (target, host) => Ok(host.or(target.map(Authority::as_str))),
    }
}

/// A web page can make a browser call this machine, under a name that its owner points here. Such a call names the page's host, or the page as its origin, or
/// at least says that it crosses sites.
fn is_no_foreign_page(headers: &HeaderMap) -> bool {
    let (Ok(origin), Ok(site)) = (one(headers, &header::ORIGIN), one(headers, &FETCH_SITE)) else { return false };
    match origin {
        Some(origin) => ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(is_this_machine)),
        None => site.is_none_or(|site| matches!(site, "same-origin" | "same-site" | "none")),
    }
}

/// The only value of a header, if there is one.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

/// Whether a host, with or without a port, is this machine: by the one name that always means it, or by an address as it is usually written.
fn is_this_machine(host_and_port: &str) -> bool {
    let after_host = if host_and_port.starts_with('[') { host_and_port.find(']').map(|end| end + 1) } else { host_and_port.find(':') };
    let (host, port) = host_and_port.split_at(after_host.unwrap_or(host_and_port.len()));
    let port_is_fine = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok());
    let host_is_fine = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => inner.parse().is_ok_and(|address: std::net::Ipv6Addr| address.is_loopback()),
        None => host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback()),
    };
    port_is_fine && host_is_fine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for name in ["localhost", "LOCALHOST:4040", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:4040"] {
            assert!(is_this_machine(name), "{name}");
        }
        for name in [
            "",
            ":4040",
            "localhost.",
            "localhost.evil.example",
            "evil.localhost",
            "me@localhost",
            "localhost/x",
            "localhost:",
            "localhost:+1",
            "localhost:99999",
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "0.0.0.0",
            "[::]",
            "[127.0.0.1]",
            "[::ffff:127.0.0.1]",
            "::1",
            "10.0.0.1",
            "[::1",
            "127.0.0.1 ",
        ] {
            assert!(!is_this_machine(name), "{name}");
        }
    }
}
