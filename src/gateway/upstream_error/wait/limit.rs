//! Limits that a provider says are used up, and when they are whole again.

use http::HeaderMap;
use jiff::Timestamp;

use super::{date, decimal, millis, texts, until};

/// What of a limit is left, and when it is whole again.
const LIMITS: [(&str, &str); 10] = [
    // OpenAI, Groq, xAI and those who do as they.
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    // Cerebras.
    ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
    // OpenRouter in epoch milliseconds, GitHub in epoch seconds.
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    // The IETF's draft before its sixth version, as Kong has it.
    ("ratelimit-remaining", "ratelimit-reset"),
];
/// All of them in one header: the IETF's draft since its seventh version.
const RATE_LIMIT: &str = "ratelimit";
/// A larger number counts seconds from 1970; one that is even too large for that, milliseconds.
const SECONDS_MAX: u64 = 100_000_000;
const MILLIS_MAX: u64 = 100_000_000_000;

/// Until the last of the limits that are used up is whole again, in milliseconds.
pub(super) fn used_up(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let first = |name: &str| texts(headers, name).next();
    let pairs = LIMITS.iter().filter(|(left, _)| first(left).is_some_and(is_nothing)).filter_map(|(_, at)| reset(first(at)?, now));
    let listed = texts(headers, RATE_LIMIT).filter_map(|text| in_list(text, now));
    pairs.chain(listed).max()
}

/// `"default";r=0;t=9`, several of them with a comma between, or in the older form `limit=10, remaining=0, reset=9`.
fn in_list(text: &str, now: Timestamp) -> Option<u64> {
    let is_one = text.contains("remaining=");
    let items = text.split(|c| c == ',' && !is_one);
    let resets = items.filter_map(|item| {
        let parameters = || item.split([';', ',']).filter_map(|parameter| parameter.trim().split_once('='));
        let of = |names: [&str; 2]| parameters().find(|(name, _)| names.contains(name)).map(|(_, value)| value.trim());
        reset(of(["t", "reset"])?, now).filter(|_| of(["r", "remaining"]).is_none_or(is_nothing))
    });
    resets.max()
}

fn is_nothing(left: &str) -> bool {
    left.parse::<f64>().is_ok_and(|left| left <= 0.0)
}

/// A date, a number of seconds from now or from 1970, milliseconds from 1970, or a duration with units.
fn reset(text: &str, now: Timestamp) -> Option<u64> {
    if let Some(at) = date(text) {
        return until(at, now);
    }
    let whole = text.parse().ok().filter(|number| *number > MILLIS_MAX);
    if let Some(in_ms) = whole {
        return until(epoch(in_ms)?, now);
    }
    let Some(ms) = decimal(text, "s") else { return text.parse().ok().and_then(millis) };
    if ms / 1_000 > SECONDS_MAX { until(epoch(ms)?, now) } else { Some(ms) }
}

fn epoch(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms.try_into().ok()?).ok()
}
