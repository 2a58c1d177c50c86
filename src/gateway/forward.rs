//! `/v1/forward?u=`: a provider's own address, called with the provider's credential.
//!
//! A credential belongs to a provider of the catalog or the config file, and an address is only called when it lies below that provider's base address; so a
//! key cannot travel to another host. Only endpoints whose cost has a bound are open: account, file and fine-tuning routes stay closed.

use bytes::Bytes;
use http::Method;
use url::Url;

use super::{
    Gateway,
    ask::Ask,
    credentials::KeyNames,
    error::GatewayError,
    lengths::check_name,
    lookup::{Asker, load_catalog},
    offers::Offers,
    providers::{Registry, custom_auth},
    route::{Reach, Route, dialect, nearest_models, shown},
};
use crate::{
    catalog::{Auth, Capability, Dialect, Prices, ReportedCost, address},
    domain::{Secret, SpendKey},
    translate::{
        anthropic::MessagesRequest,
        openai::{ChatRequest, EmbeddingsRequest},
    },
};

const HINT: &str = "You can call POST …/chat/completions, …/embeddings and …/messages, and GET …/models, below the base address of a provider; `lava-mcp search` shows them.";

/// How far a host may be from the one that was meant.
const TYPOS_MAX: usize = 2;

/// Finds who is behind an address and what is asked of them.
pub(super) async fn resolve(
    gateway: &Gateway,
    key: &SpendKey,
    method: &Method,
    url: &str,
    body: &Bytes,
    provider_key: Option<Secret>,
    sandbox: bool,
) -> Result<(Ask, Route), GatewayError> {
    let (url, owner) = find_owner(gateway, key, url, provider_key, sandbox).await?;
    let endpoint = owner.endpoint(&url).to_owned();
    let ask = match (owner.dialect, method, endpoint.as_str()) {
        (Dialect::Openai, &Method::POST, "chat/completions") => Ask::Chat(ChatRequest::parse(body)?),
        (Dialect::Openai, &Method::POST, "embeddings") => Ask::Embeddings(EmbeddingsRequest::parse(body)?),
        (Dialect::Anthropic, &Method::POST, "messages") => Ask::Messages(MessagesRequest::parse(body)?),
        (Dialect::Anthropic, &Method::POST, "messages/count_tokens") => Ask::CountTokens(MessagesRequest::parse_for_count(body)?),
        (Dialect::Openai | Dialect::Anthropic, &Method::GET, "models") => Ask::Free,
        _ => return Err(owner.not_supported(format!("{method} {}", shown(&url)), hint_at(owner.dialect, &endpoint))),
    };
    check_name("model", ask.model())?;
    let route = owner.route(gateway, url, method.clone(), ask.model(), sandbox).await?;
    Ok((ask, route))
}

/// What to call instead of an address that is not an endpoint with the verb that was given.
const fn hint_at(dialect: Dialect, endpoint: &str) -> &'static str {
    match (dialect, endpoint.as_bytes()) {
        (Dialect::Openai, b"chat/completions" | b"embeddings") | (Dialect::Anthropic, b"messages" | b"messages/count_tokens") => {
            "It takes POST, with a JSON body."
        }
        (Dialect::Openai | Dialect::Anthropic, b"models") => "It takes GET, without a body.",
        _ => HINT,
    }
}

/// The route of a fallback: an address at which the same can be asked of another model.
pub(super) async fn fallback_route(
    gateway: &Gateway,
    key: &SpendKey,
    ask: &Ask,
    url: &str,
    model: &str,
    sandbox: bool,
) -> Result<Route, GatewayError> {
    let (url, owner) = find_owner(gateway, key, url, None, sandbox).await?;
    if owner.dialect != dialect(ask) || owner.endpoint(&url) != ask.endpoint() {
        return Err(owner.not_supported(shown(&url), "A fallback must be an address of the same kind, at a provider of the same dialect."));
    }
    owner.route(gateway, url, Method::POST, model, sandbox).await
}

/// The provider below whose base address a URL lies.
struct Owner {
    id: String,
    base: Url,
    dialect: Dialect,
    auth: Auth,
    credential: Option<Secret>,
    variables: Vec<String>,
    /// Where its models can be asked, if its own dialect is not spoken here.
    instead: String,
    reported_cost: Option<ReportedCost>,
    takes_stream_options: bool,
    is_custom: bool,
    /// Whether the credential is the caller's own.
    is_callers_key: bool,
}

/// With a key of the caller's own, the gateway's is not looked for.
async fn find_owner(
    gateway: &Gateway,
    key: &SpendKey,
    text: &str,
    provider_key: Option<Secret>,
    sandbox: bool,
) -> Result<(Url, Owner), GatewayError> {
    let not_supported = |hint: &str| GatewayError::TargetNotSupported { target: without_secrets(text), hint: hint.to_owned() };
    let url = address::parse(text).map_err(not_supported)?;
    let registry = &gateway.registry;
    let is_callers_key = provider_key.is_some();
    let find = async |names: &KeyNames<'_>| match provider_key {
        _ if sandbox => Ok(None),
        Some(key) => Ok(Some(key)),
        None => registry.credentials.find(names).await,
    };
    if let Some(custom) = registry.custom.iter().find(|custom| address::is_below(&url, &custom.base_url)) {
        let credential = find(&custom.key_names()).await?;
        let owner = Owner {
            id: custom.id.clone(),
            base: custom.base_url.clone(),
            dialect: custom.dialect,
            auth: custom_auth(custom, credential.as_ref()),
            credential,
            variables: custom.variables(),
            instead: String::new(),
            reported_cost: custom.reported_cost.clone(),
            takes_stream_options: custom.takes_stream_options,
            is_custom: true,
            is_callers_key,
        };
        return Ok((url, owner));
    }
    load_catalog().await;
    let found = registry.catalog().owner_of(&url).filter(|(provider, _)| registry.custom(&provider.id).is_none());
    let (provider, base) = found.ok_or_else(|| not_supported(&format!("{}{HINT}", did_you_mean(registry, key, &url))))?;
    let names = registry.key_names(provider);
    let credential = find(&names).await?;
    let spoken_at = match Offers::new(registry, None, sandbox).served(provider) {
        Ok(served) if served.id != provider.id => format!("; its models can be asked at {}", served.base_url),
        _ => String::new(),
    };
    let owner = Owner {
        id: provider.id.to_string(),
        base,
        dialect: provider.dialect,
        auth: provider.auth.clone(),
        credential,
        variables: names.variables.iter().map(|name| (*name).to_owned()).collect(),
        instead: spoken_at,
        reported_cost: provider.reported_cost.clone(),
        takes_stream_options: provider.takes_stream_options,
        is_custom: false,
        is_callers_key,
    };
    Ok((url, owner))
}

/// The base address that was likely meant, as the beginning of a hint: one of the same host, or of a host that is written almost so.
fn did_you_mean(registry: &Registry, key: &SpendKey, url: &Url) -> String {
    let Some(host) = url.host_str() else { return String::new() };
    let wanted = host.strip_prefix("www.").unwrap_or(host);
    let distance = |base: &Url| {
        let known = base.host_str()?;
        let is_behind = wanted.contains('.') && known.strip_suffix(wanted).is_some_and(|front| front.ends_with('.'));
        // A host may be as long as the caller likes.
        if !is_behind && known.len().abs_diff(wanted.len()) > TYPOS_MAX {
            return None;
        }
        let typos = if is_behind { 1 } else { strsim::damerau_levenshtein(known, wanted) };
        (typos <= TYPOS_MAX).then_some(typos)
    };
    let of_catalog = registry.catalog().providers().iter().filter(|provider| registry.custom(&provider.id).is_none());
    let of_catalog = of_catalog.filter_map(|provider| Some((&*provider.id, Url::parse(&provider.base_url).ok()?)));
    // Where a provider of the config file is, is only for who may buy from it.
    let own = registry.custom.iter().filter(|custom| registry.allows(key, &custom.id, ""));
    let own = own.map(|custom| (custom.id.as_str(), custom.base_url.clone()));
    let near = own.chain(of_catalog).filter_map(|(id, base)| Some((distance(&base)?, id, base)));
    let nearest = near.min_by_key(|(typos, ..)| *typos);
    nearest.map_or_else(String::new, |(_, id, base)| format!("The nearest is {id}, at {}. ", base.as_str().trim_end_matches('/')))
}

/// An address for a message, read from text that need not be a URL: without user, password, query and fragment, all of which can hold a key.
fn without_secrets(text: &str) -> String {
    let head = text.split(['?', '#']).next().unwrap_or_default();
    head.rsplit_once('@').map_or(head, |(_, rest)| rest).chars().take(200).collect()
}

impl Owner {
    fn not_supported(&self, target: String, hint: &str) -> GatewayError {
        let hint = match self.dialect {
            Dialect::Openai | Dialect::Anthropic => hint.to_owned(),
            other => format!("{} speaks the {} dialect, which this version does not meter{}.", self.id, other.as_str(), self.instead),
        };
        GatewayError::TargetNotSupported { target, hint }
    }

    /// What is asked for below the base address, to the letter: a provider may take a doubled slash for something else.
    fn endpoint<'a>(&self, url: &'a Url) -> &'a str {
        url.path().strip_prefix(self.base.path().trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default()
    }

    async fn route(self, gateway: &Gateway, url: Url, method: Method, model: &str, sandbox: bool) -> Result<Route, GatewayError> {
        if self.credential.is_none() && self.auth != Auth::None && !sandbox {
            return Err(GatewayError::CredentialsMissing {
                model: shown(&url),
                provider: self.id,
                env: self.variables,
                instead: String::new(),
            });
        }
        let registry = &gateway.registry;
        let custom = registry.custom(&self.id).filter(|_| self.is_custom);
        let known = if self.is_custom { None } else { registry.catalog().model(&self.id, model) };
        if let Some(custom) = custom {
            custom.check_model(model).map_err(|why| why.into_error(None, registry, model, String::new()))?;
        }
        if known.is_none() && custom.is_none() && !model.is_empty() {
            return Err(GatewayError::ModelNotFound {
                model: model.to_owned(),
                nearest: nearest_models(gateway, model, Asker::Keyholder).await?,
            });
        }
        let prices: Option<Prices> = custom.map_or_else(|| known.and_then(|model| model.prices().cloned()), |custom| custom.prices.clone());
        Ok(Route {
            provider: self.id,
            model: model.to_owned(),
            method,
            url,
            auth: self.auth,
            credential: self.credential,
            is_callers_key: self.is_callers_key,
            variables: self.variables,
            prices,
            reported_cost: self.reported_cost,
            takes_stream_options: sandbox || self.takes_stream_options,
            context: custom.map_or_else(|| known.and_then(|model| model.context), |custom| custom.context_window),
            max_output: known.and_then(|model| model.max_output),
            reasons: known.is_some_and(|model| model.capabilities.has(Capability::Reasoning)),
            reach: match (sandbox, self.is_custom) {
                (true, _) => Reach::Sandbox,
                (false, true) => Reach::Private,
                (false, false) => Reach::Public,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_refused_is_told_without_what_can_hold_a_key() {
        for (text, told) in [
            ("https://evil.example/v1?key=sk-1#sk-2", "https://evil.example/v1"),
            ("https://user:sk-1@evil.example/v1", "evil.example/v1"),
            ("not a url?sk-1", "not a url"),
        ] {
            assert_eq!(without_secrets(text), told);
        }
    }
}
