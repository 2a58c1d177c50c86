//! How much may be spent, where every program of this user can answer what a person is asked.

use serde_json::{Value, json};

use super::{Client, Serving, last_message};
use crate::cli::program;

/// Calls `login` as a client that can show forms, with an answer to the question before.
async fn login(client: &Client, said: Option<(&Value, &str)>) -> Value {
    match said {
        Some((state, amount)) => answer(client, state, json!({"action": "accept", "content": {"amount": amount, "cycle": "daily"}})).await,
        None => call(client, None).await,
    }
}

async fn answer(client: &Client, state: &Value, said: Value) -> Value {
    call(client, Some((state, said))).await
}

async fn call(client: &Client, answer: Option<(&Value, Value)>) -> Value {
    let mut params = json!({"name": "login", "arguments": {}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
    }});
    if let Some((state, said)) = answer {
        params["requestState"] = state.clone();
        params["inputResponses"] = json!({ "limit": said });
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
        let asked = login(&serving, None).await;
        if let Some(most) = most {
            let ready = &asked["structuredContent"];
            assert_eq!(
                (&ready["status"], &ready["spend_key"]["spend_limit"]["amount"]),
                (&"ready".into(), &most.into()),
                "nobody is asked: {asked}"
            );
            continue;
        }
        let most = "5.00";
        let message = asked["inputRequests"]["limit"]["params"]["message"].as_str().unwrap_or_else(|| panic!("{asked}"));
        assert!(message.contains(&format!("At most {most} USD daily")) && message.contains("LAVA_SESSION_LIMIT"), "{message}");
        let by_itself = answer(&serving, &asked["requestState"], json!({"action": "cancel"})).await["structuredContent"]["error"].clone();
        assert_eq!(by_itself["code"], "limit_needed", "{by_itself}");
        assert!(by_itself["hint"].as_str().unwrap().contains("`LAVA_SESSION_LIMIT=5.00/daily lava-mcp serve`"), "{by_itself}");
        let refused = login(&serving, Some((&asked["requestState"], "8.01"))).await["structuredContent"]["error"].clone();
        assert_eq!(refused["code"], "limit_not_allowed", "{refused}");
        let text = refused["message"].as_str().unwrap();
        assert!(text.contains(&format!("at most {most} USD")) && text.contains("LAVA_SESSION_LIMIT"), "{text}");
        let ready = login(&serving, Some((&asked["requestState"], "4.00"))).await["structuredContent"].clone();
        assert_eq!(ready["spend_key"]["spend_limit"]["amount"], "4.00", "{ready}");
    }
}
