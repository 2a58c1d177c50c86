//! MCP over HTTP, spoken byte by byte to the built program: both eras of Streamable HTTP, and legacy HTTP+SSE.

mod bad_input;
mod forms;
mod limit;
mod log;
mod many;
mod resume;
mod session_limit;
mod sessions;
mod who_pays;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    cli::program,
    server::{http, json_of},
};

/// A running `lava-mcp serve`; it ends with this value.
struct Serving {
    child: Child,
    /// What it writes on stderr after its first line, once it has ended.
    log: Option<JoinHandle<String>>,
    client: Client,
}

/// A client with connections of its own.
struct Client {
    /// Such as `http://127.0.0.1:40123`.
    root: String,
    http: reqwest::Client,
}

impl std::ops::Deref for Serving {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn sandbox(home: &Path) -> Self {
        let mut command = program(home);
        command.arg("--sandbox");
        Self::start(command, &["--listen", "127.0.0.1:0"])
    }

    fn start(mut command: Command, arguments: &[&str]) -> Self {
        let mut child = command.arg("serve").args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let root = line.trim().strip_prefix("Serving MCP at ").and_then(|url| url.strip_suffix("/mcp")).unwrap_or_else(|| panic!("{line}"));
        let root = root.replace("0.0.0.0", "127.0.0.1");
        let log = std::thread::spawn(move || std::io::read_to_string(errors).unwrap());
        Self { child, log: Some(log), client: Client { root, http: http() } }
    }

    fn stop(&mut self) -> Duration {
        let began = Instant::now();
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        began.elapsed()
    }
}

impl Client {
    /// One more client of the same server.
    fn another(&self) -> Self {
        Self { root: self.root.clone(), http: http() }
    }

    fn post(&self, message: &Value) -> RequestBuilder {
        self.http
            .post(format!("{}/mcp", self.root))
            .header("accept", "application/json, text/event-stream")
            .header("content-type", "application/json")
            .body(message.to_string())
    }

    /// A request of the era without sessions.
    fn modern(&self, method: &str, params: Value) -> RequestBuilder {
        let (message, name) = modern(method, params);
        let request = self.post(&message).header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
        match name {
            Some(name) => request.header("mcp-name", name),
            None => request,
        }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.modern("tools/call", json!({"name": tool, "arguments": arguments})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        last_message(answer).await["result"].clone()
    }

    /// Begins a session of the older era; gives its id.
    async fn initialize(&self) -> String {
        let about = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw test", "version": "1"}});
        let answer = self.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about})).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        assert_eq!(last_message(answer).await["result"]["serverInfo"]["name"], "lava-mcp");
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.in_session(&session, &initialized).send().await.unwrap().status(), StatusCode::ACCEPTED);
        session
    }

    fn in_session(&self, session: &str, message: &Value) -> RequestBuilder {
        self.post(message).header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25")
    }
}

/// A message of the era without sessions, and what its `Mcp-Name` header has to say.
fn modern(method: &str, mut params: Value) -> (Value, Option<String>) {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let name = params["name"].as_str().map(str::to_owned);
    (json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}), name)
}

/// All messages of an answer, which is one JSON object or a stream of events.
async fn messages(answer: Response) -> Vec<Value> {
    let is_stream = answer.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream");
    if !is_stream {
        return vec![json_of(answer).await];
    }
    let text = answer.text().await.unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter(|data| data.starts_with('{'))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

async fn last_message(answer: Response) -> Value {
    messages(answer).await.pop().unwrap()
}

type Lines = std::pin::Pin<Box<dyn futures_util::Stream<Item = String> + Send>>;

/// The lines of an answer, as they come.
fn lines_of(answer: Response) -> Lines {
    let mut rest = String::new();
    Box::pin(answer.bytes_stream().flat_map(move |bytes| {
        rest.push_str(std::str::from_utf8(&bytes.unwrap_or_default()).unwrap());
        let mut whole: Vec<String> = rest.split('\n').map(str::to_owned).collect();
        rest = whole.pop().unwrap();
        futures_util::stream::iter(whole)
    }))
}

async fn next_message(lines: &mut Lines) -> Value {
    loop {
        let line = lines.next().await.expect("the stream goes on");
        if let Some(data) = line.strip_prefix("data: ").filter(|data| !data.is_empty()) {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// An SSE connection of the oldest era.
struct Sse {
    lines: Lines,
    endpoint: String,
}

impl Sse {
    async fn connect(serving: &Client) -> Self {
        let answer = serving.http.get(format!("{}/sse", serving.root)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut sse = Self { lines: lines_of(answer), endpoint: String::new() };
        assert_eq!(sse.lines.next().await.unwrap(), "event: endpoint");
        let endpoint = sse.lines.next().await.unwrap();
        sse.endpoint = format!("{}{}", serving.root, endpoint.strip_prefix("data: ").unwrap());
        sse
    }

    async fn send(&self, http: &reqwest::Client, message: &Value) {
        let sent = http.post(&self.endpoint).header("content-type", "application/json").body(message.to_string()).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::ACCEPTED);
    }

    async fn receive(&mut self) -> Value {
        next_message(&mut self.lines).await
    }

    async fn request(&mut self, http: &reqwest::Client, method: &str, params: Value) -> Value {
        self.send(http, &json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params})).await;
        self.receive().await
    }

    async fn introduce(&mut self, http: &reqwest::Client) {
        let about = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "raw test", "version": "1"}});
        assert_eq!(self.request(http, "initialize", about).await["result"]["protocolVersion"], "2024-11-05");
        self.send(http, &json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_job_over_each_transport() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    // Without sessions.
    let asked = json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 60});
    assert_eq!(serving.call("prompt", asked.clone()).await["structuredContent"]["error"]["code"], "not_logged_in");
    let login = serving.call("login", json!({})).await;
    assert_eq!(login["structuredContent"]["status"], "ready", "{login}");
    let params = json!({"name": "prompt", "arguments": asked, "_meta": {"progressToken": "p"}});
    let told = messages(serving.modern("tools/call", params.clone()).send().await.unwrap()).await;
    assert!(told.len() > 1 && told[0]["method"] == "notifications/progress", "{told:?}");
    assert!(told.last().unwrap()["result"]["structuredContent"]["content"].as_str().unwrap().contains("sandbox"));
    // With one.
    let session = serving.initialize().await;
    let message = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    let told = messages(serving.in_session(&session, &message).send().await.unwrap()).await;
    assert!(told.len() > 1 && told.last().unwrap()["result"]["isError"] == false, "{told:?}");
    let ended = serving.http.delete(format!("{}/mcp", serving.root)).header("mcp-session-id", &session).send().await.unwrap();
    assert!(ended.status().is_success());
    let gone = serving.in_session(&session, &message).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    // Over a stream of its own.
    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    sse.send(&serving.http, &message).await;
    let mut progress = 0;
    let result = loop {
        match sse.receive().await {
            note if note["method"] == "notifications/progress" => progress += 1,
            answer => break answer["result"].clone(),
        }
    };
    assert!(progress > 0 && result["isError"] == false, "{progress} {result}");
    // All of them spend from one key, which has counted all three.
    let usage = serving.call("usage", json!({})).await;
    assert_eq!(usage["structuredContent"]["spend_key"]["current_requests"], 3, "{usage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_end_does_so_with_streams_open() {
    let home = tempfile::tempdir().unwrap();
    let mut serving = Serving::sandbox(home.path());
    let session = serving.initialize().await;
    let listening = serving
        .http
        .get(format!("{}/mcp", serving.root))
        .header("mcp-session-id", &session)
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(listening.status(), StatusCode::OK);
    let mut sse = Sse::connect(&serving).await;
    sse.introduce(&serving.http).await;
    let took = serving.stop();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_card_says_what_this_is_and_where() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    for path in ["/mcp/server-card", "/.well-known/mcp/server-card.json"] {
        let answer = serving.http.get(format!("{}{path}", serving.root)).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/mcp-server-card+json");
        let card = json_of(answer).await;
        assert_eq!(card["remotes"], json!([{"type": "streamable-http", "url": format!("{}/mcp", serving.root)}]));
        assert_eq!(card["version"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn addresses_that_cannot_be_served_are_refused_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let refused = |arguments: &[&str]| {
        let output = program(home.path()).arg("serve").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--listen", "0.0.0.0:0"]).contains("--allow-remote"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = refused(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(told.contains("in use") && told.contains("--listen 127.0.0.1:0"), "{told}");
}
