//! How much may be spent, where every program of this user can answer what a person is asked.

use serde_json::{Value, json};

use super::{Client, Serving, last_message};
use crate::cli::program;

/// Calls `login` as a client that can show forms, with an answer to the question before.
async fn login(client: &Client, answer: Option<(&Value, &str)>) -> Value {
    let mut params = json!({"name": "login", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }});
    if let Some((state, amount)) = answer {
        params["requestState"] = state.clone();
        params["inputResponses"] = json!({"limit": {"action": "accept", "content": {"amount": amount, "cycle": "daily"}}});
    }
    let request = client.post(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}));
    let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", "login");
    last_message(request.send().await.unwrap()).await["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_http_never_goes_beyond_the_settings() {
    for most in [None, Some("8.00")] {
        let home = tempfile::tempdir().unwrap();
        let mut command = program(home.path());
        command.arg("--sandbox").env("LAVA_ASK", "1");
        if let Some(most) = most {
            command.env("LAVA_SESSION_LIMIT", format!("{most}/daily"));
        }
        let serving = Serving::start(command, &["--listen", "127.0.0.1:0"]);
        let most = most.unwrap_or("5.00");
        let asked = login(&serving, None).await;
        let message = asked["inputRequests"]["limit"]["params"]["message"].as_str().unwrap_or_else(|| panic!("{asked}"));
        assert!(message.contains(&format!("At most {most} USD daily")) && message.contains("LAVA_SESSION_LIMIT"), "{message}");
        let refused = login(&serving, Some((&asked["requestState"], "8.01"))).await["structuredContent"]["error"].clone();
        assert_eq!(refused["code"], "limit_not_allowed", "{refused}");
        let text = refused["message"].as_str().unwrap();
        assert!(text.contains(&format!("at most {most} USD")) && text.contains("LAVA_SESSION_LIMIT"), "{text}");
        let ready = login(&serving, Some((&asked["requestState"], "4.00"))).await["structuredContent"].clone();
        assert_eq!(ready["spend_key"]["spend_limit"]["amount"], "4.00", "{ready}");
    }
}
