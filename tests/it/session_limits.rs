//! How long a limit holds, and who set it: an agent's own for its session, a person's until they change it, a setting's for as long as it is set. What was spent
//! counts throughout.

use std::{path::Path, process::Output};

use serde_json::{Value, json};

use crate::{cli::program, mcp_stdio::Server};

fn server(home: &Path, modern: bool, limit: Option<&str>) -> Server {
    let mut command = program(home);
    command.arg("--sandbox").envs(limit.map(|limit| ("LAVA_SESSION_LIMIT", limit)));
    Server::start(command, modern)
}

fn login(server: &mut Server, arguments: Value) -> Value {
    let answer = server.call("login", arguments);
    assert_eq!(answer["structuredContent"]["status"], "ready", "{answer}");
    answer["structuredContent"].clone()
}

fn prompt(server: &mut Server) -> Value {
    server.call("prompt", json!({"model": "gpt-4o-mini", "input": "Hi", "max_tokens": 20}))["structuredContent"].clone()
}

fn amount(session: &Value) -> &str {
    session["spend_key"]["spend_limit"]["amount"].as_str().unwrap()
}

/// The program at a terminal, with keys of the same folder.
fn cli(home: &Path, limit: Option<&str>, arguments: &[&str]) -> Output {
    program(home).arg("--sandbox").envs(limit.map(|limit| ("LAVA_SESSION_LIMIT", limit))).args(arguments).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
}

#[test]
fn what_an_agent_asks_for_ends_with_its_session_and_what_it_spent_does_not() {
    for modern in [false, true] {
        for logs_in in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let mut first = server(home.path(), modern, None);
            let lists = json!({"allowed_models": ["gpt-4o-mini"], "expires_at": "2100-01-01T00:00:00Z"});
            let mut less = json!({"spend_limit": {"amount": "0.50", "cycle": "daily"}});
            less.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
            let session = login(&mut first, less);
            assert_eq!((amount(&session), &session["limit_set_by"]), ("0.50", &"agent at login".into()));
            assert!(prompt(&mut first)["cost"].is_string());
            // Within the session it stays, also when the next login asks for nothing, or for something else.
            for arguments in [json!({}), json!({"allowed_providers": ["openai"]}), json!({"force": true})] {
                assert_eq!(amount(&login(&mut first, arguments)), "0.50");
            }
            drop(first);

            let mut second = server(home.path(), modern, None);
            if logs_in {
                login(&mut second, json!({}));
            }
            assert!(prompt(&mut second)["cost"].is_string());
            let usage = second.call("usage", json!({}))["structuredContent"].clone();
            assert_eq!((amount(&usage), &usage["limit_set_by"]), ("5.00", &"default".into()), "{usage}");
            let key = &usage["spend_key"];
            assert_eq!(key["current_requests"], 2, "{key}");
            assert!(["allowed_models", "allowed_providers", "expires_at"].iter().all(|name| key[*name].is_null()), "{key}");
        }
    }
}

#[test]
fn sessions_at_once_pay_each_under_its_own_limit() {
    let home = tempfile::tempdir().unwrap();
    let (mut careful, mut other) = (server(home.path(), true, None), server(home.path(), false, None));
    login(&mut careful, json!({"spend_limit": {"amount": "0.000001", "cycle": "daily"}}));
    for _ in 0..2 {
        assert_eq!(amount(&login(&mut other, json!({}))), "5.00");
        assert!(prompt(&mut other)["cost"].is_string());
        let refused = prompt(&mut careful);
        assert!(refused["error"]["message"].as_str().unwrap_or_default().contains("spend limit exceeded"), "{refused}");
        assert!(prompt(&mut other)["cost"].is_string(), "without another login");
    }
}

/// Settings come and go; a key follows them, but for what a person decided for it.
#[test]
fn a_setting_that_is_raised_raises_what_only_it_had_lowered() {
    type Login<'a> = (Option<&'a str>, &'a str, &'a str);
    let steps: [(&str, &[Login<'_>]); 4] = [
        // The setting lowers, and raises again.
        (
            "",
            &[
                (None, "5.00", "default"),
                (Some("1.00/daily"), "1.00", "LAVA_SESSION_LIMIT"),
                (Some("9.00/daily"), "9.00", "LAVA_SESSION_LIMIT"),
                (None, "5.00", "default"),
            ],
        ),
        // Less, by the owner: the setting can be lower still, and does not raise it.
        (
            "2.00/daily",
            &[
                (None, "2.00", "keys update"),
                (Some("1.00/daily"), "1.00", "LAVA_SESSION_LIMIT"),
                (Some("9.00/daily"), "2.00", "keys update"),
                (None, "2.00", "keys update"),
            ],
        ),
        // More than the default, which nobody had set; not more than the setting.
        (
            "7.00/daily",
            &[
                (None, "7.00", "keys update"),
                (Some("6.00/daily"), "6.00", "LAVA_SESSION_LIMIT"),
                (Some("9.00/daily"), "7.00", "keys update"),
            ],
        ),
        // Another cycle.
        ("3.00/total", &[(None, "3.00", "keys update"), (Some("9.00/daily"), "3.00", "keys update")]),
    ];
    for (decided, seen) in steps {
        let home = tempfile::tempdir().unwrap();
        let mut first = server(home.path(), true, None);
        let id = login(&mut first, json!({}))["spend_key"]["spend_key_id"].as_str().unwrap().to_owned();
        prompt(&mut first);
        drop(first);
        if !decided.is_empty() {
            let updated = cli(home.path(), None, &["keys", "update", &id, "--spend-limit", decided]);
            assert!(updated.status.success(), "{updated:?}");
        }
        for (limit, expected, set_by) in seen {
            let mut next = server(home.path(), true, *limit);
            let session = login(&mut next, json!({}));
            assert_eq!((amount(&session), &session["limit_set_by"]), (*expected, &(*set_by).into()), "{decided}, then {limit:?}");
            assert_eq!(
                (&session["spend_key"]["spend_key_id"], &session["spend_key"]["current_requests"]),
                (&id.as_str().into(), &1.into())
            );
        }
    }
}

#[test]
fn what_an_owner_restricts_stays_restricted_and_an_agent_can_only_ask_for_less() {
    let home = tempfile::tempdir().unwrap();
    let mut first = server(home.path(), true, None);
    let id = login(&mut first, json!({}))["spend_key"]["spend_key_id"].as_str().unwrap().to_owned();
    let restrict =
        ["keys", "update", &id, "--spend-limit", "0.20/daily", "--models", "gpt-4o-mini,gpt-4o", "--expires-at", "2100-01-01T00:00:00Z"];
    assert!(cli(home.path(), None, &restrict).status.success());
    for arguments in [json!({}), json!({"force": true}), json!({"expires_at": "2101-01-01T00:00:00Z"})] {
        let key = login(&mut first, arguments)["spend_key"].clone();
        assert_eq!((&key["spend_limit"]["amount"], &key["expires_at"]), (&"0.20".into(), &"2100-01-01T00:00:00Z".into()), "{key}");
        assert_eq!(key["allowed_models"], json!(["gpt-4o-mini", "gpt-4o"]));
    }
    for more in [json!({"spend_limit": {"amount": "0.21", "cycle": "daily"}}), json!({"allowed_models": ["gpt-4.1"]})] {
        assert_eq!(first.call("login", more)["structuredContent"]["error"]["code"], "limit_not_allowed");
    }
    assert_eq!(login(&mut first, json!({"allowed_models": ["gpt-4o"]}))["spend_key"]["allowed_models"], json!(["gpt-4o"]));
    // What the owner lifts is lifted.
    assert!(cli(home.path(), None, &["keys", "update", &id, "--models", "none", "--expires-at", "none"]).status.success());
    let key = login(&mut server(home.path(), true, None), json!({}))["spend_key"].clone();
    assert_eq!((&key["allowed_models"], &key["expires_at"]), (&Value::Null, &Value::Null), "{key}");
}

/// At the command line a person says it, so it holds until they say something else.
#[test]
fn a_limit_given_to_login_stays_and_status_says_who_set_it() {
    let home = tempfile::tempdir().unwrap();
    let status = |limit: Option<&str>| {
        let shown = String::from_utf8(cli(home.path(), limit, &["status"]).stdout).unwrap();
        let line = shown.lines().find(|line| line.starts_with("Limit") || line.starts_with("Spend key")).unwrap_or_default();
        let as_json = json_of(&cli(home.path(), limit, &["--json", "status"]));
        (shown.lines().find(|line| line.starts_with("Limit")).unwrap_or(line).to_owned(), as_json["limit_set_by"].clone())
    };
    let (none, set_by) = status(None);
    assert!(none.contains("none yet") && none.contains("5.00 USD a day") && set_by.is_null(), "{none}");
    for (login, setting, limit, words, set_by) in [
        (&["login"] as &[&str], None, "5.00 USD a day", "set by default; LAVA_SESSION_LIMIT changes it", "default"),
        (&["status"], Some("4.00/weekly"), "4.00 USD a week", "set by LAVA_SESSION_LIMIT", "LAVA_SESSION_LIMIT"),
        (&["login", "--limit", "0.50/daily"], None, "0.50 USD a day", "set with `lava-mcp --sandbox login --limit`", "login --limit"),
        (&["login"], None, "0.50 USD a day", "set with `lava-mcp --sandbox login --limit`", "login --limit"),
        (&["login", "--force"], Some("9.00/daily"), "0.50 USD a day", "set with `lava-mcp --sandbox login --limit`", "login --limit"),
        (&["login", "--limit", "1.00/daily"], None, "1.00 USD a day", "set with `lava-mcp --sandbox login --limit`", "login --limit"),
        // All that is allowed is the setting's own word again.
        (&["login", "--limit", "5.00/daily"], None, "5.00 USD a day", "set by default; LAVA_SESSION_LIMIT changes it", "default"),
        (&["status"], Some("9.00/monthly"), "9.00 USD a month", "set by LAVA_SESSION_LIMIT", "LAVA_SESSION_LIMIT"),
    ] {
        let done = cli(home.path(), setting, login);
        assert!(done.status.success(), "{login:?}: {done:?}");
        let (line, by) = status(setting);
        assert_eq!(line.split_once("  ").unwrap().1.trim(), format!("{limit} ({words})"), "{login:?}");
        assert_eq!(by, set_by);
    }
    let config = home.path().join("lava.toml");
    std::fs::write(&config, "[session]\nlimit = \"6.00/daily\"\n").unwrap();
    let shown = program(home.path()).args(["--sandbox", "--config", config.to_str().unwrap(), "status"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("6.00 USD a day (set by session.limit in the config file)"), "{shown}");
}
