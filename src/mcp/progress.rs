//! Progress: tells a client that asked for it that a long call is alive, and what it has so far.

use std::time::{Duration, Instant};

use rmcp::{
    RoleServer,
    model::{ProgressNotificationParam, ProgressToken},
    service::{Peer, RequestContext},
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::text;

/// The least time between two notes.
const PAUSE: Duration = Duration::from_millis(200);
/// Clients give up on a call that says nothing; this is well below their limits.
const HEARTBEAT: Duration = Duration::from_secs(8);

/// Sends progress notes for one call, if its client asked for them. When it is dropped, as with a call that fails, there are no more.
pub(super) struct Progress {
    texts: mpsc::UnboundedSender<String>,
    sender: AbortOnDropHandle<()>,
}

impl Progress {
    /// Starts when the client gave a token.
    pub(super) fn start(context: &RequestContext<RoleServer>) -> Option<Self> {
        let token = context.meta.get_progress_token()?;
        let (texts, received) = mpsc::unbounded_channel();
        let sender = AbortOnDropHandle::new(tokio::spawn(send(context.peer.clone(), token, received)));
        Some(Self { texts, sender })
    }

    /// Adds a piece of the answer.
    pub(super) fn add(&self, text: &str) {
        let _ = self.texts.send(text.to_owned());
    }

    /// Sends what is left, so that every note comes before the result.
    pub(super) async fn finish(self) {
        drop(self.texts);
        let _ = self.sender.await;
    }
}

async fn send(peer: Peer<RoleServer>, token: ProgressToken, mut texts: mpsc::UnboundedReceiver<String>) {
    let mut count: u32 = 0;
    let mut waiting = String::new();
    let began = Instant::now();
    let mut last = began - PAUSE;
    loop {
        let wait = if waiting.is_empty() { HEARTBEAT } else { PAUSE.saturating_sub(last.elapsed()) };
        let is_over = match tokio::time::timeout(wait, texts.recv()).await {
            Ok(Some(text)) => {
                waiting.push_str(&text);
                if last.elapsed() < PAUSE {
                    continue;
                }
                false
            }
            Ok(None) => true,
            Err(_) => false,
        };
        if is_over && waiting.is_empty() {
            return;
        }
        count += 1;
        let message = match waiting.as_str() {
            "" => format!("still waiting, {} s", began.elapsed().as_secs()),
            piece => text::visible(piece),
        };
        waiting.clear();
        let note = ProgressNotificationParam::new(token.clone(), f64::from(count)).with_message(message);
        if peer.notify_progress(note).await.is_err() || is_over {
            return;
        }
        last = Instant::now();
    }
}
