//! Texts that others wrote, made safe to show: no control characters, nothing that changes the direction of writing or hides, on one line, not too long.

/// Whether a character has no place in a text shown to a model or a person: controls, bidirectional overrides, zero-width, blank and tag
/// characters, and selectors of variants, which can carry any text unseen. U+FE0F stays: it makes a character an emoji.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
}

/// The text without hidden characters. Unicode's own line ends become ordinary ones.
pub fn visible(text: &str) -> String {
    let shown = |c| match c {
        '\u{2028}' | '\u{2029}' => Some('\n'),
        c => (!is_hidden(c)).then_some(c),
    };
    text.chars().filter_map(shown).collect()
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
    fn a_character_is_shown_or_hidden() {
        for hidden in [
            "\u{0}\u{8}\u{b}\r\u{1b}\u{7f}\u{9f}\u{ad}",
            "\u{34f}\u{61c}\u{115f}\u{1160}\u{180e}\u{3164}\u{ffa0}",
            "\u{200b}\u{200f}\u{202a}\u{202e}\u{2060}\u{2069}\u{206a}\u{206f}",
            "\u{fe00}\u{fe0e}\u{feff}\u{fff9}\u{fffb}\u{1d173}\u{1d17a}",
            "\u{e0000}\u{e0041}\u{e007f}\u{e0100}\u{e01ef}",
        ] {
            for c in hidden.chars() {
                assert_eq!(visible(&format!("a{c}b")), "ab", "{}", c.escape_unicode());
            }
        }
        for shown in ["a\tb\n c", "❤\u{fe0f}", "é\u{301}", "한글", "\u{e9}\u{a0}\u{3000}", "🌋𝅘"] {
            assert_eq!(visible(shown), shown);
        }
        assert_eq!(visible("a\u{2028}b\u{2029}c"), "a\nb\nc");
        assert_eq!(one_line("a\u{2028}b", 9), "a b");
    }

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
