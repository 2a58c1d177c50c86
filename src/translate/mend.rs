//! Broken characters in what providers send: bytes that are not UTF-8, and halves of surrogate pairs in JSON escapes.
//!
//! A model's tokens are pieces of bytes, so a provider that decodes them one by one cuts characters in two: within an answer, or between two events of a stream. Halves
//! that belong together are joined; what stays broken becomes U+FFFD, as in every decoder of UTF-8 that does not fail.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use memchr::memmem;
use serde::de::IgnoredAny;

use super::sse::{BYTE_ORDER_MARK, Event};

/// What a broken character becomes.
const REPLACEMENT: &str = "\u{fffd}";
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

/// Whether a text within ends in the first half of a character, whose second half may come with the next event.
fn ends_in_half(text: &[u8]) -> bool {
    first_half(text).is_some()
}

/// Moves the first half of a character from the end of a text in one event to the beginning of the text in the next one, if the second half is there.
fn join(first: &[u8], second: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let half = first_half(first)?;
    let moved = &first[half.clone()];
    let at = if moved[0] == b'\\' {
        lone_halves(second).into_iter().find(|other| is_after_quote(second, other.start) && is_low(&second[other.clone()]))?.start
    } else {
        let needed = length_of(moved[0])? - moved.len();
        (1..second.len().saturating_sub(needed - 1)).find(|at| {
            second[*at] & 0xC0 == 0x80
                && is_after_quote(second, *at)
                && std::str::from_utf8(&[moved, &second[*at..*at + needed]].concat()).is_ok()
        })?
    };
    let without = [&first[..half.start], &first[half.end..]].concat();
    Some((without, [&second[..at], moved, &second[at..]].concat()))
}

/// Mends the events of a stream. One that ends in half a character waits for the next one.
#[derive(Debug, Default)]
pub struct Mender {
    waiting: Option<Event>,
}

impl Mender {
    /// Takes the next event; returns what can be passed on now.
    pub fn add(&mut self, event: Event) -> impl Iterator<Item = Event> + use<> {
        if self.waiting.is_some() && event.data().is_none() {
            // A comment says nothing about the half.
            return [None, Some(event)].into_iter().flatten();
        }
        let (first, event) = match self.waiting.take() {
            None => (None, event),
            Some(first) => match join(first.raw(), event.raw()) {
                Some((first, event)) => (Some(mended_event(Event::from_raw(first.into()))), Event::from_raw(event.into())),
                None => (Some(mended_event(first)), event),
            },
        };
        if ends_in_half(event.raw()) {
            self.waiting = Some(event);
            return [first, None].into_iter().flatten();
        }
        [first, Some(mended_event(event))].into_iter().flatten()
    }

    /// The event that waited for another one which did not come.
    pub fn rest(&mut self) -> Option<Event> {
        self.waiting.take().map(mended_event)
    }
}

fn mended_event(event: Event) -> Event {
    match mended(event.raw()) {
        Cow::Borrowed(_) => event,
        Cow::Owned(raw) => Event::from_raw(raw.into()),
    }
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
fn first_half(text: &[u8]) -> Option<Range<usize>> {
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
const fn length_of(first: u8) -> Option<usize> {
    match first {
        0xC2..=0xDF => Some(2),
        0xE0..=0xEF => Some(3),
        0xF0..=0xF4 => Some(4),
        _ => None,
    }
}

fn is_after_quote(text: &[u8], at: usize) -> bool {
    at > 0 && text[at - 1] == b'"' && at.checked_sub(2).is_none_or(|before| text[before] != b'\\')
}

/// The escapes of surrogates that have no other half.
fn lone_halves(text: &[u8]) -> Vec<Range<usize>> {
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

fn is_low(escape: &[u8]) -> bool {
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
    fn halves_in_two_events_are_joined_wherever_they_were_cut() {
        let event = |text: &[u8]| [b"data: {\"n\":1,\"delta\":{\"content\":\"", text, b"\"}}\n\n"].concat();
        for character in ["\u{e9}", "\u{20ac}", "\u{1f600}"] {
            for cut in 1..character.len() {
                let (first, second) = character.as_bytes().split_at(cut);
                let (first, second) = (event(&[b"a", first].concat()), event(&[second, b"b"].concat()));
                assert!(ends_in_half(&first));
                let (first, second) = join(&first, &second).unwrap();
                assert_eq!((first, second), (event(b"a"), event(&[character.as_bytes(), b"b"].concat())), "{character} at {cut}");
            }
        }
        let (first, second) = join(&event(br"a\ud83d"), &event(br"\ude00b")).unwrap();
        assert_eq!((first, second), (event(b"a"), event(br"\ud83d\ude00b")));
        for (first, second) in
            [(&b"a\xC3"[..], &b"b"[..]), (b"a\xC3", b""), (b"a\xE2", b"\xA9"), (br"a\ud83d", b"b"), (br"a\ud83d", b"\xA9"), (b"a", b"\xA9")]
        {
            assert_eq!(join(&event(first), &event(second)), None);
        }
        for whole in [&b"a"[..], "\u{e9}".as_bytes(), br"\ud83d\ude00", br"\ude00", b"\xA9"] {
            assert!(!ends_in_half(&event(whole)));
        }
    }

    #[test]
    fn an_event_with_half_a_character_waits_for_the_next_one() {
        let event = |text: &[u8]| Event::of_data(&[b"{\"content\":\"", text, b"\"}"].concat());
        let comment = Event::from_raw(Bytes::from_static(b": x\n\n"));
        let mut mender = Mender::default();
        let mut all: Vec<Event> = Vec::new();
        for next in [event(b"a\xF0\x9F"), comment.clone(), event(b"\x98\x80b\xC3"), event(b"c\xE2"), event(br"\ud83d"), event(br"\ude00")] {
            all.extend(mender.add(next));
        }
        let expected = [
            comment,
            event(b"a"),
            event("\u{1f600}b\u{fffd}".as_bytes()),
            event("c\u{fffd}".as_bytes()),
            event(b""),
            event(br"\ud83d\ude00"),
        ];
        assert_eq!(all, expected);
        assert_eq!(mender.rest(), None);
        assert_eq!(mender.add(event(b"a\xC3")).count(), 0);
        assert_eq!(mender.rest(), Some(event("a\u{fffd}".as_bytes())));
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
