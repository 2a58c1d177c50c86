//! `GET /metrics`: what a scraper reads, and who may read it.

use std::collections::HashMap;

use axum::Router;
use http::{Method, StatusCode};
use lava_mcp::gateway::server;
use serde_json::{Value, json};

use crate::harness::{Answer, Harness, UPSTREAM_KEY, request, send};

async fn scrape(router: &Router, key: Option<&str>) -> Answer {
    let mut get = request(Method::GET, "/metrics", key, Value::Null);
    get.headers_mut().insert("host", "127.0.0.1:4040".parse().unwrap());
    send(router, get).await
}

/// Reads the page as a scraper does: every sample has a type that was told before it, no series comes twice, buckets rise.
fn read(page: &str) -> HashMap<String, f64> {
    let (mut kinds, mut samples) = (HashMap::new(), HashMap::new());
    let mut bucket = (String::new(), 0.0);
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).filter(|name| kinds.contains_key(*name)));
        assert!(kinds.contains_key(family.unwrap_or(name)), "{line}");
        let value: f64 = value.parse().unwrap();
        if let Some((rest, _)) = series.split_once("le=\"") {
            assert!(bucket.0 != rest || bucket.1 <= value, "{line}");
            bucket = (rest.to_owned(), value);
        }
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} comes twice");
    }
    samples
}

#[tokio::test]
async fn a_scraper_reads_what_was_asked_bought_and_booked() {
    let harness = Harness::start().await;
    let router = server::router(harness.gateway.clone(), "127.0.0.1:4040".parse().unwrap());
    let (key, id) = harness.key_with_limit("1.00").await;
    for (script, more) in [("ok", json!({})), ("ok", json!({"stream": true})), ("no-usage", json!({})), ("status-500", json!({}))] {
        harness.chat(&key, script, more).await;
    }
    harness.chat(&key, "drop", json!({})).await;
    // A name that a caller made up is no label, and a refusal is counted under its code.
    harness.chat(&key, "made-up-by-a-caller", json!({})).await;
    harness.chat(&key, "ok", json!({"max_tokens": 999_999_999})).await;
    harness.chat("lava_sk_mistyped", "ok", json!({})).await;
    harness.settled().await;

    let answer = scrape(&router, None).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    let page = answer.text();
    for secret in [key.as_str(), id.as_str(), harness.secret.expose(), UPSTREAM_KEY, "aks_", "lava_sk_", "made-up", "mistyped"] {
        assert!(!page.contains(secret), "{secret}: {page}");
    }
    let samples = read(&page);
    let chat = |rest: &str| format!("lava_mcp_requests_total{{http_route=\"/v1/chat/completions\",{rest}}}");
    let spent: i64 = harness.entries().await.iter().map(|entry| entry.amount_n).sum();
    for (series, value) in [
        (chat("status=\"2xx\",code=\"ok\""), 4.0),
        (chat("status=\"5xx\",code=\"upstream_error\""), 1.0),
        (chat("status=\"5xx\",code=\"upstream_broken\""), 1.0),
        (chat("status=\"4xx\",code=\"insufficient_budget\""), 1.0),
        (chat("status=\"4xx\",code=\"invalid_api_key\""), 1.0),
        ("http_server_request_duration_seconds_count{http_route=\"/v1/chat/completions\"}".to_owned(), 8.0),
        ("lava_mcp_attempts_total{gen_ai_provider_name=\"fake\",result=\"2xx\"}".to_owned(), 4.0),
        ("lava_mcp_attempts_total{gen_ai_provider_name=\"fake\",result=\"5xx\"}".to_owned(), 1.0),
        ("lava_mcp_attempts_total{gen_ai_provider_name=\"fake\",result=\"no_answer\"}".to_owned(), 1.0),
        ("lava_mcp_upstream_time_to_first_byte_seconds_count{gen_ai_provider_name=\"fake\"}".to_owned(), 5.0),
        ("gen_ai_client_operation_duration_seconds_count{gen_ai_provider_name=\"fake\"}".to_owned(), 6.0),
        ("lava_mcp_cost_usd_total{gen_ai_provider_name=\"fake\"}".to_owned(), spent as f64 / 1e9),
        (
            "gen_ai_client_token_usage_count{gen_ai_provider_name=\"fake\",gen_ai_request_model=\"other\",gen_ai_token_type=\"output\"}"
                .to_owned(),
            4.0,
        ),
        ("lava_mcp_entries_total{basis=\"measured\"}".to_owned(), 3.0),
        ("lava_mcp_entries_total{basis=\"estimated\"}".to_owned(), 1.0),
        ("lava_mcp_entries_total{basis=\"hold\"}".to_owned(), 1.0),
        ("lava_mcp_entries_total{basis=\"void\"}".to_owned(), 1.0),
        ("lava_mcp_holds_open".to_owned(), 0.0),
        ("lava_mcp_ledger_failures_total".to_owned(), 0.0),
    ] {
        assert_eq!(samples.get(&series), Some(&value), "{series}\n{page}");
    }
    // Operations that wait at the same time share a commit, so a fast machine makes fewer of them.
    assert!(samples["lava_mcp_ledger_commit_duration_seconds_count"] >= 1.0);
    assert!(samples["lava_mcp_ledger_batch_operations_sum"] >= 12.0);
    assert!(samples["process_start_time_seconds"] > 1e9);
    if cfg!(target_os = "linux") {
        assert!(samples["process_resident_memory_bytes"] > 1e6);
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_hold_is_open_until_its_answer_has_ended() {
    let harness = Harness::start().await;
    let router = server::router(harness.gateway.clone(), "127.0.0.1:4040".parse().unwrap());
    let (key, _) = harness.key_with_limit("1.00").await;
    let holds = || async { read(&scrape(&router, None).await.text())["lava_mcp_holds_open"] };
    let call = harness.chat(&key, "slow-500", json!({}));
    let look = async {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        holds().await
    };
    let (answer, open) = tokio::join!(call, look);
    assert_eq!((answer.status, open), (StatusCode::OK, 1.0));
    harness.settled().await;
    assert_eq!(holds().await, 0.0);
    harness.finish().await;
}

#[tokio::test]
async fn who_may_read_depends_on_who_can_reach_the_listener() {
    let harness = Harness::start().await;
    let (spend_key, _) = harness.key_with_limit("1.00").await;
    let local = server::router(harness.gateway.clone(), "[::1]:4040".parse().unwrap());
    assert_eq!(scrape(&local, None).await.status, StatusCode::OK);
    let mut page = request(Method::GET, "/metrics", None, Value::Null);
    page.headers_mut().insert("host", "evil.example".parse().unwrap());
    assert_eq!(send(&local, page).await.status, StatusCode::FORBIDDEN);

    let remote = server::router(harness.gateway.clone(), "0.0.0.0:4040".parse().unwrap());
    let test_key = harness.gateway.create_secret_key("for the sandbox", true).await.unwrap();
    for (key, status) in [
        (None, 401),
        (Some("aks_live_mistyped"), 401),
        (Some(spend_key.as_str()), 403),
        (Some(test_key.expose()), 403),
        (Some(harness.secret.expose()), 200),
    ] {
        let answer = scrape(&remote, key).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(answer.text().contains("lava_mcp_"), status == 200);
    }
    harness.finish().await;
}
