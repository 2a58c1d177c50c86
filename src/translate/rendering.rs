//! How long a JSON value can become when a chat template writes it out again.
//!
//! A provider gives tools, arguments and results to the model as text, and how is seldom published. Stock templates use Jinja's `tojson`: it escapes all that is not
//! ASCII and what could end an HTML tag, and is often asked to indent by four. Others parse a text that holds JSON first. So one value has several renderings, and a true
//! bound counts the longest.

use std::borrow::Cow;

/// Spaces that a level of nesting is indented by.
const INDENT: u64 = 4;
/// Characters of the longest form in which a number with a fraction or an exponent is written (`-1.2345678901234567e-300`).
const NUMBER_CHARS: usize = 25;
/// That form, to be counted.
const LONG_NUMBER: &str = "-1.23456789012345678e-300";

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// On lines of their own, indented by four; else with a space after comma and colon.
    pub(super) is_indented: bool,
    /// With an escape for all that is not ASCII, and for `<`, `>`, `&` and `'`.
    pub(super) is_escaped: bool,
    /// Whether a text that holds an object or an array is written as that.
    pub(super) parses_texts: bool,
}

/// The renderings of which one is the longest in tokens, whatever the tokenizer; in bytes it is [`longest`].
pub(super) const STYLES: [Style; 6] = [
    Style { is_indented: false, is_escaped: false, parses_texts: false },
    Style { is_indented: false, is_escaped: true, parses_texts: false },
    Style { is_indented: true, is_escaped: false, parses_texts: false },
    Style { is_indented: true, is_escaped: true, parses_texts: false },
    Style { is_indented: true, is_escaped: false, parses_texts: true },
    Style { is_indented: true, is_escaped: true, parses_texts: true },
];

/// Where a rendering goes: into a text, or only into its length.
trait Out {
    fn put(&mut self, text: &str);
    fn spaces(&mut self, count: u64);
    /// One character, or its escape.
    fn character(&mut self, c: char, is_escaped: bool);
}

struct Length(u64);

impl Out for Length {
    fn put(&mut self, text: &str) {
        self.0 = self.0.saturating_add(text.len() as u64);
    }

    fn spaces(&mut self, count: u64) {
        self.0 = self.0.saturating_add(count);
    }

    fn character(&mut self, c: char, is_escaped: bool) {
        self.0 = self.0.saturating_add(match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\u{0}'..='\u{1f}' => 6,
            '<' | '>' | '&' | '\'' if is_escaped => 6,
            _ if c.is_ascii() || !is_escaped => c.len_utf8() as u64,
            _ => 6 * c.len_utf16() as u64,
        });
    }
}

impl Out for String {
    fn put(&mut self, text: &str) {
        self.push_str(text);
    }

    fn spaces(&mut self, count: u64) {
        self.extend(std::iter::repeat_n(' ', usize::try_from(count).unwrap_or(0)));
    }

    fn character(&mut self, c: char, is_escaped: bool) {
        match c {
            '"' => self.push_str("\\\""),
            '\\' => self.push_str("\\\\"),
            '\n' => self.push_str("\\n"),
            '\r' => self.push_str("\\r"),
            '\t' => self.push_str("\\t"),
            '\u{8}' => self.push_str("\\b"),
            '\u{c}' => self.push_str("\\f"),
            c if c < ' ' || (is_escaped && (!c.is_ascii() || matches!(c, '<' | '>' | '&' | '\''))) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    self.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => self.push(c),
        }
    }
}

/// The length in bytes of the longest rendering of a JSON value, as it was sent included.
pub(super) fn longest(json: &str) -> u64 {
    let mut length = Length(0);
    Writer { style: Style { is_indented: true, is_escaped: true, parses_texts: true }, depth: 0, takes_longest: true, out: &mut length }
        .value(json);
    length.0.max(json.len() as u64)
}

/// A rendering of a JSON value. Its length is at most [`longest`].
pub(super) fn render(json: &str, style: Style) -> String {
    let mut text = String::new();
    Writer { style, depth: 0, takes_longest: false, out: &mut text }.value(json);
    text
}

/// The text that a JSON string stands for. A half of a surrogate pair becomes what readers put in its place.
pub(super) fn decoded(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json);
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (c, length) = unescape(&rest[at..]);
        text.push(c);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of an escape at the beginning of a text, and how many bytes it takes.
fn unescape(text: &str) -> (char, usize) {
    let unit = |at: usize| text.get(at..at + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    match text.as_bytes().get(1) {
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'u') => {
            let Some(first) = unit(2) else { return (char::REPLACEMENT_CHARACTER, 2) };
            let second = if text.get(6..8) == Some("\\u") { unit(8) } else { None };
            match char::decode_utf16([first].into_iter().chain(second)).next() {
                Some(Ok(c)) => (c, if c.len_utf16() == 2 { 12 } else { 6 }),
                _ => (char::REPLACEMENT_CHARACTER, 6),
            }
        }
        // What is left is the character itself.
        _ => text[1..].chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, 1 + c.len_utf8())),
    }
}

struct Writer<'a, O> {
    style: Style,
    depth: u64,
    /// Whether each text counts as the longest of its forms: as sent, escaped, parsed.
    takes_longest: bool,
    out: &'a mut O,
}

impl<O: Out> Writer<'_, O> {
    /// Writes a value, token by token and without recursion into it: it may nest as deep as a body is long.
    fn value(&mut self, json: &str) {
        let bytes = json.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let from = at;
            at += 1;
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                b'{' | b'[' => {
                    let next = at + json[at..].find(|c: char| !c.is_ascii_whitespace()).unwrap_or(0);
                    if matches!(bytes.get(next), Some(b'}' | b']')) {
                        at = next + 1;
                        self.out.put("{}");
                    } else {
                        self.out.put(&json[from..at]);
                        self.depth += 1;
                        self.new_line();
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.new_line();
                    self.out.put(&json[from..at]);
                }
                b',' => {
                    self.out.put(",");
                    if self.style.is_indented { self.new_line() } else { self.out.spaces(1) }
                }
                b':' => self.out.put(": "),
                b'"' => {
                    at = end_of_string(bytes, from);
                    self.string(&json[from..at]);
                }
                _ => {
                    at += bytes[at..]
                        .iter()
                        .take_while(|byte| !matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'))
                        .count();
                    self.scalar(&json[from..at]);
                }
            }
        }
    }

    fn new_line(&mut self) {
        if self.style.is_indented {
            self.out.put("\n");
            self.out.spaces(INDENT.saturating_mul(self.depth));
        }
    }

    fn scalar(&mut self, literal: &str) {
        let is_rewritten = literal.len() < NUMBER_CHARS && literal.contains(['.', 'e', 'E']) && literal != "true" && literal != "false";
        self.out.put(if is_rewritten && self.style.is_escaped { LONG_NUMBER } else { literal });
    }

    fn string(&mut self, json: &str) {
        let text = decoded(json);
        // Not whether it is valid: other readers take more for JSON than this one, `NaN` for example.
        let is_json = self.style.parses_texts && text.trim_start().starts_with(['{', '[']);
        let style = Style { parses_texts: false, ..self.style };
        if self.takes_longest {
            let (mut quoted, mut parsed) = (Length(0), Length(0));
            Writer { style, depth: 0, takes_longest: true, out: &mut quoted }.quoted(&text);
            if is_json {
                Writer { style, depth: self.depth, takes_longest: true, out: &mut parsed }.value(&text);
            }
            self.out.spaces(quoted.0.max(parsed.0).max(json.len() as u64));
        } else if is_json {
            Writer { style, depth: self.depth, takes_longest: false, out: &mut *self.out }.value(&text);
        } else {
            self.quoted(&text);
        }
    }

    fn quoted(&mut self, text: &str) {
        self.out.put("\"");
        text.chars().for_each(|c| self.out.character(c, self.style.is_escaped));
        self.out.put("\"");
    }
}

/// Where the string that begins at `from` ends.
fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(offset) = memchr::memchr2(b'"', b'\\', &bytes[at.min(bytes.len())..]) {
        at += offset + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDENTED: Style = Style { is_indented: true, is_escaped: false, parses_texts: false };

    #[test]
    fn a_value_is_written_as_a_template_does() {
        let sent = r#"{"a":[1,true,null],"b":{},"c":"<é\ud83d\ude00\n","d":1e15}"#;
        assert_eq!(
            render(sent, INDENTED),
            "{\n    \"a\": [\n        1,\n        true,\n        null\n    ],\n    \"b\": {},\n    \"c\": \"<é😀\\n\",\n    \"d\": 1e15\n}"
        );
        let escaped = render(sent, Style { is_indented: false, is_escaped: true, parses_texts: false });
        assert_eq!(escaped, r#"{"a": [1, true, null], "b": {}, "c": "\u003c\u00e9\ud83d\ude00\n", "d": -1.23456789012345678e-300}"#);
    }

    #[test]
    fn the_spaces_of_the_sender_are_not_kept() {
        for sent in [r#"{"a":[1,2],"b":{},"c":[]}"#, " { \"a\" :\t[ 1 ,\r\n 2 ] , \"b\" : { \n } , \"c\" : [ ] } \n"] {
            assert_eq!(render(sent, INDENTED), "{\n    \"a\": [\n        1,\n        2\n    ],\n    \"b\": {},\n    \"c\": {}\n}");
            let compact = render(sent, Style { is_indented: false, ..INDENTED });
            assert_eq!(compact, r#"{"a": [1, 2], "b": {}, "c": {}}"#);
        }
    }

    #[test]
    fn a_text_that_holds_json_may_be_written_as_that() {
        let style = Style { is_indented: true, is_escaped: false, parses_texts: true };
        assert_eq!(render(r#""{\"x\":[1]}""#, style), "{\n    \"x\": [\n        1\n    ]\n}");
        // A text within it stays one.
        let within = serde_json::to_string(r#"["[1]"]"#).unwrap();
        assert_eq!(render(&within, style), "[\n    \"[1]\"\n]");
        assert_eq!(longest(&within), "[\n    \"[1]\"\n]".len() as u64);
        for broken in [r#""{not json""#, r#""[\"open""#, r#""{\\é""#, r#""]]]}""#, r#""[[NaN,-Infinity]]""#] {
            assert!(render(broken, style).len() as u64 <= longest(broken), "{broken}");
        }
        // Python reads it, and serde does not.
        let deep = format!("\"{}NaN{}\"", "[".repeat(900), "]".repeat(900));
        assert!(longest(&deep) > 3_000_000, "{}", longest(&deep));
    }

    #[test]
    fn no_rendering_is_longer_than_the_longest() {
        let deep = format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000));
        let in_text = serde_json::to_string(&deep).unwrap();
        for json in [r#"{"a":"é<","b":[{}, [] ,"\\\"\u0000"]}"#, r#""\ud800 plain""#, "1.5", "[]", "\"\"", &deep, &in_text] {
            for style in STYLES {
                let length = render(json, style).len() as u64;
                assert!(length <= longest(json), "{style:?}: {length} of {json:.60}");
            }
        }
        assert!(longest(&in_text) > 2 * 3_000 * 4 * 1_500, "nesting costs its indentation");
    }

    #[test]
    fn the_longest_is_as_long_as_the_longest_rendering() {
        for json in [
            r#"{"a":"é<>&'\n\u0001\u001f \u007f","b":[1.5,1E5,-2e3,true,false,null,12,{}, [] ,{ } ,[\n]]}"#,
            r#"{ "a" : [ 1 , 2 ] , "c" : "{\"x\":[1]}" }"#,
            r#"["\ud83d\ude00","€","{","[",""]"#,
            "true",
            "false",
            "null",
            "-123456789012345678.12345",
            "12345678901234567890.123",
            "1234567890123456789.1234",
        ] {
            let rendered = STYLES.iter().map(|style| render(json, *style).len()).max().unwrap();
            assert_eq!(longest(json), rendered.max(json.len()) as u64, "{json}");
        }
        for (json, length) in
            [("true", 4), ("1.5", 25), ("1e5", 25), ("12", 2), ("1234567890123456789.1234", 25), ("12345678901234567890.12345", 26)]
        {
            assert_eq!(longest(json), length, "{json}");
        }
    }

    #[test]
    fn a_character_is_as_long_as_it_is_written() {
        for c in ['a', ' ', '"', '\\', '\n', '\r', '\t', '\u{8}', '\u{c}', '\0', '\u{1f}', '\u{7f}', '<', '>', '&', '\'', 'é', '€', '😀']
        {
            for is_escaped in [false, true] {
                let (mut length, mut text) = (Length(0), String::new());
                length.character(c, is_escaped);
                text.character(c, is_escaped);
                assert_eq!(length.0, text.len() as u64, "{c:?} {is_escaped}");
                assert_eq!(serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap(), c.to_string());
                if is_escaped {
                    assert!(text.is_ascii() && !text.contains(['<', '>', '&', '\'']), "{text}");
                } else {
                    assert_eq!(format!("\"{text}\""), serde_json::to_string(&c).unwrap());
                }
            }
        }
    }

    #[test]
    fn a_string_is_decoded_as_readers_do() {
        for (json, text) in [
            (r#""plain é""#, "plain é"),
            (r#""\u0041\ud83d\ude00\/\"\\\b\f\n\r\t""#, "A😀/\"\\\u{8}\u{c}\n\r\t"),
            (r#""\ud83dx\ude00\ud83d""#, "\u{fffd}x\u{fffd}\u{fffd}"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d__de00""#, "\u{fffd}__de00"),
            (r#""\u00e9__0041""#, "é__0041"),
        ] {
            assert_eq!(decoded(json), text, "{json}");
        }
    }
}
