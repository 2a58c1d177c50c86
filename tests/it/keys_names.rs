//! Spend keys by their names, with the limits that people type, and what a person is told about them.

use serde_json::{Value, json};

use crate::{cli::program, harness::Harness};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = program(self.0.path()).arg("--sandbox").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, err) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {err}");
        serde_json::from_str(&out).unwrap()
    }

    /// Makes a key; returns its id.
    fn key(&self, name: &str) -> String {
        self.json(&["keys", "create", name, "--spend-limit", "5/day"])["spend_key_id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn every_command_takes_a_name_as_well_as_an_id() {
    let place = Place::new();
    let id = place.key("my editor");
    let preview = place.json(&["keys", "show", &id])["key_preview"].as_str().unwrap().to_owned();
    for name in ["my editor", "My Editor", " my editor ", &id, &preview] {
        assert_eq!(place.json(&["keys", "show", name])["spend_key_id"], *id, "{name}");
    }
    assert_eq!(place.json(&["keys", "pause", "my editor"])["status"], "paused");
    assert_eq!(place.json(&["keys", "resume", "my editor"])["status"], "active");
    assert_eq!(
        place.json(&["keys", "update", "my editor", "--spend-limit", "$6 a week"])["spend_limit"],
        json!({"amount": "6.00", "cycle": "weekly"})
    );
    assert_eq!(place.json(&["keys", "holds", "my editor"])["open"], json!([]));
    let rotated = place.json(&["keys", "rotate", "my editor"]);
    assert_eq!(rotated["spend_key_id"], *id);
    let key = rotated["key"].as_str().unwrap();
    let (code, _, err) = place.run(&["keys", "revoke", key]);
    assert!(code == Some(1) && err.contains("the key itself") && !err.contains(key), "{err}");
    assert_eq!(place.json(&["keys", "revoke", "my editor"]), json!({"revoked": id, "name": "my editor"}));
}

#[test]
fn a_name_that_is_not_one_keys_is_an_error_that_helps() {
    let place = Place::new();
    let first = place.key("ci");
    for command in ["show", "pause", "resume", "rotate", "revoke", "holds"] {
        let (code, _, err) = place.run(&["keys", command, "cii"]);
        assert!(
            code == Some(1) && err.contains("no spend key is called \"cii\"") && err.contains("did you mean \"ci\"?"),
            "{command}: {err}"
        );
    }
    let (_, _, err) = place.run(&["keys", "show", "something else"]);
    assert!(err.contains("`lava-mcp --sandbox keys list`"), "{err}");

    // A second key of the same name is made, with a warning, and the name alone is then not enough.
    let second = place.json(&["keys", "create", "ci", "--spend-limit", "5/day"]);
    assert_eq!(second["warnings"][0]["about"], "name");
    assert!(second["warnings"][0]["message"].as_str().unwrap().contains(&first), "{second}");
    let second = second["spend_key_id"].as_str().unwrap();
    for command in [&["keys", "revoke", "ci"][..], &["keys", "update", "ci", "--name", "x"], &["keys", "show", "CI"]] {
        let (code, _, err) = place.run(command);
        assert!(code == Some(1) && err.contains(&first) && err.contains(second), "{command:?}: {err}");
    }
    // The exact name comes first.
    let upper = place.key("CI");
    assert_eq!(place.json(&["keys", "show", "CI"])["spend_key_id"], *upper);
    // One that is revoked is not meant by its name.
    assert_eq!(place.json(&["keys", "revoke", second])["revoked"], second);
    assert_eq!(place.json(&["keys", "show", "ci"])["spend_key_id"], *first);
    let renamed = place.json(&["keys", "update", &upper, "--name", "ci"]);
    assert_eq!(renamed["warnings"][0]["about"], "name");
}

#[test]
fn revoked_keys_are_still_there_to_look_at() {
    let place = Place::new();
    let (gone, kept) = (place.key("gone"), place.key("kept"));
    place.json(&["keys", "revoke", "gone"]);
    let ids = |arguments: &[&str]| {
        let listed = place.json(arguments);
        let ids =
            listed["data"].as_array().unwrap().iter().map(|key| (key["spend_key_id"].as_str().unwrap().to_owned(), key["status"].clone()));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&["keys", "list"]), [(kept.clone(), json!("active"))]);
    assert_eq!(ids(&["keys", "list", "--all"]), [(kept, json!("active")), (gone.clone(), json!("revoked"))]);
    let shown = place.json(&["keys", "show", &gone]);
    assert!(shown["status"] == "revoked" && shown["lava_mcp"]["revoked_at"].as_str().is_some_and(|at| at.starts_with("20")), "{shown}");
    let (_, shown, _) = place.run(&["keys", "show", &gone]);
    assert!(shown.contains("Status            revoked") && shown.contains("Revoked           20"), "{shown}");
    for command in [&["pause"][..], &["resume"], &["rotate"], &["revoke"], &["update", "--name", "x"]] {
        let (code, _, err) = place.run(&[&["keys", command[0], &gone], &command[1..]].concat());
        assert!(code == Some(1) && err.contains("(\"gone\") is revoked, which cannot be undone"), "{command:?}: {err}");
    }
    let (code, _, err) = place.run(&["keys", "show", "gone"]);
    assert!(code == Some(1) && err.contains("no spend key is called \"gone\""), "{err}");
}

#[test]
fn a_key_without_any_limit_has_to_be_asked_for() {
    let place = Place::new();
    let refused = |arguments: &[&str]| {
        let (code, out, err) = place.run(&[&["keys"], arguments].concat());
        assert!(
            code == Some(1) && out.is_empty() && err.contains("--spend-limit 5.00/daily") && err.contains("--unlimited"),
            "{arguments:?}: {err}"
        );
    };
    for without in [
        &[][..],
        &["--spend-limit", "none"],
        &["--rate-limit", "60"],
        &["--expires-at", "30d"],
        &["--models", "gpt-4o"],
        &["--providers", "openai"],
    ] {
        refused(&[&["create", "free"], without].concat());
    }
    assert_eq!(place.json(&["keys", "list"])["data"], json!([]));
    for with in
        [&["--unlimited"][..], &["--spend-limit", "5/day"], &["--request-limit", "1k/day"], &["--spend-limit", "none", "--unlimited"]]
    {
        place.json(&[&["keys", "create", "k"], with].concat());
    }
    let (code, _, err) = place.run(&["keys", "create", "both", "--unlimited", "--spend-limit", "5/day"]);
    assert!(code == Some(1) && err.contains("--unlimited"), "{err}");

    let both = place.json(&["keys", "create", "both", "--spend-limit", "5/day", "--request-limit", "10/day"]);
    assert_eq!(both["request_limit"], json!({"count": 10, "cycle": "daily"}));
    place.json(&["keys", "update", "both", "--spend-limit", "none"]);
    refused(&["update", "both", "--request-limit", "none"]);
    place.json(&["keys", "update", "both", "--request-limit", "none", "--spend-limit", "1/day"]);
    refused(&["update", "both", "--spend-limit", "none"]);
    let lifted = place.json(&["keys", "update", "both", "--unlimited"]);
    assert_eq!((&lifted["spend_limit"], &lifted["request_limit"]), (&Value::Null, &Value::Null));
    place.json(&["keys", "update", "both", "--name", "renamed"]);
}

#[test]
fn limits_are_taken_as_people_type_them() {
    let place = Place::new();
    for (spend, requests, rate, expected) in [
        (
            "5/day",
            "1000/day",
            "60",
            json!([{"amount": "5.00", "cycle": "daily"}, {"count": 1000, "cycle": "daily"}, {"rpm": 60, "burst": null}]),
        ),
        (
            "$5 daily",
            "1k/week",
            "60/min",
            json!([{"amount": "5.00", "cycle": "daily"}, {"count": 1000, "cycle": "weekly"}, {"rpm": 60, "burst": null}]),
        ),
        (
            "50/mo",
            "1_000/mo",
            "60rpm",
            json!([{"amount": "50.00", "cycle": "monthly"}, {"count": 1000, "cycle": "monthly"}, {"rpm": 60, "burst": null}]),
        ),
        (
            "5 total",
            "100 requests per day",
            "60/10",
            json!([{"amount": "5.00", "cycle": "total"}, {"count": 100, "cycle": "daily"}, {"rpm": 60, "burst": 10}]),
        ),
    ] {
        let key = place.json(&["keys", "create", "k", "--spend-limit", spend, "--request-limit", requests, "--rate-limit", rate]);
        assert_eq!(json!([key["spend_limit"], key["request_limit"], key["rate_limit"]]), expected, "{spend}");
    }
    for (flag, value, says) in [
        ("--spend-limit", "$5", "5.00/daily, 5.00/weekly, 5.00/monthly, or 5.00/total"),
        ("--spend-limit", "5,00/daily", "with a dot"),
        ("--spend-limit", "€5/day", "US dollars"),
        ("--spend-limit", "-5/day", "above zero"),
        ("--request-limit", "-5/day", "whole number"),
        ("--rate-limit", "60/s", "60/10"),
        ("--expires-at", "2020-01-01", "2020-01-01T00:00:00Z is in the past"),
        ("--expires-at", "tomorrow", "30d"),
    ] {
        let (code, _, err) = place.run(&["keys", "create", "k", "--unlimited", flag, value]);
        assert!(code == Some(1) && err.contains(flag) && err.contains(says), "{flag} {value}: {err}");
    }
    // The other commands that read one.
    assert_eq!(place.json(&["account", "limit", "50", "a", "month"])["spend_limit"], json!({"amount": "50.00", "cycle": "monthly"}));
    assert_eq!(place.json(&["login", "--limit", "$0.50 daily"])["spend_key"]["spend_limit"], json!({"amount": "0.50", "cycle": "daily"}));
    let status = program(place.0.path())
        .args(["--sandbox", "login", "--limit", "4/day", "--json"])
        .env("LAVA_SESSION_LIMIT", "3 usd per day")
        .output()
        .unwrap();
    assert!(String::from_utf8(status.stderr).unwrap().contains("3.00 USD (daily)"));
    // What time a date became is shown.
    let (_, shown, _) = place.run(&["keys", "create", "until", "--spend-limit", "5/day", "--expires-at", "2099-01-01"]);
    assert!(shown.contains("Expires           2099-01-01T00:00:00Z"), "{shown}");
}

#[test]
fn a_name_that_nothing_is_called_by_is_warned_about() {
    let place = Place::new();
    std::fs::write(
        place.0.path().join("config.toml"),
        "local_servers = true\n[providers.house]\nbase_url = \"http://127.0.0.1:9/v1\"\nmodels = [\"inn\"]\nprice = \"free\"\n\
         [providers.open]\nbase_url = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\n[model_aliases]\nmy-usual = \"gpt-4o-mini\"\n",
    )
    .unwrap();
    let config = place.0.path().join("config.toml");
    let create = |flag: &str, list: &str| {
        let created = place.json(&["--config", config.to_str().unwrap(), "keys", "create", "k", "--unlimited", flag, list]);
        let warnings = created["warnings"].as_array().unwrap().clone();
        warnings.into_iter().filter(|warning| warning["about"] != "name").collect::<Vec<_>>()
    };
    for known in [
        "gpt-4o-mini",
        "gpt-4o*",
        "openai/gpt-4o",
        "openai/*",
        "*",
        "claude-*,gpt-4o",
        "house/inn",
        "inn",
        "house/*",
        "open/whatever",
        "ollama/llama3.2:3b",
        "ollama/*",
    ] {
        assert_eq!(create("--models", known), Vec::<Value>::new(), "{known}");
    }
    for (unknown, says, nearest) in [
        ("gpt-4o-mimi", "no model is called \"gpt-4o-mimi\"", Some("gpt-4o-mini")),
        ("gpt-5o*", "no model begins with \"gpt-5o\"", None),
        ("gpt*mini", "a * is only special at the end", None),
        ("openai", "is a provider, not a model", Some("openai/*")),
        ("GPT-4o", "names are case-sensitive", Some("gpt-4o")),
        ("my-usual", "is an alias in the config file", Some("gpt-4o-mini")),
        ("house/outn", "no model is called", None),
    ] {
        let warnings = create("--models", &format!("gpt-4o,{unknown}"));
        assert_eq!(warnings.len(), 1, "{unknown}: {warnings:?}");
        assert!(warnings[0]["value"] == unknown && warnings[0]["message"].as_str().unwrap().contains(says), "{warnings:?}");
        assert!(nearest.is_none_or(|nearest| warnings[0]["nearest"].as_array().unwrap().contains(&json!(nearest))), "{warnings:?}");
    }
    for known in ["openai", "house", "ollama", "openai,anthropic"] {
        assert_eq!(create("--providers", known), Vec::<Value>::new(), "{known}");
    }
    for (unknown, nearest) in [("anthropc", Some("anthropic")), ("houze", Some("house")), ("zzzz", None)] {
        let warnings = create("--providers", unknown);
        assert!(warnings[0]["message"].as_str().unwrap().contains(&format!("no provider is called \"{unknown}\"")), "{warnings:?}");
        assert!(nearest.is_none_or(|nearest| warnings[0]["nearest"].as_array().unwrap().contains(&json!(nearest))), "{warnings:?}");
    }
    // A provider is called by its id, whatever it was called here.
    let created = place.json(&["keys", "create", "ids", "--unlimited", "--providers", "OpenAI, gemini,Mistral AI,x-ai"]);
    assert_eq!(created["allowed_providers"], json!(["openai", "google", "mistral", "xai"]));
    // On a terminal and in a script the same is said on stderr, and the key alone stays alone.
    let (code, out, err) = place.run(&["keys", "create", "quiet", "--unlimited", "--quiet", "--models", "gpt-4o-mimi"]);
    assert!(code == Some(0) && out.lines().count() == 1 && err.contains("warning: ") && err.contains("gpt-4o-mini"), "{out}{err}");
    let updated = place.json(&["keys", "update", "quiet", "--models", "gpt-4o-mimi"]);
    assert_eq!(updated["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn show_says_everything_about_a_key() {
    let place = Place::new();
    std::fs::write(
        place.0.path().join("config.toml"),
        "[model_aliases]\nfast = \"gpt-4o-mini\"\n[keys.full.model_aliases]\nbig = \"gpt-4o\"\n",
    )
    .unwrap();
    let config = place.0.path().join("config.toml");
    let config = config.to_str().unwrap();
    let limits =
        ["--spend-limit", "5/day", "--request-limit", "10/day", "--rate-limit", "60/10", "--models", "gpt-4o*", "--providers", "openai"];
    let more = ["--expires-at", "2099-01-31", "--hosted-tools", "--lower-output-cap", "--quiet"];
    let (_, key, _) = place.run(&[&["keys", "create", "full"], &limits[..], &more].concat());
    let asked = program(place.0.path())
        .args(["--sandbox", "prompt", "gpt-4o-mini", "Hi", "--max-tokens", "9"])
        .env("LAVA_SPEND_KEY", key.trim())
        .output()
        .unwrap();
    assert!(asked.status.success());
    let (code, shown, _) = place.run(&["--config", config, "keys", "show", "full"]);
    assert_eq!(code, Some(0));
    for line in [
        "Name              full",
        "Status            active",
        "Spend limit       5.00 USD daily",
        "Spent             0.",
        "USD today",
        "Held              0.00 USD by calls in flight",
        "Left              4.",
        "USD, resets 20",
        "Request limit     10 daily",
        "Requests          1 today, 9 left, resets 20",
        "Rate limit        60 requests a minute, bursts of 10",
        "Models            gpt-4o*",
        "Providers         openai",
        "API               openai",
        "Hosted tools      yes",
        "Lower output cap  yes",
        "Sandbox           yes",
        "Expires           2099-01-31T00:00:00Z",
        "Created           20",
        "Last used         20",
        "1 request since it was created",
        "In flight         0 calls",
        "Model aliases     big = gpt-4o, fast = gpt-4o-mini",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let object = place.json(&["--config", config, "keys", "show", "full"]);
    assert_eq!(object["model_aliases"], json!({"big": "gpt-4o", "fast": "gpt-4o-mini"}));
    assert_eq!((&object["holds"]["open"], &object["current_requests"]), (&json!([]), &json!(1)));
}

/// Lava's own addresses answer as Lava does; revoked keys are shown only to who asks for them.
#[tokio::test]
async fn over_http_a_revoked_key_is_gone_unless_it_is_asked_for() {
    use http::{Method, StatusCode};
    let harness = Harness::start().await;
    let (_, gone) = harness.key(json!({"name": "gone"})).await;
    let (_, kept) = harness.key(json!({"name": "kept"})).await;
    harness.manage(Method::DELETE, &format!("/v1/spend_keys/{gone}"), Value::Null).await;
    let ids = |listed: &Value| {
        listed["data"].as_array().unwrap().iter().map(|key| key["spend_key_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let get = async |path: &str| harness.manage(Method::GET, path, Value::Null).await;
    for path in ["/v1/spend_keys", "/v1/spend_keys?include_revoked=false"] {
        assert_eq!(ids(&get(path).await.json()), std::slice::from_ref(&kept), "{path}");
    }
    let first = get("/v1/spend_keys?include_revoked=true&limit=1").await.json();
    assert_eq!((ids(&first), &first["has_more"]), (vec![kept.clone()], &json!(true)));
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = get(&format!("/v1/spend_keys?include_revoked=true&limit=1&cursor={cursor}")).await.json();
    assert_eq!((ids(&second), &second["data"][0]["status"]), (vec![gone.clone()], &json!("revoked")));
    assert_eq!(get(&format!("/v1/spend_keys/{gone}")).await.status, StatusCode::NOT_FOUND);
    let shown = get(&format!("/v1/spend_keys/{gone}?include_revoked=true")).await.json();
    assert!(shown["status"] == "revoked" && shown["lava_mcp"]["revoked_at"].is_string(), "{shown}");
    let refused = get("/v1/spend_keys?include_revoked=maybe").await;
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("include_revoked")));
    // A secret key's own budget is not a spend key, and neither is that of one that was deleted.
    assert!(ids(&get("/v1/spend_keys?include_revoked=true").await.json()).iter().all(|id| id.starts_with("spk_")));
    for method in [Method::PUT, Method::DELETE] {
        assert_eq!(
            harness.manage(method, &format!("/v1/spend_keys/{gone}?include_revoked=true"), json!({"name": "x"})).await.status,
            StatusCode::NOT_FOUND
        );
    }
    harness.finish().await;
}
