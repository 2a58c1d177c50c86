//! Sessions and connections belong to who pays: nobody ends those of somebody else.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Client, Serving, last_message, who_pays::key};
use crate::{cli::program, server::json_of};

async fn begin(client: &Client, key: &str) -> String {
    let about = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw test", "version": "1"}});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about});
    let answer = client.post(&message).bearer_auth(key).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

async fn ping(client: &Client, key: &str, session: &str) -> StatusCode {
    let message = json!({"jsonrpc": "2.0", "id": 8, "method": "ping"});
    client.in_session(session, &message).bearer_auth(key).send().await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_begins_hundreds_of_sessions_ends_only_their_own() {
    let home = tempfile::tempdir().unwrap();
    let (ann, bob) = (key(home.path(), &["ann", "--unlimited"]), key(home.path(), &["bob", "--unlimited"]));
    let mut command = program(home.path());
    command.arg("--sandbox");
    let serving = Serving::start(command, &["--listen", "127.0.0.1:0"]);
    let hers = begin(&serving, &ann).await;
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    serving.in_session(&hers, &initialized).bearer_auth(&ann).send().await.unwrap();
    let his = begin(&serving, &bob).await;
    for _ in 0..505 {
        begin(&serving, &bob).await;
    }
    assert_eq!(ping(&serving, &bob, &his).await, StatusCode::NOT_FOUND);
    assert_eq!(ping(&serving, &ann, &hers).await, StatusCode::OK);
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "gpt"}}});
    let answer = serving.in_session(&hers, &call).bearer_auth(&ann).send().await.unwrap();
    let answered: Value = last_message(answer).await;
    assert_eq!(answered["result"]["isError"], false, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_has_so_many_connections_of_the_oldest_kind() {
    let home = tempfile::tempdir().unwrap();
    let (ann, bob) = (key(home.path(), &["ann", "--unlimited"]), key(home.path(), &["bob", "--unlimited"]));
    let mut command = program(home.path());
    command.arg("--sandbox");
    let serving = Serving::start(command, &["--listen", "127.0.0.1:0"]);
    let connect = async |key: &str| serving.http.get(format!("{}/sse", serving.root)).bearer_auth(key).send().await.unwrap();
    let mut open = Vec::new();
    for _ in 0..100 {
        let stream = connect(&bob).await;
        assert_eq!(stream.status(), StatusCode::OK);
        open.push(stream);
    }
    let refused = connect(&bob).await;
    assert_eq!((refused.status(), refused.headers().contains_key("retry-after")), (StatusCode::TOO_MANY_REQUESTS, true));
    assert!(json_of(refused).await["error"]["message"].as_str().unwrap().contains("connections"));
    assert_eq!(connect(&ann).await.status(), StatusCode::OK);
    drop(open.pop());
    for _ in 0..50 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if connect(&bob).await.status() == StatusCode::OK {
            return;
        }
    }
    panic!("a connection that has ended makes room");
}
