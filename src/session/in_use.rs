//! The key in use: found in the vault, and brought to what its session may spend now.
//!
//! Three may say how much that is: the settings, people who decided it for this key, and the session itself, which can only ask for less. What a session gives the key is
//! written down before it is given, so that what differs later is known to be its owner's doing, and stays.

use super::{LoggedIn, Narrowing, Payer, Session, SessionError, kept::Kept, narrow::Wanted, paused_or};
use crate::{
    client::{ClientError, SpendKeyObject},
    config::SetBy,
    domain::{Secret, SpendLimit},
};

/// What a session asks for.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Earlier.
    pub(super) earlier: Narrowing,
    /// Now.
    pub(super) now: Narrowing,
    /// How much a person says that this client may spend from now on.
    pub(super) by_person: Option<SpendLimit>,
}

/// A key with which a session can pay.
pub(super) struct Found {
    pub(super) key: Secret,
    pub(super) logged_in: LoggedIn,
    /// The settings it has; `None` where the gateway does not show them.
    pub(super) settings: Option<Wanted>,
}

/// The key that the last call was paid with.
pub(super) struct InUse {
    pub(super) session: String,
    pub(super) key: Secret,
    pub(super) logged_in: LoggedIn,
    settings: Option<Wanted>,
}

impl Asked {
    /// Nothing new.
    pub(super) fn before(earlier: Narrowing) -> Self {
        Self { earlier, ..Self::default() }
    }

    /// All that the session has asked for.
    pub(super) fn narrowing(&self) -> Narrowing {
        self.now.after(&self.earlier)
    }
}

impl Found {
    pub(super) fn of(self, payer: &Payer) -> InUse {
        InUse { session: payer.session(), key: self.key, logged_in: self.logged_in, settings: self.settings }
    }
}

impl Session {
    /// What the key is to have, with who sets its limit.
    pub(super) fn wanted(&self, kept: &Kept, asked: &Asked) -> (Wanted, SetBy) {
        let ceiling = self.under(&kept.decided);
        let wanted = asked.narrowing().settings(&ceiling, kept.decided.expires_at());
        let set_by = wanted.limit_set_by(&ceiling);
        (wanted, set_by)
    }

    /// A person's word counts from now on; the ceiling's own amount is not one for this key alone.
    pub(super) fn decide(&self, kept: &mut Kept, asked: &Asked) {
        if let Some(limit) = asked.by_person {
            kept.decided =
                std::mem::take(&mut kept.decided).with_limit(Some(limit).filter(|limit| *limit != self.ceiling.limit), SetBy::Login);
        }
    }

    /// Whether the key still has the settings under which this session last paid. Another session of the same client may have asked for others; at a gateway at an
    /// address that is not looked for, since each look is a request.
    pub(super) async fn is_as_left(&self, in_use: &InUse) -> bool {
        let (None, Some(settings)) = (&self.info.url, &in_use.settings) else { return true };
        let Ok(client) = self.client().await else { return true };
        match client.own_key(&in_use.key).await {
            Ok(Some(object)) => settings.matches(&object),
            // What is wrong with the key, the call itself shows.
            _ => true,
        }
    }

    /// The key in the vault, if the gateway still accepts it, brought to what its session may spend.
    pub(super) async fn reuse(&self, client_name: &str, asked: &Asked) -> Result<Option<Found>, SessionError> {
        let Some((kept, object)) = self.look(client_name).await? else { return Ok(None) };
        let Some(object) = object else {
            let logged_in = LoggedIn { key: None, stored_in: self.vault.kind(), limit_set_by: None };
            return Ok(Some(Found { key: Secret::new(kept.key), logged_in, settings: None }));
        };
        let (wanted, set_by) = self.wanted(&kept, asked);
        if asked.by_person.is_none() && kept.is_as_given(&object) && wanted.matches(&object) {
            return Ok(Some(self.found(kept.key, object, wanted, set_by)));
        }
        let _lock = self.lock().await;
        self.bring(client_name, asked).await
    }

    /// Gives the key the settings it is to have. Under the lock, since another process may do the same.
    pub(super) async fn bring(&self, client_name: &str, asked: &Asked) -> Result<Option<Found>, SessionError> {
        let Some((before, object)) = self.look(client_name).await? else { return Ok(None) };
        let Some(object) = object else { return Ok(None) };
        let mut kept = before.clone();
        kept.notice(&object);
        self.decide(&mut kept, asked);
        let (wanted, set_by) = self.wanted(&kept, asked);
        let mut shown = object;
        if !wanted.matches(&shown) {
            shown = self.give(client_name, &before, &shown, &wanted, self.under(&kept.decided).limit).await?;
        }
        self.keep(client_name, &Kept { given: vec![wanted.clone()], narrowed: false, ..kept.clone() }).await?;
        Ok(Some(self.found(kept.key, shown, wanted, set_by)))
    }

    /// Changes a key at the gateway, once it is written down what it may have from then on.
    pub(super) async fn give(
        &self,
        client_name: &str,
        kept: &Kept,
        key: &SpendKeyObject,
        wanted: &Wanted,
        most: SpendLimit,
    ) -> Result<SpendKeyObject, SessionError> {
        let secret = self.secret_key().await?.ok_or(SessionError::NoSecretKey)?;
        if !kept.given.is_empty() {
            let mut given = kept.given.clone();
            given.extend([wanted.clone(), wanted.at(most)]);
            given.dedup();
            self.keep(client_name, &Kept { given, ..kept.clone() }).await?;
        }
        match self.change(&secret, key, wanted, most).await {
            Err(SessionError::Client(error)) if error.is_unauthorised() => Err(self.secret_refused()),
            changed => changed,
        }
    }

    pub(super) fn found(&self, key: String, object: SpendKeyObject, wanted: Wanted, set_by: SetBy) -> Found {
        let logged_in = LoggedIn { key: Some(object), stored_in: self.vault.kind(), limit_set_by: Some(set_by) };
        Found { key: Secret::new(key), logged_in, settings: Some(wanted) }
    }

    /// The key in the vault as the gateway shows it; `None` when there is no key that it accepts.
    async fn look(&self, client_name: &str) -> Result<Option<(Kept, Option<SpendKeyObject>)>, SessionError> {
        let Some(kept) = self.kept(client_name).await? else { return Ok(None) };
        let client = self.client().await?;
        let object = match client.own_key(&Secret::new(kept.key.clone())).await {
            Ok(object) => object,
            Err(error) if error.is_unauthorised() => return Ok(None),
            Err(error) => return Err(paused_or(error)),
        };
        if object.is_some() {
            return Ok(Some((kept, object)));
        }
        // A gateway that does not tell the key about itself tells the key's owner.
        let Some(secret) = self.secret_key().await? else { return Ok(Some((kept, None))) };
        match client.spend_key(&secret, &kept.spend_key_id).await {
            Err(ClientError::Refused { status: 404, .. }) => Ok(None),
            Err(error) if error.is_unauthorised() => Err(self.secret_refused()),
            object => Ok(Some((kept, Some(object?)))),
        }
    }
}
