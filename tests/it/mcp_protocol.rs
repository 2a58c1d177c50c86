//! The rules of the protocol on stdin and stdout, whatever a client sends: what comes before `initialize`, what it lacks, what cannot be read, and batches.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::cli::program;

const LISTS: [&str; 4] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

/// A server whose lines are written and read as they are.
struct Raw {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _home: tempfile::TempDir,
}

impl Raw {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = program(home.path());
        // Nobody reads what is logged.
        command.args(["--sandbox"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, _home: home }
    }

    fn begun(revision: &str) -> Self {
        let mut raw = Self::start();
        assert_eq!(raw.ask(&initialize(0, revision))["result"]["protocolVersion"], revision);
        raw.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        raw
    }

    fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn send(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the server ended");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON on stdout: {line}"))
    }

    fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        self.read()
    }

    /// Closes stdin; returns what was still said.
    fn close(mut self) -> Vec<Value> {
        drop(self.input.take());
        let began = Instant::now();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success() && began.elapsed() < Duration::from_secs(10));
        rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn about() -> Value {
    json!({"name": "raw test", "version": "1"})
}

fn initialize(id: u32, revision: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": {"protocolVersion": revision, "capabilities": {}, "clientInfo": about()}})
}

fn modern_meta() -> Value {
    json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": about(), "io.modelcontextprotocol/clientCapabilities": {}})
}

fn ping(id: impl Into<Value>) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "ping"})
}

#[test]
fn what_comes_before_initialize_kills_nothing() {
    let mut raw = Raw::start();
    let discover = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": modern_meta()}});
    assert!(raw.ask(&discover)["result"]["supportedVersions"].is_array());
    for early in [
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "probe timed out"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/no/such"}),
        json!({"jsonrpc": "2.0", "id": 44, "result": {}}),
        json!({"jsonrpc": "2.0", "id": "x", "error": {"code": -1, "message": "no"}}),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "no"}}),
    ] {
        raw.send(&early);
    }
    assert_eq!(raw.ask(&ping(2)), json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    let begun = raw.ask(&initialize(3, "2025-11-25"));
    assert_eq!((&begun["id"], &begun["result"]["protocolVersion"]), (&json!(3), &json!("2025-11-25")));
    // Without `notifications/initialized`, and with two of them.
    assert!(raw.ask(&json!({"jsonrpc": "2.0", "id": 4, "method": "tools/list"}))["result"]["tools"].is_array());
    for late in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "never sent"}}),
        json!({"jsonrpc": "2.0", "id": 44, "result": {}}),
        json!({"jsonrpc": "2.0", "id": 44, "error": {"code": -1, "message": "no"}}),
    ] {
        raw.send(&late);
    }
    assert_eq!(raw.ask(&ping(5))["id"], 5);
    // Once more on the same connection, and in another revision.
    assert_eq!(raw.ask(&initialize(6, "2099-01-01"))["result"]["protocolVersion"], "2025-11-25");
    let list = raw.ask(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}));
    assert!(list["result"]["tools"].is_array() && list["result"]["resultType"].is_null(), "the era is the one that was agreed");
    raw.close();
}

#[test]
fn initialize_is_refused_by_what_it_lacks_and_can_be_tried_again() {
    let mut raw = Raw::start();
    for (params, names) in [
        (json!({"protocolVersion": "2025-06-18"}), &["capabilities is missing", "clientInfo is missing"][..]),
        (json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}}), &["clientInfo.version is missing"]),
        (json!({"capabilities": {}, "clientInfo": about()}), &["protocolVersion is missing"]),
        (json!({"protocolVersion": 5, "capabilities": [], "clientInfo": about()}), &["protocolVersion must be", "capabilities must be"]),
        (json!(["2025-11-25"]), &["params must be an object"]),
        (Value::Null, &["protocolVersion is missing"]),
    ] {
        let error = raw.ask(&json!({"jsonrpc": "2.0", "id": "i", "method": "initialize", "params": params}))["error"].clone();
        assert_eq!(error["code"], -32602, "{params} {error}");
        let message = error["message"].as_str().unwrap();
        assert!(names.iter().all(|name| message.contains(name)), "{params}: {message}");
    }
    let params = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {"experimental": {"x": true}, "teleport": [1], "roots": true, "elicitation": {"form": {}, "voice": 1}},
        "clientInfo": {"name": "t", "version": "1", "icons": "none", "shoeSize": 43},
    });
    let begun = raw.ask(&json!({"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": params}));
    assert_eq!(begun["result"]["protocolVersion"], "2025-11-25", "{begun}");
    raw.close();
    for unknown in ["2099-01-01", "1", "", "DRAFT-2025-v2", "2026-07-28"] {
        let mut raw = Raw::start();
        assert_eq!(raw.ask(&initialize(1, unknown))["result"]["protocolVersion"], "2025-11-25", "{unknown}");
        raw.close();
    }
}

#[test]
fn params_that_do_not_fit_are_named_in_every_method_and_era() {
    let mut cases = vec![
        ("tools/call", json!({"arguments": {}}), "name"),
        ("tools/call", json!({"name": "usage", "arguments": "{}"}), "arguments"),
        ("tools/call", json!({"name": "usage", "arguments": []}), "arguments"),
        ("tools/call", json!({"name": ["usage"]}), "name"),
        ("tools/call", json!({}), "name"),
        ("prompts/get", json!({}), "name"),
        ("prompts/get", json!({"name": "spend_report", "arguments": "x"}), "arguments"),
        ("resources/read", json!({}), "uri"),
        ("resources/read", json!({"uri": 5}), "uri"),
        ("completion/complete", json!({"argument": {"name": "id", "value": "x"}}), "ref"),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "compare_models"}}), "argument"),
    ];
    cases.extend(LISTS.iter().flat_map(|list| [(*list, json!({"cursor": 5}), "cursor"), (*list, json!({"cursor": "wrong"}), "cursor")]));
    for is_modern in [false, true] {
        let mut raw = if is_modern { Raw::start() } else { Raw::begun("2025-11-25") };
        for (method, params, member) in &cases {
            let mut params = params.clone();
            if is_modern {
                params["_meta"] = modern_meta();
            }
            let error = raw.ask(&json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}));
            assert_eq!((&error["id"], &error["error"]["code"]), (&json!(5), &json!(-32602)), "{method} {params}: {error}");
            assert!(error["error"]["message"].as_str().unwrap().contains(member), "{method} {params}: {error}");
        }
        raw.close();
    }
    let mut raw = Raw::begun("2025-06-18");
    for method in LISTS.iter().copied().chain(["tools/call", "prompts/get", "resources/read", "completion/complete", "ping"]) {
        let error = raw.ask(&json!({"jsonrpc": "2.0", "id": 6, "method": method, "params": [1]}));
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(6), &json!(-32602)), "{method}: {error}");
    }
    for method in ["tools/call", "prompts/get", "resources/read", "completion/complete"] {
        let error = raw.ask(&json!({"jsonrpc": "2.0", "id": 7, "method": method}));
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32602)), "{method}: {error}");
    }
    assert_eq!(raw.ask(&json!({"jsonrpc": "2.0", "id": 8, "method": "no/such", "params": {"name": 5}}))["error"]["code"], -32601);
    for (n, left_out) in [json!({}), json!({"cursor": null}), json!({"cursor": ""}), Value::Null].into_iter().enumerate() {
        let list = raw.ask(&json!({"jsonrpc": "2.0", "id": n, "method": "tools/list", "params": left_out}));
        assert!(list["result"]["tools"].is_array(), "{list}");
    }
    raw.close();
}

#[test]
fn every_request_with_an_id_that_can_be_read_gets_an_answer_with_it() {
    let mut raw = Raw::begun("2025-11-25");
    let deep = format!(r#"{{"jsonrpc":"2.0","id":8,"method":"ping","params":{{"a":{}{}}}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    let cases: Vec<(Vec<u8>, Value, i32)> = vec![
        (
            br#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"search","arguments":{"query":"hi \ud83d"}}}"#.to_vec(),
            json!(5),
            -32700,
        ),
        (
            br#"{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"search","arguments":{"query":"a","limit":1e400}}}"#
                .to_vec(),
            json!(6),
            -32700,
        ),
        (b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{\"name\":\"caf\xe9\"}}".to_vec(), json!(7), -32700),
        (b"{\"params\":{\"id\":1,\"name\":\"caf\xe9\"},\"id\":\"late\"}".to_vec(), json!("late"), -32700),
        (deep.into_bytes(), json!(8), -32700),
        (br#"{"jsonrpc":"2.0","id":9,"method":"pi"#.to_vec(), json!(9), -32700),
        (br#"{"jsonrpc":"2.0","id":9,"method":"ping"}}"#.to_vec(), json!(9), -32700),
        (br#"{"id":10,"method":"ping"}"#.to_vec(), json!(10), -32600),
        (br#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#.to_vec(), json!("a"), -32600),
        (br#"{"jsonrpc":"2.0","id":11,"method":"tools/list","params":[]}"#.to_vec(), json!(11), -32602),
        (br#"{"jsonrpc":"2.0","id":7.5,"method":"ping"}"#.to_vec(), json!(7.5), -32600),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_vec(), Value::Null, -32600),
        (br#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#.to_vec(), Value::Null, -32600),
        (br#"{"jsonrpc":"2.0","id":1e400,"method":"ping"}"#.to_vec(), Value::Null, -32600),
        (br#"{"jsonrpc":"2.0","id":12,"method":"ping","id":12}"#.to_vec(), json!(12), -32600),
        (br#"{"jsonrpc":"2.0","id":13,"method":"ping","method":"tools/list"}"#.to_vec(), json!(13), -32600),
        (br#"{"jsonrpc":"2.0","id":14}"#.to_vec(), json!(14), -32600),
        (br#"{"jsonrpc":"2.0","id":15,"method":["ping"]}"#.to_vec(), json!(15), -32600),
        (b"\"text\"".to_vec(), Value::Null, -32600),
        (b"no JSON".to_vec(), Value::Null, -32700),
    ];
    for (line, id, code) in cases {
        raw.write(&[&line[..], b"\n"].concat());
        let error = raw.read();
        let shown = String::from_utf8_lossy(&line[..line.len().min(90)]).into_owned();
        assert_eq!((&error["id"], &error["error"]["code"]), (&id, &json!(code)), "{shown}: {error}");
        assert!(error.as_object().unwrap().contains_key("id"), "{shown}");
    }
    // Nobody waits for an answer to these.
    for line in [
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":[]}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}"#,
        r#"{"id":3,"result":5}"#,
    ] {
        raw.write(format!("{line}\n").as_bytes());
    }
    for id in [json!(0), json!("a"), json!(-5), json!(9_007_199_254_740_993_i64), json!("")] {
        assert_eq!(raw.ask(&ping(id.clone())), json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
    // A last line need not have an end.
    raw.write(ping("last").to_string().as_bytes());
    let last = raw.close();
    assert_eq!(last, [json!({"jsonrpc": "2.0", "id": "last", "result": {}})]);
}

#[test]
fn a_line_without_measure_is_answered_and_takes_no_such_memory() {
    let mut raw = Raw::begun("2025-11-25");
    let piece = vec![b'x'; 1 << 20];
    for (before, after) in [("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"", "\"}\n"), ("{\"method\":\"", "\",\"id\":2}\n")] {
        raw.write(before.as_bytes());
        (0..100).for_each(|_| raw.write(&piece));
        raw.write(after.as_bytes());
        let error = raw.read();
        assert_eq!(error["error"]["code"], -32600);
        assert!(error["error"]["message"].as_str().unwrap().contains("33 MiB"), "{error}");
        assert_eq!(error["id"], if before.contains("id") { 1 } else { 2 });
    }
    assert_eq!(raw.ask(&ping(3))["id"], 3);
    if cfg!(target_os = "linux") {
        let status = std::fs::read_to_string(format!("/proc/{}/status", raw.child.id())).unwrap();
        let most =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        assert!(most < 90 << 10, "{most} kB");
    }
    raw.close();
}

#[test]
fn a_batch_is_answered_by_a_batch_in_the_revision_that_has_them() {
    let mut raw = Raw::begun("2025-03-26");
    let ids = |answer: &Value| -> HashSet<String> {
        answer.as_array().unwrap_or_else(|| panic!("{answer}")).iter().map(|one| one["id"].to_string()).collect()
    };
    let answers = raw.ask(&json!([ping(1), ping("two")]));
    assert_eq!(ids(&answers), HashSet::from(["1".to_owned(), "\"two\"".to_owned()]));
    assert!(answers.as_array().unwrap().iter().all(|answer| answer["result"] == json!({})));
    let mixed = raw.ask(&json!([
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        ping(3),
        initialize(4, "2025-03-26"),
        {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {}},
        {"jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "gpt-4o"}}},
        {"id": 7, "method": "ping"},
        8,
    ]));
    assert_eq!(ids(&mixed), ["3", "4", "5", "6", "7", "null"].map(str::to_owned).into());
    for answer in mixed.as_array().unwrap() {
        let code = match &answer["id"] {
            id if *id == 4 || *id == 7 || id.is_null() => json!(-32600),
            id if *id == 5 => json!(-32602),
            _ => Value::Null,
        };
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    // Nothing is said to notes alone: the next line is the answer to the next request.
    raw.send(&json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 1, "result": {}}]));
    assert_eq!(raw.ask(&json!([]))["error"]["code"], -32600, "an empty batch");
    assert_eq!(raw.ask(&ping(9))["id"], 9);
    raw.close();
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let mut raw = Raw::begun(revision);
        raw.send(&json!([ping(1), ping(2)]));
        for id in [1, 2] {
            let error = raw.read();
            assert_eq!((&error["id"], &error["error"]["code"]), (&json!(id), &json!(-32600)), "{revision}: {error}");
            assert!(error["error"]["message"].as_str().unwrap().contains("2025-03-26"), "{error}");
        }
        // A thousand answers might never be read, and then nothing would be any more.
        let one = raw.ask(&(0..1_000).map(ping).collect::<Value>());
        assert_eq!((&one["id"], &one["error"]["code"]), (&Value::Null, &json!(-32600)), "{revision}: {one}");
        assert_eq!(raw.ask(&ping(3))["id"], 3);
        raw.close();
    }
}

#[test]
fn an_id_that_waits_for_its_answer_is_not_given_to_another_request() {
    let mut raw = Raw::begun("2025-03-26");
    let both = raw.ask(&json!([ping(1), ping(1)]));
    let errors: Vec<bool> = both.as_array().unwrap().iter().map(|answer| answer["error"].is_object()).collect();
    assert_eq!((errors.len(), errors.iter().filter(|is_error| **is_error).count()), (2, 1), "{both}");
    assert_eq!(raw.ask(&ping(1))["result"], json!({}), "afterwards it is free");
    raw.close();
}

#[test]
fn what_belongs_to_the_newest_era_is_not_said_in_older_ones() {
    fn names(value: &Value, found: &mut HashSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                found.insert(name.clone());
                names(value, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            _ => {}
        }
    }
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"] {
        let is_modern = revision == "2026-07-28";
        let mut raw = if is_modern { Raw::start() } else { Raw::begun(revision) };
        let call = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
        let mut asked: Vec<(&str, Value)> = LISTS.iter().map(|list| (*list, json!({}))).collect();
        asked.extend([
            ("resources/read", json!({"uri": "lava-mcp://catalog"})),
            ("prompts/get", json!({"name": "spend_report"})),
            (
                "completion/complete",
                json!({"ref": {"type": "ref/prompt", "name": "compare_models"}, "argument": {"name": "models", "value": "gpt"}}),
            ),
            ("tools/call", call("login", json!({}))),
            ("tools/call", call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 9}))),
            ("tools/call", call("usage", json!({}))),
            ("tools/call", call("usage", json!({"limit": 0}))),
        ]);
        let mut found = HashSet::new();
        for (method, mut params) in asked {
            if is_modern {
                params["_meta"] = modern_meta();
            }
            let answer = raw.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
            assert!(answer["result"].is_object(), "{revision} {method}: {answer}");
            names(&answer, &mut found);
        }
        raw.close();
        for name in ["resultType", "ttlMs", "cacheScope"] {
            assert_eq!(found.contains(name), is_modern, "{revision}: {name}");
        }
        assert!(is_modern || !found.iter().any(|name| name.starts_with("io.modelcontextprotocol/")), "{revision}: {found:?}");
    }
}

#[test]
fn a_client_that_does_not_read_the_log_hangs_nothing() {
    let mut raw = Raw::begun("2025-11-25");
    for id in 0..1_500 {
        let message = match id % 3 {
            0 => json!({"jsonrpc": "2.0", "id": id, "method": "resources/subscribe", "params": {"uri": "lava-mcp://catalog"}}),
            1 => {
                json!({"jsonrpc": "2.0", "id": id, "method": "resources/read", "params": {"uri": format!("lava-mcp://{}", "x".repeat(300))}})
            }
            _ => json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "usage", "arguments": {"limit": 0}}}),
        };
        assert_eq!(raw.ask(&message)["id"], id);
    }
    raw.close();
}
