//! A refusal on its way to the caller, with what was done to the request before: a provider may have refused because of that.

use http::HeaderMap;

use super::error::GatewayError;

/// Why a request got no answer, and the headers that an answer would have had.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: GatewayError,
    /// What was changed in the request, and where the key's rate limit is. Empty where no money was set aside.
    pub(super) notes: Box<HeaderMap>,
}

impl From<GatewayError> for Refused {
    fn from(error: GatewayError) -> Self {
        Self { error, notes: Box::default() }
    }
}
