//! The protocol on stdin and stdout, byte by byte: both eras, what is listed, what bad input gets, and how it ends.

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{cli::program, fake_upstream::FakeUpstream};

const NEWEST: &str = "2026-07-28";

pub(crate) struct Server {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(crate) modern: bool,
    next: u64,
    /// What the client says it can do.
    capabilities: Value,
    name: &'static str,
}

impl Server {
    pub(crate) fn start(command: Command, modern: bool) -> Self {
        Self::start_with(command, modern, json!({}))
    }

    pub(crate) fn start_with(command: Command, modern: bool, capabilities: Value) -> Self {
        Self::open(command, if modern { NEWEST } else { "2025-06-18" }, capabilities, "raw test")
    }

    /// As a client that speaks this revision.
    pub(crate) fn start_as(command: Command, revision: &str) -> Self {
        Self::open(command, revision, json!({}), "raw test")
    }

    /// As a client of this name.
    pub(crate) fn start_named(command: Command, name: &'static str) -> Self {
        Self::open(command, NEWEST, json!({}), name)
    }

    /// As a client of this name that can do this.
    pub(crate) fn start_able(command: Command, modern: bool, capabilities: Value, name: &'static str) -> Self {
        Self::open(command, if modern { NEWEST } else { "2025-06-18" }, capabilities, name)
    }

    fn open(mut command: Command, revision: &str, capabilities: Value, name: &'static str) -> Self {
        let modern = revision == NEWEST;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut server = Self { child, input, output, modern, next: 0, capabilities, name };
        if modern {
            server.request("server/discover", json!({}));
        } else {
            let about =
                json!({"protocolVersion": revision, "capabilities": server.capabilities, "clientInfo": {"name": name, "version": "1"}});
            assert_eq!(server.request("initialize", about)["result"]["serverInfo"]["name"], "lava-mcp");
            server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        }
        server
    }

    pub(crate) fn sandbox(home: &Path, modern: bool) -> Self {
        let mut command = program(home);
        command.arg("--sandbox");
        Self::start(command, modern)
    }

    pub(crate) fn send(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Sends a request without waiting; returns its id.
    pub(crate) fn post(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        if self.modern {
            for (name, value) in [
                ("protocolVersion", json!(NEWEST)),
                ("clientCapabilities", self.capabilities.clone()),
                ("clientInfo", json!({"name": self.name, "version": "1"})),
            ] {
                params["_meta"][format!("io.modelcontextprotocol/{name}")] = value;
            }
        }
        let line = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}).to_string();
        self.send(&line);
        self.next
    }

    /// The answer to a request; every line of stdout must be JSON-RPC.
    pub(crate) fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.read();
            if message["id"] == id {
                return message;
            }
        }
    }

    /// The next message, whatever it is.
    pub(crate) fn read(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the server ended");
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON on stdout: {line}"));
        assert_eq!(message["jsonrpc"], "2.0");
        message
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.post(method, params);
        self.answer(id)
    }

    /// Cancels the request that was sent last.
    pub(crate) fn cancel_last(&mut self) {
        let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": self.next}});
        self.send(&cancelled.to_string());
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))["result"].clone()
    }

    /// Collects so many answers, then kills the server without warning; what it had written before that still counts.
    pub(crate) fn answers_until_killed(mut self, count: usize) -> Vec<Value> {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        let mut answers: Vec<String> = lines.by_ref().take(count).collect();
        assert!(Command::new("kill").args(["-9", &self.child.id().to_string()]).status().unwrap().success());
        answers.extend(lines);
        self.child.wait().unwrap();
        answers.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Closes stdin; returns how long the server took to end by itself.
    pub(crate) fn close(mut self) -> Duration {
        let began = Instant::now();
        drop(self.input.take());
        while began.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return began.elapsed();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill().unwrap();
        panic!("the server did not end");
    }
}

pub(crate) fn error_code(result: &Value) -> &str {
    assert_eq!(result["isError"], true, "{result}");
    let error = &result["structuredContent"]["error"];
    assert!(error["message"].is_string() && error["hint"].is_string(), "{error}");
    error["code"].as_str().unwrap()
}

#[test]
fn both_eras_list_the_same_tools() {
    let home = tempfile::tempdir().unwrap();
    let lists: Vec<Value> = [false, true]
        .iter()
        .map(|modern| {
            let mut server = Server::sandbox(home.path(), *modern);
            let list = server.request("tools/list", json!({}))["result"]["tools"].clone();
            server.close();
            list
        })
        .collect();
    assert_eq!(lists[0], lists[1]);
    let names: Vec<&str> = lists[0].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["login", "search", "prompt", "call", "get_provider_docs", "usage"]);
    for tool in lists[0].as_array().unwrap() {
        for field in ["title", "description"] {
            assert!(tool[field].as_str().is_some_and(|text| !text.is_empty()), "{tool}");
        }
        assert_eq!((&tool["inputSchema"]["type"], &tool["outputSchema"]["type"]), (&json!("object"), &json!("object")), "{tool}");
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
        assert!(!tool.to_string().contains("$ref"), "some clients do not follow references: {tool}");
    }
    // What a client and a model depend on: a change here must be seen in review.
    insta::assert_json_snapshot!("tools", lists[0]);
}

#[test]
fn the_whole_job_in_both_eras() {
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::sandbox(home.path(), modern);
        assert_eq!(error_code(&server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi"}))), "not_logged_in");
        let login = server.call("login", json!({"spend_limit": {"amount": "0.01", "cycle": "daily"}}));
        assert_eq!(login["structuredContent"]["status"], "ready", "{login}");
        assert_eq!(login["structuredContent"]["spend_key"]["name"].as_str().unwrap().split(" on ").next(), Some("raw test"));
        let found = server.call("search", json!({"query": "gpt-4o-mini", "limit": 2}));
        let hit = &found["structuredContent"]["results"][0];
        assert_eq!(hit["id"], "openai/gpt-4o-mini");
        let prompt = server.call("prompt", json!({"model": hit["id"], "input": "Hi", "max_tokens": 60}));
        let answer = &prompt["structuredContent"];
        assert!(answer["content"].as_str().unwrap().contains("sandbox"), "{prompt}");
        assert!(answer["cost"].as_str().unwrap().parse::<f64>().unwrap() > 0.0);
        assert_eq!(answer["attempts"].as_array().unwrap().len(), 1);
        // A search result can be called as it is.
        let call = server.call("call", json!({"url": hit["url"], "body": hit["example_body"]}));
        assert_eq!(call["structuredContent"]["status"], 200, "{call}");
        let by_id =
            server.call("call", json!({"url": hit["id"], "body": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}}));
        assert_eq!(by_id["structuredContent"]["status"], 200, "{by_id}");
        let docs = server.call("get_provider_docs", json!({"provider": "openai"}));
        assert!(docs["structuredContent"]["docs_url"].as_str().unwrap().starts_with("https://"), "{docs}");
        let refused = server.call("prompt", json!({"model": "gpt-4o", "input": "Hi", "max_tokens": 16_000}));
        assert_eq!(error_code(&refused), "insufficient_budget");
        let error = &refused["structuredContent"]["error"];
        assert!(error["remaining"].is_string() && error["resets_at"].is_string(), "{error}");
        let usage = server.call("usage", json!({}));
        assert_eq!(usage["structuredContent"]["spend_key"]["current_requests"], 3);
        assert_eq!(usage["structuredContent"]["requests"].as_array().unwrap().len(), 3);
        assert!(server.close() < Duration::from_secs(2));
    }
}

#[test]
fn no_key_ever_reaches_the_model() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    let mut shown = String::new();
    for (tool, arguments) in [
        ("login", json!({})),
        ("login", json!({"force": true})),
        ("usage", json!({})),
        ("prompt", json!({"model": "gpt-4o-mini", "input": "What is your key?", "max_tokens": 60})),
        ("call", json!({"url": "https://api.openai.com/v1/models", "headers": {"authorization": "x"}})),
        ("call", json!({"url": "https://api.openai.com/v1/models"})),
        ("get_provider_docs", json!({"provider": "openai"})),
    ] {
        shown.push_str(&server.call(tool, arguments).to_string());
    }
    server.close();
    let kept = std::fs::read_to_string(home.path().join(".local/share/lava-mcp/keys.json")).unwrap();
    let kept: serde_json::Map<String, Value> = serde_json::from_str(&kept).unwrap();
    let keys = kept.iter().filter_map(|(account, text)| {
        let inner: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
        Some((account, inner.get("key")?.as_str().unwrap().to_owned()))
    });
    let keys: Vec<_> = keys.collect();
    assert_eq!(keys.len(), 1, "the spend key; the secret key is in no file");
    for (account, key) in keys {
        assert!(key.len() > 50, "{account}");
        // The preview is all that may be seen.
        assert!(!shown.contains(&key[17..]), "{account}");
    }
    assert!(shown.contains("lava_sk_") && !shown.contains("aks_"));
}

#[test]
fn the_next_process_uses_the_key_of_the_last_one() {
    let home = tempfile::tempdir().unwrap();
    let id = |modern: bool| {
        let mut server = Server::sandbox(home.path(), modern);
        let login = server.call("login", json!({}));
        server.close();
        login["structuredContent"]["spend_key"]["spend_key_id"].clone()
    };
    let first = id(true);
    assert!(first.is_string());
    assert_eq!(id(false), first);
    // Without another login.
    let mut server = Server::sandbox(home.path(), true);
    assert_eq!(server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 9}))["isError"], false);
    server.close();
}

#[test]
fn a_key_that_has_expired_comes_back_with_what_it_has_spent() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    let first = server.call("login", json!({"expires_at": soon.to_string()}))["structuredContent"]["spend_key"].clone();
    let asked = json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 9});
    assert_eq!(server.call("prompt", asked.clone())["isError"], false);
    while jiff::Timestamp::now() <= soon {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(error_code(&server.call("prompt", asked.clone())), "invalid_api_key");
    // An agent does not get a new budget by letting its key expire.
    let second = server.call("login", json!({}))["structuredContent"]["spend_key"].clone();
    assert_eq!(
        (&second["spend_key_id"], &second["current_requests"], &second["expires_at"]),
        (&first["spend_key_id"], &json!(1), &Value::Null)
    );
    assert_ne!(second["key_preview"], first["key_preview"]);
    assert_eq!(server.call("prompt", asked)["isError"], false);
    server.close();
}

#[test]
fn processes_that_log_in_at_once_share_one_key() {
    let home = tempfile::tempdir().unwrap();
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut server = Server::sandbox(home.path(), true);
                    let login = server.call("login", json!({}));
                    server.close();
                    login["structuredContent"]["spend_key"]["spend_key_id"].clone()
                })
            })
            .collect();
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    });
    assert!(ids[0].is_string() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_revoked_key_is_replaced_by_the_next_login() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    let first = server.call("login", json!({}))["structuredContent"]["spend_key"]["spend_key_id"].clone();
    // As the API does it, without the vault knowing.
    ledger(home.path()).execute_batch("UPDATE budget SET status = 2, generation = generation + 1").unwrap();
    let asked = json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 9});
    assert_eq!(error_code(&server.call("prompt", asked.clone())), "invalid_api_key");
    let second = server.call("login", json!({}))["structuredContent"]["spend_key"]["spend_key_id"].clone();
    assert!(second.is_string() && second != first);
    assert_eq!(server.call("prompt", asked)["isError"], false);
    server.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_server_on_this_machine_is_found_and_free() {
    let _home_server = FakeUpstream::start_on(&[11_434, 1_234, 8_080, 8_000]).await;
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(program(home.path()), true);
    server.call("login", json!({}));
    let answer = server.call("prompt", json!({"model": "home-model", "input": "Hi"}))["structuredContent"].clone();
    assert_eq!((&answer["content"], &answer["cost"]), (&json!("Hello there."), &json!("0.00")), "{answer}");
    server.close();
}

#[cfg(unix)]
#[test]
fn a_server_that_is_told_to_end_settles_first() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), false);
    server.call("login", json!({}));
    assert!(Command::new("kill").arg(server.child.id().to_string()).status().unwrap().success());
    assert!(server.close() < Duration::from_secs(2));
}

#[test]
fn bad_input_gets_an_answer_and_the_server_lives() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    server.call("login", json!({}));
    for (tool, arguments, says) in [
        ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "temprature": 1}), "temprature"),
        ("prompt", json!({"model": 5, "input": "Hi"}), "string"),
        ("prompt", json!({"model": "gpt-4o-mini"}), "messages or input"),
        ("prompt", json!({"model": "gpt-4o-mini", "input": "a", "messages": [{"role": "user", "content": "b"}]}), "not both"),
        ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_cost": "cheap"}), "max_cost"),
        ("search", json!({"query": "x", "limit": 99}), "between 1 and 25"),
        ("search", json!({"query": ""}), "query"),
        ("login", json!({"spend_limit": {"amount": "0", "cycle": "daily"}}), "above zero"),
        ("login", json!({"spend_limit": {"amount": "1", "cycle": "hourly"}}), "daily"),
        ("login", json!({"expires_at": "soon"}), "2027"),
        ("call", json!({"url": "https://api.openai.com/v1/models", "headers": {"Authorization": "Bearer x"}}), "added by the gateway"),
        ("call", json!({"url": "https://api.openai.com/v1/models", "method": "GET", "body": {"a": 1}}), "GET"),
        ("usage", json!({"limit": 0}), "between 1 and 50"),
    ] {
        let result = server.call(tool, arguments.clone());
        assert_eq!(error_code(&result), "invalid_arguments", "{tool} {arguments}");
        assert!(result["structuredContent"]["error"]["message"].as_str().unwrap().contains(says), "{tool} {arguments}: {result}");
    }
    for (tool, arguments, code) in [
        ("prompt", json!({"model": "gpt-4o-mimi", "input": "Hi"}), "model_not_found"),
        ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_cost": "0.0000001"}), "max_cost_exceeded"),
        ("login", json!({"spend_limit": {"amount": "500.00", "cycle": "daily"}}), "limit_not_allowed"),
        ("call", json!({"url": "https://example.com/v1/chat/completions", "body": {}}), "forward_endpoint_not_supported"),
        ("call", json!({"url": "nothing-like-this"}), "forward_endpoint_not_supported"),
        ("get_provider_docs", json!({"provider": "nobody"}), "provider_not_found"),
    ] {
        assert_eq!(error_code(&server.call(tool, arguments)), code, "{tool}");
    }
    assert_eq!(server.request("tools/call", json!({"name": "shell", "arguments": {}}))["error"]["code"], -32602);
    assert_eq!(server.request("no/such/method", json!({}))["error"]["code"], -32601);
    for line in ["{", "[]", "null", "\"text\"", "{\"jsonrpc\":\"1.0\"}", ""] {
        server.send(line);
    }
    assert_eq!(server.call("search", json!({"query": "gpt-4o"}))["isError"], false, "the server lives");
    server.close();
}

#[test]
fn a_repeated_call_with_the_same_key_is_paid_once() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    server.call("login", json!({}));
    let asked = json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20, "idempotency_key": "one"});
    let (first, second) = (server.call("prompt", asked.clone()), server.call("prompt", asked.clone()));
    assert_eq!(first, second);
    let mut other = asked;
    other["input"] = "Ho".into();
    assert_eq!(error_code(&server.call("prompt", other)), "idempotency_key_reused");
    assert_eq!(server.call("usage", json!({}))["structuredContent"]["spend_key"]["current_requests"], 1);
    server.close();
}

pub(crate) fn with_upstream(home: &Path, upstream: &FakeUpstream) -> Command {
    let config = home.join("config.toml");
    let text = format!(
        "local_servers = false\n[providers.fake]\nbase_url = \"{}\"\nprice = {{ input = \"1.00\", output = \"2.00\" }}\n",
        upstream.url
    );
    std::fs::write(&config, text).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", config);
    command
}

pub(crate) fn ledger(home: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(home.join(".local/share/lava-mcp/ledger.db")).unwrap()
}

pub(crate) fn entries(home: &Path) -> Vec<(String, String, i64, i64)> {
    let ledger = ledger(home);
    let mut statement = ledger.prepare("SELECT kind, basis, amount_n, held_n FROM entry ORDER BY seq").unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap().map(Result::unwrap).collect()
}

/// Starts a prompt that the provider never answers, and waits until its money is set aside.
pub(crate) fn hanging_prompt(server: &mut Server, home: &Path, is_streamed: bool) {
    assert_eq!(server.call("login", json!({}))["isError"], false);
    let script = if is_streamed { "stall-stream" } else { "never" };
    let mut params = json!({"name": "prompt", "arguments": {"model": format!("fake/{script}"), "input": "Hi", "max_tokens": 50}});
    if is_streamed {
        params["_meta"] = json!({"progressToken": 1});
    }
    server.post("tools/call", params);
    for _ in 0..500 {
        if ledger(home).query_row("SELECT count(*) FROM hold", [], |row| row.get::<_, i64>(0)).is_ok_and(|holds| holds == 1) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no hold was opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_closed_in_the_middle_of_a_call_settles_it() {
    let upstream = FakeUpstream::start().await;
    for is_streamed in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(with_upstream(home.path(), &upstream), false);
        hanging_prompt(&mut server, home.path(), is_streamed);
        let took = server.close();
        assert!(took < Duration::from_secs(2), "the process ends soon: {took:?}");
        let entries = entries(home.path());
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(entries[0].0, "charge");
        let holds: i64 = ledger(home.path()).query_row("SELECT count(*) FROM hold", [], |row| row.get(0)).unwrap();
        assert_eq!(holds, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_metered_is_lost() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(with_upstream(home.path(), &upstream), true);
    hanging_prompt(&mut server, home.path(), false);
    // kill -9 while the provider may be working for us.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(entries(home.path()).is_empty());
    // The next process finds the hold and charges it in full, marked suspect; once.
    for _ in 0..2 {
        let mut next = Server::start(with_upstream(home.path(), &upstream), true);
        let usage = next.call("usage", json!({}))["structuredContent"].clone();
        assert_eq!(usage["requests"][0]["status"], "error", "{usage}");
        next.close();
        let entries = entries(home.path());
        assert_eq!(entries.len(), 1);
        let (kind, basis, amount, held) = &entries[0];
        assert_eq!((kind.as_str(), basis.as_str()), ("suspect", "crash"));
        assert!(amount == held && *amount > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_is_settled() {
    let upstream = FakeUpstream::start().await;
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(with_upstream(home.path(), &upstream), modern);
        hanging_prompt(&mut server, home.path(), true);
        server.cancel_last();
        // This provider bills on when a stream is closed, so the gateway reads on for its usage; the server answers meanwhile.
        assert_eq!(server.call("usage", json!({}))["isError"], false);
        server.close();
        assert_eq!(entries(home.path()).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_prompt_sends_progress_and_the_same_answer() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(with_upstream(home.path(), &upstream), true);
    server.call("login", json!({}));
    let mut params = json!({"name": "prompt", "arguments": {"model": "fake/paced", "input": "Hi", "max_tokens": 50}});
    server.next += 1;
    params["_meta"] = json!({
        "progressToken": "p", "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
    });
    let id = server.next;
    server.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string());
    let mut streamed = String::new();
    let answer = loop {
        let mut line = String::new();
        server.output.read_line(&mut line).unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        if message["method"] == "notifications/progress" {
            assert_eq!(message["params"]["progressToken"], "p");
            streamed.push_str(message["params"]["message"].as_str().unwrap());
        } else if message["id"] == id {
            break message["result"]["structuredContent"].clone();
        }
    };
    assert_eq!(answer["content"], "Hello thére.");
    assert!(!streamed.is_empty() && "Hello thére.".starts_with(&streamed), "{streamed}");
    assert_eq!(answer["cost"], "0.000025");
    server.close();
}
