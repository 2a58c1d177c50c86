//! Keys stay where they belong: the program runs with all of its log, is asked everything in every way, well and badly, and afterwards no key is found in what it
//! answered, logged or wrote.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{cli::program, fake_upstream::FakeUpstream, harness::UPSTREAM_KEY};

/// So much of a key's end is looked for: the beginning may be shown.
const TAIL: usize = 16;

struct Program {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(home: &Path, upstream: &str) -> Self {
        let config = home.join("lava.toml");
        let provider = |id: &str, url: &str| {
            format!("[providers.{id}]\nbase_url = \"{url}\"\napi_key_env = \"CANARY_KEY\"\nprice = {{ input = \"1\", output = \"2\" }}\n")
        };
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!("local_servers = false\n{}{}", provider("fake", upstream), provider("closed", &format!("http://{closed}/v1")));
        std::fs::write(&config, text).unwrap();
        let mut command = program(home);
        command.env("LAVA_CONFIG", config).env("LAVA_LOG", "trace").env("RUST_BACKTRACE", "1").env("CANARY_KEY", UPSTREAM_KEY);
        let mut child = command.args(["gateway", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = loop {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).unwrap() > 0, "it ended before it listened");
            log.lock().unwrap().extend_from_slice(line.as_bytes());
            if let Some(address) = line.trim().strip_prefix("Listening on ") {
                break address.to_owned();
            }
        };
        let kept = log.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 8_192];
            while let Ok(count @ 1..) = errors.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, address, log, reader: Some(reader) }
    }

    /// Ends it as a signal would; returns all that it logged.
    fn stop(mut self) -> Vec<u8> {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        self.reader.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

/// Keys, every answer in which none of them may stand, and where one was found.
struct Canaries {
    keys: Vec<String>,
    answers: Vec<(String, Vec<u8>)>,
    found: Vec<String>,
}

impl Canaries {
    fn check(&mut self, place: &str, bytes: &[u8]) {
        for key in &self.keys {
            let tail = &key.as_bytes()[key.len() - TAIL..];
            // Heads of requests may come in another case.
            let Some(at) = bytes.windows(TAIL).position(|window| window.eq_ignore_ascii_case(tail)) else { continue };
            let around = String::from_utf8_lossy(&bytes[at.saturating_sub(200)..(at + TAIL).min(bytes.len())]);
            self.found.push(format!("{place} holds {}…: {around}", &key[..8]));
        }
    }

    fn check_folder(&mut self, folder: &Path) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                files += self.check_folder(&entry.path());
            } else {
                self.check(&entry.path().display().to_string(), &std::fs::read(entry.path()).unwrap());
                files += 1;
            }
        }
        files
    }

    /// Asks and remembers the answer, head and all. A key that it tells is one more to look for.
    async fn ask(&mut self, http: &Client, what: (Method, &str), key: &str, body: Value, headers: &[(&str, &str)]) -> Value {
        let (method, url) = what;
        let mut request = http.request(method, url);
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let head = format!("{} {:?}", answer.status(), answer.headers()).into_bytes();
        let bytes = answer.bytes().await.unwrap();
        let read: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let told = read["key"].as_str().map(str::to_owned);
        self.keys.extend(told.clone());
        // Only the answer that makes a key may tell it.
        let shown = told.map_or_else(|| bytes.to_vec(), |told| String::from_utf8_lossy(&bytes).replace(&told, "").into_bytes());
        self.answers.push((format!("{url} {body}"), [head, shown].concat()));
        read
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_answered_logged_or_written() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let made = program(home.path()).args(["secret-keys", "create", "--name", "canary"]).output().unwrap();
    let secret = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let served = Program::start(home.path(), &upstream.url);
    let mut canaries = Canaries { keys: vec![secret.clone(), UPSTREAM_KEY.to_owned()], answers: Vec::new(), found: Vec::new() };

    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = || Client::builder().no_proxy().timeout(Duration::from_secs(20));
    for http in [client().build().unwrap(), client().http2_prior_knowledge().build().unwrap()] {
        ask_everything(&mut canaries, &http, &served.address, &upstream.url, &secret).await;
    }
    // With the write-ahead log as it is while the program runs, after a failure of the ledger, and after the end.
    let ledger = home.path().join(".local/share/lava-mcp/ledger.db");
    assert!(canaries.check_folder(home.path()) >= 4 && ledger.with_extension("db-wal").exists());
    let blocker = rusqlite::Connection::open(&ledger).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let chat = format!("{}/chat/completions", served.address);
    let key = canaries.keys.last().unwrap().clone();
    let refused = canaries.ask(&client().build().unwrap(), (Method::POST, &chat), &key, chat_body("ok"), &[]).await;
    assert_eq!(refused["error"]["code"], "ledger_unavailable", "{refused}");
    drop(blocker);
    let log = served.stop();
    canaries.check_folder(home.path());
    canaries.check("the log", &log);
    for (question, answer) in canaries.answers.clone() {
        canaries.check(&question, &answer);
    }
    assert!(canaries.found.is_empty(), "{} places: {:#?}", canaries.found.len(), canaries.found);
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("request refused") && log.contains("request failed"), "all of the log is there: {log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(canaries.keys.len() >= 6 && canaries.answers.len() > 60);
}

fn chat_body(script: &str) -> Value {
    json!({"model": format!("fake/{script}"), "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20})
}

async fn ask_everything(canaries: &mut Canaries, http: &Client, address: &str, upstream: &str, secret: &str) {
    let chat = format!("{address}/chat/completions");
    let keys = format!("{address}/spend_keys");
    let limits = json!({"name": "canary", "spend_limit": {"amount": "1.00", "cycle": "daily"}, "rate_limit": {"rpm": 100_000}});
    let made = canaries.ask(http, (Method::POST, &keys), secret, limits, &[]).await;
    let (key, id) = (made["key"].as_str().unwrap().to_owned(), made["spend_key_id"].as_str().unwrap().to_owned());

    // Answers good and bad; some of them say the gateway's key for the provider.
    let scripts = ["ok", "no-usage", "garbage", "error-200", "cut-body", "drop", "lies", "bad-usage"];
    let refusals = ["status-500", "status-429", "status-429-days", "status-401", "status-400", "status-504", "status-302"];
    let echoes = ["echo-400", "echo-401", "echo-422", "echo-500", "echo-503"];
    for script in scripts.into_iter().chain(refusals).chain(echoes) {
        canaries.ask(http, (Method::POST, &chat), &key, chat_body(script), &[]).await;
        let renewed = json!({"spend_limit": {"amount": "9000.00", "cycle": "daily"}});
        canaries.ask(http, (Method::PUT, &format!("{keys}/{id}")), secret, renewed, &[]).await;
    }
    for script in ["ok", "trickle", "cut-stream", "usage-then-cut", "no-done", "no-usage"] {
        let mut body = chat_body(script);
        body["stream"] = true.into();
        canaries.ask(http, (Method::POST, &chat), &key, body, &[]).await;
    }
    let fallbacks = json!([{"model": "closed/x"}, {"model": "fake/echo-500"}, {"model": "fake/ok"}]).to_string();
    canaries.ask(http, (Method::POST, &chat), &key, chat_body("status-500"), &[("x-lava-fallbacks", &fallbacks)]).await;

    // The provider's own address, with a key in its query.
    for path in ["chat/completions", "embeddings", "models", "files", "../../admin"] {
        for method in [Method::GET, Method::POST] {
            let target = url::form_urlencoded::byte_serialize(format!("{upstream}/{path}?api_key={key}").as_bytes()).collect::<String>();
            let mut body = chat_body("ok");
            body["input"] = "Hi".into();
            canaries.ask(http, (method, &format!("{address}/forward?u={target}")), &key, body, &[]).await;
        }
    }
    let elsewhere = url::form_urlencoded::byte_serialize(format!("https://evil.example/?key={key}").as_bytes()).collect::<String>();
    canaries.ask(http, (Method::POST, &format!("{address}/forward?u={elsewhere}")), &key, chat_body("ok"), &[]).await;

    // Bad questions.
    let mut typo = key.clone();
    typo.replace_range(20..21, if &key[20..21] == "x" { "y" } else { "x" });
    for bad in ["", &typo, secret, UPSTREAM_KEY] {
        canaries.ask(http, (Method::POST, &chat), bad, chat_body("ok"), &[]).await;
    }
    for (name, value) in [("x-api-key", secret), ("x-lava-max-cost", "much"), ("x-lava-max-cost", "0.0000001"), ("x-lava-fallbacks", "[")] {
        canaries.ask(http, (Method::POST, &chat), &key, chat_body("ok"), &[(name, value)]).await;
    }
    for body in [json!("text"), json!({}), json!({"model": "nobody/x", "messages": []}), json!({"model": "closed/x", "messages": []})] {
        canaries.ask(http, (Method::POST, &chat), &key, body, &[]).await;
    }

    // Reports and the life of a key.
    for path in ["models", "requests", "spend_keys", "spend_keys/self", "nowhere", "lava_mcp/search?query=gpt", "lava_mcp/providers/openai"]
    {
        for who in [&key, secret, ""] {
            canaries.ask(http, (Method::GET, &format!("{address}/{path}")), who, Value::Null, &[]).await;
        }
    }
    let (own, rotate) = (format!("{keys}/{id}"), format!("{keys}/{id}/rotate"));
    canaries.ask(http, (Method::PUT, &own), secret, json!({"status": "sleepy"}), &[]).await;
    canaries.ask(http, (Method::PUT, &own), &key, json!({"status": "paused"}), &[]).await;
    let rotated = canaries.ask(http, (Method::POST, &rotate), secret, Value::Null, &[]).await;
    let new = rotated["key"].as_str().unwrap().to_owned();
    canaries.ask(http, (Method::POST, &chat), &key, chat_body("ok"), &[]).await;
    canaries.ask(http, (Method::PUT, &own), secret, json!({"status": "paused"}), &[]).await;
    canaries.ask(http, (Method::POST, &chat), &new, chat_body("ok"), &[]).await;
    canaries.ask(http, (Method::DELETE, &own), secret, Value::Null, &[]).await;
    canaries.ask(http, (Method::GET, &own), secret, Value::Null, &[]).await;
    let last = canaries.ask(http, (Method::POST, &keys), secret, json!({"name": "last"}), &[]).await;
    canaries.ask(http, (Method::POST, &chat), last["key"].as_str().unwrap(), chat_body("ok"), &[]).await;
}
