//! A storm: far more requests than the money allows, over sockets and two gateways on one ledger. The provider keeps its own books.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    billing_upstream::{BillingUpstream, INPUT_TOKENS},
    harness::{Harness, Served, UPSTREAM_KEY},
};

const PARALLEL: usize = 64;
const OUTPUT_TOKENS: i64 = 45;
const COST_N: i64 = INPUT_TOKENS as i64 * 1_000 + OUTPUT_TOKENS * 2_000;
const DEADLINE: Duration = Duration::from_secs(60);

/// How many requests; `LAVA_STORM` makes it more or fewer. The money is for a tenth of them.
fn requests() -> usize {
    std::env::var("LAVA_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

fn body(is_streamed: bool) -> String {
    json!({"model": format!("fake/bill-{OUTPUT_TOKENS}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50, "stream": is_streamed})
        .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_answered_until_the_money_is_used_up_and_not_once_more() {
    let upstream = BillingUpstream::start().await;
    let harness = Harness::start_at(&upstream.url, UPSTREAM_KEY).await;
    let gateways = [Served::start(harness.gateway.clone()).await, Served::start(harness.second_at(&upstream.url).await).await];
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();

    // What is set aside for one request, once both gateways know the template; less than twice its cost, so a single answer too many is more than the limit.
    let (probe, _) = harness.key_with_limit("1.00").await;
    for at in 0..8 {
        let asked = http.post(gateways[at % 2].url("/v1/chat/completions")).bearer_auth(&probe).body(body(false)).send().await.unwrap();
        assert_eq!(asked.status(), 200);
    }
    let hold_n = harness.entries().await[7].held_n;
    assert!(COST_N < hold_n && hold_n < 2 * COST_N, "{hold_n}");
    let billed_before = upstream.bills.total();

    let requests = requests();
    let fit = requests / 10;
    let fit_n = i64::try_from(fit).unwrap();
    let limit_n = (fit_n - 1) * COST_N + hold_n;
    let (key, id) = harness.key_with_limit(&format!("{}.{:09}", limit_n / 1_000_000_000, limit_n % 1_000_000_000)).await;

    let over = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(watch(harness.ledger_path(), id.clone(), over.clone()));
    let next = Arc::new(AtomicUsize::new(0));
    let urls = [gateways[0].url("/v1/chat/completions"), gateways[1].url("/v1/chat/completions")];
    let workers = (0..PARALLEL).map(|_| {
        let (http, key, next, urls) = (http.clone(), key.clone(), next.clone(), urls.clone());
        let bodies = [body(false), body(true)];
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= requests {
                    return statuses;
                }
                let (url, body) = (&urls[at % 2], &bodies[at / 2 % 2]);
                let answer = http.post(url).bearer_auth(&key).body(body.clone()).send().await.unwrap();
                let status = answer.status().as_u16();
                let text = answer.text().await.unwrap();
                assert!(status < 500, "{status}: {text}");
                assert!(status != 200 || text.contains("Hello."), "{text}");
                statuses.push(status);
            }
        })
    });
    let began = std::time::Instant::now();
    let all = tokio::time::timeout(DEADLINE, futures_util::future::join_all(workers)).await.expect("the storm is over in time");
    let took = began.elapsed();
    let statuses: Vec<u16> = all.into_iter().flat_map(Result::unwrap).collect();
    harness.settled().await;
    watch.abort();

    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    println!("{requests} requests in {took:.1?}: {} answered, {} refused, {} told to wait", count(200), count(402), count(429));
    assert_eq!((statuses.len(), count(200) + count(402) + count(429)), (requests, requests));
    assert_eq!(count(200), fit, "as many answers as the limit has money for");
    // A bill only grows, so it was within the limit at every moment if it is at the end.
    let billed = upstream.bills.total() - billed_before;
    assert!(billed <= limit_n, "{billed} were billed, and the limit is {limit_n}");
    assert!(!over.load(Ordering::Relaxed), "the ledger was above the limit for a moment");
    let charged = harness.sql(
        &format!(
            "SELECT coalesce(sum(amount_n), 0), count(*), count(DISTINCT hold_id) FROM entry WHERE key_id = '{id}' AND kind = 'charge'"
        ),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
    )[0];
    assert_eq!(charged, (billed, fit_n, fit_n), "the entries are what was billed");
    let key_row: Value = harness.object(&id).await;
    assert_eq!(nanos(&key_row["total_spend"]), billed);
    assert_eq!(nanos(&key_row["current_spend"]), billed);
    assert_eq!(key_row["total_requests"], fit);

    for gateway in gateways {
        gateway.stop().await;
    }
}

/// Looks at the key's row all the time: spent and set aside are never more than the limit.
async fn watch(ledger: std::path::PathBuf, key: String, over: Arc<AtomicBool>) {
    let rows = rusqlite::Connection::open(ledger).unwrap();
    loop {
        let is_over: bool =
            rows.query_row("SELECT spent_n + held_n > limit_n FROM budget WHERE key_id = ?1", [&key], |row| row.get(0)).unwrap();
        over.fetch_or(is_over, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn nanos(amount: &Value) -> i64 {
    let (dollars, rest) = amount.as_str().unwrap().split_once('.').unwrap();
    dollars.parse::<i64>().unwrap() * 1_000_000_000 + format!("{rest:0<9}")[..9].parse::<i64>().unwrap()
}
