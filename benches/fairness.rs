//! Does a small budget serve many clients alike? 64 clients of one key want 20 answers each, without an output cap, from a budget that pays for about 70.
//!
//! `cargo bench --bench fairness [-- DOLLARS]`. The upstream writes answers of log-normal length at 80 tokens a second, five times as fast as the clock, so the two
//! seconds for which the gateway lets a request wait stand for ten.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a benchmark prints figures and may stop at a fault"
)]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Body, routing::post};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use lava_mcp::{
    catalog::{Dialect, Prices},
    domain::{Money, Rate, key::Pepper},
    gateway::{Credentials, CustomProvider, Gateway, Registry, edge},
    store::{Store, wall_clock},
};
use serde_json::{Value, json};
use tower::ServiceExt;

const CLIENTS: usize = 64;
const WANTED: usize = 20;
const TOKENS_PER_SECOND: f64 = 80.0 * 5.0;
/// Of the length of answers, in tokens: the median, and the spread of its logarithm.
const MEDIAN: f64 = 550.0;
const SIGMA: f64 = 0.9;
const INPUT_TOKENS: u64 = 400;
const LONGEST_RUN: Duration = Duration::from_secs(180);

/// What the upstream has billed and cut short.
#[derive(Default)]
struct Books {
    billed_n: AtomicU64,
    answers: AtomicU64,
    cut: AtomicU64,
}

/// What became of one client's requests.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    answers: u64,
    told_to_wait: u64,
}

fn main() {
    let dollars = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_else(|| "1.00".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&dollars));
}

async fn run(dollars: &str) {
    let folder = tempfile::tempdir().unwrap();
    let books = Arc::new(Books::default());
    let router = gateway(&folder.path().join("ledger.db"), upstream(books.clone()).await).await;
    let secret = router.1;
    let router = router.0;
    let settings = json!({"name": "shared", "spend_limit": {"amount": dollars, "cycle": "total"}});
    let (_, _, created) = send(&router, Method::POST, "/v1/spend_keys", &secret, &settings).await;
    let (key, id) = (created["key"].as_str().unwrap().to_owned(), created["spend_key_id"].as_str().unwrap().to_owned());
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|at| tokio::spawn(client(router.clone(), key.clone(), at))).collect();
    let mut served = Vec::new();
    for client in clients {
        served.push(client.await.unwrap());
    }
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (_, _, object) = send(&router, Method::GET, &format!("/v1/spend_keys/{id}"), &secret, &Value::Null).await;
    let limit: Money = dollars.parse().unwrap();
    let spent: Money = object["current_spend"].as_str().unwrap().parse().unwrap();
    let answers: Vec<f64> = served.iter().map(|served| served.answers as f64).collect();
    let (sum, squares) = (answers.iter().sum::<f64>(), answers.iter().map(|count| count * count).sum::<f64>());
    println!("limit {limit} USD, {CLIENTS} clients, {seconds:.0} s");
    println!(
        "answers {sum}, cut short {:.0} %",
        100.0 * books.cut.load(Ordering::SeqCst) as f64 / books.answers.load(Ordering::SeqCst).max(1) as f64
    );
    println!("told to wait {}", served.iter().map(|served| served.told_to_wait).sum::<u64>());
    println!("used {:.1} %", 100.0 * spent.nanos() as f64 / limit.nanos() as f64);
    println!("over {} USD", Money::from_nanos((books.billed_n.load(Ordering::SeqCst) as i64 - limit.nanos()).max(0)));
    println!("fairness (Jain) {:.2}", sum * sum / (CLIENTS as f64 * squares));
}

/// Asks until it has what it wants, or there is no money left. A client that is told to wait does.
async fn client(router: Router, key: String, at: usize) -> Served {
    let mut served = Served::default();
    let began = Instant::now();
    tokio::time::sleep(Duration::from_millis(at as u64)).await;
    while served.answers < WANTED as u64 && began.elapsed() < LONGEST_RUN {
        let body = json!({"model": "mock/writer", "messages": [{"role": "user", "content": "Write as much as it takes."}]});
        match send(&router, Method::POST, "/v1/chat/completions", &key, &body).await {
            (StatusCode::OK, ..) => served.answers += 1,
            (StatusCode::TOO_MANY_REQUESTS, wait, _) => {
                served.told_to_wait += 1;
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
            (StatusCode::PAYMENT_REQUIRED, ..) => break,
            (status, _, body) => panic!("{status}: {body}"),
        }
    }
    served
}

async fn gateway(path: &std::path::Path, base_url: String) -> (Router, String) {
    let store = Store::open(path, wall_clock()).await.unwrap();
    let provider = CustomProvider {
        id: "mock".to_owned(),
        base_url: base_url.parse().unwrap(),
        dialect: Dialect::Openai,
        api_key_env: None,
        models: Vec::new(),
        prices: Some(Prices::flat(Rate::per_million("3").unwrap(), Rate::per_million("15").unwrap())),
        reported_cost: None,
        takes_stream_options: true,
        context_window: None,
    };
    let credentials = Credentials::new(HashMap::new(), Arc::new(|_| None), None);
    let registry = Registry::new(vec![provider], credentials, false);
    let gateway = Gateway::new(store, wall_clock(), Pepper::from_bytes(&[7; 32]), registry, false);
    let secret = gateway.create_secret_key("bench", false).await.unwrap().expose().to_owned();
    (edge::router(gateway), secret)
}

/// A provider whose answers are as long as they are, unless a cap cuts them short.
async fn upstream(books: Arc<Books>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let answer = move |Json(body): Json<Value>| {
        let books = books.clone();
        async move {
            let long = length();
            let output = long.min(body["max_tokens"].as_u64().unwrap_or(64_000));
            tokio::time::sleep(Duration::from_secs_f64(output as f64 / TOKENS_PER_SECOND)).await;
            books.billed_n.fetch_add(INPUT_TOKENS * 3_000 + output * 15_000, Ordering::SeqCst);
            books.answers.fetch_add(1, Ordering::SeqCst);
            books.cut.fetch_add(u64::from(output < long), Ordering::SeqCst);
            let usage = json!({"prompt_tokens": INPUT_TOKENS, "completion_tokens": output, "total_tokens": INPUT_TOKENS + output});
            Json(json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}}], "usage": usage}))
        }
    };
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move { Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await.unwrap() });
        }
    });
    url
}

/// The length of the next answer: log-normal, the same row in every run.
fn length() -> u64 {
    static STATE: Mutex<u64> = Mutex::new(0x9e37_79b9_7f4a_7c15);
    let uniform = || {
        let mut state = STATE.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        ((*state >> 11) as f64 / (1_u64 << 53) as f64).max(1e-12)
    };
    let normal = (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    ((MEDIAN * (SIGMA * normal).exp()) as u64).clamp(16, 64_000)
}

async fn send(router: &Router, method: Method, path: &str, key: &str, body: &Value) -> (StatusCode, u64, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}")).body(body).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let wait = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(1);
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, wait, serde_json::from_slice(&body).unwrap_or_default())
}
