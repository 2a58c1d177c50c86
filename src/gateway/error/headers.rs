//! Whether coming again helps, and when, in the headers that the official SDKs obey.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{GatewayError, RETRY_AFTER_S_MAX, rate_headers};
use crate::{
    domain::RequestShape,
    gateway::{request_ids, unpack::ACCEPTED, upstream_error::Said},
};

/// Tells the official SDKs whether to try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Whether and when to come again.
enum Outlook {
    /// Coming again does not help.
    Final,
    /// It may help after this many milliseconds.
    Wait { ms: u64, is_told_in_ms: bool },
    /// It may help; the provider did not say when, and the SDKs have times of their own.
    Open,
}

impl GatewayError {
    pub(in crate::gateway) fn headers(&self, shape: RequestShape) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::RateLimited { state, .. } => rate_headers(state, shape, &mut headers),
            Self::InvalidKey(_) | Self::UnknownKey => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Encoded(_) => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
            }
            Self::Upstream { said, .. } | Self::CredentialsRejected { said, .. } => {
                request_ids::name_upstream(said.request_id.clone(), &mut headers);
            }
            _ => {}
        }
        match self.outlook() {
            Outlook::Final => {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            Outlook::Wait { ms, is_told_in_ms } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(ms)));
                if is_told_in_ms {
                    headers.insert(RETRY_AFTER_MS, HeaderValue::from(ms.min(RETRY_AFTER_S_MAX * 1_000)));
                }
            }
            Outlook::Open => {}
        }
        headers
    }

    /// Whether coming again does not help.
    pub(in crate::gateway) fn is_final(&self) -> bool {
        matches!(self.outlook(), Outlook::Final)
    }

    /// When to come again, as the header says it; nothing where that does not help or was not said.
    pub(super) fn wait_s(&self) -> Option<u64> {
        if let Outlook::Wait { ms, .. } = self.outlook() { Some(whole_seconds(ms)) } else { None }
    }

    fn outlook(&self) -> Outlook {
        let seconds = |seconds: u64| Outlook::Wait { ms: seconds.saturating_mul(1_000), is_told_in_ms: false };
        match self {
            Self::RateLimited { wait_ms, .. } => Outlook::Wait { ms: *wait_ms, is_told_in_ms: true },
            // Those who are refused together must not all come back together. Of what could not be reached nothing was billed.
            Self::BudgetHeld { .. } | Self::LineFull | Self::BodiesFull { .. } | Self::Busy | Self::Unreachable { .. } => {
                seconds(1 + u64::from(getrandom::u32().unwrap_or(0) % 3))
            }
            Self::Ledger(_) | Self::ShuttingDown => seconds(1),
            Self::TooManyUnknownKeys { wait_s } | Self::BreakerOpen { wait_s, .. } => seconds(*wait_s),
            Self::Upstream { status, said, is_charged: false, .. } => of_provider(*status, said),
            // An answer that did not come may have been billed: trying again without thinking would pay for each of them.
            _ => Outlook::Final,
        }
    }
}

fn whole_seconds(ms: u64) -> u64 {
    ms.div_ceil(1_000).clamp(1, RETRY_AFTER_S_MAX)
}

/// What a provider's refusal says about coming again; where it says nothing, what its status says.
fn of_provider(status: u16, said: &Said) -> Outlook {
    let waits = said.wait.map(|wait| (wait.ms <= RETRY_AFTER_S_MAX * 1_000, wait));
    match (said.should_retry, waits) {
        (Some(false), _) | (_, Some((false, _))) => Outlook::Final,
        _ if said.reason.is_quota() => Outlook::Final,
        (_, Some((true, wait))) => Outlook::Wait { ms: wait.ms, is_told_in_ms: wait.is_told_in_ms },
        (Some(true), None) => Outlook::Open,
        (None, None) if status >= 500 || matches!(status, 408 | 409 | 425 | 429) => Outlook::Open,
        (None, None) => Outlook::Final,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{
            Cycle, Money, RequestLimit, SpendLimit,
            ledger::{RateState, Shortfall, Whose},
        },
        gateway::upstream_error::{Reason, Wait},
        store::StoreError,
    };

    #[test]
    fn every_refusal_is_final_or_states_a_wait() {
        let text = || "x".to_owned();
        let limit = SpendLimit { amount: Money::ZERO, cycle: Cycle::Daily };
        let shortfall = || {
            let (spent, held, asked, unverified) = (Money::ZERO, Money::ZERO, Money::ZERO, Money::ZERO);
            Box::new(Shortfall { whose: Whose::Key, limit, spent, held, asked, unverified, resets_at: None })
        };
        let state = RateState { limit: 1, remaining: 0, reset_us: 0, at: Timestamp::UNIX_EPOCH };
        let said = || Box::<Said>::default();
        let last = [
            GatewayError::InvalidKey("x"),
            GatewayError::UnknownKey,
            GatewayError::KeyPaused,
            GatewayError::LiveKeyInSandbox,
            GatewayError::ShapeNotAllowed { allowed: "a", received: "b" },
            GatewayError::ModelNotAllowed { model: text(), allowed: Vec::new() },
            GatewayError::ProviderNotAllowed { provider: text(), allowed: Vec::new() },
            GatewayError::Forbidden("x"),
            GatewayError::BadRequest(text()),
            GatewayError::BadField { field: text(), message: text() },
            GatewayError::NotFound(text()),
            GatewayError::NoRoute { path: text(), hint: "x" },
            GatewayError::LoginCode,
            GatewayError::AlreadyWrittenOff(text()),
            GatewayError::MethodNotAllowed { path: text(), method: text() },
            GatewayError::TooLarge { limit_mib: 1 },
            GatewayError::TooSlow,
            GatewayError::Encoded(text()),
            GatewayError::ModelNotFound { model: text(), nearest: Vec::new() },
            GatewayError::ModelNotOffered(text()),
            GatewayError::CredentialsMissing { model: text(), provider: text(), env: Vec::new(), instead: text() },
            GatewayError::VaultLocked { provider: text(), reason: text() },
            GatewayError::AddressMissing { provider: text(), instead: text() },
            GatewayError::NotTranslated(text()),
            GatewayError::TargetNotSupported { target: text(), hint: text() },
            GatewayError::Budget { shortfall: shortfall(), affordable_output: None },
            GatewayError::RequestQuota { limit: RequestLimit { count: 1, cycle: Cycle::Daily }, resets_at: None },
            GatewayError::Mispriced { provider: text(), model: text() },
            GatewayError::MaxCost { needed: Money::ZERO, max_cost: Money::ZERO },
            GatewayError::Unpriceable(text()),
            GatewayError::Timeout { provider: text() },
            GatewayError::BrokenAnswer { provider: text(), detail: text() },
            GatewayError::CredentialsRejected { provider: text(), status: 401, env: Vec::new(), said: said() },
            GatewayError::Upstream { provider: text(), status: 504, said: said(), is_charged: true },
        ];
        let waits = [
            GatewayError::TooManyUnknownKeys { wait_s: 600 },
            GatewayError::Busy,
            GatewayError::BodiesFull { is_own: true },
            GatewayError::BodiesFull { is_own: false },
            GatewayError::BudgetHeld { shortfall: shortfall() },
            GatewayError::LineFull,
            GatewayError::RateLimited { wait_ms: 600_000, state },
            GatewayError::Ledger(StoreError::Unavailable(text())),
            GatewayError::ShuttingDown,
            GatewayError::BreakerOpen { provider: text(), wait_s: 300, is_for_all: true },
            GatewayError::Unreachable { provider: text(), detail: text() },
        ];
        for shape in [RequestShape::Openai, RequestShape::Anthropic] {
            for error in &last {
                let headers = error.headers(shape);
                assert_eq!(headers.get(SHOULD_RETRY).unwrap(), "false", "{error}");
                assert!(!headers.contains_key(header::RETRY_AFTER) && error.is_final(), "{error}");
            }
            for error in &waits {
                let headers = error.headers(shape);
                let wait: u64 = headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
                assert!((1..=60).contains(&wait) && !headers.contains_key(SHOULD_RETRY) && !error.is_final(), "{error}");
            }
        }
    }

    #[test]
    fn a_providers_refusal_is_final_or_not() {
        let wait = |ms: u64| Some(Wait { ms, is_told_in_ms: true });
        let outlook = |status: u16, code: &str, should_retry: Option<bool>, wait: Option<Wait>, is_charged: bool| {
            let reason = Reason { code: Some(json!(code)), ..Reason::default() };
            let said = Box::new(Said { reason, should_retry, wait, request_id: None });
            let headers = GatewayError::Upstream { provider: "p".to_owned(), status, said, is_charged }.headers(RequestShape::Openai);
            let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            (text(&SHOULD_RETRY), text(&header::RETRY_AFTER), text(&RETRY_AFTER_MS))
        };
        let (last, open) = ((Some("false".to_owned()), None, None), (None, None, None));
        for status in [400, 401, 402, 403, 404, 405, 410, 413, 422, 451] {
            assert_eq!(outlook(status, "x", None, None, false), last, "{status}");
        }
        for status in [408, 409, 425, 429, 500, 502, 503, 529] {
            assert_eq!(outlook(status, "x", None, None, false), open, "{status}");
            assert_eq!(outlook(status, "x", Some(false), None, false), last, "{status}");
            assert_eq!(outlook(status, "x", None, None, true), last, "{status}");
            assert_eq!(outlook(status, "x", None, wait(61_000), false), last, "{status}");
            assert_eq!(outlook(status, "x", None, wait(1_200), false), (None, Some("2".to_owned()), Some("1200".to_owned())), "{status}");
        }
        assert_eq!(outlook(429, "insufficient_quota", None, wait(5), false), last, "waiting does not bring money");
        assert_eq!(outlook(400, "x", Some(true), None, false), open);
    }
}
