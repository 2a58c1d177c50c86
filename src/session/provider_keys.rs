//! Keys of providers that a person has put into the vault.
//!
//! All of them are one entry, so that one look is enough. Whose keys are there is written into a file beside the ledger: without it, every model whose provider has
//! no key would wake the keyring to find nothing.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{Vault, VaultError};
use crate::{domain::Secret, platform::private_file};

const ACCOUNT: &str = "providers";
const NAMES_FILE: &str = "provider-keys.json";

/// The provider keys of one data folder.
#[derive(Clone, Debug)]
pub struct ProviderKeys {
    vault: Vault,
    names_file: PathBuf,
    /// The names as they were last read, and the file they were read from. Every request asks for them.
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    in_file: Option<Stamp>,
    names: Arc<HashSet<String>>,
}

/// Tells one writing of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl ProviderKeys {
    /// Keys in this vault, of this data folder.
    pub fn new(vault: Vault, data_dir: &Path) -> Self {
        Self { vault, names_file: data_dir.join(NAMES_FILE), seen: Arc::default() }
    }

    /// Whose key is kept. Does not touch the vault.
    pub fn names(&self) -> Arc<HashSet<String>> {
        let metadata = std::fs::metadata(&self.names_file).ok();
        let Some(metadata) = metadata else { return Arc::default() };
        let stamp = Stamp { modified: metadata.modified().ok(), bytes: metadata.len() };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.in_file == Some(stamp) {
            return seen.names.clone();
        }
        let read: Option<HashSet<String>> = private_file::read(&self.names_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // What could not be read now is read again.
        let Some(names) = read.map(Arc::new) else { return Arc::default() };
        *seen = Seen { in_file: Some(stamp), names: names.clone() };
        names
    }

    /// All keys, by provider.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be read.
    pub async fn load(&self) -> Result<BTreeMap<String, Secret>, VaultError> {
        let loaded = match self.vault.load(ACCOUNT).await {
            Err(error) if error.is_missing() && self.names().is_empty() => None,
            loaded => loaded?,
        };
        let Some(kept) = loaded else { return Ok(BTreeMap::new()) };
        // What cannot be read must not be taken for nothing, or the next key would overwrite it.
        let unreadable = |_| VaultError::unavailable(self.vault.kind(), "its entry for providers is not readable");
        let keys: BTreeMap<String, String> = serde_json::from_str(kept.expose()).map_err(unreadable)?;
        Ok(keys.into_iter().map(|(provider, key)| (provider, Secret::new(key))).collect())
    }

    /// Keeps a provider's key, or forgets it when there is none.
    ///
    /// # Errors
    /// [`VaultError`] when the vault or the file of names cannot be written.
    pub async fn set(&self, provider: &str, key: Option<&Secret>) -> Result<(), VaultError> {
        let mut keys = self.load().await?;
        match key {
            Some(key) => drop(keys.insert(provider.to_owned(), key.clone())),
            None => drop(keys.remove(provider)),
        }
        let shown: BTreeMap<&String, &str> = keys.iter().map(|(provider, key)| (provider, key.expose())).collect();
        let text = Secret::new(serde_json::to_string(&shown).unwrap_or_default());
        self.vault.store(ACCOUNT, &text).await?;
        self.write_names(keys.keys())
            .map_err(|error| VaultError::unavailable("file of provider names", format!("{}: {error}", self.names_file.display())))
    }

    fn write_names<'a>(&self, names: impl Iterator<Item = &'a String>) -> std::io::Result<()> {
        if let Some(folder) = self.names_file.parent() {
            private_file::create_folder(folder)?;
        }
        let fresh = self.names_file.with_extension("json.new");
        let _ = std::fs::remove_file(&fresh);
        private_file::write_new(&fresh, &serde_json::to_vec(&names.collect::<Vec<_>>())?)?;
        std::fs::rename(&fresh, &self.names_file)
    }
}
