//! From a request to its entry: every way an answer can end, asserted in money.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    fake_upstream::USED,
    harness::{Entry, Harness, UPSTREAM_KEY, chat_request, request, send},
};

/// What the usage that the fake provider reports costs at the test's prices, in nano-dollars.
const COST_N: i64 = USED.0 as i64 * 1_000 + USED.1 as i64 * 2_000;

fn charge(amount_n: i64, basis: &str, entries: &[Entry]) {
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((entries[0].kind.as_str(), entries[0].amount_n, entries[0].basis.as_str()), ("charge", amount_n, basis));
    assert!(entries[0].held_n >= 0);
}

#[tokio::test]
async fn a_plain_answer_is_passed_on_and_booked() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let answer = harness.chat(&key, "ok", json!({"user": "someone"})).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "Hello there.");
    assert!(answer.header("x-lava-request-id").unwrap().starts_with("req_"));
    // What describes the gateway's own account at the provider stays here.
    assert!(answer.header("set-cookie").is_none() && answer.header("x-ratelimit-remaining-requests").is_none());

    charge(COST_N, "measured", &harness.entries().await);
    let object = harness.object(&id).await;
    assert_eq!(object["current_spend"], "0.0000250000");
    assert_eq!(object["current_requests"], 1);

    let seen = &harness.upstream.seen()[0];
    assert_eq!(seen.body, json!({"model": "ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100, "user": "someone"}));
    assert!(seen.head.contains(&format!("authorization: bearer {UPSTREAM_KEY}")) && !seen.head.contains("lava_sk_"), "{}", seen.head);
    harness.finish().await;
}

#[tokio::test]
async fn a_streamed_answer_is_passed_on_and_booked() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for script in ["ok", "trickle", "no-done"] {
        let answer = harness.chat(&key, script, json!({"stream": true})).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
        let text = answer.text();
        assert!(text.contains("\"thé\""), "{text}");
        // The caller did not ask for usage, so the chunk that the gateway asked for is not theirs.
        assert!(!text.contains("prompt_tokens"), "{text}");
        assert_eq!(text.contains("[DONE]"), script != "no-done");
        assert_eq!(harness.upstream.seen().last().unwrap().body["stream_options"], json!({"include_usage": true}));
    }
    let asked = harness.chat(&key, "ok", json!({"stream": true, "stream_options": {"include_usage": true}})).await;
    assert!(asked.text().contains("prompt_tokens"));
    let entries = harness.entries().await;
    assert_eq!(entries.len(), 4);
    assert!(entries.iter().all(|entry| entry.amount_n == COST_N && entry.basis == "measured"), "{entries:?}");
    harness.finish().await;
}

#[tokio::test]
async fn every_failure_of_a_provider_is_told_and_settled() {
    // script, status, code, kind, basis; a failure whose bill is not known is charged in full.
    let table = [
        ("status-500", 500, "upstream_error", "void", "void"),
        ("status-429", 429, "upstream_error", "void", "void"),
        ("status-400", 400, "upstream_error", "void", "void"),
        ("status-401", 502, "provider_credentials_rejected", "void", "void"),
        ("status-302", 502, "upstream_broken", "void", "void"),
        ("status-504", 504, "upstream_error", "charge", "hold"),
        ("drop", 502, "upstream_broken", "charge", "hold"),
        ("cut-body", 502, "upstream_broken", "charge", "hold"),
    ];
    for (script, status, code, kind, basis) in table {
        let harness = Harness::start().await;
        let (key, id) = harness.key_with_limit("1.00").await;
        let answer = harness.chat(&key, script, Value::Null).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{script}: {}", answer.text());
        assert!(!answer.text().contains(UPSTREAM_KEY), "{script}: {}", answer.text());
        let entries = harness.entries().await;
        assert_eq!(entries.len(), 1, "{script}");
        assert_eq!((entries[0].kind.as_str(), entries[0].basis.as_str()), (kind, basis), "{script}");
        assert_eq!(entries[0].amount_n, if basis == "hold" { entries[0].held_n } else { 0 }, "{script}");
        // The request was sent, so it counts.
        assert_eq!(harness.object(&id).await["current_requests"], 1, "{script}");
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_costs_and_counts_nothing() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let body = json!({"model": "closed/x", "messages": [], "max_tokens": 5});
    let answer = harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "upstream_unreachable"));
    let entries = harness.entries().await;
    assert_eq!((entries[0].kind.as_str(), entries[0].amount_n), ("void", 0));
    assert_eq!(harness.object(&id).await["current_requests"], 0);
    harness.finish().await;
}

#[tokio::test]
async fn an_answer_without_usage_is_estimated_from_above() {
    for script in ["no-usage", "bad-usage", "garbage"] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        let status = if script == "garbage" { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        assert_eq!(harness.chat(&key, script, Value::Null).await.status, status);
        let entries = harness.entries().await;
        assert_eq!(entries[0].basis, "estimated", "{script}");
        assert!(entries[0].amount_n > COST_N && entries[0].amount_n <= entries[0].held_n, "{script}: {entries:?}");
        harness.finish().await;
    }
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    harness.chat(&key, "error-200", Value::Null).await;
    let entries = harness.entries().await;
    charge(entries[0].held_n, "hold", &entries);
    harness.finish().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_is_estimated() {
    for script in ["cut-stream", "usage-then-cut"] {
        let harness = Harness::start().await;
        let (key, _) = harness.key_with_limit("1.00").await;
        let answer = harness.chat(&key, script, json!({"stream": true, "max_tokens": 5_000})).await;
        let text = answer.text();
        assert!(text.contains("\"code\":\"upstream_broken\"") && !text.contains("[DONE]"), "{script}: {text}");
        let entries = harness.entries().await;
        assert_eq!(entries[0].basis, "estimated", "{script}");
        // A thousand tokens of output may have been billed after the part that was seen.
        assert!(entries[0].amount_n >= 1_000 * 2_000 && entries[0].amount_n <= entries[0].held_n, "{script}: {entries:?}");
        harness.finish().await;
    }
}

#[tokio::test]
async fn more_than_the_hold_is_booked_in_full() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    assert_eq!(harness.chat(&key, "lies", Value::Null).await.status, StatusCode::OK);
    charge(11 * 1_000 + 1_000_000 * 2_000, "measured", &harness.entries().await);
    // What is spent above the limit keeps the key shut.
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.code(), "budget_exceeded");
    harness.finish().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_changes_nothing_in_the_books() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    // Before the head of the answer.
    let waiting = harness.router.clone().oneshot(chat_request(&key, "slow-200", Value::Null));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), waiting).await.is_err());
    charge(COST_N, "measured", &harness.entries().await);
    // In the middle of a stream.
    let response = harness.router.clone().oneshot(chat_request(&key, "paced", json!({"stream": true}))).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    let entries = harness.entries().await;
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].amount_n, entries[1].basis.as_str()), (COST_N, "measured"));
    harness.finish().await;
}

/// While another process writes, a hold waits. Who leaves meanwhile gets nothing, and pays nothing.
#[tokio::test]
async fn nothing_is_bought_for_a_caller_who_left_before_it_was_sent() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let writer = rusqlite::Connection::open(harness.ledger_path()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = harness.router.clone().oneshot(chat_request(&key, "left", Value::Null));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(200), waiting).await.is_err());
    writer.execute_batch("COMMIT").unwrap();
    // The next one comes after it.
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK);
    let asked: Vec<_> = harness.upstream.seen().iter().map(|seen| seen.body["model"].clone()).collect();
    assert_eq!(asked, ["ok"]);
    assert!(harness.entries().await.iter().all(|entry| entry.kind == "void" || entry.amount_n == COST_N));
    assert_eq!(harness.object(&id).await["current_requests"], 1);
    harness.finish().await;
}

/// Whenever a caller leaves: what was not sent is not paid, and what was sent is.
#[tokio::test]
async fn a_caller_who_leaves_at_any_moment_pays_for_what_was_sent() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("100.00").await;
    for round in 0..400 {
        let waiting = tokio::spawn(harness.router.clone().oneshot(chat_request(&key, "ok", Value::Null)));
        // The hold is on disk after about a millisecond.
        tokio::time::sleep(std::time::Duration::from_micros(round * 10)).await;
        waiting.abort();
    }
    let entries = harness.entries().await;
    let paid = entries.iter().filter(|entry| entry.kind == "charge").count();
    assert_eq!(paid, harness.upstream.seen().len());
    assert!(entries.iter().all(|entry| entry.kind == "void" || entry.amount_n == COST_N), "{entries:?}");
    harness.finish().await;
}

/// A caller leaves, and then the provider does: what it bills is not known, and the caller's leaving is how it ended.
#[tokio::test]
async fn an_answer_that_never_comes_for_a_caller_who_left_is_charged_as_held() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for (asked_before, leaves, ending) in [(0, true, "cut_by_caller"), (1, false, "broken")] {
        let waiting = tokio::spawn(harness.router.clone().oneshot(chat_request(&key, "late-drop", Value::Null)));
        while harness.upstream.seen().len() == asked_before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        if leaves {
            waiting.abort();
        } else {
            waiting.await.unwrap().unwrap();
        }
        let entry = harness.entries().await.pop().unwrap();
        assert_eq!((entry.basis.as_str(), entry.amount_n), ("hold", entry.held_n));
        let report = harness.manage(Method::GET, "/v1/requests?limit=1", Value::Null).await.json();
        assert_eq!(report["data"][0]["lava_mcp"]["attempts"][0]["ending"], ending, "{report}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn fallbacks_are_tried_in_order_and_each_has_a_hold() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let mut asked = chat_request(&key, "status-500", Value::Null);
    let url = format!("{}/chat/completions", harness.upstream.url);
    let fallbacks = json!([{"url": url, "model": "status-429"}, {"model": "closed/x"}, {"model": "fake/ok"}]).to_string();
    asked.headers_mut().insert("x-lava-fallbacks", fallbacks.parse().unwrap());
    let answer = harness.send(asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let entries = harness.entries().await;
    assert_eq!(entries.iter().map(|entry| entry.kind.as_str()).collect::<Vec<_>>(), ["void", "void", "void", "charge"]);
    // One request of the caller, whatever it took.
    assert_eq!(harness.object(&id).await["current_requests"], 1);
    let report = harness
        .send(request(Method::GET, &format!("/v1/requests/{}", answer.header("x-lava-request-id").unwrap()), Some(&key), Value::Null))
        .await
        .json();
    assert_eq!(report["lava_mcp"]["attempts"].as_array().unwrap().len(), 4, "{report}");
    assert_eq!(report["cost"], "0.0000250000");

    // A refusal of the caller's request is final: nobody else is asked.
    let mut asked = chat_request(&key, "status-400", Value::Null);
    asked.headers_mut().insert("x-lava-fallbacks", fallbacks.parse().unwrap());
    assert_eq!(harness.send(asked).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(harness.entries().await.len(), 5);
    harness.finish().await;
}

#[tokio::test]
async fn a_fallback_after_a_provider_that_cannot_be_reached_counts_as_the_request() {
    let harness = Harness::start().await;
    let (key, id) = harness.key(json!({"request_limit": {"count": 1, "cycle": "daily"}})).await;
    let ask = || {
        let body = json!({"model": "closed/x", "messages": [], "max_tokens": 5});
        let mut asked = request(Method::POST, "/v1/chat/completions", Some(&key), body);
        asked.headers_mut().insert("x-lava-fallbacks", r#"[{"model":"fake/ok"}]"#.parse().unwrap());
        harness.send(asked)
    };
    assert_eq!(ask().await.status, StatusCode::OK);
    harness.settled().await;
    assert_eq!(harness.object(&id).await["current_requests"], 1);
    assert_eq!(ask().await.code(), "request_quota_exceeded");
    harness.finish().await;
}

#[tokio::test]
async fn an_attempt_that_was_never_sent_gives_its_place_in_the_rate_back() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({"rate_limit": {"rpm": 60, "burst": 1}})).await;
    let body = json!({"model": "closed/x", "messages": [], "max_tokens": 5});
    let mut asked = request(Method::POST, "/v1/chat/completions", Some(&key), body);
    asked.headers_mut().insert("x-lava-fallbacks", r#"[{"model":"fake/ok"}]"#.parse().unwrap());
    assert_eq!(harness.send(asked).await.status, StatusCode::OK);
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.code(), "rate_limit_exceeded");
    harness.finish().await;
}

#[tokio::test]
async fn a_cap_beyond_all_measure_is_refused() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({})).await;
    let refused = harness.chat(&key, "ok", json!({"max_tokens": u64::MAX})).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "unpriceable"), "{}", refused.text());
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn max_cost_holds_for_all_attempts_together() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("5.00").await;
    // The first attempt may have been billed in full; what is left of max_cost does not pay for a second one.
    let mut asked = chat_request(&key, "drop", json!({"max_tokens": 1_000}));
    asked.headers_mut().insert("x-lava-fallbacks", r#"[{"model":"fake/ok"}]"#.parse().unwrap());
    asked.headers_mut().insert("x-lava-max-cost", "0.004".parse().unwrap());
    assert_eq!(harness.send(asked).await.code(), "max_cost_exceeded");
    let entries = harness.entries().await;
    assert_eq!(entries.len(), 1);
    assert!(entries[0].amount_n <= 4_000_000, "{entries:?}");
    harness.finish().await;
}

#[tokio::test]
async fn a_cap_is_put_in_where_none_is_set_and_never_lowered_where_one_is() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("0.01").await;
    // 0.01 USD pays for less than 5,000 tokens of output beside the bound of the input.
    let answer = harness.chat(&key, "ok", json!({"max_tokens": null})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let cap: u64 = answer.header("x-lava-output-cap").unwrap().parse().unwrap();
    assert!((256..5_000).contains(&cap), "{cap}");
    assert_eq!(harness.upstream.seen()[0].body["max_tokens"], cap);

    harness.settled().await;
    let refused = harness.chat(&key, "ok", json!({"max_tokens": 10_000})).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "insufficient_budget"));
    let affordable = refused.json()["error"]["max_affordable_tokens"].as_u64().unwrap();
    let accepted = harness.chat(&key, "ok", json!({"max_tokens": affordable})).await;
    assert_eq!(accepted.status, StatusCode::OK, "what is called affordable is: {}", accepted.text());
    assert_eq!(harness.upstream.seen()[1].body["max_tokens"], affordable);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_found_at_every_moment_from_its_hold_on() {
    let harness = Harness::start_with(true).await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
    for _ in 0..200 {
        let answer = harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body.clone())).await;
        let path = format!("/v1/requests/{}", answer.header("x-lava-request-id").unwrap());
        // Its hold becomes an entry while it is asked for.
        loop {
            let report = harness.send(request(Method::GET, &path, Some(&key), Value::Null)).await;
            assert_eq!(report.status, StatusCode::OK, "{}", report.text());
            if report.json()["status"] != "pending" {
                break;
            }
        }
    }
    harness.finish().await;
}

#[tokio::test]
async fn max_cost_is_a_limit_for_one_call() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("5.00").await;
    let with_max_cost = |amount: &str, more: Value| {
        let mut asked = chat_request(&key, "ok", more);
        asked.headers_mut().insert("x-lava-max-cost", amount.parse().unwrap());
        asked
    };
    let refused = harness.send(with_max_cost("0.001", json!({"max_tokens": 1_000}))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "max_cost_exceeded"));
    let clamped = harness.send(with_max_cost("0.01", json!({"max_tokens": null}))).await;
    assert_eq!(clamped.status, StatusCode::OK);
    assert!(harness.entries().await[0].held_n <= 10_000_000);
    assert_eq!(harness.send(with_max_cost("cheap", Value::Null)).await.status, StatusCode::BAD_REQUEST);
    harness.finish().await;
}

/// A cost that is too high by bytes is counted in tokens before it is refused.
#[tokio::test]
async fn a_tight_max_cost_is_held_against_an_exact_count() {
    let harness = Harness::start().await;
    let sandbox = harness.second_as_sandbox().await;
    let made = send(&sandbox, request(Method::POST, "/v1/spend_keys", Some(harness.secret.expose()), json!({"name": "t"}))).await.json();
    // 5,000 bytes, and about a thousand tokens at 0.15 USD for a million.
    let text = "word ".repeat(1_000);
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 5});
    let asked = |max_cost: &str| {
        let mut asked = request(Method::POST, "/v1/chat/completions", made["key"].as_str(), body.clone());
        asked.headers_mut().insert("x-lava-max-cost", max_cost.parse().unwrap());
        send(&sandbox, asked)
    };
    let refused = asked("0.000001").await;
    let needed = refused.json()["error"]["needed"].as_str().unwrap().to_owned();
    assert!((0.000_14..0.000_3).contains(&needed.parse::<f64>().unwrap()), "{needed}");
    assert_eq!(asked(&needed).await.status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn forward_calls_what_lies_below_a_provider_and_nothing_else() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let base = harness.upstream.url.clone();
    let forward = |method: Method, url: String, body: Value| {
        let path = format!("/v1/forward?u={}", url::form_urlencoded::byte_serialize(url.as_bytes()).collect::<String>());
        harness.send(request(method, &path, Some(&key), body))
    };
    let chat = json!({"model": "ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
    assert_eq!(forward(Method::POST, format!("{base}/chat/completions"), chat.clone()).await.status, StatusCode::OK);
    let embedding = forward(Method::POST, format!("{base}/embeddings"), json!({"model": "embed", "input": "Hi"})).await;
    assert_eq!(embedding.status, StatusCode::OK);
    assert_eq!(forward(Method::GET, format!("{base}/models"), Value::Null).await.status, StatusCode::OK);
    // The same address, not encoded, as the official SDK sends it.
    let raw = harness.send(request(Method::POST, &format!("/v1/forward?u={base}/chat/completions"), Some(&key), chat.clone())).await;
    assert_eq!(raw.status, StatusCode::OK, "{}", raw.text());
    let entries = harness.entries().await;
    assert_eq!(entries.iter().map(|entry| entry.amount_n).collect::<Vec<_>>(), [COST_N, 11 * 1_000, 0, COST_N]);

    let sent = harness.upstream.seen().len();
    for url in [
        format!("{base}/files"),
        format!("{base}/../admin"),
        base.replace("/v1", "/v10/chat/completions"),
        base.replace("http://", "http://user:password@") + "/chat/completions",
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://127.0.0.1/v1/chat/completions".to_owned(),
        "https://example.com/v1/chat/completions".to_owned(),
        "https://api.openai.com.example.com/v1/chat/completions".to_owned(),
        "https://api.openai.com:8443/v1/chat/completions".to_owned(),
        "file:///etc/passwd".to_owned(),
        "not a url".to_owned(),
    ] {
        let refused = forward(Method::POST, url.clone(), chat.clone()).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code().as_str()),
            (400, "forward_endpoint_not_supported"),
            "{url}: {}",
            refused.text()
        );
    }
    assert_eq!(harness.upstream.seen().len(), sent, "nothing of that was called");
    harness.finish().await;
}

#[tokio::test]
async fn the_sandbox_answers_for_every_dialect_and_counts() {
    let harness = Harness::start_with(true).await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for model in ["gpt-4o-mini", "claude-sonnet-4-20250514", "anthropic/claude-sonnet-4-20250514", "gemini-2.5-flash"] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 40});
        let answer = harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{model}: {}", answer.text());
        assert!(answer.text().contains("sandbox"), "{model}");
    }
    // gpt-4o-mini: 8 tokens in, 36 out, at 0.15 and 0.60 a million, rounded up to a nano-dollar.
    let usage = harness.sql("SELECT usage_json, amount_n FROM entry WHERE model = 'gpt-4o-mini'", |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
    });
    let counted: Value = serde_json::from_str(&usage[0].0).unwrap();
    let expected = (counted["input"].as_i64().unwrap() * 150_000 + counted["output"].as_i64().unwrap() * 600_000 + 999) / 1_000;
    assert_eq!(usage[0].1, expected);
    assert!(harness.upstream.seen().is_empty(), "nothing left the process");
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "required": ["days", "unit"], "properties": {
        "city": {"type": "string"}, "days": {"type": "integer", "exclusiveMinimum": 3}, "unit": {"enum": ["c", "f"]}}}}}]);
    let with_tools = |text: &str, choice: &str| {
        let messages = json!([{"role": "user", "content": text}]);
        let body = json!({"model": "gpt-4o-mini", "messages": messages, "tools": tools, "tool_choice": choice, "max_tokens": 100});
        harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body))
    };
    for (text, choice) in [("Hi", "required"), ("Use weather, please.", "auto")] {
        let answer = with_tools(text, choice).await.json();
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        assert_eq!((&call["name"], &call["arguments"]), (&json!("weather"), &json!(r#"{"days":4,"unit":"c"}"#)), "{answer}");
    }
    for (text, choice) in [("Hi", "auto"), ("Use weather, please.", "none")] {
        let answer = with_tools(text, choice).await.json();
        assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn bad_requests_get_an_answer_that_helps() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let chat = |body: Value| harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body));
    let hello = json!([{"role": "user", "content": "Hi"}]);
    for (body, status, code, says) in [
        (json!({"model": "gpt-4o-mimi", "messages": hello}), 404, "model_not_found", "gpt-4o-mini"),
        (json!({"model": "gpt-4o-mini", "messages": hello}), 400, "provider_credentials_missing", "OPENAI_API_KEY"),
        (json!({"model": "gpt-4o-mini", "messages": hello}), 400, "provider_credentials_missing", "lava-mcp providers set openai"),
        (json!({"model": "anthropic/claude-sonnet-4-20250514", "messages": hello}), 400, "dialect_not_supported", "anthropic dialect"),
        (json!({"model": "unpriced/x", "messages": hello}), 402, "unpriceable", "[providers.unpriced]"),
        (json!({"model": "fake/ok"}), 400, "invalid_request", "messages"),
        (json!([1]), 400, "invalid_request", "JSON object"),
    ] {
        let answer = chat(body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{body}: {message}");
        // Final: no SDK tries again.
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{body}");
    }
    assert!(harness.upstream.seen().is_empty());
    for (method, path, status) in
        [(Method::GET, "/v1/nothing", 404), (Method::GET, "/v1/chat/completions", 405), (Method::POST, "/v1/forward", 400)]
    {
        let answer = harness.send(request(method, path, Some(&key), Value::Null)).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(!answer.code().is_empty() && answer.header("x-lava-request-id").is_some(), "{path}");
    }
    let large = axum::body::Body::from(vec![b' '; (32 << 20) + 1]);
    let asked = http::Request::post("/v1/chat/completions").header("authorization", format!("Bearer {key}")).body(large).unwrap();
    assert_eq!(harness.send(asked).await.code(), "request_too_large");
    harness.finish().await;
}

#[tokio::test]
async fn a_key_is_read_from_the_headers_that_sdks_use() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let (other, _) = harness.key_with_limit("1.00").await;
    let ask = |headers: Vec<(&'static str, String)>| {
        let mut asked = chat_request("", "ok", Value::Null);
        asked.headers_mut().remove("authorization");
        for (name, value) in headers {
            asked.headers_mut().insert(name, value.parse().unwrap());
        }
        harness.send(asked)
    };
    for name in ["x-api-key", "api-key", "x-goog-api-key"] {
        assert_eq!(ask(vec![(name, key.clone())]).await.status, StatusCode::OK, "{name}");
    }
    assert_eq!(ask(vec![("authorization", format!("bearer {key}")), ("x-api-key", key.clone())]).await.status, StatusCode::OK);
    let mut wrong_check = key.clone();
    wrong_check.replace_range(key.len() - 1.., if key.ends_with('a') { "b" } else { "a" });
    for (headers, says) in [
        (vec![], "No API key was sent"),
        (vec![("authorization", format!("Basic {key}"))], "Bearer"),
        (vec![("authorization", format!("Bearer {key}")), ("x-api-key", other)], "Two different"),
        (vec![("x-api-key", wrong_check)], "not known"),
        (vec![("x-api-key", "sk-something".to_owned())], "not known"),
    ] {
        let refused = ask(headers.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (401, "invalid_api_key"), "{headers:?}");
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains(says), "{headers:?}: {}", refused.text());
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    harness.settled().await;
    harness.finish().await;
}
