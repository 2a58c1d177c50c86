//! What nobody else promises, as tests. Each is named after a promise of the design.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    fake_upstream::USED,
    harness::{Harness, UPSTREAM_KEY, chat_request, request, send},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_is_a_limit() {
    let harness = Harness::start().await;
    // The hold of one request: its input bound at 1,000 and 50 tokens of output at 2,000 nano-dollars.
    let probe = harness.key_with_limit("1.00").await.0;
    harness.chat(&probe, "ok", json!({"max_tokens": 50})).await;
    let hold_n = harness.entries().await[0].held_n;
    // A limit that has room for ten of them; a hundred come at once, over two gateways on one ledger. No money comes back while they wait for it.
    let amount = format!("0.{:09}", hold_n * 10 + hold_n / 2);
    for (is_streamed, model) in [(false, "slow-3000"), (true, "slow-3001")] {
        let (key, id) = harness.key_with_limit(&amount).await;
        let routers = [harness.router.clone(), harness.second().await];
        let before = harness.upstream.seen().len();
        let asks = (0..100).map(|at| {
            let router = routers[at % 2].clone();
            let asked = chat_request(&key, model, json!({"max_tokens": 50, "stream": is_streamed}));
            tokio::spawn(async move { send(&router, asked).await.status })
        });
        let statuses: Vec<StatusCode> = futures_util::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
        let answered = statuses.iter().filter(|status| status.is_success()).count();
        assert_eq!(answered, 10, "{statuses:?}");
        assert!(
            statuses.iter().all(|status| status.is_success() || *status == StatusCode::TOO_MANY_REQUESTS),
            "held money may come back: {statuses:?}"
        );
        assert_eq!(harness.upstream.seen().len() - before, 10, "no other request reached the provider");
        harness.settled().await;
        let spent: f64 = harness.object(&id).await["current_spend"].as_str().unwrap().parse().unwrap();
        assert!(spent <= amount.parse::<f64>().unwrap());
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_over_all_keys_is_a_limit() {
    let harness = Harness::start().await;
    let probe = harness.key_with_limit("1.00").await.0;
    harness.chat(&probe, "ok", json!({"max_tokens": 50})).await;
    let hold_n = harness.entries().await[0].held_n;
    // Keys with a limit that would allow all of it, keys without any, and the secret key that pays for itself.
    let keys = [
        harness.key_with_limit("1.00").await.0,
        harness.key_with_limit("2.00").await.0,
        harness.key(json!({})).await.0,
        harness.key(json!({})).await.0,
        harness.secret.expose().to_owned(),
    ];
    let routers = [harness.router.clone(), harness.second().await];
    for (is_streamed, model) in [(false, "slow-3000"), (true, "slow-3001")] {
        // Room for ten holds beside what is spent; a hundred come at once, of five keys, over two gateways on one ledger. No money comes back meanwhile.
        let spent_n = harness.sql("SELECT sum(amount_n) FROM entry", |row| row.get::<_, i64>(0))[0];
        let lid_n = spent_n + hold_n * 10 + hold_n / 2;
        harness.limit_account(json!({"amount": format!("0.{lid_n:09}"), "cycle": "daily"})).await;
        let before = harness.upstream.seen().len();
        let asks = (0..100).map(|at| {
            let (router, key) = (routers[at % 2].clone(), keys[at / 2 % 5].clone());
            let asked = chat_request(&key, model, json!({"max_tokens": 50, "stream": is_streamed}));
            tokio::spawn(async move { send(&router, asked).await })
        });
        let answers: Vec<_> = futures_util::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
        let (answered, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status.is_success());
        assert_eq!(answered.len(), 10, "{refused:?}");
        for refusal in refused {
            assert_eq!((refusal.status.as_u16(), refusal.code().as_str()), (429, "budget_held"), "held money may come back");
            assert_eq!(refusal.json()["error"]["limit_of"], "account");
        }
        assert_eq!(harness.upstream.seen().len() - before, 10, "no other request reached the provider");
        harness.settled().await;
        let spent_n = harness.sql("SELECT sum(amount_n) FROM entry", |row| row.get::<_, i64>(0))[0];
        assert!(spent_n <= lid_n, "{spent_n} of {lid_n}");
        let account = harness.manage(Method::GET, "/v1/lava_mcp/account", Value::Null).await.json();
        assert_eq!((&account["current_spend"], &account["held"]), (&json!(format!("0.{spent_n:09}0")), &json!("0.00")));
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_limit_below_what_is_spent_blocks_and_resets_nothing() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK);
    harness.settled().await;
    let path = format!("/v1/spend_keys/{id}");
    let limit = |amount: &str| json!({"amount": amount, "cycle": "daily"});
    let lowered = harness.manage(Method::PUT, &path, json!({"spend_limit": limit("0.00001")})).await.json();
    assert_eq!((&lowered["current_spend"], &lowered["lava_mcp"]["remaining"]), (&json!("0.0000250000"), &json!("0.00")));
    let refused = harness.chat(&key, "ok", Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "budget_exceeded"));
    assert_eq!((&refused.json()["error"]["limit_of"], refused.header("x-should-retry")), (&json!("key"), Some("false")));
    let raised = harness.manage(Method::PUT, &path, json!({"spend_limit": limit("1.00")})).await.json();
    assert_eq!((&raised["current_spend"], &raised["lava_mcp"]["remaining"]), (&json!("0.0000250000"), &json!("0.999975")));

    let lowered = harness.limit_account(limit("0.00001")).await;
    assert_eq!((&lowered["current_spend"], &lowered["remaining"]), (&json!("0.0000250000"), &json!("0.00")));
    let other = harness.key(json!({})).await.0;
    for key in [&key, &other] {
        let refused = harness.chat(key, "ok", Value::Null).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "budget_exceeded"));
        let error = refused.json()["error"].clone();
        assert_eq!((&error["limit_of"], &error["spent"], &error["remaining"]), (&json!("account"), &json!("0.000025"), &json!("0.00")));
        assert!(error["message"].as_str().unwrap().starts_with("Account spend limit exceeded."), "{error}");
    }
    let raised = harness.limit_account(limit("1.00")).await;
    assert_eq!((&raised["current_spend"], &raised["remaining"]), (&json!("0.0000250000"), &json!("0.999975")));
    assert_eq!(harness.chat(&other, "ok", Value::Null).await.status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn a_request_limit_is_a_limit() {
    let harness = Harness::start().await;
    let (key, id) = harness.key(json!({"request_limit": {"count": 7, "cycle": "daily"}})).await;
    let asks = (0..40).map(|_| harness.chat(&key, "slow-50", Value::Null));
    let answers = futures_util::future::join_all(asks).await;
    assert_eq!(answers.iter().filter(|answer| answer.status.is_success()).count(), 7);
    let refused = answers.iter().find(|answer| !answer.status.is_success()).unwrap();
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "request_quota_exceeded"));
    harness.settled().await;
    assert_eq!(harness.object(&id).await["current_requests"], 7);
    harness.finish().await;
}

#[tokio::test]
async fn rotate_pause_revoke_are_points_in_time() {
    let harness = Harness::start().await;
    let second = harness.second().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let asks = |key: &str| {
        let (one, two) = (chat_request(key, "ok", Value::Null), chat_request(key, "ok", Value::Null));
        let second = second.clone();
        let here = harness.send(one);
        async move { (here.await.status.as_u16(), send(&second, two).await.status.as_u16()) }
    };
    assert_eq!(asks(&key).await, (200, 200));

    let path = format!("/v1/spend_keys/{id}");
    assert_eq!(harness.manage(Method::PUT, &path, json!({"status": "paused"})).await.status, StatusCode::OK);
    assert_eq!(asks(&key).await, (403, 403));
    assert_eq!(harness.manage(Method::PUT, &path, json!({"status": "active"})).await.status, StatusCode::OK);
    assert_eq!(asks(&key).await, (200, 200));

    let rotated = harness.manage(Method::POST, &format!("{path}/rotate"), Value::Null).await.json();
    let new = rotated["key"].as_str().unwrap().to_owned();
    assert_eq!(asks(&key).await, (401, 401), "the old value is dead everywhere");
    assert_eq!(asks(&new).await, (200, 200));
    harness.settled().await;
    assert_eq!(harness.object(&id).await["total_requests"], 6, "limits and history are kept");

    assert_eq!(harness.manage(Method::DELETE, &path, Value::Null).await.json(), json!({"success": true}));
    assert_eq!(asks(&new).await, (401, 401));
    assert_eq!(harness.manage(Method::GET, &path, Value::Null).await.status, StatusCode::NOT_FOUND);
    harness.finish().await;
}

#[tokio::test]
async fn an_expired_key_stops_at_that_moment() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({"expires_at": "2026-11-24T13:00:00Z"})).await;
    harness.clock.set("2026-11-24T12:59:59.999Z");
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK);
    harness.clock.set("2026-11-24T13:00:00Z");
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.code(), "invalid_api_key");
    harness.finish().await;
}

#[tokio::test]
async fn streams_are_metered_as_exactly_as_plain_answers() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for (script, is_streamed) in [("ok", false), ("ok", true), ("trickle", true), ("paced", true), ("no-done", true)] {
        harness.chat(&key, script, json!({"stream": is_streamed})).await;
    }
    let cost_n = i64::try_from(USED.0 * 1_000 + USED.1 * 2_000).unwrap();
    let entries = harness.entries().await;
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry.amount_n == cost_n && entry.basis == "measured"), "{entries:?}");
    harness.finish().await;
}

#[tokio::test]
async fn a_refusal_is_final_or_honest() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("0.000001").await;
    let refused = harness.chat(&key, "ok", Value::Null).await;
    assert_eq!(refused.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert_eq!(refused.header("retry-after"), None);
    let error = refused.json()["error"].clone();
    assert!(error["message"].as_str().unwrap().starts_with("Service key spend limit exceeded."), "{error}");
    assert_eq!((&error["limit"]["amount"], &error["resets_at"]), (&json!("0.000001"), &json!("2026-11-25T00:00:00Z")));

    let (key, _) = harness.key(json!({"rate_limit": {"rpm": 6, "burst": 1}})).await;
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK);
    let refused = harness.chat(&key, "ok", Value::Null).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!((refused.header("retry-after"), refused.header("retry-after-ms")), (Some("10"), Some("10000")));
    harness.clock.set("2026-11-24T12:00:10Z");
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK, "the wait that was told is enough");

    // A wait that an upstream asks for is passed on, unless SDKs would sleep for days.
    let (key, _) = harness.key_with_limit("1.00").await;
    let honest = harness.chat(&key, "status-429", Value::Null).await;
    assert_eq!((honest.header("retry-after"), honest.header("x-should-retry")), (Some("7"), None));
    let endless = harness.chat(&key, "status-429-days", Value::Null).await;
    assert_eq!((endless.header("retry-after"), endless.header("x-should-retry")), (None, Some("false")));
    harness.finish().await;
}

#[tokio::test]
async fn fail_closed() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    // No price: no call.
    let body = json!({"model": "unpriced/x", "messages": [], "max_tokens": 1});
    assert_eq!(harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body)).await.status, StatusCode::PAYMENT_REQUIRED);
    // No bound: no call.
    let file = json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]);
    assert_eq!(harness.chat(&key, "ok", json!({"messages": file})).await.code(), "unpriceable");
    // No ledger: no call. Another program holds the file locked, and the caller is told within a second.
    let blocker = rusqlite::Connection::open(harness.ledger_path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = std::time::Instant::now();
    let refused = harness.chat(&key, "ok", Value::Null).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "ledger_unavailable"), "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(harness.upstream.seen().is_empty(), "nothing was called");
    blocker.execute_batch("ROLLBACK").unwrap();
    // And it heals by itself.
    assert_eq!(harness.chat(&key, "ok", Value::Null).await.status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn a_settlement_survives_a_ledger_that_fails_for_a_while() {
    let harness = Harness::start().await;
    let (key, id) = harness.key_with_limit("1.00").await;
    let asked = tokio::spawn({
        let (router, asked) = (harness.router.clone(), chat_request(&key, "slow-300", Value::Null));
        async move { send(&router, asked).await }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(harness.open_holds(), 1, "the hold is on disk before the answer");
    let blocker = rusqlite::Connection::open(harness.ledger_path()).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(asked.await.unwrap().status, StatusCode::OK, "the answer does not wait for the settlement");
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    blocker.execute_batch("ROLLBACK").unwrap();
    harness.settled().await;
    assert_eq!(harness.object(&id).await["current_spend"], "0.0000250000");
    harness.finish().await;
}

#[tokio::test]
async fn no_key_is_kept_in_the_ledger() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    harness.chat(&key, "ok", Value::Null).await;
    harness.settled().await;
    let folder = harness.ledger_path().parent().unwrap().to_owned();
    for file in std::fs::read_dir(folder).unwrap().flatten().filter(|file| file.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        for secret in [key.as_str(), harness.secret.expose(), UPSTREAM_KEY] {
            // The preview shows eight characters after the prefix; nothing longer may be found.
            let long = &secret.as_bytes()[secret.len().saturating_sub(16)..];
            assert!(!bytes.windows(long.len()).any(|window| window == long), "{}", file.path().display());
        }
    }
    harness.finish().await;
}
