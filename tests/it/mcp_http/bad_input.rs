//! What is wrong, who hangs up, and who reads too slowly.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Serving, Sse, modern};
use crate::{cli::program, fake_upstream::FakeUpstream, server::json_of};

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none_get_an_error_that_says_what_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let sse = Sse::connect(&serving).await;
    let (good, _) = modern("tools/list", json!({}));
    for (body, code, says) in [
        ("{\"jsonrpc\": ".to_owned(), -32_700, "not JSON"),
        (String::new(), -32_700, "not JSON"),
        (format!("[{good}]"), -32_600, "batches"),
        ("7".to_owned(), -32_600, "object"),
        (format!("{{\"a\": {}1{}}}", "[".repeat(200_000), "]".repeat(200_000)), -32_700, "recursion"),
        (json!({"jsonrpc": "1.0", "id": 1, "method": "ping"}).to_string(), -32_600, "JSON-RPC"),
        (json!({"id": 1}).to_string(), -32_600, "JSON-RPC"),
    ] {
        for url in [format!("{}/mcp", serving.root), sse.endpoint.clone()] {
            let request =
                serving.http.post(&url).header("accept", "application/json, text/event-stream").header("content-type", "application/json");
            let answer = request.body(body.clone()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{url}");
            let error = json_of(answer).await;
            assert_eq!((&error["jsonrpc"], &error["error"]["code"]), (&json!("2.0"), &json!(code)), "{error}");
            assert!(error["error"]["message"].as_str().unwrap().contains(says), "{error}");
        }
    }
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(34 << 20));
    let answer = serving.post(&json!({})).body(large).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(json_of(answer).await["error"]["message"].as_str().unwrap().contains("33 MiB"));
    assert_eq!(serving.modern("tools/list", json!({})).send().await.unwrap().status(), StatusCode::OK, "and the server lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_the_protocol_is_refused_as_it_says() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let (message, _) = modern("tools/list", json!({}));
    let answer = |request: reqwest::RequestBuilder| async move {
        let answer = request.send().await.unwrap();
        (answer.status(), json_of(answer).await["error"]["code"].clone())
    };
    let bad = StatusCode::BAD_REQUEST;
    let with_version = |version: &str| serving.post(&message).header("mcp-protocol-version", version);
    assert_eq!(answer(with_version("2026-07-28")).await, (bad, json!(-32_020)), "without Mcp-Method");
    assert_eq!(answer(with_version("2026-07-28").header("mcp-method", "tools/call")).await, (bad, json!(-32_020)), "another method");
    assert_eq!(answer(with_version("2025-11-25").header("mcp-method", "tools/list")).await, (bad, json!(-32_020)), "another version");
    let mut unknown = message.clone();
    unknown["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2099-01-01");
    let request = serving.post(&unknown).header("mcp-protocol-version", "2099-01-01").header("mcp-method", "tools/list");
    assert_eq!(answer(request).await, (bad, json!(-32_022)));
    assert_eq!(answer(serving.modern("tools/unknown", json!({}))).await, (StatusCode::NOT_FOUND, json!(-32_601)));
    let old = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    assert_eq!(serving.in_session("3f1c0000-0000-4000-8000-000000000000", &old).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert!(serving.post(&old).send().await.unwrap().status().is_client_error(), "no session");
    let narrow =
        serving.http.post(format!("{}/mcp", serving.root)).header("content-type", "application/json").header("accept", "text/html");
    assert_eq!(narrow.body(message.to_string()).send().await.unwrap().status(), StatusCode::NOT_ACCEPTABLE);
    let other = serving.http.post(format!("{}/mcp", serving.root)).header("accept", "application/json, text/event-stream");
    assert_eq!(other.body(message.to_string()).send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

/// A server that buys from a fake upstream, logged in.
pub(super) async fn buying(home: &std::path::Path, upstream: &FakeUpstream) -> Serving {
    let config = home.join("lava.toml");
    let text = format!(
        "local_servers = false\n[providers.openai]\nbase_url = \"{}\"\nprice = {{ input = \"1\", output = \"2\" }}\n",
        upstream.url
    );
    std::fs::write(&config, text).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", config);
    let serving = Serving::start(command, &["--listen", "127.0.0.1:0"]);
    assert_eq!(serving.call("login", json!({})).await["structuredContent"]["status"], "ready");
    serving
}

/// Waits until a provider has got so many requests.
async fn until_seen(upstream: &FakeUpstream, requests: usize) {
    let seen = async {
        while upstream.seen().len() < requests {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("the provider was asked");
}

async fn holds_nothing_but_has_spent(serving: &Serving, requests: u64) {
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    loop {
        let usage = serving.call("usage", json!({})).await["structuredContent"].clone();
        let counted = usage["spend_key"]["current_requests"] == requests;
        if counted && usage["held"].as_str().is_some_and(|held| held.trim_matches(['0', '.']).is_empty()) {
            assert!(usage["spend_key"]["current_spend"].as_str().unwrap().parse::<f64>().unwrap() > 0.0, "{usage}");
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{usage}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_in_the_middle_of_a_call_stops_and_settles_it() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let serving = buying(home.path(), &upstream).await;
    let asked = json!({"name": "prompt", "arguments": {"model": "openai/stall-stream", "input": "Hi", "max_tokens": 20}, "_meta": {"progressToken": 1}});
    // Without a session: the closed answer is the cancellation.
    let answer = serving.modern("tools/call", asked.clone()).send().await.unwrap();
    drop(answer);
    holds_nothing_but_has_spent(&serving, 1).await;
    // SSE: the closed stream takes the call along.
    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    sse.send(&serving.http, &json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": asked})).await;
    until_seen(&upstream, 2).await;
    let endpoint = sse.endpoint.clone();
    drop(sse);
    holds_nothing_but_has_spent(&serving, 2).await;
    let late = serving
        .http
        .post(endpoint)
        .header("content-type", "application/json")
        .body(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(late.status(), StatusCode::NOT_FOUND);
    // With a session: the client says so.
    let session = serving.initialize().await;
    let message = json!({"jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": asked});
    let running = tokio::spawn(serving.in_session(&session, &message).send());
    until_seen(&upstream, 3).await;
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 6}});
    assert_eq!(serving.in_session(&session, &cancel).send().await.unwrap().status(), StatusCode::ACCEPTED);
    holds_nothing_but_has_spent(&serving, 3).await;
    running.abort();
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_key_of_its_own_goes_on_when_its_answer_is_lost_and_is_paid_once() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let serving = buying(home.path(), &upstream).await;
    let asked = json!({"model": "openai/slow-1000", "input": "Hi", "max_tokens": 20, "idempotency_key": "lost"});
    let params = json!({"name": "prompt", "arguments": asked});
    let lost = tokio::time::timeout(Duration::from_millis(300), serving.modern("tools/call", params).send()).await;
    assert!(lost.is_err(), "the provider takes a second");
    let answer = serving.call("prompt", asked.clone()).await;
    assert_eq!(answer["structuredContent"]["content"], "Hello there.", "{answer}");
    let again = serving.call("prompt", asked).await;
    assert_eq!(again["structuredContent"]["request_id"], answer["structuredContent"]["request_id"]);
    assert_eq!(upstream.seen().len(), 1);
    holds_nothing_but_has_spent(&serving, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_call_outlives_its_sse_stream_and_its_session_but_not_a_cancellation() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let serving = buying(home.path(), &upstream).await;
    let asked = |key: &str| json!({"model": "openai/slow-1000", "input": "Hi", "max_tokens": 20, "idempotency_key": key});
    let message =
        |key: &str| json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "prompt", "arguments": asked(key)}});
    let begun = async |requests: usize| {
        while upstream.seen().len() < requests {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };

    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    sse.send(&serving.http, &message("sse")).await;
    begun(1).await;
    drop(sse);
    let answer = serving.call("prompt", asked("sse")).await;
    assert_eq!(answer["structuredContent"]["content"], "Hello there.", "{answer}");

    let session = serving.initialize().await;
    let running = tokio::spawn(serving.in_session(&session, &message("session")).send());
    begun(2).await;
    let end = serving.http.delete(format!("{}/mcp", serving.root)).header("mcp-session-id", &session);
    assert!(end.header("mcp-protocol-version", "2025-11-25").send().await.unwrap().status().is_success());
    let answer = serving.call("prompt", asked("session")).await;
    assert_eq!(answer["structuredContent"]["content"], "Hello there.", "{answer}");
    running.abort();

    // Who sits at another connection cancels nothing, whatever the id.
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}});
    let (session, other) = (serving.initialize().await, serving.initialize().await);
    for (key, from, requests, content) in [("other", &other, 3, json!("Hello there.")), ("cancelled", &session, 4, json!(null))] {
        let running = tokio::spawn(serving.in_session(&session, &message(key)).send());
        begun(requests).await;
        assert_eq!(serving.in_session(from, &cancel).send().await.unwrap().status(), StatusCode::ACCEPTED);
        let answer = serving.call("prompt", asked(key)).await;
        assert_eq!(answer["structuredContent"]["content"], content, "{answer}");
        running.abort();
    }
    assert_eq!(upstream.seen().len(), 4);
    holds_nothing_but_has_spent(&serving, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_half_a_request_or_leaves_an_answer_unread_keeps_nobody_waiting() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let address = serving.root.strip_prefix("http://").unwrap().to_owned();
    let (message, _) = modern("tools/list", json!({}));
    let body = message.to_string();
    let mut slow = Vec::new();
    for n in 0..40 {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let sent = if n % 2 == 0 { &head[..30] } else { &*format!("{head}{body}") };
        socket.write_all(sent.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    let listed = tokio::time::timeout(Duration::from_secs(2), serving.modern("tools/list", json!({})).send()).await;
    assert_eq!(listed.unwrap().unwrap().status(), StatusCode::OK);
    // Half a head is waited for ten seconds and no longer.
    let mut end = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(15), slow[0].read_to_end(&mut end)).await;
    assert!(closed.is_ok(), "the connection was closed");
}
