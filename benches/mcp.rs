//! What MCP adds to a call of the gateway: the same prompt, one after the other, straight to the gateway's router and through each transport of the built program.
//!
//! `cargo bench --bench mcp [-- FOLDER]`. The sandbox answers, so that nothing but our own work is measured; the ledger is in FOLDER, `/dev/shm` for one without the
//! disk's flush.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    reason = "a benchmark prints figures and may stop at a fault"
)]

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const CALLS: usize = 1_000;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("lava-mcp-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    println!("folder {}; medians and 99th percentiles of {CALLS} calls", folder.display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (gateway, stdio, http) = (folder.join("gateway"), folder.join("stdio"), folder.join("http"));
    let gateway_ms = report("a call of the gateway over HTTP", runtime.block_on(gateway_calls(&gateway)));
    let stdio_ms = report("prompt over stdio", stdio_calls(&stdio));
    let http_ms = report("prompt over Streamable HTTP", runtime.block_on(http_calls(&http)));
    println!("added by stdio: {:.3} ms; by Streamable HTTP: {:.3} ms", stdio_ms - gateway_ms, http_ms - gateway_ms);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn report(name: &str, mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let ms = |at: usize| times[at].as_secs_f64() * 1e3;
    println!("{name:<32} {:.3} ms  {:.3} ms", ms(times.len() / 2), ms(times.len() * 99 / 100));
    ms(times.len() / 2)
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lava-mcp"));
    command.env_clear().env("HOME", folder).env("LAVA_DATA_DIR", folder).env("LAVA_CREDENTIAL_STORE", "file");
    command.env("LAVA_SESSION_LIMIT", "1000.00/daily").arg("--sandbox");
    command
}

/// Starts a server, and reads the address off the first line that it says.
fn serve(folder: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child = program(folder).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).unwrap();
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    (child, address)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn gateway_calls(folder: &Path) -> Vec<Duration> {
    let key = program(folder).args(["keys", "create", "bench", "--unlimited", "--quiet"]).output().unwrap();
    let key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
    let (mut child, address) = serve(folder, &["gateway", "--listen", "127.0.0.1:0"]);
    let http = client();
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}).to_string();
    let call = || http.post(format!("{address}/chat/completions")).bearer_auth(&key).body(body.clone());
    let times = timed(async || call().send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap().len()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    times
}

async fn http_calls(folder: &Path) -> Vec<Duration> {
    let (mut child, address) = serve(folder, &["serve", "--listen", "127.0.0.1:0"]);
    let http = client();
    let call = async |tool: &str, arguments: Value| {
        let request =
            http.post(&address).header("accept", "application/json, text/event-stream").header("content-type", "application/json");
        let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", tool);
        let answer = request.body(message(tool, &arguments)).send().await.unwrap().error_for_status().unwrap();
        check(&answer.bytes().await.unwrap())
    };
    call("login", json!({})).await;
    let times = timed(async || call("prompt", prompt()).await).await;
    child.kill().unwrap();
    child.wait().unwrap();
    times
}

fn stdio_calls(folder: &Path) -> Vec<Duration> {
    let mut child = program(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut call = |tool: &str, arguments: Value| {
        writeln!(input, "{}", message(tool, &arguments)).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        check(line.as_bytes())
    };
    call("login", json!({}));
    call("prompt", prompt());
    let times = (0..CALLS).map(|_| {
        let began = Instant::now();
        call("prompt", prompt());
        began.elapsed()
    });
    let times = times.collect();
    drop(input);
    child.wait().unwrap();
    times
}

async fn timed(call: impl AsyncFn() -> usize) -> Vec<Duration> {
    // The first one loads the vocabulary.
    call().await;
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let began = Instant::now();
        call().await;
        times.push(began.elapsed());
    }
    times
}

fn prompt() -> Value {
    json!({"model": "gpt-4o-mini", "input": "Hello", "max_tokens": 20})
}

fn message(tool: &str, arguments: &Value) -> String {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments, "_meta": meta}}).to_string()
}

fn check(answer: &[u8]) -> usize {
    let answer: Value = serde_json::from_slice(answer).unwrap();
    assert!(answer["result"]["isError"] != true && answer["result"].is_object(), "{answer}");
    answer["result"].as_object().unwrap().len()
}
