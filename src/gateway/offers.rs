//! What can be bought here and now, and why not: the one answer behind a request's route, the lists of models, the search, the documentation of providers and `doctor`.
//!
//! Nothing here waits or does I/O beyond a look at which keys the vault has, so all of them can ask as often as they like.

use super::{
    ask::Ask,
    credentials::{KeyNames, KeyPlace, Readiness},
    providers::{CustomProvider, Registry},
    sellers::Seller,
    unavailable::Unavailable,
};
use crate::{
    catalog::{Auth, Dialect, Mode, Provider},
    domain::SpendKey,
};

/// What a provider can be asked through here, with a known bound of its cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    ChatCompletions,
    Messages,
    /// Counts what `Messages` would read; free.
    CountTokens,
    Embeddings,
}

impl Endpoint {
    /// That of a request which names a model.
    pub(super) const fn of(ask: &Ask) -> Self {
        match ask {
            Ask::Chat(_) | Ask::Free => Self::ChatCompletions,
            Ask::Messages(_) => Self::Messages,
            Ask::CountTokens(_) => Self::CountTokens,
            Ask::Embeddings(_) => Self::Embeddings,
        }
    }

    /// That through which a kind of model is asked in a dialect, if there is one.
    pub(super) const fn for_mode(mode: Mode, dialect: Dialect) -> Option<Self> {
        match (mode, dialect) {
            (Mode::Chat, Dialect::Openai) => Some(Self::ChatCompletions),
            (Mode::Chat, Dialect::Anthropic) => Some(Self::Messages),
            (Mode::Embedding, Dialect::Openai) => Some(Self::Embeddings),
            _ => None,
        }
    }

    /// The wire format.
    pub(super) const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions | Self::Embeddings => Dialect::Openai,
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
        }
    }

    /// Where it is, below the base address of a provider.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat/completions",
            Self::Messages => "messages",
            Self::CountTokens => "messages/count_tokens",
            Self::Embeddings => "embeddings",
        }
    }

    const fn mode(self) -> Mode {
        match self {
            Self::Embeddings => Mode::Embedding,
            Self::ChatCompletions | Self::Messages | Self::CountTokens => Mode::Chat,
        }
    }
}

/// What one caller can buy, or everybody where no key was shown.
pub(super) struct Offers<'a> {
    pub(super) registry: &'a Registry,
    pub(super) key: Option<&'a SpendKey>,
    pub(super) is_sandbox: bool,
    keys: Readiness<'a>,
    /// Models that what pays cannot buy until a person reinstates them.
    quarantined: &'a [(String, String)],
}

impl<'a> Offers<'a> {
    pub(super) const fn new(registry: &'a Registry, key: Option<&'a SpendKey>, is_sandbox: bool) -> Self {
        Self { registry, key, is_sandbox, keys: registry.credentials.readiness(), quarantined: &[] }
    }

    /// Without the models of this list, which are (provider, model): see `quarantine.rs`.
    pub(super) const fn without(mut self, quarantined: &'a [(String, String)]) -> Self {
        self.quarantined = quarantined;
        self
    }

    /// Whether a seller can be asked through an endpoint now; gives the seller as which it is then asked.
    pub(super) fn check<'s>(&self, seller: &Seller<'s>, endpoint: Endpoint) -> Result<Seller<'s>, Unavailable>
    where
        'a: 's,
    {
        let (provider, model) = (seller.provider(), seller.model());
        // Last: whoever is refused for this alone could be asked otherwise.
        let priced = |prices: bool| match prices || endpoint == Endpoint::CountTokens {
            true => Ok(()),
            false => Err(Unavailable::PriceUnknown { provider: provider.to_owned(), model: model.to_owned() }),
        };
        match *seller {
            Seller::Custom(custom, _) => {
                custom.check_model(model)?;
                self.check_allowed(provider, model)?;
                self.check_dialect(provider, model, custom.dialect, endpoint)?;
                let needs_key = custom.api_key_env.is_some() && !self.is_sandbox;
                self.check_key(provider, needs_key, &custom.key_names(), || custom.variables())?;
                priced(custom.prices.is_some())?;
                Ok(*seller)
            }
            Seller::Catalog(known, sold) => {
                let resolved = self.speaking(known, endpoint.dialect());
                self.check_allowed(&resolved.id, model)?;
                if sold.mode != endpoint.mode() {
                    return Err(Unavailable::OtherMode { model: model.to_owned(), mode: sold.mode });
                }
                self.check_dialect(provider, model, resolved.dialect, endpoint)?;
                self.check_catalog_key(resolved)?;
                self.check_address(resolved)?;
                priced(sold.prices().is_some())?;
                Ok(Seller::Catalog(resolved, sold))
            }
            Seller::Local(..) => {
                self.check_allowed(provider, model)?;
                Ok(*seller)
            }
        }
    }

    /// The seller as which one is asked through an endpoint, whether it can be or not.
    pub(super) fn resolved<'s>(&self, seller: &Seller<'s>, endpoint: Endpoint) -> Seller<'s>
    where
        'a: 's,
    {
        match *seller {
            Seller::Catalog(provider, model) => Seller::Catalog(self.speaking(provider, endpoint.dialect()), model),
            other => other,
        }
    }

    /// How a seller is asked with `call`: in its own dialect.
    pub(super) fn check_call<'s>(&self, seller: &Seller<'s>) -> Result<(Endpoint, Seller<'s>), Unavailable>
    where
        'a: 's,
    {
        let endpoint = self.endpoint_of(seller)?;
        Ok((endpoint, self.check(seller, endpoint)?))
    }

    /// The endpoint through which a seller is asked in its own dialect.
    pub(super) fn endpoint_of(&self, seller: &Seller<'_>) -> Result<Endpoint, Unavailable> {
        let (mode, dialect) = match seller {
            Seller::Custom(custom, _) => (Mode::Chat, custom.dialect),
            Seller::Catalog(provider, model) => (model.mode, self.served(provider)?.dialect),
            Seller::Local(..) => (Mode::Chat, Dialect::Openai),
        };
        Endpoint::for_mode(mode, dialect).ok_or_else(|| Unavailable::OtherMode { model: seller.model().to_owned(), mode })
    }

    /// Whether anything of a provider of the catalog can be called now; gives the provider at whose address that is.
    pub(super) fn check_provider(&self, provider: &'static Provider) -> Result<&'static Provider, Unavailable> {
        let served = self.served(provider)?;
        self.check_allowed(&served.id, "")?;
        self.check_catalog_key(served)?;
        self.check_address(served)?;
        Ok(served)
    }

    /// Why none of these models of a provider of the catalog can be bought; `None` where one can.
    pub(super) fn nothing_of(&self, provider: &'static Provider, sold: &[Seller<'_>]) -> Option<Unavailable> {
        if let Err(why) = self.check_provider(provider) {
            return Some(why);
        }
        let mut first = Unavailable::NoPrices { provider: provider.id.to_string() };
        for (at, seller) in sold.iter().enumerate() {
            match self.check_call(seller) {
                Ok(_) => return None,
                Err(why) if at == 0 => first = why,
                Err(_) => {}
            }
        }
        Some(first)
    }

    /// Whether a provider of the config file can be called.
    pub(super) fn check_own(&self, custom: &CustomProvider) -> Result<(), Unavailable> {
        self.check_allowed(&custom.id, "")?;
        let needs_key = custom.api_key_env.is_some() && !self.is_sandbox;
        self.check_key(&custom.id, needs_key, &custom.key_names(), || custom.variables())
    }

    /// Whether a provider of the config file sells any model through an endpoint.
    pub(super) fn own_sells(&self, custom: &CustomProvider, endpoint: Endpoint) -> bool {
        custom.model_names().iter().any(|model| self.check(&Seller::Custom(custom, model), endpoint).is_ok())
    }

    /// The provider itself where something here speaks its dialect, or the one that sells its models in such a dialect.
    pub(super) fn served(&self, provider: &'static Provider) -> Result<&'static Provider, Unavailable> {
        match provider.dialect {
            Dialect::Openai | Dialect::Anthropic => Ok(provider),
            spoken => {
                let sibling = self.speaking(provider, Dialect::Openai);
                if sibling.dialect == Dialect::Openai {
                    Ok(sibling)
                } else {
                    Err(Unavailable::NotMetered { provider: provider.id.to_string(), spoken })
                }
            }
        }
    }

    /// Whether the key of a provider of the catalog is there.
    pub(super) fn has_key(&self, provider: &Provider) -> bool {
        provider.auth == Auth::None || self.keys.has(&self.registry.key_names(provider))
    }

    /// Whether the key of a provider of the config file is there.
    pub(super) fn has_own_key(&self, custom: &CustomProvider) -> bool {
        self.keys.has(&custom.key_names())
    }

    /// Where a provider's key comes from, if there is one.
    pub(super) fn key_place<'n>(&self, names: &KeyNames<'n>) -> Option<KeyPlace<'n>> {
        self.keys.place(names)
    }

    /// A provider, or the one at which its models are sold in this dialect.
    fn speaking(&self, provider: &'static Provider, dialect: Dialect) -> &'static Provider {
        if provider.dialect == dialect {
            return provider;
        }
        self.registry
            .catalog()
            .sibling(&provider.id, dialect)
            .filter(|sibling| self.registry.custom(&sibling.id).is_none())
            .unwrap_or(provider)
    }

    fn check_allowed(&self, provider: &str, model: &str) -> Result<(), Unavailable> {
        let (by, what) = (|| provider.to_owned(), || model.to_owned());
        if self.key.is_some_and(|key| !self.registry.allows(key, provider, model)) {
            return Err(Unavailable::NotAllowed { provider: by(), model: what() });
        }
        if self.quarantined.iter().any(|(by, what)| by == provider && what == model) {
            return Err(Unavailable::Quarantined { provider: by(), model: what() });
        }
        Ok(())
    }

    /// The sandbox answers in the dialect it is asked in, for all whom something here speaks with.
    fn check_dialect(&self, provider: &str, model: &str, spoken: Dialect, endpoint: Endpoint) -> Result<(), Unavailable> {
        let asked = endpoint.dialect();
        match spoken {
            Dialect::Google | Dialect::Bedrock | Dialect::Custom => Err(Unavailable::NotMetered { provider: provider.to_owned(), spoken }),
            _ if spoken == asked || self.is_sandbox => Ok(()),
            _ => Err(Unavailable::NotTranslated { model: model.to_owned(), provider: provider.to_owned(), spoken, asked }),
        }
    }

    fn check_catalog_key(&self, provider: &Provider) -> Result<(), Unavailable> {
        if self.is_sandbox || provider.auth == Auth::None {
            return Ok(());
        }
        let names = self.registry.key_names(provider);
        let shown = provider.models_of.as_deref().unwrap_or(&provider.id);
        self.check_key(shown, true, &names, || names.variables.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The variables are only named where the key is not there.
    fn check_key(
        &self,
        provider: &str,
        needs_key: bool,
        names: &KeyNames<'_>,
        env: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Unavailable> {
        if !needs_key || self.keys.has(names) {
            return Ok(());
        }
        Err(Unavailable::NoCredential { provider: provider.to_owned(), env: env() })
    }

    fn check_address(&self, provider: &Provider) -> Result<(), Unavailable> {
        if self.is_sandbox || !provider.base_url.contains('{') {
            return Ok(());
        }
        Err(Unavailable::AddressMissing { provider: provider.id.to_string() })
    }
}
