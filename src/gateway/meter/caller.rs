//! The other end of a stream: a caller who may be slow, or gone; and the last word to them, which waits until their request is booked.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

use super::{Answer, Response};
use crate::gateway::error::GatewayError;

/// A caller who takes nothing for this long is gone.
const SLOW_CALLER_TIMEOUT: Duration = Duration::from_secs(60);

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

    /// Passes bytes on; a caller who takes nothing for too long, or while the gateway ends, is gone. Returns whether it had to wait for the caller.
    pub(super) async fn pass(&mut self, bytes: Bytes) -> bool {
        let Some(events) = &self.events else { return false };
        let bytes = match events.try_send(bytes) {
            Ok(()) => return false,
            Err(TrySendError::Full(bytes)) => bytes,
            Err(TrySendError::Closed(_)) => {
                self.events = None;
                return false;
            }
        };
        let is_sent = tokio::select! {
            sent = tokio::time::timeout(SLOW_CALLER_TIMEOUT, events.send(bytes)) => matches!(sent, Ok(Ok(()))),
            () = self.stopping.cancelled() => false,
        };
        if !is_sent {
            self.events = None;
        }
        true
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
    Whole(Result<Response, GatewayError>),
    /// The end of a stream, and what comes before it.
    Stream(Caller, Option<Bytes>),
}

impl LastWord {
    pub(in crate::gateway) async fn say(self, answer: &Answer) {
        match self {
            Self::Whole(result) => answer.send(result),
            Self::Stream(mut caller, bytes) => {
                if let Some(bytes) = bytes {
                    caller.pass(bytes).await;
                }
            }
        }
    }
}
