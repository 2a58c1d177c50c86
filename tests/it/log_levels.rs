//! However much is logged, no library and no line of our own has a prompt, an answer, a header or a provider's text in it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    cli::program_with,
    raw_provider::{self, completion, piece, plain, stream_end, stream_head},
};

const PROMPT: &str = "canary-of-the-prompt";
const ANSWER: &str = "canary-of-the-answer";
const HEADER: &str = "canary-of-the-header";
const ERROR: &str = "canary-of-the-error";

const SETTINGS: [&str; 4] = [
    "trace",
    "lava_mcp=trace,rmcp=trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,tower=trace,axum=trace,mio=trace",
    "rmcp::transport::async_rw=trace,rmcp::service=trace,warn,hyper::proto=debug",
    "trace,rmcp=trace,lava_mcp::gateway=trace",
];

fn provider() -> String {
    raw_provider::start(|path, body| {
        let model = body["model"].as_str().unwrap_or_default();
        match model {
            "broken" => plain(500, &json!({"error": {"message": format!("{ERROR} {PROMPT}")}})),
            "refuses" => plain(400, &json!({"error": {"message": format!("{ERROR} {PROMPT}"), "code": ERROR}})),
            "denies" => plain(401, &json!({"error": {"message": format!("{ERROR} {PROMPT}")}})),
            "garbage" => plain(200, &json!(format!("{ERROR} {PROMPT}"))),
            _ if path.starts_with("/err") => vec![],
            _ if body["stream"] == true => [vec![stream_head(), piece(ANSWER)], stream_end()].into_iter().flatten().collect(),
            _ => plain(200, &completion(ANSWER)),
        }
    })
}

/// Collects what a child logs.
fn log_of(child: &mut Child) -> std::thread::JoinHandle<String> {
    let mut errors = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        let mut log = Vec::new();
        let _ = errors.read_to_end(&mut log);
        String::from_utf8_lossy(&log).into_owned()
    })
}

fn assert_clean(log: &str, what: &str) {
    for canary in [PROMPT, ANSWER, HEADER, ERROR] {
        let line = log.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{what}: {}", line.unwrap_or_default());
    }
}

const MODELS: [&str; 5] = ["m", "broken", "refuses", "denies", "garbage"];

#[test]
fn the_gateway_logs_no_bodies_and_no_headers() {
    for setting in SETTINGS {
        let home = tempfile::tempdir().unwrap();
        let url = provider();
        let run = |arguments: &[&str]| program_with(home.path(), &url).args(arguments).output().unwrap();
        let key = String::from_utf8(run(&["keys", "create", "k", "--unlimited", "--quiet"]).stdout).unwrap().trim().to_owned();
        let mut command = program_with(home.path(), &url);
        let mut child =
            command.env("LAVA_LOG", setting).args(["gateway", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = String::new();
        let address = {
            let mut lines = BufReader::with_capacity(1, child.stderr.as_mut().unwrap());
            loop {
                let mut line = String::new();
                assert!(lines.read_line(&mut line).unwrap() > 0);
                log.push_str(&line);
                if let Some(address) = line.trim().strip_prefix("Listening on ") {
                    break address.to_owned();
                }
            }
        };
        let rest = log_of(&mut child);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            for model in MODELS.into_iter().flat_map(|model| [format!("house/{model}"), format!("bad/{model}")]) {
                for stream in [false, true] {
                    let body = json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]});
                    for path in ["chat/completions", "messages"] {
                        let asked =
                            client.post(format!("{address}/{path}")).bearer_auth(&key).header("x-canary", HEADER).header("cookie", HEADER);
                        if let Ok(answer) = asked.body(body.to_string()).send().await {
                            let _ = answer.bytes().await;
                        }
                    }
                }
            }
            // A body that cannot be read, and a key that nobody knows.
            for body in [format!("{{\"{PROMPT}"), format!("{{\"model\":\"{PROMPT}\",\"{PROMPT}\":1}}")] {
                let _ = client.post(format!("{address}/chat/completions")).bearer_auth(&key).body(body).send().await;
            }
            let _ = client.get(format!("{address}/models")).bearer_auth(HEADER).send().await;
        });
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        child.wait().unwrap();
        log.push_str(&rest.join().unwrap());
        assert_clean(&log, setting);
    }
}

#[test]
fn the_tools_log_no_arguments_and_no_results() {
    for setting in SETTINGS {
        let home = tempfile::tempdir().unwrap();
        let url = provider();
        let mut command = program_with(home.path(), &url);
        command.env("LAVA_LOG", setting).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = log_of(&mut child);
        let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut id = 0;
        let mut ask = |method: &str, params: Value| {
            id += 1;
            writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).unwrap();
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            line
        };
        ask("initialize", json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}));
        ask("tools/call", json!({"name": "login", "arguments": {}}));
        for model in MODELS {
            let answer = ask("tools/call", json!({"name": "prompt", "arguments": {"model": format!("house/{model}"), "input": PROMPT}}));
            assert!(model != "m" || answer.contains(ANSWER), "{answer}");
        }
        ask("tools/call", json!({"name": "search", "arguments": {"query": PROMPT}}));
        ask("tools/call", json!({"name": PROMPT, "arguments": {PROMPT: PROMPT}}));
        ask("resources/read", json!({"uri": format!("lava-mcp://{PROMPT}")}));
        ask(PROMPT, json!({"a": PROMPT}));
        writeln!(input, "{{\"{PROMPT}").unwrap();
        drop(input);
        child.wait().unwrap();
        assert_clean(&log.join().unwrap(), setting);
    }
}
