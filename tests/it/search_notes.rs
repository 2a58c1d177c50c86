//! What a search says beside its results, on the command line, over HTTP and to a model: what is not sold, who is meant, and what keeps a result from being bought.

use serde_json::{Value, json};

use crate::{cli::program, mcp_stdio::Server};

fn search(variables: &[(&str, &str)], args: &[&str]) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let found = program(home.path()).envs(variables.iter().copied()).arg("search").args(args).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    (String::from_utf8(found.stdout).unwrap(), String::from_utf8(found.stderr).unwrap())
}

fn json(variables: &[(&str, &str)], args: &[&str]) -> Value {
    let (out, _) = search(variables, &[args, &["--json"]].concat());
    serde_json::from_str(&out).unwrap()
}

#[test]
fn what_is_not_sold_is_said() {
    for (question, says) in [
        ("send sms", r#"Nothing sold here is called or described as "send" or "sms"."#),
        ("weather", r#"Nothing sold here is called or described as "weather"."#),
        ("gpt-9z", "Nothing found; did you mean"),
    ] {
        let (out, err) = search(&[], &[question]);
        assert_eq!(out, "", "{question}");
        assert!(err.starts_with(says), "{question}: {err}");
        let found = json(&[], &[question]);
        assert!(found["total"] == 0 && found["note"].as_str().unwrap().starts_with(says), "{found}");
    }
    let (out, err) = search(&[], &["gpt-4o", "poems"]);
    assert!(out.contains("openai/gpt-4o") && err.contains(r#"Nothing is called "poems"; the results are for the other words."#), "{err}");
    assert_eq!(json(&[], &["gpt-4o"])["note"], Value::Null);
}

#[test]
fn an_unknown_provider_is_said_and_a_known_one_is_meant_in_any_form() {
    let (_, err) = search(&[], &["--provider", "gorq", "llama"]);
    assert!(err.contains("No provider is called gorq; did you mean groq?"), "{err}");
    let (out, _) = search(&[], &["--kind", "service", "--limit", "25"]);
    assert!(out.contains("openai") && out.contains("anthropic") && out.lines().count() > 20, "{out}");
    let (_, err) = search(&[], &["--provider", "qqqqqqq"]);
    assert!(err.contains("No provider is called qqqqqqq."), "{err}");
    for name in ["groq", "GROQ", " Groq "] {
        let found = json(&[], &["--provider", name]);
        assert!(found["total"].as_u64().unwrap() > 3 && found["note"].is_null(), "{name}: {found}");
    }
    assert!(json(&[], &["--provider", "Black Forest Labs"])["total"].as_u64().unwrap() > 3);
}

#[test]
fn each_row_says_whether_it_can_be_bought_and_a_command_that_buys_one_is_shown() {
    let (out, err) = search(&[], &["gpt-4o-mini", "--limit", "1"]);
    assert!(out.contains("  no   "), "{out}");
    assert!(err.contains("cannot be bought now: no key for openai is set; set OPENAI_API_KEY"), "{err}");
    assert!(!err.contains("to buy one"), "{err}");
    let (out, err) = search(&[("OPENAI_API_KEY", "sk-test")], &["gpt-4o-mini", "--limit", "1"]);
    assert!(out.contains("  yes  "), "{out}");
    assert!(err.contains("to buy one: `lava-mcp prompt openai/gpt-4o-mini \"Hello\"`") && !err.contains("cannot be bought"), "{err}");
    let (_, err) = search(&[("OPENAI_API_KEY", "sk-test")], &["text-embedding-3-small", "--limit", "1"]);
    let body = json!({"model": "text-embedding-3-small", "input": "Hello"});
    assert!(err.contains(&format!("to buy one: `lava-mcp call https://api.openai.com/v1/embeddings --data '{body}'`")), "{err}");
}

#[test]
fn a_model_is_told_what_is_not_sold() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::sandbox(home.path(), true);
    let found = server.call("search", json!({"query": "send sms"}));
    let says = r#"Nothing sold here is called or described as "send" or "sms"."#;
    assert!(found["content"][0]["text"].as_str().unwrap().starts_with(says), "{found}");
    assert!(found["structuredContent"]["note"].as_str().unwrap().starts_with(says), "{found}");
    let found = server.call("search", json!({"query": "claude poems"}));
    assert!(found["content"][0]["text"].as_str().unwrap().contains(r#"Nothing is called "poems""#), "{found}");
    let unknown = server.call("search", json!({"query": "", "provider": "gorq"}));
    assert!(unknown["structuredContent"]["note"].as_str().unwrap().contains("did you mean groq?"), "{unknown}");
}
