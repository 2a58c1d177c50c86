//! Calls that pay, through the tools: fallbacks, repetition, and signs of life.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    fake_upstream::FakeUpstream,
    mcp_stdio::{Server, entries, error_code, with_upstream},
};

fn ready(home: &Path, upstream: &FakeUpstream, modern: bool) -> Server {
    let mut command = with_upstream(home, upstream);
    let config = home.join("config.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    // Nobody listens there.
    text.push_str("[providers.gone]\nbase_url = \"http://127.0.0.1:1/v1\"\nprice = \"free\"\n");
    text.push_str(&format!("[providers.dear]\nbase_url = \"{}\"\nprice = {{ input = \"1000\", output = \"9000\" }}\n", upstream.url));
    std::fs::write(&config, text).unwrap();
    command.env("LAVA_CONFIG", config);
    let mut server = Server::start(command, modern);
    assert_eq!(server.call("login", json!({}))["isError"], false);
    server
}

fn outcomes(attempts: &Value) -> Vec<String> {
    let text = |attempt: &Value, name: &str| attempt[name].as_str().unwrap_or_default().to_owned();
    attempts.as_array().unwrap().iter().map(|one| format!("{}/{}", text(one, "provider"), text(one, "model"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fallbacks_are_tried_in_order_and_told() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    let prompt = |model: &str, fallbacks: &[&str]| {
        let fallbacks: Vec<Value> = fallbacks.iter().map(|model| json!({ "model": model })).collect();
        json!({"model": model, "input": "Hi", "max_tokens": 50, "fallbacks": fallbacks})
    };
    let answer = server.call("prompt", prompt("gone/x", &["fake/status-500", "fake/status-429", "fake/ok", "fake/never"]));
    let answer = &answer["structuredContent"];
    assert_eq!(answer["content"], "Hello there.", "{answer}");
    assert_eq!(outcomes(&answer["attempts"]), ["gone/x", "fake/status-500", "fake/status-429", "fake/ok"], "{answer}");
    let costs: Vec<&Value> = answer["attempts"].as_array().unwrap().iter().map(|one| &one["cost"]).collect();
    assert_eq!(costs, ["0.00", "0.00", "0.00", "0.000025"]);
    assert_eq!(answer["cost"], "0.000025");
    // A refusal of the caller's own making is final.
    let refused = server.call("prompt", prompt("fake/status-400", &["fake/ok"]));
    assert_eq!(error_code(&refused), "upstream_error");
    assert_eq!(outcomes(&refused["structuredContent"]["error"]["attempts"]), ["fake/status-400"], "{refused}");
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_a_charge_is_remembered() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    // The first provider's edge gave up: it may have billed. The second is more than the key can pay.
    let ask = |model: &str, key: &str| json!({"model": model, "input": "Hi", "max_tokens": 1_000, "fallbacks": [{"model": "dear/ok"}], "idempotency_key": key});
    let asked = ask("fake/status-504", "k");
    let first = server.call("prompt", asked.clone());
    let error = &first["structuredContent"]["error"];
    assert_eq!(error_code(&first), "insufficient_budget");
    assert!(error["cost"].as_str().unwrap().parse::<f64>().unwrap() > 0.0, "{error}");
    assert_eq!(outcomes(&error["attempts"]), ["fake/status-504"]);
    assert_eq!(server.call("prompt", asked), first);
    assert_eq!(entries(home.path()).len(), 1, "the repetition bought nothing");
    // One that cost nothing is tried again.
    let before = upstream.seen().len();
    for _ in 0..2 {
        assert_eq!(error_code(&server.call("prompt", ask("fake/status-500", "l"))), "insufficient_budget");
    }
    assert_eq!(upstream.seen().len(), before + 2);
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_at_once_with_one_key_buy_once() {
    let upstream = FakeUpstream::start().await;
    for (modern, tool) in [(false, "prompt"), (true, "call")] {
        let home = tempfile::tempdir().unwrap();
        let mut server = ready(home.path(), &upstream, modern);
        let body = json!({"model": "slow-300", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50});
        let arguments = match tool {
            "prompt" => json!({"model": "fake/slow-300", "input": "Hi", "max_tokens": 50, "idempotency_key": "k"}),
            _ => json!({"url": format!("{}/chat/completions", upstream.url), "body": body, "idempotency_key": "k"}),
        };
        let ids: Vec<u64> = (0..4).map(|_| server.post("tools/call", json!({"name": tool, "arguments": arguments}))).collect();
        let mut results = Vec::new();
        while results.len() < ids.len() {
            let message = server.read();
            if ids.iter().any(|id| message["id"] == *id) {
                assert_eq!(message["result"]["isError"], false, "{message}");
                results.push(message["result"]["structuredContent"].clone());
            }
        }
        assert!(results.iter().all(|one| *one == results[0]));
        assert_eq!(entries(home.path()).len(), 1);
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_provider_is_reported_every_ten_seconds() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = ready(home.path(), &upstream, true);
    let url = format!("{}/chat/completions", upstream.url);
    let body = json!({"model": "slow-17500", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50});
    let mut waiting = Vec::new();
    for (tool, arguments) in
        [("prompt", json!({"model": "fake/slow-17500", "input": "Hi", "max_tokens": 50})), ("call", json!({"url": url, "body": body}))]
    {
        waiting.push(server.post("tools/call", json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": tool}})));
    }
    // Who gave no token gets none.
    waiting.push(
        server.post("tools/call", json!({"name": "prompt", "arguments": {"model": "fake/slow-100", "input": "Hi", "max_tokens": 50}})),
    );
    let (began, mut notes) = (Instant::now(), Vec::new());
    while !waiting.is_empty() {
        let message = server.read();
        if message["method"] == "notifications/progress" {
            let note = &message["params"];
            notes.push((note["progressToken"].as_str().unwrap().to_owned(), note["message"].as_str().unwrap().to_owned(), began.elapsed()));
        }
        waiting.retain(|id| message["id"] != *id);
    }
    for tool in ["prompt", "call"] {
        let silent: Vec<_> = notes.iter().filter(|(token, message, _)| token == tool && message.starts_with("still waiting, ")).collect();
        assert_eq!(silent.len(), 2, "{notes:?}");
        let mut last = Duration::ZERO;
        for (_, message, at) in silent {
            assert!(message.ends_with(" s") && *at - last < Duration::from_secs(10), "{notes:?}");
            last = *at;
        }
    }
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_stops_the_provider() {
    for modern in [false, true] {
        let upstream = FakeUpstream::start().await;
        let home = tempfile::tempdir().unwrap();
        let command = with_upstream(home.path(), &upstream);
        let config = home.path().join("config.toml");
        // A provider of this name ends its bill when a stream is closed.
        let text = std::fs::read_to_string(&config).unwrap().replace("providers.fake", "providers.openai");
        std::fs::write(&config, text).unwrap();
        let mut server = Server::start(command, modern);
        server.call("login", json!({}));
        let arguments = json!({"model": "openai/endless", "input": "Hi", "max_tokens": 50_000});
        server.post("tools/call", json!({"name": "prompt", "arguments": arguments, "_meta": {"progressToken": 1}}));
        assert_eq!(server.read()["method"], "notifications/progress");
        server.cancel_last();
        let began = Instant::now();
        while upstream.seen().last().unwrap().head != "hung up" || entries(home.path()).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(5), "it is stopped and settled while the server runs on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(server.call("usage", json!({}))["isError"], false);
        server.close();
    }
}
