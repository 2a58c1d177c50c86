//! Texts that others wrote, made safe to show: no control characters, nothing that changes the direction of writing or hides, on one line, not too long.

/// Whether a character has no place in a text shown to a model or a person: controls, bidirectional overrides, zero-width and tag characters.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text without hidden characters.
pub fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_hidden(*c)).collect()
}

/// The text on one line, without hidden characters, at most `max` characters long. What comes out stays as it is when it is put in again.
pub fn one_line(text: &str, max: usize) -> String {
    let line = visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.char_indices().nth(max).map_or(line.len(), |(end, _)| end);
    line[..end].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_removed_and_what_is_left_stays() {
        assert_eq!(one_line(" a\u{202e}b\u{200b}c\u{1b}[31m\n\td ", 80), "abc[31m d");
        assert_eq!(one_line("äöü", 2), "äö");
        for (text, max) in [("ab cd", 3), ("\u{200b}a \u{200b} b", 2), ("  ", 5)] {
            let once = one_line(text, max);
            assert_eq!(one_line(&once, max), once, "{text:?}");
        }
    }
}
