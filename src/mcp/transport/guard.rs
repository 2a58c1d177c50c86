//! The one layer around every HTTP route: which names the server answers to, which web pages may call, and who pays.
//!
//! Programs of the same user on this machine need no key, and pay with the session's. Everybody else sends `Authorization: Bearer <spend key>` and pays with that.
//! Whatever comes to check callers in other ways belongs here, in [`Guard::payer`].

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rmcp::model::{ErrorCode, ErrorData};

use super::wire::refuse;
use crate::{
    domain::Secret,
    listen::{Ends, host, is_no_foreign_page, is_relayed, is_same_origin, is_this_machine, one},
    session::Payer,
};

/// Asks the gateway whether it knows a spend key; a text says why it cannot tell.
pub type KnowsKey = Arc<dyn Fn(Secret) -> BoxFuture<'static, Result<bool, String>> + Send + Sync>;

/// Whose key pays for callers that bring none.
const SHARED: &str = "http";
/// Paths that tell nothing but what this is.
const OPEN: [&str; 3] = ["/healthz", super::card::PATH, super::card::WELL_KNOWN_PATH];

/// The rules of one listener.
pub struct Guard {
    is_local: bool,
    /// Names, without ports, under which the server is reached beside those of this machine.
    names: Vec<String>,
    knows_key: KnowsKey,
}

impl Guard {
    /// The rules for a listener at `address` that is also reached as one of `names`.
    pub fn new(address: SocketAddr, names: Vec<String>, knows_key: KnowsKey) -> Self {
        Self { is_local: address.ip().is_loopback(), names, knows_key }
    }

    /// Whether the name and the page behind a request are ours, or what is wrong with them.
    fn check_names(&self, request: &Request) -> Result<(), Refusal> {
        let host = host(request).map_err(|()| Refusal::Host)?;
        let is_ours = |host: &str| is_this_machine(host) || self.is_named(host);
        // Beyond this machine a server without names does not know its own; there a key is needed, which no foreign page has.
        if (self.is_local || !self.names.is_empty()) && !host.is_some_and(is_ours) {
            return Err(Refusal::Foreign);
        }
        let headers = request.headers();
        let origin = one(headers, &header::ORIGIN).map_err(|()| Refusal::Foreign)?;
        let is_own_page = origin.and_then(|origin| origin.split_once("://")).is_some_and(|(_, host)| self.is_named(host));
        let is_fine = if self.is_local { is_no_foreign_page(headers) } else { is_same_origin(headers, host) };
        if is_fine || is_own_page { Ok(()) } else { Err(Refusal::Foreign) }
    }

    /// Who pays for a request, which comes from a neighbour on this machine or from elsewhere, and calls this server by a name of this machine or another one.
    async fn payer(&self, headers: &HeaderMap, neighbour: Option<&Ends>, is_called_here: bool) -> Result<Payer, Refusal> {
        match bearer(headers)? {
            Some(key) => match (self.knows_key)(key.clone()).await {
                Ok(true) => Ok(Payer::Key(key)),
                Ok(false) => Err(Refusal::UnknownKey),
                Err(reason) => Err(Refusal::CannotTell(reason)),
            },
            None => {
                if !self.is_local || is_relayed(headers) || !is_called_here {
                    return Err(Refusal::NoKey);
                }
                match neighbour {
                    Some(ends) if ends.are_of_one_user().await => Ok(Payer::Client(SHARED.to_owned())),
                    _ => Err(Refusal::AnotherUser),
                }
            }
        }
    }

    fn is_named(&self, host_and_port: &str) -> bool {
        let host = host_and_port
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|c| c.is_ascii_digit()))
            .map_or(host_and_port, |(host, _)| host);
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// The key of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let Some(value) = one(headers, &header::AUTHORIZATION).map_err(|()| Refusal::NotBearer)? else { return Ok(None) };
    let (scheme, key) = value.trim().split_once(' ').ok_or(Refusal::NotBearer)?;
    let key = key.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() { Ok(Some(Secret::new(key))) } else { Err(Refusal::NotBearer) }
}

pub(super) async fn enter(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response<Body> {
    if let Err(refusal) = guard.check_names(&request) {
        return refusal.into_response();
    }
    if !OPEN.contains(&request.uri().path()) {
        let is_called_here = host(&request).is_ok_and(|host| host.is_some_and(is_this_machine));
        match guard.payer(request.headers(), request.extensions().get(), is_called_here).await {
            Ok(payer) => drop(request.extensions_mut().insert(payer)),
            Err(refusal) => return refusal.into_response(),
        }
    }
    // From here on the payer stands for it; nothing that handles the request can log it.
    request.headers_mut().remove(header::AUTHORIZATION);
    next.run(request).await
}

/// Why a request is not let in.
#[derive(Debug)]
enum Refusal {
    Host,
    Foreign,
    NoKey,
    AnotherUser,
    NotBearer,
    UnknownKey,
    CannotTell(String),
}

impl Refusal {
    fn into_response(self) -> Response<Body> {
        let (status, text, challenge) = match self {
            Self::Host => (StatusCode::BAD_REQUEST, "One Host header is needed, and it must name the host that the request names.", None),
            Self::Foreign => (
                StatusCode::FORBIDDEN,
                "This server answers programs under its own names; a web page of another site or a foreign host name may not call it. If it stands behind a proxy, \
                 start it with --host and the proxy's name.",
                None,
            ),
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "A spend key is needed: send it as Authorization: Bearer <spend key>. The server's owner makes one with `lava-mcp keys create`.",
                Some("Bearer realm=\"lava-mcp\""),
            ),
            Self::AnotherUser => (
                StatusCode::UNAUTHORIZED,
                "This server belongs to another user of this machine. A spend key of theirs is needed: send it as Authorization: Bearer <spend key>.",
                Some("Bearer realm=\"lava-mcp\""),
            ),
            Self::NotBearer => (
                StatusCode::UNAUTHORIZED,
                "The Authorization header must be Bearer, a space, and one spend key.",
                Some("Bearer realm=\"lava-mcp\", error=\"invalid_request\""),
            ),
            Self::UnknownKey => (
                StatusCode::UNAUTHORIZED,
                "The gateway does not accept this spend key: it may be mistyped, revoked, rotated or expired. Ask whoever gave it out for a new one.",
                Some("Bearer realm=\"lava-mcp\", error=\"invalid_token\""),
            ),
            Self::CannotTell(reason) => {
                let text = format!("Whether the spend key is valid could not be found out: {reason}. Try again in a moment.");
                return refuse(StatusCode::SERVICE_UNAVAILABLE, ErrorData::internal_error(text, None));
            }
        };
        let mut response = refuse(status, ErrorData::new(ErrorCode::INVALID_REQUEST, text, None));
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
