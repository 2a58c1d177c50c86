//! Where a key's rate limit stands, in the headers that the official SDKs know.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::domain::{RequestShape, ledger::RateState};

/// Adds the headers of an endpoint family.
pub(in crate::gateway) fn rate_headers(state: &RateState, shape: RequestShape, headers: &mut HeaderMap) {
    let until_full = std::time::Duration::from_micros(state.reset_us);
    let (names, reset) = match shape {
        RequestShape::Openai => {
            (["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"], short(until_full))
        }
        RequestShape::Anthropic => (
            ["anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"],
            state.at.checked_add(until_full).unwrap_or(state.at).to_string(),
        ),
    };
    let [limit, remaining, reset_at] = names.map(HeaderName::from_static);
    headers.insert(limit, HeaderValue::from(state.limit));
    headers.insert(remaining, HeaderValue::from(state.remaining));
    headers.extend(HeaderValue::from_str(&reset).ok().map(|reset| (reset_at, reset)));
}

/// A duration as OpenAI writes it, such as `1s` or `6m0s`.
fn short(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, 0) => format!("{}ms", duration.as_millis()),
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
