//! Streams: every event goes to the caller as it came, and on the way the meter looks for the usage.

use tokio_util::sync::CancellationToken;

use super::{
    Answer, LastWord, UNSEEN_TAIL_TOKENS,
    caller::Caller,
    described, estimate,
    events::{Counted, End},
    exact,
    pump::Pump,
};
use crate::{
    domain::{Metered as Known, RequestShape, Usage, ledger::Ending},
    gateway::{providers::abort_stops_billing, reported::Beside, request_ids, reserve::Held, upstream::Reply},
};

/// Passes a stream on, all but its end, and finds out what it used.
pub(super) async fn pass_on(
    held: &Held,
    reply: Reply,
    answer: &Answer,
    stopping: &CancellationToken,
    beside: &mut Beside,
) -> (Known, Ending, LastWord) {
    let mut headers = described(held);
    request_ids::name_upstream(request_ids::of_upstream(&reply.headers, held.route.credential.as_ref()), &mut headers);
    let caller = Caller::new(answer.open(headers), stopping.clone());
    let stops_bill = abort_stops_billing(&held.route.provider);
    let mut pump = Pump::new(&held.ask, &held.route, reply.body, reply.waits, caller, stops_bill);
    let end = pump.run(stopping).await;
    let known = known(held, &pump.counted, end, stops_bill);
    *beside = std::mem::take(&mut pump.counted.beside);
    let ending = match end {
        End::Cut(ending) | End::Behind(ending) => ending,
        _ if pump.counted.has_error => Ending::ErrorInAnswer,
        End::Complete => Ending::Complete,
        End::Broken => Ending::Broken,
    };
    (known, ending, pump.last_word())
}

/// What a stream used that ended so.
pub(super) fn known(held: &Held, counted: &Counted, end: End, stops_bill: bool) -> Known {
    match (counted.usage, end) {
        // In the Anthropic dialect the first event reports usage too, and only a later one all of it.
        (Some(usage), End::Complete)
            if !counted.has_error
                && counted.after_usage_bytes == 0
                && (counted.is_finished || held.ask.shape() == RequestShape::Openai) =>
        {
            exact(held, usage, counted.visible_bytes, &counted.beside)
        }
        (None, _) if counted.has_error => Known::Unknown,
        // The provider goes on without us, and bills all of it; or it has sent more than was read.
        (_, End::Cut(_)) if !stops_bill => Known::Unknown,
        (_, End::Behind(_)) => Known::Unknown,
        // Usage in the middle of a stream is a running total: more may have been billed after it.
        (Some(usage), _) => {
            let Known::Estimated(seen) = estimate(held, counted.visible_bytes, UNSEEN_TAIL_TOKENS) else { return Known::Unknown };
            Known::Estimated(Usage { output: seen.output.max(usage.output.saturating_add(UNSEEN_TAIL_TOKENS)), ..usage })
        }
        (None, End::Complete) => estimate(held, counted.visible_bytes, 0),
        (None, _) => estimate(held, counted.visible_bytes, UNSEEN_TAIL_TOKENS),
    }
}

/// What a stream used of which nothing but the head came.
pub(super) fn without_a_byte(held: &Held, end: End) -> Known {
    known(held, &Counted::default(), end, abort_stops_billing(&held.route.provider))
}

/// What an attempt used that was dropped before its answer began.
pub(super) fn dropped(held: &Held) -> Known {
    if held.ask.is_streamed() && abort_stops_billing(&held.route.provider) { estimate(held, 0, UNSEEN_TAIL_TOKENS) } else { Known::Unknown }
}
