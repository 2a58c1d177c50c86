//! How much may be spent, where every program of this user can answer what a person is asked.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Client, Serving, last_message, lines_of, next_message};
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
        assert!(by_itself["hint"].as_str().unwrap().contains("`LAVA_SESSION_LIMIT=5.00/daily lava-mcp --sandbox serve`"), "{by_itself}");
        let refused = login(&serving, Some((&asked["requestState"], "8.01"))).await["structuredContent"]["error"].clone();
        assert_eq!(refused["code"], "limit_not_allowed", "{refused}");
        let text = refused["message"].as_str().unwrap();
        assert!(text.contains(&format!("at most {most} USD")) && text.contains("LAVA_SESSION_LIMIT"), "{text}");
        let ready = login(&serving, Some((&asked["requestState"], "4.00"))).await["structuredContent"].clone();
        assert_eq!(ready["spend_key"]["spend_limit"]["amount"], "4.00", "{ready}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_within_the_stream_of_the_call_where_there_are_sessions() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.arg("--sandbox").env("LAVA_ASK", "1");
    let serving = Serving::start(command, &["--listen", "127.0.0.1:0"]);
    for revision in ["2025-06-18", "2025-11-25"] {
        let about =
            json!({"protocolVersion": revision, "capabilities": {"elicitation": {}}, "clientInfo": {"name": "raw test", "version": "1"}});
        let begun = serving.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about})).send().await.unwrap();
        let session = begun.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let send = async |message: Value| {
            let request = serving.post(&message).header("mcp-session-id", &session).header("mcp-protocol-version", revision);
            request.send().await.unwrap()
        };
        send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        // Who cancels is asked again by the next call.
        let mut expected = vec![
            (json!({"action": "cancel"}), "limit_needed"),
            (json!({"action": "accept", "content": {"amount": "5.01", "cycle": "daily"}}), "limit_not_allowed"),
            (json!({"action": "accept", "content": {"amount": "4.00", "cycle": "daily"}}), "ready"),
        ];
        if revision == "2025-11-25" {
            // The other session has made the key that all of them spend from.
            expected.clear();
            let mut lines = lines_of(
                send(json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "login", "arguments": {}}})).await,
            );
            assert_eq!(next_message(&mut lines).await["result"]["structuredContent"]["spend_key"]["spend_limit"]["amount"], "4.00");
        }
        for (said, outcome) in expected {
            let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "login", "arguments": {}}});
            let mut lines = lines_of(send(call).await);
            let question = next_message(&mut lines).await;
            assert_eq!(question["method"], "elicitation/create", "{question}");
            assert!(question["params"]["message"].as_str().unwrap().contains("At most 5.00 USD daily"), "{question}");
            let heard = send(json!({"jsonrpc": "2.0", "id": question["id"], "result": said})).await;
            assert_eq!(heard.status(), StatusCode::ACCEPTED);
            let answer = next_message(&mut lines).await["result"]["structuredContent"].clone();
            assert_eq!(answer["error"]["code"].as_str().or(answer["status"].as_str()), Some(outcome), "{answer}");
        }
    }
}
