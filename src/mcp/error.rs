//! From a failure to a tool error: a code, a sentence, and what to do next. Nowhere else.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

use super::text;
use crate::{
    client::{ClientError, TargetError},
    domain::{invocation::in_text, text::counted},
    session::SessionError,
};

/// As much of what others said about a failure is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 1_000;
const CODE_CHARS_MAX: usize = 60;
const DETAIL_CHARS_MAX: usize = 300;
const DETAILS_BYTES_MAX: usize = 4_000;

/// A tool error as the model reads it.
#[derive(Clone, Debug)]
pub(super) struct ToolError {
    code: String,
    message: String,
    hint: String,
    /// What the gateway said beyond that: limits, amounts, times.
    details: Box<JsonObject>,
    request_id: Option<String>,
    /// Whether something was charged before it failed.
    is_paid: bool,
    /// Whether a server failed on the way, so that nobody can say how far the call had come.
    is_unclear: bool,
}

impl ToolError {
    pub(super) fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        // What was asked for is often part of the message.
        let message = text::shorten(&message.into(), MESSAGE_CHARS_MAX).0;
        Self {
            code: code.to_owned(),
            message,
            hint: hint.into(),
            details: Box::default(),
            request_id: None,
            is_paid: false,
            is_unclear: false,
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("invalid_arguments", message, "Check the tool's input schema and call it again.")
    }

    pub(super) fn cancelled() -> Self {
        Self::new("cancelled", "The call was cancelled.", "What it had used is charged.")
    }

    pub(super) fn to_structured(&self) -> Value {
        let mut error = (*self.details).clone();
        for (name, text) in [("code", &self.code), ("message", &self.message), ("hint", &self.hint)] {
            error.insert(name.to_owned(), in_text(text).into());
        }
        if let Some(id) = &self.request_id {
            error.insert("request_id".to_owned(), id.as_str().into());
        }
        json!({ "error": error })
    }

    pub(super) fn to_text(&self) -> String {
        format!("{} [{}]\n{}", in_text(&self.message), self.code, in_text(&self.hint))
    }

    /// The same failure, with what was tried before it and what that cost.
    pub(super) fn after(mut self, cost: &str, is_paid: bool, attempts: Vec<Value>) -> Self {
        self.is_paid = is_paid;
        self.details.insert("cost".to_owned(), cost.into());
        self.details.insert("attempts".to_owned(), attempts.into_iter().map(text::attempt).collect());
        self
    }

    /// Whether the call may have cost something although it failed.
    pub(super) fn may_have_been_paid(&self) -> bool {
        if self.is_paid {
            return true;
        }
        match self.code.as_str() {
            "upstream_broken"
            | "upstream_timeout"
            | "upstream_error"
            | "cancelled"
            | "gateway_unreachable"
            | "gateway_error"
            | "shutting_down" => true,
            // The embedded gateway says these before a provider has taken the call.
            "upstream_unreachable"
            | "ledger_unavailable"
            | "vault_unavailable"
            | "provider_credentials_missing"
            | "provider_credentials_rejected" => false,
            // A proxy between us and the gateway, or another gateway, has other codes.
            _ => self.is_unclear,
        }
    }

    /// Whether the key in use is not accepted any more.
    pub(super) fn is_key_refused(&self) -> bool {
        self.code == "invalid_api_key"
    }
}

impl From<SessionError> for ToolError {
    fn from(error: SessionError) -> Self {
        let message = sentence(&error.to_string());
        match error {
            SessionError::NotLoggedIn => Self::new("not_logged_in", message, "Call the login tool first; then repeat this call."),
            SessionError::NoSecretKey => Self::new(
                "not_logged_in",
                message,
                "Ask the user to set LAVA_SECRET_KEY (or LAVA_SPEND_KEY) in this server's environment, or to remove LAVA_API_URL to use the embedded gateway.",
            ),
            SessionError::KeyRefused(variable) => Self::new(
                "invalid_api_key",
                message,
                format!("Ask the user to put a valid key into {variable} and to restart this server."),
            ),
            SessionError::Declined => Self::new(
                "login_declined",
                message,
                "This is final. Do not call login again unless the user asks for it; go on without paid calls, or stop.",
            ),
            SessionError::LoginExpired => {
                Self::new("login_expired", message, "When the user is there, call login again: it starts a new login.")
            }
            SessionError::WrongStates | SessionError::NoListener(_) | SessionError::LoginRefused(_) => Self::new(
                "login_failed",
                message,
                "Tell the user. Calling login again starts a new login; `lava-mcp login` in a terminal shows more.",
            ),
            SessionError::ForwardRefused(_) => Self::new(
                "spend_key_not_forwarded",
                message,
                "Use prompt for models. For other APIs tell the user: with LAVA_FORWARD_WITH=secret-key in this server's environment (or forward_with = \
                 \"secret_key\" in [gateway] of its config file) their secret key pays for such calls, and then the session's limit does not hold for them.",
            ),
            SessionError::KeyPaused => Self::new("key_paused", message, "Stop, and tell the user."),
            SessionError::NotNarrower(_) => Self::new("limit_not_allowed", message, "Call login with less, or without this argument."),
            SessionError::Vault(error) | SessionError::NotKept { error, .. } => {
                let hint = match error.is_missing() {
                    true => format!("Tell the user: {}", error.hint()),
                    false => error.hint(),
                };
                Self::new("vault_unavailable", message, hint)
            }
            SessionError::Ledger(_) => Self::new(
                "ledger_unavailable",
                message,
                "Nothing was spent. Ask the user to look at the data folder (`lava-mcp doctor` shows it).",
            ),
            SessionError::Client(error) => error.into(),
        }
    }
}

impl From<ClientError> for ToolError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { status, code, message, details, request_id } => {
                let wait = details.get("retry_after_s").and_then(Value::as_u64);
                // What a server says of a failure of its own, or of too much at a time, passes.
                let is_final = (400..500).contains(&status) && !matches!(status, 408 | 409 | 425 | 429);
                let hint = match wait {
                    Some(seconds) => format!("Wait {}, then repeat the call.", counted(seconds, "second")),
                    None if is_final && code == "upstream_error" => REFUSED_HINT.to_owned(),
                    None => hint_for(&code).to_owned(),
                };
                let mut details = details.as_object().cloned().unwrap_or_default();
                name_providers_own(&mut details);
                // Said already, or meant for SDKs.
                for name in ["code", "message", "type", "param"] {
                    details.remove(name);
                }
                let mut details: JsonObject = details;
                details.values_mut().for_each(|detail| text::shorten_value(detail, DETAIL_CHARS_MAX));
                if serde_json::to_string(&details).is_ok_and(|text| text.len() > DETAILS_BYTES_MAX) {
                    details.clear();
                }
                let code = text::one_line(&code, CODE_CHARS_MAX);
                let message = text::one_line(&message, MESSAGE_CHARS_MAX);
                Self { code, message, hint, details: Box::new(details), request_id, is_paid: false, is_unclear: status >= 500 }
            }
            ClientError::Unreachable(_) => Self::new(
                "gateway_unreachable",
                sentence(&error.to_string()),
                "Try again in a moment; if it keeps failing, tell the user (`lava-mcp doctor` helps).",
            ),
            ClientError::BadAnswer(_) | ClientError::BadKey | ClientError::BadAddress(_) => {
                Self::new("gateway_error", sentence(&error.to_string()), "Tell the user; `lava-mcp doctor` shows what works.")
            }
        }
    }
}

impl From<TargetError> for ToolError {
    fn from(error: TargetError) -> Self {
        let message = sentence(&error.to_string());
        match error {
            TargetError::Unknown { .. } => {
                Self::new("forward_endpoint_not_supported", message, "Call search and use a url or id from its results.")
            }
            TargetError::NotNow { .. } => Self::new("forward_endpoint_not_supported", message, "Use another provider that sells it."),
            TargetError::NeedsBody { .. } | TargetError::NoBodyWithGet => Self::invalid(message),
            TargetError::Client(error) => error.into(),
        }
    }
}

/// What a provider said beside its message stays, under names that say whose it is.
fn name_providers_own(details: &mut JsonObject) {
    let Some(ours) = details.remove("lava_code") else { return };
    for (name, whose) in [("code", "upstream_code"), ("param", "upstream_param")] {
        if let Some(value) = details.remove(name).filter(|value| !value.is_null() && *value != ours) {
            details.insert(whose.to_owned(), value);
        }
    }
}

/// The provider answers the same however often it is asked.
const REFUSED_HINT: &str = "The provider refuses this call as it is. Change what its message names, or use another model.";

fn hint_for(code: &str) -> &'static str {
    match code {
        "invalid_api_key" => "Call the login tool; it replaces a key that is no longer valid.",
        "key_paused" => "The owner has paused this key. Stop, and tell the user.",
        "model_not_found" => "Use one of the nearest models, or call search to find one.",
        "model_not_allowed" | "provider_not_allowed" => "Use what the key allows, or ask the user to allow more.",
        "provider_credentials_missing" | "provider_credentials_rejected" => {
            "Tell the user what to set; or search for a model whose credentials are ready, or use the sandbox."
        }
        "vault_unavailable" => "Ask the user to unlock the system's keyring, or to set the provider's variable instead.",
        "dialect_not_supported" | "provider_address_missing" => "Call search to find a model whose credentials are ready.",
        "budget_exceeded" | "request_quota_exceeded" => "Waiting does not help before the limit resets. Stop, and tell the user.",
        "insufficient_budget" => "Ask for less: lower max_tokens, shorten the input, or use a cheaper model.",
        "budget_held" | "rate_limit_exceeded" => "Wait a few seconds, then repeat the call.",
        "shutting_down" => "The server is shutting down. Repeat the call when it is back.",
        "max_cost_exceeded" => "Raise max_cost, lower max_tokens, or shorten the input. Nothing was spent.",
        "unpriceable" => "Use another model, or leave out what makes the cost unknown. Nothing was spent.",
        "forward_endpoint_not_supported" => "Call search and use an address from its results.",
        "upstream_error" | "upstream_unreachable" | "upstream_timeout" | "upstream_broken" => {
            "The provider failed. Try again later, or another model; fallbacks can name one."
        }
        "ledger_unavailable" => "Nothing was spent. Ask the user to look at the data folder (`lava-mcp doctor` shows it).",
        "request_too_large" => "Send less, or refer to files by URL.",
        _ => "Check the arguments, and call again.",
    }
}

/// Our own errors are written in lower case, to stand inside other sentences; here they stand alone.
fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let Some(first) = chars.next() else { return String::new() };
    let rest = chars.as_str();
    let end = if rest.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{rest}{end}", first.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_failed_at_may_have_been_paid() {
        let refused = |status: u16, code: &str| {
            let error =
                ClientError::Refused { status, code: code.to_owned(), message: String::new(), details: Box::default(), request_id: None };
            ToolError::from(error).may_have_been_paid()
        };
        for (status, code) in
            [(504, "http_504"), (500, "internal_error"), (502, "upstream_broken"), (503, "shutting_down"), (429, "upstream_error")]
        {
            assert!(refused(status, code), "{status} {code}");
        }
        for (status, code) in [
            (503, "ledger_unavailable"),
            (502, "upstream_unreachable"),
            (502, "provider_credentials_rejected"),
            (503, "vault_unavailable"),
            (402, "budget_exceeded"),
            (404, "http_404"),
        ] {
            assert!(!refused(status, code), "{status} {code}");
        }
    }

    #[test]
    fn what_a_provider_called_its_refusal_stays_beside_our_code() {
        let details = json!({
            "code": "context_length_exceeded", "type": "t", "param": "messages", "message": "m", "lava_code": "upstream_error", "provider": "p",
        });
        let (code, message) = ("upstream_error".to_owned(), "m".to_owned());
        let refused = ClientError::Refused { status: 400, code, message, details: Box::new(details), request_id: None };
        let error = &ToolError::from(refused).to_structured()["error"];
        assert_eq!((&error["code"], &error["upstream_code"]), (&json!("upstream_error"), &json!("context_length_exceeded")));
        assert_eq!((&error["upstream_param"], &error["type"], &error["lava_code"]), (&json!("messages"), &Value::Null, &Value::Null));
    }

    #[test]
    fn what_a_provider_forbids_is_not_to_be_repeated() {
        let hint = |status: u16, details: Value| {
            let (code, message) = ("upstream_error".to_owned(), "m".to_owned());
            ToolError::from(ClientError::Refused { status, code, message, details: Box::new(details), request_id: None }).hint
        };
        for status in [400, 402, 403, 404, 413, 422] {
            assert_eq!(hint(status, json!({})), REFUSED_HINT, "{status}");
        }
        for status in [408, 409, 425, 429, 500, 503, 529] {
            assert!(hint(status, json!({})).contains("Try again later"), "{status}");
        }
        assert!(hint(403, json!({"retry_after_s": 3})).contains("Wait 3 seconds"));
    }
}
