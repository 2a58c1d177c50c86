//! Passes the answer on and counts what was used.
//!
//! What is known at the end is one of four things ([`Known`]): exact, because the provider reported it; an upper estimate from what was seen; nothing, because it
//! refused; or unknown. A caller who hangs up changes who reads the answer, not what is booked.

mod answer;
mod caller;
mod events;
mod plain;
mod pump;
mod stream;

use http::{HeaderMap, HeaderValue, header};
use tokio_util::sync::CancellationToken;

use super::{
    edge::Response,
    error::{GatewayError, rate_headers},
    refused::Refused,
    reported::Beside,
    reserve::Held,
    upstream::{DRAIN_TIMEOUT, Failure, Sent},
    upstream_error::refused,
};
use crate::{
    domain::{Metered as Known, Usage, ledger::Ending},
    translate::media,
};

pub(super) use answer::{Answer, Asked};
pub(super) use caller::LastWord;
use events::End;
pub(super) use plain::read_whole;

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
    /// Whether the gateway's key may be why the provider refused: some say that as if the key were known and not allowed to do this.
    pub(super) fn is_credential_refused(&self) -> bool {
        matches!(self.upstream_status, Some(401 | 403)) && !self.held.route.is_callers_key
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
                Failure::NoFirstByte(Some(detail)) => {
                    (stream::without_a_byte(&held, End::Broken), Ending::Broken, GatewayError::BrokenAnswer { provider, detail })
                }
                Failure::NoFirstByte(None) => {
                    let ending = Ending::TimedOut;
                    (stream::without_a_byte(&held, End::Cut(ending)), ending, GatewayError::Timeout { provider })
                }
                Failure::Dropped => (stream::dropped(&held), Ending::Stopped, ended_first(provider)),
            };
            let ending = if answer.is_gone() { Ending::CutByCaller } else { ending };
            let beside = Beside::default();
            let last_word = refusal(&held, error);
            return Metered { held, known, beside, upstream_status: None, ending, last_word };
        }
    };
    let upstream_status = Some(reply.status.as_u16());
    let mut beside = Beside::default();
    let (known, ending, last_word) = if !reply.status.is_success() {
        let (error, known) = answer.while_waiting(refused(&held, reply, stopping)).await;
        (known, if known == Known::Unknown { Ending::Broken } else { Ending::Refused }, refusal(&held, error))
    } else if is_compressed(&reply.headers) {
        // It is not unpacked: a megabyte can hold a gigabyte. What it says stays unknown.
        let error = GatewayError::BrokenAnswer { provider, detail: "it is compressed, though it was asked not to be".to_owned() };
        (Known::Unknown, Ending::Broken, refusal(&held, error))
    } else if reply.is_stream {
        stream::pass_on(&held, reply, answer, stopping, &mut beside).await
    } else {
        let read = async {
            tokio::select! {
                read = plain::read(&held, reply, &mut beside) => read,
                () = stopping.cancelled() => (Known::Unknown, Ending::Stopped, Err(ended_first(provider))),
                // Nobody waits for it: it is read on for a while, to learn what it costs.
                () = long_gone(answer) => (Known::Unknown, Ending::CutByCaller, Err(ended_first(held.route.provider.clone()))),
            }
        };
        let (known, ending, result) = answer.while_waiting(read).await;
        let last_word = match result {
            Ok(whole) => whole.last_word(&held, answer, stopping),
            Err(error) => refusal(&held, error),
        };
        (known, ending, last_word)
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
    GatewayError::BrokenAnswer { provider, detail: "the gateway stopped before it came".to_owned() }
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

/// An upper estimate from what was seen: a token for each byte, since no token is shorter. What a model has thought and what hosted tools
/// have done where nobody sees it cannot be estimated.
fn estimate(held: &Held, visible_bytes: u64, unseen_tokens: u64) -> Known {
    if held.route.reasons || held.ask.hosted().is_some_and(|hosted| !hosted.is_empty()) {
        return Known::Unknown;
    }
    Known::Estimated(Usage::text(held.input_tokens_max, visible_bytes.saturating_add(unseen_tokens)))
}

/// What the caller of a request for which money was set aside is told beside the answer, or beside why there is none.
fn described(held: &Held) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(rate) = &held.rate {
        rate_headers(rate, held.ask.shape(), &mut headers);
    }
    if let Some(cap) = held.plan.cap.filter(|_| held.plan.is_injected) {
        headers.insert(OUTPUT_CAP_HEADER, HeaderValue::from(cap));
    }
    headers.extend(held.notes.clone());
    headers
}

fn refusal(held: &Held, error: GatewayError) -> LastWord {
    LastWord::Whole(Err(Refused { error, notes: Box::new(described(held)) }))
}

/// Whether an answer is packed, so that what it says is not known.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| media::is_packed(value.as_bytes()))
}

#[cfg(test)]
mod tests;
