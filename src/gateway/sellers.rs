//! Who sells what a name means: one order for the request that buys it and for the lists that show it.

use super::{
    local::LocalServer,
    providers::{CustomProvider, Registry},
};
use crate::catalog::{Model, Provider};

/// What Google's clients write before the name of a model.
const GOOGLE_PREFIX: &str = "models/";

/// A place that sells a model, with its own name for it.
#[derive(Clone, Copy)]
pub(super) enum Seller<'a> {
    /// A provider of the config file.
    Custom(&'a CustomProvider, &'a str),
    /// A provider of the catalog.
    Catalog(&'static Provider, &'static Model),
    /// A model server on this machine.
    Local(&'a LocalServer, &'a str),
}

impl<'a> Seller<'a> {
    pub(super) fn provider(&self) -> &'a str {
        match self {
            Self::Custom(provider, _) => &provider.id,
            Self::Catalog(provider, _) => &provider.id,
            Self::Local(server, _) => server.id,
        }
    }

    pub(super) fn model(&self) -> &'a str {
        match self {
            Self::Custom(_, model) | Self::Local(_, model) => model,
            Self::Catalog(_, model) => &model.id,
        }
    }

    /// The name that leads here and nowhere else.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.provider(), self.model())
    }
}

/// A name without what Google's clients write before it.
pub(super) fn plain<'a>(registry: &Registry, name: &'a str) -> &'a str {
    name.strip_prefix(GOOGLE_PREFIX).filter(|_| !registry.is_custom(name)).unwrap_or(name)
}

/// The seller that the name itself says: `provider/model`. Nobody else is asked.
pub(super) fn named<'a>(registry: &'a Registry, name: &'a str) -> Option<Seller<'a>> {
    own_named(registry, name).or_else(|| {
        let (provider, model) = name.split_once('/')?;
        let provider = registry.catalog_provider(provider)?;
        Some(Seller::Catalog(provider, registry.catalog().model(&provider.id, model)?))
    })
}

/// The same, if it is a provider of the config file.
pub(super) fn own_named<'a>(registry: &'a Registry, name: &'a str) -> Option<Seller<'a>> {
    // A provider alone is not a model, though one of the config file would be asked for it.
    let (provider, model) = name.split_once('/').filter(|(_, model)| !model.trim().is_empty())?;
    Some(Seller::Custom(registry.custom(provider)?, model))
}

/// Providers of the config file that list the name, in the order of the file.
pub(super) fn listed<'a>(registry: &'a Registry, name: &'a str) -> impl Iterator<Item = Seller<'a>> {
    let lists = move |custom: &&CustomProvider| custom.models.iter().any(|model| model == name);
    registry.custom.iter().filter(lists).map(move |custom| Seller::Custom(custom, name))
}

/// Those of the catalog, best first: the maker, then the cheapest.
pub(super) fn in_catalog<'a>(registry: &'a Registry, name: &str) -> impl Iterator<Item = Seller<'a>> {
    let models = registry.catalog().models_called(name);
    models.into_iter().filter_map(|model| Some(Seller::Catalog(registry.catalog_provider(&model.provider)?, model)))
}

/// Servers on this machine. They are asked before config file and catalog where the name may begin with theirs, and after them where it does not.
pub(super) fn at_home<'a>(servers: &'a [LocalServer], name: &'a str) -> impl Iterator<Item = Seller<'a>> {
    servers.iter().filter_map(move |server| {
        let model = name.strip_prefix(server.id).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        server.models.iter().any(|known| known == model).then_some(Seller::Local(server, model))
    })
}

/// Everybody to whom a request for this name could go, the first one first.
pub(super) fn all<'a>(registry: &'a Registry, servers: &'a [LocalServer], name: &'a str) -> impl Iterator<Item = Seller<'a>> {
    let named = named(registry, name);
    let is_named = named.is_some();
    let begins_at_home = name.contains('/');
    let others = move || {
        let before = at_home(servers, name).filter(move |_| begins_at_home);
        let after = at_home(servers, name).filter(move |_| !begins_at_home);
        before.chain(listed(registry, name)).chain(std::iter::once_with(move || in_catalog(registry, name)).flatten()).chain(after)
    };
    named.into_iter().chain((!is_named).then(others).into_iter().flatten())
}
