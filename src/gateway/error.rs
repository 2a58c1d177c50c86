//! Every way a request can be refused, and what the caller is told: status, code, message, and beside this file body and headers. Nowhere else.
//!
//! Official SDKs retry 408, 409, 429 and 5xx on their own, and obey `x-should-retry`. So a final refusal carries `x-should-retry: false`, and a temporary one
//! says how long to wait, at most a minute.

mod body;
mod headers;
mod rate_limit;
mod sentences;

use http::StatusCode;

use super::{
    authorise::BAD_KEY,
    lengths::{cut, listed},
    unpack::ACCEPTED,
    upstream_error::Said,
};
use crate::{
    domain::{
        Money, RequestLimit, invocation,
        ledger::{RateState, Shortfall},
    },
    store::StoreError,
    translate::BadRequest,
};
pub(super) use rate_limit::rate_headers;
use sentences::{bodies_sentence, breaker_sentence, budget_sentence, how_to_set, nearest_sentence, reason_sentence, resets_sentence};

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
    #[error("Too many unknown API keys came from your address; try again in {wait_s} s.")]
    TooManyUnknownKeys { wait_s: u64 },
    #[error("This key is paused; its owner can set it active again.")]
    KeyPaused,
    #[error(
        "This gateway is a sandbox, and this key is a live one: its limits are for real money, so nothing is counted against them here. Make a key for the sandbox \
         with `lava-mcp --sandbox keys create NAME --spend-limit 5/day`, or use a gateway that is not a sandbox."
    )]
    LiveKeyInSandbox,
    #[error(
        "This key only allows {allowed} request shape, but received {received}. `lava-mcp keys create NAME --shape {received} --spend-limit 5/day` makes a key for it."
    )]
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
    #[error("No {0} was found.")]
    NotFound(String),
    #[error("This gateway has no route {path}. {hint}")]
    NoRoute { path: String, hint: &'static str },
    #[error("This login code is not known: it may have been used before, or be older than a minute. Start the login again.")]
    LoginCode,
    #[error("The charge for {0} was written off before.")]
    AlreadyWrittenOff(String),
    #[error("{path} does not accept {method}.")]
    MethodNotAllowed { path: String, method: String },
    #[error("The body is larger than {limit_mib} MiB; send less, or refer to files by URL.")]
    TooLarge { limit_mib: usize },
    #[error(
        "The body did not arrive in time: no byte for 30 seconds, or not all of it within 60. Send it again over a faster connection, or send less."
    )]
    TooSlow,
    #[error("Too many searches are waiting. Try again in a moment.")]
    Busy,
    #[error("{}", bodies_sentence(*is_own))]
    BodiesFull { is_own: bool },
    #[error("This gateway cannot read the Content-Encoding \"{0}\". Send the body without one, or as one of: {ACCEPTED}.")]
    Encoded(String),
    #[error("No model is called \"{model}\".{}", nearest_sentence(nearest))]
    ModelNotFound { model: String, nearest: Vec<String> },
    /// It is known, and cannot be bought here now.
    #[error("{0}")]
    ModelNotOffered(String),
    /// `instead` says what can be bought, as sentences that begin with a space.
    #[error("{model} is sold by {provider}, and no key for {provider} is set. {}{instead}", how_to_set(provider, env))]
    CredentialsMissing { model: String, provider: String, env: Vec<String>, instead: String },
    #[error("The key for {provider} is kept in the vault, which cannot be read: {reason}")]
    VaultLocked { provider: String, reason: String },
    #[error(
        "{provider} has a separate address for each customer. Write yours into the config file, as base_url under [providers.{provider}], with a price.{instead}"
    )]
    AddressMissing { provider: String, instead: String },
    #[error("{0}")]
    NotTranslated(String),
    #[error("{target} is not an endpoint this gateway can call and price. {hint}")]
    TargetNotSupported { target: String, hint: String },
    #[error("{}", budget_sentence(shortfall, *affordable_output))]
    Budget { shortfall: Box<Shortfall>, affordable_output: Option<u64> },
    #[error("The rest of the limit ({} USD) is set aside by requests in flight; it will be free again when they end.", shortfall.held)]
    BudgetHeld { shortfall: Box<Shortfall> },
    #[error("Too many requests are waiting for money of this key that others have set aside; try again in a moment.")]
    LineFull,
    #[error("The limit of {limit} is used up.{}", resets_sentence(*resets_at))]
    RequestQuota { limit: RequestLimit, resets_at: Option<jiff::Timestamp> },
    #[error("Too many requests a minute; the next one is allowed in {wait_ms} ms.")]
    RateLimited { wait_ms: u64, state: RateState },
    #[error(
        "{provider}/{model} is quarantined: it billed more than its prices allow, so keys with a limit cannot buy it until a person reinstates it. `lava-mcp quarantined` shows what happened."
    )]
    Mispriced { provider: String, model: String },
    #[error(
        "This call may cost up to {needed} USD, more than its max_cost of {max_cost} USD. Raise max_cost, lower max_tokens, or shorten the input."
    )]
    MaxCost { needed: Money, max_cost: Money },
    #[error("The most this request can cost is not known: {0}.")]
    Unpriceable(String),
    #[error("The ledger does not answer, so nothing can be spent: {0}")]
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
    #[error("{provider} did not accept the key set for it (it said {status}{}). {}", reason_sentence(&said.reason.message), how_to_set(provider, env))]
    CredentialsRejected { provider: String, status: u16, env: Vec<String>, said: Box<Said> },
    #[error("{provider} answered {status}: {}", said.message())]
    Upstream {
        provider: String,
        status: u16,
        said: Box<Said>,
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
            Self::CredentialsRejected { provider, status, .. } => {
                format!("{provider} did not accept the key set for it (it said {status})")
            }
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
            Self::NotFound(_) | Self::NoRoute { .. } | Self::ModelNotFound { .. } | Self::ModelNotOffered(_) => StatusCode::NOT_FOUND,
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
            Self::NotFound(_) | Self::NoRoute { .. } => "not_found",
            Self::AlreadyWrittenOff(_) => "already_written_off",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::TooLarge { .. } => "request_too_large",
            Self::TooSlow => "request_timeout",
            Self::Busy => "busy",
            Self::BodiesFull { .. } => "too_many_bytes_in_flight",
            Self::Encoded(_) => "content_encoding_not_supported",
            Self::ModelNotFound { .. } | Self::ModelNotOffered(_) => "model_not_found",
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
        cut(&invocation::in_text(&self.to_string()), MESSAGE_CHARS_MAX)
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
