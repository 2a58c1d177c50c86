//! What a caller sends may be large; the time that it takes must not grow faster than it does.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::{Method, Request};
use lava_mcp::{
    catalog::{Catalog, Kind, Query},
    translate::sse::Splitter,
};
use serde_json::{Map, Value, json};

use crate::harness::{Harness, request};

/// The shortest of some runs: what else the machine does only makes a run longer.
async fn shortest(runs: usize, mut run: impl AsyncFnMut()) -> Duration {
    let mut shortest = Duration::MAX;
    for _ in 0..runs {
        let began = Instant::now();
        run().await;
        shortest = shortest.min(began.elapsed());
    }
    shortest
}

/// Eight times as much takes sixty-four times as long where each part is held against every other one.
fn assert_linear(what: &str, small: Duration, large: Duration) {
    let growth = large.as_secs_f64() / small.as_secs_f64().max(0.002);
    assert!(growth < 24.0, "{what}: {small:?}, and {large:?} for eight times as much");
}

fn repeated(count: usize, one: impl Fn(usize) -> Value) -> Value {
    (0..count).map(one).collect()
}

fn object(count: usize) -> Value {
    Value::Object((0..count).map(|n| (format!("field-{n:06}"), json!(n))).collect::<Map<_, _>>())
}

type Make = fn(usize) -> (&'static str, Value);

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn function(n: usize) -> Value {
    json!({"type": "function", "function": {"name": format!("f{n}"), "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}})
}

const BODIES: [(&str, Make); 13] = [
    ("fields", |n| (CHAT, chat(object(n * 4)))),
    ("fields of an inner object", |n| (CHAT, chat(json!({"metadata": object(n)})))),
    ("messages", |n| (CHAT, chat(json!({"messages": repeated(n, |n| json!({"role": "user", "content": n.to_string()}))})))),
    ("parts", |n| (CHAT, chat(json!({"messages": [{"role": "user", "content": repeated(n, |_| json!({"type": "text", "text": "a"}))}]})))),
    ("tools", |n| (CHAT, chat(json!({"tools": repeated(n / 4, function)})))),
    ("letters", |n| (CHAT, chat(json!({"messages": [{"role": "user", "content": "a".repeat(n * 20)}]})))),
    ("escapes", |n| (CHAT, chat(json!({"messages": [{"role": "user", "content": "\u{1}".repeat(n * 4)}]})))),
    ("biases", |n| (CHAT, chat(json!({"logit_bias": object(n)})))),
    ("a name", |n| (CHAT, chat(json!({"model": "m".repeat(n * 20)})))),
    ("messages of Anthropic's", |n| {
        (
            MESSAGES,
            json!({"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": repeated(n, |n| json!({"role": "user", "content": n.to_string()}))}),
        )
    }),
    ("blocks within blocks", |n| {
        let inner = repeated(n, |_| json!({"type": "text", "text": "a"}));
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": inner});
        (MESSAGES, json!({"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": [result]}]}))
    }),
    ("references to a large tool", |n| {
        let tools = json!([{"name": "t", "description": "d".repeat(n * 8), "input_schema": {"type": "object"}}]);
        let blocks = repeated(n, |_| json!({"type": "tool_reference", "tool_name": "t"}));
        let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": blocks}]);
        (
            MESSAGES,
            json!({"model": "claude-sonnet-4-5", "max_tokens": 5, "tools": tools, "messages": [{"role": "user", "content": result}]}),
        )
    }),
    ("tools of Anthropic's", |n| {
        let tools = repeated(n / 4, |n| json!({"name": format!("f{n}"), "input_schema": {"type": "object"}}));
        (MESSAGES, json!({"model": "claude-sonnet-4-5", "max_tokens": 5, "tools": tools, "messages": [{"role": "user", "content": "a"}]}))
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_body_takes_longer_than_its_length_says() {
    let harness = Harness::start_with(true).await;
    let poor =
        async |shape: &str| harness.key(json!({"request_shape": shape, "spend_limit": {"amount": "0.000001", "cycle": "total"}})).await.0;
    let keys = [poor("openai").await, poor("anthropic").await];
    for (what, make) in BODIES {
        let time = async |count: usize| {
            let (path, body) = make(count);
            let key = &keys[usize::from(path == MESSAGES)];
            let text = body.to_string();
            shortest(3, async || {
                let asked = Request::post(path).header("authorization", format!("Bearer {key}")).body(Body::from(text.clone())).unwrap();
                let answer = harness.send(asked).await;
                assert!(answer.status.is_client_error(), "{what}: {}", answer.text());
            })
            .await
        };
        time(100).await;
        assert_linear(what, time(2_500).await, time(20_000).await);
    }
    harness.finish().await;
}

#[tokio::test]
async fn nor_does_anything_else_that_is_read() {
    let harness = Harness::start_with(true).await;
    let (key, _) = harness.key(json!({})).await;
    for (what, make) in [
        (
            "an address",
            (|n| ("u".to_owned(), format!("https://api.openai.com/{}v1/chat/completions", "a/../".repeat(n))))
                as fn(usize) -> (String, String),
        ),
        ("parameters", |n| ("a=1&".repeat(n) + "u", "https://api.openai.com/v1/models".to_owned())),
    ] {
        let time = async |count: usize| {
            let (name, value) = make(count);
            let path = format!("/v1/forward?{name}={value}");
            shortest(5, async || drop(harness.send(request(Method::POST, &path, Some(&key), json!({}))).await)).await
        };
        assert_linear(what, time(800).await, time(6_400).await);
    }
    let fallbacks = async |count: usize| {
        let text = repeated(count, |_| json!({"model": "gpt-4o"})).to_string();
        shortest(5, async || {
            let mut asked = request(Method::POST, CHAT, Some(&key), chat(json!({})));
            asked.headers_mut().insert("x-lava-fallbacks", text.parse().unwrap());
            assert_eq!(harness.send(asked).await.status, 400);
        })
        .await
    };
    assert_linear("fallbacks", fallbacks(150).await, fallbacks(1_200).await);
    harness.finish().await;
}

#[tokio::test]
async fn an_event_may_come_in_any_pieces() {
    for line in ["data: a\n", "data:", "\r"] {
        let split = async |bytes: usize| {
            let stream = line.repeat(bytes / line.len());
            shortest(3, async || {
                let mut splitter = Splitter::default();
                for piece in stream.as_bytes().chunks(16) {
                    splitter.push(piece).unwrap();
                    while splitter.next_event().is_some() {}
                }
            })
            .await
        };
        assert_linear(line, split(100_000).await, split(800_000).await);
    }
}

#[test]
fn the_longest_question_takes_a_moment() {
    let catalog = Catalog::embedded();
    let find = |text: &str| catalog.find(&Query { text, kind: Kind::Any, provider: None, ready: &|_| false }).hits.len();
    find("warm");
    let letters = |n: usize| char::from(b'a' + u8::try_from(n % 26).unwrap());
    let unknown = |count: usize| (0..count).map(|n| format!("z{}q{}x", letters(n), letters(n / 26))).collect::<Vec<_>>().join(" ");
    for question in [
        unknown(24),
        unknown(200),
        unknown(100_000),
        "context 1m ".repeat(100_000),
        "a1".repeat(1_000_000),
        "x".repeat(1_000_000),
        "gpt ".repeat(1_000_000),
    ] {
        let shortest = (0..5).map(|_| {
            let began = Instant::now();
            find(&question);
            began.elapsed()
        });
        let shortest = shortest.min().unwrap();
        // A debug build takes several times as long as the program that is released.
        assert!(shortest < Duration::from_millis(60), "{shortest:?} for {}", &question[..60]);
    }
    // A name that nobody gave is compared with all there are.
    for length in [40, 60, 256, 100_000] {
        let name: String = "meta-llama/llama-3.1-405b-instruct-turbo-fp8-preview-2025".chars().cycle().take(length).collect();
        let began = Instant::now();
        catalog.nearest_models(&name, 3);
        assert!(began.elapsed() < Duration::from_millis(500), "{length}: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_question_that_is_too_long_is_refused_by_its_length() {
    let harness = Harness::start_with(true).await;
    let ask = async |query: &str| harness.send(request(Method::GET, &format!("/v1/lava_mcp/search?{query}"), None, Value::Null)).await;
    let refused = ask(&format!("query={}", "a+".repeat(600))).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("query: at most 1000 characters"), "{}", refused.text());
    assert_eq!(ask(&format!("query=gpt-4o&provider={}", "x".repeat(300))).await.status, 400);
    // The first words decide.
    let long = ask(&format!("query=cheap+fast+model+with+tools{}", "+please".repeat(60))).await;
    assert!(long.json()["total"].as_u64().unwrap() > 0, "{}", long.text());
    // Beyond the last page there is nothing, whatever the number.
    let beyond = ask(&format!("query=gpt&cursor={}", usize::MAX)).await;
    assert_eq!((beyond.status.as_u16(), beyond.json()["results"].as_array().unwrap().len()), (200, 0), "{}", beyond.text());
    harness.finish().await;
}
