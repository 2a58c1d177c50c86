//! Progress: tells a client that asked for it that a long call is alive, and what it has so far. A client that takes no notes gets fewer, and never holds up its call.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::{Peer, RequestContext},
};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::text;

/// The least time between two notes.
const PAUSE: Duration = Duration::from_millis(200);
/// Clients give up on a call that says nothing; this is well below their limits.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// A client that does not take a note for this long gets no more of them.
const PATIENCE: Duration = Duration::from_secs(5);
/// The least time between the last note and the result. The TypeScript SDK hands a note on a turn later than a result, so one that it reads together with the result
/// belongs to no call any more and is reported as an error.
const BEFORE_RESULT: Duration = Duration::from_millis(20);
/// So much of an answer waits for the next note; the rest is in the result.
const NOTE_BYTES_MAX: usize = 8_000;
/// What a note ends with that had no room for all of it.
const CUT: &str = " …";

/// Sends progress notes for one call, if its client asked for them. When it is dropped, as with a call that fails, there are no more.
pub(super) struct Progress {
    waiting: Arc<Waiting>,
    sender: AbortOnDropHandle<()>,
}

/// What the next note will say.
#[derive(Default)]
struct Waiting {
    text: Mutex<Text>,
    changed: Notify,
}

#[derive(Default)]
struct Text {
    pieces: String,
    is_cut: bool,
    is_over: bool,
}

impl Waiting {
    fn change(&self, change: impl FnOnce(&mut Text)) {
        change(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// The text for a note.
    fn take(&self) -> String {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = std::mem::take(&mut text.pieces);
        if std::mem::take(&mut text.is_cut) {
            note.push_str(CUT);
        }
        note
    }

    fn is_over(&self) -> bool {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).is_over
    }

    fn is_empty(&self) -> bool {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).pieces.is_empty()
    }
}

impl Text {
    fn add(&mut self, piece: &str) {
        if !self.is_cut {
            let end = piece.floor_char_boundary(NOTE_BYTES_MAX - self.pieces.len());
            self.pieces.push_str(&piece[..end]);
            self.is_cut = end < piece.len();
        }
    }
}

impl Progress {
    /// Starts when the client gave a token.
    pub(super) fn start(context: &RequestContext<RoleServer>) -> Option<Self> {
        let token = context.meta.get_progress_token()?;
        let waiting = Arc::<Waiting>::default();
        let sender = AbortOnDropHandle::new(tokio::spawn(send(context.peer.clone(), token, waiting.clone())));
        Some(Self { waiting, sender })
    }

    /// Adds a piece of the answer.
    pub(super) fn add(&self, text: &str) {
        self.waiting.change(|waiting| waiting.add(text));
    }

    /// Ends the notes, so that all of them come well before the result. What they have not told is in there.
    pub(super) async fn finish(self) {
        self.waiting.change(|waiting| waiting.is_over = true);
        let _ = self.sender.await;
    }
}

async fn send(peer: Peer<RoleServer>, token: ProgressToken, waiting: Arc<Waiting>) {
    let mut count: u32 = 0;
    let began = Instant::now();
    let mut last: Option<Instant> = None;
    loop {
        let mut is_heartbeat = false;
        while waiting.is_empty() && !waiting.is_over() && !is_heartbeat {
            is_heartbeat = tokio::time::timeout(HEARTBEAT, waiting.changed.notified()).await.is_err();
        }
        while let Some(wait) = last.and_then(|last| PAUSE.checked_sub(last.elapsed())).filter(|wait| !wait.is_zero() && !waiting.is_over())
        {
            let _ = tokio::time::timeout(wait, waiting.changed.notified()).await;
        }
        // A call that was quick has had one note all the same, if there was anything to say.
        if waiting.is_over() && (last.is_some() || waiting.is_empty()) {
            if let Some(wait) = last.and_then(|last| BEFORE_RESULT.checked_sub(last.elapsed())) {
                tokio::time::sleep(wait).await;
            }
            return;
        }
        count += 1;
        let message = match waiting.take().as_str() {
            "" => format!("still waiting, {} s", began.elapsed().as_secs()),
            piece => text::visible(piece),
        };
        let note = ProgressNotificationParam::new(token.clone(), f64::from(count)).with_message(message);
        let sent = tokio::time::timeout(PATIENCE, peer.notify_progress(note)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
        last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_note_is_bounded_and_the_note_says_that_it_is_cut() {
        let waiting = Waiting::default();
        for _ in 0..10_000 {
            waiting.change(|text| text.add("0123456789"));
        }
        let note = waiting.take();
        assert!(note.len() <= NOTE_BYTES_MAX + CUT.len() && note.ends_with(CUT));
        waiting.change(|text| text.add("more"));
        assert_eq!(waiting.take(), "more");
    }
}
