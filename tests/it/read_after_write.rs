//! Who asks for a key, its usage or its requests after the last byte of an answer finds what it cost.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{Harness, chat_request, request};

const ROUNDS: usize = 30;

/// What one answer costs: 11 tokens in, 7 out.
const COST_N: i64 = 11 * 1_000 + 7 * 2_000;

fn nanos(amount: &Value) -> i64 {
    let (whole, part) = amount.as_str().unwrap().split_once('.').unwrap();
    whole.parse::<i64>().unwrap() * 1_000_000_000 + format!("{part:0<9}")[..9].parse::<i64>().unwrap()
}

/// Reads an answer to the event that ends it, as clients do, or to its end.
async fn read_to_the_last_byte(harness: &Harness, key: &str, script: &str, is_streamed: bool) {
    let answer = harness.router.clone().oneshot(chat_request(key, script, json!({"stream": is_streamed, "max_tokens": 50}))).await.unwrap();
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap_or_default();
        if data.windows(6).any(|bytes| bytes == b"[DONE]") {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cost_of_an_answer_is_seen_by_whoever_has_its_last_byte() {
    let harness = Harness::start().await;
    for is_streamed in [false, true] {
        let (key, id) = harness.key_with_limit("5.00").await;
        for round in 1..=ROUNDS {
            read_to_the_last_byte(&harness, &key, "ok", is_streamed).await;
            let expected = COST_N * i64::try_from(round).unwrap();
            let get = async |path: &str, key: &str| harness.send(request(Method::GET, path, Some(key), Value::Null)).await.json();
            let own = get("/v1/spend_keys/self", &key).await;
            assert_eq!(
                (nanos(&own["current_spend"]), nanos(&own["lava_mcp"]["held"])),
                (expected, 0),
                "round {round}, streamed: {is_streamed}"
            );
            let newest = &get("/v1/requests?limit=1", &key).await["data"][0];
            assert_eq!((nanos(&newest["cost"]), &newest["status"]), (COST_N, &json!("completed")));
            let managed = harness.object(&id).await;
            assert_eq!(nanos(&managed["current_spend"]), expected);
        }
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_goes_for_answers_that_fail() {
    let harness = Harness::start().await;
    for (script, is_streamed) in [("drop", false), ("cut-stream", true), ("cut-body", false), ("status-500", false), ("error-200", false)] {
        let (key, _) = harness.key_with_limit("5.00").await;
        for _ in 0..5 {
            read_to_the_last_byte(&harness, &key, script, is_streamed).await;
            let own = harness.send(request(Method::GET, "/v1/spend_keys/self", Some(&key), Value::Null)).await.json();
            assert_eq!(nanos(&own["lava_mcp"]["held"]), 0, "{script}");
        }
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_want_of_money_knows_of_every_answer() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for round in 1..=ROUNDS {
        read_to_the_last_byte(&harness, &key, "ok", round % 2 == 0).await;
        // Two dollars.
        let refused = harness.chat(&key, "ok", json!({"max_tokens": 1_000_000})).await.json();
        let error = &refused["error"];
        assert_eq!((nanos(&error["spent"]), nanos(&error["held"])), (COST_N * round as i64, 0), "{round}");
    }
    harness.finish().await;
}
