//! Other names for models: `[model_aliases]` and `[keys.NAME.model_aliases]` of the config file.

use std::collections::BTreeMap;

use super::{ConfigError, file::KeyConfig, place::Source};

/// Other names for models, and the models that they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelAliases {
    /// For every key.
    pub all: BTreeMap<String, String>,
    /// For one key, by its name or id.
    pub by_key: BTreeMap<String, BTreeMap<String, String>>,
}

impl ModelAliases {
    pub(super) fn read(all: BTreeMap<String, String>, keys: BTreeMap<String, KeyConfig>, source: &Source) -> Result<Self, ConfigError> {
        let by_key: BTreeMap<_, _> = keys.into_iter().map(|(name, key)| (name, key.model_aliases)).collect();
        let all_names = || all.iter().chain(by_key.values().flatten());
        match all_names().find(|(name, model)| name.trim().is_empty() || model.trim().is_empty()) {
            Some((name, model)) => {
                let place = source.place(&["model_aliases", name]);
                Err(ConfigError::in_file(format!("{place}: {name:?} = {model:?} needs a name on both sides")))
            }
            None => Ok(Self { all, by_key }),
        }
    }
}
