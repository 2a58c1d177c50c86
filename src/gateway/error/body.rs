//! The error object, as the SDKs of the caller's endpoint family read it.

use serde_json::{Map, Value, json};

use super::{GatewayError, RETRY_AFTER_S_MAX, sentences::holds_command};
use crate::{
    domain::{
        Money, RequestId, RequestShape,
        ledger::{Shortfall, Whose},
    },
    gateway::lengths::shown,
};

/// Our own code, where `code` is the provider's.
const OUR_CODE: &str = "lava_code";
/// The types that clients of Anthropic's API know.
const ANTHROPIC_TYPES: [&str; 10] = [
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
];

impl GatewayError {
    /// The error object; Lava's own clients read `code` and `message` of the same. What a provider refused has the code, type and parameter that the provider gave it: agents
    /// decide by them whether to shorten a conversation, to wait or to stop.
    pub(in crate::gateway) fn body(&self, shape: RequestShape, request: Option<&RequestId>) -> Value {
        let mut error = Map::new();
        let mut put = |name: &str, value: Value| drop(error.insert(name.to_owned(), value));
        put("code", self.code().into());
        put("message", self.message().into());
        put("type", self.kind().into());
        put("param", if let Self::BadField { field, .. } = self { Value::from(shown(field)) } else { Value::Null });
        if let Self::Upstream { said, .. } = self {
            put(OUR_CODE, self.code().into());
            if let Some(code) = &said.reason.code {
                put("code", code.clone());
            }
            put("param", json!(said.reason.param));
            let kind = said.reason.kind.as_deref();
            if let Some(kind) = kind.filter(|kind| shape == RequestShape::Openai || ANTHROPIC_TYPES.contains(kind)) {
                put("type", kind.into());
            }
        }
        self.details(&mut error);
        match shape {
            RequestShape::Openai => json!({ "error": error }),
            RequestShape::Anthropic => json!({ "type": "error", "error": error, "request_id": request.map(RequestId::as_str) }),
        }
    }

    fn kind(&self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 => "timeout_error",
            429 => "rate_limit_error",
            413 => "request_too_large",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }

    fn details(&self, error: &mut Map<String, Value>) {
        let mut put = |name: &str, value: Value| {
            error.insert(name.to_owned(), value);
        };
        match self {
            Self::Budget { shortfall, affordable_output } => {
                shortfall_details(shortfall, &mut put);
                put("max_affordable_tokens", json!(affordable_output));
            }
            Self::BudgetHeld { shortfall } => shortfall_details(shortfall, &mut put),
            Self::RequestQuota { limit, resets_at } => {
                put("limit", json!(limit));
                put("resets_at", json!(resets_at.map(|at| at.to_string())));
            }
            Self::MaxCost { needed, max_cost } => {
                put("needed", json!(needed));
                put("max_cost", json!(max_cost));
            }
            Self::ModelNotFound { nearest, .. } => put("nearest", json!(nearest)),
            Self::CredentialsMissing { provider, env, .. } => {
                put("provider", json!(provider));
                put("variables", json!(env));
            }
            Self::CredentialsRejected { provider, env, said, .. } => {
                put("provider", json!(provider));
                put("variables", json!(env));
                // Not as the error's own: a word about the gateway's key is none about the caller's.
                let said = &said.reason;
                for (name, value) in [("code", json!(said.code)), ("type", json!(said.kind)), ("param", json!(said.param))] {
                    if !value.is_null() {
                        put(&format!("upstream_{name}"), value);
                    }
                }
            }
            Self::Upstream { provider, status, .. } => {
                put("provider", json!(provider));
                put("upstream_status", json!(status));
                put("retry_after_s", json!(self.wait_s()));
            }
            Self::TooManyUnknownKeys { wait_s } => put("retry_after_s", json!(wait_s)),
            Self::BreakerOpen { provider, wait_s, .. } => {
                put("provider", json!(provider));
                put("retry_after_s", json!((*wait_s).min(RETRY_AFTER_S_MAX)));
            }
            Self::RateLimited { wait_ms, .. } => {
                put("retry_after_s", json!(wait_ms.div_ceil(1_000)));
            }
            _ => {}
        }
    }
}

fn shortfall_details(shortfall: &Shortfall, put: &mut impl FnMut(&str, Value)) {
    put(
        "limit_of",
        json!(match shortfall.whose {
            Whose::Key => "key",
            Whose::Account => "account",
        }),
    );
    put("limit", json!(shortfall.limit));
    put("spent", json!(shortfall.spent));
    put("held", json!(shortfall.held));
    put("needed", json!(shortfall.asked));
    put("remaining", json!(shortfall.available()));
    put("unverified", json!(shortfall.unverified));
    if shortfall.unverified > Money::ZERO {
        put("unverified_shown_by", json!({"command": holds_command(), "endpoint": "/v1/lava_mcp/holds"}));
    }
    put("resets_at", json!(shortfall.resets_at.map(|at| at.to_string())));
}
