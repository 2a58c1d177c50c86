//! What can be bought here and now, and why not: the one answer behind a request's route, the lists of models, the search, the documentation of providers and `doctor`.
//!
//! Nothing here waits or does I/O beyond a look at which keys the vault has, so all of them can ask as often as they like.

use super::{
    ask::Ask,
    authorise::check_seller,
    credentials::{KeyNames, KeyPlace, Readiness},
    error::GatewayError,
    providers::{CustomProvider, Registry},
    sellers::Seller,
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

/// Why something cannot be bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unavailable {
    /// The spend key does not allow it.
    NotAllowed { provider: String, model: String },
    /// Nobody here asks such models, or not through this endpoint.
    OtherMode { model: String, mode: Mode },
    /// The provider speaks another dialect than the endpoint that is asked.
    NotTranslated { model: String, provider: String, spoken: Dialect, asked: Dialect },
    /// The provider speaks a dialect that nothing here speaks.
    NotMetered { provider: String, spoken: Dialect },
    /// There is no price to bound its cost with.
    PriceUnknown { provider: String, model: String },
    /// The provider wants a key, and none is set.
    NoCredential { provider: String, env: Vec<String> },
    /// The address of the provider has a part that is the customer's own.
    AddressMissing { provider: String },
    /// The config file lists the models of this provider, and not this one.
    NotListed { provider: String, model: String },
    /// It billed more than its prices allow, and what pays has a limit.
    Quarantined { provider: String, model: String },
}

impl Unavailable {
    /// Why, and what to do, in one sentence.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::NotAllowed { provider, model } if model.is_empty() => {
                format!("this key does not allow the provider {provider}; use one that `usage` lists, or a key that allows it")
            }
            Self::NotAllowed { provider, model } => {
                format!("this key does not allow {provider}/{model}; use a model that it allows, or a key that allows this one")
            }
            Self::OtherMode { model, mode } => format!("{model} {}", without_endpoint(*mode)),
            Self::NotTranslated { provider, spoken: Dialect::Anthropic, .. } => {
                format!(
                    "{provider} speaks Anthropic's messages, which chat completions are not translated to; send it an Anthropic body with `call`"
                )
            }
            Self::NotTranslated { provider, spoken, asked, .. } => {
                format!(
                    "{provider} speaks the {} dialect, not the {} one; use a provider that sells it in that dialect",
                    spoken.as_str(),
                    asked.as_str()
                )
            }
            Self::NotMetered { provider, spoken } => {
                let spoken = match spoken {
                    Dialect::Custom => "a format of its own",
                    Dialect::Bedrock => "Amazon Bedrock's format",
                    Dialect::Google => "Google's own format",
                    Dialect::Openai | Dialect::Anthropic => "another format",
                };
                format!("{provider} speaks {spoken}, which this version cannot meter; use the same model at another provider")
            }
            Self::PriceUnknown { provider, model } => {
                format!("no price is known for {provider}/{model}; set one under [providers.{provider}] in the config file")
            }
            Self::NoCredential { provider, env } if env.is_empty() => {
                format!("no key for {provider} is set; run `lava-mcp providers set {provider}`")
            }
            Self::NoCredential { provider, env } => {
                format!("no key for {provider} is set; set {} or run `lava-mcp providers set {provider}`", env.join(" or "))
            }
            Self::AddressMissing { provider } => {
                format!(
                    "{provider} has a separate address for each customer; write yours into the config file, as base_url with a price under [providers.{provider}]"
                )
            }
            // The request itself is refused by the ledger, with the same sentence.
            Self::Quarantined { provider, model } => {
                let said = GatewayError::Mispriced { provider: provider.clone(), model: model.clone() }.to_string();
                said.trim_end_matches('.').to_owned()
            }
            Self::NotListed { provider, model } => {
                format!("[providers.{provider}] in the config file does not list {model} among its models; add it there")
            }
        }
    }

    /// The refusal of a request. `instead` says what can be bought.
    pub(super) fn into_error(self, key: Option<&SpendKey>, registry: &Registry, name: &str, instead: String) -> GatewayError {
        match self {
            Self::NotAllowed { provider, model } => {
                let refused = key.map(|key| check_seller(registry, key, &provider, &model));
                match refused {
                    Some(Err(error)) => error,
                    _ => GatewayError::ModelNotAllowed { model, allowed: Vec::new() },
                }
            }
            Self::OtherMode { model, mode } => GatewayError::NotTranslated(format!("{model} {}.{instead}", without_endpoint(mode))),
            Self::NotTranslated { model, provider, spoken, asked } => GatewayError::NotTranslated(format!(
                "{model} is sold by {provider}, which speaks the {} dialect, and this version does not translate {} requests to it. Use a provider that sells it in \
                 that dialect (search for it, then name it as provider/model), a key of the other request shape, or the sandbox.{instead}",
                spoken.as_str(),
                asked.as_str(),
            )),
            Self::NotMetered { ref provider, .. } => {
                GatewayError::NotTranslated(format!("{name} is sold by {provider}, and {}.{instead}", self.reason()))
            }
            Self::PriceUnknown { .. } => GatewayError::Unpriceable(format!("{}{}", self.reason(), instead.trim_end_matches('.'))),
            Self::NoCredential { provider, env } => GatewayError::CredentialsMissing { model: name.to_owned(), provider, env, instead },
            Self::AddressMissing { provider } => GatewayError::AddressMissing { provider, instead },
            Self::Quarantined { provider, model } => GatewayError::Mispriced { provider, model },
            Self::NotListed { provider, model } => {
                let models = registry.custom(&provider).map(|custom| custom.models.as_slice()).unwrap_or_default();
                let nearest = models.iter().take(3).map(|known| format!("{provider}/{known}")).collect();
                GatewayError::ModelNotFound { model: format!("{provider}/{model}"), nearest }
            }
        }
    }
}

/// What a kind of model is for, as the end of a sentence that begins with its name.
fn without_endpoint(mode: Mode) -> String {
    let what = match mode {
        Mode::Chat => return "is a chat model; ask it with `prompt` or at chat/completions".to_owned(),
        Mode::Embedding => {
            return "is not a chat model but one for embeddings; send its example body to the provider's address for embeddings with `call`".to_owned();
        }
        Mode::Completion => "is only served through the older completions API",
        Mode::Responses => "is only served through the Responses API",
        Mode::Image => "is not a chat model but one that makes images",
        Mode::ImageEdit => "is not a chat model but one that edits images",
        Mode::Video => "is not a chat model but one that makes videos",
        Mode::AudioSpeech => "is not a chat model but one that speaks (text to speech)",
        Mode::AudioTranscription => "is not a chat model but one that writes down speech (transcription)",
        Mode::Realtime => "is only served through a realtime connection",
        Mode::Rerank => "is not a chat model but one that ranks documents (rerank)",
        Mode::Ocr => "is not a chat model but one that reads pages (OCR)",
        Mode::Moderation => "is not a chat model but one that judges texts (moderation)",
    };
    format!("{what}, and this version cannot meter that; it can buy chat models and embeddings")
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

    /// Without the models of this list, which are (provider, model): see [`Gateway::quarantined_for`].
    ///
    /// A request does not need it: the ledger refuses those models itself.
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

    /// Whether a provider of the config file can be called.
    pub(super) fn check_own(&self, custom: &CustomProvider) -> Result<(), Unavailable> {
        self.check_allowed(&custom.id, "")?;
        let needs_key = custom.api_key_env.is_some() && !self.is_sandbox;
        self.check_key(&custom.id, needs_key, &custom.key_names(), || custom.variables())
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
