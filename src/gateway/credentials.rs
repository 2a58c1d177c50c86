//! Where a provider's key comes from: the config file, the environment, the vault; in this order.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::{catalog::Provider, domain::Secret};

/// Reads all provider keys kept in the vault, by provider id. It may take seconds (a keyring can ask its owner), so it is only called when nothing else has
/// the key.
pub type KeyVault = Arc<dyn Fn() -> BoxFuture<'static, HashMap<String, Secret>> + Send + Sync>;

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

impl Credentials {
    /// Keys from the config file by provider id, the environment, and the vault.
    pub fn new(configured: HashMap<String, Secret>, environment: Environment, vault: Option<KeyVault>) -> Self {
        Self { configured: Arc::new(configured), environment, vault, unlocked: Arc::default() }
    }

    /// The key for a provider, without waking the vault.
    pub(super) fn at_hand(&self, id: &str, variables: &[Box<str>]) -> Option<Secret> {
        if let Some(key) = self.configured.get(id) {
            return Some(key.clone());
        }
        let from_environment = variables.iter().find_map(|name| (self.environment)(name));
        from_environment.or_else(|| self.unlocked.try_lock().ok()?.get(id).cloned())
    }

    /// The key for a provider, from wherever it is.
    pub(super) async fn find(&self, id: &str, variables: &[Box<str>]) -> Option<Secret> {
        if let Some(key) = self.at_hand(id, variables) {
            return Some(key);
        }
        // Read anew each time: the owner may have stored the key a moment ago, because the last answer said so.
        let keys = (self.vault.as_ref()?)().await;
        let found = keys.get(id).cloned();
        *self.unlocked.lock().await = keys;
        found
    }

    /// Whether a provider can be called right now, for showing. Does not wake the vault.
    pub(super) fn is_ready(&self, provider: &Provider) -> bool {
        matches!(provider.auth, crate::catalog::Auth::None) || self.at_hand(&provider.id, &provider.env).is_some()
    }
}
