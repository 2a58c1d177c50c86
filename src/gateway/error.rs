//! Every way a request can be refused, and what the caller is told: status, code, message, headers. Nowhere else.
//!
//! Official SDKs retry 408, 409, 429 and 5xx on their own, and obey `x-should-retry`. So a final refusal carries `x-should-retry: false`, and a temporary one
//! says how long to wait, at most a minute.

mod rate_limit;
mod sentences;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{
    authorise::BAD_KEY,
    lengths::{cut, listed, shown},
};
use crate::{
    domain::{
        Money, RequestId, RequestLimit, RequestShape,
        ledger::{RateState, Shortfall, Whose},
    },
    store::StoreError,
    translate::BadRequest,
};
pub(super) use rate_limit::rate_headers;
use sentences::{HOLDS_COMMAND, bodies_sentence, breaker_sentence, budget_sentence, how_to_set, nearest_sentence, resets_sentence};

/// Tells the official SDKs whether to try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The longest wait we ever ask for: some SDKs sleep as long as they are told.
const RETRY_AFTER_S_MAX: u64 = 60;

/// The longest message. The longest that we write ourselves has half of it.
const MESSAGE_CHARS_MAX: usize = 4_000;

/// Why a request got no answer from an upstream.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error("{0}")]
    InvalidKey(&'static str),
    /// Well-formed, and looked up in vain.
    #[error("{BAD_KEY}")]
    UnknownKey,
    #[error("Too many unknown API keys came from your address; keys from there are looked up again in {wait_s} s.")]
    TooManyUnknownKeys { wait_s: u64 },
    #[error("This key is paused; its owner can set it active again.")]
    KeyPaused,
    #[error(
        "This gateway is a sandbox, and this key is a live one: its limits are for real money, so nothing is counted against them here. Make a key for the sandbox \
         with `lava-mcp --sandbox keys create NAME`, or use a gateway that is not a sandbox."
    )]
    LiveKeyInSandbox,
    #[error("This key only allows {allowed} request shape, but received {received}")]
    ShapeNotAllowed { allowed: &'static str, received: &'static str },
    #[error("This key does not allow the model {model}; it allows: {}.", listed(allowed))]
    ModelNotAllowed { model: String, allowed: Vec<String> },
    #[error("This key does not allow the provider {provider}; it allows: {}.", listed(allowed))]
    ProviderNotAllowed { provider: String, allowed: Vec<String> },
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    BadRequest(String),
    #[error("{message}")]
    BadField { field: String, message: String },
    #[error("There is no {0} here.")]
    NotFound(String),
    #[error("This login code is not known: it may have been used before, or be older than a minute. Start the login anew.")]
    LoginCode,
    #[error("The charge for {0} was written off before.")]
    AlreadyWrittenOff(String),
    #[error("{path} does not take {method}.")]
    MethodNotAllowed { path: String, method: String },
    #[error("The body is larger than {limit_mib} MiB; send less, or refer to files by URL.")]
    TooLarge { limit_mib: usize },
    #[error(
        "The body did not come in time: nothing of it for 30 seconds, or not all of it within 60. Send it again over a faster line, or send less."
    )]
    TooSlow,
    #[error("Too many searches are waiting. Try again in a moment.")]
    Busy,
    #[error("{}", bodies_sentence(*is_own))]
    BodiesFull { is_own: bool },
    #[error("Bodies are read as they are; this one is encoded as \"{0}\". Send it without Content-Encoding.")]
    Encoded(String),
    #[error("No model is called \"{model}\".{}", nearest_sentence(nearest))]
    ModelNotFound { model: String, nearest: Vec<String> },
    #[error("{model} is sold by {provider}, and no key for {provider} is set. {}", how_to_set(provider, env))]
    CredentialsMissing { model: String, provider: String, env: Vec<String> },
    #[error("The key for {provider} is kept in the vault, which cannot be read: {reason}")]
    VaultLocked { provider: String, reason: String },
    #[error(
        "{provider} has an address of its own for each customer. Write yours into the config file, as base_url under [providers.{provider}]."
    )]
    AddressMissing { provider: String },
    #[error("{0}")]
    NotTranslated(String),
    #[error("{target} is not an endpoint this gateway can call and price. {hint}")]
    TargetNotSupported { target: String, hint: String },
    #[error("{}", budget_sentence(shortfall, *affordable_output))]
    Budget { shortfall: Box<Shortfall>, affordable_output: Option<u64> },
    #[error("The rest of the limit ({} USD) is set aside by requests in flight; it will be free again when they end.", shortfall.held)]
    BudgetHeld { shortfall: Box<Shortfall> },
    #[error("Too many requests wait for money of this key that others have set aside; try again in a moment.")]
    LineFull,
    #[error("The limit of {} requests ({}) is used up.{}", limit.count, limit.cycle.as_str(), resets_sentence(*resets_at))]
    RequestQuota { limit: RequestLimit, resets_at: Option<jiff::Timestamp> },
    #[error("Too many requests a minute; the next one is admitted in {wait_ms} ms.")]
    RateLimited { wait_ms: u64, state: RateState },
    #[error(
        "{provider}/{model} billed more than its prices allow, so no key with a limit buys there until somebody has reviewed them: `lava-mcp mispriced` shows what \
         happened."
    )]
    Mispriced { provider: String, model: String },
    #[error(
        "This call may cost up to {needed} USD, more than its max_cost of {max_cost} USD. Raise max_cost, lower max_tokens, or shorten the input."
    )]
    MaxCost { needed: Money, max_cost: Money },
    #[error("The most this request can cost is not known: {0}.")]
    Unpriceable(String),
    #[error("The ledger does not answer, so nothing may be spent: {0}")]
    Ledger(#[from] StoreError),
    #[error("The gateway is shutting down.")]
    ShuttingDown,
    #[error("{}", breaker_sentence(provider, *wait_s, *is_for_all))]
    BreakerOpen { provider: String, wait_s: u64, is_for_all: bool },
    #[error("{provider} could not be reached: {detail}.")]
    Unreachable { provider: String, detail: String },
    #[error("{provider} did not answer in time.")]
    Timeout { provider: String },
    #[error("{provider} broke off its answer: {detail}.")]
    BrokenAnswer { provider: String, detail: String },
    #[error("{provider} did not accept the key set for it (it said {status}). {}", how_to_set(provider, env))]
    CredentialsRejected { provider: String, status: u16, env: Vec<String> },
    #[error("{provider} answered {status}: {message}")]
    Upstream {
        provider: String,
        status: u16,
        message: String,
        retry_after_s: Option<u64>,
        /// Whether it may have been billed, so that all that was set aside is charged.
        is_charged: bool,
    },
}

impl GatewayError {
    /// What may be logged of it: nothing that a provider wrote, since that can quote the prompt.
    pub(super) fn for_log(&self) -> String {
        match self {
            Self::Upstream { provider, status, .. } => format!("{provider} answered {status}"),
            Self::BrokenAnswer { provider, .. } => format!("{provider} broke off its answer"),
            other => other.to_string(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::InvalidKey(_) | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::KeyPaused
            | Self::LiveKeyInSandbox
            | Self::ShapeNotAllowed { .. }
            | Self::ModelNotAllowed { .. }
            | Self::ProviderNotAllowed { .. }
            | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::BadRequest(_)
            | Self::BadField { .. }
            | Self::LoginCode
            | Self::CredentialsMissing { .. }
            | Self::NotTranslated(_)
            | Self::AddressMissing { .. }
            | Self::TargetNotSupported { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound(_) | Self::ModelNotFound { .. } => StatusCode::NOT_FOUND,
            Self::AlreadyWrittenOff(_) => StatusCode::CONFLICT,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Encoded(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Budget { .. } | Self::RequestQuota { .. } | Self::MaxCost { .. } | Self::Unpriceable(_) | Self::Mispriced { .. } => {
                StatusCode::PAYMENT_REQUIRED
            }
            Self::BudgetHeld { .. }
            | Self::LineFull
            | Self::RateLimited { .. }
            | Self::TooManyUnknownKeys { .. }
            | Self::BodiesFull { is_own: true } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy
            | Self::BodiesFull { is_own: false }
            | Self::BreakerOpen { .. }
            | Self::Ledger(_)
            | Self::ShuttingDown
            | Self::VaultLocked { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable { .. } | Self::BrokenAnswer { .. } | Self::CredentialsRejected { .. } => StatusCode::BAD_GATEWAY,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream { status, .. } => StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY),
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::InvalidKey(_) | Self::UnknownKey => "invalid_api_key",
            Self::TooManyUnknownKeys { .. } => "too_many_unknown_keys",
            Self::KeyPaused => "key_paused",
            Self::LiveKeyInSandbox => "live_key_in_sandbox",
            Self::ShapeNotAllowed { .. } => "request_shape_not_allowed",
            Self::ModelNotAllowed { .. } => "model_not_allowed",
            Self::ProviderNotAllowed { .. } => "provider_not_allowed",
            Self::Forbidden(_) => "forbidden",
            Self::BadRequest(_) | Self::BadField { .. } => "invalid_request",
            Self::LoginCode => "login_code_invalid",
            Self::NotFound(_) => "not_found",
            Self::AlreadyWrittenOff(_) => "already_written_off",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::TooLarge { .. } => "request_too_large",
            Self::TooSlow => "request_timeout",
            Self::Busy => "busy",
            Self::BodiesFull { .. } => "too_many_bytes_in_flight",
            Self::Encoded(_) => "content_encoding_not_supported",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::CredentialsMissing { .. } => "provider_credentials_missing",
            Self::VaultLocked { .. } => "vault_unavailable",
            Self::AddressMissing { .. } => "provider_address_missing",
            Self::NotTranslated(_) => "dialect_not_supported",
            Self::TargetNotSupported { .. } => "forward_endpoint_not_supported",
            Self::Budget { shortfall, .. } => {
                if shortfall.available().nanos() > 0 {
                    "insufficient_budget"
                } else {
                    "budget_exceeded"
                }
            }
            Self::BudgetHeld { .. } | Self::LineFull => "budget_held",
            Self::RequestQuota { .. } => "request_quota_exceeded",
            Self::RateLimited { .. } => "rate_limit_exceeded",
            Self::MaxCost { .. } => "max_cost_exceeded",
            Self::Unpriceable(_) => "unpriceable",
            Self::Mispriced { .. } => "mispriced",
            Self::Ledger(_) => "ledger_unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::BreakerOpen { .. } => "provider_paused",
            Self::Unreachable { .. } => "upstream_unreachable",
            Self::Timeout { .. } => "upstream_timeout",
            Self::BrokenAnswer { .. } => "upstream_broken",
            Self::CredentialsRejected { .. } => "provider_credentials_rejected",
            Self::Upstream { .. } => "upstream_error",
        }
    }

    /// What the caller is told. It may repeat what callers and providers wrote, so it has an end.
    pub(super) fn message(&self) -> String {
        cut(&self.to_string(), MESSAGE_CHARS_MAX)
    }

    /// The error object, as the SDKs of the caller's endpoint family read it; Lava's own clients read `code` and `message` of the same.
    pub(super) fn body(&self, shape: RequestShape, request: Option<&RequestId>) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), self.code().into());
        error.insert("message".to_owned(), self.message().into());
        error.insert("type".to_owned(), self.kind().into());
        let param = if let Self::BadField { field, .. } = self { Value::from(shown(field)) } else { Value::Null };
        error.insert("param".to_owned(), param);
        self.details(&mut error);
        match shape {
            RequestShape::Openai => json!({ "error": error }),
            RequestShape::Anthropic => json!({ "type": "error", "error": error, "request_id": request.map(RequestId::as_str) }),
        }
    }

    pub(super) fn headers(&self, shape: RequestShape) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Self::RateLimited { state, .. } = self {
            rate_headers(state, shape, &mut headers);
        }
        let mut wait = |seconds: u64| {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.clamp(1, RETRY_AFTER_S_MAX)));
        };
        match self {
            Self::InvalidKey(_) | Self::UnknownKey => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::RateLimited { wait_ms, .. } => {
                wait(wait_ms.div_ceil(1_000));
                headers.insert(RETRY_AFTER_MS, HeaderValue::from((*wait_ms).min(RETRY_AFTER_S_MAX * 1_000)));
            }
            // Those who are refused together shall not all come back together.
            Self::BudgetHeld { .. } | Self::LineFull | Self::BodiesFull { .. } | Self::Busy => {
                wait(1 + u64::from(getrandom::u32().unwrap_or(0) % 3))
            }
            Self::Ledger(_) | Self::ShuttingDown => wait(1),
            Self::TooManyUnknownKeys { wait_s } | Self::BreakerOpen { wait_s, .. } => wait(*wait_s),
            Self::Upstream { retry_after_s: Some(seconds), is_charged: false, .. } if *seconds <= RETRY_AFTER_S_MAX => wait(*seconds),
            // An answer that did not come may have been billed: trying again without thinking would pay for each of them.
            Self::Unreachable { .. } | Self::Upstream { retry_after_s: None, is_charged: false, .. } => {}
            _ => {
                if matches!(self, Self::Encoded(_)) {
                    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
                }
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
        }
        headers
    }

    /// Whether coming again does not help.
    pub(super) fn is_final(&self) -> bool {
        self.headers(RequestShape::Openai).contains_key(SHOULD_RETRY)
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
            Self::CredentialsMissing { provider, env, .. } | Self::CredentialsRejected { provider, env, .. } => {
                put("provider", json!(provider));
                put("variables", json!(env));
            }
            Self::Upstream { provider, status, retry_after_s, .. } => {
                put("provider", json!(provider));
                put("upstream_status", json!(status));
                put("retry_after_s", json!(retry_after_s.filter(|seconds| *seconds <= RETRY_AFTER_S_MAX)));
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

impl From<BadRequest> for GatewayError {
    fn from(error: BadRequest) -> Self {
        match &error {
            BadRequest::NotJson(_) => Self::BadRequest(error.to_string()),
            BadRequest::Field { field, .. } => Self::BadField { field: (*field).to_owned(), message: error.to_string() },
            BadRequest::Member(_) => Self::BadField { field: "messages".to_owned(), message: error.to_string() },
            BadRequest::LookAlike { name, .. } => Self::BadField { field: name.clone(), message: error.to_string() },
            BadRequest::Hosted { field, .. } => Self::BadField { field: (*field).to_owned(), message: error.to_string() },
            BadRequest::Tool { .. } => Self::BadField { field: "tools".to_owned(), message: error.to_string() },
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
        put("unverified_shown_by", json!({"command": HOLDS_COMMAND, "endpoint": "/v1/lava_mcp/holds"}));
    }
    put("resets_at", json!(shortfall.resets_at.map(|at| at.to_string())));
}
