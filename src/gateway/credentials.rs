//! Where a provider's key comes from: the config file, the environment, the vault; in this order.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::error::GatewayError;
use crate::{
    catalog::{Auth, Provider},
    domain::Secret,
};

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

/// Which providers can be called right now, for showing.
pub(super) struct Readiness<'a> {
    credentials: &'a Credentials,
    in_vault: Arc<HashSet<String>>,
}

impl Credentials {
    /// Keys from the config file by provider id, the environment, and the vault.
    pub fn new(configured: HashMap<String, Secret>, environment: Environment, vault: Option<KeyVault>) -> Self {
        Self { configured: Arc::new(configured), environment, vault, unlocked: Arc::default() }
    }

    /// The key for a provider, without waking the vault.
    pub(super) fn at_hand(&self, id: &str, variables: &[Box<str>]) -> Option<Secret> {
        self.configured.get(id).cloned().or_else(|| variables.iter().find_map(|name| (self.environment)(name)))
    }

    /// The key for a provider, from wherever it is.
    pub(super) async fn find(&self, id: &str, variables: &[Box<str>]) -> Result<Option<Secret>, GatewayError> {
        if let Some(key) = self.at_hand(id, variables) {
            return Ok(Some(key));
        }
        let Some(vault) = self.vault.as_ref().filter(|vault| (vault.names)().contains(id)) else { return Ok(None) };
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

    /// Takes a look at what is where. Does not wake the vault.
    pub(super) fn readiness(&self) -> Readiness<'_> {
        Readiness { credentials: self, in_vault: self.vault.as_ref().map(|vault| (vault.names)()).unwrap_or_default() }
    }
}

impl Readiness<'_> {
    /// Whether a provider of the catalog can be called.
    pub(super) fn of(&self, provider: &Provider) -> bool {
        provider.auth == Auth::None
            || self.in_vault.contains(&*provider.id)
            || self.credentials.at_hand(&provider.id, &provider.env).is_some()
    }

    /// Whether there is a key for a provider of the config file.
    pub(super) fn of_custom(&self, id: &str) -> bool {
        self.in_vault.contains(id) || self.credentials.at_hand(id, &[]).is_some()
    }
}
