//! Resources, prompts and completions, in both eras.

use serde_json::{Value, json};

use crate::{
    cli::program,
    fake_upstream::FakeUpstream,
    mcp_stdio::{Server, with_upstream},
};

#[test]
fn listing_opens_nothing() {
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        // A keyring that is locked would block; no keyring at all fails. Neither is looked at.
        let mut command = program(home.path());
        command.env("LAVA_CREDENTIAL_STORE", "keyring");
        let mut server = Server::start(command, modern);
        let mut list = |method: &str, name: &str| {
            let result = server.request(method, json!({}))["result"].clone();
            if modern {
                assert_eq!((&result["cacheScope"], result["ttlMs"].as_u64().unwrap() > 0), (&json!("public"), true), "{result}");
            }
            result[name].as_array().unwrap().clone()
        };
        let uris: Vec<Value> = list("resources/list", "resources").iter().map(|one| one["uri"].clone()).collect();
        assert_eq!(uris, ["lava-mcp://catalog", "lava-mcp://session"]);
        let templates: Vec<Value> =
            list("resources/templates/list", "resourceTemplates").iter().map(|one| one["uriTemplate"].clone()).collect();
        assert_eq!(templates, ["lava-mcp://models/{+id}", "lava-mcp://results/{id}{?offset}"]);
        let prompts: Vec<Value> = list("prompts/list", "prompts").iter().map(|one| one["name"].clone()).collect();
        assert_eq!(prompts, ["compare_models", "spend_report"]);
        server.close();
        assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "nothing was made");
    }
}

fn read(server: &mut Server, uri: &str) -> (Value, Value) {
    let answer = server.request("resources/read", json!({ "uri": uri }));
    let text = answer["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(text.chars().count() <= 20_000);
    (serde_json::from_str(text).unwrap(), answer["result"].clone())
}

#[test]
fn the_catalog_and_the_session_can_be_read() {
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::sandbox(home.path(), modern);
        let (catalog, _) = read(&mut server, "lava-mcp://catalog");
        let models = catalog["models"].as_array().unwrap();
        assert!(
            models.len() > 20 && catalog["shown"] == models.len() && catalog["total"].as_u64().unwrap() >= models.len() as u64,
            "{catalog}"
        );
        assert!(models.iter().all(|model| model["id"].as_str().unwrap().contains('/') && model["input"].is_string()), "{catalog}");
        for id in ["openai/gpt-4o-mini", "openai%2Fgpt-4o-mini"] {
            let (model, _) = read(&mut server, &format!("lava-mcp://models/{id}"));
            assert_eq!((&model["id"], &model["kind"]), (&json!("openai/gpt-4o-mini"), &json!("model")));
        }
        let early = server.request("resources/read", json!({"uri": "lava-mcp://session"}));
        assert!(early["error"]["message"].as_str().unwrap().contains("login"), "{early}");
        server.call("login", json!({}));
        server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20}));
        let (session, result) = read(&mut server, "lava-mcp://session");
        assert_eq!((&session["spend_key"]["current_requests"], session["requests"].as_array().unwrap().len()), (&json!(1), 1));
        assert!(!session.to_string().contains("aks_") && session["remaining"].is_string());
        if modern {
            assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(0)));
        }
        let code = if modern { -32602 } else { -32002 };
        for uri in ["lava-mcp://nothing", "lava-mcp://models/nobody/nothing", "file:///etc/passwd", ""] {
            assert_eq!(server.request("resources/read", json!({ "uri": uri }))["error"]["code"], code, "{uri}");
        }
        server.close();
    }
}

#[test]
fn prompts_are_filled_in() {
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::sandbox(home.path(), modern);
        let arguments = json!({"question": "Why is the\u{202e} sky blue?", "models": "gpt-4o-mini, gpt-4o", "budget": "0.02"});
        let prompt = server.request("prompts/get", json!({"name": "compare_models", "arguments": arguments}))["result"].clone();
        let text = prompt["messages"][0]["content"]["text"].as_str().unwrap();
        for part in ["Why is the sky blue?", "gpt-4o-mini, gpt-4o", "0.02 USD", "max_cost"] {
            assert!(text.contains(part), "{text}");
        }
        for (name, arguments) in [("compare_models", json!({})), ("compare_models", json!({"question": " "})), ("nothing", json!({}))] {
            let refused = server.request("prompts/get", json!({"name": name, "arguments": arguments}));
            assert_eq!(refused["error"]["code"], -32602, "{refused}");
        }
        let report = server.request("prompts/get", json!({"name": "spend_report"}))["result"].clone();
        assert!(report["messages"][0]["content"]["text"].as_str().unwrap().contains("usage"));
        let prompt = json!({"type": "ref/prompt", "name": "compare_models"});
        let template = json!({"type": "ref/resource", "uri": "lava-mcp://models/{+id}"});
        for (reference, name, typed, completed) in [
            (&prompt, "models", "gpt-4o-m", "openai/gpt-4o-mini"),
            (&prompt, "models", "openai/gpt-4o, gpt-4o-m", "openai/gpt-4o, openai/gpt-4o-mini"),
            (&template, "id", "gpt-4o-m", "openai/gpt-4o-mini"),
        ] {
            let asked = json!({"ref": reference, "argument": {"name": name, "value": typed}});
            let values = server.request("completion/complete", asked)["result"]["completion"]["values"].clone();
            assert!(values.as_array().unwrap().contains(&json!(completed)), "{values}");
        }
        let asked = json!({"ref": prompt, "argument": {"name": "question", "value": "gpt"}});
        assert_eq!(server.request("completion/complete", asked)["result"]["completion"]["values"], json!([]));
        server.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_are_said_without_zeros_at_their_end() {
    let upstream = FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(with_upstream(home.path(), &upstream), true);
    server.call("login", json!({"spend_limit": {"amount": "0.50", "cycle": "daily"}}));
    server.call("prompt", json!({"model": "fake/ok", "input": "Hi", "max_tokens": 50}));
    let usage = server.call("usage", json!({}));
    let words = usage["content"][0]["text"].as_str().unwrap();
    assert!(words.contains(": 0.000025 USD spent this cycle, limit 0.50 USD daily, 0.499975 USD left, 1 request."), "{words}");
    server.close();
}
