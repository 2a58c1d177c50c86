//! How long a provider asks to wait: in seconds, whole or not, in milliseconds, or until a date. What is past or cannot be read is as if it were not there.

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};

/// A wait that a provider asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) struct Wait {
    pub(in crate::gateway) ms: u64,
    /// Whether it said milliseconds, and the caller is told them too.
    pub(in crate::gateway) is_told_in_ms: bool,
}

/// What of a limit is left, and when it is whole again, of requests and of tokens.
const LIMITS: [(&str, &str); 4] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
];

impl Wait {
    /// The wait in the head of an answer. Dates are held against the provider's own clock where it shows it.
    pub(super) fn read(headers: &HeaderMap, now: Timestamp) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let now = text("date").and_then(date).unwrap_or(now);
        if let Some(ms) = text("retry-after-ms").and_then(|text| decimal(text, "ms")) {
            return Some(Self { ms, is_told_in_ms: true });
        }
        let stated = text("retry-after").and_then(|text| decimal(text, "s").or_else(|| until(date(text)?, now)));
        let used_up = || {
            let resets = LIMITS.iter().filter(|(left, _)| text(left) == Some("0")).filter_map(|(_, reset)| {
                let reset = text(reset)?;
                reset.parse().ok().map_or_else(|| reset.parse().ok().and_then(millis), |at| until(at, now))
            });
            resets.max()
        };
        stated.or_else(used_up).map(|ms| Self { ms, is_told_in_ms: false })
    }
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
    if whole.trim_start_matches('0').len() > 15 {
        return Some(u64::MAX);
    }
    let text = if fraction.is_empty() { format!("{whole}{unit}") } else { format!("{whole}.{fraction}{unit}") };
    millis(text.parse().ok()?)
}

/// Whole milliseconds, rounded up; `None` for what is past.
fn millis(duration: SignedDuration) -> Option<u64> {
    u64::try_from(duration.as_nanos()).ok().map(|nanos| nanos.div_ceil(1_000_000))
}

fn date(text: &str) -> Option<Timestamp> {
    httpdate::parse_http_date(text).ok().and_then(|at| Timestamp::try_from(at).ok())
}

fn until(at: Timestamp, now: Timestamp) -> Option<u64> {
    millis(at.duration_since(now)).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Option<(u64, bool)> {
        let headers = pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        Wait::read(&headers, "1994-11-06T08:49:17Z".parse().unwrap()).map(|wait| (wait.ms, wait.is_told_in_ms))
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
            ([("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "784111777")], None),
        ] {
            assert_eq!(read(&pairs), ms.map(|ms| (ms, false)), "{pairs:?}");
        }
        assert_eq!(
            read(&[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "9s"), ("retry-after", "2")]),
            Some((2_000, false))
        );
    }
}
