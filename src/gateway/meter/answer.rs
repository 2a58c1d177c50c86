//! The way to the caller, who may be gone.
//!
//! A caller of a stream is not left without a sign: when nothing has come for a while, they get the head of the answer, and pings. From then on whatever would have been
//! said as a whole is said as an event, and headers that are known only later are kept for the report of the request.

use std::{
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::caller::ping;
use crate::{
    domain::{RequestId, RequestShape},
    gateway::{
        edge::{Response, stream_body},
        error::GatewayError,
        late_headers::LateHeaders,
        refused::Refused,
    },
    translate::sse::Event,
};

/// Events that may wait for a slow caller.
const QUEUE_EVENTS: usize = 16;

/// Who is answered, and in which form.
pub(in crate::gateway) struct Asked {
    pub(in crate::gateway) request: RequestId,
    pub(in crate::gateway) shape: RequestShape,
    pub(in crate::gateway) is_streamed: bool,
    /// How long a caller of a stream is left without a sign.
    pub(in crate::gateway) ping_every: Duration,
    pub(in crate::gateway) late_headers: Arc<LateHeaders>,
}

/// The way to the caller.
pub(in crate::gateway) struct Answer {
    way: Mutex<Way>,
    gone: CancellationToken,
    asked: Asked,
    next_ping: Mutex<Option<Instant>>,
}

/// How far the answer has come.
enum Way {
    /// Nothing was sent.
    Unsent(oneshot::Sender<Result<Response, Refused>>),
    /// The head was sent, and at least one ping.
    Begun(mpsc::Sender<Bytes>),
    /// Somebody else has it, or it is complete.
    Given,
}

impl Answer {
    pub(in crate::gateway) fn to(sender: oneshot::Sender<Result<Response, Refused>>, gone: CancellationToken, asked: Asked) -> Self {
        Self { way: Mutex::new(Way::Unsent(sender)), gone, asked, next_ping: Mutex::default() }
    }

    /// Gives the caller an answer as a whole.
    pub(super) fn send(&self, result: Result<Response, Refused>) {
        let way = mem::replace(&mut *lock(&self.way), Way::Given);
        match (way, result) {
            (Way::Unsent(sender), result) => {
                let _ = sender.send(result);
            }
            (Way::Begun(events), Err(Refused { error, notes })) => {
                if error.status().is_server_error() {
                    tracing::warn!(code = error.code(), error = error.for_log(), "request failed");
                } else {
                    tracing::debug!(code = error.code(), "request refused");
                }
                let mut headers = error.headers(self.asked.shape);
                headers.extend(*notes);
                self.asked.late_headers.keep(&self.asked.request, headers);
                // There is room: pings leave half of the queue free.
                let _ = events.try_send(self.error_event(&error));
            }
            (Way::Begun(_) | Way::Given, _) => {}
        }
    }

    pub(in crate::gateway) fn refuse(&self, error: GatewayError) {
        self.send(Err(error.into()));
    }

    /// The way for the events of a stream. Its head goes out now, unless it had to go out before these headers were known.
    pub(super) fn open(&self, headers: HeaderMap) -> mpsc::Sender<Bytes> {
        match mem::replace(&mut *lock(&self.way), Way::Given) {
            Way::Begun(events) => {
                self.asked.late_headers.keep(&self.asked.request, headers);
                events
            }
            Way::Unsent(sender) => self.begin(sender, headers),
            Way::Given => mpsc::channel(1).0,
        }
    }

    /// Whether the head of a stream has been sent while nothing had come.
    pub(super) fn has_begun(&self) -> bool {
        matches!(*lock(&self.way), Way::Begun(_))
    }

    /// Waits for something, and gives the caller of a stream a sign from time to time.
    pub(in crate::gateway) async fn while_waiting<F: Future>(&self, work: F) -> F::Output {
        if !self.asked.is_streamed {
            return work.await;
        }
        let mut work = pin!(work);
        loop {
            let next = *lock(&self.next_ping).get_or_insert_with(|| Instant::now() + self.asked.ping_every);
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(next) => {
                    self.ping();
                    *lock(&self.next_ping) = Some(Instant::now() + self.asked.ping_every);
                }
            }
        }
    }

    /// Whether the caller has hung up.
    pub(in crate::gateway) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Resolves when the caller has hung up.
    pub(in crate::gateway) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    fn begin(&self, sender: oneshot::Sender<Result<Response, Refused>>, more: HeaderMap) -> mpsc::Sender<Bytes> {
        let (events, body) = mpsc::channel(QUEUE_EVENTS);
        let mut response = http::Response::new(stream_body(body, self.gone.clone().drop_guard()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.extend(more);
        let _ = sender.send(Ok(response));
        events
    }

    fn ping(&self) {
        let mut way = lock(&self.way);
        *way = match mem::replace(&mut *way, Way::Given) {
            Way::Unsent(sender) => Way::Begun(self.begin(sender, HeaderMap::new())),
            other => other,
        };
        if let Way::Begun(events) = &*way
            && events.capacity() > QUEUE_EVENTS / 2
        {
            let _ = events.try_send(ping(self.asked.shape));
        }
    }

    /// The event that says what the answer would have said.
    fn error_event(&self, error: &GatewayError) -> Bytes {
        let body = error.body(self.asked.shape, Some(&self.asked.request));
        let kind = matches!(self.asked.shape, RequestShape::Anthropic).then_some("error");
        Event::new(kind, &body).raw().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
