//! From a model name to the places that sell it.

use http::Method;
use url::Url;

use super::{
    Gateway,
    ask::Ask,
    error::GatewayError,
    local::LocalServer,
    lookup::{Asker, load_catalog, look_up},
    providers::{CustomProvider, Registry, custom_auth, variables},
    sellers::{self, Seller},
};
use crate::{
    catalog::{Auth, Capability, Dialect, Mode, Model, Prices, Provider, ReportedCost},
    domain::{RequestShape, Secret},
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

/// The best route of a request for a model name. `provider/model` forces a provider.
pub(super) async fn route_for(gateway: &Gateway, ask: &Ask, name: &str, sandbox: bool) -> Result<Route, GatewayError> {
    let registry = &gateway.registry;
    if !registry.is_custom(name) {
        load_catalog().await;
    }
    let named = sellers::named(registry, name);
    if named.is_none()
        && name.contains('/')
        && let Some(route) = local_route(gateway, ask, name, sandbox).await
    {
        return Ok(route);
    }
    if let Some(seller) = named.or_else(|| sellers::listed(registry, name)) {
        return seller_route(registry, ask, &seller, sandbox).await;
    }
    let mut refusal = None;
    for seller in sellers::in_catalog(registry, name) {
        match seller_route(registry, ask, &seller, sandbox).await {
            Ok(route) => return Ok(route),
            // The first seller is the one to tell about: it is the lab that makes the model.
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    if let Some(route) = local_route(gateway, ask, name, sandbox).await {
        return Ok(route);
    }
    match refusal {
        Some(refusal) => Err(refusal),
        None => Err(not_found(gateway, name, Asker::Keyholder).await?),
    }
}

async fn seller_route(registry: &Registry, ask: &Ask, seller: &Seller<'_>, sandbox: bool) -> Result<Route, GatewayError> {
    match seller {
        Seller::Custom(custom, model) => custom_route(registry, custom, ask, model, sandbox).await,
        Seller::Catalog(provider, model) => catalog_route(registry, provider, ask, model, sandbox).await,
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

async fn custom_route(registry: &Registry, custom: &CustomProvider, ask: &Ask, model: &str, sandbox: bool) -> Result<Route, GatewayError> {
    custom.check_model(model)?;
    if custom.dialect != dialect(ask) && !sandbox {
        return Err(not_translated(ask, model, &custom.id, custom.dialect));
    }
    let credential = if sandbox { None } else { registry.credentials.find(&custom.id, &[]).await? };
    let variables: Vec<String> = custom.api_key_env.iter().cloned().collect();
    if credential.is_none() && !variables.is_empty() && !sandbox {
        return Err(GatewayError::CredentialsMissing { model: model.to_owned(), provider: custom.id.clone(), env: variables });
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

async fn catalog_route(registry: &Registry, provider: &Provider, ask: &Ask, model: &Model, sandbox: bool) -> Result<Route, GatewayError> {
    if model.mode != Mode::Chat {
        return Err(GatewayError::NotTranslated(format!("{} is no chat model but one for {}.", model.id, model.mode.as_str())));
    }
    if provider.dialect != dialect(ask) && !sandbox {
        return Err(not_translated(ask, &model.id, &provider.id, provider.dialect));
    }
    let credential = if sandbox { None } else { registry.credentials.find(&provider.id, &provider.env).await? };
    if credential.is_none() && provider.auth != Auth::None && !sandbox {
        return Err(GatewayError::CredentialsMissing {
            model: model.id.to_string(),
            provider: provider.id.to_string(),
            env: variables(provider),
        });
    }
    if provider.base_url.contains('{') && !sandbox {
        return Err(GatewayError::AddressMissing { provider: provider.id.to_string() });
    }
    let base = Url::parse(&provider.base_url).map_err(|_| GatewayError::NotFound(format!("address for {}", provider.id)))?;
    Ok(Route {
        provider: provider.id.to_string(),
        model: model.id.to_string(),
        method: Method::POST,
        url: below(&base, ask.endpoint()),
        auth: provider.auth.clone(),
        credential,
        is_callers_key: false,
        variables: variables(provider),
        prices: model.prices().cloned(),
        reported_cost: provider.reported_cost.clone(),
        takes_stream_options: sandbox || provider.takes_stream_options,
        context: model.context,
        max_output: model.max_output,
        reasons: model.capabilities.has(Capability::Reasoning),
        reach: if sandbox { Reach::Sandbox } else { Reach::Public },
    })
}

/// Local servers speak both dialects; one that is too old for the second says so itself.
async fn local_route(gateway: &Gateway, ask: &Ask, name: &str, sandbox: bool) -> Option<Route> {
    if sandbox {
        return None;
    }
    for seller in sellers::at_home(&gateway.registry.local.find(&gateway.upstream).await, name) {
        // Looked at once more: another program may have taken the port since its models were listed.
        if let Seller::Local(server, model) = seller
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

fn not_translated(ask: &Ask, model: &str, provider: &str, spoken: Dialect) -> GatewayError {
    GatewayError::NotTranslated(format!(
        "{model} is sold by {provider}, which speaks the {} dialect, and this version does not translate {} requests to it. Use a provider that sells it in \
         that dialect (search for it, then name it as provider/model), a key of the other request shape, or the sandbox.",
        spoken.as_str(),
        dialect(ask).as_str(),
    ))
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
