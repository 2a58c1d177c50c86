//! Starts the real gateway on a ledger in a temporary folder, with the fake provider behind it. When it is finished it looks for what was left behind.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use lava_mcp::{
    catalog::{CostUnit, Dialect, Prices, Rates, ReportedCost},
    domain::{
        HoldId, KeyId, PlainKey, Rate, RequestId, Secret,
        key::Pepper,
        ledger::{Reserve, Subject},
    },
    gateway::{Credentials, CustomProvider, Gateway, Registry, Waits, edge, server},
    store::Store,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use tower::ServiceExt;

pub(crate) use crate::test_clock::TestClock;

use crate::fake_upstream::FakeUpstream;

/// One dollar a million tokens in, two out: a token costs 1,000 or 2,000 nano-dollars.
pub(crate) fn prices() -> Prices {
    Prices::flat(Rate::from_picos(1_000_000), Rate::from_picos(2_000_000))
}

/// A cent and its parts for each kind of token: 1,000 nano-dollars in, 100 from the cache, 1,250 and 2,000 into it, 5,000 out.
pub(crate) fn claude_prices() -> Prices {
    let rate = |nanos: u64| Some(Rate::from_picos(nanos * 1_000));
    let mut rates = Rates::flat(Rate::from_picos(1_000_000), Rate::from_picos(5_000_000));
    (rates.cache_read, rates.cache_write, rates.cache_write_1h) = (rate(100), rate(1_250), rate(2_000));
    Prices::from_rates(rates)
}

/// The gateway's key for the fake provider; it must never come back to a caller.
pub(crate) const UPSTREAM_KEY: &str = "sk-upstream-secret";

pub(crate) struct Harness {
    pub(crate) router: Router,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) upstream: FakeUpstream,
    pub(crate) secret: PlainKey,
    pub(crate) clock: TestClock,
    folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A row of the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) amount_n: i64,
    pub(crate) basis: String,
    pub(crate) held_n: i64,
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::start_with(false).await
    }

    pub(crate) async fn start_with(sandbox: bool) -> Self {
        let upstream = FakeUpstream::start().await;
        let url = upstream.url.clone();
        Self::start_before(upstream, &url, UPSTREAM_KEY, sandbox, Waits::default()).await
    }

    /// Before a provider at another address; the usual one stays idle.
    pub(crate) async fn start_at(url: &str, upstream_key: &str) -> Self {
        Self::start_before(FakeUpstream::start().await, url, upstream_key, false, Waits::default()).await
    }

    /// The same, with waits of its own.
    pub(crate) async fn start_waiting_at(url: &str, waits: Waits) -> Self {
        Self::start_before(FakeUpstream::start().await, url, UPSTREAM_KEY, false, waits).await
    }

    async fn start_before(upstream: FakeUpstream, url: &str, upstream_key: &str, sandbox: bool, waits: Waits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::at("2026-11-24T12:00:00Z");
        let gateway = open(folder.path().join("ledger.db"), url, credentials(upstream_key), &clock, sandbox, waits).await;
        let secret = gateway.create_secret_key("test", false).await.unwrap();
        Self { router: edge::router(gateway.clone()), gateway, upstream, secret, clock, folder }
    }

    /// The address of the fake provider that speaks the Anthropic dialect; the first provider of the list has the same, so it is written in another way.
    pub(crate) fn claude_url(&self) -> String {
        self.upstream.url.replace("127.0.0.1", "localhost")
    }

    /// A second gateway on the same ledger, before a provider at this address.
    pub(crate) async fn second_at(&self, url: &str) -> Arc<Gateway> {
        open(self.ledger_path(), url, credentials(UPSTREAM_KEY), &self.clock, false, Waits::default()).await
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    /// A second gateway on the same ledger, as another process would open it.
    pub(crate) async fn second(&self) -> Router {
        edge::router(self.second_at(&self.upstream.url).await)
    }

    /// A second gateway on the same ledger, whose keys for providers come from somewhere else.
    pub(crate) async fn second_with(&self, credentials: Credentials) -> Router {
        edge::router(open(self.ledger_path(), &self.upstream.url, credentials, &self.clock, false, Waits::default()).await)
    }

    /// A sandbox on the same ledger.
    pub(crate) async fn second_as_sandbox(&self) -> Router {
        edge::router(open(self.ledger_path(), &self.upstream.url, credentials(UPSTREAM_KEY), &self.clock, true, Waits::default()).await)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.router, request).await
    }

    pub(crate) async fn manage(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(request(method, path, Some(self.secret.expose()), body)).await
    }

    /// Creates a spend key; returns the key and its id.
    pub(crate) async fn key(&self, mut settings: Value) -> (String, String) {
        if settings.get("name").is_none() {
            settings["name"] = "test key".into();
        }
        let created = self.manage(Method::POST, "/v1/spend_keys", settings).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
        let object = created.json();
        (object["key"].as_str().unwrap().to_owned(), object["spend_key_id"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn key_with_limit(&self, amount: &str) -> (String, String) {
        self.key(json!({"spend_limit": {"amount": amount, "cycle": "daily"}})).await
    }

    /// Asks the fake provider, with its script as the model.
    pub(crate) async fn chat(&self, key: &str, script: &str, more: Value) -> Answer {
        self.send(chat_request(key, script, more)).await
    }

    /// Sets money of a key aside in a process that dies, and lets another one find it; returns the hold, which is a suspect charge now.
    pub(crate) async fn crash(&self, key_id: &str, amount: &str) -> String {
        let dying = Store::open(&self.ledger_path(), self.clock.clock()).await.unwrap();
        let hold = HoldId::generate();
        let reserve = Reserve {
            hold: hold.clone(),
            request: RequestId::generate(false),
            key: KeyId::from_text(key_id),
            generation: 1,
            amount: amount.parse().unwrap(),
            counted: true,
            test: false,
            subject: Subject { provider: "fake".to_owned(), model: "never".to_owned(), endpoint: "POST https://fake/v1".to_owned() },
        };
        dying.reserve(reserve).await.unwrap().unwrap();
        dying.close().await;
        Store::open(&self.ledger_path(), self.clock.clock()).await.unwrap().close().await;
        hold.to_string()
    }

    /// Sets the limit over all keys.
    pub(crate) async fn limit_account(&self, limit: Value) -> Value {
        let answer = self.manage(Method::PUT, "/v1/lava_mcp/account", json!({"spend_limit": limit})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn object(&self, id: &str) -> Value {
        self.manage(Method::GET, &format!("/v1/spend_keys/{id}"), Value::Null).await.json()
    }

    pub(crate) fn sql<T>(&self, query: &str, read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let connection = rusqlite::Connection::open(self.ledger_path()).unwrap();
        let mut statement = connection.prepare(query).unwrap();
        statement.query_map([], |row| read(row)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    pub(crate) fn open_holds(&self) -> i64 {
        self.sql("SELECT count(*) FROM hold", |row| row.get(0))[0]
    }

    /// Waits until nothing is in flight; the settlement of an answer follows it by a moment.
    pub(crate) async fn settled(&self) {
        for _ in 0..600 {
            if self.open_holds() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} holds are still open", self.open_holds());
    }

    /// The entries, once nothing is in flight.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        self.settled().await;
        self.sql("SELECT kind, amount_n, basis, held_n FROM entry ORDER BY seq", |row| {
            Ok(Entry { kind: row.get(0)?, amount_n: row.get(1)?, basis: row.get(2)?, held_n: row.get(3)? })
        })
    }

    /// Nothing may be left: no open hold, and the budget rows agree with the entries.
    pub(crate) async fn finish(self) {
        self.settled().await;
        let wrong = self.sql(
            "SELECT b.key_id FROM budget b WHERE b.held_n <> 0
             OR b.total_spent_n <> (SELECT coalesce(sum(amount_n), 0) FROM entry e WHERE e.key_id = b.key_id)",
            |row| row.get::<_, String>(0),
        );
        assert!(wrong.is_empty(), "budgets disagree with the entries: {wrong:?}");
        self.gateway.shut_down(Duration::from_secs(1)).await;
    }
}

/// The same key for all providers of the config file.
fn credentials(upstream_key: &str) -> Credentials {
    let keys = ["fake", "azure", "closed", "unpriced", "claude", "strict"].map(|id| (id.to_owned(), Secret::new(upstream_key)));
    Credentials::new(HashMap::from(keys), Arc::new(|_| None), None)
}

async fn open(path: PathBuf, upstream: &str, credentials: Credentials, clock: &TestClock, sandbox: bool, waits: Waits) -> Arc<Gateway> {
    let store = Store::open(&path, clock.clock()).await.unwrap();
    let provider = |id: &str, base_url: &str| CustomProvider {
        id: id.to_owned(),
        base_url: base_url.parse().unwrap(),
        dialect: Dialect::Openai,
        api_key_env: Some("FAKE_API_KEY".to_owned()),
        models: Vec::new(),
        prices: Some(prices()),
        reported_cost: (id == "fake").then(|| ReportedCost { field: "usage.cost".into(), unit: CostUnit::Usd }),
        takes_stream_options: id != "strict",
        context_window: None,
    };
    // A port on which nobody listens: bound and let go again.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut unpriced = provider("unpriced", upstream);
    unpriced.prices = None;
    let mut claude = provider("claude", &upstream.replace("127.0.0.1", "localhost"));
    claude.dialect = Dialect::Anthropic;
    claude.prices = Some(claude_prices());
    // Azure is one of those that stop billing when a stream is closed.
    let providers = vec![
        provider("fake", upstream),
        provider("azure", upstream),
        provider("closed", &format!("http://{closed}/v1")),
        unpriced,
        claude,
        provider("strict", upstream),
    ];
    Gateway::new(
        store,
        clock.clock(),
        Pepper::from_bytes(&[7; 32]),
        Registry::new(providers, credentials, false).with_waits(waits),
        sandbox,
    )
}

/// Serves a gateway over a socket as the program does.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn start(gateway: Arc<Gateway>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, (stop, stopped)) = (listener.local_addr().unwrap(), oneshot::channel::<()>());
        let task = tokio::spawn(server::serve(gateway, listener, &[], Vec::new(), async move {
            let _ = stopped.await;
        }));
        Self { address, stop, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends it as a signal would, its ledger included.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("it ends in time").unwrap().unwrap();
    }
}

pub(crate) fn request(method: Method, path: &str, key: Option<&str>, body: Value) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

pub(crate) fn chat_request(key: &str, script: &str, more: Value) -> Request<Body> {
    let mut body = json!({"model": format!("fake/{script}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    request(Method::POST, "/v1/chat/completions", Some(key), body)
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}
