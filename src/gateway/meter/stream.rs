//! Streams: every event goes to the caller as it came, and on the way the meter looks for the usage.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt};
use http::{HeaderValue, header};
use serde_json::json;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Answer, IDLE_TIMEOUT, UNSEEN_TAIL_TOKENS, describe, estimate, exact};
use crate::{
    domain::{Metered as Known, RequestShape, Usage, ledger::Ending},
    gateway::{
        edge::stream_body,
        providers::abort_stops_billing,
        reported::Beside,
        reserve::Held,
        upstream::{DRAIN_TIMEOUT, Reply},
    },
    translate::{
        Seen, openai,
        sse::{Event, Splitter},
    },
};

/// Events that may wait for a slow caller.
const QUEUE_EVENTS: usize = 16;
/// Bytes that are passed on together at most, if they come together.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// A caller who takes nothing for this long is gone.
const SLOW_CALLER_TIMEOUT: Duration = Duration::from_secs(60);
/// A stream never runs longer than this.
const STREAM_TIMEOUT: Duration = Duration::from_secs(900);

/// How long usage may come after the end of a stream.
const AFTER_END_TIMEOUT: Duration = Duration::from_millis(250);

/// How a stream ended.
#[derive(Clone, Copy)]
enum End {
    /// The provider said that it is complete.
    Complete,
    /// The provider stopped without saying so.
    Broken,
    /// The gateway stopped reading, for this reason.
    Cut(Ending),
}

/// What has been counted so far.
#[derive(Default)]
struct Counted {
    usage: Option<Usage>,
    visible_bytes: u64,
    /// Whether an answer came to its end.
    is_finished: bool,
    /// Whether the provider reported an error in the stream.
    has_error: bool,
    beside: Beside,
}

/// Passes a stream on, and tells what it used.
pub(super) async fn pass_on(
    held: &Held,
    reply: Reply,
    answer: &Answer,
    stopping: &CancellationToken,
    beside: &mut Beside,
) -> (Known, Ending) {
    let (events, body) = mpsc::channel(QUEUE_EVENTS);
    let mut response = http::Response::new(stream_body(body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    describe(held, headers);
    answer.send(Ok(response));

    let mut counted = Counted::default();
    let caller = Caller { events: Some(events), shape: held.ask.shape(), stopping: stopping.clone() };
    let end = pump(held, reply, caller, &mut counted, stopping).await;
    *beside = std::mem::take(&mut counted.beside);
    let known = match (counted.usage, end) {
        // In the Anthropic dialect the first event reports usage too, and only a later one all of it.
        (Some(usage), End::Complete) if !counted.has_error && (counted.is_finished || held.ask.shape() == RequestShape::Openai) => {
            exact(held, usage, counted.visible_bytes)
        }
        (None, _) if counted.has_error => Known::Unknown,
        // The provider goes on without us, and bills all of it.
        (_, End::Cut(_)) if !abort_stops_billing(&held.route.provider) => Known::Unknown,
        // Usage in the middle of a stream is a running total: more may have been billed after it.
        (Some(usage), _) => match estimate(held, counted.visible_bytes, UNSEEN_TAIL_TOKENS) {
            Known::Estimated(seen) => {
                Known::Estimated(Usage { output: seen.output.max(usage.output.saturating_add(UNSEEN_TAIL_TOKENS)), ..usage })
            }
            other => other,
        },
        (None, End::Complete) => estimate(held, counted.visible_bytes, 0),
        (None, _) => estimate(held, counted.visible_bytes, UNSEEN_TAIL_TOKENS),
    };
    let ending = match end {
        End::Cut(ending) => ending,
        _ if counted.has_error => Ending::ErrorInAnswer,
        End::Complete => Ending::Complete,
        End::Broken => Ending::Broken,
    };
    (known, ending)
}

/// What an attempt used that was dropped before its answer began.
pub(super) fn dropped(held: &Held) -> Known {
    if held.ask.is_streamed() && abort_stops_billing(&held.route.provider) { estimate(held, 0, UNSEEN_TAIL_TOKENS) } else { Known::Unknown }
}

struct Caller {
    /// `None` once the caller is gone.
    events: Option<mpsc::Sender<Bytes>>,
    shape: RequestShape,
    stopping: CancellationToken,
}

impl Caller {
    /// Passes bytes on; a caller who takes nothing for too long, or while the gateway ends, is gone.
    async fn pass(&mut self, passed: Passed) {
        let bytes = match passed {
            Passed::Nothing => return,
            Passed::One(bytes) => bytes,
            Passed::Many(bytes) => bytes.freeze(),
        };
        let Some(events) = &self.events else { return };
        let bytes = match events.try_send(bytes) {
            Err(TrySendError::Full(bytes)) => bytes,
            Ok(()) => return,
            Err(TrySendError::Closed(_)) => {
                self.events = None;
                return;
            }
        };
        let is_sent = tokio::select! {
            sent = tokio::time::timeout(SLOW_CALLER_TIMEOUT, events.send(bytes)) => matches!(sent, Ok(Ok(()))),
            () = self.stopping.cancelled() => false,
        };
        if !is_sent {
            self.events = None;
        }
    }

    /// Passes a last word on, if there is room for it.
    fn say_last(&mut self, bytes: Bytes) {
        if let Some(events) = self.events.take() {
            let _ = events.try_send(bytes);
        }
    }

    async fn gone(&self) {
        if let Some(events) = &self.events {
            events.closed().await;
        }
    }
}

async fn pump(held: &Held, mut reply: Reply, mut caller: Caller, counted: &mut Counted, stopping: &CancellationToken) -> End {
    let mut splitter = Splitter::default();
    let mut deadline = Instant::now() + STREAM_TIMEOUT;
    let mut is_draining = false;
    // How the answer ended, if that was seen before the events in front of it were passed on.
    let mut come = None;
    loop {
        if caller.events.is_none() && !is_draining {
            if abort_stops_billing(&held.route.provider) {
                return End::Cut(Ending::CutByCaller);
            }
            is_draining = true;
            deadline = deadline.min(Instant::now() + DRAIN_TIMEOUT);
        }
        let idle = (Instant::now() + IDLE_TIMEOUT).min(deadline);
        let next = async {
            match come.take() {
                Some(end) => end,
                None => reply.body.next().await,
            }
        };
        let chunk = tokio::select! {
            chunk = tokio::time::timeout_at(idle, next) => chunk,
            () = caller.gone(), if !is_draining => {
                caller.events = None;
                continue;
            }
            () = stopping.cancelled() => return break_off(&mut caller, "the gateway is shutting down", End::Cut(Ending::Stopped)),
        };
        let chunk = match chunk {
            Err(_) => {
                let ending = if is_draining { Ending::CutByCaller } else { Ending::TimedOut };
                return break_off(&mut caller, "the provider stopped sending", End::Cut(ending));
            }
            Ok(None) => return at_end(held, splitter, counted, &mut caller).await,
            Ok(Some(Err(detail))) => return break_off(&mut caller, &detail, End::Broken),
            Ok(Some(Ok(chunk))) => chunk,
        };
        let mut pushed = splitter.push(&chunk);
        // What has come meanwhile goes along.
        let mut gathered = chunk.len();
        let mut has_yielded = false;
        while gathered < GATHERED_BYTES_MAX && come.is_none() {
            match reply.body.next().now_or_never() {
                Some(Some(Ok(more))) => {
                    gathered += more.len();
                    pushed = pushed.and_then(|()| splitter.push(&more));
                    has_yielded = false;
                }
                Some(end) => come = Some(end),
                // The connection hands out one chunk at a time; it may have the next one.
                None if !has_yielded => {
                    tokio::task::yield_now().await;
                    has_yielded = true;
                }
                None => break,
            }
        }
        if pushed.is_err() {
            return break_off(&mut caller, "the provider sent an event that is too long", End::Cut(Ending::Broken));
        }
        let mut passed = Passed::Nothing;
        let mut is_done = false;
        while !is_done && let Some(event) = splitter.next_event() {
            is_done = take(held, &event, counted, &mut passed) == Taken::Done;
        }
        caller.pass(passed).await;
        if is_done {
            if counted.usage.is_none() {
                usage_after_end(held, &mut reply, splitter, counted).await;
            }
            return End::Complete;
        }
    }
}

/// Some providers report usage after the event that ends the stream. It is waited for a moment, and not passed on.
async fn usage_after_end(held: &Held, reply: &mut Reply, mut splitter: Splitter, counted: &mut Counted) {
    let deadline = Instant::now() + AFTER_END_TIMEOUT;
    loop {
        while let Some(event) = splitter.next_event() {
            take(held, &event, counted, &mut Passed::Nothing);
        }
        match tokio::time::timeout_at(deadline, reply.body.next()).await {
            Ok(Some(Ok(chunk))) if counted.usage.is_none() && splitter.push(&chunk).is_ok() => {}
            _ => return,
        }
    }
}

/// What one read from the provider brings the caller. Events that come together go out together: each write costs more than the bytes in it.
enum Passed {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Passed {
    fn add(&mut self, event: &Bytes) {
        match self {
            Self::Nothing => *self = Self::One(event.clone()),
            Self::One(first) => {
                let mut many = BytesMut::with_capacity(4 * (first.len() + event.len()));
                many.extend_from_slice(first);
                many.extend_from_slice(event);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.extend_from_slice(event),
        }
    }
}

/// What an event was.
#[derive(PartialEq, Eq)]
enum Taken {
    /// The end of the stream.
    Done,
    /// A part of the answer, or a comment.
    Part,
    /// Nothing that can be read.
    Garbled,
}

/// Counts an event, and adds it to what is passed on.
fn take(held: &Held, event: &Event, counted: &mut Counted, passed: &mut Passed) -> Taken {
    let data = event.data();
    let (taken, seen) = match data.as_deref().map(|data| counted.inspect(held, data)) {
        Some(Some(seen)) => (if seen.is_end { Taken::Done } else { Taken::Part }, seen),
        Some(None) => {
            let visible_bytes = data.as_ref().map_or(0, |data| data.len() as u64);
            (Taken::Garbled, Seen { visible_bytes, ..Seen::default() })
        }
        None => (Taken::Part, Seen::default()),
    };
    counted.add(&seen);
    match data.filter(|_| seen.usage.is_some() && held.ask.hides_usage()) {
        None => passed.add(event.raw()),
        // The gateway asked for usage, and not the caller: where it comes with a part of the answer, that part goes on without it.
        Some(_) if seen.is_usage_only => {}
        Some(data) => match openai::without_usage(&data) {
            Some(rest) => passed.add(Event::of_data(&rest).raw()),
            None => passed.add(event.raw()),
        },
    }
    taken
}

/// The connection was closed without `[DONE]`, which some providers never send. The answer is complete if it came to its end, its usage came, and nothing
/// was cut off; a last event may lack its empty line. In the Anthropic dialect usage comes first too, so only `message_stop` completes an answer.
async fn at_end(held: &Held, splitter: Splitter, counted: &mut Counted, caller: &mut Caller) -> End {
    const CUT: &str = "the provider ended the stream before it was complete";
    let rest = splitter.into_rest();
    if !rest.trim_ascii().is_empty() {
        let mut passed = Passed::Nothing;
        let taken = take(held, &Event::unfinished(&rest), counted, &mut passed);
        caller.pass(passed).await;
        match taken {
            Taken::Done => return End::Complete,
            Taken::Garbled => return break_off(caller, CUT, End::Broken),
            Taken::Part => {}
        }
    }
    let is_complete = counted.usage.is_some() && counted.is_finished && held.ask.shape() == RequestShape::Openai;
    if is_complete { End::Complete } else { break_off(caller, CUT, End::Broken) }
}

impl Counted {
    fn inspect(&mut self, held: &Held, data: &[u8]) -> Option<Seen> {
        let seen = held.ask.inspect(data)?;
        self.beside.add(&held.route, data, &seen);
        Some(seen)
    }

    fn add(&mut self, seen: &Seen) {
        self.visible_bytes += seen.visible_bytes;
        self.has_error |= seen.is_error;
        self.is_finished |= seen.is_finish;
        self.usage = match (self.usage, seen.usage) {
            (Some(before), Some(now)) => Some(before.max_each(now)),
            (before, now) => now.or(before),
        };
    }
}

/// Tells the caller in the stream's own form that it ends early; a bare end would look like a complete answer.
fn break_off(caller: &mut Caller, detail: &str, end: End) -> End {
    let error = json!({"code": "upstream_broken", "message": format!("The answer broke off: {detail}."), "type": "api_error"});
    let event = match caller.shape {
        RequestShape::Openai => Event::new(None, &json!({"error": error})),
        RequestShape::Anthropic => Event::new(Some("error"), &json!({"type": "error", "error": error})),
    };
    caller.say_last(event.raw().clone());
    end
}
