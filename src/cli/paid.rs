//! What a command pays for, up to the end that a person gives it: a stop is a hang-up for the gateway, and the command says what that came to.

use std::time::{Duration, Instant};

use super::{Failure, login::command_line, output, serve::App};
use crate::{
    client::{ClientError, RequestReport},
    domain::{Money, RequestId, Secret},
    mcp::transport::asked_to_stop,
    session::{Session, SessionError},
};

/// Longer than a gateway reads an answer whose caller has hung up.
const WAIT_MAX: Duration = Duration::from_secs(33);
/// After so long a person hears why they still wait.
const QUIET: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(50);
/// A command makes one request.
const REQUESTS_MAX: usize = 5;
/// Characters of a ULID, at the end of a request's id, and of its beginning, which is the time in milliseconds.
const ULID_CHARS: usize = 26;
const TIME_CHARS: usize = 10;

/// Does something that is paid for, until it is done or a signal stops it; then says what was charged.
pub(super) async fn pay(app: App, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let began = RequestId::generate(false);
    let done = match app.until_interrupted(work).await {
        Err(Failure::Stopped(_)) => {
            // A second signal ends it at once.
            let text = tokio::select! {
                text = what_was_charged(&app.session, &began) => text,
                () = asked_to_stop() => "stopped before its cost was known; what was set aside for it is charged".to_owned(),
            };
            Err(Failure::Stopped(text))
        }
        done => done,
    };
    app.close().await;
    done
}

async fn what_was_charged(session: &Session, began: &RequestId) -> String {
    const UNKNOWN: &str = "stopped; it is not known what was charged: `lava-mcp status` shows what is left";
    let Ok(pays) = session.forward_key(&command_line()).await else { return "stopped; nothing was charged".to_owned() };
    let until = Instant::now() + WAIT_MAX;
    let quiet = Instant::now() + QUIET;
    let mut is_told = false;
    loop {
        let Ok(found) = requests_since(session, &pays.key, began).await else { return UNKNOWN.to_owned() };
        // The clock of another machine may be behind.
        if found.is_empty() && session.info().url.is_some() {
            return UNKNOWN.to_owned();
        }
        let is_pending = found.iter().any(|request| request.status == "pending");
        if !is_pending || Instant::now() >= until {
            return in_words(&found, is_pending);
        }
        if !is_told && Instant::now() >= quiet {
            output::complain(
                "Stopped. Waiting up to 30 seconds to learn what the answer cost; press Ctrl-C again to end at once and be charged what was set aside.",
            );
            is_told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The requests that a key has made since then.
async fn requests_since(session: &Session, key: &Secret, began: &RequestId) -> Result<Vec<RequestReport>, ClientError> {
    let client = session.client().await.map_err(|error| match error {
        SessionError::Client(error) => error,
        other => ClientError::Unreachable(other.to_string()),
    })?;
    let mut found = client.requests(key, REQUESTS_MAX).await?;
    found.retain(|request| time(&request.request_id) >= time(began.as_str()));
    Ok(found)
}

fn time(id: &str) -> &str {
    id.len().checked_sub(ULID_CHARS).and_then(|from| id.get(from..from + TIME_CHARS)).unwrap_or_default()
}

fn in_words(requests: &[RequestReport], is_pending: bool) -> String {
    let sum = |amounts: Vec<Option<Money>>| amounts.into_iter().flatten().fold(Money::ZERO, Money::saturating_add);
    let charged = sum(requests.iter().map(|request| request.cost.as_ref()?.parse().ok()).collect());
    let held = sum(requests.iter().map(|request| request.lava_mcp.get("held")?.as_str()?.parse().ok()).collect());
    let has_basis = |basis: &str| requests.iter().flat_map(RequestReport::attempts).any(|attempt| attempt["basis"] == basis);
    let how = if has_basis("hold") || has_basis("crash") {
        " (all that was set aside, as its real cost is not known)"
    } else if has_basis("estimated") {
        " (estimated)"
    } else {
        ""
    };
    match (is_pending, charged) {
        (true, _) => format!("stopped; {held} USD are set aside until the cost is known; `lava-mcp status` shows it then"),
        (false, Money::ZERO) => "stopped; nothing was charged".to_owned(),
        (false, charged) => format!("stopped; {charged} USD were charged{how}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_charged_is_said_in_words() {
        let report = |status: &str, cost: &str, held: &str, basis: &str| -> RequestReport {
            let lava_mcp = json!({"held": held, "attempts": [{"basis": basis}]});
            serde_json::from_value(json!({"request_id": "req_1", "status": status, "cost": cost, "lava_mcp": lava_mcp})).unwrap()
        };
        for (requests, is_pending, expected) in [
            (vec![], false, "stopped; nothing was charged"),
            (vec![report("error", "0.0000000000", "0.00", "void")], false, "stopped; nothing was charged"),
            (vec![report("completed", "0.0012000000", "0.00", "estimated")], false, "stopped; 0.0012 USD were charged (estimated)"),
            (vec![report("completed", "0.0012000000", "0.00", "measured")], false, "stopped; 0.0012 USD were charged"),
        ] {
            assert_eq!(in_words(&requests, is_pending), expected);
        }
        assert!(in_words(&[report("error", "1.00", "0.00", "hold")], false).contains("1.00 USD were charged (all that was set aside"));
        assert!(in_words(&[report("pending", "0.00", "0.25", "")], true).contains("0.25 USD are set aside"));
    }
}
