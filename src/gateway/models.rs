//! `GET /v1/models` and `/v1/models/{id}`: what can be called now; with a key, what that key may buy. What is listed is admitted: both ask `sellers` who is meant, and
//! the key whether it allows them.

mod shape;

use std::{collections::HashSet, sync::Arc};

use axum::extract::{Path, RawQuery, Request, State};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{
    Gateway,
    authorise::{check_seller, payer},
    credential::key_in,
    edge::{Form, Response, respond_json_as},
    error::GatewayError,
    lengths::check_name,
    local::LocalServer,
    lookup::{Asker, load_catalog, look_up},
    providers::{Ready, variables},
    route::not_found,
    sellers::{self, Seller},
};
use crate::{
    catalog::{Auth, Dialect, Mode},
    domain::{RequestShape, SpendKey},
};
use shape::{Page, Shape};

/// A model in the list, under the name by which it is called.
struct Row {
    id: String,
    provider: String,
    context: Option<u64>,
    max_output: Option<u64>,
}

/// Who asks for models, and in whose form.
struct Reader {
    gateway: Arc<Gateway>,
    key: Option<SpendKey>,
    shape: Shape,
    /// What the requests speak that the list is for: the key's dialect, whichever form its list has.
    dialect: Dialect,
    is_sandbox: bool,
    local: Arc<Vec<LocalServer>>,
}

/// `GET /v1/models`.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>, RawQuery(query): RawQuery, request: Request) -> Response {
    let (form, headers) = (Form::of(&request), request.into_parts().0.headers);
    let shape = Shape::of(&headers);
    let listed = async {
        let page = Page::read(shape, query.as_deref().unwrap_or_default())?;
        let reader = Reader::new(gateway, &headers, shape).await?;
        look_up(reader.asker(), move || shape.list(&reader.rows(), &page)).await.flatten()
    };
    respond_json_as(&form, StatusCode::OK, listed.await)
}

/// `GET /v1/models/{id}`; an id may have slashes, as they are or encoded.
pub(super) async fn retrieve(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let (form, headers) = (Form::of(&request), request.into_parts().0.headers);
    let shape = Shape::of(&headers);
    let found = async {
        // Google's names of models begin so.
        let id = id.strip_prefix("models/").unwrap_or(&id).to_owned();
        check_name("model", &id)?;
        load_catalog().await;
        Reader::new(gateway, &headers, shape).await?.find(&id).await
    };
    respond_json_as(&form, StatusCode::OK, found.await)
}

impl Reader {
    async fn new(gateway: Arc<Gateway>, headers: &HeaderMap, shape: Shape) -> Result<Self, GatewayError> {
        let key = match key_in(headers)? {
            Some(key) => Some(payer(&gateway, Some(&key))?),
            None => None,
        };
        let is_sandbox = gateway.sandbox || key.as_ref().is_some_and(|key| key.test);
        let local = if is_sandbox { Arc::default() } else { gateway.registry.local.find(&gateway.upstream).await };
        let dialect = match &key {
            Some(key) if !key.is_of_secret_key() => match key.settings.shape {
                RequestShape::Openai => Dialect::Openai,
                RequestShape::Anthropic => Dialect::Anthropic,
            },
            _ => shape.dialect(),
        };
        Ok(Self { gateway, key, shape, dialect, is_sandbox, local })
    }

    fn asker(&self) -> Asker {
        if self.key.is_some() { Asker::Keyholder } else { Asker::Anybody }
    }

    /// Whether a request can go there now.
    fn can_be_called(&self, ready: &Ready<'_>, seller: &Seller<'_>) -> bool {
        let (dialect, is_sandbox) = (self.dialect, self.is_sandbox);
        match seller {
            Seller::Custom(custom, model) => {
                custom.check_model(model).is_ok() && (is_sandbox || (custom.dialect == dialect && ready.has(&custom.id)))
            }
            Seller::Catalog(provider, model) => {
                model.mode == Mode::Chat
                    && (is_sandbox || (provider.dialect == dialect && ready.has(&provider.id) && !provider.base_url.contains('{')))
            }
            // They speak both dialects.
            Seller::Local(..) => !is_sandbox,
        }
    }

    fn is_allowed(&self, seller: &Seller<'_>) -> bool {
        self.key.as_ref().is_none_or(|key| key.settings.allows(seller.provider(), seller.model()))
    }

    /// Each id once: an alias, the bare one for the seller that it leads to, and with the provider in front for the others.
    fn rows(&self) -> Vec<Row> {
        let registry = &self.gateway.registry;
        let ready = registry.readiness();
        let custom = registry.custom.iter().flat_map(|custom| custom.models.iter().map(move |model| Seller::Custom(custom, model)));
        let local = self.local.iter().flat_map(|server| server.models.iter().map(move |model| Seller::Local(server, model)));
        let catalog = registry.catalog().models().iter().filter(|model| !model.retired && model.prices().is_some());
        let catalog = catalog.filter_map(|model| Some(Seller::Catalog(registry.catalog_provider(&model.provider)?, model)));
        let mut known = HashSet::new();
        let mut rows = Vec::new();
        for (alias, name) in registry.aliases.all(self.key.as_ref()).filter(|(alias, _)| known.insert((*alias).to_owned())) {
            let meant = sellers::meant(registry, &self.local, name, |seller| self.can_be_called(&ready, seller));
            rows.extend(
                meant
                    .filter(|seller| self.is_allowed(seller) && self.can_be_called(&ready, seller))
                    .map(|seller| row(alias.to_owned(), &seller)),
            );
        }
        for seller in custom.chain(local).chain(catalog) {
            let (provider, model) = (seller.provider(), seller.model());
            if !self.is_allowed(&seller) || !self.can_be_called(&ready, &seller) {
                continue;
            }
            let leads_here = |name: &str| {
                if registry.aliases.find(self.key.as_ref(), name).is_some() {
                    return false;
                }
                let meant = sellers::meant(registry, &self.local, name, |seller| self.can_be_called(&ready, seller));
                meant.is_some_and(|meant| (meant.provider(), meant.model()) == (provider, model))
            };
            let name = [model.to_owned(), format!("{provider}/{model}")].into_iter().find(|name| leads_here(name));
            rows.extend(name.filter(|name| known.insert(name.clone())).map(|id| row(id, &seller)));
        }
        rows
    }

    async fn find(&self, id: &str) -> Result<Value, GatewayError> {
        let registry = &self.gateway.registry;
        let called = id;
        let id = registry.aliases.find(self.key.as_ref(), called).unwrap_or(called);
        let is_callable = |seller: &Seller<'_>| self.can_be_called(&registry.readiness(), seller);
        let sold = |seller: &Seller<'_>| !matches!(seller, Seller::Catalog(_, model) if model.prices().is_none());
        let Some(seller) = sellers::meant(registry, &self.local, id, is_callable).filter(|seller| sold(seller)) else {
            return Err(match sellers::in_catalog(registry, id).next() {
                Some(seller) if !id.is_empty() => self.not_offered(id, &seller),
                _ => not_found(&self.gateway, id, self.asker()).await?,
            });
        };
        if let Some(key) = &self.key {
            check_seller(key, seller.provider(), seller.model())?;
        }
        if !is_callable(&seller) {
            return Err(match seller {
                Seller::Custom(custom, model) if custom.check_model(model).is_err() => not_found(&self.gateway, id, self.asker()).await?,
                seller => self.not_offered(id, &seller),
            });
        }
        Ok(self.shape.one(&row(called.to_owned(), &seller)))
    }

    /// A model that is known, and cannot be called now: the words of the refusal that a request for it would get.
    fn not_offered(&self, id: &str, seller: &Seller<'_>) -> GatewayError {
        let registry = &self.gateway.registry;
        let (provider, spoken, env) = match seller {
            Seller::Custom(custom, _) => (custom.id.as_str(), custom.dialect, custom.api_key_env.iter().cloned().collect()),
            Seller::Catalog(provider, _) => (&*provider.id, provider.dialect, variables(provider)),
            Seller::Local(server, _) => (server.id, Dialect::Openai, Vec::new()),
        };
        let needs_key = !matches!(seller, Seller::Catalog(provider, _) if provider.auth == Auth::None);
        let refusal = if needs_key && !self.is_sandbox && !registry.readiness().has(provider) {
            GatewayError::CredentialsMissing { model: id.to_owned(), provider: provider.to_owned(), env }.to_string()
        } else if spoken != self.dialect && !self.is_sandbox {
            format!("{id} is sold by {provider}, which speaks the {} dialect.", spoken.as_str())
        } else {
            format!("{id} of {provider} cannot be called here.")
        };
        GatewayError::ModelNotOffered(refusal)
    }
}

fn row(id: String, seller: &Seller<'_>) -> Row {
    let (context, max_output) = if let Seller::Catalog(_, model) = seller { (model.context, model.max_output) } else { (None, None) };
    Row { id, provider: seller.provider().to_owned(), context, max_output }
}
