//! The events of a stream do not depend on how the network cut it, and together with the rest they are the stream, but for a mark in front of it.

#![no_main]

use lava_mcp::translate::sse::{BYTE_ORDER_MARK, Event, Splitter};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first bytes say how long the pieces are; the rest is the stream.
    let Some((&cuts, stream)) = bytes.split_first_chunk::<4>() else { return };
    let whole = split(stream, &[usize::MAX]);
    assert_eq!(split(stream, &cuts.map(|cut| usize::from(cut) + 1)), whole);
    assert_eq!(split(stream, &[1]), whole);
    let (events, rest) = whole;
    let joined: Vec<u8> = events.iter().flat_map(|event| event.raw().to_vec()).chain(rest.iter().copied()).collect();
    assert_eq!(joined, stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream));
    for event in events.iter().chain([&Event::unfinished(&rest)]) {
        // A payload without line breaks survives being sent on.
        if let Some(data) = event.data().filter(|data| !data.iter().any(|byte| matches!(byte, b'\n' | b'\r'))) {
            let (again, _) = split(&[b"data: ".as_slice(), &data, b"\n\n"].concat(), &[usize::MAX]);
            assert_eq!(again.first().and_then(Event::data), Some(data));
        }
    }
});

fn split(stream: &[u8], cuts: &[usize]) -> (Vec<Event>, Vec<u8>) {
    let mut splitter = Splitter::default();
    let (mut events, mut left, mut cuts) = (Vec::new(), stream, cuts.iter().cycle());
    while !left.is_empty() {
        let (chunk, after) = left.split_at(left.len().min(*cuts.next().unwrap()));
        left = after;
        splitter.push(chunk).unwrap();
        while let Some(event) = splitter.next_event() {
            events.push(event);
        }
    }
    (events, splitter.into_rest().to_vec())
}
