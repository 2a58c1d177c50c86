//! What is wrong with a setting, and the settings without it: who looks for what is wrong on a machine wants to see the rest too.

use std::sync::Arc;

use super::{Environment, Flags, Settings};

/// A setting that cannot be used. The text says where it was made and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ConfigError {
    pub(super) text: String,
    pub(super) made_in: MadeIn,
}

/// What a setting that cannot be used would be left out with.
#[derive(Debug)]
pub(super) enum MadeIn {
    File,
    Variable(String),
    Neither,
}

impl ConfigError {
    pub(super) fn in_file(text: impl Into<String>) -> Self {
        Self { text: text.into(), made_in: MadeIn::File }
    }
}

impl Settings {
    /// Reads what can be used, without what cannot: a variable, or the config file as a whole. What is wrong comes with it.
    ///
    /// # Errors
    /// [`ConfigError`] when even the defaults cannot be used.
    pub fn load_usable(flags: &Flags, mut environment: Environment, mut with_file: bool) -> Result<(Self, Vec<ConfigError>), ConfigError> {
        let mut wrong = Vec::new();
        loop {
            let error = match Self::read(flags, environment.clone(), with_file) {
                Ok(settings) => return Ok((settings, wrong)),
                Err(error) => error,
            };
            match &error.made_in {
                MadeIn::Variable(name) if environment.get(name).is_some() => environment = environment.without(name),
                MadeIn::File if with_file => with_file = false,
                _ => return Err(error),
            }
            wrong.push(error);
        }
    }
}

impl Environment {
    /// The same environment without one variable.
    fn without(&self, name: &str) -> Self {
        Self(Arc::new(self.0.iter().filter(|(known, _)| *known != name).map(|(name, value)| (name.clone(), value.clone())).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "log = \"loud\"\nlocal_servers = false\n").unwrap();
        let flags = Flags { config: Some(path), data_dir: Some("/data".into()), ..Flags::default() };
        let environment = Environment::of([("LAVA_ASK", "perhaps"), ("LAVA_ASK_ABOVE", "0.50"), ("LAVA_API_URL", "lava")]);
        let (settings, wrong) = Settings::load_usable(&flags, environment, true).unwrap();
        let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        for place in ["LAVA_ASK:", "LAVA_API_URL:", "c.toml, line 1"] {
            assert!(wrong.iter().any(|text| text.contains(place)), "{place}: {wrong:?}");
        }
        assert!(settings.ask_above.is_some() && settings.local_servers, "what is right counts, and of the file nothing");
    }
}
