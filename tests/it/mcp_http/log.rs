//! What `serve` writes into its log: a line for each request of a client and for each purchase, and not for what a tool looks up in the gateway of the same process.

use serde_json::json;

use super::Serving;
use crate::cli::program;

/// Calls some tools; returns the log.
async fn log_at(level: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.arg("--sandbox").env("LAVA_LOG", level);
    let mut server = Serving::start(command, &["--listen", "127.0.0.1:0"]);
    for (tool, arguments) in [
        ("login", json!({})),
        ("search", json!({"query": "gpt-4o-mini"})),
        ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20})),
        ("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20, "max_cost": "0.0000001"})),
        ("call", json!({"url": "openai/gpt-4o-mini", "body": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}})),
        ("usage", json!({})),
    ] {
        server.call(tool, arguments).await;
    }
    server.stop();
    server.log.take().unwrap().join().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_came_over_the_network_or_was_bought_is_logged_at_info() {
    let log = log_at("info").await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("INFO")).collect();
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!((count("POST /mcp 200"), count("POST /v1/chat/completions 200"), count("POST /v1/forward 200")), (6, 1, 1), "{log}");
    assert_eq!(count("POST /v1/chat/completions 4"), 1, "what was refused is worth a line too: {log}");
    assert_eq!(count("POST /v1/spend_keys 201"), 1, "a key was made: {log}");
    assert_eq!(lines.len(), 10, "{log}");
    let bought = lines.iter().find(|line| line.contains("/v1/chat/completions 200")).unwrap();
    assert!(bought.contains("cost=") && bought.contains("model="), "{bought}");

    let log = log_at("debug").await;
    for path in ["GET /v1/lava_mcp/search 200", "GET /v1/spend_keys/self 200"] {
        assert!(log.lines().any(|line| line.contains("DEBUG") && line.contains(path)), "{path}: {log}");
    }
}
