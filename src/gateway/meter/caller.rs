//! The other end of a stream: a caller who may be slow, or gone; and the last word to them, which waits until their request is booked.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Answer, Response};
use crate::{domain::RequestShape, gateway::refused::Refused};

/// A caller who takes nothing for this long is gone.
const SLOW_CALLER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer bytes are handed over in pieces, so that what waits for a slow caller is not much.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// The end of a stream is handed over within this.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(600);

/// What says in a dialect that the answer is still awaited. Every SDK of the dialect leaves it out: OpenAI's skip comments, Anthropic's skip pings.
pub(super) fn ping(shape: RequestShape) -> Bytes {
    Bytes::from_static(match shape {
        RequestShape::Openai => b": ping\n\n",
        RequestShape::Anthropic => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
    })
}

/// Who reads a stream.
pub(in crate::gateway) struct Caller {
    /// `None` once the caller is gone.
    events: Option<mpsc::Sender<Bytes>>,
    stopping: CancellationToken,
}

impl Caller {
    pub(super) fn new(events: mpsc::Sender<Bytes>, stopping: CancellationToken) -> Self {
        Self { events: Some(events), stopping }
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.events.is_none()
    }

    /// Passes bytes on; a caller who takes nothing for too long, or not all of it until then, or nothing while the gateway ends, is gone. Returns whether it had to
    /// wait for the caller.
    pub(super) async fn pass(&mut self, mut bytes: Bytes, until: Instant) -> bool {
        let mut has_waited = false;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            has_waited |= self.pass_piece(piece, until).await;
            if self.is_gone() {
                break;
            }
        }
        has_waited
    }

    async fn pass_piece(&mut self, piece: Bytes, until: Instant) -> bool {
        let Some(events) = &self.events else { return false };
        let piece = match events.try_send(piece) {
            Ok(()) => return false,
            Err(TrySendError::Full(piece)) => piece,
            Err(TrySendError::Closed(_)) => {
                self.events = None;
                return false;
            }
        };
        let until = until.min(Instant::now() + SLOW_CALLER_TIMEOUT);
        let is_sent = tokio::select! {
            sent = tokio::time::timeout_at(until, events.send(piece)) => matches!(sent, Ok(Ok(()))),
            () = self.stopping.cancelled() => false,
        };
        if !is_sent {
            self.events = None;
        }
        true
    }

    /// Gives a caller who takes what is sent a sign that the answer goes on.
    pub(super) fn ping(&mut self, shape: RequestShape) {
        if let Some(events) = &self.events
            && matches!(events.try_send(ping(shape)), Err(TrySendError::Closed(_)))
        {
            self.events = None;
        }
    }

    /// Resolves when the caller has hung up.
    pub(super) async fn gone(&mut self) {
        if let Some(events) = &self.events {
            events.closed().await;
        }
        self.events = None;
    }
}

/// What a caller is given once the cost of the request is in the books, so that who asks for it afterwards sees it.
pub(in crate::gateway) enum LastWord {
    /// The answer as a whole, or a refusal.
    Whole(Result<Response, Refused>),
    /// The end of a stream, and what comes before it.
    Stream(Caller, Vec<Bytes>),
}

impl LastWord {
    pub(in crate::gateway) async fn say(self, answer: &Answer) {
        match self {
            Self::Whole(result) => answer.send(result),
            Self::Stream(mut caller, blocks) => {
                let until = Instant::now() + LAST_WORD_TIMEOUT;
                for bytes in blocks {
                    caller.pass(bytes, until).await;
                }
            }
        }
    }
}
