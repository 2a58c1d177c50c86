//! What a person is told of a request, by what the ledger has on it.

use jiff::Timestamp;
use lava_mcp::domain::{
    KeyId, Money, RequestId,
    ledger::{Attempt, Ending, RequestRecord, Subject},
};

fn attempt(kind: &str, ending: Option<&str>, upstream_status: Option<u16>, cost: i32, held: i32) -> Attempt {
    Attempt {
        kind: kind.into(),
        subject: Subject::default(),
        cost: Money::from_dollars(cost),
        held: Money::from_dollars(held),
        basis: None,
        usage: None,
        upstream_status,
        ending: ending.map(str::to_owned),
        note: None,
        opened_at: Timestamp::UNIX_EPOCH,
    }
}

fn record(first: Attempt, rest: Vec<Attempt>) -> RequestRecord {
    RequestRecord { request: RequestId::generate(false), key: KeyId::generate(), test: false, first, rest }
}

#[test]
fn a_request_says_how_it_stands() {
    for (kind, ending, upstream_status, says) in [
        ("open", None, None, "pending"),
        ("charge", Some("complete"), Some(200), "completed"),
        ("charge", Some("broken"), Some(200), "error"),
        ("charge", Some("error_in_answer"), Some(200), "error"),
        ("charge", Some("cut_by_caller"), Some(200), "error"),
        ("charge", Some("timed_out"), None, "error"),
        ("void", Some("refused"), Some(400), "error"),
        ("void", Some("unreachable"), None, "error"),
        ("suspect", None, None, "error"),
        ("correction", Some("complete"), Some(200), "error"),
        // What versions before the endings booked.
        ("charge", None, Some(200), "completed"),
        ("charge", None, Some(399), "completed"),
        ("charge", None, Some(400), "error"),
        ("charge", None, Some(502), "error"),
        ("charge", None, None, "error"),
    ] {
        let said = record(attempt(kind, ending, upstream_status, 1, 0), Vec::new());
        assert_eq!(said.status(), says, "{kind} {ending:?} {upstream_status:?}");
    }
}

#[test]
fn the_last_attempt_decides_and_all_of_them_cost() {
    let said = record(
        attempt("charge", Some("timed_out"), None, 3, 0),
        vec![attempt("void", Some("unreachable"), None, 0, 0), attempt("open", None, None, 0, 2)],
    );
    let kinds: Vec<&str> = said.attempts().map(|attempt| attempt.kind.as_str()).collect();
    assert_eq!(kinds, ["charge", "void", "open"]);
    assert_eq!(said.last().kind, "open");
    assert_eq!((said.status(), said.cost(), said.held()), ("pending", Money::from_dollars(3), Money::from_dollars(2)));
}

/// The words are in ledgers that people have: a new word is a new ending, and an old one stays.
#[test]
fn the_words_for_endings_are_those_of_the_ledgers_that_exist() {
    for (ending, word) in [
        (Ending::Complete, "complete"),
        (Ending::Broken, "broken"),
        (Ending::ErrorInAnswer, "error_in_answer"),
        (Ending::TimedOut, "timed_out"),
        (Ending::Refused, "refused"),
        (Ending::Unreachable, "unreachable"),
        (Ending::NotSent, "not_sent"),
        (Ending::CutByCaller, "cut_by_caller"),
        (Ending::Stopped, "stopped"),
    ] {
        assert_eq!(ending.as_str(), word);
    }
}
