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
    /// It may help; nobody said when.
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
                headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).clamp(1, RETRY_AFTER_S_MAX)));
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

    fn outlook(&self) -> Outlook {
        let seconds = |seconds: u64| Outlook::Wait { ms: seconds.saturating_mul(1_000), is_told_in_ms: false };
        match self {
            Self::RateLimited { wait_ms, .. } => Outlook::Wait { ms: *wait_ms, is_told_in_ms: true },
            // Those who are refused together must not all come back together.
            Self::BudgetHeld { .. } | Self::LineFull | Self::BodiesFull { .. } | Self::Busy => {
                seconds(1 + u64::from(getrandom::u32().unwrap_or(0) % 3))
            }
            Self::Ledger(_) | Self::ShuttingDown => seconds(1),
            Self::TooManyUnknownKeys { wait_s } | Self::BreakerOpen { wait_s, .. } => seconds(*wait_s),
            Self::Upstream { status, said, is_charged: false, .. } => of_provider(*status, said),
            // Nothing was sent, so nothing was billed.
            Self::Unreachable { .. } => Outlook::Open,
            // An answer that did not come may have been billed: trying again without thinking would pay for each of them.
            _ => Outlook::Final,
        }
    }
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
    use serde_json::json;

    use super::*;
    use crate::gateway::upstream_error::{Reason, Wait};

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
