//! `/v1/messages`: passed through as it came, and metered with its cache tokens, in a gateway that is asked in the Anthropic dialect.

use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::{
    fake_anthropic::{USED, events},
    harness::{Answer, Entry, Harness, UPSTREAM_KEY, request},
};

/// What an answer of the fake provider costs, in nano-dollars; the prices are those of [`crate::harness::claude_prices`].
const COST_N: i64 = (USED.0 * 1_000 + USED.1 * 100 + USED.2 * 1_250 + USED.3 * 2_000 + USED.4 * 5_000) as i64;

async fn key(harness: &Harness) -> String {
    harness.key(json!({"request_shape": "anthropic", "spend_limit": {"amount": "1.00", "cycle": "daily"}})).await.0
}

fn body(script: &str, more: &Value) -> Value {
    let mut body = json!({"model": format!("claude/{script}"), "max_tokens": 2_000, "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    body
}

async fn ask(harness: &Harness, key: &str, script: &str, more: Value) -> Answer {
    // The official SDK sends the key in this header.
    let request = Request::builder().method(Method::POST).uri("/v1/messages").header("x-api-key", key);
    harness.send(request.body(Body::from(body(script, &more).to_string())).unwrap()).await
}

#[tokio::test]
async fn an_answer_passes_unchanged_and_its_cache_tokens_are_paid_at_their_own_price() {
    let harness = Harness::start().await;
    let key = key(&harness).await;
    let plain = ask(&harness, &key, "ok", Value::Null).await;
    assert_eq!((plain.status, &plain.json()["content"][0]["text"]), (StatusCode::OK, &json!("Hello there.")));
    let streamed = ask(&harness, &key, "ok", json!({"stream": true})).await;
    assert_eq!(streamed.text(), events("ok").concat());
    for entry in harness.entries().await {
        assert!(entry.held_n >= COST_N, "the hold is an upper bound: {entry:?}");
        assert_eq!((entry.kind.as_str(), entry.amount_n, entry.basis.as_str()), ("charge", COST_N, "measured"));
    }
    let seen = harness.upstream.seen();
    for seen in &seen {
        assert!(seen.head.starts_with("post /v1/messages http"), "{}", seen.head);
        assert!(seen.head.contains(&format!("x-api-key: {UPSTREAM_KEY}")) && !seen.head.contains("authorization"), "{}", seen.head);
        assert!(seen.head.contains("anthropic-version: 2023-06-01"), "{}", seen.head);
    }
    assert_eq!(seen[0].body, json!({"model": "ok", "max_tokens": 2_000, "messages": [{"role": "user", "content": "Hi"}]}));
    harness.finish().await;
}

#[tokio::test]
async fn the_callers_versions_travel_on() {
    let harness = Harness::start().await;
    let key = key(&harness).await;
    let request = Request::builder().method(Method::POST).uri("/v1/messages").header("authorization", format!("Bearer {key}"));
    let request = request.header("anthropic-version", "2024-01-01").header("anthropic-beta", "a-beta").header("cookie", "c=d");
    let answer = harness.send(request.body(Body::from(body("ok", &Value::Null).to_string())).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let head = harness.upstream.seen()[0].head.clone();
    assert!(
        head.contains("anthropic-version: 2024-01-01") && head.contains("anthropic-beta: a-beta") && !head.contains("cookie"),
        "{head}"
    );
    harness.finish().await;
}

#[tokio::test]
async fn a_version_that_is_empty_is_none() {
    let harness = Harness::start().await;
    let key = key(&harness).await;
    for versions in [&[""][..], &[" "], &["", ""]] {
        let mut request = Request::builder().method(Method::POST).uri("/v1/messages").header("x-api-key", &key);
        for version in versions {
            request = request.header("anthropic-version", *version);
        }
        let answer = harness.send(request.body(Body::from(body("ok", &Value::Null).to_string())).unwrap()).await;
        assert_eq!(answer.status, StatusCode::OK);
        let head = harness.upstream.seen().pop().unwrap().head.clone();
        assert_eq!(head.matches("anthropic-version").count(), 1, "{head}");
        assert!(head.contains("anthropic-version: 2023-06-01"), "{head}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_not_taken_for_complete() {
    let harness = Harness::start().await;
    let key = key(&harness).await;
    for script in ["cut-stream", "no-stop"] {
        let answer = ask(&harness, &key, script, json!({"stream": true})).await;
        let last = answer.text().split("\n\n").filter(|event| !event.trim().is_empty()).last().unwrap().to_owned();
        assert!(last.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{\"code\":\"upstream_broken\""), "{script}: {last}");
    }
    ask(&harness, &key, "error-stream", json!({"stream": true})).await;
    let entries: Vec<Entry> = harness.entries().await;
    for entry in &entries[..2] {
        assert!(entry.basis == "estimated" && entry.amount_n > COST_N && entry.amount_n <= entry.held_n, "{entry:?}");
    }
    // The stream reported its input before its error; whether that is billed is not known, and it is charged.
    assert!(entries[2].amount_n >= COST_N - (USED.4 * 5_000) as i64, "{:?}", entries[2]);
    harness.finish().await;
}

#[tokio::test]
async fn refusals_are_in_anthropics_form() {
    let harness = Harness::start().await;
    let (openai, _) = harness.key_with_limit("1.00").await;
    let anthropic = key(&harness).await;
    let (poor, _) = harness.key(json!({"request_shape": "anthropic", "spend_limit": {"amount": "0.000001", "cycle": "daily"}})).await;
    for (key, script, more, status, kind, says) in [
        ("lava_sk_wrong", "ok", json!({}), 401, "authentication_error", "not known"),
        (&*openai, "ok", json!({}), 403, "permission_error", "This key only allows openai request shape, but received anthropic"),
        (&*poor, "ok", json!({}), 402, "billing_error", "Service key spend limit exceeded."),
        (&*anthropic, "ok", json!({"max_tokens": null}), 400, "invalid_request_error", "max_tokens"),
        (&*anthropic, "status-529", json!({}), 529, "overloaded_error", "Overloaded"),
    ] {
        let answer = ask(&harness, key, script, more).await;
        let error = answer.json();
        assert_eq!((answer.status.as_u16(), &error["type"], &error["error"]["type"]), (status, &json!("error"), &json!(kind)), "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(error["request_id"].as_str(), answer.header("x-lava-request-id"), "{error}");
    }
    let wrong = harness.send(request(Method::GET, "/v1/messages", Some(&anthropic), Value::Null)).await;
    assert_eq!((wrong.status, &wrong.json()["type"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("error")));
    let crossed = harness.chat(&anthropic, "ok", Value::Null).await;
    assert!(crossed.text().contains("This key only allows anthropic request shape, but received openai"), "{}", crossed.text());
    harness.finish().await;
}

#[tokio::test]
async fn counting_tokens_costs_nothing() {
    let harness = Harness::start().await;
    let key = key(&harness).await;
    let counted = json!({"model": "claude/ok", "messages": [{"role": "user", "content": "Hi"}]});
    let answer = harness.send(request(Method::POST, "/v1/messages/count_tokens", Some(&key), counted)).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"input_tokens": 42})));
    let entry = harness.entries().await.pop().unwrap();
    assert_eq!((entry.amount_n, entry.basis.as_str()), (0, "measured"));
    harness.finish().await;
}

/// As Lava's SDK calls a provider: the target in the query, the secret key in a token, and the request in the provider's own dialect.
#[tokio::test]
async fn a_forward_token_pays_from_the_secret_keys_own_budget() {
    let harness = Harness::start().await;
    let token = STANDARD.encode(json!({"secret_key": harness.secret.expose(), "customer_id": null}).to_string());
    let path = format!("/v1/forward?u={}/messages", harness.claude_url());
    let answer = harness.send(request(Method::POST, &path, Some(&token), body("ok", &json!({"model": "ok"})))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    harness.settled().await;
    let listed = harness.manage(Method::GET, "/v1/requests", Value::Null).await.json();
    assert_eq!((&listed["data"][0]["model"], &listed["data"][0]["cost"]), (&json!("ok"), &json!("0.0009950000")), "{listed}");
    // With a key of their own at the provider, that is the one it sees.
    let token = STANDARD.encode(json!({"secret_key": harness.secret.expose(), "provider_key": "sk-of-the-caller"}).to_string());
    harness.send(request(Method::POST, &path, Some(&token), body("ok", &json!({"model": "ok"})))).await;
    assert!(harness.upstream.seen()[1].head.contains("x-api-key: sk-of-the-caller"));
    harness.finish().await;
}
