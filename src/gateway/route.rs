//! From a model name to the places that sell it.

use http::Method;
use url::Url;

use super::{
    Gateway,
    ask::Ask,
    credentials::KeyNames,
    error::GatewayError,
    instead::instead,
    local::LocalServer,
    lookup::{Asker, load_catalog, look_up},
    offers::{Endpoint, Offers},
    providers::{CustomProvider, custom_auth},
    sellers::{self, Seller},
    unavailable::Unavailable,
};
use crate::{
    catalog::{Auth, Capability, Dialect, Model, Prices, Provider, ReportedCost},
    domain::{RequestShape, Secret, SpendKey},
};

/// One place that can answer a request, with all that is needed to call and price it.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) provider: String,
    /// The model as this provider names it; empty for calls without a model.
    pub(super) model: String,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) auth: Auth,
    pub(super) credential: Option<Secret>,
    /// Whether the credential is the caller's own, for a provider that then bills them.
    pub(super) is_callers_key: bool,
    /// Where the credential can be set, for messages.
    pub(super) variables: Vec<String>,
    /// `None` when the price is not known: such a route refuses to sell.
    pub(super) prices: Option<Prices>,
    /// Where its answers say what they cost, if they do.
    pub(super) reported_cost: Option<ReportedCost>,
    /// Whether it can be asked for usage in streams.
    pub(super) takes_stream_options: bool,
    pub(super) context: Option<u64>,
    pub(super) max_output: Option<u64>,
    /// Whether the model may reason where nobody sees it.
    pub(super) reasons: bool,
    pub(super) reach: Reach,
}

/// Where a route may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nowhere: the built-in upstream answers.
    Sandbox,
    /// Public addresses only.
    Public,
    /// Any address: a person wrote it into the config file, or it is this machine.
    Private,
}

#[cfg(test)]
impl Route {
    /// A route that nothing is known of.
    pub(super) fn example(provider: &str, model: &str, reach: Reach) -> Self {
        Self {
            provider: provider.to_owned(),
            model: model.to_owned(),
            method: Method::POST,
            url: "http://127.0.0.1/v1/chat/completions".parse().unwrap(),
            auth: Auth::None,
            credential: None,
            is_callers_key: false,
            variables: Vec::new(),
            prices: None,
            reported_cost: None,
            takes_stream_options: true,
            context: None,
            max_output: None,
            reasons: false,
            reach,
        }
    }
}

impl Route {
    /// The endpoint as the ledger and people see it: without its query, which can hold a key.
    pub(super) fn endpoint(&self) -> String {
        format!("{} {}", self.method, shown(&self.url))
    }

    /// Whether a person put this provider there, and vouches for its prices.
    pub(super) fn is_own(&self) -> bool {
        self.reach == Reach::Private
    }
}

/// The best route of a request for a model name: of those that sell it, the first that the key allows and that can be called. `provider/model` forces a provider.
pub(super) async fn route_for(gateway: &Gateway, key: &SpendKey, ask: &Ask, name: &str, sandbox: bool) -> Result<Route, GatewayError> {
    let registry = &gateway.registry;
    let quarantined = gateway.lately_quarantined_for(key, sandbox)?;
    let offers = Offers::new(registry, Some(key), sandbox).without(&quarantined);
    let mut refused = Refused::default();
    // Own providers first: the catalog need not be there for them.
    let own = sellers::own_named(registry, name);
    let is_own = own.is_some();
    if own.is_none() && name.contains('/') {
        load_catalog().await;
    }
    let named = own.or_else(|| sellers::named(registry, name));
    let is_named = named.is_some();
    if !is_named
        && name.contains('/')
        && let Some(route) = local_route(&offers, gateway, ask, name).await
    {
        return Ok(route);
    }
    for seller in named.into_iter().chain(sellers::listed(registry, name).filter(|_| !is_named)) {
        match seller_route(&offers, ask, &seller).await {
            Ok(route) => return Ok(route),
            Err(why) => refused.note(&seller, why),
        }
    }
    if !is_named {
        load_catalog().await;
        for seller in sellers::in_catalog(registry, name) {
            match seller_route(&offers, ask, &seller).await {
                Ok(route) => return Ok(route),
                Err(why) => refused.note(&seller, why),
            }
        }
        if let Some(route) = local_route(&offers, gateway, ask, name).await {
            return Ok(route);
        }
    }
    match refused.first {
        Some((_, Why::Failed(error))) => Err(error),
        // Refused where money would be set aside: a fallback may never be asked, and what is free is not refused.
        Some((seller, Why::Unavailable(why @ (Unavailable::PriceUnknown { .. } | Unavailable::Quarantined { .. })))) => {
            match route_at(&offers, ask, offers.resolved(&seller, Endpoint::of(ask))).await {
                Ok(route) => Ok(route),
                Err(_) => Err(why.into_error(Some(key), registry, name, String::new())),
            }
        }
        // What the key does not allow is not talked about, and a provider of one's own says itself what it has.
        Some((_, Why::Unavailable(why @ (Unavailable::NotAllowed { .. } | Unavailable::NotListed { .. })))) => {
            Err(why.into_error(Some(key), registry, name, String::new()))
        }
        Some((seller, Why::Unavailable(why))) => {
            let instead =
                if is_own { String::new() } else { instead(gateway, key, &seller.full_name(), Endpoint::of(ask), sandbox).await? };
            Err(why.into_error(Some(key), registry, seller.model(), instead))
        }
        None => Err(not_found(gateway, name, Asker::Keyholder).await?),
    }
}

/// Why the sellers that were asked so far do not sell.
#[derive(Default)]
struct Refused<'a> {
    /// The first one is the one to talk about, because it is the maker of the model; but not where the key does not allow it and another one would sell.
    first: Option<(Seller<'a>, Why)>,
}

/// Why a seller does not sell.
enum Why {
    Unavailable(Unavailable),
    /// Its key could not be read.
    Failed(GatewayError),
}

impl<'a> Refused<'a> {
    fn note(&mut self, seller: &Seller<'a>, why: Why) {
        let is_not_allowed = |why: &Why| matches!(why, Why::Unavailable(Unavailable::NotAllowed { .. }));
        if self.first.as_ref().is_none_or(|(_, first)| is_not_allowed(first) && !is_not_allowed(&why)) {
            self.first = Some((*seller, why));
        }
    }
}

async fn seller_route(offers: &Offers<'_>, ask: &Ask, seller: &Seller<'_>) -> Result<Route, Why> {
    let sold = offers.check(seller, Endpoint::of(ask)).map_err(Why::Unavailable)?;
    route_at(offers, ask, sold).await
}

async fn route_at(offers: &Offers<'_>, ask: &Ask, seller: Seller<'_>) -> Result<Route, Why> {
    match seller {
        Seller::Custom(custom, model) => custom_route(offers, custom, ask, model).await,
        Seller::Catalog(provider, model) => catalog_route(offers, provider, ask, model).await,
        Seller::Local(server, model) => Ok(at_server(server, ask, model)),
    }
}

/// No model is called so; these are most like it.
pub(super) async fn not_found(gateway: &Gateway, name: &str, asker: Asker) -> Result<GatewayError, GatewayError> {
    let registry = &gateway.registry;
    let bare =
        name.split_once('/').filter(|(provider, _)| registry.catalog().provider(provider).is_some()).map_or(name, |(_, model)| model);
    let mut nearest = nearest_models(gateway, bare, asker).await?;
    let custom = registry.custom.iter().flat_map(|custom| custom.models.iter().map(move |model| format!("{}/{model}", custom.id)));
    nearest.splice(0..0, custom.filter(|model| model.contains(bare)));
    nearest.truncate(3);
    Ok(GatewayError::ModelNotFound { model: name.to_owned(), nearest })
}

/// The models whose names look most like this one.
pub(super) async fn nearest_models(gateway: &Gateway, name: &str, asker: Asker) -> Result<Vec<String>, GatewayError> {
    let (catalog, name) = (gateway.registry.catalog(), name.to_owned());
    look_up(asker, move || catalog.nearest_models(&name, 3).into_iter().map(|model| model.id.to_string()).collect()).await
}

async fn custom_route(offers: &Offers<'_>, custom: &CustomProvider, ask: &Ask, model: &str) -> Result<Route, Why> {
    let sandbox = offers.is_sandbox;
    let credential = if sandbox { None } else { key_of(offers, &custom.key_names()).await? };
    let variables = custom.variables();
    if credential.is_none() && !variables.is_empty() && !sandbox {
        return Err(Why::Unavailable(Unavailable::NoCredential { provider: custom.id.clone(), env: variables }));
    }
    Ok(Route {
        provider: custom.id.clone(),
        model: model.to_owned(),
        method: Method::POST,
        url: below(&custom.base_url, ask.endpoint()),
        auth: custom_auth(custom, credential.as_ref()),
        credential,
        is_callers_key: false,
        variables,
        prices: custom.prices.clone(),
        reported_cost: custom.reported_cost.clone(),
        takes_stream_options: sandbox || custom.takes_stream_options,
        context: custom.context_window,
        max_output: None,
        reasons: false,
        reach: if sandbox { Reach::Sandbox } else { Reach::Private },
    })
}

async fn catalog_route(offers: &Offers<'_>, provider: &Provider, ask: &Ask, model: &Model) -> Result<Route, Why> {
    let sandbox = offers.is_sandbox;
    let names = offers.registry.key_names(provider);
    let credential = if sandbox { None } else { key_of(offers, &names).await? };
    let variables: Vec<String> = names.variables.iter().map(|name| (*name).to_owned()).collect();
    if credential.is_none() && provider.auth != Auth::None && !sandbox {
        return Err(Why::Unavailable(Unavailable::NoCredential { provider: provider.id.to_string(), env: variables }));
    }
    let no_address = |_| Why::Failed(GatewayError::NotFound(format!("address for {}", provider.id)));
    let base = Url::parse(&provider.base_url).map_err(no_address)?;
    Ok(Route {
        provider: provider.id.to_string(),
        model: model.id.to_string(),
        method: Method::POST,
        url: below(&base, ask.endpoint()),
        auth: provider.auth.clone(),
        credential,
        is_callers_key: false,
        variables,
        prices: model.prices().cloned(),
        reported_cost: provider.reported_cost.clone(),
        takes_stream_options: sandbox || provider.takes_stream_options,
        context: model.context,
        max_output: model.max_output,
        reasons: model.capabilities.has(Capability::Reasoning),
        reach: if sandbox { Reach::Sandbox } else { Reach::Public },
    })
}

async fn key_of(offers: &Offers<'_>, names: &KeyNames<'_>) -> Result<Option<Secret>, Why> {
    offers.registry.credentials.find(names).await.map_err(Why::Failed)
}

/// Local servers speak both dialects; one that is too old for the second says so itself.
async fn local_route(offers: &Offers<'_>, gateway: &Gateway, ask: &Ask, name: &str) -> Option<Route> {
    if offers.is_sandbox {
        return None;
    }
    for seller in sellers::at_home(&gateway.registry.local.find(&gateway.upstream).await, name) {
        // Looked at once more: another program may have taken the port since its models were listed.
        if let Seller::Local(server, model) = seller
            && offers.check(&seller, Endpoint::of(ask)).is_ok()
            && server.is_trusted().await
        {
            return Some(at_server(server, ask, model));
        }
    }
    None
}

fn at_server(server: &LocalServer, ask: &Ask, model: &str) -> Route {
    Route {
        provider: server.id.to_owned(),
        model: model.to_owned(),
        method: Method::POST,
        url: below(&server.base_url, ask.endpoint()),
        auth: Auth::None,
        credential: None,
        is_callers_key: false,
        variables: Vec::new(),
        prices: Some(Prices::free()),
        reported_cost: None,
        takes_stream_options: true,
        context: None,
        max_output: None,
        reasons: false,
        reach: Reach::Private,
    }
}

/// The dialect in which a request is asked.
pub(super) const fn dialect(ask: &Ask) -> Dialect {
    match ask.shape() {
        RequestShape::Openai => Dialect::Openai,
        RequestShape::Anthropic => Dialect::Anthropic,
    }
}

/// A URL without its query: a query can hold a key.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// An address below a base address, whether that ends in a slash or not.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}
