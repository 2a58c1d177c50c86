//! Answers that are read as a whole before the caller gets them.
//!
//! Usually that is what was asked for. A provider that streams what was not asked to be streamed, or the other way round, is metered as what it sent, and the caller gets
//! the form that they asked for.

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, LastWord,
    caller::Caller,
    described, estimate,
    events::{Counted, End},
    exact,
    pump::Pump,
    refusal, stream as streams,
};
use crate::{
    domain::{Metered as Known, Usage, ledger::Ending},
    gateway::{
        edge::body_of, error::GatewayError, reported::Beside, request_ids, reserve::Held, upstream::Reply, upstream_error::hidden,
        waits::Waits,
    },
    translate::{Seen, media, mend, sse},
};

/// A larger plain answer is refused; it is still paid for.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A whole answer.
pub(super) struct Whole {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    /// The provider's own id of the request.
    upstream_id: Option<HeaderValue>,
    body: Bytes,
    /// The body as the events of the stream that was asked for.
    events: Option<Bytes>,
}

impl Whole {
    /// What the caller is given.
    pub(super) fn last_word(self, held: &Held, answer: &Answer, stopping: &CancellationToken) -> LastWord {
        let mut headers = described(held);
        request_ids::name_upstream(self.upstream_id, &mut headers);
        if let Some(events) = self.events {
            return LastWord::Stream(Caller::new(answer.open(headers), stopping.clone()), vec![events]);
        }
        if answer.has_begun() {
            return refusal(held, not_an_answer(held));
        }
        let mut response = http::Response::new(body_of(self.body));
        *response.status_mut() = self.status;
        headers.extend(self.content_type.map(|content_type| (header::CONTENT_TYPE, content_type)));
        response.headers_mut().extend(headers);
        LastWord::Whole(Ok(response))
    }
}

fn not_an_answer(held: &Held) -> GatewayError {
    GatewayError::BrokenAnswer { provider: held.route.provider.clone(), detail: "what it sent is not an answer".to_owned() }
}

fn as_events(held: &Held, body: &[u8]) -> Option<Bytes> {
    if held.ask.is_streamed() { held.ask.as_events(body) } else { None }
}

/// Reads an answer, and finds out what it used.
pub(super) async fn read(held: &Held, reply: Reply, beside: &mut Beside) -> (Known, Ending, Result<Whole, GatewayError>) {
    let (status, waits) = (reply.status, reply.waits);
    let content_type = reply.headers.get(header::CONTENT_TYPE).cloned();
    let upstream_id = request_ids::of_upstream(&reply.headers, held.route.credential.as_ref());
    let says = |wanted: &str| content_type.as_ref().is_some_and(|kind| media::is_type(kind.as_bytes(), wanted));
    let body = match read_whole(reply, ANSWER_BYTES_MAX).await {
        Ok(body) => body,
        Err(detail) => {
            let provider = held.route.provider.clone();
            return (Known::Unknown, Ending::Broken, Err(GatewayError::BrokenAnswer { provider, detail }));
        }
    };
    if !held.ask.is_free() && sse::is_stream(&body) == Some(true) {
        return of_stream(held, Whole { status, content_type, upstream_id, body, events: None }, waits, beside).await;
    }
    let body = mend::mended_answer(body, says("application/json"));
    let seen = held.ask.inspect(&body);
    let is_error = seen.as_ref().is_some_and(|seen| seen.is_error);
    let body = if is_error { hidden(&body, held.route.credential.as_ref()).unwrap_or(body) } else { body };
    if let Some(seen) = &seen {
        beside.add(&held.route, &body, seen);
    }
    let known = match seen {
        _ if held.ask.is_free() => Known::Exact(Usage::default()),
        Some(Seen { usage: Some(usage), visible_bytes, is_error, .. }) if !is_error || usage.total() > 0 => {
            exact(held, usage, visible_bytes, beside)
        }
        // Some providers report a failure with status 200; whether they bill it is not known.
        Some(Seen { is_error: true, .. }) => Known::Unknown,
        // An answer in a form that is not known has its text somewhere.
        Some(Seen { visible_bytes: 0, .. }) | None => estimate(held, body.len() as u64, 0),
        Some(seen) => estimate(held, seen.visible_bytes, 0),
    };
    let events = as_events(held, &body);
    let is_answer = if held.ask.is_streamed() { events.is_some() } else { held.ask.may_be_answer(&body) };
    let ending = match is_answer {
        _ if is_error => Ending::ErrorInAnswer,
        true => Ending::Complete,
        false => return (known, Ending::Broken, Err(not_an_answer(held))),
    };
    (known, ending, Ok(Whole { status, content_type, upstream_id, body, events }))
}

/// A stream that was not asked for: it is counted as any other, and its caller gets the answer that it comes to.
async fn of_stream(held: &Held, sent: Whole, waits: Waits, beside: &mut Beside) -> (Known, Ending, Result<Whole, GatewayError>) {
    let (events, mut unread) = mpsc::channel(1);
    let never = CancellationToken::new();
    let pieces = stream::iter([Ok(sent.body.clone())]).boxed();
    let mut pump = Pump::new(&held.ask, &held.route, pieces, waits, Caller::new(events, never.clone()), false);
    let end = {
        let mut run = pump.run(&never).boxed();
        loop {
            tokio::select! {
                end = &mut run => break end,
                _ = unread.recv() => {}
            }
        }
    };
    let known = streams::known(held, &pump.counted, end, false);
    let Counted { has_error, beside: counted, .. } = std::mem::take(&mut pump.counted);
    *beside = counted;
    let whole = held.ask.as_whole(&sent.body).filter(|_| has_error || end == End::Complete).ok_or_else(|| GatewayError::BrokenAnswer {
        provider: held.route.provider.clone(),
        detail: "it sent an unfinished stream instead of a whole answer".to_owned(),
    });
    let content_type = Some(HeaderValue::from_static("application/json"));
    let ending = match &whole {
        _ if has_error => Ending::ErrorInAnswer,
        Ok(_) => Ending::Complete,
        Err(_) => Ending::Broken,
    };
    (known, ending, whole.map(|body| Whole { content_type, events: as_events(held, &body), body, ..sent }))
}

/// Reads a body to its end.
pub(in crate::gateway) async fn read_whole(mut reply: Reply, limit: usize) -> Result<Bytes, String> {
    let mut whole = BytesMut::new();
    let deadline = Instant::now() + reply.waits.answer();
    loop {
        match tokio::time::timeout_at((Instant::now() + reply.waits.silence).min(deadline), reply.body.next()).await {
            Err(_) => return Err("it stopped sending".to_owned()),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(detail))) => return Err(detail),
            Ok(Some(Ok(chunk))) if whole.len() + chunk.len() > limit => return Err(format!("it is larger than {} MiB", limit >> 20)),
            Ok(Some(Ok(chunk))) => whole.extend_from_slice(&chunk),
        }
    }
}
