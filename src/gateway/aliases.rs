//! Other names for models, as a person wrote them into the config file: for every key, or for one.
//!
//! A tool asks for the models that its makers chose; an alias sends it to one that the owner chose. The allow lists of a key are about the model that answers.

use std::collections::BTreeMap;

use crate::domain::SpendKey;

/// What each name stands for.
pub type ModelNames = BTreeMap<String, String>;

/// All aliases of a gateway.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    all: ModelNames,
    by_key: BTreeMap<String, ModelNames>,
}

impl Aliases {
    /// Aliases for every key, and those for one, by its name or its id.
    pub fn new(all: ModelNames, by_key: BTreeMap<String, ModelNames>) -> Self {
        Self { all, by_key }
    }

    /// The model that a name stands for when this key asks for it; the name itself where it is not an alias.
    pub(super) fn resolve<'a>(&'a self, key: &SpendKey, name: &'a str) -> &'a str {
        self.find(Some(key), name).unwrap_or(name)
    }

    /// The model that an alias stands for; `None` where it is not one. Without a key, only those for every key count.
    pub(super) fn find(&self, key: Option<&SpendKey>, name: &str) -> Option<&str> {
        self.of(key).find_map(|names| names.get(name)).map(String::as_str)
    }

    /// All aliases and what they stand for. One that a key has of its own comes before the same for every key.
    pub(super) fn all(&self, key: Option<&SpendKey>) -> impl Iterator<Item = (&str, &str)> {
        self.of(key).flatten().map(|(name, model)| (name.as_str(), model.as_str()))
    }

    fn of(&self, key: Option<&SpendKey>) -> impl Iterator<Item = &ModelNames> {
        let own = key.and_then(|key| self.by_key.get(key.id.as_str()).or_else(|| self.by_key.get(&key.settings.name)));
        own.into_iter().chain([&self.all])
    }
}
