//! How long names may be that callers make up, and how they are shown where one is wrong: they go into the ledger, into logs and into answers.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::error::GatewayError;

/// Most characters of the name of a model, and of an id.
pub(super) const NAME_CHARS_MAX: usize = 256;
/// Most names that a message lists.
const LISTED_MAX: usize = 10;
/// Lava's header for what a caller wants to remember of a request, and its limits. Nothing of it is kept here.
const METADATA: &str = "x-lava-metadata";
const PAIRS_MAX: usize = 100;
const PAIR_CHARS_MAX: usize = 255;

/// Refuses a name that is too long, by the field it came in.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), GatewayError> {
    if name.len() <= NAME_CHARS_MAX || name.chars().nth(NAME_CHARS_MAX).is_none() {
        return Ok(());
    }
    Err(GatewayError::BadField { field: field.to_owned(), message: format!("{field}: at most {NAME_CHARS_MAX} characters are allowed") })
}

/// A text for a message, cut where it is longer than any name.
pub(super) fn shown(text: &str) -> String {
    cut(text, NAME_CHARS_MAX)
}

/// A text of at most that many characters, and a mark where more was left out.
pub(super) fn cut(text: &str, chars_max: usize) -> String {
    text.char_indices().nth(chars_max).map_or_else(|| text.to_owned(), |(end, _)| format!("{}…", &text[..end]))
}

/// A list of names for a message.
pub(super) fn listed(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(LISTED_MAX).map(|name| shown(name)).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

/// Holds metadata against Lava's limits, so that what is taken here is taken there.
pub(super) fn check_metadata(headers: &HeaderMap) -> Result<(), GatewayError> {
    let bad = |message: &str| GatewayError::BadField { field: METADATA.to_owned(), message: format!("{METADATA}: {message}") };
    let Some(value) = headers.get(METADATA) else { return Ok(()) };
    let read: Option<Map<String, Value>> = value.to_str().ok().and_then(|text| serde_json::from_str(text).ok());
    let pairs = read.ok_or_else(|| bad("must be a JSON object of strings, such as {\"team\": \"a\"}"))?;
    let fits = |text: &str| !text.is_empty() && text.chars().nth(PAIR_CHARS_MAX).is_none();
    let is_fine = |(name, value): (&String, &Value)| {
        fits(name) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && value.as_str().is_some_and(fits)
    };
    if pairs.len() <= PAIRS_MAX && pairs.iter().all(is_fine) {
        return Ok(());
    }
    Err(bad("at most 100 pairs are allowed, with names of letters, digits and _, and names and strings of 1 to 255 characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_characters() {
        assert!(check_name("model", &"é".repeat(256)).is_ok() && check_name("model", "").is_ok());
        assert_eq!(check_name("model", &"é".repeat(257)).unwrap_err().to_string(), "model: at most 256 characters are allowed");
        assert_eq!((cut("éé", 2), cut("ééé", 2)), ("éé".to_owned(), "éé…".to_owned()));
        assert_eq!(listed(&["a".to_owned(), "b".to_owned()]), "a, b");
        assert!(listed(&vec!["a".repeat(300); 1_000]).ends_with("… and 990 more"));
    }

    #[test]
    fn metadata_is_held_against_lavas_limits() {
        let check = |text: String| {
            let mut headers = HeaderMap::new();
            headers.insert(METADATA, text.parse().unwrap());
            check_metadata(&headers)
        };
        let pairs =
            |count: usize| serde_json::to_string(&(0..count).map(|n| (format!("k{n}"), Value::from("v"))).collect::<Map<_, _>>()).unwrap();
        for fine in ["{}".to_owned(), pairs(100), format!("{{\"{0}\":\"{0}\"}}", "a".repeat(255))] {
            assert!(check(fine.clone()).is_ok(), "{fine}");
        }
        for bad in [
            "[]".to_owned(),
            "{".to_owned(),
            pairs(101),
            format!("{{\"{}\":\"v\"}}", "a".repeat(256)),
            "{\"a-b\":\"v\"}".to_owned(),
            "{\"a\":\"\"}".to_owned(),
            "{\"a\":1}".to_owned(),
        ] {
            assert!(check(bad.clone()).unwrap_err().to_string().starts_with(METADATA), "{bad}");
        }
    }
}
