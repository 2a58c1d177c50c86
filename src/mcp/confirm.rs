//! Asks a person before a call that may cost more than they want to hear of afterwards.
//!
//! The price is not known before, but the gateway refuses what could cost more than it may: so a call is first tried with the threshold as its limit. If that is
//! too little, the refusal names the amount, the person is asked for that amount, and the call is sent again with it as its limit. Nothing is spent in between.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, InputRequiredResult,
    InputResponses,
};
use serde_json::Value;

use super::{
    Call, LavaMcp,
    answer::Stop,
    ask::{ANSWER_TIMEOUT, No},
    error::ToolError,
    results::random_id,
};
use crate::{client::ClientError, domain::Money};

/// How long a question of the newer protocol is good for. Its answer comes with another request.
const QUESTION_TTL: Duration = Duration::from_secs(600);
/// Most open questions of one payer, and of all; the oldest make room.
const OPEN_MAX: usize = 20;
const OPEN_MAX_ALL: usize = 2_000;
/// The name of the one question in a result that asks.
const QUESTION: &str = "confirm";

/// What is to be bought.
pub(super) struct Purchase {
    /// In words, such as “gpt-4o answers a prompt”.
    pub(super) what: String,
    /// The most it may cost, as its caller wants it.
    pub(super) max_cost: Option<Money>,
    /// Whether it changes something elsewhere, whose worth its price does not tell.
    pub(super) changes: bool,
    /// Whether the gateway refuses what could cost more than `max_cost`.
    pub(super) is_bounded: bool,
    /// Tells this call from others: a digest of its tool and arguments.
    pub(super) digest: [u8; 32],
}

/// What a call may cost without another question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    pub(super) max_cost: Option<Money>,
    /// Whether that is the person's threshold, and not what the caller wants.
    is_threshold: bool,
}

impl Permit {
    /// A yes to an amount is a yes to that much. One to a change, without an amount, says nothing of its price: that is asked about like any other.
    fn after_yes(purchase: &Purchase, threshold: Money, amount: Option<Money>) -> Self {
        match amount.or(purchase.max_cost) {
            None if purchase.is_bounded => Self { max_cost: Some(threshold), is_threshold: true },
            max_cost => Self { max_cost, is_threshold: false },
        }
    }

    /// Whether the call may have to be sent once more.
    pub(super) const fn may_be_widened(&self) -> bool {
        self.is_threshold
    }
}

/// An answer that came with a call.
pub(super) struct Reply {
    state: String,
    responses: InputResponses,
}

impl Reply {
    pub(super) fn new(state: Option<String>, responses: Option<InputResponses>) -> Option<Self> {
        Some(Self { state: state?, responses: responses? })
    }
}

/// Questions of the newer protocol that have no answer yet. What the client sends back is only a random handle to them: it can neither be made up nor used twice.
#[derive(Default)]
pub(super) struct Questions {
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    asked: Instant,
    payer: String,
    digest: [u8; 32],
    amount: Option<Money>,
}

impl Questions {
    fn open(&self, question: Open) -> Result<String, ToolError> {
        let failed = |error: std::io::Error| ToolError::new("internal_error", error.to_string(), "Tell the user.");
        let handle = random_id().map_err(failed)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, one| one.asked.elapsed() < QUESTION_TTL);
        for (is_mine, max) in [(true, OPEN_MAX), (false, OPEN_MAX_ALL)] {
            let concerned = || open.iter().filter(|(_, one)| !is_mine || one.payer == question.payer);
            if concerned().count() >= max
                && let Some(oldest) = concerned().min_by_key(|(_, one)| one.asked).map(|(handle, _)| handle.clone())
            {
                open.remove(&oldest);
            }
        }
        open.insert(handle.clone(), question);
        Ok(handle)
    }

    /// The question with this handle, if the same payer was asked it for the same call.
    fn take(&self, handle: &str, payer: &str, digest: &[u8; 32]) -> Option<Open> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let one = open.get(handle)?;
        let is_right = one.payer == payer && one.digest == *digest && one.asked.elapsed() < QUESTION_TTL;
        if is_right { open.remove(handle) } else { None }
    }
}

/// What the call may cost to begin with.
///
/// # Errors
/// [`Stop`] when a person must be asked first, or has said no.
pub(super) async fn permit(server: &LavaMcp, call: &Call, purchase: &Purchase) -> Result<Permit, Stop> {
    let Purchase { max_cost, .. } = *purchase;
    let Some(threshold) = server.ask_above else { return Ok(Permit { max_cost, is_threshold: false }) };
    if let Some(reply) = &call.reply
        && let Some(question) = server.questions.take(&reply.state, &call.payer.scope(), &purchase.digest)
    {
        let said = reply.responses.get(QUESTION).and_then(|said| serde_json::from_value::<ElicitResult>(said.clone()).ok());
        let said = said.as_ref().map(|said| (&said.action, question.asked.elapsed()));
        return decided(said, Permit::after_yes(purchase, threshold, question.amount), threshold);
    }
    if purchase.changes || !purchase.is_bounded {
        let amount = max_cost.filter(|_| purchase.is_bounded);
        return ask(server, call, purchase, threshold, amount).await;
    }
    Ok(match max_cost {
        Some(max_cost) if max_cost <= threshold => Permit { max_cost: Some(max_cost), is_threshold: false },
        _ => Permit { max_cost: Some(threshold), is_threshold: true },
    })
}

/// A wider permit, if the gateway refused the call for want of one; the person is asked for it. `None` when it was refused for something else.
///
/// # Errors
/// [`Stop`] when a person must be asked first, or has said no.
pub(super) async fn widen(
    server: &LavaMcp,
    call: &Call,
    purchase: &Purchase,
    permit: &Permit,
    error: &ClientError,
) -> Result<Option<Permit>, Stop> {
    let needed = match (error, permit.max_cost) {
        (ClientError::Refused { code, details, .. }, Some(threshold)) if permit.is_threshold && code == "max_cost_exceeded" => {
            let needed = details.get("needed").and_then(Value::as_str).and_then(|needed| needed.parse::<Money>().ok());
            needed.map(|needed| (needed, threshold))
        }
        _ => None,
    };
    let Some((needed, threshold)) = needed else { return Ok(None) };
    if purchase.max_cost.is_some_and(|max_cost| needed > max_cost) {
        // Too much for the caller already: the gateway says so, with the caller's own limit.
        return Ok(Some(Permit { max_cost: purchase.max_cost, is_threshold: false }));
    }
    ask(server, call, purchase, threshold, Some(needed)).await.map(Some)
}

async fn ask(server: &LavaMcp, call: &Call, purchase: &Purchase, threshold: Money, amount: Option<Money>) -> Result<Permit, Stop> {
    if !call.can_ask() {
        return Err(cannot_ask(purchase, threshold, amount).into());
    }
    let question = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question(purchase, threshold, amount),
        // Yes or no is all there is to say.
        requested_schema: ElicitationSchema::new(BTreeMap::new()),
    };
    if call.is_modern() {
        let open = Open { asked: Instant::now(), payer: call.payer.scope(), digest: purchase.digest, amount };
        let handle = server.questions.open(open)?;
        let questions = [(QUESTION.to_owned(), InputRequest::Elicitation(ElicitRequest::new(question)))];
        return Err(Stop::Ask(Arc::new(InputRequiredResult::new(Some(questions.into()), Some(handle)))));
    }
    let permit = Permit::after_yes(purchase, threshold, amount);
    let asked_at = Instant::now();
    let answered = tokio::select! {
        answered = call.context.peer.create_elicitation_with_timeout(question, Some(ANSWER_TIMEOUT)) => answered,
        () = call.context.ct.cancelled() => return decided(None, permit, threshold),
    };
    match answered {
        Ok(answer) => decided(Some((&answer.action, asked_at.elapsed())), permit, threshold),
        Err(error) => {
            tracing::debug!(%error, "a question was not answered");
            decided(None, permit, threshold)
        }
    }
}

/// What an answer comes to, with the time that it took.
fn decided(said: Option<(&ElicitationAction, Duration)>, permit: Permit, threshold: Money) -> Result<Permit, Stop> {
    let Some((action, took)) = said else { return Err(not_said().into()) };
    let error = match No::of(action, took) {
        None => return Ok(permit),
        Some(No::Declined) => {
            let hint = "Do not repeat the call. Say what you wanted to do, and ask how to go on.";
            ToolError::new("declined", "The user does not want to pay for this call. Nothing was spent.", hint)
        }
        Some(No::Dismissed | No::Unreadable) => not_said(),
        Some(No::ByItself(took)) => {
            let code = if *action == ElicitationAction::Decline { "declined" } else { "not_confirmed" };
            let message = format!(
                "The client answered the question by itself, after {} ms, so no person has read it. The user wants to be asked above {threshold} USD. Nothing was spent.",
                took.as_millis()
            );
            ToolError::new(code, message, raise(threshold))
        }
    };
    Err(error.into())
}

fn not_said() -> ToolError {
    let hint = "Tell the user that the call waits for their answer, and repeat it when they want it.";
    ToolError::new("not_confirmed", "The user has not said whether to pay for this call. Nothing was spent.", hint)
}

/// What to do where nobody can be asked.
fn raise(threshold: Money) -> String {
    format!(
        "Make it cost at most {threshold} USD (lower max_tokens, a shorter input, a cheaper model); or tell the user that LAVA_ASK_ABOVE (session.ask_above in the config \
         file) is what they can raise."
    )
}

fn question(purchase: &Purchase, threshold: Money, amount: Option<Money>) -> String {
    let what = &purchase.what;
    match amount {
        Some(amount) if !purchase.changes => format!("Pay up to {amount} USD? {what}. (You are asked about calls above {threshold} USD.)"),
        Some(amount) => format!("Go on, for up to {amount} USD? {what}, which may change something there."),
        None if purchase.changes => format!("Go on? {what}, which may change something there."),
        None => format!("Pay for this? {what}. The gateway does not say in advance what it can cost."),
    }
}

fn cannot_ask(purchase: &Purchase, threshold: Money, amount: Option<Money>) -> ToolError {
    let message = match amount {
        Some(amount) if !purchase.changes => {
            format!(
                "This call may cost up to {amount} USD. The user wants to be asked above {threshold} USD, and this client cannot ask. Nothing was spent."
            )
        }
        _ => "The user wants to be asked before such a call, and this client cannot ask. Nothing was spent.".to_owned(),
    };
    ToolError::new("confirmation_needed", message, raise(threshold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_without_an_amount_is_none_to_any_price() {
        let (threshold, five) = (Money::from_dollars(1), Some(Money::from_dollars(5)));
        let permit = |max_cost, is_bounded, amount| {
            let purchase = Purchase { what: "DELETE x".to_owned(), max_cost, changes: true, is_bounded, digest: [1; 32] };
            Permit::after_yes(&purchase, threshold, amount)
        };
        assert_eq!(permit(None, true, None), Permit { max_cost: Some(threshold), is_threshold: true });
        for agreed in [permit(five, true, None), permit(None, true, five)] {
            assert_eq!(agreed, Permit { max_cost: five, is_threshold: false });
        }
        assert_eq!(permit(None, false, None), Permit { max_cost: None, is_threshold: false }, "no limit would be obeyed");
    }

    #[test]
    fn a_question_is_answered_once_by_whom_it_was_put_to() {
        let questions = Questions::default();
        let ask = |payer: &str| {
            questions
                .open(Open { asked: Instant::now(), payer: payer.to_owned(), digest: [1; 32], amount: Some(Money::from_dollars(1)) })
                .unwrap()
        };
        let handle = ask("a");
        assert_eq!(handle.len(), 32);
        assert!(questions.take(&handle, "b", &[1; 32]).is_none(), "another payer");
        assert!(questions.take(&handle, "a", &[2; 32]).is_none(), "another call");
        assert!(questions.take("made up", "a", &[1; 32]).is_none());
        assert_eq!(questions.take(&handle, "a", &[1; 32]).unwrap().amount, Some(Money::from_dollars(1)));
        assert!(questions.take(&handle, "a", &[1; 32]).is_none(), "twice");
        let first = ask("a");
        let others = ask("b");
        for _ in 0..OPEN_MAX {
            ask("a");
        }
        assert!(questions.take(&first, "a", &[1; 32]).is_none(), "the oldest made room");
        assert!(questions.take(&others, "b", &[1; 32]).is_some());
    }
}
