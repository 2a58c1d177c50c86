//! Why a gateway gave no answer, by what the caller can do about it.

use http::Response;
use serde_json::Value;

use super::transport::{Body, read_whole};
use crate::domain::address::AddressError;

/// As much of an error body is read.
const ERROR_BYTES_MAX: usize = 256 << 10;

/// Why a call of the gateway failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The gateway cannot be reached, or broke off.
    #[error("the gateway could not be reached: {0}")]
    Unreachable(String),
    /// The gateway said no.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The gateway's code, such as `model_not_found`.
        code: String,
        /// The gateway's sentence.
        message: String,
        /// The whole error object.
        details: Box<Value>,
        /// The request's id, if it got one.
        request_id: Option<String>,
    },
    /// The gateway answered in a form that is not understood.
    #[error("the gateway's answer was not understood: {0}")]
    BadAnswer(String),
    /// The key is empty, or has characters that no key has.
    #[error("this is not a key: a key has no spaces or line breaks")]
    BadKey,
    /// The address is not one that a key may be sent to.
    #[error("the gateway's address: {0}")]
    BadAddress(#[from] AddressError),
}

impl ClientError {
    /// The field of the request that was refused, such as `spend_limit`, where the gateway names one.
    pub fn field(&self) -> Option<&str> {
        let Self::Refused { details, .. } = self else { return None };
        details.get("param").and_then(Value::as_str)
    }

    /// Whether the presented key is not accepted (any more).
    pub const fn is_unauthorised(&self) -> bool {
        matches!(self, Self::Refused { status: 401, .. })
    }
}

/// Lets an answer pass, and turns a refusal into an error. Lava sends `error` as an object or as a bare text.
pub(super) async fn refuse(response: Response<Body>) -> Result<Response<Body>, ClientError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let request_id = super::request_id(response.headers());
    let body = read_whole(response.into_body(), ERROR_BYTES_MAX).await.unwrap_or_default();
    let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
    let details = parsed.get("error").cloned().unwrap_or_default();
    let text = |name: &str| details.get(name).and_then(Value::as_str);
    let message = text("message").or(details.as_str()).map_or_else(|| format!("the gateway answered {status}"), str::to_owned);
    // Where the code is a provider's, the gateway's own says what kind of refusal this is.
    let code = text("lava_code").or(text("code")).map_or_else(|| format!("http_{}", status.as_u16()), str::to_owned);
    Err(ClientError::Refused { status: status.as_u16(), code, message, details: Box::new(details), request_id })
}
