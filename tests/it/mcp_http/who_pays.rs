//! Which names and pages are let in, and whose key pays.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Serving, Sse};
use crate::{cli::program, server::json_of};

/// Makes a spend key at the command line.
pub(super) fn key(home: &std::path::Path, arguments: &[&str]) -> String {
    let made = program(home).args(["--sandbox", "keys", "create"]).args(arguments).arg("--quiet").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn sandbox(home: &std::path::Path, arguments: &[&str]) -> Serving {
    let mut command = program(home);
    command.arg("--sandbox");
    Serving::start(command, arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_names_and_pages_are_kept_out_of_every_route() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let session = Sse::connect(&serving).await;
    let routes = [
        ("POST", format!("{}/mcp", serving.root)),
        ("GET", format!("{}/mcp", serving.root)),
        ("DELETE", format!("{}/mcp", serving.root)),
        ("OPTIONS", format!("{}/mcp", serving.root)),
        ("GET", format!("{}/sse", serving.root)),
        ("POST", session.endpoint.clone()),
        ("GET", format!("{}/mcp/server-card", serving.root)),
        ("GET", format!("{}/healthz", serving.root)),
        ("GET", format!("{}/nowhere", serving.root)),
    ];
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "evil.example:8484"),
        ("host", "127.0.0.1.evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost.evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for (method, url) in &routes {
            let method = method.parse().unwrap();
            let answer = serving.http.request(method, url).header(name, value).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}: {value} {url}");
            assert!(json_of(answer).await["error"]["message"].as_str().unwrap().contains("--host"));
        }
    }
    // A page of this machine, such as the Inspector's, is no foreign one.
    let listed = serving.modern("tools/list", json!({})).header("origin", "http://localhost:6274").send().await.unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_with_the_request_pays_for_it() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let own = key(home.path(), &["mine", "--spend-limit", "0.50/daily"]);
    let call = async |tool: &str, arguments: Value| {
        let params = json!({"name": tool, "arguments": arguments});
        let answer = serving.modern("tools/call", params).bearer_auth(&own).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        json_of(answer).await["result"].clone()
    };
    // No login is needed, and none is made.
    let asked = json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 9, "idempotency_key": "same"});
    let answered = call("prompt", asked.clone()).await;
    assert_eq!(answered["isError"], false, "{answered}");
    let usage = call("usage", json!({})).await["structuredContent"]["spend_key"].clone();
    assert_eq!((&usage["name"], &usage["current_requests"]), (&json!("mine"), &json!(1)));
    let login = call("login", json!({})).await["structuredContent"].clone();
    assert_eq!((&login["status"], &login["stored_in"], &login["spend_key"]["name"]), (&json!("ready"), &json!("request"), &json!("mine")));
    let wider = call("login", json!({"spend_limit": {"amount": "0.10", "cycle": "daily"}})).await;
    assert!(wider.to_string().contains("the Authorization header"), "{wider}");
    assert!(!login.to_string().contains(&own));
    // Without it nobody has logged in yet.
    assert_eq!(serving.call("prompt", asked.clone()).await["structuredContent"]["error"]["code"], "not_logged_in");
    // What one payer has bought is not another one's, whatever name they give it.
    serving.call("login", json!({})).await;
    let theirs = serving.call("prompt", asked).await;
    assert_ne!(theirs["structuredContent"]["request_id"], answered["structuredContent"]["request_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_known_is_refused_in_the_way_of_the_web() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let revoked = key(home.path(), &["gone", "--unlimited"]);
    let listed = program(home.path()).args(["--sandbox", "--json", "keys", "list"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = listed["data"][0]["spend_key_id"].as_str().unwrap();
    assert!(program(home.path()).args(["--sandbox", "keys", "revoke", id]).output().unwrap().status.success());
    for (header, error) in [
        (format!("Bearer {revoked}"), Some("invalid_token")),
        ("Bearer lava_sk_typo".to_owned(), Some("invalid_token")),
        ("Bearer two words".to_owned(), Some("invalid_token")),
        ("Bearer ".to_owned(), Some("invalid_request")),
        ("Basic dXNlcjpwYXNz".to_owned(), Some("invalid_request")),
    ] {
        for request in [serving.modern("tools/list", json!({})), serving.http.get(format!("{}/sse", serving.root))] {
            let answer = request.header("authorization", &header).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{header}");
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.starts_with("Bearer ") && error.is_none_or(|error| challenge.contains(error)), "{challenge}");
            let body = json_of(answer).await;
            assert!(!body.to_string().contains(&revoked), "{body}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_this_machine_everybody_brings_a_key() {
    let home = tempfile::tempdir().unwrap();
    let own = key(home.path(), &["mine", "--unlimited"]);
    let remote = sandbox(home.path(), &["--listen", "0.0.0.0:0", "--allow-remote"]);
    let named = sandbox(home.path(), &["--listen", "127.0.0.1:0", "--host", "mcp.example.com"]);
    let list = |serving: &Serving| serving.modern("tools/list", json!({}));
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status();
    assert_eq!(status(list(&remote)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(remote.http.get(format!("{}/sse", remote.root))).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(list(&remote).bearer_auth(&own)).await, StatusCode::OK);
    assert_eq!(status(list(&remote).bearer_auth(&own).header("origin", "https://evil.example")).await, StatusCode::FORBIDDEN);
    // Whether the server is alive, and what it is, may be known.
    assert_eq!(status(remote.http.get(format!("{}/healthz", remote.root))).await, StatusCode::OK);
    // A proxy in front, which may hide that it is one: everybody needs a key. Without names a request that says that it was passed on does.
    assert_eq!(status(list(&named).header("host", "mcp.example.com")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(list(&named).header("host", "mcp.example.com").bearer_auth(&own)).await, StatusCode::OK);
    assert_eq!(status(list(&named).header("host", "other.example.com").bearer_auth(&own)).await, StatusCode::FORBIDDEN);
    assert_eq!(status(list(&named)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(list(&named).bearer_auth(&own)).await, StatusCode::OK);
    let card = named.http.get(format!("{}/mcp/server-card", named.root)).header("host", "mcp.example.com").send().await.unwrap();
    assert_eq!(json_of(card).await["remotes"][0]["url"], "https://mcp.example.com/mcp");
    let local = Serving::sandbox(home.path());
    assert_eq!(status(list(&local)).await, StatusCode::OK);
    assert_eq!(status(list(&local).header("x-forwarded-for", "198.51.100.7")).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_belongs_to_whoever_began_it() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let own = key(home.path(), &["mine", "--unlimited"]);
    let session = serving.initialize().await;
    let listed = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/list"});
    assert_eq!(serving.in_session(&session, &listed).bearer_auth(&own).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let ended = serving.http.delete(format!("{}/mcp", serving.root)).header("mcp-session-id", &session).bearer_auth(&own);
    assert_eq!(ended.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(serving.in_session(&session, &listed).send().await.unwrap().status(), StatusCode::OK);
    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}).to_string();
    let post = |url: &str| serving.http.post(url).header("content-type", "application/json").body(ping.clone());
    assert_eq!(post(&sse.endpoint).bearer_auth(&own).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    let root = &serving.root;
    assert_eq!(
        post(&format!("{root}/messages?sessionId=00000000000000000000000000000000")).send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(post(&format!("{root}/messages")).send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(post(&sse.endpoint).send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(sse.receive().await["id"], 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_sse_there_is_no_sse() {
    let home = tempfile::tempdir().unwrap();
    let serving = sandbox(home.path(), &["--listen", "127.0.0.1:0", "--no-sse"]);
    let answer = serving.http.get(format!("{}/sse", serving.root)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(json_of(answer).await["error"]["message"].as_str().unwrap().contains("/mcp"));
}
