//! The one layer around every HTTP route: which names the server answers to, which web pages may call, and who pays.
//!
//! Programs of the same user on this machine need no key, and pay with the session's. Everybody else sends `Authorization: Bearer <spend key>` and pays with that.
//! Whatever comes to check callers in other ways belongs here, in [`Guard::payer`].

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rmcp::model::{ErrorCode, ErrorData};
use serde_json::Value;

use super::wire::refuse;
use crate::{
    domain::{Secret, invocation::in_text, text::counted},
    listen::{Ends, Peer, Strangers, host, is_named, is_no_foreign_page, is_relayed, is_same_origin, is_this_machine, one},
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
    strangers: Strangers,
}

impl Guard {
    /// The rules for a listener at `address` that is also reached as one of `names`.
    pub fn new(address: SocketAddr, names: Vec<String>, knows_key: KnowsKey) -> Self {
        Self { is_local: address.ip().is_loopback(), names, knows_key, strangers: Strangers::default() }
    }

    /// Whether the name and the page behind a request are ours, or what is wrong with them.
    fn check_names(&self, request: &Request) -> Result<(), Refusal> {
        let host = host(request).map_err(|()| Refusal::Host)?;
        let is_ours = |host: &str| is_this_machine(host) || is_named(host, &self.names);
        // Beyond this machine a server without names does not know its own; there a key is needed, which no foreign page has.
        if (self.is_local || !self.names.is_empty()) && !host.is_some_and(is_ours) {
            return Err(Refusal::Foreign);
        }
        let headers = request.headers();
        let origin = one(headers, &header::ORIGIN).map_err(|()| Refusal::Foreign)?;
        let is_own_page = origin.and_then(|origin| origin.split_once("://")).is_some_and(|(_, host)| is_named(host, &self.names));
        let is_fine = if self.is_local { is_no_foreign_page(headers) } else { is_same_origin(headers, host) };
        if is_fine || is_own_page { Ok(()) } else { Err(Refusal::Foreign) }
    }

    /// Who pays for a request that comes from `from`.
    async fn payer(&self, headers: &HeaderMap, from: &Origin) -> Result<Payer, Refusal> {
        if let Some(key) = bearer(headers)? {
            return self.payer_with(key, from.peer).await;
        }
        // A server that has names is reached through a proxy, and a proxy need not say that it is one.
        if !self.is_local || !self.names.is_empty() || is_relayed(headers) {
            return Err(Refusal::NoKey);
        }
        match &from.neighbour {
            Some(ends) if ends.are_of_one_user().await => Ok(Payer::Client(SHARED.to_owned())),
            _ => Err(Refusal::AnotherUser),
        }
    }

    async fn payer_with(&self, key: Secret, peer: Option<Peer>) -> Result<Payer, Refusal> {
        if let Some(wait) = peer.and_then(|peer| self.strangers.wait(peer, Instant::now())) {
            return Err(Refusal::TooManyUnknownKeys { wait_s: wait.as_secs() + 1 });
        }
        match (self.knows_key)(key.clone()).await {
            Ok(true) => Ok(Payer::Key(key)),
            Ok(false) => {
                if let Some(peer) = peer {
                    self.strangers.count(peer, Instant::now());
                }
                Err(Refusal::UnknownKey)
            }
            Err(reason) => {
                // Strangers need not know where the gateway is, nor what ails it.
                tracing::warn!(reason, "whether a spend key is valid could not be found out");
                Err(Refusal::CannotTell)
            }
        }
    }
}

/// The other end of a request's connection: another machine, or a program on this one.
struct Origin {
    peer: Option<Peer>,
    neighbour: Option<Ends>,
}

/// The key of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Refusal> {
    let Some(value) = one(headers, &header::AUTHORIZATION).map_err(|()| Refusal::NotBearer)? else { return Ok(None) };
    let (scheme, key) = value.trim().split_once(' ').ok_or(Refusal::NotBearer)?;
    let key = key.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() {
        return Err(Refusal::NotBearer);
    }
    // It manages keys and has no limit of its own: nothing to hand to an agent.
    if is_secret_key(key) || holds_secret_key(key) { Err(Refusal::SecretKey) } else { Ok(Some(Secret::new(key))) }
}

fn is_secret_key(key: &str) -> bool {
    key.trim_start().starts_with("aks_")
}

/// Whether it is a forward token, which is base64 of JSON, around a secret key.
fn holds_secret_key(token: &str) -> bool {
    fn is_in(value: &Value) -> bool {
        match value {
            Value::String(text) => is_secret_key(text),
            Value::Array(items) => items.iter().any(is_in),
            Value::Object(fields) => fields.values().any(is_in),
            _ => false,
        }
    }
    const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE].iter().any(|letters| {
        let decoded = GeneralPurpose::new(letters, ANY_PADDING).decode(token).ok();
        decoded.and_then(|json| serde_json::from_slice(&json).ok()).is_some_and(|json| is_in(&json))
    })
}

pub(super) async fn enter(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response<Body> {
    if let Err(refusal) = guard.check_names(&request) {
        return refusal.into_response();
    }
    if !OPEN.contains(&request.uri().path()) {
        let from = Origin { peer: request.extensions().get().copied(), neighbour: request.extensions().get().cloned() };
        match guard.payer(request.headers(), &from).await {
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
    SecretKey,
    UnknownKey,
    TooManyUnknownKeys { wait_s: u64 },
    CannotTell,
}

impl Refusal {
    fn into_response(self) -> Response<Body> {
        let (status, text, challenge) = match self {
            Self::Host => (StatusCode::BAD_REQUEST, "Send exactly one Host header, with the host that the request is for.", None),
            Self::Foreign => (
                StatusCode::FORBIDDEN,
                "This server answers programs under its own names; web pages of other sites and unknown host names may not call it. If it is behind a proxy, start it with --host and the proxy's name.",
                None,
            ),
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "This server needs a spend key: send it as Authorization: Bearer <spend key>. The server's owner makes one with `lava-mcp keys create NAME --spend-limit 5/day`.",
                Some("Bearer realm=\"lava-mcp\""),
            ),
            Self::AnotherUser => (
                StatusCode::UNAUTHORIZED,
                "This server belongs to another user of this machine. It needs a spend key of theirs: send it as Authorization: Bearer <spend key>.",
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
            Self::SecretKey => (
                StatusCode::UNAUTHORIZED,
                "This is a secret key, or a forward token with one in it. A secret key manages spend keys and is not for agents. Send a spend key (lava_sk_…); `lava-mcp keys create NAME --spend-limit 5/day` makes one.",
                Some("Bearer realm=\"lava-mcp\", error=\"invalid_token\""),
            ),
            Self::TooManyUnknownKeys { wait_s } => {
                let text = format!("Too many unknown keys came from this address. Wait {}.", counted(wait_s, "second"));
                let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, ErrorData::invalid_request(text, None));
                response.headers_mut().insert(header::RETRY_AFTER, wait_s.into());
                return response;
            }
            Self::CannotTell => {
                let text =
                    "Whether the spend key is valid could not be found out. Try again in a moment; the log of this server says more.";
                return refuse(StatusCode::SERVICE_UNAVAILABLE, ErrorData::internal_error(text, None));
            }
        };
        let mut response = refuse(status, ErrorData::new(ErrorCode::INVALID_REQUEST, in_text(text), None));
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn_with_state, routing::get};
    use futures_util::FutureExt;
    use tower::ServiceExt;

    use super::*;

    fn router(knows: Result<bool, String>) -> Router {
        let knows_key: KnowsKey = Arc::new(move |_| std::future::ready(knows.clone()).boxed());
        let guard = Guard::new("192.0.2.1:8484".parse().unwrap(), Vec::new(), knows_key);
        Router::new().route("/mcp", get(async || "in")).layer(from_fn_with_state(Arc::new(guard), enter))
    }

    async fn ask(router: &Router, peer: &str, key: &str) -> Response<Body> {
        let request = Request::get("/mcp").header("host", "192.0.2.1:8484").header("authorization", format!("Bearer {key}"));
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::of(peer.parse().unwrap()).unwrap());
        router.clone().oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn who_tries_keys_is_soon_not_listened_to() {
        let router = router(Ok(false));
        for _ in 0..10 {
            assert_eq!(ask(&router, "198.51.100.7:1", "lava_sk_x").await.status(), StatusCode::UNAUTHORIZED);
        }
        let refused = ask(&router, "198.51.100.7:2", "lava_sk_y").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(ask(&router, "198.51.100.8:1", "lava_sk_x").await.status(), StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_secret_key_pays_for_nothing_and_trouble_is_not_told() {
        let token = |json: &str| base64::engine::general_purpose::STANDARD.encode(json);
        for secret in [
            "aks_live_x".to_owned(),
            token(r#"{"secret_key":"aks_live_x"}"#),
            token(r#"{"secret_key":"\u0061ks_live_x","customer_id":null}"#),
            token(r#" {"provider_key":"sk","secret_key":" aks_test_x"} "#),
            token(r#"{"secret_key":"aks_live_x"}"#).trim_end_matches('=').to_owned(),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(r#"{"secret_key":"aks_live_x??>>"}"#),
        ] {
            let answer = ask(&router(Ok(true)), "198.51.100.7:1", &secret).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{secret}");
        }
        let of_spend_key = token(r#"{"secret_key":"lava_sk_x"}"#);
        assert_eq!(ask(&router(Ok(true)), "198.51.100.7:1", &of_spend_key).await.status(), StatusCode::OK);
        assert_eq!(ask(&router(Ok(true)), "198.51.100.7:1", "lava_sk_x").await.status(), StatusCode::OK);
        let answer = ask(&router(Err("http://10.0.0.1:4040 is down".to_owned())), "198.51.100.7:1", "lava_sk_x").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("10.0.0.1"));
    }
}
