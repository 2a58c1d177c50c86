//! How long a provider asks to wait: in seconds, whole or not, in milliseconds, until a date, or until a limit is whole again. What is past or cannot be read is as if it
//! were not there.

mod limit;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use serde_json::Value;

/// Where OpenRouter quotes the head of the provider behind it.
const QUOTED_HEAD: &str = "/error/metadata/headers";

/// A wait that a provider asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Wait {
    pub(in crate::gateway) ms: u64,
    /// Whether it said milliseconds, and the caller is told them too.
    pub(in crate::gateway) is_told_in_ms: bool,
}

impl Wait {
    /// The wait that an answer states, in its head or in its body. Dates are held against the provider's own clock where it shows it.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: Option<&Value>, now: Timestamp) -> Option<Self> {
        let now = texts(headers, "date").find_map(date).unwrap_or(now);
        if let Some(ms) = texts(headers, "retry-after-ms").find_map(|text| decimal(text, "ms")) {
            return Some(Self { ms, is_told_in_ms: true });
        }
        let stated = texts(headers, "retry-after").find_map(|text| decimal(text, "s").or_else(|| until(date(text)?, now)));
        // A limit that is used up says nothing about a request that is wrong.
        let is_busy = matches!(status.as_u16(), 429 | 503 | 529);
        let used_up = || limit::used_up(headers, now).filter(|_| is_busy);
        let told = stated.or_else(|| delay(body?)).or_else(used_up).map(|ms| Self { ms, is_told_in_ms: false });
        told.or_else(|| Self::read(status, &quoted_head(body?)?, None, now))
    }
}

/// Every line of a header that is text.
fn texts<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::trim)
}

/// What Google says in the details of an error, such as `"retryDelay": "31s"`.
fn delay(body: &Value) -> Option<u64> {
    match body {
        Value::Object(object) => {
            let own = object.get("retryDelay").and_then(|delay| delay.as_str()?.parse().ok()).and_then(millis);
            own.or_else(|| object.values().find_map(delay))
        }
        Value::Array(items) => items.iter().find_map(delay),
        _ => None,
    }
}

fn quoted_head(body: &Value) -> Option<HeaderMap> {
    let header = |(name, value): (&String, &Value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value.as_str()?).ok()?));
    Some(body.pointer(QUOTED_HEAD)?.as_object()?.iter().filter_map(header).collect())
}

/// A number without a sign, with or without a fraction, in this unit.
fn decimal(text: &str, unit: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    // Nobody waits for longer than a number of seconds that fits; and nanoseconds are enough.
    let fraction = fraction.get(..fraction.len().min(9))?;
    if whole.trim_start_matches('0').len() > 11 {
        return Some(u64::MAX);
    }
    let text = if fraction.is_empty() { format!("{whole}{unit}") } else { format!("{whole}.{fraction}{unit}") };
    millis(text.parse().ok()?)
}

/// Whole milliseconds, rounded up; `None` for what is past.
fn millis(duration: SignedDuration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok().map(|nanos| nanos.div_ceil(1_000_000))
}

/// A date of HTTP, of mail or of ISO 8601.
fn date(text: &str) -> Option<Timestamp> {
    const OF_MAIL: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    let text = text.strip_suffix("UTC").map_or_else(|| text.to_owned(), |rest| format!("{rest}GMT"));
    let of_http = httpdate::parse_http_date(&text).ok().and_then(|at| Timestamp::try_from(at).ok());
    of_http.or_else(|| OF_MAIL.parse_timestamp(&text).ok()).or_else(|| text.parse().ok())
}

fn until(at: Timestamp, now: Timestamp) -> Option<u64> {
    millis(at.duration_since(now)).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Option<(u64, bool)> {
        let headers = pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        read_all(StatusCode::TOO_MANY_REQUESTS, &headers, None)
    }

    fn read_all(status: StatusCode, headers: &HeaderMap, body: Option<&Value>) -> Option<(u64, bool)> {
        Wait::read(status, headers, body, "1994-11-06T08:49:17Z".parse().unwrap()).map(|wait| (wait.ms, wait.is_told_in_ms))
    }

    #[test]
    fn every_form_of_a_wait_is_read() {
        for (text, ms) in [
            ("7", 7_000),
            ("0", 0),
            (" 7 ", 7_000),
            ("1.5", 1_500),
            ("0.0001", 1),
            ("1.12345678901234567", 1_124),
            ("2.", 2_000),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 20_000),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 20_000),
            ("Sun Nov  6 08:49:37 1994", 20_000),
            ("Sun, 06 Nov 1994 08:49:37 UTC", 20_000),
            ("Sun, 06 Nov 1994 08:49:37 +0000", 20_000),
            ("Sun, 06 Nov 1994 10:49:37 +0200", 20_000),
            ("06 Nov 1994 08:49:37 GMT", 20_000),
            ("1994-11-06T08:49:37Z", 20_000),
            ("1994-11-06T08:49:37.5+00:00", 20_500),
            ("784111777500", u64::MAX),
            ("99999999999999999999", u64::MAX),
        ] {
            assert_eq!(read(&[("retry-after", text)]), Some((ms, false)), "{text}");
        }
        for text in [
            "",
            "-5",
            "+5",
            "soon",
            "5m",
            "5s",
            "1e3",
            "inf",
            "nan",
            "0x10",
            ".5",
            "1,5",
            "Sun, 06 Nov 1994 08:49:17 GMT",
            "Sun, 06 Nov 1994 08:49:07 GMT",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:07Z",
            "UTC",
        ] {
            assert_eq!(read(&[("retry-after", text)]), None, "{text}");
        }
        assert_eq!(read(&[("retry-after-ms", "1500"), ("retry-after", "2")]), Some((1_500, true)));
        assert_eq!(read(&[("retry-after-ms", "250.5")]), Some((251, true)));
        assert_eq!(read(&[("retry-after-ms", "-1"), ("retry-after", "2")]), Some((2_000, false)));
        // A provider whose clock is a day ahead means its own time.
        let (date, then) = ("Mon, 07 Nov 1994 08:49:27 GMT", "Mon, 07 Nov 1994 08:49:37 GMT");
        assert_eq!(read(&[("date", date), ("retry-after", then)]), Some((10_000, false)));
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_it_is_whole_again() {
        for (pairs, ms) in [
            ([("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1m0.5s")], Some(60_500)),
            ([("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "120ms")], Some(120)),
            ([("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", "1994-11-06T08:49:20Z")], Some(3_000)),
            ([("x-ratelimit-remaining-requests", "3"), ("x-ratelimit-reset-requests", "1m0s")], None),
            ([("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "784111777")], Some(20_000)),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111777")], Some(20_000)),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111777500")], Some(20_500)),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "20")], Some(20_000)),
            ([("x-ratelimit-remaining", "0.0"), ("x-ratelimit-reset", "1.5")], Some(1_500)),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(20_000)),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111757")], None),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999999999999")], None),
            ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "soon")], None),
            ([("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "20")], None),
            ([("ratelimit-remaining", "0"), ("ratelimit-reset", "9")], Some(9_000)),
            ([("ratelimit-remaining", "5"), ("ratelimit-reset", "9")], None),
            ([("x", ""), ("ratelimit", "\"default\";r=0;t=9")], Some(9_000)),
            ([("x", ""), ("ratelimit", "\"a\";r=0;t=9, \"b\"; r=0; t=12, \"c\";r=7;t=99")], Some(12_000)),
            ([("x", ""), ("ratelimit", "\"default\";r=3;t=9")], None),
            ([("x", ""), ("ratelimit", "limit=100, remaining=0, reset=9")], Some(9_000)),
            ([("x", ""), ("ratelimit", "limit=100, remaining=4, reset=9")], None),
            (
                [("anthropic-ratelimit-input-tokens-remaining", "0"), ("anthropic-ratelimit-input-tokens-reset", "1994-11-06T08:49:20Z")],
                Some(3_000),
            ),
            (
                [("anthropic-ratelimit-output-tokens-remaining", "0"), ("anthropic-ratelimit-output-tokens-reset", "1994-11-06T08:49:20Z")],
                Some(3_000),
            ),
            ([("retry-after", "soon"), ("retry-after", "9")], Some(9_000)),
            ([("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT"), ("retry-after", "9")], Some(9_000)),
        ] {
            assert_eq!(read(&pairs), ms.map(|ms| (ms, false)), "{pairs:?}");
        }
        assert_eq!(
            read(&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "9s"), ("retry-after", "2")]),
            Some((2_000, false))
        );
    }

    #[test]
    fn a_body_states_a_wait_too() {
        let info = |delay: &str| json!({"error": {"code": 429, "details": [{"@type": "QuotaFailure"}, {"@type": "RetryInfo", "retryDelay": delay}]}});
        let quoted = json!({"error": {"metadata": {"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "784111777000"}}}});
        let busy = StatusCode::TOO_MANY_REQUESTS;
        for (status, body, ms) in [
            (busy, info("31s"), Some(31_000)),
            (busy, info("0.847655010s"), Some(848)),
            (busy, json!([info("31s")]), Some(31_000)),
            (StatusCode::BAD_REQUEST, info("31s"), Some(31_000)),
            (busy, info("soon"), None),
            (busy, info("-1s"), None),
            (busy, json!({"retryDelay": 31}), None),
            (busy, quoted.clone(), Some(20_000)),
            (StatusCode::BAD_REQUEST, quoted, None),
        ] {
            assert_eq!(read_all(status, &HeaderMap::new(), Some(&body)), ms.map(|ms| (ms, false)), "{body}");
        }
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, HeaderValue::from_static("2"))]);
        assert_eq!(read_all(busy, &headers, Some(&info("31s"))), Some((2_000, false)));
    }
}
