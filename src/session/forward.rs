//! What pays for a call of a provider's own address.
//!
//! The session's spend key, as for everything else. Whether hosted Lava takes spend keys there is not documented; its forward tokens carry a secret key, which knows no
//! limit of this session. So the secret key is never used by itself: a person has to switch that on, and the results then say so.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{Payer, Session, SessionError};
use crate::{client::ClientError, domain::Secret};

/// What pays for a call of a provider's own address.
#[derive(Clone, Debug)]
pub struct ForwardKey {
    /// A spend key, or a forward token.
    pub key: Secret,
    /// Whether the session's limit holds for it.
    pub is_limited: bool,
}

impl Session {
    /// What pays when `payer` calls a provider's own address.
    ///
    /// # Errors
    /// As [`Self::spend_key`]; [`SessionError::NoSecretKey`] when the secret key shall pay and there is none.
    pub async fn forward_key(&self, payer: &Payer) -> Result<ForwardKey, SessionError> {
        // Also with the switch nobody pays who is not logged in; and who brought a key pays with that.
        let key = self.spend_key(payer).await?;
        if !self.forward_with_secret_key || self.info.url.is_none() || self.given(payer).is_ok() {
            return Ok(ForwardKey { key, is_limited: true });
        }
        let secret = self.secret_key().await?.ok_or(SessionError::NoSecretKey)?;
        let token = STANDARD.encode(json!({ "secret_key": secret.expose() }).to_string());
        Ok(ForwardKey { key: Secret::new(token), is_limited: false })
    }

    /// Why a call of a provider's own address failed, where it may be that the gateway takes no spend keys for that.
    pub async fn explain_forward(&self, payer: &Payer, key: &ForwardKey, error: ClientError) -> SessionError {
        let ClientError::Refused { status: 401 | 403, .. } = error else { return error.into() };
        // Ours take them, and say what is wrong otherwise.
        if !key.is_limited || self.obeys_max_cost(&key.key).await.unwrap_or(true) {
            return error.into();
        }
        match self.status(payer).await {
            // The key itself is no good any more.
            Err(SessionError::NotLoggedIn) => SessionError::NotLoggedIn,
            _ => SessionError::ForwardRefused(error),
        }
    }
}
