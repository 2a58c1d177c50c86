//! Where the key of each provider comes from. The order is that of the gateway: the config file, the environment, the vault.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::{catalog::Catalog, config::Settings, gateway::KeyPlace};

/// One place that has a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    /// `api_key` in the config file.
    ConfigFile,
    /// A variable of the environment, which the config file may name.
    Variable(String),
    /// The keyring, or the file in its place.
    Vault,
}

impl Source {
    pub(in crate::cli) fn describe(&self, vault: &str) -> String {
        match self {
            Self::ConfigFile => "config file".to_owned(),
            Self::Variable(name) => format!("environment variable {name}"),
            Self::Vault => vault.to_owned(),
        }
    }

    pub(in crate::cli) fn to_json(&self, settings: &Settings, vault: &str) -> Value {
        match self {
            Self::ConfigFile => json!({"kind": "config_file", "path": settings.config_file}),
            Self::Variable(name) => json!({"kind": "environment", "variable": name}),
            Self::Vault => json!({"kind": vault}),
        }
    }
}

/// A provider that has a key, or should have one.
#[derive(Clone, Debug)]
pub(in crate::cli) struct KeyOf {
    pub(in crate::cli) provider: String,
    /// In the order in which they are asked: the first one is used.
    pub(in crate::cli) sources: Vec<Source>,
    /// The variable that the config file names, where it is not set.
    pub(in crate::cli) unset: Option<String>,
}

impl KeyOf {
    pub(in crate::cli) fn to_json(&self, settings: &Settings, vault: &str) -> Value {
        let mut sources = self.sources.iter().map(|source| source.to_json(settings, vault));
        json!({
            "provider": self.provider, "from": sources.next(), "not_used": sources.collect::<Vec<_>>(), "unset_variable": self.unset,
        })
    }
}

/// Every provider that has a key anywhere, or whose key the config file expects in a variable: those of the config file first, then in the order of the catalog.
pub(in crate::cli) fn all(settings: &Settings, in_vault: &HashSet<String>) -> Vec<KeyOf> {
    let configured = settings.providers.iter().map(|(id, _)| id.as_str());
    let catalog = Catalog::embedded().providers().iter().map(|known| &*known.id);
    let mut ids: Vec<&str> = Vec::new();
    let mut vault: Vec<&str> = in_vault.iter().map(String::as_str).collect();
    vault.sort_unstable();
    let mut seen = HashSet::new();
    ids.extend(configured.chain(catalog).chain(vault).filter(|id| seen.insert(*id)));
    ids.into_iter().map(|id| of(settings, in_vault, id)).filter(|found| !found.sources.is_empty() || found.unset.is_some()).collect()
}

/// Where the key of one provider comes from.
pub(in crate::cli) fn of(settings: &Settings, in_vault: &HashSet<String>, id: &str) -> KeyOf {
    let config = settings.providers.iter().find(|(name, _)| name == id).map(|(_, config)| config);
    let is_set = |name: &str| settings.environment.get(name).is_some();
    let mut sources = Vec::new();
    let mut add = |source| {
        if !sources.contains(&source) {
            sources.push(source);
        }
    };
    if config.is_some_and(|config| config.api_key.is_some()) {
        add(Source::ConfigFile);
    }
    let named = config.and_then(|config| config.api_key_env.as_deref());
    if let Some(name) = named.filter(|name| is_set(name)) {
        add(Source::Variable(name.to_owned()));
    }
    // The variables of a catalog provider are not meant for another address under its name.
    if config.is_none_or(|config| config.base_url.is_none())
        && let Some(known) = Catalog::embedded().provider(id)
    {
        known.env.iter().filter(|name| is_set(name)).for_each(|name| add(Source::Variable(name.to_string())));
    }
    if in_vault.contains(id) {
        add(Source::Vault);
    }
    KeyOf { provider: id.to_owned(), sources, unset: named.filter(|name| !is_set(name)).map(str::to_owned) }
}

/// Where the gateway takes a key from.
pub(in crate::cli) fn at(settings: &Settings, place: KeyPlace<'_>) -> Source {
    match place {
        KeyPlace::Config(id) => of(settings, &HashSet::new(), id).sources.into_iter().next().unwrap_or(Source::ConfigFile),
        KeyPlace::Variable(name) => Source::Variable(name.to_owned()),
        KeyPlace::Vault(_) => Source::Vault,
    }
}
