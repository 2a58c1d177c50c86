//! `GET /v1/models` in the form that the caller's client reads.

use serde_json::{Value, json};

use crate::{
    cli::program,
    server::{Gateway, http, json_of},
};

const CONFIG: &str = r#"
local_servers = false
[providers.house]
base_url = "http://127.0.0.1:9/v1"
models = ["house-chat"]
price = "free"
[providers.claudes]
base_url = "http://127.0.0.1:9/v1"
dialect = "anthropic"
models = ["claude-a", "claude-b"]
price = "free"
"#;

#[tokio::test]
async fn a_client_of_anthropic_gets_its_own_list_and_others_theirs() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("lava.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = program(home.path());
    command.env("LAVA_CONFIG", config);
    let gateway = Gateway::start(home.path(), command);
    let list = async |version: Option<&str>, key: &str| -> (u16, Value) {
        let get = http().get(format!("{}/models?limit=1000", gateway.address)).header("x-api-key", key);
        let get = match version {
            Some(version) => get.header("anthropic-version", version),
            None => get,
        };
        let answer = get.send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    };
    let model = |id: &str| json!({"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"});
    let (status, anthropic) = list(Some("2023-06-01"), &gateway.secret).await;
    assert_eq!(status, 200);
    let expected =
        json!({"data": [model("claude-a"), model("claude-b")], "has_more": false, "first_id": "claude-a", "last_id": "claude-b"});
    assert_eq!(anthropic, expected);
    let (_, openai) = list(None, &gateway.secret).await;
    assert_eq!(openai, json!({"object": "list", "data": [{"id": "house-chat", "object": "model", "created": 0, "owned_by": "house"}]}));
    // A key's list of models holds here too, and nothing is listed as nothing.
    let body = json!({"name": "narrow", "spend_limit": {"amount": "1", "cycle": "daily"}, "allowed_models": ["house*"]}).to_string();
    let made = http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
    let key = json_of(made).await["key"].as_str().unwrap().to_owned();
    let (_, none) = list(Some("2023-06-01"), &key).await;
    assert_eq!(none, json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
    let (status, refused) = list(Some("2023-06-01"), "lava_sk_mistyped").await;
    assert_eq!((status, &refused["type"], &refused["error"]["type"]), (401, &json!("error"), &json!("authentication_error")));
}
