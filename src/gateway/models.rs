//! `GET /v1/models` and `/v1/models/{id}`: what can be called now; with a key, what that key may buy. What is listed is admitted: both ask `sellers` who is meant, and
//! `offers` whether they sell.

mod shape;

use std::{collections::HashSet, sync::Arc};

use axum::extract::{Path, RawQuery, Request, State};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{
    Gateway,
    authorise::payer,
    credential::key_in,
    edge::{Form, Response, respond_json_as},
    error::GatewayError,
    lengths::check_name,
    local::LocalServer,
    lookup::{Asker, load_catalog, look_up},
    offers::{Endpoint, Offers},
    route::not_found,
    sellers::{self, Seller},
    unavailable::Unavailable,
};
use crate::{
    catalog::Dialect,
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
    quarantined: Vec<(String, String)>,
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
        let quarantined = gateway.quarantined_for(key.as_ref(), is_sandbox)?;
        Ok(Self { gateway, key, shape, dialect, is_sandbox, local, quarantined })
    }

    fn asker(&self) -> Asker {
        if self.key.is_some() { Asker::Keyholder } else { Asker::Anybody }
    }

    fn offers(&self) -> Offers<'_> {
        Offers::new(&self.gateway.registry, self.key.as_ref(), self.is_sandbox).without(&self.quarantined)
    }

    /// What the listed models are asked through.
    const fn endpoint(&self) -> Endpoint {
        match self.dialect {
            Dialect::Anthropic => Endpoint::Messages,
            _ => Endpoint::ChatCompletions,
        }
    }

    /// The seller that a request for this name goes to; where none can be called, the one whose refusal it gets.
    fn meant<'a>(&'a self, offers: &Offers<'_>, name: &'a str) -> Option<Result<Seller<'a>, (Seller<'a>, Unavailable)>> {
        let mut first = None;
        for seller in sellers::all(&self.gateway.registry, &self.local, name) {
            match offers.check(&seller, self.endpoint()) {
                // A seller that answers in another wire format is listed under the name that people know.
                Ok(_) => return Some(Ok(seller)),
                Err(why) if matches!(first, None | Some((_, Unavailable::NotAllowed { .. }))) => first = Some((seller, why)),
                Err(_) => {}
            }
        }
        first.map(Err)
    }

    /// Each id once: an alias, the bare one for the seller that it leads to, and with the provider in front for the others.
    fn rows(&self) -> Vec<Row> {
        let registry = &self.gateway.registry;
        let offers = self.offers();
        let custom = registry.custom.iter().flat_map(|custom| custom.models.iter().map(move |model| Seller::Custom(custom, model)));
        let local = self.local.iter().flat_map(|server| server.models.iter().map(move |model| Seller::Local(server, model)));
        let catalog = registry.catalog().models().iter().filter(|model| !model.retired);
        let catalog = catalog.filter_map(|model| Some(Seller::Catalog(registry.catalog_provider(&model.provider)?, model)));
        let mut known = HashSet::new();
        let mut rows = Vec::new();
        for (alias, name) in registry.aliases.all(self.key.as_ref()).filter(|(alias, _)| known.insert((*alias).to_owned())) {
            let meant = self.meant(&offers, sellers::plain(registry, name));
            rows.extend(meant.and_then(Result::ok).map(|seller| row(alias.to_owned(), &seller)));
        }
        for seller in custom.chain(local).chain(catalog).filter(|seller| offers.check(seller, self.endpoint()).is_ok()) {
            let (provider, model) = (seller.provider(), seller.model());
            let leads_here = |name: &str| {
                if registry.aliases.find(self.key.as_ref(), name).is_some() {
                    return false;
                }
                let meant = self.meant(&offers, name).and_then(Result::ok);
                meant.is_some_and(|meant| (meant.provider(), meant.model()) == (provider, model))
            };
            let name = [model.to_owned(), seller.full_name()].into_iter().find(|name| leads_here(name));
            rows.extend(name.filter(|name| known.insert(name.clone())).map(|id| row(id, &seller)));
        }
        rows
    }

    async fn find(&self, id: &str) -> Result<Value, GatewayError> {
        let registry = &self.gateway.registry;
        let called = id;
        let id = sellers::plain(registry, registry.aliases.find(self.key.as_ref(), called).unwrap_or(called));
        let (seller, why) = match self.meant(&self.offers(), id) {
            Some(Ok(seller)) => return Ok(self.shape.one(&row(called.to_owned(), &seller))),
            Some(Err(refused)) if !id.is_empty() => refused,
            _ => return Err(not_found(&self.gateway, id, self.asker()).await?),
        };
        Err(match why {
            Unavailable::NotAllowed { .. } => why.into_error(self.key.as_ref(), registry, id, String::new()),
            Unavailable::NotListed { .. } => not_found(&self.gateway, id, self.asker()).await?,
            // A model that is known, and cannot be called now: the words of the refusal that a request for it would get.
            why => GatewayError::ModelNotOffered(format!("{} cannot be called here: {}.", seller.full_name(), why.reason())),
        })
    }
}

fn row(id: String, seller: &Seller<'_>) -> Row {
    let (context, max_output) = if let Seller::Catalog(_, model) = seller { (model.context, model.max_output) } else { (None, None) };
    Row { id, provider: seller.provider().to_owned(), context, max_output }
}
