//! What a session keeps in the vault: its secret key, a spend key for each client, and the clients' names.

use serde::{Deserialize, Serialize};

use super::{LoggedOut, Session, SessionError, VaultError, decided::Decided, narrow::Wanted};
use crate::{
    client::{ClientError, PageQuery, SpendKeyObject},
    domain::Secret,
};

/// The session key as the vault keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) key: String,
    pub(super) spend_key_id: String,
    /// Earlier versions need it: whether an agent's narrower limit outlives its session. It never does.
    #[serde(default)]
    pub(super) narrowed: bool,
    /// What people decided for this key alone.
    #[serde(flatten)]
    pub(super) decided: Decided,
    /// The settings that sessions gave it, the last one last. What differs from all of them at the gateway was changed there, by its owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) given: Vec<Wanted>,
}

impl Kept {
    /// Whether the key is as a session left it. Of a key that an earlier version kept, that is not known.
    pub(super) fn is_as_given(&self, object: &SpendKeyObject) -> bool {
        self.given.iter().any(|given| given.matches(object))
    }

    /// Takes what the key's owner has changed at the gateway for their decision.
    pub(super) fn notice(&mut self, object: &SpendKeyObject) {
        if !self.given.is_empty() && !self.is_as_given(object) {
            self.decided.notice(&self.given, object);
        }
    }
}

/// The secret key as the vault keeps it.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptSecret {
    key: String,
    /// Its id at the gateway, where a login told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

/// A secret key that is not kept any more. It goes on to work until a person deletes it at the gateway.
#[derive(Clone, Debug)]
pub struct ForgottenLogin {
    /// Its id, where the login told it.
    pub secret_key_id: Option<String>,
}

/// Where the secret key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `LAVA_SECRET_KEY`.
    Environment,
    /// The vault.
    Vault,
}

impl Session {
    /// The clients that have been given a key. Keyrings cannot be listed on every system, so the names are kept beside the keys.
    pub(super) async fn clients(&self) -> Result<Vec<String>, SessionError> {
        let kept = self.load(&format!("{} clients", self.scope)).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(kept.expose()).ok()).unwrap_or_default())
    }

    pub(super) async fn remember_clients(&self, names: &[String]) -> Result<(), SessionError> {
        let text = Secret::new(serde_json::to_string(names).unwrap_or_default());
        Ok(self.vault.store(&format!("{} clients", self.scope), &text).await?)
    }

    /// The secret key that manages the spend keys of this gateway.
    ///
    /// # Errors
    /// [`SessionError::NoSecretKey`] at a remote gateway where nobody has logged in, without `LAVA_SECRET_KEY`.
    pub async fn owner_key(&self) -> Result<Secret, SessionError> {
        let secret = self.secret_key().await?.ok_or(SessionError::NoSecretKey)?;
        match self.client().await?.spend_keys(&secret, &PageQuery { limit: Some(1), cursor: None }).await {
            Err(error) if error.is_unauthorised() => Err(self.secret_refused()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(secret),
        }
    }

    /// Keeps the secret key of a login, and returns the one whose place it takes.
    pub(super) async fn replace_secret(&self, secret: &Secret, id: Option<String>) -> Result<Option<KeptSecret>, SessionError> {
        let before = self.kept_secret().await?;
        self.keep_secret(secret, id).await?;
        let before = before.filter(|before| before.key != secret.expose());
        if let Some(before) = &before {
            let id = before.id.as_deref().unwrap_or("its id is not known");
            tracing::warn!(
                "The secret key of an earlier login ({id}) is replaced. If it has not been deleted in its account, it still works."
            );
        }
        Ok(before)
    }

    /// Ends the session keys that belong to another account than the secret key that is kept now, with the one that made them.
    pub(super) async fn end_foreign_keys(&self, secret: &Secret, before: Option<KeptSecret>) -> Result<(), SessionError> {
        let before = before.map(|before| Secret::new(before.key));
        let mut ended = Ok(());
        for name in self.clients().await? {
            // Where one cannot be ended, the others still are: their secret key is not at hand again.
            ended = ended.and(self.end_if_foreign(&name, secret, before.as_ref()).await);
        }
        self.forget().await;
        ended
    }

    /// A key is forgotten once it is revoked, or once there is nothing left to revoke it with.
    async fn end_if_foreign(&self, client_name: &str, secret: &Secret, before: Option<&Secret>) -> Result<(), SessionError> {
        let Some(kept) = self.kept(client_name).await? else { return Ok(()) };
        match self.client().await?.spend_key(secret, &kept.spend_key_id).await {
            Ok(_) => return Ok(()),
            Err(ClientError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let outcome = match before {
            Some(before) => self.revoke(before, &kept.spend_key_id).await?,
            None => LoggedOut::Forgotten,
        };
        if outcome == LoggedOut::Forgotten {
            let id = &kept.spend_key_id;
            tracing::warn!(
                "The spend key {id} of another account is deleted here but not revoked, because there is no secret key for that."
            );
        }
        Ok(self.vault.remove(&self.account(client_name)).await?)
    }

    /// Takes a secret key that a person brings, once the gateway has accepted it.
    ///
    /// # Errors
    /// [`SessionError::KeyRefused`] when it does not; [`SessionError::Vault`] when it cannot be kept.
    pub async fn bring_secret_key(&self, secret: Secret) -> Result<(), SessionError> {
        match self.client().await?.spend_keys(&secret, &PageQuery { limit: Some(1), cursor: None }).await {
            Err(error) if error.is_unauthorised() => Err(SessionError::KeyRefused("stdin")),
            Err(error) => Err(error.into()),
            Ok(_) => {
                let before = self.replace_secret(&secret, None).await?;
                self.end_foreign_keys(&secret, before).await
            }
        }
    }

    async fn keep_secret(&self, secret: &Secret, id: Option<String>) -> Result<(), SessionError> {
        let kept = KeptSecret { key: secret.expose().to_owned(), id };
        self.store(&self.secret_account(), &Secret::new(serde_json::to_string(&kept).unwrap_or_default())).await
    }

    /// Forgets the secret key of a login, once no client has a key that it manages. That of the embedded gateway stays: it belongs to the ledger.
    ///
    /// # Errors
    /// [`SessionError::Vault`].
    pub async fn forget_login(&self) -> Result<Option<ForgottenLogin>, SessionError> {
        if self.info.url.is_none() {
            return Ok(None);
        }
        for name in self.clients().await? {
            if self.kept(&name).await?.is_some() {
                return Ok(None);
            }
        }
        let Some(kept) = self.kept_secret().await? else { return Ok(None) };
        self.vault.remove(&self.secret_account()).await?;
        Ok(Some(ForgottenLogin { secret_key_id: kept.id }))
    }

    /// Where the secret key comes from, if there is one. A session that was given a spend key has no use for one.
    ///
    /// # Errors
    /// [`SessionError::Vault`].
    pub async fn secret_key_source(&self) -> Result<Option<KeySource>, SessionError> {
        if self.from_environment.is_some() {
            return Ok(None);
        }
        if self.secret_from_environment.is_some() {
            return Ok(Some(KeySource::Environment));
        }
        Ok(self.kept_secret().await?.map(|_| KeySource::Vault))
    }

    /// The secret key is not accepted: one that a person set is named, one of a login is replaced by logging in again.
    pub(super) const fn secret_refused(&self) -> SessionError {
        if self.secret_from_environment.is_some() { SessionError::KeyRefused("LAVA_SECRET_KEY") } else { SessionError::NoSecretKey }
    }

    async fn kept_secret(&self) -> Result<Option<KeptSecret>, SessionError> {
        let kept = self.load(&self.secret_account()).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(kept.expose()).ok()))
    }

    fn secret_account(&self) -> String {
        format!("{} secret", self.scope)
    }

    pub(super) async fn secret_key(&self) -> Result<Option<Secret>, SessionError> {
        if let Some(secret) = &self.secret_from_environment {
            return Ok(Some(secret.clone()));
        }
        if self.info.url.is_none()
            && let Some(owner) = self.link().await?.owner
        {
            return Ok(Some(owner));
        }
        Ok(self.kept_secret().await?.map(|kept| Secret::new(kept.key)))
    }

    pub(super) async fn kept(&self, client_name: &str) -> Result<Option<Kept>, SessionError> {
        let kept = self.load(&self.account(client_name)).await?;
        Ok(kept.and_then(|kept| serde_json::from_str(kept.expose()).ok()))
    }

    pub(super) async fn keep(&self, client_name: &str, kept: &Kept) -> Result<(), SessionError> {
        self.store(&self.account(client_name), &Secret::new(serde_json::to_string(kept).unwrap_or_default())).await
    }

    /// What is kept. Where there is no keyring at all, nothing is; that it is missing matters when something is to be kept.
    async fn load(&self, account: &str) -> Result<Option<Secret>, VaultError> {
        match self.vault.load(account).await {
            Err(error) if error.is_missing() => Ok(None),
            loaded => loaded,
        }
    }

    /// Stores a text and reads it back: some keyrings say yes and keep nothing.
    async fn store(&self, account: &str, text: &Secret) -> Result<(), SessionError> {
        self.vault.store(account, text).await?;
        let read_back = self.vault.load(account).await?;
        if read_back.is_some_and(|read| read.expose() == text.expose()) {
            return Ok(());
        }
        Err(VaultError::unavailable(self.vault.kind(), "what was stored could not be read back").into())
    }

    pub(super) fn account(&self, client_name: &str) -> String {
        format!("{} session {client_name}", self.scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_versions_kept_is_read() {
        let kept: Kept = serde_json::from_str(r#"{"key":"lava_sk_x","spend_key_id":"sk_1","narrowed":true}"#).unwrap();
        assert!(kept.given.is_empty() && kept.decided == Decided::default() && kept.spend_key_id == "sk_1");
        let limited = r#"{"key":"k","spend_key_id":"s","narrowed":false,"limit_by_person":{"amount":"2.00","cycle":"daily"}}"#;
        let kept: Kept = serde_json::from_str(limited).unwrap();
        assert_eq!(serde_json::to_value(&kept).unwrap(), serde_json::from_str::<serde_json::Value>(limited).unwrap(), "and they read ours");
        let secret: KeptSecret = serde_json::from_str(r#"{"key":"aks_live_x"}"#).unwrap();
        assert!(secret.id.is_none() && secret.key == "aks_live_x");
    }
}
