//! Streams: every event goes to the caller as it came, and on the way the meter looks for the usage.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderValue, header};
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Answer, IDLE_TIMEOUT, UNSEEN_TAIL_TOKENS, describe, estimate};
use crate::{
    domain::{Metered as Known, Usage},
    gateway::{
        authorise::Ask,
        edge::stream_body,
        providers::abort_stops_billing,
        reserve::Held,
        upstream::{DRAIN_TIMEOUT, Reply, is_streamed},
    },
    translate::{
        openai::{self, Seen},
        sse::{Event, Splitter},
    },
};

/// Events that may wait for a slow caller.
const QUEUE_EVENTS: usize = 16;
/// A caller who takes nothing for this long is gone.
const SLOW_CALLER_TIMEOUT: Duration = Duration::from_secs(60);
/// A stream never runs longer than this.
const STREAM_TIMEOUT: Duration = Duration::from_secs(900);

/// How a stream ended.
enum End {
    /// The provider said that it is complete.
    Complete,
    /// The provider stopped without saying so.
    Broken,
    /// The gateway stopped reading.
    Cut,
}

/// What has been counted so far.
#[derive(Default)]
struct Counted {
    usage: Option<Usage>,
    visible_bytes: u64,
    /// Whether the provider reported an error in the stream.
    has_error: bool,
}

/// Passes a stream on, and tells what it used.
pub(super) async fn pass_on(held: &Held, reply: Reply, answer: &Answer, stopping: &CancellationToken) -> Known {
    let (events, body) = mpsc::channel(QUEUE_EVENTS);
    let mut response = http::Response::new(stream_body(body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    describe(held, headers);
    answer.send(Ok(response));

    let mut counted = Counted::default();
    let caller = Caller { events: Some(events), hide_usage: hides_usage(&held.ask), stopping: stopping.clone() };
    let end = pump(held, reply, caller, &mut counted, stopping).await;
    match (counted.usage, end) {
        (Some(usage), End::Complete) => Known::Exact(usage),
        (None, _) if counted.has_error => Known::Unknown,
        // The provider goes on without us, and bills all of it.
        (_, End::Cut) if !abort_stops_billing(&held.route.provider) => Known::Unknown,
        // Usage in the middle of a stream is a running total: more may have been billed after it.
        (Some(usage), _) => {
            let Known::Estimated(seen) = estimate(held, counted.visible_bytes, UNSEEN_TAIL_TOKENS) else { return Known::Unknown };
            Known::Estimated(Usage { output: seen.output.max(usage.output.saturating_add(UNSEEN_TAIL_TOKENS)), ..usage })
        }
        (None, End::Complete) => estimate(held, counted.visible_bytes, 0),
        (None, _) => estimate(held, counted.visible_bytes, UNSEEN_TAIL_TOKENS),
    }
}

/// What an attempt used that was dropped before its answer began.
pub(super) fn dropped(held: &Held) -> Known {
    if is_streamed(&held.ask) && abort_stops_billing(&held.route.provider) { estimate(held, 0, UNSEEN_TAIL_TOKENS) } else { Known::Unknown }
}

/// The usage chunk is asked for on the gateway's own account; a caller who did not ask for it does not get it.
fn hides_usage(ask: &Ask) -> bool {
    matches!(ask, Ask::Chat(chat) if !chat.wants_usage())
}

struct Caller {
    /// `None` once the caller is gone.
    events: Option<mpsc::Sender<Bytes>>,
    hide_usage: bool,
    stopping: CancellationToken,
}

impl Caller {
    /// Passes bytes on; a caller who takes nothing for too long, or while the gateway ends, is gone.
    async fn pass(&mut self, bytes: Bytes) {
        let Some(events) = &self.events else { return };
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
    loop {
        if caller.events.is_none() && !is_draining {
            if abort_stops_billing(&held.route.provider) {
                return End::Cut;
            }
            is_draining = true;
            deadline = deadline.min(Instant::now() + DRAIN_TIMEOUT);
        }
        let idle = (Instant::now() + IDLE_TIMEOUT).min(deadline);
        let chunk = tokio::select! {
            chunk = tokio::time::timeout_at(idle, reply.body.next()) => chunk,
            () = caller.gone(), if !is_draining => {
                caller.events = None;
                continue;
            }
            () = stopping.cancelled() => return break_off(&mut caller, "the gateway is shutting down", End::Cut),
        };
        let chunk = match chunk {
            Err(_) => return break_off(&mut caller, "the provider stopped sending", End::Cut),
            Ok(None) => return at_end(splitter, counted, &mut caller).await,
            Ok(Some(Err(detail))) => return break_off(&mut caller, &detail, End::Broken),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if splitter.push(&chunk).is_err() {
            return break_off(&mut caller, "the provider sent an event that is too long", End::Cut);
        }
        while let Some(event) = splitter.next_event() {
            if take(&event, counted, &mut caller).await == Taken::Done {
                return End::Complete;
            }
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

/// Counts an event and passes it on.
async fn take(event: &Event, counted: &mut Counted, caller: &mut Caller) -> Taken {
    let data = event.data();
    let (taken, seen) = match data.as_deref() {
        Some(b"[DONE]") => (Taken::Done, Seen::default()),
        Some(data) => openai::inspect(data).map_or((Taken::Garbled, Seen::default()), |seen| (Taken::Part, seen)),
        None => (Taken::Part, Seen::default()),
    };
    counted.add(&seen);
    if !(seen.is_usage_only && caller.hide_usage) {
        caller.pass(event.raw().clone()).await;
    }
    taken
}

/// The connection was closed without `[DONE]`, which some providers never send. The answer is complete if its usage came and nothing was cut off; a last
/// event may lack its empty line.
async fn at_end(splitter: Splitter, counted: &mut Counted, caller: &mut Caller) -> End {
    const CUT: &str = "the provider ended the stream before it was complete";
    let rest = splitter.into_rest();
    if !rest.trim_ascii().is_empty() {
        match take(&Event::unfinished(&rest), counted, caller).await {
            Taken::Done => return End::Complete,
            Taken::Garbled => return break_off(caller, CUT, End::Broken),
            Taken::Part => {}
        }
    }
    if counted.usage.is_some() { End::Complete } else { break_off(caller, CUT, End::Broken) }
}

impl Counted {
    fn add(&mut self, seen: &Seen) {
        self.visible_bytes += seen.visible_bytes;
        self.has_error |= seen.is_error;
        self.usage = seen.usage.or(self.usage);
    }
}

/// Tells the caller in the stream's own form that it ends early; a bare end would look like a complete answer.
fn break_off(caller: &mut Caller, detail: &str, end: End) -> End {
    let error = json!({"error": {"code": "upstream_broken", "message": format!("The answer broke off: {detail}."), "type": "api_error"}});
    caller.say_last(Event::from_data(error.to_string().as_bytes()).raw().clone());
    end
}
