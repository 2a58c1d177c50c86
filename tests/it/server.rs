//! The gateway over a socket, as a program of its own.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{cli::program, fake_upstream::FakeUpstream};

/// A running `lava-mcp gateway`; it ends with this value.
pub(crate) struct Gateway {
    pub(crate) child: Child,
    pub(crate) address: String,
    pub(crate) secret: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    pub(crate) fn start(home: &Path, command: Command) -> Self {
        Self::listen(home, command, &["--listen", "127.0.0.1:0"])
    }

    pub(crate) fn listen(home: &Path, mut command: Command, arguments: &[&str]) -> Self {
        // A key for the same realm: money that is real does not go to a sandbox.
        let is_sandbox = command.get_args().any(|argument| argument == "--sandbox");
        let (realm, kind): (&[&str], _) = if is_sandbox { (&["--sandbox"], "aks_test_") } else { (&[], "aks_live_") };
        let secret = program(home).args(realm).args(["secret-keys", "create", "--name", "test"]).output().unwrap();
        let secret = String::from_utf8(secret.stdout).unwrap().trim().to_owned();
        assert!(secret.starts_with(kind), "{secret}");
        let mut child = command.arg("gateway").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
        // Keeps the pipe open: a closed one would end the program at its next word.
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Self { child, address, secret }
    }

    async fn key(&self, http: &reqwest::Client) -> String {
        let body = json!({"name": "served", "spend_limit": {"amount": "1.00", "cycle": "daily"}}).to_string();
        let created = http.post(format!("{}/spend_keys", self.address)).bearer_auth(&self.secret).body(body).send().await.unwrap();
        assert_eq!(created.status(), StatusCode::CREATED);
        json_of(created).await["key"].as_str().unwrap().to_owned()
    }

    /// Asks it to end; returns how long it took.
    fn stop(&mut self) -> Duration {
        let began = std::time::Instant::now();
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        began.elapsed()
    }
}

pub(crate) async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_served_gateway_answers_over_both_versions_of_http() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("lava.toml");
    std::fs::write(
        &config,
        format!("local_servers = false\n[providers.fake]\nbase_url = \"{}\"\nprice = {{ input = \"1\", output = \"2\" }}\n", upstream.url),
    )
    .unwrap();
    let mut command = program(home.path());
    command.env("LAVA_CONFIG", config);
    let mut gateway = Gateway::start(home.path(), command);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for client in [http(), http2] {
        let key = gateway.key(&client).await;
        for is_streamed in [false, true] {
            let body =
                json!({"model": "fake/ok", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20, "stream": is_streamed});
            let answer =
                client.post(format!("{}/chat/completions", gateway.address)).bearer_auth(&key).body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.headers()["x-lava-request-id"].to_str().unwrap().starts_with("req_"));
            assert!(answer.text().await.unwrap().contains("re."));
        }
        let root = gateway.address.trim_end_matches("/v1");
        for path in ["healthz", "readyz"] {
            assert_eq!(client.get(format!("{root}/{path}")).send().await.unwrap().status(), StatusCode::OK, "{path}");
        }
    }
    // A request in flight is finished before the process ends.
    let (client, address) = (http(), gateway.address.clone());
    let key = gateway.key(&client).await;
    let last = tokio::spawn(async move {
        let body = json!({"model": "fake/slow-600", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
        client.post(format!("{address}/chat/completions")).bearer_auth(key).body(body.to_string()).send().await.unwrap().status()
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let took = tokio::task::block_in_place(|| gateway.stop());
    assert_eq!(last.await.unwrap(), StatusCode::OK);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let ledger = rusqlite::Connection::open(home.path().join(".local/share/lava-mcp/ledger.db")).unwrap();
    let counts: (i64, i64) = ledger
        .query_row("SELECT (SELECT count(*) FROM hold), (SELECT count(*) FROM entry WHERE basis = 'measured')", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(counts, (0, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_cannot_call_a_gateway_on_this_machine() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.arg("--sandbox");
    let gateway = Gateway::start(home.path(), command);
    let client = http();
    let url = format!("{}/models", gateway.address);
    for (name, value, status) in [
        ("host", "evil.example", 403),
        ("host", "127.0.0.1.evil.example:4040", 403),
        ("host", "localhost:1", 200),
        ("host", "[::1]:1", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://localhost:3000", 200),
    ] {
        let answer = client.get(&url).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}: {value}");
        assert!(answer.headers().get("access-control-allow-origin").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_broken_client_does_not_keep_its_place() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.arg("--sandbox");
    let gateway = Gateway::start(home.path(), command);
    let host = gateway.address.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
    let mut broken = tokio::net::TcpStream::connect(&host).await.unwrap();
    broken.write_all(b"\x16\x03\x01 not http at all\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(5), broken.read_to_end(&mut answer)).await.unwrap().unwrap();
    let mut slow = tokio::net::TcpStream::connect(&host).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(15), slow.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "the head of a request has a time limit");
    assert_eq!(http().get(format!("http://{host}/healthz")).send().await.unwrap().status(), StatusCode::OK);
}

#[test]
fn an_address_that_others_can_reach_needs_a_flag() {
    let home = tempfile::tempdir().unwrap();
    let refused = program(home.path()).args(["gateway", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--allow-remote"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = program(home.path()).args(["gateway", "--listen", &address]).output().unwrap();
    assert!(String::from_utf8(refused.stderr).unwrap().contains(&address));
}

#[test]
fn secret_keys_are_made_listed_and_deleted() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| program(home.path()).arg("secret-keys").args(arguments).output().unwrap();
    let made = run(&["create", "--test", "--name", "for the team"]);
    let key = String::from_utf8(made.stdout).unwrap();
    assert!(key.starts_with("aks_test_") && key.lines().count() == 1, "{key}");
    let list: Value = serde_json::from_slice(&run(&["list", "--json"]).stdout).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["test"]), (&json!("for the team"), &json!(true)));
    assert!(!list.to_string().contains(&key.trim()[20..]));
    let id = list[0]["secret_key_id"].as_str().unwrap();
    assert!(run(&["delete", id]).status.success());
    assert_eq!(run(&["delete", id]).status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&run(&["list", "--json"]).stdout).unwrap(), json!([]));
}

#[tokio::test]
async fn a_gateway_behind_a_proxy_answers_under_the_names_it_was_given_and_no_others() {
    let home = tempfile::tempdir().unwrap();
    let gateway =
        Gateway::listen(home.path(), program(home.path()), &["--listen", "127.0.0.1:0", "--host", "lava.lan", "--host", "192.168.1.20"]);
    let ask = async |host: &str, path: &str, origin: Option<&str>| {
        let url = format!("{}{path}", gateway.address.trim_end_matches("/v1"));
        let mut request = http().get(url).header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for host in ["lava.lan", "LAVA.LAN", "lava.lan:443", "192.168.1.20", "127.0.0.1", "localhost:4040"] {
        assert_eq!(ask(host, "/v1/models", None).await, 200, "{host}");
    }
    assert_eq!(ask("lava.lan", "/v1/models", Some("https://lava.lan")).await, 200);
    for (host, origin) in
        [("evil.example", None), ("lava.lan.evil.example", None), ("192.168.1.21", None), ("lava.lan", Some("https://evil.example"))]
    {
        assert_eq!(ask(host, "/v1/models", origin).await, 403, "{host} {origin:?}");
    }
    // Whoever comes through the proxy is not a program of this machine, and not every proxy says that it is one.
    assert_eq!(ask("lava.lan", "/metrics", None).await, 401);
    assert_eq!(ask("127.0.0.1", "/metrics", None).await, 401);
    let alone = tempfile::tempdir().unwrap();
    let alone = Gateway::start(alone.path(), program(alone.path()));
    let metrics = format!("{}/metrics", alone.address.trim_end_matches("/v1"));
    assert_eq!(http().get(metrics).send().await.unwrap().status(), 200, "without a name, programs of this machine read them");
}
