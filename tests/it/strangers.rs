//! Keys that are tried from another machine.

use std::net::{SocketAddr, UdpSocket};

use axum::body::Body;
use http::{Method, Request};
use lava_mcp::{
    domain::{PlainKey, key::KeyKind},
    gateway::server::{self, Peer},
};
use serde_json::Value;

use crate::{
    cli::program,
    harness::{Harness, request, send},
    server::{Gateway, http},
};

/// A key as the gateway makes them, of nobody.
fn unknown() -> String {
    PlainKey::generate(KeyKind::Spend).unwrap().expose().to_owned()
}

fn asked_by(peer: &str, key: &str) -> Request<Body> {
    let mut asked = request(Method::GET, "/v1/spend_keys/self", Some(key), Value::Null);
    asked.headers_mut().insert("host", "gateway.example".parse().unwrap());
    let peer: SocketAddr = peer.parse().unwrap();
    if let Some(peer) = Peer::of(peer) {
        asked.extensions_mut().insert(peer);
    }
    asked
}

#[tokio::test]
async fn a_peer_that_tries_keys_is_not_looked_up_for_a_minute() {
    let harness = Harness::start().await;
    let router = server::router(harness.gateway.clone(), "0.0.0.0:4040".parse().unwrap());
    let (known, _) = harness.key_with_limit("1.00").await;
    let stranger = "198.51.100.7:50000";
    // Mistyped keys cost no look-up and are not counted.
    for _ in 0..20 {
        assert_eq!(send(&router, asked_by(stranger, "lava_sk_mistyped")).await.status.as_u16(), 401);
    }
    for n in 0..10 {
        let mut tried = asked_by(stranger, &unknown());
        // What a peer says about itself does not make it another one.
        tried.headers_mut().insert("x-forwarded-for", format!("203.0.113.{n}").parse().unwrap());
        assert_eq!(send(&router, tried).await.code(), "invalid_api_key");
    }
    for key in [unknown(), known.clone()] {
        let mut tried = asked_by("198.51.100.7:50001", &key);
        tried.headers_mut().insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
        let answer = send(&router, tried).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "too_many_unknown_keys"));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((50..=60).contains(&wait), "{wait}");
    }
    // A request without a key is not about keys; another peer and this machine go on.
    let mut open = asked_by(stranger, "x");
    open.headers_mut().remove("authorization");
    *open.uri_mut() = "/healthz".parse().unwrap();
    assert_eq!(send(&router, open).await.status.as_u16(), 200);
    assert_eq!(send(&router, asked_by("198.51.100.8:50000", &known)).await.status.as_u16(), 200);
    for _ in 0..30 {
        assert_eq!(send(&router, asked_by("127.0.0.1:50000", &unknown())).await.status.as_u16(), 401);
    }
    assert_eq!(send(&router, asked_by("127.0.0.1:50000", &known)).await.status.as_u16(), 200);
    harness.finish().await;
}

/// The address under which other machines would see this one; asking for it sends nothing.
pub(crate) fn own_address() -> Option<SocketAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.77:9").ok()?;
    socket.local_addr().ok().filter(|address| Peer::of(*address).is_some())
}

#[tokio::test]
async fn the_peer_is_the_other_end_of_the_socket() {
    let Some(own) = own_address() else { return };
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::listen(home.path(), program(home.path()), &["--listen", "0.0.0.0:0", "--allow-remote"]);
    let port = gateway.address.trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
    let client = http();
    for (host, last) in [(own.ip().to_string(), 429), ("127.0.0.1".to_owned(), 401)] {
        let mut statuses = Vec::new();
        for _ in 0..11 {
            let tried = client.get(format!("http://{host}:{port}/v1/spend_keys/self")).bearer_auth(unknown());
            statuses.push(tried.header("x-forwarded-for", "203.0.113.1").send().await.unwrap().status().as_u16());
        }
        assert_eq!(statuses.pop(), Some(last), "{host}");
        assert_eq!(statuses, [401; 10], "{host}");
    }
}
