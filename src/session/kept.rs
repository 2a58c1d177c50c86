//! What a session keeps in the vault: its secret key, a spend key for each client, and the clients' names.

use serde::{Deserialize, Serialize};

use super::{Link, Session, SessionError, VaultError};
use crate::{client::PageQuery, domain::Secret};

/// The session key as the vault keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) key: String,
    pub(super) spend_key_id: String,
    /// Whether an agent asked for less than the ceiling; then a higher ceiling does not widen the key.
    pub(super) narrowed: bool,
}

/// The secret key as the vault keeps it.
#[derive(Serialize, Deserialize)]
struct KeptSecret {
    key: String,
}

impl Session {
    /// The clients that have been given a key. Keyrings cannot be listed on every system, so the names are kept beside the keys.
    pub(super) async fn clients(&self) -> Result<Vec<String>, SessionError> {
        let kept = self.vault.load(&format!("{} clients", self.scope)).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(kept.expose()).ok()).unwrap_or_default())
    }

    pub(super) async fn remember_clients(&self, names: &[String]) -> Result<(), SessionError> {
        let text = Secret::new(serde_json::to_string(names).unwrap_or_default());
        Ok(self.vault.store(&format!("{} clients", self.scope), &text).await?)
    }

    /// The secret key that manages the spend keys of this gateway; the embedded one makes it when there is none.
    ///
    /// # Errors
    /// [`SessionError::NoSecretKey`] at a remote gateway without `LAVA_SECRET_KEY`.
    pub async fn owner_key(&self) -> Result<Secret, SessionError> {
        let link = self.link().await?;
        let secret = self.secret_or_make(&link).await?;
        match link.client.spend_keys(&secret, &PageQuery { limit: Some(1), cursor: None }).await {
            // The ledger was removed: its secret key went with it.
            Err(error) if error.is_unauthorised() && link.make_secret.is_some() && self.secret_from_environment.is_none() => {
                self.make_secret(&link).await
            }
            Err(error) if error.is_unauthorised() => Err(SessionError::KeyRefused("LAVA_SECRET_KEY")),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(secret),
        }
    }

    pub(super) async fn secret_or_make(&self, link: &Link) -> Result<Secret, SessionError> {
        match self.secret_key().await? {
            Some(secret) => Ok(secret),
            None => self.make_secret(link).await,
        }
    }

    pub(super) async fn make_secret(&self, link: &Link) -> Result<Secret, SessionError> {
        let make = link.make_secret.as_ref().ok_or(SessionError::NoSecretKey)?;
        // The vault is asked first: a secret key that cannot be kept would be lost, and another one made at each login.
        self.vault.check().await?;
        let secret = make().await.map_err(SessionError::Ledger)?;
        let kept = serde_json::to_string(&KeptSecret { key: secret.expose().to_owned() }).unwrap_or_default();
        self.vault.store(&format!("{} secret", self.scope), &Secret::new(kept)).await?;
        Ok(secret)
    }

    pub(super) async fn secret_key(&self) -> Result<Option<Secret>, SessionError> {
        if let Some(secret) = &self.secret_from_environment {
            return Ok(Some(secret.clone()));
        }
        let kept = self.vault.load(&format!("{} secret", self.scope)).await?;
        Ok(kept.and_then(|kept| serde_json::from_str::<KeptSecret>(kept.expose()).ok()).map(|kept| Secret::new(kept.key)))
    }

    pub(super) async fn kept(&self, client_name: &str) -> Result<Option<Kept>, SessionError> {
        let kept = self.vault.load(&self.account(client_name)).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(kept.expose()).ok()))
    }

    pub(super) async fn keep(&self, client_name: &str, kept: &Kept) -> Result<(), SessionError> {
        let text = Secret::new(serde_json::to_string(kept).unwrap_or_default());
        let account = self.account(client_name);
        self.vault.store(&account, &text).await?;
        let read_back = self.vault.load(&account).await?;
        if read_back.is_some_and(|read| read.expose() == text.expose()) {
            return Ok(());
        }
        Err(VaultError::unavailable(self.vault.kind(), "what was stored could not be read back").into())
    }

    pub(super) fn account(&self, client_name: &str) -> String {
        format!("{} session {client_name}", self.scope)
    }
}
