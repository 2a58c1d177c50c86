//! What can be bought: the search behind the MCP tool, and what one must know to call a provider. Open to everybody; it holds nothing secret. With a spend key it says what
//! that key can buy.

mod docs;
mod hits;
mod note;

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Gateway,
    authorise::payer,
    credential::key_in,
    edge::{Response, respond_json},
    error::GatewayError,
    lengths::{check_name, shown},
    local::LocalServer,
    lookup::{Asker, look_up},
    offers::Offers,
    providers::{CustomProvider, Registry},
    sellers::Seller,
};
use crate::{
    catalog::{self, Item, Mode, Provider},
    domain::SpendKey,
};

const RESULTS_DEFAULT: usize = 8;
const RESULTS_MAX: usize = 25;
/// The longest question; the search itself looks at its first words only.
const QUERY_CHARS_MAX: usize = 1_000;

#[derive(Deserialize)]
pub(super) struct SearchQuery {
    #[serde(default)]
    query: String,
    kind: Option<String>,
    provider: Option<String>,
    limit: Option<usize>,
    cursor: Option<usize>,
    /// Only what can be bought now; without a query, all chat models that can. Without a query, the kind "service" means all providers.
    #[serde(default)]
    available: bool,
}

impl SearchQuery {
    fn check(&self) -> Result<(), GatewayError> {
        if self.query.chars().nth(QUERY_CHARS_MAX).is_some() {
            let message = format!("query: at most {QUERY_CHARS_MAX} characters are allowed; a few words find more");
            return Err(GatewayError::BadField { field: "query".to_owned(), message });
        }
        check_name("provider", self.provider.as_deref().unwrap_or_default())
    }
}

#[derive(Serialize)]
struct Found {
    total: usize,
    results: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What the question asks for that is not sold, or why nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Something to show.
#[derive(Clone, Copy)]
enum Hit<'a> {
    Model(Seller<'a>),
    Own(&'a CustomProvider),
    Service(&'static Provider),
}

/// Who looks around: with a key, what it can buy. A key that is not known here does not keep anybody from looking.
struct Looker {
    gateway: Arc<Gateway>,
    key: Option<SpendKey>,
    local: Arc<Vec<LocalServer>>,
    quarantined: Vec<(String, String)>,
}

impl Looker {
    async fn new(gateway: Arc<Gateway>, headers: &HeaderMap) -> Result<Self, GatewayError> {
        let shown = key_in(headers).ok().flatten();
        let key = shown.and_then(|key| payer(&gateway, Some(&key)).ok());
        let is_sandbox = gateway.sandbox || key.as_ref().is_some_and(|key| key.test);
        let local = if is_sandbox { Arc::default() } else { gateway.registry.local.find(&gateway.upstream).await };
        let quarantined = gateway.quarantined_for(key.as_ref(), is_sandbox)?;
        Ok(Self { gateway, key, local, quarantined })
    }

    fn offers(&self) -> Offers<'_> {
        let is_sandbox = self.gateway.sandbox || self.key.as_ref().is_some_and(|key| key.test);
        Offers::new(&self.gateway.registry, self.key.as_ref(), is_sandbox).without(&self.quarantined)
    }
}

/// The search behind the MCP tool. Not part of Lava's API.
pub(super) async fn search(State(gateway): State<Arc<Gateway>>, Query(query): Query<SearchQuery>, headers: HeaderMap) -> Response {
    let found = match query.check() {
        Ok(()) => {
            let found = async {
                let looker = Looker::new(gateway, &headers).await?;
                look_up(Asker::Anybody, move || find(&looker, &query)).await.flatten()
            };
            found.await
        }
        Err(error) => Err(error),
    };
    respond_json(StatusCode::OK, found)
}

fn find(looker: &Looker, query: &SearchQuery) -> Result<Found, GatewayError> {
    let kind = match query.kind.as_deref().unwrap_or("any") {
        "any" => catalog::Kind::Any,
        "model" => catalog::Kind::Model,
        "service" => catalog::Kind::Service,
        _ => {
            return Err(GatewayError::BadField {
                field: "kind".to_owned(),
                message: "kind: \"model\", \"service\" or \"any\" is needed".to_owned(),
            });
        }
    };
    let registry = &looker.gateway.registry;
    let offers = looker.offers();
    let provider = query.provider.as_deref().map(|id| known_as(registry, id).unwrap_or_else(|| id.to_owned()));
    let lists_services = kind == catalog::Kind::Service;
    let lists_all = (query.available || lists_services) && query.query.trim().is_empty() && provider.is_none();
    let is_wanted = |id: &str, name: &str| {
        provider.as_deref().is_none_or(|provider| provider == id)
            && (lists_all || (provider.is_some() && query.query.trim().is_empty()) || is_named(&query.query, name))
    };
    let own = registry.custom.iter().flat_map(|custom| custom.models.iter().map(move |model| Seller::Custom(custom, model)));
    let local = looker.local.iter().flat_map(|server| server.models.iter().map(move |model| Seller::Local(server, model)));
    let own = own.chain(local).filter(|seller| kind != catalog::Kind::Service && is_wanted(seller.provider(), &seller.full_name()));
    let mut hits: Vec<Hit<'_>> = own.map(Hit::Model).collect();
    let services = registry.custom.iter().filter(|custom| kind != catalog::Kind::Model && is_wanted(&custom.id, &custom.id));
    hits.extend(services.filter(|_| !lists_all || lists_services).map(Hit::Own));
    let mut unknown = Vec::new();
    if lists_all && lists_services {
        let once = registry.catalog().providers().iter().filter(|provider| provider.models_of.is_none());
        hits.extend(once.filter_map(|provider| Some(Hit::Service(registry.catalog_provider(&provider.id)?))));
    } else if lists_all {
        hits.extend(chat_models(registry).map(Hit::Model));
    } else {
        // Asked for each model that fits a little.
        let known = RefCell::new(HashMap::new());
        let ready = |id: &str| {
            let check = || registry.catalog_provider(id).is_some_and(|provider| offers.check_provider(provider).is_ok());
            *known.borrow_mut().entry(id.to_owned()).or_insert_with(check)
        };
        let found = registry.catalog().find(&catalog::Query { text: &query.query, kind, provider: provider.as_deref(), ready: &ready });
        // What the catalog does not know can be the name of what a person added.
        unknown = if hits.is_empty() { found.unknown } else { Vec::new() };
        hits.extend(found.hits.iter().filter_map(|hit| match hit.item {
            Item::Model(model) => Some(Hit::Model(Seller::Catalog(registry.catalog_provider(&model.provider)?, model))),
            Item::Provider(provider) => Some(Hit::Service(registry.catalog_provider(&provider.id)?)),
        }));
    }
    let fitting = hits.len();
    if query.available {
        hits.retain(|hit| match hit {
            Hit::Model(seller) => offers.check_call(seller).is_ok(),
            Hit::Own(custom) => offers.check_own(custom).is_ok(),
            Hit::Service(provider) => offers.check_provider(provider).is_ok(),
        });
    }
    let limit = query.limit.unwrap_or(RESULTS_DEFAULT).clamp(1, RESULTS_MAX);
    let start = query.cursor.unwrap_or(0);
    // Only what is shown is turned into results.
    let results: Vec<Value> = hits.iter().skip(start).take(limit).map(|hit| hits::result(&offers, hit)).collect();
    let next = start.saturating_add(results.len());
    let note = match query.provider.as_deref().filter(|id| !is_provider(looker, id)) {
        Some(id) => Some(note::unknown_provider(registry, id)),
        None => note::of(registry, query, &unknown, fitting, hits.len()),
    };
    Ok(Found { total: hits.len(), results, next_cursor: (next < hits.len()).then(|| next.to_string()), note })
}

fn is_provider(looker: &Looker, id: &str) -> bool {
    known_as(&looker.gateway.registry, id).is_some() || looker.local.iter().any(|server| server.id == id)
}

/// All chat models of the catalog that are still sold, the best known providers first.
fn chat_models(registry: &Registry) -> impl Iterator<Item = Seller<'_>> {
    let catalog = registry.catalog();
    let places: HashMap<&str, usize> = catalog.providers().iter().enumerate().map(|(place, provider)| (&*provider.id, place)).collect();
    let mut models: Vec<_> = catalog.models().iter().filter(|model| model.mode == Mode::Chat && !model.retired).collect();
    models.sort_by_key(|model| places.get(&*model.provider).copied().unwrap_or(usize::MAX));
    models.into_iter().filter_map(|model| Some(Seller::Catalog(registry.catalog_provider(&model.provider)?, model)))
}

/// The id of the provider that is meant by a name.
fn known_as(registry: &Registry, name: &str) -> Option<String> {
    registry.catalog().provider_called(&own_ids(registry), name).map(str::to_owned)
}

fn own_ids(registry: &Registry) -> impl Iterator<Item = &str> + Clone {
    registry.custom.iter().map(|custom| custom.id.as_str())
}

/// Whether every word of a query is in a name.
fn is_named(query: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    !query.trim().is_empty() && query.to_lowercase().split_whitespace().all(|word| name.contains(word))
}

/// What one must know to call a provider. Not part of Lava's API.
pub(super) async fn provider(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let found = async {
        let looker = Looker::new(gateway, &headers).await?;
        look_up(Asker::Anybody, move || docs_of(&looker, &id)).await.flatten()
    };
    respond_json(StatusCode::OK, found.await)
}

fn docs_of(looker: &Looker, asked: &str) -> Result<Value, GatewayError> {
    let (registry, offers) = (&looker.gateway.registry, looker.offers());
    let id = known_as(registry, asked).unwrap_or_else(|| asked.to_owned());
    let own = registry.custom(&id).map(|custom| docs::of_own(&offers, custom));
    let local = || looker.local.iter().find(|server| server.id == id).map(docs::of_local);
    let known = || registry.catalog_provider(&id).map(|provider| docs::of_catalog(&offers, provider));
    own.or_else(known).or_else(local).ok_or_else(|| GatewayError::NotFound(format!("provider {}", shown(asked))))
}
