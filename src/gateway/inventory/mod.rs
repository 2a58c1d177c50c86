//! What is set up to buy from, as `doctor` shows it: each provider that has a key or needs none, and how many of its models can be bought. Whether they can, `offers` says, as it
//! does for every request. It works without a ledger, so that a broken one hides nothing.

mod key_test;

use std::collections::HashSet;

use super::{
    credentials::KeyPlace,
    local::LocalServer,
    offers::Offers,
    providers::{CustomProvider, Registry},
    sellers::Seller,
    upstream::Upstream,
};
use crate::catalog::{Auth, Model, Provider};
pub use key_test::KeyTest;

/// What can be bought here, and from whom.
pub struct Inventory {
    registry: Registry,
    upstream: Upstream,
    sandbox: bool,
    /// Models that keys with a limit cannot buy, as (provider, model).
    quarantined: Vec<(String, String)>,
}

/// A provider that is set up, or that somebody has begun to set up.
pub struct Stock<'a> {
    /// Its id.
    pub provider: &'a str,
    /// Where its key comes from, if it has one.
    pub key: Option<KeyPlace<'a>>,
    /// How many of its models can be bought; `None` where it is asked for any.
    pub models: Option<usize>,
    /// Why nothing of it can be bought, and what to do.
    pub unavailable: Option<String>,
    who: Who<'a>,
}

enum Who<'a> {
    Own(&'a CustomProvider),
    Catalog(&'static Provider),
    Local,
}

/// Where a provider is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The config file.
    Own,
    /// The catalog.
    Catalog,
    /// Found on this machine.
    Local,
}

impl Stock<'_> {
    /// Where it is known from.
    pub const fn kind(&self) -> Kind {
        match self.who {
            Who::Own(_) => Kind::Own,
            Who::Catalog(_) => Kind::Catalog,
            Who::Local => Kind::Local,
        }
    }

    /// Whether it is asked with a key.
    pub fn needs_key(&self) -> bool {
        match self.who {
            Who::Own(custom) => custom.api_key_env.is_some() || self.key.is_some(),
            Who::Catalog(provider) => provider.auth != Auth::None,
            Who::Local => false,
        }
    }
}

impl Inventory {
    /// What these providers sell to keys with a limit, for which some models are quarantined, given as (provider, model); in the sandbox all of them sell everything.
    pub fn new(registry: Registry, quarantined: Vec<(String, String)>, sandbox: bool) -> Self {
        let quarantined = if sandbox { Vec::new() } else { quarantined };
        Self { upstream: Upstream::new(registry.network.clone()), registry, sandbox, quarantined }
    }

    fn offers(&self) -> Offers<'_> {
        Offers::new(&self.registry, None, self.sandbox).without(&self.quarantined)
    }

    /// The providers of the config file, those of the catalog that have a key, and the model servers on this machine.
    pub async fn stock(&self) -> Vec<Stock<'_>> {
        let offers = self.offers();
        let mut stock: Vec<Stock<'_>> = self.registry.custom.iter().map(|custom| of_own(&offers, custom)).collect();
        stock.extend(self.catalog().filter_map(|provider| self.of_catalog(&offers, provider)));
        // One variable can be that of two providers of the same company: where one of them sells, the other one is not what it was set for.
        let selling: HashSet<String> = stock.iter().filter(|one| one.models != Some(0)).filter_map(variable_of).collect();
        stock.retain(|one| one.models != Some(0) || variable_of(one).is_none_or(|variable| !selling.contains(&variable)));
        stock.extend(self.registry.local.find(&self.upstream).await.iter().map(of_server));
        stock
    }

    /// How many models of the catalog can be bought.
    pub fn models(&self) -> usize {
        let offers = self.offers();
        self.catalog().map(|provider| self.sold_by(provider).filter(|seller| offers.check_call(seller).is_ok()).count()).sum()
    }

    /// Those of the catalog that could be bought from with a key, the best known first.
    pub fn without_key(&self) -> Vec<&'static str> {
        let offers = self.offers();
        let priced = self.registry.catalog().models().iter().filter(|model| !model.retired && model.prices().is_some());
        let sell: HashSet<&str> = priced.map(|model| &*model.provider).collect();
        let lacks_only_a_key = |provider: &&'static Provider| {
            let served = offers.served(provider).ok().filter(|served| !served.base_url.contains('{'));
            sell.contains(&*provider.id) && served.is_some_and(|served| !offers.has_key(served))
        };
        self.catalog().filter(lacks_only_a_key).map(|provider| &*provider.id).collect()
    }

    /// Each provider of the catalog once, by the name that people know.
    fn catalog(&self) -> impl Iterator<Item = &'static Provider> {
        let providers = self.registry.catalog().providers().iter();
        providers.filter(|provider| provider.models_of.is_none() && self.registry.custom(&provider.id).is_none())
    }

    fn sold_by(&self, provider: &'static Provider) -> impl Iterator<Item = Seller<'static>> {
        let models = self.registry.catalog().models().iter();
        models
            .filter(move |model: &&'static Model| *model.provider == *provider.id && !model.retired)
            .map(move |model| Seller::Catalog(provider, model))
    }

    fn of_catalog<'a>(&'a self, offers: &Offers<'a>, provider: &'static Provider) -> Option<Stock<'a>> {
        let served = offers.served(provider).unwrap_or(provider);
        let key = offers.key_place(&self.registry.key_names(served))?;
        let sold: Vec<Seller<'_>> = self.sold_by(provider).collect();
        let models = sold.iter().filter(|seller| offers.check_call(seller).is_ok()).count();
        let unavailable = offers.nothing_of(provider, &sold).map(|why| why.reason());
        Some(Stock { provider: &provider.id, key: Some(key), models: Some(models), unavailable, who: Who::Catalog(provider) })
    }
}

fn variable_of(stock: &Stock<'_>) -> Option<String> {
    if let Some(KeyPlace::Variable(name)) = stock.key { Some(name.to_owned()) } else { None }
}

fn of_own<'a>(offers: &Offers<'a>, custom: &'a CustomProvider) -> Stock<'a> {
    let is_any = custom.models.is_empty();
    let refusals: Vec<_> = custom.model_names().into_iter().map(|name| offers.check_call(&Seller::Custom(custom, name)).err()).collect();
    let models = refusals.iter().filter(|refusal| refusal.is_none()).count();
    let first = refusals.iter().flatten().next().filter(|_| models == 0);
    Stock {
        provider: &custom.id,
        key: offers.key_place(&custom.key_names()),
        models: (!is_any || models == 0).then_some(models),
        unavailable: first.map(|why| why.reason()),
        who: Who::Own(custom),
    }
}

fn of_server<'a>(server: &LocalServer) -> Stock<'a> {
    Stock { provider: server.id, key: None, models: Some(server.models.len()), unavailable: None, who: Who::Local }
}
