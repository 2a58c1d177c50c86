//! A remote gateway with a page on which people log in: what is known of hosted Lava's API, and a browser that goes there.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path as Segment, Query, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use lava_mcp::{
    client::{Client, Transport},
    config::{Ceiling, SetBy},
    domain::SpendLimit,
    session::{Browser, GatewayInfo, Link, Parts, Session, Vault, WebLogin},
};
use serde_json::{Value, json};

/// What the secret keys of this fake begin with; none may ever be seen outside the vault.
pub(crate) const SECRET: &str = "aks_live_of_the_fake";

#[derive(Default)]
struct Books {
    codes: Vec<String>,
    secrets: Vec<String>,
    keys: Vec<Value>,
    forwarded_with: Vec<String>,
    forwards_spend_keys: bool,
    exchange_takes: Duration,
    broken: Option<Method>,
    tells_keys_about_themselves: bool,
}

#[derive(Clone)]
pub(crate) struct FakeLava {
    books: Arc<Mutex<Books>>,
    pub(crate) address: String,
}

fn refuse(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": format!("the fake says {code}")}}))).into_response()
}

/// What the page asks before the person has clicked.
pub(crate) fn asked(url: &url::Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

impl FakeLava {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let lava = Self { books: Arc::default(), address };
        let router = Router::new()
            .route("/auth/connect", get(connect))
            .route("/v1/auth/callback", post(exchange))
            .route("/v1/spend_keys", post(create).get(list))
            .route("/v1/spend_keys/{id}", get(retrieve).put(update).delete(revoke))
            .route("/v1/spend_keys/{id}/rotate", post(rotate))
            .route("/v1/forward", any(forward))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "route_not_found") })
            .with_state(lava.clone());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(socket), service));
            }
        });
        lava
    }

    /// A code, as the page gives one when a person has clicked Authorize.
    pub(crate) fn code(&self) -> String {
        let mut books = self.books.lock().unwrap();
        let code = format!("code-{}-{}", books.codes.len(), ulid::Ulid::generate());
        books.codes.push(code.clone());
        code
    }

    /// A secret key that a person made by hand.
    pub(crate) fn secret(&self) -> String {
        let mut books = self.books.lock().unwrap();
        let secret = format!("{SECRET}_{}", ulid::Ulid::generate());
        books.secrets.push(secret.clone());
        secret
    }

    /// Ends a secret key; what it made stays.
    pub(crate) fn delete_secrets(&self) {
        self.books.lock().unwrap().secrets.clear();
    }

    pub(crate) fn keys(&self) -> Vec<Value> {
        self.books.lock().unwrap().keys.clone()
    }

    /// As our own gateway does, and hosted Lava does not.
    pub(crate) fn tells_keys_about_themselves(&self, yes: bool) {
        self.books.lock().unwrap().tells_keys_about_themselves = yes;
    }

    /// How long the exchange of a code takes.
    pub(crate) fn exchange_takes(&self, time: Duration) {
        self.books.lock().unwrap().exchange_takes = time;
    }

    /// Whether a code has been brought, even if the answer to that is still to come.
    pub(crate) fn is_used(&self, code: &str) -> bool {
        !self.books.lock().unwrap().codes.iter().any(|known| known == code)
    }

    /// What is asked about a spend key with this method fails from now on.
    pub(crate) fn breaks(&self, method: Option<Method>) {
        self.books.lock().unwrap().broken = method;
    }

    fn is_broken(&self, method: &Method) -> bool {
        self.books.lock().unwrap().broken.as_ref() == Some(method)
    }

    pub(crate) fn forwards_spend_keys(&self, yes: bool) {
        self.books.lock().unwrap().forwards_spend_keys = yes;
    }

    /// The credentials with which `/v1/forward` was called.
    pub(crate) fn forwarded_with(&self) -> Vec<String> {
        self.books.lock().unwrap().forwarded_with.clone()
    }

    /// The secret key of the caller: keys belong to the secret that made them, which stands for an account here.
    fn owner(&self, headers: &HeaderMap) -> Option<String> {
        let told = headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?.to_owned();
        self.books.lock().unwrap().secrets.contains(&told).then_some(told)
    }

    /// A session at this gateway, as the program makes one.
    pub(crate) fn session(&self, folder: &Path, change: impl FnOnce(&mut Parts)) -> Arc<Session> {
        let url: url::Url = self.address.parse().unwrap();
        let api = url.clone();
        let mut web = WebLogin::new(url.clone(), Browser::none());
        web.patience = Duration::from_secs(1);
        let mut parts = Parts {
            connect: Arc::new(move || {
                let api = api.clone();
                Box::pin(async move { Ok(Link { client: Client::new(Transport::http(api)?), owner: None }) })
            }),
            vault: Vault::File(folder.to_owned()),
            scope: self.address.clone(),
            ceiling: Ceiling {
                limit: SpendLimit::parse_short("5.00/daily").unwrap(),
                set_by: SetBy::Default,
                allowed_models: None,
                allowed_providers: None,
            },
            spend_key: None,
            secret_key: None,
            info: GatewayInfo { mode: "remote", url: Some(url.to_string()), sandbox: false },
            lock_file: folder.join("login.lock"),
            web: Some(web),
            ask: true,
            forward_with_secret_key: false,
        };
        change(&mut parts);
        Arc::new(Session::new(parts))
    }
}

/// A browser whose owner clicks Authorize at once, on every page. Returns the last page.
pub(crate) async fn browse(url: &str) -> reqwest::Response {
    try_browse(url).await.unwrap()
}

/// The same, where the page may be gone.
pub(crate) async fn try_browse(url: &str) -> reqwest::Result<reqwest::Response> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await
}

/// Waits until nobody listens at a port any more.
pub(crate) async fn closes(port: &str) {
    let began = std::time::Instant::now();
    while tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "port {port} is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn connect(State(lava): State<FakeLava>, Query(query): Query<HashMap<String, String>>) -> Redirect {
    let (port, state) = (&query["port"], &query["state"]);
    Redirect::to(&format!("http://127.0.0.1:{port}/callback?code={}&state={state}", lava.code()))
}

async fn exchange(State(lava): State<FakeLava>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert!(!headers.contains_key("authorization"), "a code is exchanged without a key");
    let known = {
        let mut books = lava.books.lock().unwrap();
        let before = books.codes.len();
        books.codes.retain(|code| body["code"] != *code);
        before > books.codes.len()
    };
    if !known {
        return refuse(StatusCode::BAD_REQUEST, "invalid_code");
    }
    let takes = lava.books.lock().unwrap().exchange_takes;
    tokio::time::sleep(takes).await;
    let secret = lava.secret();
    Json(json!({"wallet_id": "w", "secret_key_id": "sk-id-7", "secret_key": secret, "merchant_id": "m", "account_id": "a"})).into_response()
}

fn shown(mut key: Value) -> Value {
    for name in ["key", "owner"] {
        key.as_object_mut().unwrap().remove(name);
    }
    key
}

async fn create(State(lava): State<FakeLava>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let Some(owner) = lava.owner(&headers) else { return refuse(StatusCode::UNAUTHORIZED, "unauthorized") };
    let mut books = lava.books.lock().unwrap();
    let number = books.keys.len();
    let mut key = json!({
        "spend_key_id": format!("id-{number}"), "key_preview": "lava_sk_fake0000****", "wallet_id": "w", "status": "active", "request_shape": "openai",
        "rate_limit": null, "request_limit": null, "current_spend": "0.25", "total_spend": "0.25", "current_requests": 1, "total_requests": 1,
        "last_used_at": null, "created_at": "2026-11-24T00:00:00Z", "key": format!("lava_sk_of_the_fake_{number}"), "owner": owner,
    });
    for (name, value) in body.as_object().unwrap() {
        key[name] = value.clone();
    }
    books.keys.push(key.clone());
    key.as_object_mut().unwrap().remove("owner");
    (StatusCode::CREATED, Json(key)).into_response()
}

async fn list(State(lava): State<FakeLava>, headers: HeaderMap) -> Response {
    let Some(owner) = lava.owner(&headers) else { return refuse(StatusCode::UNAUTHORIZED, "unauthorized") };
    let keys: Vec<Value> = lava.keys().into_iter().filter(|key| key["owner"] == *owner).map(shown).collect();
    Json(json!({"data": keys, "has_more": false})).into_response()
}

/// Finds the caller's key by its id, and does something with it.
fn with_key(lava: &FakeLava, headers: &HeaderMap, id: &str, change: impl FnOnce(&mut Value) -> Value) -> Response {
    let Some(owner) = lava.owner(headers) else { return refuse(StatusCode::UNAUTHORIZED, "unauthorized") };
    let mut books = lava.books.lock().unwrap();
    let mut own = books.keys.iter_mut().filter(|key| key["owner"] == *owner && key["status"] == "active");
    match own.find(|key| key["spend_key_id"] == *id) {
        Some(key) => Json(change(key)).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "not_found"),
    }
}

async fn retrieve(State(lava): State<FakeLava>, headers: HeaderMap, Segment(id): Segment<String>) -> Response {
    if id == "self" && lava.books.lock().unwrap().tells_keys_about_themselves {
        let told = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
        let own = lava.keys().into_iter().find(|key| key["key"] == told && key["status"] == "active");
        let answer = own.map_or_else(|| refuse(StatusCode::UNAUTHORIZED, "invalid_api_key"), |key| Json(shown(key)).into_response());
        return ([("x-lava-mcp-gateway", "1")], answer).into_response();
    }
    if lava.is_broken(&Method::GET) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "broken");
    }
    with_key(&lava, &headers, &id, |key| shown(key.clone()))
}

async fn update(State(lava): State<FakeLava>, headers: HeaderMap, Segment(id): Segment<String>, Json(body): Json<Value>) -> Response {
    with_key(&lava, &headers, &id, |key| {
        for (name, value) in body.as_object().unwrap() {
            key[name] = value.clone();
        }
        shown(key.clone())
    })
}

async fn revoke(State(lava): State<FakeLava>, headers: HeaderMap, Segment(id): Segment<String>) -> Response {
    if lava.is_broken(&Method::DELETE) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "broken");
    }
    with_key(&lava, &headers, &id, |key| {
        key["status"] = "revoked".into();
        json!({"success": true})
    })
}

async fn rotate(State(lava): State<FakeLava>, headers: HeaderMap, Segment(id): Segment<String>) -> Response {
    with_key(&lava, &headers, &id, |key| {
        key["key"] = format!("{}_new", key["key"].as_str().unwrap()).into();
        let mut told = key.clone();
        told.as_object_mut().unwrap().remove("owner");
        told
    })
}

async fn forward(State(lava): State<FakeLava>, headers: HeaderMap) -> Response {
    let told = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    let mut books = lava.books.lock().unwrap();
    books.forwarded_with.push(told.clone());
    if told.starts_with("lava_sk_") && !books.forwards_spend_keys {
        return refuse(StatusCode::FORBIDDEN, "spend_key_not_supported");
    }
    Json(json!({"ok": true})).into_response()
}
