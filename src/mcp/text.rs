//! Texts that others wrote, made safe to show: no control characters, nothing that changes the direction of writing or hides, and not too long.

use serde_json::Value;

/// Whether a character has no place in a text shown to a model or a person: controls, bidirectional overrides, zero-width and tag characters.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text without hidden characters.
pub(super) fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

/// A JSON value whose texts have no hidden characters.
pub(super) fn visible_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(visible(&text)),
        Value::Array(items) => items.into_iter().map(visible_value).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (visible(&name), visible_value(value))).collect(),
        other => other,
    }
}

/// The text on one line, without hidden characters, at most `max` characters long.
pub(super) fn one_line(text: &str, max: usize) -> String {
    let line = visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&line, max).0
}

/// The text cut to at most `max` characters, and whether it was cut.
pub(super) fn shorten(text: &str, max: usize) -> (String, bool) {
    match text.char_indices().nth(max) {
        Some((end, _)) => (text[..end].to_owned(), true),
        None => (text.to_owned(), false),
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
}
