//! Nothing of a body is read before it is known whose it is, and the bodies of one key take no more than their part.

use std::time::{Duration, Instant};

use lava_mcp::domain::{PlainKey, key::KeyKind};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    cli::program,
    server::{Gateway, http, json_of},
};

const MIB: usize = 1 << 20;

fn start(home: &std::path::Path) -> (Gateway, String) {
    let mut command = program(home);
    command.arg("--sandbox");
    let gateway = Gateway::start(home, command);
    let address = gateway.address.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    (gateway, address)
}

async fn key(gateway: &Gateway, name: &str) -> String {
    let body = json!({"name": name, "spend_limit": {"amount": "5.00", "cycle": "daily"}}).to_string();
    let created = http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
    json_of(created).await["key"].as_str().unwrap().to_owned()
}

/// The head of a request with a body of that length.
fn head(route: &str, key: &str, bytes: usize, more: &str) -> String {
    let key = if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
    format!("{route} HTTP/1.1\r\nHost: localhost\r\n{key}{more}Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n")
}

/// What comes until the connection ends, or nothing comes for a while.
async fn read(socket: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_secs(2), socket.read_buf(&mut answer)).await {
        if read == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_has_no_key_is_answered_before_the_body_is_read() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, address) = start(home.path());
    let unknown = PlainKey::generate(KeyKind::Spend).unwrap();
    for route in [
        "POST /v1/chat/completions",
        "POST /v1/messages",
        "POST /v1/messages/count_tokens",
        "POST /v1/forward?u=https://api.openai.com/v1/embeddings",
        "POST /v1/spend_keys",
        "PUT /v1/spend_keys/x",
        "POST /v1/spend_keys/x/rotate",
        "PUT /v1/lava_mcp/account",
        "POST /v1/lava_mcp/holds/x/write_off",
    ] {
        for (key, more) in
            [("", ""), (unknown.expose(), ""), ("", "Expect: 100-continue\r\n"), (unknown.expose(), "Expect: 100-continue\r\n")]
        {
            let mut socket = TcpStream::connect(&address).await.unwrap();
            let began = Instant::now();
            socket.write_all(head(route, key, 20 * MIB, more).as_bytes()).await.unwrap();
            let answer = read(&mut socket).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{route} {more}: {answer}");
            assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
            assert!(began.elapsed() < Duration::from_secs(10), "{route}: {:?}", began.elapsed());
        }
    }
    // Whoever has a key is told to go on.
    let good = key(&gateway, "good").await;
    let mut socket = TcpStream::connect(&address).await.unwrap();
    let body = json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    socket.write_all(head("POST /v1/chat/completions", &good, body.len(), "Expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let mut told = [0; 25];
    socket.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(body.as_bytes()).await.unwrap();
    assert!(read(&mut socket).await.starts_with("HTTP/1.1 200 "));
}

/// The system resets a connection that is closed with bytes on their way, and the client would see that instead of the reason.
#[tokio::test]
async fn who_sends_the_whole_body_anyway_still_reads_why_it_was_refused() {
    let home = tempfile::tempdir().unwrap();
    let (_gateway, address) = start(home.path());
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.write_all(head("POST /v1/chat/completions", "", 20 * MIB, "").as_bytes()).await.unwrap();
    for _ in 0..20 {
        socket.write_all(&vec![b'x'; MIB]).await.unwrap();
    }
    assert!(read(&mut socket).await.starts_with("HTTP/1.1 401 "));
}

#[cfg(target_os = "linux")]
fn resident_mib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >> 10
}

/// Opens connections that each send 31 of 32 MiB, as far as they are let.
async fn fill(address: &str, key: &str, count: usize) -> Vec<TcpStream> {
    let one = async || {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(head("POST /v1/chat/completions", key, 32 * MIB, "").as_bytes()).await.unwrap();
        let piece = vec![b'x'; MIB];
        for _ in 0..31 {
            match tokio::time::timeout(Duration::from_secs(5), socket.write_all(&piece)).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
        socket
    };
    futures_util::future::join_all((0..count).map(|_| one())).await
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_strangers_take_no_memory() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, address) = start(home.path());
    http().get(format!("{}/models", gateway.address)).send().await.unwrap();
    let before = resident_mib(gateway.child.id());
    let _sockets = fill(&address, "", 24).await;
    let grown = resident_mib(gateway.child.id()).saturating_sub(before);
    assert!(grown < 60, "{grown} MiB for 24 connections");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_fills_its_own_part_and_others_are_served() {
    let home = tempfile::tempdir().unwrap();
    let (gateway, address) = start(home.path());
    let (greedy, other) = (key(&gateway, "greedy").await, key(&gateway, "other").await);
    let mut sockets = fill(&address, &greedy, 6).await;
    let mut refused = 0;
    for socket in &mut sockets {
        let mut answer = vec![0; 2_000];
        if let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(500), socket.read(&mut answer)).await {
            let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
            assert!(
                answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: ") && !answer.contains("x-should-retry"),
                "{answer}"
            );
            assert!(answer.contains("too_many_bytes_in_flight"), "{answer}");
            refused += 1;
        }
    }
    // Those that come together may fill the room before any of them is whole.
    assert!((2..=4).contains(&refused), "four bodies of 31 MiB fit into 128: {refused} were refused");
    let body = json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let answer = http().post(format!("{}/chat/completions", gateway.address)).bearer_auth(other).body(body.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    // Their room is given back when they go.
    drop(sockets);
    let again =
        async || http().post(format!("{}/chat/completions", gateway.address)).bearer_auth(&greedy).body(body.clone()).send().await.unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while again().await.status() != 200 {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
