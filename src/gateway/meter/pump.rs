//! Moves a stream from the provider to the caller, and counts on the way.
//!
//! While the caller is slow, nothing is read, and the provider has to wait as well. When the caller hangs up, the provider may have sent, and billed, what nobody has
//! read yet: that is read and counted first, without being kept.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    LastWord,
    caller::Caller,
    events::{Counted, End, Passed},
};
use crate::{
    domain::{RequestShape, ledger::Ending},
    gateway::{ask::Ask, route::Route, upstream::DRAIN_TIMEOUT, upstream_error::hidden, waits::Waits},
    translate::{
        Seen,
        halves::Mender,
        openai,
        sse::{Event, Splitter},
        value_at,
    },
};

/// Bytes that are passed on together at most, if they come together.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// What lies in the buffers on the way is read when the caller hangs up: until nothing has come for so long.
const ARRIVED_GAP: Duration = Duration::from_millis(100);
/// But not longer than this, and not more. The buffers of Linux hold 32 MiB at each end at most.
const ARRIVED_TIMEOUT: Duration = Duration::from_secs(5);
const ARRIVED_BYTES_MAX: usize = 96 << 20;
/// Where the caller was not waited for, only what this process hands from one task to the next.
const HANDED_OUT_GAP: Duration = Duration::from_millis(2);
const HANDED_OUT_TIMEOUT: Duration = Duration::from_millis(50);
/// The same while the gateway ends.
const ENDING_TIMEOUT: Duration = Duration::from_millis(500);
/// How long usage may come after the end of a stream.
const AFTER_END_TIMEOUT: Duration = Duration::from_millis(250);

type Body = BoxStream<'static, Result<Bytes, String>>;

/// A stream on its way.
pub(super) struct Pump<'a> {
    ask: &'a Ask,
    route: &'a Route,
    body: Body,
    caller: Caller,
    /// Whether the provider stops billing when the stream is closed.
    stops_bill: bool,
    waits: Waits,
    splitter: Splitter,
    mender: Mender,
    pub(super) counted: Counted,
    /// Whether the provider may have sent what was not read, because the caller was waited for.
    is_behind: bool,
    /// What the caller is given at the end.
    last: Vec<Bytes>,
    /// Whether the provider has told the caller of an error, in an event that clients take for one.
    has_told_error: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn new(ask: &'a Ask, route: &'a Route, body: Body, waits: Waits, caller: Caller, stops_bill: bool) -> Self {
        Self {
            ask,
            route,
            body,
            caller,
            stops_bill,
            waits,
            splitter: Splitter::default(),
            mender: Mender::default(),
            counted: Counted::default(),
            is_behind: false,
            last: Vec::new(),
            has_told_error: false,
        }
    }

    /// The end of the stream, for the caller.
    pub(super) fn last_word(self) -> LastWord {
        LastWord::Stream(self.caller, self.last)
    }

    /// Runs the stream to its end. The last of it is kept for [`Self::last_word`].
    pub(super) async fn run(&mut self, stopping: &CancellationToken) -> End {
        let end = self.run_on(stopping).await;
        // An event that waits for another one comes before what says that there is none.
        let after = std::mem::take(&mut self.last);
        self.take_rest();
        self.last.extend(after);
        end
    }

    async fn run_on(&mut self, stopping: &CancellationToken) -> End {
        let mut deadline = Instant::now() + self.waits.answer();
        let mut is_draining = false;
        // When the provider sent something last, and when the caller was sent something.
        let (mut heard, mut told) = (Instant::now(), Instant::now());
        // How the answer ended, if that was seen before the events in front of it were passed on.
        let mut come = None;
        loop {
            // A caller who is always a little slow never lets the timer run.
            if Instant::now() >= deadline {
                return self.break_off("it took too long", End::Cut(if is_draining { Ending::CutByCaller } else { Ending::TimedOut }));
            }
            if self.caller.is_gone() && !is_draining {
                if self.stops_bill {
                    return self.read_what_has_come(come, ARRIVED_TIMEOUT, Ending::CutByCaller).await;
                }
                is_draining = true;
                deadline = deadline.min(Instant::now() + DRAIN_TIMEOUT);
            }
            let idle = (heard + self.waits.silence).min(deadline);
            let next = async {
                match come.take() {
                    Some(end) => end,
                    None => self.body.next().await,
                }
            };
            let chunk = tokio::select! {
                chunk = tokio::time::timeout_at(idle, next) => chunk,
                () = self.caller.gone(), if !is_draining => continue,
                () = tokio::time::sleep_until(told + self.waits.ping_every), if !is_draining => {
                    self.caller.ping(self.ask.shape());
                    told = Instant::now();
                    continue;
                }
                () = stopping.cancelled() => {
                    let end = self.read_what_has_come(come, ENDING_TIMEOUT, Ending::Stopped).await;
                    return self.break_off("the gateway is shutting down", end);
                }
            };
            let chunk = match chunk {
                Err(_) => {
                    let ending = if is_draining { Ending::CutByCaller } else { Ending::TimedOut };
                    return self.break_off("the provider stopped sending", End::Cut(ending));
                }
                Ok(None) => return self.at_end(),
                Ok(Some(Err(detail))) => return self.break_off(&detail, End::Broken),
                Ok(Some(Ok(chunk))) => chunk,
            };
            let mut pushed = self.splitter.push(&chunk);
            // What has come meanwhile goes along.
            let mut gathered = chunk.len();
            let mut has_yielded = false;
            self.is_behind = true;
            while gathered < GATHERED_BYTES_MAX && come.is_none() {
                match self.body.next().now_or_never() {
                    Some(Some(Ok(more))) => {
                        gathered += more.len();
                        pushed = pushed.and_then(|()| self.splitter.push(&more));
                        has_yielded = false;
                    }
                    Some(end) => come = Some(end),
                    // The connection hands out one chunk at a time; it may have the next one.
                    None if !has_yielded => {
                        tokio::task::yield_now().await;
                        has_yielded = true;
                    }
                    None => {
                        self.is_behind = false;
                        break;
                    }
                }
            }
            if pushed.is_err() {
                return self.break_off("the provider sent an event that is too long", End::Cut(Ending::Broken));
            }
            let mut passed = Passed::Nothing;
            if self.take_events(&mut passed) {
                self.last = passed.into_blocks();
                self.read_usage_after_end().await;
                return End::Complete;
            }
            for bytes in passed.into_blocks() {
                self.is_behind |= self.caller.pass(bytes, deadline).await;
                told = Instant::now();
            }
            // While the caller was waited for, the provider was not listened to.
            heard = Instant::now();
        }
    }

    /// Reads and counts what the provider has sent already, for nobody.
    async fn read_what_has_come(&mut self, come: Option<Option<Result<Bytes, String>>>, within: Duration, why: Ending) -> End {
        // Nothing of it is passed on.
        let has_told_error = self.has_told_error;
        let end = self.count_what_has_come(come, within, why).await;
        self.has_told_error = has_told_error;
        end
    }

    async fn count_what_has_come(&mut self, mut come: Option<Option<Result<Bytes, String>>>, within: Duration, why: Ending) -> End {
        // Where nobody was waited for, only what is on its way through this process was not read yet.
        let (gap, within, at_limit) =
            if self.is_behind { (ARRIVED_GAP, within, End::Behind(why)) } else { (HANDED_OUT_GAP, HANDED_OUT_TIMEOUT, End::Cut(why)) };
        let deadline = Instant::now() + within;
        let mut read = 0;
        loop {
            let chunk = match come.take() {
                Some(end) => end,
                None => match tokio::time::timeout_at((Instant::now() + gap).min(deadline), self.body.next()).await {
                    Ok(chunk) => chunk,
                    Err(_) if Instant::now() >= deadline => return at_limit,
                    Err(_) => return End::Cut(why),
                },
            };
            let chunk = match chunk {
                None => return self.at_end(),
                Some(Err(_)) => return End::Broken,
                Some(Ok(chunk)) => chunk,
            };
            read += chunk.len();
            if read > ARRIVED_BYTES_MAX || self.splitter.push(&chunk).is_err() {
                return End::Behind(why);
            }
            if self.take_events(&mut Passed::Nothing) {
                return End::Complete;
            }
        }
    }

    /// Some providers report usage after the event that ends the stream. It is waited for a moment, and not passed on.
    async fn read_usage_after_end(&mut self) {
        let deadline = Instant::now() + AFTER_END_TIMEOUT;
        while self.counted.usage.is_none() {
            if let Some(event) = self.splitter.next_event() {
                for event in self.mender.add(event) {
                    self.take(&event, &mut Passed::Nothing);
                }
                continue;
            }
            match tokio::time::timeout_at(deadline, self.body.next()).await {
                Ok(Some(Ok(chunk))) if self.splitter.push(&chunk).is_ok() => {}
                _ => return,
            }
        }
    }

    /// Counts the whole events that have come, and adds them to what is passed on. Returns whether the last of them ends the stream.
    fn take_events(&mut self, passed: &mut Passed) -> bool {
        while let Some(event) = self.splitter.next_event() {
            for event in self.mender.add(event) {
                if self.take(&event, passed) == Taken::Done {
                    return true;
                }
            }
        }
        false
    }

    /// The same for what waited for the other half of a character.
    fn take_rest(&mut self) {
        for event in self.mender.rest() {
            let mut passed = Passed::Nothing;
            self.take(&event, &mut passed);
            self.last.extend(passed.into_blocks());
        }
    }

    /// Counts an event, and adds it to what is passed on.
    fn take(&mut self, event: &Event, passed: &mut Passed) -> Taken {
        let data = event.data();
        let (taken, seen) = match data.as_deref().map(|data| self.inspect(data)) {
            Some(Some(seen)) => (if seen.is_end { Taken::Done } else { Taken::Part }, seen),
            Some(None) => {
                let visible_bytes = data.as_ref().map_or(0, |data| data.len() as u64);
                (Taken::Garbled, Seen { visible_bytes, ..Seen::default() })
            }
            None => (Taken::Part, Seen::default()),
        };
        self.counted.add(&seen);
        let is_told = |data: &Bytes| self.ask.shape() == RequestShape::Anthropic || value_at(data, "error").is_some();
        self.has_told_error |= seen.is_error && data.as_ref().is_some_and(is_told);
        if seen.is_error
            && let Some(error) = hidden(event.raw(), self.route.credential.as_ref())
        {
            passed.add(&error);
            return taken;
        }
        let changed = data.filter(|_| seen.usage.is_some() || seen.is_usage_only).and_then(|data| match self.ask.hides_usage() {
            // The gateway asked for usage, and not the caller.
            true if seen.is_usage_only => Some(None),
            // Where it comes with a part of the answer, that part goes on without it.
            true => openai::without_usage(&data).map(Some),
            false if seen.is_usage_only => openai::with_choices(&data).map(Some),
            false => None,
        });
        match changed {
            None => passed.add(event.raw()),
            Some(None) => {}
            Some(Some(data)) => passed.add(Event::of_data(&data).raw()),
        }
        taken
    }

    fn inspect(&mut self, data: &[u8]) -> Option<Seen> {
        let seen = self.ask.inspect(data)?;
        self.counted.beside.add(self.route, data, &seen);
        Some(seen)
    }

    /// The connection was closed without `[DONE]`, which some providers never send. The answer is complete if it came to its end, its usage came, and nothing
    /// was cut off; a last event may lack its empty line. In the Anthropic dialect usage comes first too, so only `message_stop` completes an answer.
    fn at_end(&mut self) -> End {
        const CUT: &str = "the provider ended the stream before it was complete";
        let rest = std::mem::take(&mut self.splitter).into_rest();
        let events: Vec<Event> =
            if rest.trim_ascii().is_empty() { Vec::new() } else { self.mender.add(Event::unfinished(&rest)).collect() };
        for event in events.into_iter().chain(self.mender.rest()) {
            let mut passed = Passed::Nothing;
            let taken = self.take(&event, &mut passed);
            self.last.extend(passed.into_blocks());
            match taken {
                Taken::Done => return End::Complete,
                Taken::Garbled => return self.break_off(CUT, End::Broken),
                Taken::Part => {}
            }
        }
        let is_complete = self.counted.usage.is_some() && self.counted.is_finished && self.ask.shape() == RequestShape::Openai;
        if is_complete { End::Complete } else { self.break_off(CUT, End::Broken) }
    }

    /// Tells the caller in the stream's own form that it ends early; a bare end would look like a complete answer. Who was told of an error by the provider knows.
    fn break_off(&mut self, detail: &str, end: End) -> End {
        if self.has_told_error {
            return end;
        }
        let error = json!({"code": "upstream_broken", "message": format!("The answer broke off: {detail}."), "type": "api_error"});
        let event = match self.ask.shape() {
            RequestShape::Openai => Event::new(None, &json!({"error": error})),
            RequestShape::Anthropic => Event::new(Some("error"), &json!({"type": "error", "error": error})),
        };
        self.last.push(event.raw().clone());
        end
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

#[cfg(test)]
mod tests;
