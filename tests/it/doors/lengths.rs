//! Names that callers make up: how long they may be, and headers that are there twice.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, chat_request, request};

async fn chat(harness: &Harness, key: &str, headers: &[(&'static str, &str)], more: Value) -> Answer {
    let mut asked = chat_request(key, "ok", more);
    for (name, value) in headers {
        asked.headers_mut().append(*name, value.parse().unwrap());
    }
    harness.send(asked).await
}

#[tokio::test]
async fn a_model_has_a_name_of_at_most_256_characters_before_anything_is_written() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({})).await;
    let long = |length: usize| format!("fake/{}", "m".repeat(length - 5));
    let forward = format!("/v1/forward?u={}/chat/completions", harness.upstream.url);
    for (path, body, headers) in [
        ("/v1/chat/completions", json!({"model": long(257), "messages": []}), vec![]),
        ("/v1/chat/completions", json!({"model": long(8_000_000), "messages": []}), vec![]),
        ("/v1/chat/completions", json!({"model": "é".repeat(257), "messages": []}), vec![]),
        (
            "/v1/chat/completions",
            json!({"model": "fake/ok", "messages": []}),
            vec![("x-lava-fallbacks", json!([{"model": long(257)}]).to_string())],
        ),
        (forward.as_str(), json!({"model": long(257), "messages": []}), vec![]),
    ] {
        let mut asked = request(Method::POST, path, Some(&key), body);
        for (name, value) in headers {
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        let answer = harness.send(asked).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert!(answer.text().contains("at most 256 characters") && answer.body.len() < 1_000, "{path}: {}", answer.text());
        let param = answer.json()["error"]["param"].as_str().unwrap().to_owned();
        assert!(matches!(param.as_str(), "model" | "x-lava-fallbacks"), "{param}");
    }
    let rows: i64 = harness.sql("SELECT (SELECT count(*) FROM hold) + (SELECT count(*) FROM entry)", |row| row.get(0))[0];
    assert_eq!(rows, 0);
    // One that just fits goes to the provider.
    let answer = harness
        .send(request(Method::POST, "/v1/chat/completions", Some(&key), json!({"model": long(256), "max_tokens": 5, "messages": []})))
        .await;
    assert_ne!(answer.status, 400, "{}", answer.text());
    harness.finish().await;
}

#[tokio::test]
async fn what_is_repeated_to_the_caller_has_an_end() {
    let harness = Harness::start().await;
    let (key, id) =
        harness.key(json!({"allowed_models": (0..1_000).map(|n| format!("{n}-{}", "x".repeat(240))).collect::<Vec<_>>()})).await;
    assert!(!id.is_empty());
    let long = "a".repeat(20_000);
    for path in [
        format!("/{long}"),
        format!("/v1/lava_mcp/providers/{long}"),
        format!("/v1/spend_keys/{long}"),
        format!("/v1/requests/{long}"),
        format!("/v1/forward?u=https://{long}"),
    ] {
        let answer = harness.send(request(Method::GET, &path, Some(harness.secret.expose()), Value::Null)).await;
        assert!(answer.status.is_client_error() && answer.body.len() < 10_000, "{}: {} bytes", &path[..30], answer.body.len());
    }
    let refused = chat(&harness, &key, &[], json!({})).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.len() < 10_000 && refused.text().contains("and 990 more"), "{}", refused.text());
    let body = format!("{{\"{0}\":1,\"{0}\":2}}", "f".repeat(1_000_000));
    let asked = Request::post("/v1/chat/completions").header("authorization", format!("Bearer {key}")).body(Body::from(body)).unwrap();
    let refused = harness.send(asked).await;
    assert!(refused.status == 400 && refused.body.len() < 1_000);
    harness.finish().await;
}

#[tokio::test]
async fn a_header_of_ours_counts_once() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({})).await;
    for headers in [
        [("x-lava-max-cost", "0.01"), ("x-lava-max-cost", "5")],
        [("x-lava-max-cost", "5"), ("x-lava-max-cost", "0.01")],
        [("x-lava-max-cost", "5"), ("x-lava-max-cost", "5")],
        [("x-lava-fallbacks", "[]"), ("x-lava-fallbacks", "[{\"model\": \"fake/ok\"}]")],
        [("x-lava-metadata", "{}"), ("x-lava-metadata", "{}")],
        [("x-lava-of-the-future", "1"), ("x-lava-of-the-future", "2")],
    ] {
        let refused = chat(&harness, &key, &headers, json!({})).await;
        assert_eq!(refused.status, 400, "{headers:?}: {}", refused.text());
        assert_eq!(refused.json()["error"]["param"], headers[0].0, "{}", refused.text());
    }
    assert_eq!(harness.entries().await, []);
    let once = [("x-lava-max-cost", "0.01"), ("x-lava-fallbacks", "[]"), ("x-lava-metadata", "{\"team\": \"a\"}")];
    assert_eq!(chat(&harness, &key, &once, json!({})).await.status, 200);
    harness.finish().await;
}
