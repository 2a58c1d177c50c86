//! A hostile network: pages of strangers, addresses that are not what they look like, and clients that never finish their sentence.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    cli::program,
    harness::{Harness, request},
    server::{Gateway, http, json_of},
};

fn start(home: &std::path::Path) -> (Gateway, String) {
    let mut command = program(home);
    command.arg("--sandbox");
    let gateway = Gateway::start(home, command);
    let address = gateway.address.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    (gateway, address)
}

#[tokio::test]
async fn only_programs_of_this_machine_are_let_in() {
    const HOSTS: [(&str, bool); 16] = [
        ("localhost", true),
        ("localhost:4040", true),
        ("LocalHost:1", true),
        ("127.0.0.1", true),
        ("127.0.0.1:4040", true),
        ("[::1]:4040", true),
        ("", false),
        ("evil.example", false),
        ("localhost.", false),
        ("localhost.evil.example:4040", false),
        ("127.0.0.1.evil.example", false),
        ("evil.example@localhost", false),
        ("2130706433:4040", false),
        ("0x7f.1", false),
        ("0.0.0.0:4040", false),
        ("169.254.169.254", false),
    ];
    const PAGES: [(Option<&str>, Option<&str>, bool); 15] = [
        (None, None, true),
        (None, Some("none"), true),
        (None, Some("same-origin"), true),
        (Some("http://localhost:3000"), Some("cross-site"), true),
        (Some("http://127.0.0.1"), None, true),
        (None, Some("cross-site"), false),
        (None, Some("Cross-Site"), false),
        (None, Some("unheard-of"), false),
        (Some("null"), None, false),
        (Some("https://evil.example"), None, false),
        (Some("https://evil.example"), Some("same-origin"), false),
        (Some("http://localhost.evil.example"), Some("same-site"), false),
        (Some("chrome-extension://localhost"), Some("none"), false),
        (Some("file://"), None, false),
        (Some("http://localhost:3000/path"), None, false),
    ];
    let home = tempfile::tempdir().unwrap();
    let (_gateway, address) = start(home.path());
    let mut passed = 0;
    for (host, host_is_fine) in HOSTS {
        for (origin, site, page_is_fine) in PAGES {
            let origin = origin.map_or_else(String::new, |origin| format!("Origin: {origin}\r\n"));
            let site = site.map_or_else(String::new, |site| format!("Sec-Fetch-Site: {site}\r\n"));
            let head = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n{origin}{site}Connection: close\r\n\r\n");
            let mut socket = TcpStream::connect(&address).await.unwrap();
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            let expected = if host_is_fine && page_is_fine { "HTTP/1.1 200" } else { "HTTP/1.1 403" };
            assert!(answer.starts_with(expected), "{head}{answer}");
            assert!(!answer.to_lowercase().contains("access-control-"), "{answer}");
            passed += usize::from(host_is_fine && page_is_fine);
        }
    }
    assert_eq!(passed, 30);
}

/// Addresses that lead, or seem to lead, to a port nobody wrote into the config file.
fn addresses_elsewhere(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1:T",
        "0x7f.0.0.1:T",
        "0x7f000001:T",
        "2130706433:T",
        "0177.0.0.1:T",
        "017700000001:T",
        "127.1:T",
        "127.0.0.1.:T",
        "localhost:T",
        "localhost.:T",
        "LOCALHOST:T",
        "[::1]:T",
        "[::ffff:127.0.0.1]:T",
        "[::ffff:7f00:1]:T",
        "１２７.０.０.１:T",
        "127。0。0。1:T",
        "①②⑦.⓪.⓪.①:T",
        "0.0.0.0:T",
        "0:T",
        "api.openai.com@127.0.0.1:T",
        "api.openai.com:443@127.0.0.1:T",
        "api.openai.com%2f@127.0.0.1:T",
        "127.0.0.1:T#@api.openai.com",
        "127.0.0.1:T?@api.openai.com",
        "127.0.0.1:T\\@api.openai.com",
        "api.openai.com\\@127.0.0.1:T",
        "api.openai.com:T",
        "api.openai.com.",
        "api.openai.com.evil.example",
        "user:secret@api.openai.com",
        "api.openai.com%00.evil.example",
        "169.254.169.254",
    ];
    let schemes =
        ["http://", "https://", "HTTP://", "ftp://", "file://", "gopher://", "ws://", "//", "http:/", "http:\\\\", "ht\ttp://", ""];
    let mut all = Vec::new();
    for host in hosts {
        for scheme in schemes {
            for path in ["/v1/chat/completions", "/v1/models"] {
                all.push(format!("{scheme}{}{path}", host.replace('T', &port.to_string())));
            }
        }
    }
    all
}

/// Addresses at the host of a provider, but not at one of its open endpoints.
fn addresses_beside(base: &str) -> Vec<String> {
    let root = base.trim_end_matches("/v1");
    let paths = [
        "",
        "/",
        "/admin",
        "/models",
        "/v1",
        "/v1/",
        "/v10/models",
        "/V1/models",
        "/v1/../admin",
        "/v1/../models",
        "/v1/%2e%2e/models",
        "/v1/.%2e/models",
        "/v1/..%2fmodels",
        "/v1/..;/models",
        "/v1\\..\\models",
        "//v1/models",
        "/v1//models",
        "/v1///chat/completions",
        "/v1/models/",
        "/v1/models//",
        "/v1/models/x",
        "/v1/models/..",
        "/v1/models%2f",
        "/v1/models%00",
        "/v1/models;x",
        "/v1/%6dodels",
        "/v1/Models",
        "/v1/models%20",
        "/v1/chat/completions/",
        "/v1/chat%2fcompletions",
        "/v1/chat/../../models",
        "/v1/files",
        "/v1/fine_tuning/jobs",
        "/v1/models#x",
        "/v1/models#",
    ];
    let mut all: Vec<String> = paths.iter().map(|path| format!("{root}{path}")).collect();
    all.push(format!("{}/models", base.replace("http://", "https://")));
    all.push(format!("{}/models", base.replace("http://", "http://user@")));
    all.push(format!("{}/models", base.replace("http://", "http://:secret@")));
    all
}

#[tokio::test]
async fn no_address_leads_out_of_the_list() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let trap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let dialled = Arc::new(AtomicUsize::new(0));
    let count = dialled.clone();
    tokio::spawn(async move {
        while trap.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut addresses = addresses_elsewhere(port);
    addresses.extend(addresses_beside(&harness.upstream.url));
    assert!(addresses.len() >= 500, "{}", addresses.len());
    let body = json!({"model": "ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
    for address in &addresses {
        for (method, body) in [(Method::GET, Value::Null), (Method::POST, body.clone())] {
            let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("u", address).finish();
            let answer = harness.send(request(method, &format!("/v1/forward?{query}"), Some(&key), body)).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (StatusCode::BAD_REQUEST, "forward_endpoint_not_supported"),
                "{address:?}: {}",
                answer.text()
            );
            assert!(!answer.text().contains("secret"), "{}", answer.text());
        }
    }
    assert_eq!(dialled.load(Ordering::SeqCst), 0);
    assert!(harness.upstream.seen().is_empty(), "{:?}", harness.upstream.seen());
    assert!(harness.entries().await.is_empty(), "nothing was bought");
    harness.finish().await;
}

/// A client that sends a byte a second and never ends its head; when it is thrown out it comes again.
async fn slow(address: String, connected: Arc<AtomicUsize>) {
    loop {
        let Ok(mut socket) = TcpStream::connect(&address).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        connected.fetch_add(1, Ordering::SeqCst);
        let mut bytes: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
        while socket.write_all(bytes).await.is_ok() {
            bytes = b"a";
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The slowest but one of a hundred honest requests, each on a connection of its own.
async fn p99(gateway: &Gateway, key: &str) -> Duration {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(Duration::from_secs(30)).build().unwrap();
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}).to_string();
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        let answer = client.post(format!("{}/chat/completions", gateway.address)).bearer_auth(key).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    times[98]
}

/// 200 slow clients, or as many as `LAVA_SLOW_SOCKETS` says; above 1,024 they could take every place.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_finish_do_not_keep_others_out() {
    let sockets = std::env::var("LAVA_SLOW_SOCKETS").map_or(200, |text| text.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let (gateway, address) = start(home.path());
    let body = json!({"name": "honest", "spend_limit": {"amount": "1.00", "cycle": "daily"}}).to_string();
    let made = http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
    let key = json_of(made).await["key"].as_str().unwrap().to_owned();
    let alone = p99(&gateway, &key).await;
    let connected = Arc::new(AtomicUsize::new(0));
    let crowd: Vec<_> = (0..sockets).map(|_| tokio::spawn(slow(address.clone(), connected.clone()))).collect();
    let deadline = Instant::now() + Duration::from_secs(20);
    while connected.load(Ordering::SeqCst) < sockets && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let crowded = p99(&gateway, &key).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.child.id())).unwrap();
    let peak_kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok()).unwrap();
    println!("{sockets} slow clients: p99 {alone:?} alone, {crowded:?} among them, at most {} MiB", peak_kib >> 10);
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(connected.load(Ordering::SeqCst) >= sockets);
    assert!(crowded <= 2 * alone + Duration::from_millis(250), "{alone:?} alone, {crowded:?} in the crowd");
    assert!(peak_kib <= 256 << 10, "{peak_kib} KiB");
}
