//! What a client may send over a socket, byte by byte: odd heads, two meanings of one request, packed and slow bodies.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    cli::program,
    server::{Gateway, http, json_of},
};

fn start(home: &std::path::Path) -> (Gateway, String) {
    let mut command = program(home);
    command.arg("--sandbox");
    let gateway = Gateway::start(home, command);
    let address = gateway.address.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    (gateway, address)
}

/// Sends bytes and reads until the gateway closes, or says nothing for a while.
async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(700), socket.read_buf(&mut answer)).await {
        if read == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of each answer in it.
fn statuses(answer: &str) -> Vec<u16> {
    answer.match_indices("HTTP/1.1 ").map(|(at, _)| answer[at + 9..at + 12].parse().unwrap()).collect()
}

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (_gateway, address) = start(home.path());
    let long = "x".repeat(40_000);
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let table = [
        ("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 200),
        ("GET http://localhost/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 200),
        // The target and the Host header name two hosts; or nobody, or two in the header itself.
        ("GET http://localhost/v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(), 400),
        ("GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET http://user@localhost/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        ("GET /v1/models HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n".to_owned(), 400),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}}".to_owned(), 400),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2\r\n\r\n{}".to_owned(), 400),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2\r\n\r\n{}".to_owned(), 400),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), 400),
        ("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("POST /v1/messages HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), 400),
        ("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Folded: a\r\n b\r\n\r\n".to_owned(), 400),
        ("GET /v1/models HTTP/1.1\r\nHost : localhost\r\n\r\n".to_owned(), 400),
        ("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Nul: a\0b\r\n\r\n".to_owned(), 400),
        ("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Return: a\rb\r\n\r\n".to_owned(), 400),
        ("GET /v1/mo dels HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        (format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n"), 431),
        (format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(70_000)), 431),
    ];
    for (bytes, status) in table {
        let answer = exchange(&address, bytes.as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{:?}: {answer}", &bytes[..bytes.len().min(160)]);
    }
}

/// Where RFC 9112 lets a server choose, ours reads one request and closes; what follows in the same bytes is never read as another one.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_request() {
    let home = tempfile::tempdir().unwrap();
    let (_gateway, address) = start(home.path());
    let smuggled = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for lengths in ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"] {
        let bytes = format!("POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n{lengths}\r\n\r\n0\r\n\r\n{smuggled}");
        let answer = exchange(&address, bytes.as_bytes()).await;
        assert_eq!(statuses(&answer), [401], "{lengths}: {answer}");
    }
    // A bare line feed ends a line, for the head as for the request behind it; both are seen by the same rules.
    let answer =
        exchange(&address, b"GET /v1/models HTTP/1.1\nHost: evil.example\n\nGET /v1/models HTTP/1.1\nHost: evil.example\n\n").await;
    assert_eq!(statuses(&answer), [403, 403], "{answer}");
}

#[tokio::test]
async fn a_body_that_is_packed_in_an_unknown_way_or_not_as_it_says_is_refused_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, _) = start(home.path());
    for (path, coding, status, code) in [
        ("chat/completions", "compress", 415, "content_encoding_not_supported"),
        ("messages", "lzma", 415, "content_encoding_not_supported"),
        ("spend_keys", "br, x-unknown", 415, "content_encoding_not_supported"),
        ("forward?u=https://api.openai.com/v1/models", "gzip;q=1", 415, "content_encoding_not_supported"),
        ("chat/completions", "gzip", 400, "invalid_request"),
        ("messages", "zstd", 400, "invalid_request"),
        ("spend_keys", "br, deflate", 400, "invalid_request"),
        ("spend_keys", "Identity", 201, ""),
    ] {
        let body = json!({"name": "x", "spend_limit": {"amount": "1.00", "cycle": "daily"}}).to_string();
        let request = http().post(format!("{}/{path}", gateway.address)).bearer_auth(&gateway.secret).header("content-encoding", coding);
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {coding}");
        if status == 201 {
            continue;
        }
        assert_eq!(answer.headers()["x-should-retry"], "false");
        let accepted = answer.headers().get("accept-encoding").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(accepted.as_deref(), (status == 415).then_some("gzip, deflate, br, zstd"));
        let error = json_of(answer).await;
        assert_eq!(error["error"]["code"], code, "{error}");
        assert!(status == 400 || error["error"]["message"].as_str().unwrap().contains("Content-Encoding"), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_stops_is_given_up_for_good() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, address) = start(home.path());
    let began = Instant::now();
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\n",
        gateway.secret
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(b"{\"model\":").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(45), socket.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the connection is closed: {answer}");
    assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
    // The SDKs try a 408 again unless they are told not to.
    assert_eq!(statuses(&answer), [408], "{answer}");
    assert!(answer.contains("x-should-retry: false") && answer.contains("request_timeout"), "{answer}");
    assert_eq!(http().get(format!("{}/models", gateway.address)).send().await.unwrap().status(), StatusCode::OK);
}
