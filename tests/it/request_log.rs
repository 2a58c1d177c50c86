//! The line that each request leaves in the log of a server, and what `LAVA_LOG=debug` shows besides.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cli::{program, program_with},
    raw_provider::{self, completion, piece, plain, stream_end, stream_head},
};

/// A gateway, its address, and what it says from then on.
fn start(mut command: Command) -> (Child, String, std::thread::JoinHandle<String>) {
    let mut child = command.args(["gateway", "--listen", "0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut before = String::new();
    let address = loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "{before}");
        before.push_str(&line);
        if let Some(address) = line.trim().strip_prefix("Listening on ") {
            break address.to_owned();
        }
    };
    let rest = std::thread::spawn(move || {
        let mut log = Vec::new();
        let _ = lines.read_to_end(&mut log);
        before + &String::from_utf8_lossy(&log)
    });
    (child, address, rest)
}

fn provider() -> String {
    raw_provider::start(|_, body| match body["stream"] == true {
        true => [vec![stream_head(), piece("canary-answer")], stream_end()].into_iter().flatten().collect(),
        false => plain(200, &completion("canary-answer")),
    })
}

fn key(home: &Path, url: &str) -> (String, String) {
    let made = program_with(home, url).args(["keys", "create", "team key", "--spend-limit", "1.00/daily", "--json"]).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    (made["key"].as_str().unwrap().to_owned(), made["spend_key_id"].as_str().unwrap().to_owned())
}

/// Asks a gateway in several ways; returns its log.
fn log_of(setting: Option<&str>) -> (String, String, String) {
    let home = tempfile::tempdir().unwrap();
    let url = provider();
    let (key, id) = key(home.path(), &url);
    let mut command = program_with(home.path(), &url);
    command.envs(setting.map(|setting| ("LAVA_LOG", setting)));
    let (mut child, address, log) = start(command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        for stream in [false, true] {
            let body = json!({"model": "house/m", "stream": stream, "messages": [{"role": "user", "content": "canary-prompt"}]});
            let answer =
                client.post(format!("{address}/chat/completions?canary-query=1")).bearer_auth(&key).body(body.to_string()).send().await;
            answer.unwrap().bytes().await.unwrap();
        }
        let body = json!({"model": "canary-model", "messages": []}).to_string();
        client.post(format!("{address}/chat/completions")).bearer_auth(&key).body(body).send().await.unwrap();
        client.get(format!("{address}/models?key={key}")).send().await.unwrap();
        client.get(format!("{address}/{key}/nothing")).send().await.unwrap();
        client.get(format!("{address}/models")).bearer_auth("lava_sk_canary").send().await.unwrap();
    });
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let began = Instant::now();
    child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    (log.join().unwrap(), key, id)
}

#[test]
fn each_request_leaves_a_line() {
    for setting in [None, Some("info"), Some("debug")] {
        let (log, key, id) = log_of(setting);
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("INFO") && line.contains(" /v1/")).collect();
        assert_eq!(lines.len(), 6, "{setting:?}: {log}");
        for paid in &lines[..2] {
            for part in
                ["POST /v1/chat/completions 200", "model=\"m\"", "provider=\"house\"", "cost=0.", "ms=", &id, "team key", "request=\"req_"]
            {
                assert!(paid.contains(part), "{part}: {paid}");
            }
        }
        assert!(lines[2].contains("POST /v1/chat/completions 4") && lines[2].contains("code=\"") && lines[2].contains(&id), "{}", lines[2]);
        assert!(lines[3].contains("GET /v1/models 200"), "{}", lines[3]);
        assert!(lines[4].contains(" 404 "), "{}", lines[4]);
        assert!(lines[5].contains("GET /v1/models 401"), "{}", lines[5]);
        assert!(!log.contains(&key) && !log.contains("canary"), "{setting:?}: {log}");
    }
    let (log, ..) = log_of(Some("warn"));
    assert!(!log.contains("INFO"), "{log}");
}

#[test]
fn debug_says_which_settings_and_which_way() {
    let (log, key, _) = log_of(Some("debug"));
    for part in ["lava.toml", "data_dir=", "mode=", "is sold by", "money is set aside", "settled"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let request = log.lines().find(|line| line.contains("POST /v1/chat/completions 200")).unwrap();
    let id = request.split("request=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(log.lines().filter(|line| line.contains(id)).count() >= 4, "a request can be followed: {log}");
    assert!(!log.contains(&key) && !log.contains("canary"), "{log}");
}

#[test]
fn nothing_is_logged_by_commands() {
    let home = tempfile::tempdir().unwrap();
    let output = program(home.path()).args(["--sandbox", "search", "gpt"]).output().unwrap();
    assert!(!String::from_utf8(output.stderr).unwrap().contains("INFO"));
}
