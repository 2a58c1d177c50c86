//! How long the journey of a request takes, and how many the ledger takes a second.
//!
//! `cargo bench --bench journey [-- FOLDER]`. The folder decides which disk is measured: `/dev/shm` shows the work without the flush, any other folder with it.
//! The time of one flush of that disk is printed beside the figures.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "a benchmark prints figures and may stop at a fault"
)]

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use lava_mcp::{
    catalog::{Catalog, Kind, Query},
    domain::{
        HoldId, KeyId, KeySettings, Money, NewSpendKey, PlainKey, RequestId, Usage,
        key::{KeyKind, Pepper},
        ledger::{Basis, Ending, Outcome, Reserve, Settle, Subject},
    },
    gateway::{Credentials, Gateway, Registry, edge},
    store::{NewSecretKey, Store, wall_clock},
};
use serde_json::{Value, json};
use tower::ServiceExt;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("lava-mcp-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!("folder {}", folder.display());
    println!("one flush: {:.3} ms", flush_ms(&folder));
    search();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        ledger(&folder).await;
        journey(&folder).await;
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Median time of appending a page to a file and flushing it.
fn flush_ms(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("flush")).unwrap();
    let times = (0..200).map(|_| {
        let began = Instant::now();
        file.write_all(&[0; 4_096]).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    });
    median(times.collect()).as_secs_f64() * 1e3
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn search() {
    let ask = |text| {
        let began = Instant::now();
        let hits = Catalog::embedded().find(&Query { text, kind: Kind::Any, provider: None, ready: &|_| false }).hits;
        assert!(!hits.is_empty());
        began.elapsed()
    };
    println!("search: first {:?}", ask("cheap model with vision"));
    let times = ["fast coding model", "gpt-4o-mini", "embedding", "claude sonnet", "long context reasoning"].map(ask).to_vec();
    println!("search: later {:?} (median of 5)", median(times));
}

/// Reserve and settle in a loop, by several workers on one key.
async fn ledger(folder: &Path) {
    let store = Store::open(&folder.join("ledger.db"), wall_clock()).await.unwrap();
    let pepper = Pepper::from_bytes(&[1; 32]);
    let plain = PlainKey::generate(KeyKind::Spend).unwrap();
    let (hash, preview) = (plain.hash(&pepper), plain.preview());
    store.create_secret_key(NewSecretKey { id: "o".into(), hash, preview: preview.clone(), name: "n".into(), test: true }).await.unwrap();
    let key = KeyId::generate();
    let settings = KeySettings { name: "k".into(), ..KeySettings::default() };
    store.create_spend_key(NewSpendKey { id: key.clone(), owner: "o".into(), hash, preview, test: true, settings }).await.unwrap();
    for workers in [1, 16, 64] {
        let began = Instant::now();
        let tasks = (0..workers).map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                let mut pairs = 0_u32;
                while began.elapsed() < Duration::from_secs(3) {
                    let hold = HoldId::generate();
                    let reserve = Reserve {
                        test: false,
                        hold: hold.clone(),
                        request: RequestId::generate(true),
                        key: key.clone(),
                        generation: 1,
                        amount: Money::from_nanos(10),
                        counted: true,
                        subject: Subject::default(),
                    };
                    store.reserve(reserve).await.unwrap().unwrap();
                    let outcome = Outcome::Charge { cost: Money::from_nanos(5), basis: Basis::Measured, usage: Some(Usage::text(1, 1)) };
                    store.settle(Settle { hold, outcome, upstream_status: Some(200), ending: Ending::Complete }).await.unwrap();
                    pairs += 1;
                }
                pairs
            })
        });
        let mut pairs = 0;
        for task in tasks.collect::<Vec<_>>() {
            pairs += task.await.unwrap();
        }
        println!("ledger: {workers:>2} workers: {:>6.0} holds and settlements a second", f64::from(pairs) / began.elapsed().as_secs_f64());
    }
    store.close().await;
}

/// A chat completion through the router, answered by the sandbox.
async fn journey(folder: &Path) {
    let store = Store::open(&folder.join("gateway.db"), wall_clock()).await.unwrap();
    let registry = Registry::new(Vec::new(), Credentials::new(std::collections::HashMap::new(), Arc::new(|_| None), None), false);
    let gateway = Gateway::new(store, wall_clock(), Pepper::from_bytes(&[1; 32]), registry, true);
    let secret = gateway.create_secret_key("bench", true).await.unwrap();
    let router = edge::router(gateway.clone());
    let settings = json!({"name": "bench", "spend_limit": {"amount": "1000.00", "cycle": "total"}});
    let created: Value = serde_json::from_slice(&send(&router, "/v1/spend_keys", secret.expose(), &settings).await).unwrap();
    let key = created["key"].as_str().unwrap();
    let chat = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20});
    // The first request loads the vocabulary.
    send(&router, "/v1/chat/completions", key, &chat).await;
    let mut times = Vec::new();
    for _ in 0..1_000 {
        let began = Instant::now();
        send(&router, "/v1/chat/completions", key, &chat).await;
        times.push(began.elapsed());
    }
    println!("prompt through the gateway, one after the other: {:?} (median of 1000)", median(times));
    gateway.shut_down(Duration::from_secs(5)).await;
}

async fn send(router: &Router, path: &str, key: &str, body: &Value) -> Vec<u8> {
    let request = Request::post(path).header("authorization", format!("Bearer {key}")).body(Body::from(body.to_string())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}
