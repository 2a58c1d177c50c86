//! Requests and answers made so that less is set aside or booked than is billed, or that others pay for it. None of them works.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use lava_mcp::translate::{
    anthropic::MessagesRequest,
    openai::{ChatRequest, EmbeddingsRequest},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, UPSTREAM_KEY, chat_request, send},
    raw_provider::{self, Step, completion, plain},
};

/// A provider that bills so much input, for what the request says.
fn billing(input: impl Fn(&Value) -> u64 + Send + Sync + 'static) -> String {
    raw_provider::start(move |_, body| {
        let mut answer = completion("a");
        answer["usage"] = json!({"prompt_tokens": input(body), "completion_tokens": 1, "total_tokens": input(body) + 1});
        plain(200, &answer)
    })
}

fn function() -> Value {
    json!([{"type": "function", "function": {"name": "f"}}])
}

#[tokio::test]
async fn requests_without_what_a_template_explains_say_nothing_about_those_with_it() {
    for (cheap, dear) in [
        (json!({"tools": []}), json!({"tools": function()})),
        (json!({"tools": function(), "tool_choice": "none"}), json!({"tools": function()})),
        (json!({}), json!({"response_format": {"type": "json_object"}})),
    ] {
        let full = dear.as_object().unwrap().clone();
        let url = billing(
            move |body| if full.iter().all(|(name, value)| body[name] == *value) && body["tool_choice"].is_null() { 500 } else { 9 },
        );
        let harness = Harness::start_at(&url, UPSTREAM_KEY).await;
        let (key, _) = harness.key_with_limit("1.00").await;
        for more in [&cheap, &cheap, &cheap, &dear] {
            let mut more = more.clone();
            more["max_tokens"] = json!(1);
            let answer = harness.chat(&key, "m", more).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            harness.settled().await;
        }
        let last = harness.entries().await.pop().unwrap();
        assert!(last.amount_n <= last.held_n, "{dear}: {} of {}", last.amount_n, last.held_n);
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_search_at_the_provider_does_not_make_the_requests_of_others_dear() {
    let url = billing(|body| if body["tools"][0]["type"] == "function" { 9 } else { 100_000 });
    let harness = Harness::start_at(&url, UPSTREAM_KEY).await;
    let (rich, _) = harness.key_with_limit("100.00").await;
    let searched = harness.chat(&rich, "m", json!({"max_tokens": 1, "tools": [{"type": "web_search"}]})).await;
    assert_eq!(searched.status, StatusCode::OK, "{}", searched.text());
    harness.settled().await;
    harness.sql("DELETE FROM mispriced RETURNING provider", |_| Ok(()));
    let (other, _) = harness.key_with_limit("0.01").await;
    let answer = harness.chat(&other, "m", json!({"max_tokens": 1, "tools": function()})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    harness.finish().await;
}

#[tokio::test]
async fn usage_that_came_before_most_of_the_text_is_not_the_whole_of_it() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("100.00").await;
    let part = |text: &str, finish: Value| json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]});
    let mut first = part("a", Value::Null);
    first["usage"] = json!({"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101});
    let events = json!([first, part(&"word ".repeat(600), Value::Null), part("", json!("stop")), "[DONE]"]);
    harness.chat(&key, "says", json!({"stream": true, "x_events": events})).await;
    harness.settled().await;
    let last = harness.entries().await.pop().unwrap();
    assert!(last.amount_n >= 100 * 1_000 + 600 * 2_000, "{} booked", last.amount_n);
    harness.finish().await;
}

#[test]
fn names_that_readers_confuse_are_refused_wherever_they_decide() {
    let embeddings = |more: &str| EmbeddingsRequest::parse(&Bytes::from(format!(r#"{{"model":"m","input":"a",{more}}}"#)));
    for more in [r#""Model":"dear""#, r#""INPUT":"much""#, r#""models":["dear"]"#, r#""fallbacks":["dear"]"#] {
        assert!(embeddings(more).is_err(), "{more}");
    }
    for more in [r#""dimensions":5"#, r#""encoding_format":"float""#, r#""input_type":"query""#, r#""models":null"#] {
        assert!(embeddings(more).is_ok(), "{more}");
    }
    let tool = r#"{"type":"function","Type":"web_search","name":"f","function":{"name":"f"}}"#;
    let chat = ChatRequest::parse(&Bytes::from(format!(r#"{{"model":"m","messages":[],"tools":[{tool}]}}"#)));
    assert!(chat.unwrap_err().to_string().contains("Type"));
    let claude = MessagesRequest::parse(&Bytes::from(format!(r#"{{"model":"m","max_tokens":1,"messages":[],"tools":[{tool}]}}"#)));
    assert!(claude.unwrap_err().to_string().contains("Type"));
}

#[test]
fn a_text_beside_an_image_counts() {
    let text = "a ".repeat(100_000);
    let chat = json!({"model": "m", "messages": [{"role": "user", "content":
        [{"type": "image_url", "image_url": {"url": "https://x"}, "text": text}]}]});
    let claude = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content":
        [{"type": "image", "source": {"type": "url", "url": "https://x"}, "text": text}]}]});
    let least = 50_000 + text.len() as u64;
    assert!(ChatRequest::parse(&Bytes::from(chat.to_string())).unwrap().bound().tokens(None).unwrap() > least);
    assert!(MessagesRequest::parse(&Bytes::from(claude.to_string())).unwrap().bound().tokens(None).unwrap() > least);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_takes_long_does_not_keep_others_out() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for _ in 0..2 {
        harness.chat(&key, "drop", json!({})).await;
        harness.settled().await;
    }
    harness.clock.set("2026-11-24T12:00:31Z");
    let (router, slow) = (harness.router.clone(), chat_request(&key, "slow-3000", json!({})));
    let slow = tokio::spawn(async move { send(&router, slow).await.status });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(harness.chat(&key, "ok", json!({})).await.code(), "provider_paused");
    harness.clock.set("2026-11-24T12:01:02Z");
    assert_eq!(harness.chat(&key, "ok", json!({})).await.status, StatusCode::OK);
    assert_eq!(slow.await.unwrap(), StatusCode::OK);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_whose_reason_never_comes_is_not_charged_when_the_gateway_ends() {
    let url = raw_provider::start(|_, _| {
        let head = "HTTP/1.1 500 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        vec![Step::Send(head.as_bytes().to_vec()), Step::Wait(Duration::from_secs(10))]
    });
    let harness = Harness::start_at(&url, UPSTREAM_KEY).await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let (router, asked) = (harness.router.clone(), chat_request(&key, "m", json!({})));
    let asked = tokio::spawn(async move { send(&router, asked).await.status });
    tokio::time::sleep(Duration::from_millis(500)).await;
    harness.gateway.shut_down(Duration::from_millis(100)).await;
    asked.abort();
    assert_eq!((harness.open_holds(), harness.entries().await.pop().map(|entry| entry.kind)), (0, Some("void".to_owned())));
}
