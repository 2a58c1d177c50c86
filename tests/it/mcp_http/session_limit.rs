//! Sessions over HTTP share a key; what one of them asks for less of is its own affair.

use serde_json::{Value, json};

use super::{Client, Serving, last_message};

async fn call(client: &Client, session: &str, tool: &str, arguments: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    let answer = last_message(client.in_session(session, &message).send().await.unwrap()).await;
    answer["result"]["structuredContent"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_has_the_limit_of_the_settings_again() {
    let home = tempfile::tempdir().unwrap();
    let serving = Serving::sandbox(home.path());
    let (first, second) = (serving.initialize().await, serving.initialize().await);
    let amount = |session: &Value| session["spend_key"]["spend_limit"]["amount"].clone();
    let little = json!({"spend_limit": {"amount": "0.000001", "cycle": "daily"}});
    assert_eq!(amount(&call(&serving, &first, "login", little).await), "0.000001");
    assert_eq!(amount(&call(&serving, &second, "login", json!({})).await), "5.00");
    let asked = json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20});
    assert!(call(&serving, &second, "prompt", asked.clone()).await["cost"].is_string());
    let refused = call(&serving, &first, "prompt", asked.clone()).await;
    assert!(refused["error"]["message"].as_str().unwrap_or_default().contains("spend limit exceeded"), "{refused}");
    assert!(call(&serving, &second, "prompt", asked.clone()).await["cost"].is_string());
    assert_eq!(amount(&call(&serving, &first, "login", json!({})).await), "0.000001", "its own is still its own");
    // Without sessions, clients are told apart by their names, and one without a name is none of those.
    assert_eq!(amount(&serving.call("login", json!({})).await["structuredContent"]), "5.00");
}
