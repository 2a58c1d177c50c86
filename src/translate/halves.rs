//! Joins the halves of a character that came in two events of a stream.
//!
//! Between them may come what says nothing there: empty pieces, pings, pieces of another text. An event that ends in half a character waits with those behind it, so
//! that the order stays; but only for a few, and for nothing that ends the text.

use std::collections::VecDeque;

use serde_json::Value;

use super::{
    mend::{REPLACEMENT, first_half, is_low, length_of, lone_halves, mended},
    sse::Event,
};

/// So many events wait behind half a character at most.
const BEHIND_MAX: usize = 4;
/// None that is larger does, in bytes.
const BEHIND_BYTES_MAX: usize = 64 << 10;
/// In so many places of one event a second half is looked for.
const PLACES_MAX: usize = 8;
/// Texts of answers are found below shorter paths than this, in bytes.
const PATH_BYTES_MAX: usize = 256;

/// Mends the events of a stream. One that ends in half a character waits for the other half.
#[derive(Debug, Default)]
pub struct Mender {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    /// The text that ends in half a character, if the other half may still come.
    open: Option<Place>,
}

impl Mender {
    /// Takes the next event; returns what can be passed on now.
    pub fn add(&mut self, mut event: Event) -> impl Iterator<Item = Event> + use<> {
        // A comment says nothing about a half, and overtakes it.
        let passes = if self.waiting.is_empty() { first_half(event.raw()).is_none() } else { event.data().is_none() };
        if passes {
            return Some(mended_event(event)).into_iter().chain(Vec::new());
        }
        for waiting in &mut self.waiting {
            let Some(place) = waiting.open.take() else { continue };
            match place.look(&waiting.event, &event) {
                Next::Joined(first, second) => (waiting.event, event) = (first, second),
                Next::Silent => waiting.open = Some(place),
                Next::Over => {}
            }
        }
        self.waiting.push_back(Waiting { open: Place::of_half(&event), event });
        if self.waiting.len() > BEHIND_MAX + 1
            && let Some(oldest) = self.waiting.front_mut()
        {
            oldest.open = None;
        }
        let count = self.waiting.iter().take_while(|waiting| waiting.open.is_none()).count();
        let ready: Vec<Event> = self.waiting.drain(..count).map(|waiting| mended_event(waiting.event)).collect();
        None.into_iter().chain(ready)
    }

    /// What waited for another event which did not come.
    pub fn rest(&mut self) -> Vec<Event> {
        self.waiting.drain(..).map(|waiting| mended_event(waiting.event)).collect()
    }
}

/// What an event means for half a character that waits.
enum Next {
    /// It had the other half: both events as they are now.
    Joined(Event, Event),
    /// It says nothing there.
    Silent,
    /// The text goes on without it, or ends.
    Over,
}

/// One of the texts that a stream sends in pieces.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The type of its events, in dialects that have one.
    kind: Option<String>,
    path: String,
}

impl Place {
    /// Where an event ends in half a character: the text that differs without it.
    fn of_half(event: &Event) -> Option<Self> {
        let raw = event.raw();
        if raw.len() > BEHIND_BYTES_MAX {
            return None;
        }
        let half = first_half(raw)?;
        let without = read(&[&raw[..half.start], &raw[half.end..]].concat())?;
        let with = read(raw)?;
        let (path, _) = texts(&with).into_iter().zip(texts(&without)).find(|(with, without)| with.1 != without.1)?.0;
        Some(Self { kind: with["type"].as_str().map(str::to_owned), path })
    }

    fn look(&self, first: &Event, second: &Event) -> Next {
        if second.raw().len() > BEHIND_BYTES_MAX {
            return Next::Over;
        }
        let Some(said) = read(second.raw()) else { return Next::Over };
        let kind = said["type"].as_str();
        if kind == Some("ping") {
            return Next::Silent;
        }
        let texts = texts(&said);
        if let Some((_, text)) = texts.iter().find(|(path, text)| *path == self.path && !text.is_empty()) {
            let joined = if text.starts_with(REPLACEMENT) { self.join(first.raw(), second.raw()) } else { None };
            return joined.map_or(Next::Over, |(first, second)| Next::Joined(first, second));
        }
        let is_end = texts
            .iter()
            .any(|(path, text)| !text.is_empty() && path.strip_suffix("finish_reason").is_some_and(|answer| self.path.starts_with(answer)));
        // A chunk of usage is the last one.
        let is_usage = !said["usage"].is_null() && said["choices"].as_array().is_none_or(Vec::is_empty);
        let is_other = kind.is_some_and(|kind| self.kind.as_deref() != Some(kind)) || !said["error"].is_null();
        if is_end || is_usage || is_other { Next::Over } else { Next::Silent }
    }

    /// Moves the half from the end of the text in one event to its beginning in the other, if the second half is there.
    fn join(&self, first: &[u8], second: &[u8]) -> Option<(Event, Event)> {
        let half = first_half(first)?;
        let moved = &first[half.clone()];
        let joined =
            second_halves(moved, second).take(PLACES_MAX).map(|at| [&second[..at], moved, &second[at..]].concat()).find(|joined| {
                let is_here = |(path, text): &(String, &str)| *path == self.path && !text.starts_with(REPLACEMENT);
                read(joined).is_some_and(|said| texts(&said).iter().any(is_here))
            })?;
        let without = [&first[..half.start], &first[half.end..]].concat();
        Some((Event::from_raw(without.into()), Event::from_raw(joined.into())))
    }
}

/// Where a text begins that may go on with the other half of a character.
fn second_halves<'a>(moved: &'a [u8], text: &'a [u8]) -> Box<dyn Iterator<Item = usize> + 'a> {
    if moved.first() == Some(&b'\\') {
        let lone = lone_halves(text).into_iter().filter(|half| is_low(&text[half.clone()]));
        return Box::new(lone.map(|half| half.start).filter(|at| is_after_quote(text, *at)));
    }
    let needed = moved.first().and_then(|first| length_of(*first)).unwrap_or_default().saturating_sub(moved.len());
    Box::new((1..text.len()).filter(move |at| {
        text[*at] & 0xC0 == 0x80
            && is_after_quote(text, *at)
            && text.get(*at..*at + needed).is_some_and(|rest| std::str::from_utf8(&[moved, rest].concat()).is_ok())
    }))
}

fn is_after_quote(text: &[u8], at: usize) -> bool {
    at > 0 && text[at - 1] == b'"' && at.checked_sub(2).is_none_or(|before| text[before] != b'\\')
}

/// The payload of an event, mended.
fn read(raw: &[u8]) -> Option<Value> {
    let event = Event::from_raw(mended(raw).into_owned().into());
    serde_json::from_slice(&event.data()?).ok()
}

/// All texts within, each under its path. Of a list's members the path has the `index` that they say themselves, since a stream sends those of one at a time.
fn texts(value: &Value) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect<'a>(value: &'a Value, mut path: String, found: &mut Vec<(String, &'a str)>) {
    // A long one would be kept for each of its texts.
    if path.len() > PATH_BYTES_MAX {
        return;
    }
    match value {
        Value::String(text) => found.push((path, text)),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                let at = if item["index"].is_u64() { String::new() } else { format!("/{at}") };
                collect(item, format!("{path}{at}"), found);
            }
        }
        Value::Object(fields) => {
            if let Some(index) = fields.get("index").and_then(Value::as_u64) {
                path.push_str(&format!("/{index}"));
            }
            for (name, field) in fields {
                collect(field, format!("{path}/{name}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn mended_event(event: Event) -> Event {
    match mended(event.raw()) {
        std::borrow::Cow::Borrowed(_) => event,
        std::borrow::Cow::Owned(raw) => Event::from_raw(raw.into()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_hostile_event_costs_no_more_than_its_size() {
        let key = "k".repeat(30_000);
        for (key, texts) in [(key.as_str(), 15_000), ("k", 2_000_000)] {
            let raw = format!("data: {{\"{key}\":[{}\"\"],\"c\":\"\\ud83d\"}}\n\n", "\"\",".repeat(texts / 2));
            let mut mender = Mender::default();
            let begun = std::time::Instant::now();
            let sent = mender.add(Event::from_raw(raw.into())).count() + mender.rest().len();
            assert!(sent == 1 && begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }

    fn event(text: &[u8]) -> Event {
        Event::of_data(&[b"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", text, b"\"}}]}"].concat())
    }

    /// What is passed on after each event, and at the end.
    fn run(events: &[Event]) -> Vec<Vec<Event>> {
        let mut mender = Mender::default();
        let mut passed: Vec<Vec<Event>> = events.iter().map(|event| mender.add(event.clone()).collect()).collect();
        passed.push(mender.rest());
        passed
    }

    #[test]
    fn halves_in_two_events_are_joined_wherever_they_were_cut() {
        for character in ["\u{e9}", "\u{20ac}", "\u{1f600}"] {
            for cut in 1..character.len() {
                let (first, second) = character.as_bytes().split_at(cut);
                let passed = run(&[event(&[b"a", first].concat()), event(&[second, b"b"].concat())]).concat();
                assert_eq!(passed, [event(b"a"), event(&[character.as_bytes(), b"b"].concat())], "{character} at {cut}");
            }
        }
        assert_eq!(run(&[event(br"a\ud83d"), event(br"\ude00b")]).concat(), [event(b"a"), event(br"\ud83d\ude00b")]);
        for (first, second) in [
            (&b"a\xC3"[..], &b"b"[..]),
            (b"a\xE2", b"\xA9"),
            (br"a\ud83d", b"b"),
            (br"a\ud83d", b"\xA9"),
            (b"a", b"\xA9"),
            (b"a\xC3", br"\n"),
        ] {
            let (first, second) = (event(first), event(second));
            assert_eq!(run(&[first.clone(), second.clone()]).concat(), [mended_event(first), mended_event(second)]);
        }
        for whole in [&b"a"[..], "\u{e9}".as_bytes(), br"\ud83d\ude00", br"\ude00", b"\xA9"] {
            assert_eq!(run(&[event(whole)])[0].len(), 1, "it does not wait");
        }
    }

    #[test]
    fn an_event_with_half_a_character_waits_for_the_next_one() {
        let comment = Event::from_raw(Bytes::from_static(b": x\n\n"));
        let sent = [event(b"a\xF0\x9F"), comment.clone(), event(b"\x98\x80b\xC3"), event(b"c\xE2"), event(br"\ud83d"), event(br"\ude00")];
        let expected = [
            comment,
            event(b"a"),
            event("\u{1f600}b\u{fffd}".as_bytes()),
            event("c\u{fffd}".as_bytes()),
            event(b""),
            event(br"\ud83d\ude00"),
        ];
        assert_eq!(run(&sent).concat(), expected);
        assert_eq!(run(&[event(b"a\xC3")]), [vec![], vec![event("a\u{fffd}".as_bytes())]]);
    }

    const HALF: &str = r#"{"choices":[{"index":0,"delta":{"content":"a\ud83d"},"finish_reason":null}]}"#;
    const OTHER_HALF: &str = r#"{"choices":[{"index":0,"delta":{"content":"\ude00b"},"finish_reason":null}]}"#;
    const BLOCK_HALF: &str = r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a\ud83d"}}"#;
    const BLOCK_OTHER: &str = r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"\ude00b"}}"#;

    #[test]
    fn what_says_nothing_there_does_not_part_the_halves() {
        for (half, other, between) in [
            (HALF, OTHER_HALF, r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]}"#),
            (HALF, OTHER_HALF, r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#),
            (HALF, OTHER_HALF, r#"{"choices":[{"index":0,"delta":{},"finish_reason":""}]}"#),
            (HALF, OTHER_HALF, r#"{"id":"x","choices":[]}"#),
            (HALF, OTHER_HALF, r#"{"id":"x","choices":[],"usage":null}"#),
            (HALF, OTHER_HALF, r#"{"choices":[{"index":0,"delta":{"content":""}}],"usage":{"completion_tokens":2}}"#),
            (HALF, OTHER_HALF, r#"{"choices":[{"index":0,"delta":{"reasoning_content":"\ude00 x"}}]}"#),
            (HALF, OTHER_HALF, r#"{"choices":[{"index":1,"delta":{"content":"\ude00"},"finish_reason":"stop"}]}"#),
            (HALF, OTHER_HALF, r#"{"type":"ping"}"#),
            (BLOCK_HALF, BLOCK_OTHER, r#"{"type":"ping"}"#),
            (BLOCK_HALF, BLOCK_OTHER, r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":""}}"#),
            (BLOCK_HALF, BLOCK_OTHER, r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}"#),
        ] {
            let (between, whole) = (Event::of_data(between.as_bytes()), other.replace(r"\ude00b", r"\ud83d\ude00b"));
            for count in 0..=6 {
                let mut sent = vec![Event::of_data(half.as_bytes())];
                sent.extend(vec![between.clone(); count]);
                sent.push(Event::of_data(other.as_bytes()));
                let passed = run(&sent);
                assert_eq!(passed.concat().len(), count + 2);
                if count > BEHIND_MAX {
                    assert_eq!(passed[BEHIND_MAX + 1].len(), BEHIND_MAX + 2, "it waits for no more");
                    continue;
                }
                assert!(passed[..=count].iter().all(Vec::is_empty));
                let mut expected = vec![Event::of_data(half.replace(r"\ud83d", "").as_bytes())];
                expected.extend(vec![mended_event(between.clone()); count]);
                expected.push(Event::of_data(whole.as_bytes()));
                assert_eq!(passed.concat(), expected);
            }
        }
    }

    #[test]
    fn nothing_that_ends_the_text_waits() {
        let large = format!(r#"{{"choices":[],"x":"{}"}}"#, "x".repeat(BEHIND_BYTES_MAX));
        for (half, end) in [
            (HALF, r#"{"choices":[{"index":0,"delta":{"content":"b"}}]}"#),
            (HALF, r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#),
            (HALF, r#"{"choices":[],"usage":{"completion_tokens":2}}"#),
            (HALF, r#"{"usage":{"completion_tokens":2}}"#),
            (HALF, r#"{"choices":[],"error":{"message":"x"}}"#),
            (HALF, "[DONE]"),
            (HALF, "{"),
            (HALF, &large),
            (BLOCK_HALF, r#"{"type":"content_block_stop","index":1}"#),
            (BLOCK_HALF, r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#),
            (BLOCK_HALF, r#"{"type":"error","error":{"message":"x"}}"#),
        ] {
            let sent = [Event::of_data(half.as_bytes()), Event::of_data(br#"{"choices":[]}"#), Event::of_data(end.as_bytes())];
            let expected = [Event::of_data(half.replace(r"\ud83d", "\u{fffd}").as_bytes()), sent[1].clone(), sent[2].clone()];
            assert_eq!(run(&sent), [vec![], vec![], expected.to_vec(), vec![]], "{end}");
        }
    }

    /// With several answers in one stream each may be cut, and pieces of one come between those of the other.
    #[test]
    fn each_of_several_answers_gets_its_own_half() {
        let piece = |index: u8, text: &str| {
            Event::of_data(format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"{text}"}}}}]}}"#).as_bytes())
        };
        let sent = [piece(0, r"a\ud83d"), piece(1, r"b\ud83c"), piece(0, r"\ude00"), piece(1, r"\udf0d")];
        let expected = [piece(0, "a"), piece(1, "b"), piece(0, r"\ud83d\ude00"), piece(1, r"\ud83c\udf0d")];
        assert_eq!(run(&sent).concat(), expected);
        let both = Event::of_data(br#"{"choices":[{"index":1,"delta":{"content":"\ude00"}},{"index":0,"delta":{"content":"\ude00"}}]}"#);
        let passed = run(&[piece(0, r"\ud83d"), both]).concat();
        assert_eq!(
            passed[1],
            Event::of_data("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"\u{fffd}\"}},{\"index\":0,\"delta\":{\"content\":\"\\ud83d\\ude00\"}}]}".as_bytes())
        );
    }
}
