//! The lines of an input, of which none takes more memory than a message may have.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::{
    envelope::Envelope,
    message::{self, Incoming, MESSAGE_BYTES_MAX, Refusal},
};

/// So much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// A long line is kept in pieces of this size: one that grew as a whole would be copied, and take its place twice.
const PIECE_BYTES: usize = 1 << 20;

pub(super) struct Lines<R> {
    input: BufReader<R>,
    line: Line,
}

/// What has come of a line.
#[derive(Default)]
struct Line {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    bytes: usize,
}

impl Line {
    fn add(&mut self, piece: &[u8]) {
        if self.last.len() + piece.len() > PIECE_BYTES {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.last.extend_from_slice(piece);
        self.bytes += piece.len();
    }

    fn read(self) -> Option<Incoming> {
        let mut pieces = self.full;
        let whole = if pieces.is_empty() {
            self.last
        } else {
            pieces.push(self.last);
            pieces.concat()
        };
        (!whole.trim_ascii().is_empty()).then(|| message::read(&whole))
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(READ_BYTES, input), line: Line::default() }
    }

    /// What the next line says that is not empty; the last one need not have an end. Of a line that is too long only its id is kept.
    pub(super) async fn next(&mut self) -> Option<Incoming> {
        let mut too_long: Option<Envelope> = None;
        loop {
            let read = self.input.fill_buf().await.unwrap_or_default();
            let end = read.iter().position(|byte| *byte == b'\n');
            let piece = &read[..end.unwrap_or(read.len())];
            match &mut too_long {
                Some(envelope) => envelope.feed(piece),
                None if self.line.bytes + piece.len() > MESSAGE_BYTES_MAX => {
                    let envelope = too_long.insert(Envelope::default());
                    let line = std::mem::take(&mut self.line);
                    line.full.iter().chain([&line.last]).for_each(|before| envelope.feed(before));
                    envelope.feed(piece);
                }
                None => self.line.add(piece),
            }
            let (taken, is_end) = (end.map_or(read.len(), |end| end + 1), read.is_empty());
            self.input.consume(taken);
            if end.is_none() && !is_end {
                continue;
            }
            if let Some(envelope) = too_long.take() {
                return Some(Incoming::Refused(Refusal::too_large(envelope.id())));
            }
            let incoming = std::mem::take(&mut self.line).read();
            if incoming.is_some() || is_end {
                return incoming;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn ids(input: &[u8]) -> Vec<Value> {
        let mut lines = Lines::new(input);
        let mut ids = Vec::new();
        while let Some(incoming) = lines.next().await {
            ids.push(incoming.id());
        }
        ids
    }

    #[tokio::test]
    async fn the_last_line_counts_without_its_end_and_empty_ones_do_not() {
        let ping = |id: u32| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}");
        let input = format!("\n{}\r\n \r\n\n{}\n{}", ping(1), ping(2), ping(3));
        assert_eq!(ids(input.as_bytes()).await, [json!(1), json!(2), json!(3)]);
        assert!(ids(b"\n\n").await.is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_named_by_its_id_wherever_that_is() {
        let long = "x".repeat(MESSAGE_BYTES_MAX);
        let input =
            format!("{{\"id\":1,\"a\":\"{long}\"}}\n{{\"a\":\"{long}\",\"id\":2}}\n{{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}}\n");
        assert_eq!(ids(input.as_bytes()).await, [json!(1), json!(2), json!(3)]);
    }
}
