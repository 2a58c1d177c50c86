//! Where a provider's key comes from: the config file, the environment, the vault; in this order.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::error::GatewayError;
use crate::domain::Secret;

/// Provider keys that a person has put into a vault.
#[derive(Clone)]
pub struct KeyVault {
    /// Whose key is kept. Quick, and never wakes the vault itself.
    pub names: Arc<dyn Fn() -> Arc<HashSet<String>> + Send + Sync>,
    /// Reads all keys. It may take seconds, because a keyring can ask its owner; so it is only called for a key that is known to be there.
    pub load: Arc<dyn Fn() -> Loading + Send + Sync>,
}

/// All keys of a vault by provider id, or why they cannot be read.
pub type Loading = BoxFuture<'static, Result<HashMap<String, Secret>, String>>;

/// Reads a variable of the environment as it was when the program started.
pub type Environment = Arc<dyn Fn(&str) -> Option<Secret> + Send + Sync>;

/// The keys this gateway may show to providers. They are never returned by any route.
#[derive(Clone)]
pub struct Credentials {
    configured: Arc<HashMap<String, Secret>>,
    environment: Environment,
    vault: Option<KeyVault>,
    /// What the vault held when it was last read; empty before.
    unlocked: Arc<Mutex<HashMap<String, Secret>>>,
}

/// Under which names a provider's key may be kept: its id first, then other names of the same provider.
#[derive(Debug, Default)]
pub(super) struct KeyNames<'a> {
    pub(super) ids: Vec<&'a str>,
    pub(super) variables: Vec<&'a str>,
}

/// Which place a key comes from: the first that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace<'a> {
    /// `[providers.NAME]` of the config file: the key itself, or a variable that it names.
    Config(&'a str),
    /// A variable of the environment.
    Variable(&'a str),
    /// The vault, under this name.
    Vault(&'a str),
}

/// Whose key is there, without waking the vault.
pub(super) struct Readiness<'a> {
    credentials: &'a Credentials,
    /// Looked at when a key is in none of the other places.
    in_vault: OnceLock<Arc<HashSet<String>>>,
}

impl Credentials {
    /// Keys from the config file by provider id, the environment, and the vault.
    pub fn new(configured: HashMap<String, Secret>, environment: Environment, vault: Option<KeyVault>) -> Self {
        Self { configured: Arc::new(configured), environment, vault, unlocked: Arc::default() }
    }

    /// The key, from wherever it is.
    pub(super) async fn find(&self, names: &KeyNames<'_>) -> Result<Option<Secret>, GatewayError> {
        let id = match self.readiness().place(names) {
            None => return Ok(None),
            Some(KeyPlace::Config(id)) => return Ok(self.configured.get(id).cloned()),
            Some(KeyPlace::Variable(name)) => return Ok((self.environment)(name)),
            Some(KeyPlace::Vault(id)) => id,
        };
        let Some(vault) = &self.vault else { return Ok(None) };
        let mut unlocked = self.unlocked.lock().await;
        if !unlocked.contains_key(id) {
            let locked = |reason| GatewayError::VaultLocked { provider: id.to_owned(), reason };
            *unlocked = (vault.load)().await.map_err(locked)?;
        }
        Ok(unlocked.get(id).cloned())
    }

    /// Forgets what was read from the vault: a provider did not accept it, and its owner may put a new key there.
    pub(super) async fn forget(&self) {
        self.unlocked.lock().await.clear();
    }

    /// Looks at what is where. Does not wake the vault.
    pub(super) const fn readiness(&self) -> Readiness<'_> {
        Readiness { credentials: self, in_vault: OnceLock::new() }
    }
}

impl Readiness<'_> {
    /// Whether there is a key.
    pub(super) fn has(&self, names: &KeyNames<'_>) -> bool {
        self.place(names).is_some()
    }

    /// Where the key comes from, if there is one.
    pub(super) fn place<'n>(&self, names: &KeyNames<'n>) -> Option<KeyPlace<'n>> {
        let (ids, variables) = (names.ids.iter().copied(), names.variables.iter().copied());
        let configured = ids.clone().find(|id| self.credentials.configured.contains_key(*id)).map(KeyPlace::Config);
        let at_hand = configured.or_else(|| {
            let set = variables.clone().find(|name| (self.credentials.environment)(name).is_some());
            set.map(KeyPlace::Variable)
        });
        at_hand.or_else(|| {
            let in_vault = self.in_vault.get_or_init(|| self.credentials.vault.as_ref().map(|vault| (vault.names)()).unwrap_or_default());
            ids.clone().find(|id| in_vault.contains(*id)).map(KeyPlace::Vault)
        })
    }
}
