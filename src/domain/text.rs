//! Texts that others wrote, made safe to show: no control characters, nothing that changes the direction of writing or hides, on one line, not too long.

mod hidden;

/// Characters whose meaning can depend on the text that follows them. A flag is the longest.
const OPEN_CHARS_MAX: usize = 16;

/// Whether a text has characters that [`visible`] removes.
pub fn has_hidden(text: &str) -> bool {
    judged(text).any(|(_, is_hidden)| is_hidden)
}

/// Each character, and whether it is hidden where it stands.
pub fn judged(text: &str) -> impl Iterator<Item = (char, bool)> {
    text.char_indices().map(|(at, c)| (c, hidden::is_hidden(&text[..at], c, &text[at + c.len_utf8()..])))
}

/// The text without hidden characters. Unicode's own line ends become ordinary ones.
pub fn visible(text: &str) -> String {
    judged(text).filter(|(_, is_hidden)| !is_hidden).map(|(c, _)| plain_line_end(c)).collect()
}

/// A number of things, with the noun as grammar wants it: `1 request`, `2 requests`.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// The text on one line, without hidden characters, at most `max` characters long. What comes out stays as it is when it is put in again.
pub fn one_line(text: &str, max: usize) -> String {
    let line = visible(text).split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.char_indices().nth(max).map_or(line.len(), |(end, _)| end);
    // What was cut off may have been the reason why the end was shown.
    visible(&line[..end]).trim_end().to_owned()
}

const fn plain_line_end(c: char) -> char {
    if matches!(c, '\u{2028}' | '\u{2029}') { '\n' } else { c }
}

/// A text that comes in pieces, without hidden characters. Where a piece ends in the middle of something, that waits for the next.
#[derive(Debug, Default)]
pub struct Pieces {
    /// The end of what was shown, which decides about what follows.
    shown: String,
    /// What is not decided yet.
    open: String,
}

impl Pieces {
    /// Takes a piece, and returns what can be shown.
    pub fn push(&mut self, piece: &str) -> String {
        self.open.push_str(piece);
        // Behind the last characters nothing is open once one of them shows something by itself; runs that never do are hidden.
        let undecided =
            self.open.chars().rev().take(OPEN_CHARS_MAX).take_while(|c| hidden::may_be_hidden(*c)).map(char::len_utf8).sum::<usize>();
        self.show(self.open.len() - undecided)
    }

    /// The rest, when no more pieces come.
    pub fn finish(&mut self) -> String {
        self.show(self.open.len())
    }

    fn show(&mut self, end: usize) -> String {
        let text = std::mem::take(&mut self.shown) + &self.open;
        let (from, to) = (text.len() - self.open.len(), text.len() - self.open.len() + end);
        let mut shown = String::new();
        for (at, c) in text[from..to].char_indices() {
            let at = from + at;
            if !hidden::is_hidden(&text[..at], c, &text[at + c.len_utf8()..]) {
                shown.push(plain_line_end(c));
            }
        }
        self.open.drain(..end);
        let tail = text[..to].char_indices().rev().nth(OPEN_CHARS_MAX).map_or(0, |(at, _)| at);
        self.shown = text[tail..to].to_owned();
        shown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_character_is_shown_or_hidden() {
        for hidden in [
            "\u{0}\u{8}\u{b}\r\u{1b}\u{7f}\u{9f}\u{ad}",
            "\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180b}\u{180e}\u{180f}\u{3164}\u{ffa0}",
            "\u{200b}\u{200c}\u{200d}\u{200f}\u{202a}\u{202e}\u{2060}\u{2065}\u{2069}\u{206a}\u{206f}",
            "\u{fe00}\u{fe0e}\u{fe0f}\u{feff}\u{fff0}\u{fff9}\u{fffb}\u{1bca0}\u{1d173}\u{1d17a}",
            "\u{e0000}\u{e0041}\u{e007f}\u{e0100}\u{e01ef}\u{e0fff}",
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
        for (text, max) in [("ab cd", 3), ("\u{200b}a \u{200b} b", 2), ("  ", 5), ("👩\u{200d}👩", 2), ("❤\u{fe0f}", 1)] {
            let once = one_line(text, max);
            assert_eq!(one_line(&once, max), once, "{text:?}");
        }
    }

    /// Emoji of every kind of sequence, and words as people write them.
    const WRITTEN: [&str; 26] = [
        "👩\u{200d}👩\u{200d}👧\u{200d}👦",
        "👩🏽\u{200d}🚀",
        "🏳\u{fe0f}\u{200d}🌈",
        "🏴\u{200d}☠\u{fe0f}",
        "❤\u{fe0f}\u{200d}🔥",
        "👁\u{fe0f}\u{200d}🗨\u{fe0f}",
        "🏋🏾\u{200d}♀\u{fe0f}",
        "🐦\u{200d}⬛",
        "1\u{fe0f}\u{20e3}",
        "#\u{fe0f}\u{20e3}",
        "☎\u{fe0f} ©\u{fe0f} ™\u{fe0f}",
        "🇩🇪 👍🏿",
        "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
        "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}!",
        "می\u{200c}خواهم",
        "کتاب\u{200c}ها",
        "کار\u{200c}ها",
        "خانه\u{200c}ای",
        "بِ\u{200c}بَ",
        "क्\u{200d}ष",
        "क्\u{200c}ष",
        "ന്\u{200d}",
        "ශ්\u{200d}රී",
        "র\u{200d}্যাব",
        "ರ\u{200d}್ಯ",
        "க்\u{200c}ஷ",
    ];

    #[test]
    fn what_people_write_stays_byte_for_byte() {
        for text in WRITTEN {
            assert_eq!(visible(text), text, "{}", text.escape_unicode());
            assert_eq!(one_line(text, 80), text);
        }
    }

    #[test]
    fn what_has_no_work_to_do_is_removed() {
        for (text, expected) in [
            ("\u{fe0f}a", "a"),
            ("a\u{fe0f}", "a"),
            ("1\u{fe0f}2", "12"),
            ("❤\u{fe0f}\u{fe0f}\u{fe0f}", "❤\u{fe0f}"),
            ("❤\u{fe0e}\u{fe0f}", "❤"),
            ("\u{200d}👩\u{200d}", "👩"),
            ("👩\u{200d}\u{200d}👩", "👩👩"),
            ("👩\u{200d}a", "👩a"),
            ("a\u{200d}b", "ab"),
            ("a\u{200c}b", "ab"),
            ("می\u{200c}\u{200c}خواهم", "میخواهم"),
            ("\u{200c}می\u{200c}", "می"),
            ("क्\u{200d}\u{200d}ष", "क्\u{200d}ष"),
            ("🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}", "🏴"),
            ("🏴\u{e0061}\u{e0074}\u{e0074}\u{e0061}\u{e0063}\u{e006b}\u{e007f}", "🏴"),
            (
                "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}\u{e0041}\u{e007f}",
                "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            ),
            ("🏳\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}", "🏳"),
            ("\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}", ""),
        ] {
            assert_eq!(visible(text), expected, "{}", text.escape_unicode());
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => prop::sample::select(&WRITTEN[..]).prop_map(str::to_owned),
            4 => prop::char::ranges(vec!['\u{200b}'..='\u{200f}', '\u{fe00}'..='\u{fe0f}', '\u{e0020}'..='\u{e007f}', '\u{2028}'..='\u{202e}'].into())
                .prop_map(String::from),
            2 => prop::sample::select(&["👩", "❤", "🏴", "1", "\u{20e3}", "ی", "ر", "्", "क", "a", " ", "\u{1b}", "\u{1f3fb}"][..]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_visible_text_stays_as_it_is(text in any_text(), max in 0_usize..20) {
            let once = visible(&text);
            prop_assert!(!has_hidden(&once), "{}", text.escape_unicode());
            prop_assert_eq!(visible(&once), once.clone());
            let line = one_line(&text, max);
            prop_assert_eq!(one_line(&line, max), line);
        }

        #[test]
        fn no_hidden_text_survives(hidden in prop::collection::vec(any::<char>().prop_filter("hidden", |c| hidden::may_be_hidden(*c)), 0..40), around in 0_usize..3) {
            let hidden: String = hidden.into_iter().collect();
            let (before, after) = [("", ""), ("a", "b"), ("字", "Ω")][around];
            prop_assert_eq!(visible(&format!("{before}{hidden}{after}")), format!("{before}{after}"));
        }

        /// Behind each visible character at most one hidden one has work to do, six behind a flag.
        #[test]
        fn what_is_kept_is_bounded(text in any_text()) {
            let (mut run, mut base) = (0, ' ');
            for c in visible(&text).chars() {
                (run, base) = if hidden::may_be_hidden(c) { (run + 1, base) } else { (0, c) };
                let most = if base == '\u{1f3f4}' { 6 } else { 2 };
                prop_assert!(run <= most, "{}", text.escape_unicode());
            }
        }

        #[test]
        fn pieces_come_to_the_same(text in any_text(), cuts in prop::collection::vec(0_usize..60, 0..6)) {
            let chars: Vec<char> = text.chars().collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(chars.len())).collect();
            cuts.extend([0, chars.len()]);
            cuts.sort_unstable();
            let mut pieces = Pieces::default();
            let mut shown = String::new();
            for pair in cuts.windows(2) {
                shown.push_str(&pieces.push(&chars[pair[0]..pair[1]].iter().collect::<String>()));
            }
            shown.push_str(&pieces.finish());
            prop_assert_eq!(shown, visible(&text), "{}", text.escape_unicode());
        }
    }
}
