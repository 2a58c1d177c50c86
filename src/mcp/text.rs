//! Texts that others wrote, made safe to show: no control characters, nothing that changes the direction of writing or hides, and not too long.

use serde_json::Value;

use crate::domain::text::has_hidden;
pub(super) use crate::domain::text::{one_line, visible};

/// As much of each text in an attempt is told, in characters: names of models and providers, mostly.
const ATTEMPT_CHARS_MAX: usize = 120;

fn made_visible(text: String) -> String {
    if has_hidden(&text) { visible(&text) } else { text }
}

/// A JSON value whose texts have no hidden characters.
pub(super) fn visible_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(made_visible(text)),
        Value::Array(items) => items.into_iter().map(visible_value).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (made_visible(name), visible_value(value))).collect(),
        other => other,
    }
}

/// The text cut to at most `max` characters, and whether it was cut.
pub(super) fn shorten(text: &str, max: usize) -> (String, bool) {
    match text.char_indices().nth(max) {
        // What was cut off may have been the reason why the end was shown.
        Some((end, _)) => (visible(&text[..end]), true),
        None => (text.to_owned(), false),
    }
}

/// Puts each text in a JSON value on one line of at most `max` characters.
pub(super) fn shorten_value(value: &mut Value, max: usize) {
    match value {
        Value::String(text) => *text = one_line(text, max),
        Value::Array(items) => items.iter_mut().for_each(|item| shorten_value(item, max)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shorten_value(value, max)),
        _ => {}
    }
}

/// An attempt as the gateway reports it, its texts cut.
pub(super) fn attempt(mut attempt: Value) -> Value {
    shorten_value(&mut attempt, ATTEMPT_CHARS_MAX);
    attempt
}

/// How many characters the text takes as a string of JSON, without its quotes.
pub(super) fn json_chars(text: &str) -> usize {
    text.chars().map(json_width).sum()
}

/// The longest beginning of the text that takes at most `max` characters in JSON.
pub(super) fn shorten_for_json(text: &str, max: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += json_width(*c);
        used > max
    });
    end.map_or(text, |(end, _)| &text[..end])
}

const fn json_width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\u{0}'..='\u{1f}' => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_removed() {
        assert_eq!(visible("a\u{202e}b\u{200b}c\u{1b}[31m\nd"), "abc[31m\nd");
        assert_eq!(visible_value(serde_json::json!({"a\u{202e}": ["b\u{200b}"]})), serde_json::json!({"a": ["b"]}));
        assert_eq!(one_line(" a\n\tb ", 10), "a b");
        assert_eq!(shorten("äöü", 2), ("äö".to_owned(), true));
    }
    #[test]
    fn what_a_text_takes_in_json_is_counted() {
        for text in ["plain", "a\"b\\c\nd\te\u{1}f", "äöü🌋", ""] {
            let written = serde_json::to_string(text).unwrap();
            assert_eq!(json_chars(text), written.chars().count() - 2, "{text:?}");
        }
        assert_eq!(shorten_for_json("a\"bc", 3), "a\"");
        assert_eq!(shorten_for_json("a\"bc", 2), "a");
        assert_eq!(shorten_for_json("äöü", 9), "äöü");
    }
}
