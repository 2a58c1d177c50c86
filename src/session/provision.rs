//! How a session key comes and goes: made, renewed, revoked.
//!
//! Whatever happens to the value of a key, what it has spent stays: a key that has expired, or whose value was lost, is rotated and not replaced. Only a key that is
//! gone at the gateway makes room for a new one.

use std::{fs::File, io, path::Path, time::Duration};

use super::{
    Session, SessionError,
    in_use::{Asked, Found},
    kept::Kept,
    narrow::{Replacing, Wanted},
};
use crate::{
    client::{ClientError, SpendKeyObject},
    domain::{Secret, SpendLimit},
    platform::private_file,
};

/// How long another process may take to log in.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);

/// What a logout did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggedOut {
    /// There was no key.
    NothingToDo,
    /// The key is revoked and forgotten.
    Revoked,
    /// The key is forgotten here, and may still work; there is no secret key to revoke it with, or the gateway does not accept it.
    Forgotten,
}

impl Session {
    /// A key for a client whose kept one is not accepted, or is to get a new value.
    pub(super) async fn renew(&self, client_name: &str, asked: &Asked, force: bool) -> Result<Found, SessionError> {
        let _lock = self.lock().await;
        // Another process may have done it while this one waited.
        if !force && let Some(found) = self.bring(client_name, asked).await? {
            return Ok(found);
        }
        match self.rotate(client_name, asked, force).await? {
            Some(rotated) => Ok(rotated),
            None => self.provision(client_name, asked).await,
        }
    }

    /// Gives the kept key a new value and the settings it is to have; `None` when there is no such key any more.
    async fn rotate(&self, client_name: &str, asked: &Asked, force: bool) -> Result<Option<Found>, SessionError> {
        let (Some(before), Some(secret)) = (self.kept(client_name).await?, self.secret_key().await?) else { return Ok(None) };
        let client = self.client().await?;
        let object = match client.spend_key(&secret, &before.spend_key_id).await {
            Err(ClientError::Refused { status: 401 | 404, .. }) => return Ok(None),
            object => object?,
        };
        let mut kept = before.clone();
        kept.notice(&object);
        self.decide(&mut kept, asked);
        let mut asked = asked.clone();
        if !force {
            // It is not accepted any more: an end that has come is not one to keep.
            kept.decided = kept.decided.without_end();
            asked.earlier.expires_at = None;
        }
        let (wanted, set_by) = self.wanted(&kept, &asked);
        self.give(client_name, &before, &object, &wanted, self.under(&kept.decided).limit).await?;
        let rotated = client.rotate_spend_key(&secret, &before.spend_key_id).await?;
        let key = rotated.key.expose().to_owned();
        self.keep(client_name, &Kept { key: key.clone(), given: vec![wanted.clone()], narrowed: false, ..kept }).await?;
        Ok(Some(self.found(key, rotated.object, wanted, set_by)))
    }

    /// Gives a key other settings. A limit that counts only from now on is refused once something was spent under the old one.
    pub(super) async fn change(
        &self,
        secret: &Secret,
        key: &SpendKeyObject,
        wanted: &Wanted,
        ceiling: SpendLimit,
    ) -> Result<SpendKeyObject, SessionError> {
        let client = self.client().await?;
        let update = async |wanted: &Wanted| client.update_spend_key(secret, &key.spend_key_id, &wanted.to_update()).await;
        let refused = || SessionError::NotNarrower(wanted.forgets(ceiling));
        match wanted.replacing(key, ceiling) {
            Replacing::Safe => Ok(update(wanted).await?),
            Replacing::Forgets => Err(refused()),
            Replacing::WhileUnspent => {
                let changed = update(wanted).await?;
                if !changed.has_spent() {
                    return Ok(changed);
                }
                // Somebody spent in this very moment, maybe under the old limit.
                update(&wanted.at(ceiling)).await?;
                Err(refused())
            }
        }
    }

    /// Makes a new key. The order is: create, keep, read back; a key that cannot be kept is revoked again.
    async fn provision(&self, client_name: &str, asked: &Asked) -> Result<Found, SessionError> {
        let link = self.link().await?;
        let decided = self.decided(client_name).await?.without_end();
        let mut kept = Kept { key: String::new(), spend_key_id: String::new(), narrowed: false, decided, given: Vec::new() };
        self.decide(&mut kept, asked);
        let (wanted, set_by) = self.wanted(&kept, asked);
        let request = wanted.to_new_key(format!("{client_name} on {}", host_name()));
        let secret = self.secret_key().await?.ok_or(SessionError::NoSecretKey)?;
        // A key that cannot be kept is not made.
        self.vault.check().await?;
        let created = match link.client.create_spend_key(&secret, &request).await {
            Err(error) if error.is_unauthorised() => return Err(self.secret_refused()),
            created => created?,
        };
        kept.key = created.key.expose().to_owned();
        kept.spend_key_id.clone_from(&created.object.spend_key_id);
        kept.given = vec![wanted.clone()];
        if let Err(error) = self.keep(client_name, &kept).await {
            let _ = link.client.revoke_spend_key(&secret, &created.object.spend_key_id).await;
            return Err(error);
        }
        self.forget_allowed(client_name);
        let mut names = self.clients().await?;
        if !names.iter().any(|name| name == client_name) {
            names.push(client_name.to_owned());
            self.remember_clients(&names).await?;
        }
        Ok(self.found(kept.key, created.object, wanted, set_by))
    }

    /// Takes the session key out of the vault, and revokes it at the gateway.
    ///
    /// # Errors
    /// [`SessionError`] when the vault cannot be written, or the gateway does not answer; the key is then kept.
    pub async fn logout(&self, client_name: &str) -> Result<LoggedOut, SessionError> {
        self.forget().await;
        let Some(kept) = self.kept(client_name).await? else { return Ok(LoggedOut::NothingToDo) };
        let outcome = match self.secret_key().await? {
            Some(secret) => self.revoke(&secret, &kept.spend_key_id).await?,
            None => LoggedOut::Forgotten,
        };
        self.vault.remove(&self.account(client_name)).await?;
        Ok(outcome)
    }

    /// Revokes a spend key. One that is gone already is as good as revoked; of one whose secret key is not accepted nothing is known, nor ever will be.
    pub(super) async fn revoke(&self, secret: &Secret, spend_key_id: &str) -> Result<LoggedOut, SessionError> {
        match self.client().await?.revoke_spend_key(secret, spend_key_id).await {
            Ok(()) | Err(ClientError::Refused { status: 404, .. }) => Ok(LoggedOut::Revoked),
            Err(error) if error.is_unauthorised() => Ok(LoggedOut::Forgotten),
            Err(error) => Err(error.into()),
        }
    }

    /// Logs every client out; returns the names of those that were logged in.
    ///
    /// # Errors
    /// As [`Self::logout`].
    pub async fn logout_all(&self) -> Result<Vec<(String, LoggedOut)>, SessionError> {
        let mut logged_out = Vec::new();
        let names = self.clients().await?;
        if names.is_empty() {
            return Ok(logged_out);
        }
        for name in names {
            let outcome = self.logout(&name).await?;
            if outcome != LoggedOut::NothingToDo {
                logged_out.push((name, outcome));
            }
        }
        self.remember_clients(&[]).await?;
        Ok(logged_out)
    }

    /// Keeps other processes from making a key at the same time. Where there can be no lock file there is none: two processes that log in at the very same moment
    /// then have a key, and a limit, each.
    pub(super) async fn lock(&self) -> Option<File> {
        let path = self.lock_file.clone();
        let locked = tokio::task::spawn_blocking(move || {
            private_file::create_folder(path.parent().unwrap_or(Path::new(".")))?;
            private_file::lock(&path, LOCK_TIMEOUT)
        });
        match locked.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(lock) => Some(lock),
            Err(error) => {
                tracing::warn!(%error, "the login goes on without its lock; another process that logs in now would make its own key");
                None
            }
        }
    }
}

/// The name of this machine, for people who look at a list of keys.
pub(super) fn host_name() -> String {
    let name = std::fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| "this machine".to_owned())
}
