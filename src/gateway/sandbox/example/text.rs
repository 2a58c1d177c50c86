//! Texts that a schema allows: by format, by pattern, by length.

use serde_json::Value;

use super::{
    check::PATTERN_STEPS,
    search::{REPEATED_BYTES, Search, Wish},
};

/// Longest text that is made, in characters.
const LENGTH_MAX: u64 = 100_000;
/// Texts of one kind, at most.
const SERIES_MAX: usize = 256;
const WORD: &str = "sandbox";
/// Short words of a few usual forms, for schemas that want several things of one text.
const USUAL: [&str; 12] = ["", "a", "A", "1", "ab", "AB", "abc", "Sandbox", "Sandbox1!", "a@b.co", "2026-01-01", "https://example.com/"];

/// Texts to try, the plainest first; `others` of them may be taken already.
pub(super) fn candidates(search: &Search<'_>, wish: &Wish<'_>, others: usize) -> Option<Vec<Value>> {
    let (least, most) = (wish.most("minLength"), wish.least("maxLength"));
    if least > LENGTH_MAX {
        return None;
    }
    let (least, most) = (usize::try_from(least).ok()?, usize::try_from(most).unwrap_or(usize::MAX));
    // Making a long text is work too.
    search.repeat(4 * least / REPEATED_BYTES)?;
    // One of them can be the beginning of our own word.
    let numbers = 0..=others.min(SERIES_MAX) + 1;
    let mut found: Vec<String> = Vec::new();
    for format in wish.all("format").chain(wish.all("contentEncoding")).filter_map(Value::as_str) {
        found.extend(numbers.clone().filter_map(|at| formatted(format, at, least)));
        found.extend(shortest(format).map(str::to_owned));
    }
    for pattern in wish.all("pattern").filter_map(Value::as_str) {
        search.step(PATTERN_STEPS)?;
        // One that may be empty is shown with something in it.
        for length in [least.max(1), least.max(1).min(most), 0, (least.saturating_add(most.min(2 * least + 8))) / 2] {
            found.extend(numbers.clone().filter_map(|at| search.patterns.borrow_mut().text(pattern, length, at)));
        }
    }
    found.extend(numbers.clone().map(|at| plain(at, least, most)));
    found.extend(USUAL.map(str::to_owned));
    Some(found.into_iter().map(Value::String).collect())
}

/// A word of a length, the first of them our own.
fn plain(at: usize, least: usize, most: usize) -> String {
    let number = if at == 0 { String::new() } else { (at + 1).to_string() };
    let room = most.saturating_sub(number.len()).min(least.saturating_sub(number.len()).max(WORD.len()));
    if most < WORD.len() && at > 0 {
        // Short words are counted in letters.
        let (mut rest, mut letters) = (at, String::new());
        for _ in 0..most {
            letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
            rest /= 26;
        }
        return letters;
    }
    WORD.chars().chain(std::iter::repeat('x')).take(room).chain(number.chars()).collect()
}

/// A text of a format (JSON Schema 2020-12, section 7.3), long enough where it can be.
fn formatted(format: &str, at: usize, least: usize) -> Option<String> {
    let number = if at == 0 { String::new() } else { (at + 1).to_string() };
    let name = format!("{WORD}{number}");
    let day = format!("{:04}-{:02}-{:02}", 2026 + at / 336, 1 + at / 28 % 12, 1 + at % 28);
    let time = format!("{:02}:{:02}:00Z", at / 60 % 24, at % 60);
    let long = |before: &str, after: &str| {
        let missing = least.saturating_sub(before.len() + name.len() + after.len());
        format!("{before}{name}{}{after}", "x".repeat(missing))
    };
    Some(match format {
        "date-time" => format!("{day}T00:00:00Z"),
        "date" => day,
        "time" => time,
        "duration" => format!("P{}D", at + 1),
        "email" | "idn-email" => long("", "@example.com"),
        "hostname" | "idn-hostname" => long("", ".example.com"),
        "ipv4" => format!("192.0.2.{}", at % 254 + 1),
        "ipv6" => format!("2001:db8::{:x}", at + 1),
        "uri" | "iri" | "url" | "uri-template" | "http-url" => long("https://example.com/", ""),
        "uri-reference" | "iri-reference" | "json-pointer" => long("/", ""),
        "relative-json-pointer" => at.to_string(),
        "uuid" | "uuid4" => format!("5a4db0c5-0000-4000-8000-{at:012x}"),
        "regex" => long("^", "$"),
        "byte" | "base64" => "c2FuZGJveA==".to_owned(),
        _ => return None,
    })
}

/// The same where little room is given.
fn shortest(format: &str) -> Option<&'static str> {
    Some(match format {
        "email" | "idn-email" => "a@b.co",
        "hostname" | "idn-hostname" => "a",
        "ipv6" => "::",
        "uri" | "iri" | "url" => "a:b",
        "uri-reference" | "iri-reference" | "json-pointer" => "",
        "regex" => "a",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_length_that_is_asked_for_and_differ() {
        for (least, most) in [(0, usize::MAX), (0, 3), (10, 10), (3, 3), (20, 40), (0, 1)] {
            let words: Vec<String> = (0..20).map(|at| plain(at, least, most)).collect();
            for (at, word) in words.iter().enumerate() {
                assert!((least..=most).contains(&word.len()), "{word} is not of {least} to {most}");
                assert!(at == 0 || !words[1..at].contains(word), "{word} comes twice");
            }
        }
    }
}
