//! `lava-mcp keys`: the life of a spend key from the command line.

use serde_json::{Value, json};

use crate::cli::program;

struct Keys {
    home: tempfile::TempDir,
}

impl Keys {
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = program(self.home.path()).args(["--sandbox", "keys"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Asks a model with this key; returns the exit code and what was said.
    fn ask(&self, key: &str) -> (Option<i32>, String) {
        let mut command = program(self.home.path());
        command.env("LAVA_SPEND_KEY", key).args(["--sandbox", "prompt", "gpt-4o-mini", "Hi", "--max-tokens", "9"]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn the_life_of_a_spend_key() {
    let keys = Keys { home: tempfile::tempdir().unwrap() };
    let limits = [
        "--spend-limit",
        "50.00/monthly",
        "--request-limit",
        "100/daily",
        "--rate-limit",
        "60/10",
        "--models",
        "gpt-4o-mini,gpt-4o*",
        "--providers",
        "openai",
    ];
    let (code, key, _) = keys.run(&[&["create", "Agent - Production", "--quiet"], &limits[..]].concat());
    assert_eq!(code, Some(0));
    let key = key.trim();
    assert!(key.starts_with("lava_sk_") && !key.contains('\n'), "the key alone: {key}");
    let listed = keys.json(&["list"]);
    let object = &listed["data"][0];
    let id = object["spend_key_id"].as_str().unwrap();
    assert_eq!(object["spend_limit"], json!({"amount": "50.00", "cycle": "monthly"}));
    assert_eq!(
        (&object["request_limit"], &object["rate_limit"]),
        (&json!({"count": 100, "cycle": "daily"}), &json!({"rpm": 60, "burst": 10}))
    );
    assert_eq!((&object["allowed_models"], &object["allowed_providers"]), (&json!(["gpt-4o-mini", "gpt-4o*"]), &json!(["openai"])));
    assert!(!listed.to_string().contains(&key[17..]), "shown once");

    assert_eq!(keys.ask(key).0, Some(0));
    assert_eq!(keys.json(&["pause", id])["status"], "paused");
    assert!(keys.ask(key).1.contains("paused"));
    assert_eq!(keys.json(&["resume", id])["status"], "active");
    let updated = keys.json(&["update", id, "--spend-limit", "none", "--name", "renamed"]);
    assert_eq!(
        (&updated["spend_limit"], &updated["name"], &updated["request_limit"]["count"]),
        (&Value::Null, &json!("renamed"), &json!(100))
    );

    let rotated = keys.json(&["rotate", id]);
    let new = rotated["key"].as_str().unwrap();
    assert_ne!(new, key);
    assert!(keys.ask(key).1.contains("not known"));
    assert_eq!(keys.ask(new).0, Some(0));
    assert_eq!(keys.json(&["show", id])["total_requests"], 2);
    let (_, table, _) = keys.run(&["list"]);
    assert!(table.contains(id) && table.contains("renamed"), "{table}");

    assert_eq!(keys.run(&["revoke", id]).0, Some(0));
    assert!(keys.ask(new).1.contains("not known"));
    assert_eq!(keys.json(&["show", id])["status"], "revoked", "it can still be looked at");
}

#[test]
fn a_limit_that_cannot_be_read_is_named() {
    let keys = Keys { home: tempfile::tempdir().unwrap() };
    for (flag, value, says) in [
        ("--spend-limit", "50", "50.00/daily"),
        ("--request-limit", "many/daily", "1000/daily"),
        ("--rate-limit", "fast", "60/10"),
        ("--expires-at", "tomorrow", "tomorrow"),
        ("--shape", "google", "anthropic"),
        ("--expires-at", "2020-01-01T00:00:00Z", "in the past"),
        ("--models", ",", "1 to 1000"),
    ] {
        let (code, _, err) = keys.run(&["create", "x", "--unlimited", flag, value]);
        assert!(code == Some(1) && err.contains(says), "{flag} {value}: {err}");
    }
    assert_eq!(keys.json(&["list"])["data"], json!([]));
    assert_eq!(keys.run(&["update", "spk_x"]).0, Some(1));
}
