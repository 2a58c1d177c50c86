//! Who must show a key before they let a program in: whoever comes from another machine, through a proxy, or as another user; and what trying keys or codes leads to.

use std::net::SocketAddr;

use axum::{Router, body::Body};
use http::{Method, Request};
use lava_mcp::{
    domain::{PlainKey, key::KeyKind},
    gateway::server::{self, Peer},
};
use serde_json::{Value, json};

use super::{CALLBACK, Fields, Page, READ, encoded, query, start, with};
use crate::harness::{Answer, Harness, request, send};

/// A page or an answer as somebody on another machine asks for it.
async fn from_afar(router: &Router, method: Method, path: &str, body: String) -> Answer {
    let request = Request::builder().method(method).uri(path).header("host", "gateway.example").header("origin", "http://gateway.example");
    let mut request = request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(body)).unwrap();
    let peer: SocketAddr = "198.51.100.7:50000".parse().unwrap();
    request.extensions_mut().insert(Peer::of(peer).unwrap());
    send(router, request).await
}

fn fields_of(answer: &Answer) -> Fields {
    Page { status: 200, headers: answer.headers.clone(), text: answer.text() }.fields()
}

#[tokio::test]
async fn a_gateway_that_others_reach_asks_for_a_key_of_its_own() {
    let harness = Harness::start().await;
    let router = server::router(harness.gateway.clone(), "0.0.0.0:4040".parse().unwrap());
    let page = from_afar(&router, Method::GET, &format!("/auth/connect?{}", query()), String::new()).await;
    assert!(
        page.status == 200 && page.text().contains("type=\"password\"") && page.text().contains("autocomplete=\"off\""),
        "{}",
        page.text()
    );
    harness.clock.set(READ);
    let fields = with(&fields_of(&page), "answer", "authorize");
    let (spend_key, _) = harness.key_with_limit("1.00").await;
    let deleted = harness.gateway.create_secret_key("deleted", false).await.unwrap();
    let id = harness.gateway.secret_keys().unwrap().into_iter().find(|key| key.name == "deleted").unwrap().id;
    harness.gateway.delete_secret_key(&id).await.unwrap();
    let press = |fields: Fields| from_afar(&router, Method::POST, "/auth/connect", encoded(&fields));
    for key in ["", "aks_live_mistyped", spend_key.as_str(), deleted.expose()] {
        let refused = press(with(&fields, "secret_key", key)).await;
        assert_eq!((refused.status.as_u16(), refused.header("location")), (403, None), "{key}");
        assert!(refused.text().contains("not a secret key of this gateway") && refused.text().contains("<form"), "{}", refused.text());
        assert!(key.is_empty() || !refused.text().contains(key), "a key is not shown again");
    }
    // Without one a person can still say no.
    let other = from_afar(&router, Method::GET, &format!("/auth/connect?{}", query()), String::new()).await;
    harness.clock.set("2026-11-24T12:00:05Z");
    assert_eq!(press(with(&fields_of(&other), "answer", "deny")).await.status.as_u16(), 303);

    let let_in = press(with(&fields, "secret_key", harness.secret.expose())).await;
    let code = let_in.header("location").unwrap().strip_prefix(CALLBACK).unwrap().strip_prefix("code=").unwrap();
    let code = code.split_once('&').unwrap().0.to_owned();
    let exchange = |code: String| from_afar(&router, Method::POST, "/v1/auth/callback", json!({ "code": code }).to_string());
    let credentials = exchange(code.clone()).await.json();
    assert!(credentials["secret_key"].as_str().unwrap().starts_with("aks_live_"), "{credentials}");
    harness.finish().await;
}

/// Who may only manage the sandbox lets nobody in for more, and who was shut out in the meantime lets nobody in.
#[tokio::test]
async fn nobody_lets_in_for_more_than_they_may() {
    let harness = Harness::start().await;
    let router = server::router(harness.gateway.clone(), "0.0.0.0:4040".parse().unwrap());
    let codes = async |name: &str, test: bool| {
        harness.clock.set("2026-11-24T12:00:00Z");
        let key = harness.gateway.create_secret_key(name, test).await.unwrap();
        let page = from_afar(&router, Method::GET, &format!("/auth/connect?{}", query()), String::new()).await;
        harness.clock.set(READ);
        let fields = with(&with(&fields_of(&page), "answer", "authorize"), "secret_key", key.expose());
        let answer = from_afar(&router, Method::POST, "/auth/connect", encoded(&fields)).await;
        let location = answer.header("location").unwrap();
        location.split_once("code=").unwrap().1.split_once('&').unwrap().0.to_owned()
    };
    let exchange = |code: String| from_afar(&router, Method::POST, "/v1/auth/callback", json!({ "code": code }).to_string());
    let for_the_sandbox = exchange(codes("sandbox", true).await).await.json();
    assert!(for_the_sandbox["secret_key"].as_str().unwrap().starts_with("aks_test_"), "{for_the_sandbox}");
    let code = codes("leaves", false).await;
    let id = harness.gateway.secret_keys().unwrap().into_iter().find(|key| key.name == "leaves").unwrap().id;
    harness.gateway.delete_secret_key(&id).await.unwrap();
    let refused = exchange(code).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, "login_code_invalid"));
    harness.finish().await;
}

#[tokio::test]
async fn who_tries_keys_or_codes_from_afar_is_stopped() {
    let harness = Harness::start().await;
    let pages = server::router(harness.gateway.clone(), "0.0.0.0:4040".parse().unwrap());
    let page = from_afar(&pages, Method::GET, &format!("/auth/connect?{}", query()), String::new()).await;
    harness.clock.set(READ);
    let fields = with(&fields_of(&page), "answer", "authorize");
    let mut answers = Vec::new();
    for _ in 0..10 {
        let key = PlainKey::generate(KeyKind::SecretLive).unwrap();
        answers.push(
            from_afar(&pages, Method::POST, "/auth/connect", encoded(&with(&fields, "secret_key", key.expose()))).await.status.as_u16(),
        );
    }
    assert_eq!(answers, [403; 10]);
    let stopped = from_afar(&pages, Method::POST, "/auth/connect", encoded(&with(&fields, "secret_key", harness.secret.expose()))).await;
    assert_eq!(stopped.status.as_u16(), 429);
    assert!(stopped.text().starts_with("<!doctype html>") && stopped.header("retry-after").is_some(), "{}", stopped.text());

    let codes = server::router(harness.gateway.clone(), "0.0.0.0:4040".parse().unwrap());
    for status in [[400; 10].as_slice(), &[429]].concat() {
        let answer = from_afar(&codes, Method::POST, "/v1/auth/callback", json!({"code": "guessed"}).to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert!(["login_code_invalid", "too_many_unknown_keys"].contains(&answer.code().as_str()));
    }
    harness.finish().await;
}

#[tokio::test]
async fn logins_are_counted_by_route() {
    let harness = Harness::start().await;
    let router = server::router(harness.gateway.clone(), "127.0.0.1:4040".parse().unwrap());
    let local = |method: Method, path: &str| {
        let mut asked = request(method, path, None, Value::Null);
        asked.headers_mut().insert("host", "localhost".parse().unwrap());
        asked
    };
    let page = send(&router, local(Method::GET, &format!("/auth/connect?{}", query()))).await;
    assert!(page.text().contains("type=\"password\""), "without a socket nobody knows who it is");
    send(&router, local(Method::GET, "/auth/connect")).await;
    send(&router, local(Method::POST, "/v1/auth/callback")).await;
    let counted = send(&router, local(Method::GET, "/metrics")).await.text();
    for line in [
        "{http_route=\"/auth/connect\",status=\"2xx\",code=\"ok\"} 1",
        "{http_route=\"/auth/connect\",status=\"4xx\",code=\"invalid_request\"} 1",
        "{http_route=\"/v1/auth/callback\",status=\"4xx\",code=\"invalid_request\"} 1",
    ] {
        assert!(counted.contains(line), "{line}: {counted}");
    }
    harness.finish().await;
}

/// Whoever comes through a proxy on this machine looks like a program of this machine.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_a_person_shows_a_key() {
    let (harness, served, mut browser) = start().await;
    let fields = browser.open(&query()).await.fields();
    harness.clock.set(READ);
    for (name, value) in
        [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7"), ("via", "1.1 proxy"), ("x-real-ip", "198.51.100.7")]
    {
        browser.headers = vec![(name, value.to_owned())];
        assert!(browser.open(&query()).await.text.contains("type=\"password\""), "{name}");
        let refused = browser.press(&fields, "authorize").await;
        assert_eq!((refused.status, refused.header("location")), (403, ""), "{name}");
    }
    browser.press(&with(&fields, "secret_key", harness.secret.expose()), "authorize").await.code();
    served.stop().await;
}

/// Another user of this machine reaches the same port.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn another_user_of_this_machine_shows_a_key() {
    use std::os::unix::process::CommandExt;
    // Only root can be somebody else.
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) != 0 {
        return;
    }
    let (_harness, served, _) = start().await;
    let port = served.address.port();
    let ask = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /auth/connect?{} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3",
        query()
    );
    for (user, is_asked) in [(0, false), (65_534, true)] {
        let ask = ask.clone();
        let page = tokio::task::spawn_blocking(move || std::process::Command::new("bash").args(["-c", &ask]).uid(user).output().unwrap());
        let page = String::from_utf8(page.await.unwrap().stdout).unwrap();
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert_eq!(page.contains("type=\"password\""), is_asked, "user {user}: {page}");
    }
    served.stop().await;
}
