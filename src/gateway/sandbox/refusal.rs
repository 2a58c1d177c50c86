//! How the sandbox refuses what a provider refuses: a 400 in the words and in the form of the dialect.

use serde_json::{Value, json};

use super::ids;

/// A request that is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
}

impl Refusal {
    /// One of Anthropic's dialect, which begins with the place.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None, code: None }
    }

    /// One of OpenAI's dialect.
    pub(super) fn of(param: impl Into<String>, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()), code }
    }

    pub(super) fn to_openai(&self) -> Value {
        json!({"error": {"message": self.message, "type": "invalid_request_error", "param": self.param, "code": self.code}})
    }

    pub(super) fn to_anthropic(&self) -> Value {
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": self.message}, "request_id": ids::request()})
    }
}
