//! How much a client may spend: what the settings say, and what the person at the client said when its session began.
//!
//! Where the settings have a limit, that is the person's answer, and nobody is asked. Where they have none, what the person says is the limit, and the default is
//! only what they are offered. Over HTTP it is the most all the same: every program of this user can call there, and answer in a person's stead. The limit is kept
//! beside the key, so that every later process holds to it, and forgotten with the key at logout.

use std::sync::PoisonError;

use super::{Payer, Session, SessionError, decided::Decided};
use crate::{
    config::{Ceiling, SetBy},
    domain::SpendLimit,
};

impl Session {
    /// Whether the person should be asked how much this payer may spend: its key would be the first, nobody was asked yet, and nobody has answered beforehand, in
    /// the settings.
    ///
    /// # Errors
    /// [`SessionError::Vault`].
    pub async fn asks_for_limit(&self, payer: &Payer) -> Result<bool, SessionError> {
        let Err(client_name) = self.given(payer) else { return Ok(false) };
        Ok(self.ask && !self.ceiling.set_by.is_setting() && self.allowed(client_name).is_none() && self.kept(client_name).await?.is_none()
            // Where the answer could not be kept, the login fails, and nobody need be asked.
            && !self.vault.is_missing().await)
    }

    /// What the person is offered, and whether it is also the most they can choose: where the settings say so, and where it is not certain that a person chooses.
    pub fn offer(&self, by_person: bool) -> (SpendLimit, bool) {
        (self.ceiling.limit, !by_person || self.ceiling.set_by.is_setting())
    }

    /// Takes what the person allows a payer that has no key yet; `by_person` as in [`Self::offer`].
    ///
    /// # Errors
    /// [`SessionError::NotNarrower`] when less is allowed here.
    pub fn allow(&self, payer: &Payer, limit: SpendLimit, by_person: bool) -> Result<(), SessionError> {
        let Err(client_name) = self.given(payer) else { return Ok(()) };
        let (most, is_bound) = self.offer(by_person);
        if let Some(excess) = limit.excess(most).filter(|_| is_bound) {
            return Err(SessionError::NotNarrower(format!(
                "the user chose more than can be chosen here: {excess}; LAVA_SESSION_LIMIT sets that"
            )));
        }
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).insert(client_name.to_owned(), limit);
        Ok(())
    }

    /// What a person allowed a client that has no key yet.
    pub(super) fn allowed(&self, client_name: &str) -> Option<SpendLimit> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).get(client_name).copied()
    }

    /// Once it is kept beside the key it need not be remembered.
    pub(super) fn forget_allowed(&self, client_name: &str) {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner).remove(client_name);
    }

    pub(super) async fn ceiling_of(&self, client_name: &str) -> Result<Ceiling, SessionError> {
        Ok(self.under(&self.decided(client_name).await?))
    }

    /// What people have decided for this client's key, or will have once there is one.
    pub(super) async fn decided(&self, client_name: &str) -> Result<Decided, SessionError> {
        let kept = self.kept(client_name).await?.map(|kept| kept.decided).unwrap_or_default();
        Ok(match self.allowed(client_name) {
            Some(limit) => kept.with_limit(Some(limit), SetBy::Person),
            None => kept,
        })
    }

    /// The ceiling, given what people decided for one key: that holds, unless the settings have come to allow less.
    pub(super) fn under(&self, decided: &Decided) -> Ceiling {
        let (most, is_bound) = self.offer(true);
        decided.within(&self.ceiling, |limit| !is_bound || limit.is_within(most))
    }
}
