//! When a key stops working, as people type it: a day, a time, or how long from now.

use jiff::{Span, Timestamp, civil, tz::TimeZone};

const EXPECTED: &str = "write a day such as 2027-01-31, a time such as 2027-01-31T12:00Z, or how long from now, such as 30d, 12h or 6mo";

/// Reads a time in the future. A time without a zone is one of UTC, like the cycles of limits.
///
/// # Errors
/// A sentence that says what was wrong and what is allowed.
pub fn parse_expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = |why: &str| format!("\"{text}\" is not a time in the future: {why}");
    let trimmed = text.trim();
    let at = match at_time(trimmed) {
        Some(at) => at,
        None => from_now(trimmed, now).ok_or_else(|| wrong(EXPECTED))?.ok_or_else(|| wrong("it is too far away"))?,
    };
    if at <= now {
        return Err(wrong(&format!("{at} is in the past")));
    }
    Ok(at)
}

fn at_time(text: &str) -> Option<Timestamp> {
    let upper = text.to_ascii_uppercase();
    if let Ok(at) = upper.parse::<Timestamp>() {
        return Some(at);
    }
    let civil = ["UTC", "GMT", "Z"].iter().find_map(|zone| upper.strip_suffix(zone)).unwrap_or(&upper).trim_end();
    // jiff leaves out an offset that it finds behind a day, and a zone in brackets.
    let is_plain =
        civil.len() >= 10 && civil.chars().enumerate().all(|(at, c)| c.is_ascii_digit() || (c == '-' && at < 8) || " T:.".contains(c));
    let at: civil::DateTime = is_plain.then(|| civil.parse().ok()).flatten()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

/// `None` where it is not a span of time; within it, `None` where no time is that far away.
fn from_now(text: &str, now: Timestamp) -> Option<Option<Timestamp>> {
    let lower = text.to_lowercase();
    let span = ["in ", "after ", "+"].iter().find_map(|before| lower.strip_prefix(before)).unwrap_or(&lower).trim();
    let span: Span = span.trim_end_matches(" from now").parse().ok()?;
    // Days and months of the calendar, so they begin at a date.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let later = TimeZone::UTC.to_datetime(now).checked_add(span).ok();
    Some(later.and_then(|later| TimeZone::UTC.to_timestamp(later).ok()))
}
