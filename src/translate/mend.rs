//! Broken characters in what providers send: bytes that are not UTF-8, and halves of surrogate pairs in JSON escapes.
//!
//! A model's tokens are pieces of bytes, so a provider that decodes them one by one cuts characters in two: within an answer, or between two events of a stream. Halves
//! that belong together are joined (see [`super::halves`]); what stays broken becomes U+FFFD, as in every decoder of UTF-8 that does not fail.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use memchr::memmem;
use serde::de::IgnoredAny;

use super::sse::BYTE_ORDER_MARK;

/// What a broken character becomes.
pub(super) const REPLACEMENT: &str = "\u{fffd}";
/// A JSON escape of one UTF-16 unit.
const ESCAPE_LEN: usize = 6;

/// Text with its broken characters replaced, in JSON escapes too.
pub fn mended(text: &[u8]) -> Cow<'_, [u8]> {
    let text = match String::from_utf8_lossy(text) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let broken = lone_halves(&text);
    if broken.is_empty() {
        return text;
    }
    let mut whole = Vec::with_capacity(text.len());
    let mut at = 0;
    for half in broken {
        whole.extend_from_slice(&text[at..half.start]);
        whole.extend_from_slice(REPLACEMENT.as_bytes());
        at = half.end;
    }
    whole.extend_from_slice(&text[at..]);
    Cow::Owned(whole)
}

/// JSON as careless programs write it: `NaN` and infinities become null, and line ends within a text become spaces.
pub fn tolerated(text: &[u8]) -> Vec<u8> {
    const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let mut told = Vec::with_capacity(text.len());
    let (mut is_in_text, mut at) = (false, 0);
    while let Some(byte) = text.get(at) {
        let no_number = NO_NUMBERS.iter().find(|word| !is_in_text && text[at..].starts_with(word));
        let taken = match (byte, no_number) {
            (_, Some(word)) => {
                told.extend_from_slice(b"null");
                word.len()
            }
            (b'\\', None) if is_in_text => {
                let escape = &text[at..text.len().min(at + 2)];
                told.extend_from_slice(escape);
                escape.len()
            }
            _ => {
                is_in_text ^= *byte == b'"';
                told.push(if is_in_text && byte.is_ascii_control() { b' ' } else { *byte });
                1
            }
        };
        at += taken;
    }
    told
}

/// A whole answer in JSON, without a mark in front of it and with its broken characters replaced. What is not JSON, such as a picture, stays as it is.
pub fn mended_answer(body: Bytes, is_json: bool) -> Bytes {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body);
    if !matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return body;
    }
    match mended(text) {
        Cow::Borrowed(text) => body.slice_ref(text),
        Cow::Owned(text) if is_json || serde_json::from_slice::<IgnoredAny>(&text).is_ok() => text.into(),
        Cow::Owned(_) => body,
    }
}

/// A half of a character just before the quote that ends a text.
pub(super) fn first_half(text: &[u8]) -> Option<Range<usize>> {
    if let Some(half) = lone_halves(text).into_iter().rev().find(|half| text.get(half.end) == Some(&b'"') && !is_low(&text[half.clone()])) {
        return Some(half);
    }
    let mut rest = 0;
    while let Err(error) = std::str::from_utf8(&text[rest..]) {
        let start = rest + error.valid_up_to();
        let end = error.error_len().map_or(text.len(), |length| start + length);
        if text.get(end) == Some(&b'"') && length_of(text[start]).is_some_and(|length| end - start < length) {
            return Some(start..end);
        }
        rest = end;
    }
    None
}

/// The length of a character by its first byte.
pub(super) const fn length_of(first: u8) -> Option<usize> {
    match first {
        0xC2..=0xDF => Some(2),
        0xE0..=0xEF => Some(3),
        0xF0..=0xF4 => Some(4),
        _ => None,
    }
}

/// The escapes of surrogates that have no other half.
pub(super) fn lone_halves(text: &[u8]) -> Vec<Range<usize>> {
    // Nearly no answer has such an escape.
    if memmem::find(text, b"\\ud").is_none() && memmem::find(text, b"\\uD").is_none() {
        return Vec::new();
    }
    let mut lone = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut at = 0;
    while let Some(offset) = memchr::memchr(b'\\', &text[at..]) {
        let start = at + offset;
        let unit = text.get(start..start + ESCAPE_LEN).and_then(unit);
        let end = if unit.is_some() { start + ESCAPE_LEN } else { (start + 2).min(text.len()) };
        let is_next = open.as_ref().is_some_and(|open| open.end == start);
        match unit {
            Some(0xDC00..=0xDFFF) if is_next => open = None,
            Some(0xDC00..=0xDFFF) => lone.push(start..end),
            Some(0xD800..=0xDBFF) => lone.extend(open.replace(start..end)),
            _ => {}
        }
        if open.as_ref().is_some_and(|open| open.end < end) {
            lone.extend(open.take());
        }
        at = end;
    }
    lone.extend(open);
    lone.sort_unstable_by_key(|half| half.start);
    lone
}

/// The UTF-16 unit of an escape such as `\ud83d`.
fn unit(escape: &[u8]) -> Option<u32> {
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

pub(super) fn is_low(escape: &[u8]) -> bool {
    matches!(unit(escape), Some(0xDC00..=0xDFFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_replaced_and_the_rest_stays() {
        for (sent, got) in [
            (&b"{\"a\":\"caf\xC3\xA9\"}"[..], "{\"a\":\"caf\u{e9}\"}"),
            (b"{\"a\":\"caf\xC3\"}", "{\"a\":\"caf\u{fffd}\"}"),
            (b"{\"a\":\"\xFF\xFE\"}", "{\"a\":\"\u{fffd}\u{fffd}\"}"),
            (b"{\"a\":\"\xF0\x9F\x98\"}", "{\"a\":\"\u{fffd}\"}"),
            (br#"{"a":"\ud83d"}"#, "{\"a\":\"\u{fffd}\"}"),
            (br#"{"a":"\uDE00x"}"#, "{\"a\":\"\u{fffd}x\"}"),
            (br#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\ud83d\ude00"}"#),
            (br#"{"a":"\ud83d\ud83d\ude00"}"#, "{\"a\":\"\u{fffd}\\ud83d\\ude00\"}"),
            (br#"{"a":"\ud83d\n\ude00"}"#, "{\"a\":\"\u{fffd}\\n\u{fffd}\"}"),
            (br#"{"a":"\ud83d-\ude00"}"#, "{\"a\":\"\u{fffd}-\u{fffd}\"}"),
            // A backslash that is a character itself.
            (br#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (br#"{"a":"\\\ud83d"}"#, "{\"a\":\"\\\\\u{fffd}\"}"),
            (br#"{"a":"\u00e9\ud7ff"}"#, r#"{"a":"\u00e9\ud7ff"}"#),
            (b"\\ud8", "\\ud8"),
            (b"\\", "\\"),
        ] {
            assert_eq!(String::from_utf8(mended(sent).into_owned()).unwrap(), got);
        }
    }

    #[test]
    fn an_answer_is_mended_if_it_is_json() {
        for (body, is_json, got) in [
            (&b"\xEF\xBB\xBF{\"a\":1}"[..], false, &b"{\"a\":1}"[..]),
            (b"{\"a\":\"\xFF\"}", false, "{\"a\":\"\u{fffd}\"}".as_bytes()),
            (br#"{"a":"\ud83d"}"#, false, "{\"a\":\"\u{fffd}\"}".as_bytes()),
            (b"{\xFF\x00", false, b"{\xFF\x00"),
            (b"{\"a\":\"\xFF", true, "{\"a\":\"\u{fffd}".as_bytes()),
            (b"\x89PNG\xFF", false, b"\x89PNG\xFF"),
        ] {
            assert_eq!(mended_answer(Bytes::copy_from_slice(body), is_json), got);
        }
    }
}
