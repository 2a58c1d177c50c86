//! Limits and dates as people type them: what is understood, and what is refused with which words.

use lava_mcp::domain::{Cycle, Money, RateLimit, RequestLimit, SpendLimit, parse_expiry};

#[test]
fn a_spend_limit_is_read_as_people_write_it() {
    for (text, short) in [
        ("5.00/daily", "5.00/daily"),
        (" 5 / Daily ", "5.00/daily"),
        ("5/day", "5.00/daily"),
        ("5/d", "5.00/daily"),
        ("$5/d", "5.00/daily"),
        ("$5 daily", "5.00/daily"),
        ("$ 5 / day", "5.00/daily"),
        ("5$/day", "5.00/daily"),
        ("US$5/day", "5.00/daily"),
        ("5 usd per day", "5.00/daily"),
        ("5USD/DAY", "5.00/daily"),
        ("usd 5.50 a day", "5.50/daily"),
        ("5 US dollars a day", "5.00/daily"),
        ("5 dollars every day", "5.00/daily"),
        ("5 a day", "5.00/daily"),
        ("5 day", "5.00/daily"),
        (".50/day", "0.50/daily"),
        ("10/week", "10.00/weekly"),
        ("10 weekly", "10.00/weekly"),
        ("10/w", "10.00/weekly"),
        ("50/mo", "50.00/monthly"),
        ("5/month", "5.00/monthly"),
        ("$1_000 per month", "1000.00/monthly"),
        ("$1k/month", "1000.00/monthly"),
        ("1.5k monthly", "1500.00/monthly"),
        ("5 total", "5.00/total"),
        ("5 in total", "5.00/total"),
        ("$5 overall", "5.00/total"),
        ("5 once", "5.00/total"),
        ("0.000000001/daily", "0.000000001/daily"),
        ("5.00 USD (daily)", "5.00/daily"),
    ] {
        let limit = SpendLimit::parse_short(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(limit.to_short(), short, "{text}");
    }
}

#[test]
fn what_is_not_a_spend_limit_says_why() {
    for (text, says) in [
        ("", "write an amount and a cycle"),
        ("daily", "write an amount and a cycle"),
        ("much/daily", "write an amount and a cycle"),
        ("$5", "5.00/daily, 5.00/weekly, 5.00/monthly, or 5.00/total"),
        ("50", "say for how long: 50.00/daily"),
        ("5/", "write an amount and a cycle"),
        ("5//day", "write an amount and a cycle"),
        ("5/daily/x", "write an amount and a cycle"),
        ("5 day day", "write an amount and a cycle"),
        ("5/2 days", "write an amount and a cycle"),
        ("5 6/day", "write an amount and a cycle"),
        ("1e3/day", "write an amount and a cycle"),
        ("+5/day", "write an amount and a cycle"),
        ("5./day", "write an amount and a cycle"),
        ("1.2.3/day", "write an amount such as 5.00"),
        ("٥/day", "write an amount and a cycle"),
        ("5,00/daily", "with a dot"),
        ("1,000/month", "1000.00 or 1.000"),
        ("1,000,000/month", "without commas"),
        ("€5/day", "US dollars"),
        ("5€/day", "US dollars"),
        ("5 EUR daily", "US dollars"),
        ("£5/day", "US dollars"),
        ("50 cents/day", "US dollars"),
        ("50¢/day", "US dollars"),
        ("0/daily", "above zero"),
        ("0.00/day", "above zero"),
        ("-5/day", "above zero"),
        ("$-5/day", "above zero"),
        ("5m", "daily, weekly, monthly or total"),
        ("5/m", "daily, weekly, monthly or total"),
        ("5.00/hourly", "daily, weekly, monthly or total"),
        ("5/year", "daily, weekly, monthly or total"),
        ("5d", "write an amount and a cycle"),
        ("0.0000000001/daily", "at most 9 decimals"),
        ("99999999999/daily", "too large"),
        ("9999999999k/daily", "too large"),
        ("9999999999999999999999999/daily", "too large"),
    ] {
        let error = SpendLimit::parse_short(text).unwrap_err();
        assert!(error.starts_with(&format!("\"{text}\" is not a limit: ")) && error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_request_limit_is_read_as_people_write_it() {
    let limit = |count, cycle| RequestLimit { count, cycle };
    for (text, expected) in [
        ("1000/daily", limit(1_000, Cycle::Daily)),
        ("1000/day", limit(1_000, Cycle::Daily)),
        ("1k/day", limit(1_000, Cycle::Daily)),
        ("1.5K/day", limit(1_500, Cycle::Daily)),
        ("1_000/day", limit(1_000, Cycle::Daily)),
        ("1,000/day", limit(1_000, Cycle::Daily)),
        ("1,000,000 monthly", limit(1_000_000, Cycle::Monthly)),
        ("100 requests per day", limit(100, Cycle::Daily)),
        ("100 calls a week", limit(100, Cycle::Weekly)),
        ("7 total", limit(7, Cycle::Total)),
    ] {
        assert_eq!(RequestLimit::parse_short(text), Ok(expected), "{text}");
    }
    for (text, says) in [
        ("", "1000/daily"),
        ("many/daily", "1000/daily"),
        ("100", "100/daily"),
        ("1.5/day", "whole number"),
        ("1,5k/day", "whole number"),
        ("10,00/day", "whole number"),
        ("$5/day", "whole number"),
        ("-1/day", "whole number"),
        ("0/day", "at least 1"),
        ("60/min", "rate limit"),
        ("60/m", "rate limit"),
        ("99999999999999999999999/day", "whole number"),
    ] {
        let error = RequestLimit::parse_short(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_rate_is_read_as_people_write_it() {
    let rate = |rpm, burst| RateLimit { rpm, burst };
    for (text, expected) in [
        ("60", rate(60, None)),
        ("60/min", rate(60, None)),
        ("60/minute", rate(60, None)),
        ("60 per minute", rate(60, None)),
        ("60 requests a minute", rate(60, None)),
        ("60rpm", rate(60, None)),
        ("60 RPM", rate(60, None)),
        ("1k/min", rate(1_000, None)),
        ("60/10", rate(60, Some(10))),
        ("60 / 10", rate(60, Some(10))),
        ("60/min/10", rate(60, Some(10))),
        ("60rpm, burst 10", rate(60, Some(10))),
        ("60 burst 10", rate(60, Some(10))),
        ("60 a minute with bursts of 10", rate(60, Some(10))),
    ] {
        assert_eq!(RateLimit::parse_short(text), Ok(expected), "{text}");
    }
    for text in ["", "fast", "60/s", "1/second", "60/hour", "60/day", "-60", "60/", "60/10/5", "60 60", "1.5", "60/min/", "9999999999"] {
        assert!(RateLimit::parse_short(text).unwrap_err().contains("60/10"), "{text}");
    }
    for text in ["0", "60/0"] {
        assert!(RateLimit::parse_short(text).unwrap_err().contains("at least 1"), "{text}");
    }
}

const EACH: [Cycle; 4] = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total];

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..proptest::test_runner::Config::default() })]

    #[test]
    fn what_is_printed_is_read_back(nanos in 1_i64..=i64::MAX, count in 1_u64..=u64::MAX, rpm in 1_u32..=u32::MAX, burst in proptest::option::of(1_u32..=u32::MAX), at in 0_usize..4) {
        let spend = SpendLimit { amount: Money::from_nanos(nanos), cycle: EACH[at] };
        proptest::prop_assert_eq!(SpendLimit::parse_short(&spend.to_short()), Ok(spend));
        proptest::prop_assert_eq!(SpendLimit::parse_short(&spend.to_string()), Ok(spend));
        let requests = RequestLimit { count, cycle: EACH[at] };
        proptest::prop_assert_eq!(RequestLimit::parse_short(&requests.to_string()), Ok(requests));
        let rate = RateLimit { rpm, burst };
        proptest::prop_assert_eq!(RateLimit::parse_short(&rate.to_string()), Ok(rate));
    }

    /// Whatever is typed is a limit that prints and reads back, or a sentence.
    #[test]
    fn nothing_that_is_typed_is_misread(text in "[ 0-9.,_$€/k-]{0,8}(usd|day|daily|per|a|mo|total|week| |/){0,4}") {
        if let Ok(limit) = SpendLimit::parse_short(&text) {
            proptest::prop_assert!(limit.amount > Money::ZERO);
            proptest::prop_assert_eq!(SpendLimit::parse_short(&limit.to_short()), Ok(limit));
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>().trim_matches('0').to_owned();
            proptest::prop_assert_eq!(digits(&text), digits(&limit.to_short()));
        }
    }
}

#[test]
fn an_expiry_is_read_as_people_write_it() {
    let now = "2026-11-29T04:30:15.4Z".parse().unwrap();
    for (text, at) in [
        ("2027-01-01", "2027-01-01T00:00:00Z"),
        (" 2027-01-01 ", "2027-01-01T00:00:00Z"),
        ("2027-01-01T12:00", "2027-01-01T12:00:00Z"),
        ("2027-01-01 12:00", "2027-01-01T12:00:00Z"),
        ("2027-01-01T12:00:30", "2027-01-01T12:00:30Z"),
        ("2027-01-01T12:00:00Z", "2027-01-01T12:00:00Z"),
        ("2027-01-01t12:00z", "2027-01-01T12:00:00Z"),
        ("2027-01-01 12:00 UTC", "2027-01-01T12:00:00Z"),
        ("2027-01-01T12:00+02:00", "2027-01-01T10:00:00Z"),
        ("2027-01-01 12:00:00-05:00", "2027-01-01T17:00:00Z"),
        ("30d", "2026-12-29T04:30:15Z"),
        ("in 30 days", "2026-12-29T04:30:15Z"),
        ("+30d", "2026-12-29T04:30:15Z"),
        ("30 days from now", "2026-12-29T04:30:15Z"),
        ("12h", "2026-11-29T16:30:15Z"),
        ("2w", "2026-12-13T04:30:15Z"),
        ("2 Weeks", "2026-12-13T04:30:15Z"),
        ("6mo", "2027-05-29T04:30:15Z"),
        ("1 month", "2026-12-29T04:30:15Z"),
        ("1y", "2027-11-29T04:30:15Z"),
        ("1d 12h", "2026-11-30T16:30:15Z"),
        ("P1M", "2026-12-29T04:30:15Z"),
        ("90 minutes", "2026-11-29T06:00:15Z"),
    ] {
        assert_eq!(parse_expiry(text, now).map(|at| at.to_string()), Ok(at.to_owned()), "{text}");
    }
    for (text, says) in [
        ("", "such as 2027-01-31"),
        ("tomorrow", "such as 2027-01-31"),
        ("30", "such as 2027-01-31"),
        ("d", "such as 2027-01-31"),
        ("31.01.2027", "such as 2027-01-31"),
        ("01/31/2027", "such as 2027-01-31"),
        ("2027-02-30", "such as 2027-01-31"),
        ("2027-13-01", "such as 2027-01-31"),
        ("2027-01-01T25:00", "such as 2027-01-31"),
        ("2027-01-01+02:00", "such as 2027-01-31"),
        ("2027-01-01[Europe/Berlin]", "such as 2027-01-31"),
        ("9999999y", "such as 2027-01-31"),
        ("9000y", "too far"),
        ("2020-01-01", "2020-01-01T00:00:00Z is in the past"),
        ("2026-11-29", "2026-11-29T00:00:00Z is in the past"),
        ("2026-11-29T04:30:15Z", "in the past"),
        ("-1d", "in the past"),
        ("1 day ago", "in the past"),
        ("0d", "in the past"),
    ] {
        let error = parse_expiry(text, now).unwrap_err();
        assert!(error.starts_with(&format!("\"{text}\" is not a time in the future: ")) && error.contains(says), "{text}: {error}");
    }
}

#[test]
fn an_expiry_that_is_printed_is_read_back() {
    let now: jiff::Timestamp = "2026-11-29T04:30:15Z".parse().unwrap();
    for seconds in [1, 59, 86_400, 31_536_000, 999_999_999] {
        let at = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap();
        assert_eq!(parse_expiry(&at.to_string(), now), Ok(at));
    }
}
