//! What was changed in a request, and where the key's rate limit is, is said on errors too: a provider may refuse because of what was changed.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use lava_mcp::gateway::Waits;
use serde_json::{Value, json};

use crate::{
    harness::{Answer, Harness, request},
    raw_provider::{self, Step, plain},
};

const WAITS: Waits = Waits { silence: Duration::from_millis(1_500), ping_every: Duration::from_millis(100) };
/// How a provider does not answer, and which status the caller gets.
const FAILURES: [(&str, u16); 15] = [
    ("400", 400),
    ("401", 502),
    ("404", 404),
    ("422", 422),
    ("429", 429),
    ("500", 500),
    ("504", 504),
    ("529", 529),
    ("302", 502),
    ("html", 502),
    ("packed", 502),
    ("cut", 502),
    ("drop", 502),
    ("empty", 502),
    ("silent", 504),
];

fn send(text: &str) -> Step {
    Step::Send(text.as_bytes().to_vec())
}

fn fail(script: &str) -> Vec<Step> {
    let (when, how) = script.split_once('-').unwrap();
    let mut steps = vec![Step::Wait(Duration::from_millis(if when == "late" { 350 } else { 0 }))];
    match how {
        "html" => steps.push(send("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>x</html>")),
        "packed" => steps.push(send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\nx")),
        "cut" => steps.push(send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":")),
        "empty" => steps.push(send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")),
        "silent" => steps.push(Step::Wait(Duration::from_secs(3))),
        "drop" => {}
        status => steps.extend(plain(status.parse().unwrap(), &json!({"error": {"message": "no", "type": "x"}}))),
    }
    steps
}

fn asked(key: &str, is_claude: bool, script: &str, is_streamed: bool) -> Request<Body> {
    let mut body = json!({"stream": is_streamed, "messages": [{"role": "user", "content": "Hi"}]});
    if is_claude {
        body["model"] = format!("claude/{script}").into();
        body["fallbacks"] = json!([{"model": "another"}]);
        body["max_tokens"] = 64_000.into();
        return request(Method::POST, "/v1/messages", Some(key), body);
    }
    // Without a cap, so that one is put in.
    body["model"] = format!("fake/{script}").into();
    request(Method::POST, "/v1/chat/completions", Some(key), body)
}

const OF_CHAT: [&str; 3] = ["x-lava-output-cap", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"];
const OF_CLAUDE: [&str; 3] = ["x-lava-output-cap", "x-lava-dropped", "anthropic-ratelimit-requests-remaining"];

async fn key(harness: &Harness, is_claude: bool) -> String {
    let shape = if is_claude { "anthropic" } else { "openai" };
    let terms = json!({"request_shape": shape, "spend_limit": {"amount": "0.25", "cycle": "daily"}, "rate_limit": {"rpm": 60, "burst": 60},
        "lava_mcp": {"lower_output_cap": true}});
    harness.key(terms).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_has_the_headers_of_an_answer() {
    let url = raw_provider::start(|_, body| fail(body["model"].as_str().unwrap()));
    for (how, status) in FAILURES {
        for is_claude in [false, true] {
            for is_streamed in [false, true] {
                let harness = Harness::start_waiting_at(&url, WAITS).await;
                let key = key(&harness, is_claude).await;
                let answer = harness.send(asked(&key, is_claude, &format!("soon-{how}"), is_streamed)).await;
                if is_streamed && matches!(how, "silent") {
                    continue;
                }
                assert_eq!(answer.status.as_u16(), status, "{how} {is_streamed}: {}", answer.text());
                for name in if is_claude { OF_CLAUDE } else { OF_CHAT } {
                    assert!(answer.header(name).is_some(), "{how} {is_streamed}: {name} {:?}", answer.headers);
                }
                if is_claude {
                    assert_eq!(answer.header("x-lava-dropped"), Some("fallbacks"));
                }
                harness.finish().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_error_comes_after_the_head_they_are_in_the_report() {
    let url = raw_provider::start(|_, body| fail(body["model"].as_str().unwrap()));
    for (how, _) in FAILURES {
        for is_claude in [false, true] {
            let harness = Harness::start_waiting_at(&url, WAITS).await;
            let key = key(&harness, is_claude).await;
            let answer: Answer = harness.send(asked(&key, is_claude, &format!("late-{how}"), true)).await;
            assert_eq!(answer.status.as_u16(), 200, "{how}: {}", answer.text());
            assert!(answer.text().contains("\"error\""), "{how}: {}", answer.text());
            let path = format!("/v1/requests/{}", answer.header("x-lava-request-id").unwrap());
            let report = harness.send(request(Method::GET, &path, Some(&key), Value::Null)).await.json();
            let late = &report["lava_mcp"]["late_headers"];
            for name in if is_claude { OF_CLAUDE } else { OF_CHAT } {
                assert!(late[name].is_string(), "{how}: {name} {report}");
            }
            // What the error says by itself is there as before.
            if matches!(how, "400" | "html") {
                assert_eq!(late["x-should-retry"], "false", "{how}: {report}");
            }
            harness.finish().await;
        }
    }
}

/// Where nothing was sent, nothing was put in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_gateways_own_has_none() {
    let harness = Harness::start().await;
    let (poor, _) =
        harness.key(json!({"spend_limit": {"amount": "0.00000001", "cycle": "daily"}, "rate_limit": {"rpm": 60, "burst": 60}})).await;
    let refused = harness.chat(&poor, "ok", json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.header("x-lava-output-cap")), (402, None), "nothing was sent");
    harness.finish().await;
}
