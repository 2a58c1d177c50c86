//! Looking around says what the key that pays may buy, wherever one looks, and makes no key for that.

use std::path::Path;

use lava_mcp::catalog::Catalog;
use serde_json::{Value, json};

use crate::{cli::program, mcp_stdio::Server};

const NOT_ALLOWED: &str = "does not allow";

/// The program whose keys may only buy from one provider.
fn only(provider: &str, home: &Path) -> std::process::Command {
    let config = home.join("lava.toml");
    let text = format!("local_servers = false\nsandbox = true\n[session]\nallowed_providers = [\"{provider}\"]\n");
    std::fs::write(&config, text).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", config);
    command
}

fn run(home: &Path, arguments: &[&str]) -> Value {
    run_only("groq", home, arguments)
}

fn run_only(provider: &str, home: &Path, arguments: &[&str]) -> Value {
    let done = only(provider, home).arg("--json").args(arguments).output().unwrap();
    serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"))
}

#[test]
fn the_search_of_the_command_line_looks_with_its_key() {
    let home = tempfile::tempdir().unwrap();
    let hit = || {
        let found = run(home.path(), &["search", "gpt-4o-mini", "--provider", "openai"]);
        found["results"].as_array().unwrap().iter().find(|hit| hit["id"] == "openai/gpt-4o-mini").unwrap().clone()
    };
    assert_eq!(hit()["available"], true, "nobody's key");
    assert_eq!(run(home.path(), &["status"])["logged_in"], false, "none is made for it");
    assert_eq!(run(home.path(), &["login"])["logged_in"], true);
    let refused = hit();
    assert!(refused["available"] == false && refused["unavailable_reason"].to_string().contains(NOT_ALLOWED), "{refused}");
}

#[test]
fn resources_completions_and_calls_look_with_the_key_of_the_session() {
    for modern in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(only("groq", home.path()), modern);
        let model = |server: &mut Server| {
            let read = server.request("resources/read", json!({"uri": "lava-mcp://models/openai/gpt-4o-mini"}));
            serde_json::from_str::<Value>(read["result"]["contents"][0]["text"].as_str().unwrap()).unwrap()
        };
        let complete = |server: &mut Server, typed: &str| {
            let reference = json!({"type": "ref/resource", "uri": "lava-mcp://models/{+id}"});
            let params = json!({"ref": reference, "argument": {"name": "id", "value": typed}});
            server.request("completion/complete", params)["result"]["completion"]["values"].as_array().unwrap().clone()
        };
        assert_eq!(model(&mut server)["available"], true, "nobody's key");
        assert!(complete(&mut server, "gpt-4o-mini").contains(&json!("openai/gpt-4o-mini")));
        server.call("login", json!({}));

        let refused = model(&mut server);
        assert!(refused["available"] == false && refused["unavailable_reason"].to_string().contains(NOT_ALLOWED), "{refused}");
        for typed in ["gpt-4o-mini", "llama"] {
            let found = complete(&mut server, typed);
            assert!(found.iter().all(|id| id.as_str().unwrap().starts_with("groq/")), "{typed}: {found:?}");
        }
        assert!(!complete(&mut server, "llama").is_empty());

        let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5});
        let refused = server.call("call", json!({"url": "openai/gpt-4o-mini", "body": body}));
        let error = &refused["structuredContent"]["error"];
        assert!(error["code"] == "provider_not_allowed" && error["message"].to_string().contains("openai"), "{refused}");
    }
}

#[test]
fn a_name_that_many_sell_is_called_where_the_key_may_buy() {
    for provider in ["groq", "openrouter"] {
        let home = tempfile::tempdir().unwrap();
        let mut server = Server::start(only(provider, home.path()), true);
        server.call("login", json!({}));
        let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5});
        let bought = server.call("call", json!({"url": "openai/gpt-oss-120b", "body": body}));
        assert_eq!(bought["structuredContent"]["status"], 200, "{provider}: {bought}");
        let typed = run_only(provider, home.path(), &["call", "openai/gpt-oss-120b", "-d", &body.to_string()]);
        assert_eq!(typed["status"], 200, "{provider}: {typed}");
    }
}

/// A search shows one seller of a model; who names another one means that one.
#[test]
fn every_model_is_found_by_its_id_whoever_sells_it() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    let ids: Vec<String> =
        Catalog::embedded().models().iter().step_by(60).map(|model| format!("{}/{}", model.provider, model.id)).collect();
    assert!(ids.len() > 50, "{}", ids.len());
    for id in ids {
        let uri = format!("lava-mcp://models/{id}");
        let read = server.request("resources/read", json!({"uri": uri}));
        let text = read["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{id}: {read}"));
        assert_eq!(serde_json::from_str::<Value>(text).unwrap()["id"], *id);
    }
}
