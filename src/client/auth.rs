//! The end of a browser login: the code that the browser brought back becomes a secret key.

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Client, ClientError};
use crate::domain::Secret;

/// What a login gives.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Manages the spend keys of the account.
    pub secret_key: Secret,
    /// Names it, so that a person can find and delete it.
    pub secret_key_id: Option<String>,
}

impl Client {
    /// Exchanges the code of a browser login, which works once and for a minute. No key is sent with it: the code is the proof.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the code is wrong, used or too old.
    pub async fn exchange_code(&self, code: &Secret) -> Result<Credentials, ClientError> {
        // More comes with it (wallet, merchant, account); nothing here needs that.
        #[derive(Deserialize)]
        struct Given {
            secret_key: String,
            secret_key_id: Option<String>,
        }
        let body = Bytes::from(json!({ "code": code.expose() }).to_string());
        let given: Given = self.json(Method::POST, "/v1/auth/callback", None, Some(body)).await.map_err(without_quotes)?;
        // What could not be sent as a key must not be kept as one.
        if given.secret_key.is_empty() || !given.secret_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::BadAnswer("the secret key in it is not a key".to_owned()));
        }
        Ok(Credentials { secret_key: Secret::new(given.secret_key), secret_key_id: given.secret_key_id })
    }
}

/// A parser quotes what it did not understand, and here that could be the key.
fn without_quotes(error: ClientError) -> ClientError {
    match error {
        ClientError::BadAnswer(_) => ClientError::BadAnswer("it has no secret key".to_owned()),
        other => other,
    }
}
