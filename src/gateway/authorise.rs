//! Who is asking, and what may they buy where? The first is asked before a body is read (`edge`); the second ends with the routes the request may take, best first.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Deserialize;

use super::{
    Gateway,
    ask::Ask,
    error::GatewayError,
    forward,
    lengths::check_name,
    lookup::load_catalog,
    providers::Registry,
    route::{Route, route_for},
    screen::{Screened, screen},
    sellers::{self, Seller},
};
use crate::{
    domain::{KeyId, Money, PlainKey, RequestId, RequestShape, Secret, SpendKey, key::KeyKind},
    listen::BodyShare,
    store::SecretKey,
    translate::{anthropic::MessagesRequest, openai::ChatRequest},
};

/// Most fallbacks of one request.
const FALLBACKS_MAX: usize = 5;

/// A request as it came in, from a caller who is known.
pub(super) struct Inbound {
    pub(super) request: RequestId,
    pub(super) key: SpendKey,
    /// The caller's own key for the provider, which then bills them.
    pub(super) provider_key: Option<Secret>,
    pub(super) target: Target,
    pub(super) fallbacks: Vec<Fallback>,
    pub(super) max_cost: Option<Money>,
    /// Headers that may travel to the provider.
    pub(super) headers: HeaderMap,
    /// The room that the body takes.
    pub(super) share: BodyShare,
}

/// Where the caller wants to go.
#[derive(Debug)]
pub(super) enum Target {
    /// `/v1/chat/completions`: the model's name picks the provider.
    Chat { body: Bytes },
    /// `/v1/messages`: the same in the Anthropic dialect.
    Messages { body: Bytes },
    /// `/v1/messages/count_tokens`: nothing is bought.
    CountTokens { body: Bytes },
    /// `/v1/forward?u=`: the address picks the provider.
    Forward { method: Method, url: String, body: Bytes },
}

/// Where to try next when an upstream fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fallback {
    /// An address with or without scheme; without it the model's name picks the provider.
    #[serde(default)]
    pub(super) url: Option<String>,
    pub(super) model: String,
}

/// A request that may be paid for, as far as its limits allow.
pub(super) struct Authorised {
    pub(super) request: RequestId,
    pub(super) key: SpendKey,
    pub(super) ask: Arc<Ask>,
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) max_cost: Option<Money>,
    pub(super) headers: HeaderMap,
    /// What differs where only the price list of a provider is known.
    pub(super) screened: Screened,
    /// Given back with the request, which keeps the body for as long.
    pub(super) _share: BodyShare,
}

/// Who presented a credential.
pub(super) enum Caller {
    Spend(Box<SpendKey>),
    Secret(SecretKey),
}

const NO_KEY: &str = "No API key was sent. Send it as \"Authorization: Bearer <key>\" or \"x-api-key: <key>\".";
pub(super) const BAD_KEY: &str = "This API key is not known here. It may be mistyped, expired, revoked or rotated.";

/// Finds the caller. Unknown, revoked and malformed keys get the same answer.
pub(super) fn identify(gateway: &Gateway, credential: Option<&Secret>) -> Result<Caller, GatewayError> {
    let credential = credential.ok_or(GatewayError::InvalidKey(NO_KEY))?;
    let key = PlainKey::parse(credential.expose()).map_err(|_| GatewayError::InvalidKey(BAD_KEY))?;
    let hash = key.hash(&gateway.pepper);
    let caller = match key.kind() {
        KeyKind::Spend => gateway.store.spend_key_by_hash(&hash)?.map(|key| Caller::Spend(Box::new(key))),
        KeyKind::SecretLive | KeyKind::SecretTest => {
            gateway.owner_with(&hash).map_or_else(|| gateway.store.secret_key_by_hash(&hash), |owner| Ok(Some(owner)))?.map(Caller::Secret)
        }
    };
    caller.ok_or(GatewayError::UnknownKey)
}

/// The key that pays: a spend key, or the own budget of a secret key. It must be in use.
pub(super) fn payer(gateway: &Gateway, credential: Option<&Secret>) -> Result<SpendKey, GatewayError> {
    let key = match identify(gateway, credential)? {
        Caller::Spend(key) => *key,
        Caller::Secret(secret) => gateway.store.spend_key(&KeyId::from_text(secret.id))?.ok_or(GatewayError::InvalidKey(BAD_KEY))?,
    };
    if key.settings.expires_at.is_some_and(|expiry| expiry <= (gateway.clock)()) {
        return Err(GatewayError::InvalidKey(BAD_KEY));
    }
    if key.settings.status == crate::domain::Status::Paused {
        return Err(GatewayError::KeyPaused);
    }
    // What is asked in a sandbox is not paid with money, so it must not use up a limit that is about money.
    if gateway.sandbox && !key.test {
        return Err(GatewayError::LiveKeyInSandbox);
    }
    Ok(key)
}

/// Turns a request into one that may be paid for.
pub(super) async fn authorise(gateway: &Gateway, inbound: Inbound) -> Result<Authorised, GatewayError> {
    let Inbound { request, key, provider_key, target, fallbacks, max_cost, headers, share } = inbound;
    let sandbox = gateway.sandbox || key.test;
    if let Some(received) = target.shape()
        && !key.is_of_secret_key()
        && key.settings.shape != received
    {
        return Err(GatewayError::ShapeNotAllowed { allowed: key.settings.shape.as_str(), received: received.as_str() });
    }
    let (mut ask, route) = match target {
        Target::Forward { method, url, body } => forward::resolve(gateway, &key, &method, &url, &body, provider_key, sandbox).await?,
        _ if provider_key.is_some() => return Err(GatewayError::BadRequest("A provider_key only works with /v1/forward.".to_owned())),
        Target::Chat { body } => by_name(gateway, &key, Ask::Chat(ChatRequest::parse(&body)?), sandbox).await?,
        Target::Messages { body } => by_name(gateway, &key, Ask::Messages(MessagesRequest::parse(&body)?), sandbox).await?,
        Target::CountTokens { body } => by_name(gateway, &key, Ask::CountTokens(MessagesRequest::parse_for_count(&body)?), sandbox).await?,
    };
    let mut routes = vec![Arc::new(route)];
    if fallbacks.len() > FALLBACKS_MAX {
        return Err(GatewayError::BadRequest(format!("A request can have at most {FALLBACKS_MAX} fallbacks.")));
    }
    if routes[0].is_callers_key && !fallbacks.is_empty() {
        return Err(GatewayError::BadRequest(
            "A request with its own provider_key cannot have fallbacks, because that key would not pay for them.".to_owned(),
        ));
    }
    for fallback in &fallbacks {
        check_name("x-lava-fallbacks", &fallback.model)?;
        let route = match &fallback.url {
            Some(url) => forward::fallback_route(gateway, &key, &ask, url, &fallback.model, sandbox).await?,
            None => route_for(gateway, &key, &ask, meant_by(gateway, &key, &fallback.model), sandbox).await?,
        };
        routes.push(Arc::new(route));
    }
    for route in &routes {
        check_seller(&gateway.registry, &key, &route.provider, &route.model)?;
    }
    for route in &routes {
        let (request, whose) = (request.as_str(), if route.is_callers_key { "caller" } else { "gateway" });
        let host = route.url.host_str().unwrap_or_default();
        tracing::debug!(request, host, reach = ?route.reach, has_key = route.credential.is_some(), whose, "{} is sold by {}", route.model, route.provider);
    }
    let screened = screen(gateway, &key, &mut ask, &routes, &headers)?;
    Ok(Authorised { request, key, ask: Arc::new(ask), routes, max_cost, headers, screened, _share: share })
}

impl Target {
    /// The endpoint family that a key must be made for; an address that is forwarded to needs none.
    const fn shape(&self) -> Option<RequestShape> {
        match self {
            Self::Chat { .. } => Some(RequestShape::Openai),
            Self::Messages { .. } | Self::CountTokens { .. } => Some(RequestShape::Anthropic),
            Self::Forward { .. } => None,
        }
    }
}

async fn by_name(gateway: &Gateway, key: &SpendKey, ask: Ask, sandbox: bool) -> Result<(Ask, Route), GatewayError> {
    check_name("model", ask.model())?;
    let name = meant_by(gateway, key, ask.model());
    check_model(gateway, key, name, sandbox).await?;
    let route = route_for(gateway, key, &ask, name, sandbox).await?;
    Ok((ask, route))
}

/// The name that an alias, or a name in Google's form, stands for.
fn meant_by<'a>(gateway: &'a Gateway, key: &SpendKey, name: &'a str) -> &'a str {
    sellers::plain(&gateway.registry, gateway.registry.aliases.resolve(key, name))
}

/// A model the key does not allow is refused before anything is said about it: nobody to whom a request for it could go is allowed.
async fn check_model(gateway: &Gateway, key: &SpendKey, name: &str, sandbox: bool) -> Result<(), GatewayError> {
    let Some(allowed) = &key.settings.allowed_models else { return Ok(()) };
    let registry = &gateway.registry;
    if !registry.is_custom(name) {
        load_catalog().await;
    }
    let is_allowed =
        |seller: Seller<'_>| registry.names_of(seller.provider()).any(|provider| key.settings.allows_model(provider, seller.model()));
    // What nobody is known to sell is refused as unknown where the key allows its name.
    let bare = name.rsplit_once('/').map_or(name, |(_, bare)| bare);
    if [name, bare].iter().any(|name| key.settings.allows_model("", name)) || sellers::all(registry, &[], name).any(is_allowed) {
        return Ok(());
    }
    let servers = if sandbox { Arc::default() } else { registry.local.find(&gateway.upstream).await };
    if sellers::at_home(&servers, name).any(is_allowed) {
        return Ok(());
    }
    Err(GatewayError::ModelNotAllowed { model: name.to_owned(), allowed: allowed.clone() })
}

/// The lists are checked against what was resolved, so that no spelling and no fallback gets around them.
pub(super) fn check_seller(registry: &Registry, key: &SpendKey, provider: &str, model: &str) -> Result<(), GatewayError> {
    if registry.allows(key, provider, model) {
        return Ok(());
    }
    Err(match (&key.settings.allowed_providers, &key.settings.allowed_models) {
        (Some(allowed), _) if !registry.names_of(provider).any(|name| key.settings.allows_provider(name)) => {
            GatewayError::ProviderNotAllowed { provider: provider.to_owned(), allowed: allowed.clone() }
        }
        (_, allowed) => GatewayError::ModelNotAllowed { model: model.to_owned(), allowed: allowed.clone().unwrap_or_default() },
    })
}
