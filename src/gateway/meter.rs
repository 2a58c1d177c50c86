//! Passes the answer on and counts what was used.
//!
//! What is known at the end is one of four things ([`Known`]): exact, because the provider reported it; an upper estimate from what was seen; nothing, because it
//! refused; or unknown. A caller who hangs up changes who reads the answer, not what is booked.

mod caller;
mod events;
mod pump;
mod stream;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, header};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    edge::{Response, body_of},
    error::{GatewayError, rate_headers},
    reported::Beside,
    request_ids,
    reserve::Held,
    upstream::{DRAIN_TIMEOUT, Failure, Reply, Sent},
    upstream_error::{hidden, refused},
};
use crate::{
    domain::{Metered as Known, Usage, ledger::Ending},
    translate::Seen,
};

pub(super) use caller::LastWord;

/// A larger plain answer is refused; it is still paid for.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A provider that sends nothing for this long has hung up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// No answer takes longer than this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(900);
/// Output that a provider may bill after the part that was seen, in tokens.
const UNSEEN_TAIL_TOKENS: u64 = 1_000;
/// Of a request that never left this machine.
const UNSENT: Known = Known::Nothing { dispatched: false };
/// Tells the caller which output cap was put in.
const OUTPUT_CAP_HEADER: &str = "x-lava-output-cap";

/// An attempt whose usage is known, as far as it ever will be.
pub(super) struct Metered {
    pub(super) held: Held,
    pub(super) known: Known,
    pub(super) beside: Beside,
    pub(super) upstream_status: Option<u16>,
    pub(super) ending: Ending,
    /// Said once this is booked.
    pub(super) last_word: LastWord,
}

impl Metered {
    /// Whether the provider did not accept the gateway's key.
    pub(super) fn is_credential_refused(&self) -> bool {
        matches!(self.upstream_status, Some(401 | 403)) && !self.held.route.is_callers_key
    }
}

/// The way to the caller, who may be gone.
pub(super) struct Answer {
    sender: Mutex<Option<oneshot::Sender<Result<Response, GatewayError>>>>,
    gone: CancellationToken,
}

impl Answer {
    pub(super) fn to(sender: oneshot::Sender<Result<Response, GatewayError>>, gone: CancellationToken) -> Self {
        Self { sender: Mutex::new(Some(sender)), gone }
    }

    fn send(&self, result: Result<Response, GatewayError>) {
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(result);
        }
    }

    pub(super) fn refuse(&self, error: GatewayError) {
        self.send(Err(error));
    }

    /// Whether the caller has hung up.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Resolves when the caller has hung up.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

/// Meters an attempt. The answer is passed on while it is read, all but its end.
pub(super) async fn meter(sent: Sent, answer: &Answer, stopping: &CancellationToken) -> Metered {
    let Sent { held, result } = sent;
    let provider = held.route.provider.clone();
    let reply = match result {
        Ok(reply) => reply,
        Err(failure) => {
            let (known, ending, error) = match failure {
                Failure::NotSent(detail) => (UNSENT, Ending::NotSent, GatewayError::Unreachable { provider, detail }),
                Failure::NotConnected(detail) => (UNSENT, Ending::Unreachable, GatewayError::Unreachable { provider, detail }),
                Failure::NoAnswer(detail) => (Known::Unknown, Ending::Broken, GatewayError::BrokenAnswer { provider, detail }),
                Failure::TimedOut => (Known::Unknown, Ending::TimedOut, GatewayError::Timeout { provider }),
                Failure::Dropped => (stream::dropped(&held), Ending::Stopped, ended_first(provider)),
            };
            let ending = if answer.is_gone() { Ending::CutByCaller } else { ending };
            let beside = Beside::default();
            return Metered { held, known, beside, upstream_status: None, ending, last_word: LastWord::Whole(Err(error)) };
        }
    };
    let upstream_status = Some(reply.status.as_u16());
    let mut beside = Beside::default();
    let (known, ending, last_word) = if !reply.status.is_success() {
        let (error, known) = refused(&held, reply, stopping).await;
        (known, if known == Known::Unknown { Ending::Broken } else { Ending::Refused }, LastWord::Whole(Err(error)))
    } else if is_compressed(&reply.headers) {
        // It is not unpacked: a megabyte can hold a gigabyte. What it says stays unknown.
        let error = GatewayError::BrokenAnswer { provider, detail: "it is compressed, though it was asked not to be".to_owned() };
        (Known::Unknown, Ending::Broken, LastWord::Whole(Err(error)))
    } else if is_event_stream(&reply.headers) {
        stream::pass_on(&held, reply, answer, stopping, &mut beside).await
    } else {
        let (known, ending, result) = tokio::select! {
            read = plain(&held, reply, &mut beside) => read,
            () = stopping.cancelled() => (Known::Unknown, Ending::Stopped, Err(ended_first(provider))),
            // Nobody waits for it: it is read on for a while, to learn what it costs.
            () = long_gone(answer) => (Known::Unknown, Ending::CutByCaller, Err(ended_first(held.route.provider.clone()))),
        };
        (known, ending, LastWord::Whole(result))
    };
    Metered { held, known, beside, upstream_status, ending, last_word }
}

/// Resolves when the caller has been gone for as long as an answer is read for nobody.
async fn long_gone(answer: &Answer) {
    answer.gone().await;
    tokio::time::sleep(DRAIN_TIMEOUT).await;
}

/// The request was sent and may be billed, so this is not the refusal of a gateway that is about to end.
fn ended_first(provider: String) -> GatewayError {
    GatewayError::BrokenAnswer { provider, detail: "the gateway ended before it had come".to_owned() }
}

/// Reads a whole answer.
async fn plain(held: &Held, reply: Reply, beside: &mut Beside) -> (Known, Ending, Result<Response, GatewayError>) {
    let content_type = reply.headers.get(header::CONTENT_TYPE).cloned();
    let (status, upstream_id) = (reply.status, request_ids::of_upstream(&reply.headers, held.route.credential.as_ref()));
    let body = match read_whole(reply, ANSWER_BYTES_MAX).await {
        Ok(body) => body,
        Err(detail) => {
            let provider = held.route.provider.clone();
            return (Known::Unknown, Ending::Broken, Err(GatewayError::BrokenAnswer { provider, detail }));
        }
    };
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
    let mut response = http::Response::new(body_of(body));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    describe(held, response.headers_mut());
    request_ids::name_upstream(upstream_id, response.headers_mut());
    (known, if is_error { Ending::ErrorInAnswer } else { Ending::Complete }, Ok(response))
}

/// What a complete answer reports, if that can be believed: nothing goes in for nothing, and what was seen was paid for. Else the larger of report and estimate.
fn exact(held: &Held, usage: Usage, visible_bytes: u64, beside: &Beside) -> Known {
    // Where other models are named, they may have used all of it.
    if beside.has_others() || (usage.input > 0 && (usage.output > 0 || visible_bytes == 0)) {
        return Known::Exact(usage);
    }
    match estimate(held, visible_bytes, 0) {
        Known::Estimated(seen) => Known::Estimated(seen.max_each(usage)),
        other => other,
    }
}

/// An upper estimate from what was seen: a token for each byte, since no token is shorter. What a model has thought where nobody sees it cannot be estimated.
fn estimate(held: &Held, visible_bytes: u64, unseen_tokens: u64) -> Known {
    if held.route.reasons {
        return Known::Unknown;
    }
    Known::Estimated(Usage::text(held.input_tokens_max, visible_bytes.saturating_add(unseen_tokens)))
}

fn describe(held: &Held, headers: &mut HeaderMap) {
    if let Some(rate) = &held.rate {
        rate_headers(rate, held.ask.shape(), headers);
    }
    if let Some(cap) = held.plan.cap.filter(|_| held.plan.is_injected) {
        headers.insert(OUTPUT_CAP_HEADER, HeaderValue::from(cap));
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| kind.starts_with("text/event-stream"))
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

pub(super) async fn read_whole(mut reply: Reply, limit: usize) -> Result<Bytes, String> {
    let mut whole = BytesMut::new();
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    loop {
        match tokio::time::timeout_at((Instant::now() + IDLE_TIMEOUT).min(deadline), reply.body.next()).await {
            Err(_) => return Err("it stopped sending".to_owned()),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(detail))) => return Err(detail),
            Ok(Some(Ok(chunk))) if whole.len() + chunk.len() > limit => return Err(format!("it is larger than {} MiB", limit >> 20)),
            Ok(Some(Ok(chunk))) => whole.extend_from_slice(&chunk),
        }
    }
}

#[cfg(test)]
mod tests;
