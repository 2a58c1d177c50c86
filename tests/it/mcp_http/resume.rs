//! Answers whose connection was cut: they are paid, so they can be asked for again. And what older clients must not be sent for that.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Client, bad_input::buying};
use crate::{fake_upstream::FakeUpstream, server::json_of};

/// An event of a stream: its id, and what it says.
type Event = (Option<String>, String);

/// Reads events until one of them is wanted, or the stream ends.
async fn events(answer: Response, is_enough: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut stream = answer.bytes_stream();
    let (mut text, mut events) = (String::new(), Vec::new());
    while let Some(Ok(bytes)) = stream.next().await {
        text.push_str(std::str::from_utf8(&bytes).unwrap());
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            let field = |name: &str| block.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()));
            let Some(data) = field("data:") else { continue };
            events.push((field("id:"), data));
            if events.last().is_some_and(&is_enough) {
                return events;
            }
        }
    }
    events
}

async fn begin(client: &Client, revision: &str) -> String {
    let about = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "raw test", "version": "1"}});
    let answer = client.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about})).send().await.unwrap();
    let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let events = events(answer, |_| false).await;
    assert!(events.len() == 1 && events[0].1.starts_with('{'), "{events:?}");
    session
}

fn prompt(model: &str, token: Option<&str>) -> Value {
    let mut params = json!({"name": "prompt", "arguments": {"model": model, "input": "Hi", "max_tokens": 20}});
    if let Some(token) = token {
        params["_meta"] = json!({"progressToken": token});
    }
    json!({"jsonrpc": "2.0", "id": 30, "method": "tools/call", "params": params})
}

async fn resume(client: &Client, session: &str, last: &str) -> Response {
    let request = client.http.get(format!("{}/mcp", client.root)).header("accept", "text/event-stream");
    request.header("mcp-session-id", session).header("last-event-id", last).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_connection_was_cut_can_be_heard_before_and_after_it_is_ready() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let serving = buying(home.path(), &upstream).await;
    let session = begin(&serving, "2025-11-25").await;
    for (n, wait_ms) in [(1, 0), (2, 2_000)] {
        let answer = serving.in_session(&session, &prompt("openai/slow-1000", None)).send().await.unwrap();
        let primed = events(answer, |event| event.0.is_some()).await;
        assert_eq!(primed[0].1, "", "the first event has an id and says nothing");
        let id = primed[0].0.clone().unwrap();
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        for _ in 0..2 {
            let resumed = resume(&serving, &session, &id).await;
            assert_eq!(resumed.status(), StatusCode::OK);
            let heard = events(resumed, |_| false).await;
            let message: Value = serde_json::from_str(&heard.last().expect("an answer").1).unwrap();
            assert_eq!(message["id"], 30, "{message}");
            assert_eq!(message["result"]["structuredContent"]["content"], "Hello there.", "{message}");
            // Nothing comes after the answer.
            let after = resume(&serving, &session, &heard.last().unwrap().0.clone().unwrap()).await;
            assert!(events(after, |_| false).await.is_empty());
        }
        assert_eq!(upstream.seen().len(), n, "and it was paid once");
        let other = begin(&serving, "2025-11-25").await;
        assert_eq!(resume(&serving, &other, &id).await.status(), StatusCode::NOT_FOUND, "it belongs to its session");
    }
    for unknown in ["99/99", "1/99", "0", "x", "", "18446744073709551616/0"] {
        let gone = resume(&serving, &session, unknown).await;
        assert_eq!(gone.status(), StatusCode::NOT_FOUND, "{unknown}");
        assert!(json_of(gone).await["error"]["message"].as_str().unwrap().contains("event"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_revisions_are_sent_no_event_without_data_and_resume_from_what_they_heard() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let serving = buying(home.path(), &upstream).await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        let session = begin(&serving, revision).await;
        let in_session = |message: &Value| serving.post(message).header("mcp-session-id", &session);
        for message in [json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}), prompt("openai/slow-100", None)] {
            let heard = events(in_session(&message).send().await.unwrap(), |_| false).await;
            assert!(!heard.is_empty() && heard.iter().all(|(_, data)| data.starts_with('{')), "{revision}: {heard:?}");
        }
        // The first note has an id, and from there on it can be resumed.
        let answer = in_session(&prompt("openai/paced", Some("p"))).send().await.unwrap();
        let heard = events(answer, |event| event.0.is_some()).await;
        assert!(heard[0].1.contains("notifications/progress"), "{heard:?}");
        let resumed = resume(&serving, &session, &heard[0].0.clone().unwrap()).await;
        let rest = events(resumed, |_| false).await;
        assert!(rest.last().unwrap().1.contains("structuredContent"), "{rest:?}");
        // The stream that only listens says nothing either.
        let listening =
            serving.http.get(format!("{}/mcp", serving.root)).header("accept", "text/event-stream").header("mcp-session-id", &session);
        let listening = listening.send().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(300), events(listening, |_| true)).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_cancelled_has_nothing_to_come_back_for() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let serving = buying(home.path(), &upstream).await;
    let session = begin(&serving, "2025-11-25").await;
    let answer = serving.in_session(&session, &prompt("openai/slow-5000", None)).send().await.unwrap();
    let mut lines = super::lines_of(answer);
    let id = loop {
        let line = lines.next().await.unwrap();
        if let Some(id) = line.strip_prefix("id:") {
            break id.trim().to_owned();
        }
    };
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 30}});
    assert_eq!(serving.in_session(&session, &cancel).send().await.unwrap().status(), StatusCode::ACCEPTED);
    let rest = tokio::time::timeout(Duration::from_secs(4), lines.collect::<Vec<_>>()).await.expect("the stream ends");
    assert!(!rest.iter().any(|line| line.contains("result")), "{rest:?}");
    assert_eq!(resume(&serving, &session, &id).await.status(), StatusCode::NOT_FOUND, "else a client would ask again and again");
}
