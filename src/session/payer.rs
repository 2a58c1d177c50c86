//! Who pays for a call: a client with a session key in the vault, or a spend key that came with the call.

use sha2::{Digest, Sha256};

use super::{Link, Session, SessionError};
use crate::{
    client::{Client, PageQuery},
    domain::{Secret, id::hex},
};

/// Who pays.
#[derive(Clone, Debug)]
pub enum Payer {
    /// A client of this machine, by its name: its session key pays, which `login` makes.
    Client(String),
    /// One of several sessions that share the key of such a client, as those over HTTP do.
    Member {
        /// The client's name.
        client: String,
        /// Tells the session from the others.
        session: String,
    },
    /// This spend key, and nothing else: whoever sent it needs no login.
    Key(Secret),
}

impl Payer {
    /// A name under which things of this payer are kept apart from those of others. It does not tell the key.
    pub fn scope(&self) -> String {
        match self {
            Self::Client(name) | Self::Member { client: name, .. } => format!("client {name}"),
            Self::Key(key) => {
                let digest: [u8; 32] = Sha256::digest(key.expose()).into();
                format!("key {}", hex(&digest[..16]))
            }
        }
    }
}

impl Payer {
    /// The client whose session key pays; `None` where a key was brought.
    pub fn client(&self) -> Option<&str> {
        match self {
            Self::Client(name) | Self::Member { client: name, .. } => Some(name),
            Self::Key(_) => None,
        }
    }

    /// Tells sessions of one process apart.
    pub(super) fn session(&self) -> String {
        match self {
            Self::Member { session, .. } => format!("{} session {session}", self.scope()),
            Self::Client(_) | Self::Key(_) => self.scope(),
        }
    }
}

impl Session {
    /// The gateway, whose searches say what the key of `payer` can buy, where that is at hand: no vault is opened for it.
    ///
    /// # Errors
    /// [`SessionError::Ledger`] when the embedded gateway cannot open its ledger.
    pub async fn looker(&self, payer: &Payer) -> Result<Client, SessionError> {
        let key = match self.given(payer) {
            Ok(given) => Some(given.key.clone()),
            Err(_) => {
                let current = self.current.try_lock().ok();
                let in_use = current.as_ref().and_then(|current| current.as_ref());
                in_use.filter(|in_use| in_use.session == payer.session()).map(|in_use| in_use.key.clone())
            }
        };
        Ok(self.client().await?.looking_as(key))
    }
}

impl Session {
    /// The same for a command, which has time to look for the key that is kept for `payer`. None is made, and where there are no keys no vault is opened.
    ///
    /// # Errors
    /// As [`Self::looker`].
    pub async fn looker_with_kept_key(&self, payer: &Payer) -> Result<Client, SessionError> {
        let Link { client, owner } = self.link().await?;
        let newest = PageQuery { limit: Some(1), ..PageQuery::default() };
        let has_keys = match &owner {
            Some(owner) => !client.spend_keys(owner, &newest).await?.data.is_empty(),
            None => true,
        };
        if !has_keys {
            return self.looker(payer).await;
        }
        let key = self.spend_key(payer).await;
        if let Err(error) = &key {
            tracing::debug!("what can be bought is shown without a key: {error}");
        }
        Ok(client.looking_as(key.ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payers_are_kept_apart_and_keys_stay_untold() {
        let key = |text: &str| Payer::Key(Secret::new(text));
        assert_eq!(key("lava_sk_a").scope(), key("lava_sk_a").scope());
        assert_ne!(key("lava_sk_a").scope(), key("lava_sk_b").scope());
        assert_ne!(Payer::Client("x".into()).scope(), Payer::Client("y".into()).scope());
        assert!(!key("lava_sk_a").scope().contains("lava_sk"));
    }
}
