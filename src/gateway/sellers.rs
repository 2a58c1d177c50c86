//! Who sells what a name means: one order for the request that buys it and for the lists that show it.

use super::{
    local::LocalServer,
    providers::{CustomProvider, Registry},
};
use crate::catalog::{Model, Provider};

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
}

/// The seller that the name itself says: `provider/model`. Nobody else is asked.
pub(super) fn named<'a>(registry: &'a Registry, name: &'a str) -> Option<Seller<'a>> {
    // A provider alone is not a model, though one of the config file would be asked for it.
    let (provider, model) = name.split_once('/').filter(|(_, model)| !model.trim().is_empty())?;
    if let Some(custom) = registry.custom(provider) {
        return Some(Seller::Custom(custom, model));
    }
    let provider = registry.catalog_provider(provider)?;
    Some(Seller::Catalog(provider, registry.catalog().model(&provider.id, model)?))
}

/// A provider of the config file that lists the name. Nobody else is asked.
pub(super) fn listed<'a>(registry: &'a Registry, name: &'a str) -> Option<Seller<'a>> {
    let custom = registry.custom.iter().find(|custom| custom.models.iter().any(|model| model == name))?;
    Some(Seller::Custom(custom, name))
}

/// Those of the catalog, best first: the next one is asked where one cannot be called.
pub(super) fn in_catalog<'a>(registry: &'a Registry, name: &str) -> impl Iterator<Item = Seller<'a>> {
    let models = registry.catalog().models_named(name);
    models.into_iter().filter_map(|model| Some(Seller::Catalog(registry.catalog_provider(&model.provider)?, model)))
}

/// Servers on this machine. They are asked before config file and catalog where the name may begin with theirs, and after them where it does not.
pub(super) fn at_home<'a>(servers: &'a [LocalServer], name: &'a str) -> impl Iterator<Item = Seller<'a>> {
    servers.iter().filter_map(move |server| {
        let model = name.strip_prefix(server.id).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        server.models.iter().any(|known| known == model).then_some(Seller::Local(server, model))
    })
}

/// The seller that a request for this name goes to, where `can_be_called` says who of the catalog would not pass it on.
pub(super) fn meant<'a>(
    registry: &'a Registry,
    servers: &'a [LocalServer],
    name: &'a str,
    can_be_called: impl Fn(&Seller<'_>) -> bool,
) -> Option<Seller<'a>> {
    named(registry, name)
        .or_else(|| at_home(servers, name).next().filter(|_| name.contains('/')))
        .or_else(|| listed(registry, name))
        .or_else(|| in_catalog(registry, name).find(can_be_called))
        .or_else(|| at_home(servers, name).next())
}

/// Everybody to whom a request for this name could go.
pub(super) fn all<'a>(registry: &'a Registry, servers: &'a [LocalServer], name: &'a str) -> Vec<Seller<'a>> {
    match named(registry, name) {
        Some(seller) => vec![seller],
        None => at_home(servers, name).chain(listed(registry, name)).chain(in_catalog(registry, name)).collect(),
    }
}
