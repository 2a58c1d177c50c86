//! Who can be called: the providers of the catalog, those a person wrote into the config file, and local model servers.

use url::Url;

use super::{
    aliases::Aliases,
    credentials::{Credentials, KeyNames},
    local::LocalServers,
    network::Network,
    unavailable::Unavailable,
    waits::Waits,
};
use crate::{
    catalog::{Auth, Catalog, Dialect, Prices, Provider, ReportedCost},
    domain::{Secret, SpendKey},
};

/// A provider a person wrote into the config file. It may have a private address: a person vouches for it.
#[derive(Clone, Debug)]
pub struct CustomProvider {
    /// Its name; it wins over a provider of the catalog with the same one.
    pub id: String,
    /// Where it is, such as `http://127.0.0.1:8000/v1`.
    pub base_url: Url,
    /// Its wire format.
    pub dialect: Dialect,
    /// The variable that holds its key, for messages.
    pub api_key_env: Option<String>,
    /// Its models; empty means every model named with its prefix.
    pub models: Vec<String>,
    /// What its models cost; without it nothing can be bought there.
    pub prices: Option<Prices>,
    /// Where its answers say what they cost, if a person named the field.
    pub reported_cost: Option<ReportedCost>,
    /// Whether it takes `stream_options`; one that does not refuses a request with it.
    pub takes_stream_options: bool,
    /// The most tokens that its models read, if a person said so.
    pub context_window: Option<u64>,
}

impl CustomProvider {
    /// The models that the config file lists, or one name that stands for any.
    pub(super) fn model_names(&self) -> Vec<&str> {
        if self.models.is_empty() { vec!["*"] } else { self.models.iter().map(String::as_str).collect() }
    }

    /// Whether it may be asked for a model; a list in the config file is complete.
    pub(super) fn check_model(&self, model: &str) -> Result<(), Unavailable> {
        if model.is_empty() || self.models.is_empty() || self.models.iter().any(|known| known == model) {
            return Ok(());
        }
        Err(Unavailable::NotListed { provider: self.id.clone(), model: model.to_owned() })
    }
}

/// All providers a gateway knows.
pub struct Registry {
    pub(super) custom: Vec<CustomProvider>,
    pub(super) credentials: Credentials,
    pub(super) local: LocalServers,
    pub(super) network: Network,
    pub(super) aliases: Aliases,
    pub(super) waits: Waits,
}

impl Registry {
    /// Joins the catalog with what the config file adds. `probe_local` offers model servers on their usual ports of this machine.
    pub fn new(custom: Vec<CustomProvider>, credentials: Credentials, probe_local: bool) -> Self {
        let (local, network) = (LocalServers::new(probe_local), Network::default());
        Self { custom, credentials, local, network, aliases: Aliases::default(), waits: Waits::default() }
    }

    /// The same, with providers reached in this way.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// The same, with other names for models.
    #[must_use]
    pub fn with_aliases(self, aliases: Aliases) -> Self {
        Self { aliases, ..self }
    }

    /// The same, with providers waited for as long as this.
    #[must_use]
    pub fn with_waits(self, waits: Waits) -> Self {
        Self { waits, ..self }
    }

    pub(super) fn catalog(&self) -> &'static Catalog {
        Catalog::embedded()
    }

    /// A provider of the catalog, unless one of the config file took its name: its key and prices are then not meant for the catalog's address.
    pub(super) fn catalog_provider(&self, id: &str) -> Option<&'static Provider> {
        self.catalog().provider(id).filter(|provider| self.custom(&provider.id).is_none())
    }

    pub(super) fn custom(&self, id: &str) -> Option<&CustomProvider> {
        self.custom.iter().find(|provider| provider.id == id)
    }

    /// Whether a model's name leads to a provider of the config file.
    pub(super) fn is_custom(&self, name: &str) -> bool {
        let is_prefixed = name.split_once('/').is_some_and(|(provider, _)| self.custom(provider).is_some());
        is_prefixed || self.custom.iter().any(|custom| custom.models.iter().any(|model| model == name))
    }

    /// Whether a model stands in the config file or the catalog, by this very name.
    pub(super) fn lists(&self, provider: &str, model: &str) -> bool {
        match self.custom(provider) {
            Some(custom) => custom.models.iter().any(|known| known == model),
            None => self.catalog().model(provider, model).is_some(),
        }
    }

    /// All names of a provider, its id first: other tools' names, and those of the provider whose models it sells in another wire format. A name that the config file gives to
    /// a provider of its own is not among them.
    pub(super) fn names_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let known = if self.custom(id).is_some() { None } else { self.catalog().provider(id) };
        let base = known.and_then(|known| self.catalog().provider(known.models_of.as_deref()?));
        let others =
            known.into_iter().chain(base).flat_map(|one| std::iter::once(&*one.id).chain(one.aliases.iter().map(|alias| &**alias)));
        let is_meant = move |name: &&str| {
            let meant = self.catalog().provider(name).map(|meant| &*meant.id);
            self.custom(name).is_none() && (meant == known.map(|known| &*known.id) || meant == base.map(|base| &*base.id))
        };
        std::iter::once(id).chain(others.filter(move |name| *name != id).filter(is_meant))
    }

    /// Whether a spend key may buy this model at this provider, by whichever of its names the key has it.
    pub(super) fn allows(&self, key: &SpendKey, provider: &str, model: &str) -> bool {
        let settings = &key.settings;
        if settings.allows(provider, model) {
            return true;
        }
        let mut names = self.names_of(provider).skip(1).peekable();
        if names.peek().is_none() {
            return false;
        }
        let names: Vec<&str> = std::iter::once(provider).chain(names).collect();
        names.iter().any(|name| settings.allows_provider(name)) && names.iter().any(|name| settings.allows_model(name, model))
    }

    /// Where the key of a provider of the catalog may be.
    pub(super) fn key_names<'a>(&'a self, provider: &'a Provider) -> KeyNames<'a> {
        let base = provider.models_of.as_deref().and_then(|base| self.catalog().provider(base));
        let mut variables: Vec<&str> = provider.env.iter().map(|name| &**name).collect();
        for name in base.iter().flat_map(|base| &base.env) {
            if !variables.contains(&&**name) {
                variables.push(name);
            }
        }
        KeyNames { ids: self.names_of(&provider.id).collect(), variables }
    }
}

impl CustomProvider {
    /// Where its key may be.
    pub(super) fn key_names(&self) -> KeyNames<'_> {
        KeyNames { ids: vec![&self.id], variables: Vec::new() }
    }

    /// The variable that holds its key, for messages.
    pub(super) fn variables(&self) -> Vec<String> {
        self.api_key_env.iter().cloned().collect()
    }
}

/// The request field that caps the output, reasoning included. OpenAI's newer models refuse the old name, other providers do not know the new one.
pub(super) fn output_cap_field(provider: &str) -> &'static str {
    if matches!(provider, "openai" | "azure") { "max_completion_tokens" } else { "max_tokens" }
}

/// The tier of a provider's price list, where a request that names none, or `auto`, gets what the account is set to, which can be a more expensive one.
/// Source: `service_tier`, platform.openai.com/docs/api-reference/chat/create.
pub(super) fn listed_tier(provider: &str) -> Option<&'static str> {
    (provider == "openai").then_some("default")
}

/// Whether a provider stops billing when a stream is closed. Where it does not, reading on costs nothing and tells the true usage.
/// Source: OpenRouter's list of providers that support stream cancellation.
pub(super) fn abort_stops_billing(provider: &str) -> bool {
    matches!(provider, "openai" | "azure" | "anthropic")
}

/// Whether a provider's output cap leaves hidden reasoning out. Source: Alibaba's documentation of `max_tokens` for Qwen models that think.
pub(super) fn thinks_beyond_cap(provider: &str) -> bool {
    matches!(provider, "alibaba" | "alibaba-cn")
}

/// How a key is shown to a custom provider; one that names no key and has none is called without.
pub(super) fn custom_auth(provider: &CustomProvider, credential: Option<&Secret>) -> Auth {
    match (provider.api_key_env.is_some() || credential.is_some(), provider.dialect) {
        (false, _) => Auth::None,
        (true, Dialect::Anthropic) => Auth::Header { name: "x-api-key".into(), prefix: "".into() },
        (true, _) => Auth::Bearer,
    }
}
