//! Server-sent events: cuts a byte stream into events without changing a byte, however the network chunked it.
//!
//! An event ends at an empty line; lines end in LF, CR LF or CR (WHATWG HTML, section 9.2).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// An event larger than this ends the stream. A picture comes as one event, so it may be as large as a plain answer.
pub const EVENT_BYTES_MAX: usize = 64 << 20;
/// What some programs put in front of UTF-8; a stream may begin with one, which is not part of its first line.
pub const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether what a body begins with is the beginning of a stream. `None` while that cannot be told yet.
///
/// The type that a provider states is often missing or wrong; the first line is not.
pub fn is_stream(beginning: &[u8]) -> Option<bool> {
    const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
    if beginning.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(beginning) {
        return None;
    }
    let line = beginning.strip_prefix(BYTE_ORDER_MARK).unwrap_or(beginning).trim_ascii_start();
    if FIELDS.iter().any(|field| line.starts_with(field)) {
        return Some(true);
    }
    if FIELDS.iter().any(|field| field.starts_with(line)) { None } else { Some(false) }
}

/// One event as it came, its closing empty line included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(Bytes);

impl Event {
    /// The bytes to pass on.
    pub const fn raw(&self) -> &Bytes {
        &self.0
    }

    /// The payload: all `data` lines, joined by LF. `None` for comments and other fields.
    pub fn data(&self) -> Option<Bytes> {
        // Nearly every event is one line of data, to be found without looking at each byte.
        if let Some(rest) = self.0.strip_prefix(b"data:") {
            let line = &rest[..memchr2(b'\n', b'\r', rest).unwrap_or(rest.len())];
            if rest[line.len()..].iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
                return Some(self.0.slice_ref(line.strip_prefix(b" ").unwrap_or(line)));
            }
        }
        let mut lines = self.0.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| {
            let value = line.strip_prefix(b"data:")?;
            Some(value.strip_prefix(b" ").unwrap_or(value))
        });
        let first = lines.next()?;
        let Some(second) = lines.next() else { return Some(self.0.slice_ref(first)) };
        let mut joined = BytesMut::from(first);
        for line in std::iter::once(second).chain(lines) {
            joined.extend_from_slice(b"\n");
            joined.extend_from_slice(line);
        }
        Some(joined.freeze())
    }

    /// What was left when a stream ended: an event without its closing empty line, which is added.
    pub fn unfinished(rest: &[u8]) -> Self {
        let mut raw = BytesMut::from(rest);
        raw.extend_from_slice(b"\n\n");
        Self(raw.freeze())
    }

    /// An event whose bytes are known.
    pub const fn from_raw(raw: Bytes) -> Self {
        Self(raw)
    }

    /// The event that ends a stream of the OpenAI dialect.
    pub const fn done() -> Self {
        Self(Bytes::from_static(b"data: [DONE]\n\n"))
    }

    /// An event of data alone, which has no line end in it.
    pub fn of_data(data: &[u8]) -> Self {
        Self(Bytes::from([b"data: ", data, b"\n\n"].concat()))
    }

    /// An event of a kind, if it has one, with a JSON payload.
    pub fn new(kind: Option<&str>, payload: &serde_json::Value) -> Self {
        let kind = kind.map(|kind| format!("event: {kind}\n")).unwrap_or_default();
        Self(Bytes::from(format!("{kind}data: {payload}\n\n")))
    }
}

/// The stream had an event of more than [`EVENT_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream sent an event that is too long")]
pub struct EventTooLong;

/// Collects bytes and gives out whole events.
#[derive(Debug, Default)]
pub struct Splitter {
    buffer: BytesMut,
    /// Bytes of the buffer in which no event ends.
    scanned: usize,
    /// Whether the beginning of the stream has been looked at.
    has_begun: bool,
}

impl Splitter {
    /// Adds bytes as they came from the network. Take out all whole events before adding more.
    ///
    /// # Errors
    /// [`EventTooLong`] when the event in progress is too long.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), EventTooLong> {
        if self.buffer.len() > EVENT_BYTES_MAX {
            return Err(EventTooLong);
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    /// The next whole event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.skip_mark();
        let end = self.find_end()?;
        self.scanned = 0;
        Some(Event(self.buffer.split_to(end).freeze()))
    }

    /// What is left when the stream has ended: an event that was cut off, or nothing.
    pub fn into_rest(mut self) -> Bytes {
        self.skip_mark();
        self.buffer.freeze()
    }

    fn skip_mark(&mut self) {
        if self.has_begun {
            return;
        }
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.advance(BYTE_ORDER_MARK.len());
            self.scanned = 0;
            self.has_begun = true;
        } else {
            self.has_begun = !BYTE_ORDER_MARK.starts_with(&self.buffer);
        }
    }

    fn find_end(&mut self) -> Option<usize> {
        let bytes = &self.buffer[..];
        let mut at = self.scanned;
        while at < bytes.len() {
            let Some(offset) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.scanned = bytes.len();
                return None;
            };
            let line_end = at + offset;
            let next = after_line_end(bytes, line_end);
            match next.and_then(|next| bytes.get(next).map(|byte| (next, *byte))) {
                // An empty line. A CR at the end of the buffer may be half of a CR LF, so it waits for more.
                Some((next, b'\n' | b'\r')) => match after_line_end(bytes, next) {
                    Some(end) => return Some(end),
                    None => {
                        self.scanned = line_end;
                        return None;
                    }
                },
                Some((next, _)) => at = next,
                None => {
                    self.scanned = line_end;
                    return None;
                }
            }
        }
        None
    }
}

/// Where the line after the line end at `at` begins; `None` when that cannot be told yet.
fn after_line_end(bytes: &[u8], at: usize) -> Option<usize> {
    match (bytes[at], bytes.get(at + 1)) {
        (b'\n', _) => Some(at + 1),
        (_, Some(b'\n')) => Some(at + 2),
        (_, Some(_)) => Some(at + 1),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b": hello\n\ndata: {\"a\":1}\n\ndata: one\r\ndata:two\r\n\r\nevent: x\rdata: cr\r\rdata: [DONE]\n\n";

    fn split(stream: &[u8], cut: usize) -> Vec<Event> {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for chunk in stream.chunks(cut) {
            splitter.push(chunk).unwrap();
            while let Some(event) = splitter.next_event() {
                events.push(event);
            }
        }
        assert!(splitter.into_rest().is_empty());
        events
    }

    #[test]
    fn the_events_do_not_depend_on_how_the_stream_was_cut() {
        let whole = split(STREAM, STREAM.len());
        let data: Vec<_> = whole.iter().map(|event| event.data().map(|data| String::from_utf8(data.to_vec()).unwrap())).collect();
        let expected = [None, Some("{\"a\":1}"), Some("one\ntwo"), Some("cr"), Some("[DONE]")];
        assert_eq!(data, expected.map(|text| text.map(str::to_owned)));
        for cut in 1..STREAM.len() {
            assert_eq!(split(STREAM, cut), whole, "cut at {cut}");
        }
        let joined: Vec<u8> = whole.iter().flat_map(|event| event.raw().to_vec()).collect();
        assert_eq!(joined, STREAM);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut splitter = Splitter::default();
        let chunk = vec![b'x'; 1 << 20];
        let most = (EVENT_BYTES_MAX >> 20) + 2;
        let refused = (0..most).find(|_| {
            let pushed = splitter.push(&chunk);
            assert!(splitter.next_event().is_none());
            pushed.is_err()
        });
        assert!(refused.is_some());
    }

    #[test]
    fn a_mark_at_the_beginning_is_not_part_of_the_first_line() {
        for rest in [STREAM, b"\n\ndata: 1\n\n", b"\r\n\r\n"] {
            let stream = [BYTE_ORDER_MARK, rest].concat();
            for cut in 1..8 {
                assert_eq!(split(&stream, cut), split(rest, rest.len()), "cut at {cut}");
            }
        }
        let later = [b"\n\n".as_slice(), BYTE_ORDER_MARK, b"data: 1\n\n"].concat();
        for cut in 1..8 {
            assert_eq!(split(&later, cut).iter().map(|event| event.raw().len()).sum::<usize>(), later.len(), "cut at {cut}");
        }
    }

    #[test]
    fn a_stream_is_known_by_its_first_line() {
        for (beginning, is) in [
            ("data: x", Some(true)),
            ("data:", Some(true)),
            ("event: message_start", Some(true)),
            ("id:1", Some(true)),
            ("retry: 5", Some(true)),
            (": OPENROUTER PROCESSING", Some(true)),
            ("\r\n\n : x", Some(true)),
            ("\u{feff}\ndata: x", Some(true)),
            ("", None),
            ("\n", None),
            ("\u{feff}", None),
            ("da", None),
            ("dat{", Some(false)),
            ("{\"data:\": 1}", Some(false)),
            ("<html>", Some(false)),
            ("database", Some(false)),
        ] {
            assert_eq!(is_stream(beginning.as_bytes()), is, "{beginning:?}");
        }
        assert_eq!(is_stream(&BYTE_ORDER_MARK[..2]), None);
    }
}
