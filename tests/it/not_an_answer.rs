//! A status of 200 whose body is not an answer of the dialect, and how streams end: what the caller is told, and what is booked.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Method, Request, StatusCode};
use lava_mcp::gateway::Waits;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Harness, request},
    raw_provider::{self, Step, completion},
};

const WAITS: Waits = Waits { silence: Duration::from_secs(4), ping_every: Duration::from_millis(100) };
const NOT_ANSWERS: [&str; 12] = [
    "<html>x</html>",
    "null",
    "[]",
    "[1, {\"choices\": []}]",
    "\"hello\"",
    "5",
    "true",
    "   \n\n ",
    "hello",
    "{\"choices\": [",
    "{oops}",
    "\u{feff}[]",
];

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

/// Sends what the request says, after a while if it says so.
fn provider() -> String {
    raw_provider::start(|path, body| {
        let told = &body["metadata"];
        let kind = told["type"].as_str().unwrap_or("application/json");
        let kind = if kind.is_empty() { String::new() } else { format!("content-type: {kind}\r\n") };
        let sent = if path.ends_with("models") { "[]" } else { told["body"].as_str().unwrap_or_default() };
        vec![
            Step::Wait(Duration::from_millis(told["wait"].as_u64().unwrap_or(0))),
            send(&format!("HTTP/1.1 200 OK\r\n{kind}connection: close\r\n\r\n{sent}")),
            Step::Wait(Duration::from_millis(told["open"].as_u64().unwrap_or(0))),
        ]
    })
}

fn asked(key: &str, path: &str, model: &str, is_streamed: bool, told: Value) -> Request<Body> {
    let body = json!({"model": model, "max_tokens": 100, "stream": is_streamed, "messages": [{"role": "user", "content": "Hi"}], "metadata": told});
    request(Method::POST, path, Some(key), body)
}

async fn report(harness: &Harness, key: &str, answer: &Answer) -> Value {
    let path = format!("/v1/requests/{}", answer.header("x-lava-request-id").unwrap());
    harness.send(request(Method::GET, &path, Some(key), Value::Null)).await.json()
}

async fn keys(harness: &Harness) -> [String; 2] {
    let (chat, _) = harness.key(json!({})).await;
    let (claude, _) = harness.key(json!({"request_shape": "anthropic"})).await;
    [chat, claude]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_an_answer_is_not_handed_on_as_one() {
    let url = provider();
    let forward = format!("/v1/forward?u={url}/chat/completions");
    for sent in NOT_ANSWERS {
        for kind in ["application/json", "text/html; charset=utf-8", ""] {
            let harness = Harness::start_waiting_at(&url, WAITS).await;
            let [chat, claude] = keys(&harness).await;
            for (key, path, model) in
                [(&chat, "/v1/chat/completions", "fake/m"), (&chat, forward.as_str(), "m"), (&claude, "/v1/messages", "claude/m")]
            {
                for is_streamed in [false, true] {
                    let case = format!("{sent:?} {kind:?} {path} {is_streamed}");
                    // A breaker must not answer instead.
                    let later: jiff::Timestamp = harness.clock.clock()() + jiff::SignedDuration::from_mins(6);
                    harness.clock.set(&later.to_string());
                    let answer = harness.send(asked(key, path, model, is_streamed, json!({"type": kind, "body": sent}))).await;
                    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{case}: {}", answer.text());
                    assert_eq!(answer.header("content-type"), Some("application/json"), "{case}");
                    let said = answer.json();
                    assert_eq!(said["error"]["code"], "upstream_broken", "{case}: {said}");
                    assert_eq!(said["type"] == "error", path == "/v1/messages", "{case}: {said}");
                    assert_eq!(answer.header("x-should-retry"), Some("false"), "{case}: it is paid");
                    let report = report(&harness, key, &answer).await;
                    assert_eq!(report["status"], "error", "{case}: {report}");
                    let attempt = &report["lava_mcp"]["attempts"][0];
                    assert!(matches!(attempt["basis"].as_str(), Some("estimated" | "hold")), "{case}: {report}");
                    let entry = harness.entries().await.pop().unwrap();
                    assert!(entry.kind == "charge" && entry.amount_n > 0, "{case}: {entry:?}");
                }
            }
            harness.finish().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_early_head_it_is_an_event_and_not_completed() {
    let url = provider();
    for sent in NOT_ANSWERS {
        let harness = Harness::start_waiting_at(&url, WAITS).await;
        let [chat, claude] = keys(&harness).await;
        for (key, path, model) in [(&chat, "/v1/chat/completions", "fake/m"), (&claude, "/v1/messages", "claude/m")] {
            let answer = harness.send(asked(key, path, model, true, json!({"body": sent, "wait": 300}))).await;
            assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("text/event-stream")), "{sent:?}");
            assert_eq!(answer.text().matches("upstream_broken").count(), 1, "{sent:?}: {}", answer.text());
            assert_eq!(answer.text().contains("event: error\n"), path == "/v1/messages", "{sent:?}: {}", answer.text());
            assert_eq!(report(&harness, key, &answer).await["status"], "error", "{sent:?}");
        }
        harness.finish().await;
    }
}

/// A JSON object that says something else is the provider's business, and so is what an endpoint without a dialect sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_an_answer_is_handed_on() {
    let url = provider();
    let harness = Harness::start_waiting_at(&url, WAITS).await;
    let [chat, claude] = keys(&harness).await;
    let marked = format!("\u{feff}{}", completion("hello"));
    for (sent, got) in [
        ("{\"weird\": true}", "{\"weird\": true}"),
        (" {\"choices\": \"odd\"}\n", " {\"choices\": \"odd\"}\n"),
        ("{\"a\": 1, \"a\": 2}", "{\"a\": 1, \"a\": 2}"),
        ("{\"logprob\": -Infinity}", "{\"logprob\": -Infinity}"),
        (marked.as_str(), &marked[3..]),
    ] {
        for (key, path, model) in [(&chat, "/v1/chat/completions", "fake/m"), (&claude, "/v1/messages", "claude/m")] {
            let answer = harness.send(asked(key, path, model, false, json!({"body": sent}))).await;
            assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, got), "{path}");
            assert_eq!(report(&harness, key, &answer).await["status"], "completed", "{sent}");
        }
    }
    // An error with status 200 is the provider's word, in whichever form.
    for is_streamed in [false, true] {
        let sent = r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"slow down"}}"#;
        let answer = harness.send(asked(&chat, "/v1/chat/completions", "fake/m", is_streamed, json!({"body": sent}))).await;
        assert!(answer.status == StatusCode::OK && answer.text().contains("slow down"), "{}", answer.text());
        assert_eq!(report(&harness, &chat, &answer).await["status"], "error");
    }
    // What did not say what it cost has closed that provider to the key for a while.
    let later: jiff::Timestamp = harness.clock.clock()() + jiff::SignedDuration::from_mins(6);
    harness.clock.set(&later.to_string());
    for sent in NOT_ANSWERS {
        let body = json!({"model": "m", "input": "Hi", "metadata": {"body": sent, "type": "audio/mpeg"}});
        let path = format!("/v1/forward?u={url}/embeddings");
        let answer = harness.send(request(Method::POST, &path, Some(&chat), body)).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some("audio/mpeg")), "{sent:?}: {}", answer.text());
    }
    let list = harness.send(request(Method::GET, &format!("/v1/forward?u={url}/models"), Some(&chat), Value::Null)).await;
    assert_eq!((list.status, list.text().as_str()), (StatusCode::OK, "[]"));
    harness.finish().await;
}

/// A stream that was not asked for and has nothing in it is not an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_nothing_is_not_a_whole_answer() {
    let url = provider();
    let harness = Harness::start_waiting_at(&url, WAITS).await;
    let [chat, _] = keys(&harness).await;
    let answer = harness.send(asked(&chat, "/v1/chat/completions", "fake/m", false, json!({"body": "data: [DONE]\n\n"}))).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_broken"));
    assert_eq!(report(&harness, &chat, &answer).await["status"], "error");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn white_space_around_the_last_event_does_not_hide_it() {
    const PIECE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":\"stop\"}]}\n\n";
    let url = provider();
    for done in ["[DONE]", "[DONE] ", " [DONE]", "\t[DONE]\t ", " [DONE]\u{20}\r"] {
        let harness = Harness::start_waiting_at(&url, WAITS).await;
        let [chat, _] = keys(&harness).await;
        // The connection stays open, and no usage comes, so that only this says that it is the end.
        let told = json!({"body": format!("{PIECE}data: {done}\n\n"), "type": "text/event-stream", "open": 3_000});
        let began = Instant::now();
        let answer = harness.send(asked(&chat, "/v1/chat/completions", "fake/m", true, told)).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{done:?}: {:?}", began.elapsed());
        assert!(answer.text().contains("[DONE]") && !answer.text().contains("upstream_broken"), "{done:?}: {}", answer.text());
        assert_eq!(report(&harness, &chat, &answer).await["status"], "completed", "{done:?}");
        harness.finish().await;
    }
}

/// A client ends at the first error; a second one would only hide it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_providers_own_error_nothing_is_added() {
    let url = provider();
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}\n\n";
    let failed = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let part = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hel\"}}]}\n\n";
    let said = "data: {\"error\":{\"message\":\"Overloaded\",\"code\":502}}\n\n";
    let beside = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}],\"error\":{\"message\":\"Overloaded\"}}\n\n";
    // What no client takes for an error is not one that was said.
    let hidden =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Overloaded\"},\"finish_reason\":\"error\"}],\"error\":null}\n\n";
    let cut = |text: &str| text.trim_end().to_owned();
    let harness = Harness::start_waiting_at(&url, WAITS).await;
    let [chat, claude] = keys(&harness).await;
    for (key, body, added) in [
        (&claude, format!("{start}{failed}"), 0),
        (&claude, failed.to_owned(), 0),
        (&claude, cut(&format!("{start}{failed}")), 0),
        (&claude, start.to_owned(), 1),
        (&chat, format!("{part}{said}"), 0),
        (&chat, cut(&format!("{part}{said}")), 0),
        (&chat, format!("{part}{beside}"), 0),
        (&chat, format!("{part}{said}data: [DONE]\n\n"), 0),
        (&chat, format!("{part}{hidden}"), 1),
        (&chat, part.to_owned(), 1),
    ] {
        let (path, model) = if key == &claude { ("/v1/messages", "claude/m") } else { ("/v1/chat/completions", "fake/m") };
        let later: jiff::Timestamp = harness.clock.clock()() + jiff::SignedDuration::from_mins(6);
        harness.clock.set(&later.to_string());
        let answer = harness.send(asked(key, path, model, true, json!({"body": body, "type": "text/event-stream"}))).await;
        let text = answer.text();
        assert_eq!(text.matches("upstream_broken").count(), added, "{body}: {text}");
        assert_eq!(text.matches("Overloaded").count(), usize::from(body.contains("Overloaded")), "{body}: {text}");
        assert_eq!(report(&harness, key, &answer).await["status"], "error", "{body}");
    }
    // Nor where the provider then falls silent.
    let silent = Harness::start_waiting_at(&url, Waits { silence: Duration::from_millis(400), ..WAITS }).await;
    let [_, claude] = keys(&silent).await;
    let told = json!({"body": failed, "type": "text/event-stream", "open": 2_000});
    let answer = silent.send(asked(&claude, "/v1/messages", "claude/m", true, told)).await;
    assert_eq!(answer.text().matches("event: error").count(), 1, "{}", answer.text());
    silent.finish().await;
    harness.finish().await;
}
