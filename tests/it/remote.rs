//! A remote gateway that has what is known of hosted Lava's API, and nothing of ours. Hosted Lava itself was not reachable: this is built from its documentation.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::{cli::program, mcp_stdio::Server};

const SECRET: &str = "aks_live_of_hosted_lava";

#[derive(Clone, Default)]
struct Lava {
    keys: Arc<Mutex<Vec<Value>>>,
}

fn refuse(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": "no"}}))).into_response()
}

fn is_owner(headers: &HeaderMap) -> bool {
    headers["authorization"] == format!("Bearer {SECRET}")
}

impl Lava {
    fn find(&self, id: &str) -> Option<Value> {
        self.keys.lock().unwrap().iter().find(|key| key["spend_key_id"] == id).cloned().map(|mut key| {
            key.as_object_mut().unwrap().remove("key");
            key
        })
    }
}

async fn create(State(lava): State<Lava>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !is_owner(&headers) {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    let number = lava.keys.lock().unwrap().len();
    let mut key = json!({
        "spend_key_id": format!("id-{number}"), "key_preview": "lava_sk_hosted00****", "wallet_id": "w", "status": "active", "request_shape": "openai",
        "rate_limit": null, "request_limit": null, "current_spend": "0.2500000000", "total_spend": "0.2500000000", "current_requests": 1,
        "total_requests": 1, "last_used_at": null, "created_at": "2026-11-24T00:00:00Z", "key": format!("lava_sk_hosted-{number}"),
    });
    for (name, value) in body.as_object().unwrap() {
        key[name] = value.clone();
    }
    lava.keys.lock().unwrap().push(key.clone());
    (StatusCode::CREATED, Json(key)).into_response()
}

async fn retrieve(State(lava): State<Lava>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if !is_owner(&headers) {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    lava.find(&id).map_or_else(|| refuse(StatusCode::NOT_FOUND, "not_found"), |key| Json(key).into_response())
}

async fn revoke(State(lava): State<Lava>, Path(id): Path<String>) -> Json<Value> {
    lava.keys.lock().unwrap().retain(|key| key["spend_key_id"] != id);
    Json(json!({"success": true}))
}

async fn chat(headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !headers["authorization"].to_str().unwrap().starts_with("Bearer lava_sk_hosted-") {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized");
    }
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    if body["stream"] == true {
        let events = [json!({"choices": [{"index": 0, "delta": {"content": "Hello from Lava"}}]}), json!({"choices": [], "usage": usage})];
        let text: String = events.iter().map(|event| format!("data: {event}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect();
        return ([("content-type", "text/event-stream")], text).into_response();
    }
    let message = json!({"role": "assistant", "content": "Hello from Lava"});
    Json(json!({"model": body["model"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}))
        .into_response()
}

async fn providers(Query(query): Query<std::collections::HashMap<String, String>>) -> Json<Value> {
    assert_eq!(query["query"], "web search");
    Json(
        json!({"data": [{"id": "tavily", "label": "Tavily", "api_reference": "https://docs.tavily.com", "managed": true, "entry_count": 1}]}),
    )
}

async fn services(Query(query): Query<std::collections::HashMap<String, String>>) -> Json<Value> {
    assert_eq!(query["provider"], "tavily");
    Json(json!({"data": [{
        "id": "tavily-search", "object": "service", "provider": "tavily", "provider_label": "Tavily", "api_reference": "https://docs.tavily.com",
        "method": "POST", "url_template": "https://api.tavily.com/search", "example_body": {"query": "rust"}, "service_type": "search", "managed": true,
        "pricing": {"type": "per_request", "cost_per_request": "0.008"}, "capabilities": ["search"],
    }]}))
}

/// Starts the server; returns its address.
pub(crate) async fn start() -> String {
    let router = Router::new()
        .route("/v1/spend_keys", post(create))
        .route("/v1/spend_keys/{id}", get(retrieve).delete(revoke))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/services/providers", get(providers))
        .route("/v1/services", get(services))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "route_not_found") })
        .with_state(Lava::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(socket), service));
        }
    });
    address
}

pub(crate) fn client(home: &std::path::Path, address: &str) -> Command {
    let mut command = program(home);
    command.env("LAVA_API_URL", address).env("LAVA_SECRET_KEY", SECRET);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_at_hosted_lava() {
    let address = start().await;
    let home = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut server = Server::start(client(home.path(), &address), true);
        let login = server.call("login", json!({}))["structuredContent"].clone();
        // The second process finds the key of the first one.
        assert_eq!((&login["spend_key"]["spend_key_id"], &login["gateway"]["mode"]), (&json!("id-0"), &json!("remote")), "{login}");
        assert_eq!(login["remaining"], "4.75", "what is left is limit minus spent");
        let prompt = server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi"}))["structuredContent"].clone();
        assert_eq!(
            (&prompt["content"], &prompt["cost"]),
            (&json!("Hello from Lava"), &Value::Null),
            "a cost that is not told is not made up"
        );
        let found = server.call("search", json!({"query": "web search"}))["structuredContent"].clone();
        let hit = &found["results"][0];
        assert_eq!(
            (&hit["id"], &hit["url"], &hit["credentials"]),
            (&json!("tavily-search"), &json!("https://api.tavily.com/search"), &json!("ready"))
        );
        let refused = server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_cost": "0.01"}));
        assert_eq!(refused["structuredContent"]["error"]["code"], "max_cost_not_supported", "a limit that is not obeyed is not promised");
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_gateway_without_a_key_says_where_to_log_in() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    let address = start().await;
    command.env("LAVA_API_URL", &address);
    let mut server = Server::start(command, true);
    let prompt = server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi"}));
    assert_eq!(prompt["structuredContent"]["error"]["code"], "not_logged_in");
    let login = server.call("login", json!({}));
    let url = login["structuredContent"]["login_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{address}/auth/connect?state=")) && url.contains("client=raw"), "{url}");
    assert!(login["content"][0]["text"].as_str().unwrap().contains(url), "{login}");
    server.close();
}
