//! One broken connection must not eat a budget: what a caller who tries again and again at a provider in trouble pays at most, and how it is told and taken back.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, chat_request, send};

const HOLDS: &str = "/v1/lava_mcp/holds";

async fn expect(harness: &Harness, key: &str, script: &str, code: &str) -> Answer {
    let answer = harness.chat(key, script, json!({})).await;
    let said = if answer.status.is_success() { "ok".to_owned() } else { answer.code() };
    assert_eq!(said, code, "{script}: {}", answer.text());
    harness.settled().await;
    answer
}

fn assert_is_paused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait) && answer.header("x-should-retry").is_none(), "{answer:?}");
}

#[tokio::test]
async fn a_caller_who_tries_again_and_again_pays_for_two_answers_that_never_came() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for _ in 0..2 {
        let lost = expect(&harness, &key, "drop", "upstream_broken").await;
        assert_eq!((lost.header("x-should-retry"), lost.header("retry-after")), (Some("false"), None));
    }
    for _ in 0..20 {
        assert_is_paused(&expect(&harness, &key, "drop", "provider_paused").await);
    }
    let entries = harness.entries().await;
    assert_eq!((entries.len(), harness.upstream.seen().len()), (2, 2), "what is refused reaches nobody, and costs nothing");
    assert!(entries.iter().all(|entry| entry.basis == "hold" && entry.amount_n == entry.held_n && entry.amount_n > 0));
    // Another key still buys there, and this one elsewhere.
    let (other, _) = harness.key_with_limit("1.00").await;
    expect(&harness, &other, "ok", "ok").await;
    assert_eq!(harness.chat(&key, "ok", json!({"model": "azure/ok"})).await.status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn every_kind_of_answer_that_may_be_billed_counts_and_none_that_is_not() {
    for (script, code) in [("status-504", "upstream_error"), ("cut-body", "upstream_broken"), ("error-200", "ok")] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        for _ in 0..2 {
            let lost = expect(&harness, &key, script, code).await;
            assert!(code == "ok" || lost.header("x-should-retry") == Some("false"), "{script}");
        }
        expect(&harness, &key, "ok", "provider_paused").await;
        harness.finish().await;
    }
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for script in ["status-500", "status-429", "status-400", "drop", "ok", "drop", "status-400", "drop", "garbage"] {
        harness.chat(&key, script, json!({})).await;
        harness.settled().await;
    }
    expect(&harness, &key, "ok", "ok").await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_request_tries_and_closes_it_or_doubles_the_time() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for _ in 0..2 {
        expect(&harness, &key, "drop", "upstream_broken").await;
    }
    // 30 s, then 60 after a try that failed, then 120.
    for (at, script, code) in [
        ("12:00:29", "ok", "provider_paused"),
        ("12:00:31", "drop", "upstream_broken"),
        ("12:01:29", "ok", "provider_paused"),
        ("12:01:32", "drop", "upstream_broken"),
        ("12:03:30", "ok", "provider_paused"),
    ] {
        harness.clock.set(&format!("2026-11-24T{at}Z"));
        expect(&harness, &key, script, code).await;
    }
    harness.clock.set("2026-11-24T12:03:33Z");
    let before = harness.upstream.seen().len();
    let router = harness.router.clone();
    let many = (0..10).map(|_| {
        let (router, request) = (router.clone(), chat_request(&key, "slow-300", json!({})));
        tokio::spawn(async move { send(&router, request).await.status.as_u16() })
    });
    let mut statuses: Vec<u16> = futures_util::future::join_all(many).await.into_iter().map(Result::unwrap).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [&[200][..], &[503; 9]].concat());
    assert_eq!(harness.upstream.seen().len(), before + 1);
    harness.settled().await;
    for _ in 0..3 {
        expect(&harness, &key, "ok", "ok").await;
    }
    harness.finish().await;
}

#[tokio::test]
async fn the_time_never_exceeds_five_minutes() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for _ in 0..2 {
        expect(&harness, &key, "drop", "upstream_broken").await;
    }
    for minute in (6..60).step_by(6) {
        harness.clock.set(&format!("2026-11-24T12:{minute:02}:00Z"));
        expect(&harness, &key, "drop", "upstream_broken").await;
        assert_is_paused(&expect(&harness, &key, "drop", "provider_paused").await);
    }
    harness.finish().await;
}

#[tokio::test]
async fn everybody_is_stopped_by_three_keys_or_by_connections_that_fail() {
    let harness = Harness::start().await;
    for _ in 0..3 {
        let (key, _) = harness.key_with_limit("1.00").await;
        expect(&harness, &key, "drop", "upstream_broken").await;
    }
    let (key, _) = harness.key_with_limit("1.00").await;
    assert_is_paused(&expect(&harness, &key, "ok", "provider_paused").await);
    harness.clock.set("2026-11-24T12:00:31Z");
    expect(&harness, &key, "ok", "ok").await;
    let (other, _) = harness.key_with_limit("1.00").await;
    expect(&harness, &other, "ok", "ok").await;

    let closed = json!({"model": "closed/x"});
    for key in [&key, &other] {
        assert_eq!(harness.chat(key, "", closed.clone()).await.code(), "upstream_unreachable");
    }
    harness.settled().await;
    let (third, _) = harness.key_with_limit("1.00").await;
    let paused = harness.chat(&third, "", closed).await;
    assert_eq!(paused.code(), "provider_paused");
    assert_is_paused(&paused);
    harness.finish().await;
}

#[tokio::test]
async fn an_answer_that_did_not_come_falls_over_to_a_fallback_once() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let ask = |fallbacks: &[&str]| {
        let list: Vec<Value> = fallbacks.iter().map(|model| json!({"model": model})).collect();
        let mut request = chat_request(&key, "drop", json!({}));
        request.headers_mut().insert("x-lava-fallbacks", serde_json::to_string(&list).unwrap().parse().unwrap());
        request
    };
    // Another provider each time, so that no breaker is in the way.
    let lost = harness.send(ask(&["azure/drop", "unpriced/ok"])).await;
    assert_eq!((lost.status, lost.code().as_str()), (StatusCode::BAD_GATEWAY, "upstream_broken"), "{}", lost.text());
    harness.settled().await;
    assert_eq!(harness.upstream.seen().len(), 2);
    let answered = harness.send(ask(&["closed/x", "azure/status-500", "azure/ok"])).await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.text());
    harness.finish().await;
}

#[tokio::test]
async fn charges_that_nobody_can_prove_are_listed_told_and_taken_back() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("0.005").await;
    expect(&harness, &key, "drop", "upstream_broken").await;
    let crash = harness.crash(&id, "0.001").await;
    let holds = harness.manage(Method::GET, HOLDS, Value::Null).await.json();
    let unverified = holds["unverified"].as_array().unwrap();
    let bases: Vec<&str> = unverified.iter().map(|charge| charge["basis"].as_str().unwrap()).collect();
    assert_eq!((bases, &unverified[1]["hold_id"]), (vec!["hold", "crash"], &json!(crash)));
    assert_eq!(holds["suspect"].as_array().unwrap().len(), 1, "the old word means those of processes that died");
    let lost = unverified[0]["amount"].as_str().unwrap().to_owned();

    let refused = harness.chat(&key, "ok", json!({"max_tokens": 100_000})).await;
    let error = refused.json()["error"].clone();
    assert_eq!(error["code"], "insufficient_budget");
    let sum = error["unverified"].as_str().unwrap();
    assert!(error["message"].as_str().unwrap().contains(&format!("{sum} USD of the limit")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("`lava-mcp keys holds`"));
    assert_eq!(error["unverified_shown_by"], json!({"command": "lava-mcp keys holds", "endpoint": HOLDS}));
    let object = harness.object(&id).await;
    assert_eq!((&object["lava_mcp"]["unverified"], &object["lava_mcp"]["suspect"]), (&json!(sum), &json!("0.001")));

    let path = format!("{HOLDS}/{}/write_off", unverified[0]["hold_id"].as_str().unwrap());
    let off = harness.manage(Method::POST, &path, json!({"reason": "not on the provider's bill"})).await;
    assert_eq!((off.status, &off.json()["written_off"]), (StatusCode::OK, &json!(lost)), "{}", off.text());
    assert_eq!(harness.object(&id).await["current_spend"], "0.0010000000");
    let again = harness.manage(Method::POST, &path, json!({"reason": "again"})).await;
    assert_eq!(again.code(), "already_written_off");

    // In the next cycle none of it counts.
    harness.clock.set("2026-11-25T12:00:00Z");
    let refused = harness.chat(&key, "ok", json!({"max_tokens": 100_000})).await;
    assert_eq!(refused.json()["error"]["unverified"], "0.00");
    tokio::time::sleep(Duration::ZERO).await;
    harness.finish().await;
}
