//! A request whose money is only set aside by others waits for it, for a moment and in the order in which requests came.

use std::time::{Duration, Instant};

use axum::Router;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, chat_request, request, send};

/// What a request is given to wait, in `gateway::line`.
const WAIT: Duration = Duration::from_secs(2);

struct Waiting {
    harness: Harness,
    key: String,
}

impl Waiting {
    /// A key with so many holds' worth of money, in hundredths; a hold is that of a request with a cap of 100.
    async fn with_hundredths_of_a_hold(hundredths: i64, more: Value) -> Self {
        let harness = Harness::start().await;
        let probe = harness.key_with_limit("1.00").await.0;
        harness.chat(&probe, "ok", json!({"max_tokens": 100})).await;
        let hold_n = harness.entries().await[0].held_n;
        let mut settings = json!({"spend_limit": {"amount": format!("0.{:09}", hold_n * hundredths / 100), "cycle": "daily"}});
        settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let (key, _) = harness.key(settings).await;
        Self { harness, key }
    }

    /// Asks in a task of its own; returns the answer and after which time it came. It has arrived at the gateway when this returns.
    async fn ask(&self, router: &Router, script: &str, cap: u32) -> tokio::task::JoinHandle<(Answer, Duration)> {
        let (router, asked) = (router.clone(), chat_request(&self.key, script, json!({"max_tokens": cap})));
        let task = tokio::spawn(async move {
            let began = Instant::now();
            (send(&router, asked).await, began.elapsed())
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        task
    }

    /// What the provider was asked after the probe, in order.
    fn asked(&self) -> Vec<String> {
        self.harness.upstream.seen().iter().skip(1).map(|seen| seen.body["model"].as_str().unwrap_or("free").to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_money_that_comes_back() {
    let waiting = Waiting::with_hundredths_of_a_hold(150, json!({})).await;
    let (here, there) = (waiting.harness.router.clone(), waiting.harness.second().await);
    // Another process does not say when money has come back.
    for router in [&here, &there] {
        let first = waiting.ask(&here, "slow-700", 100).await;
        let second = waiting.ask(router, "ok", 100).await;
        let (answer, after) = second.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert!(after > Duration::from_millis(300) && after < WAIT, "{after:?}");
        assert_eq!(first.await.unwrap().0.status, StatusCode::OK);
    }
    waiting.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_does_not_wait_for_ever() {
    let waiting = Waiting::with_hundredths_of_a_hold(150, json!({})).await;
    let here = waiting.harness.router.clone();
    let first = waiting.ask(&here, "slow-4000", 100).await;
    let (answer, after) = waiting.ask(&here, "ok", 100).await.await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "budget_held"), "{}", answer.text());
    assert!(after >= WAIT && after < WAIT + Duration::from_millis(900), "{after:?}");
    first.await.unwrap();
    waiting.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_overtakes_who_waits_but_for_what_is_free() {
    let waiting = Waiting::with_hundredths_of_a_hold(190, json!({})).await;
    let here = waiting.harness.router.clone();
    let first = waiting.ask(&here, "slow-1000", 100).await;
    let large = waiting.ask(&here, "large", 100).await;
    // There is money for this one, but another one came before.
    let small = waiting.ask(&here, "small", 1).await;
    let path = format!("/v1/forward?u={}/models", waiting.harness.upstream.url);
    let free = tokio::time::timeout(Duration::from_millis(400), send(&here, request(Method::GET, &path, Some(&waiting.key), Value::Null)));
    assert_eq!(free.await.expect("it does not wait").status, StatusCode::OK);
    for task in [first, large, small] {
        assert_eq!(task.await.unwrap().0.status, StatusCode::OK);
    }
    assert_eq!(waiting.asked(), ["slow-1000", "free", "large", "small"]);
    waiting.harness.finish().await;
}

/// A client that tries again at once without money must not keep the gateway busy.
#[tokio::test]
async fn a_refusal_for_want_of_money_counts_as_a_request_for_the_rate_limit() {
    let waiting = Waiting::with_hundredths_of_a_hold(50, json!({"rate_limit": {"rpm": 1, "burst": 3}})).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(waiting.harness.chat(&waiting.key, "ok", json!({"max_tokens": 100})).await.code());
    }
    assert_eq!(codes, ["insufficient_budget", "insufficient_budget", "insufficient_budget", "rate_limit_exceeded"]);
    waiting.harness.finish().await;
}

/// Money that others hold may come back; where even that would not do, nobody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_whole_limit_cannot_pay_is_refused_at_once() {
    let waiting = Waiting::with_hundredths_of_a_hold(150, json!({})).await;
    let here = waiting.harness.router.clone();
    let first = waiting.ask(&here, "slow-1500", 100).await;
    let (answer, after) = waiting.ask(&here, "ok", 100_000).await.await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::PAYMENT_REQUIRED, "insufficient_budget"), "{}", answer.text());
    assert!(after < Duration::from_millis(800), "{after:?}");
    // What would do is said, and not said where nothing would.
    assert!(answer.json()["error"]["max_affordable_tokens"].is_null(), "{}", answer.text());
    first.await.unwrap();
    let answer = waiting.harness.chat(&waiting.key, "ok", json!({"max_tokens": 100_000})).await;
    assert!(answer.json()["error"]["max_affordable_tokens"].as_u64() > Some(100), "{}", answer.text());
    waiting.harness.finish().await;
}

/// Asks in a task of its own, and returns when the request has arrived.
async fn begin(harness: &Harness, key: &str, script: &str, more: Value) -> tokio::task::JoinHandle<Answer> {
    let (router, asked) = (harness.router.clone(), chat_request(key, script, more));
    let task = tokio::spawn(async move { send(&router, asked).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    task
}

/// A request that has waited plans with the money that there is then, and not with what there was when it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_wait_a_request_is_planned_with_the_money_that_there_is() {
    let harness = Harness::start().await;
    // 60,000 tokens of output.
    let terms = json!({"spend_limit": {"amount": "0.12", "cycle": "daily"}, "lava_mcp": {"lower_output_cap": true}});
    let (key, _) = harness.key(terms).await;
    let first = begin(&harness, &key, "slow-900", json!({"max_tokens": 50_000})).await;
    // It waits, for there is less than this many answers are of use with; so whoever comes after it waits too.
    let second = begin(&harness, &key, "slow-600", json!({"max_tokens": 4_096, "n": 4})).await;
    let third = begin(&harness, &key, "ok", json!({"max_tokens": 64_000})).await;
    let [first, second, third] = [first.await.unwrap(), second.await.unwrap(), third.await.unwrap()];
    for answer in [&first, &second, &third] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    assert_eq!((first.header("x-lava-output-cap"), second.header("x-lava-output-cap")), (None, None));
    // About 43,000 are free then, of which a quarter is left to others; when it came, it was less than 10,000.
    let cap: u64 = third.header("x-lava-output-cap").unwrap().parse().unwrap();
    assert!((25_000..43_000).contains(&cap), "{cap}");
    harness.finish().await;
}
