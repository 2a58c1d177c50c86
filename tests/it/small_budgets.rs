//! Budgets that hardly suffice. One for ten answers, and a hundred requests at once: never more than ten are answered, and once the template is known, hardly fewer.

use axum::body::Body;
use futures_util::future::join_all;
use http::Request;
use serde_json::json;

use crate::{
    billing_upstream::{BillingUpstream, INPUT_TOKENS},
    harness::{Harness, Served, UPSTREAM_KEY},
};

const OUTPUT_TOKENS: u64 = 50;
const PAYS_FOR: i64 = 10;
const BURST: usize = 100;

fn cost_n() -> i64 {
    i64::try_from(INPUT_TOKENS * 1_000 + OUTPUT_TOKENS * 2_000).unwrap()
}

/// Sends the burst, then one after the other until nothing is answered any more; returns how many were.
async fn answered(gateway: &Served, http: &reqwest::Client, key: &str, model: &str, is_streamed: bool) -> i64 {
    let text = "one two three four five six seven eight nine ten";
    let body = json!({"model": format!("fake/{model}"), "messages": [{"role": "user", "content": text}], "max_tokens": OUTPUT_TOKENS, "stream": is_streamed});
    let one = || async { http.post(gateway.url("/v1/chat/completions")).bearer_auth(key).body(body.to_string()).send().await.unwrap() };
    let ask = || async {
        let answer = one().await;
        let is_answered = answer.status().is_success();
        answer.bytes().await.unwrap();
        is_answered
    };
    let mut count = join_all((0..BURST).map(|_| ask())).await.into_iter().filter(|answered| *answered).count();
    while ask().await {
        count += 1;
    }
    i64::try_from(count).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_for_ten_answers_buys_eight_to_ten_and_never_eleven() {
    let upstream = BillingUpstream::start().await;
    let harness = Harness::start_at(&upstream.url, UPSTREAM_KEY).await;
    let gateway = Served::start(harness.gateway.clone()).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let amount = format!("0.{:09}", cost_n() * PAYS_FOR);
    for (at, is_streamed) in [false, true].into_iter().enumerate() {
        let model = format!("bill-{OUTPUT_TOKENS}-{}", 300 + at);
        let before = upstream.bills.total();
        let (cold, _) = harness.key_with_limit(&amount).await;
        let served = answered(&gateway, &http, &cold, &model, is_streamed).await;
        assert!((1..=PAYS_FOR).contains(&served), "cold: {served}");
        assert_eq!(upstream.bills.total() - before, served * cost_n());

        let (warm, _) = harness.key_with_limit("1.00").await;
        for _ in 0..5 {
            let body =
                json!({"model": format!("fake/{model}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": OUTPUT_TOKENS});
            assert!(
                http.post(gateway.url("/v1/chat/completions"))
                    .bearer_auth(&warm)
                    .body(body.to_string())
                    .send()
                    .await
                    .unwrap()
                    .status()
                    .is_success()
            );
        }
        let (key, _) = harness.key_with_limit(&amount).await;
        let served = answered(&gateway, &http, &key, &model, is_streamed).await;
        assert!((8..=PAYS_FOR).contains(&served), "warm, streamed: {is_streamed}: {served}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_tight_budget_is_not_overspent_by_escapes() {
    let harness = Harness::start_with(true).await;
    // 1,900 times two characters of JSON that a reader takes for four tokens: 0.019 USD.
    let (key, id) = harness.key_with_limit("0.01").await;
    let asked = |times: usize| {
        let body =
            format!(r#"{{"model":"gpt-4o","max_tokens":1,"messages":[{{"role":"user","content":"{}"}}]}}"#, r"\repository".repeat(times));
        Request::post("/v1/chat/completions").header("authorization", format!("Bearer {key}")).body(Body::from(body)).unwrap()
    };
    let refused = harness.send(asked(1_900)).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "insufficient_budget"), "{}", refused.text());
    let answered = harness.send(asked(900)).await;
    assert_eq!(answered.status, 200, "what fits is served: {}", answered.text());
    harness.settled().await;
    let spent = harness.object(&id).await["current_spend"].as_str().unwrap().parse::<f64>().unwrap();
    assert!(spent > 0.008 && spent <= 0.01, "{spent}");
    harness.finish().await;
}
