//! `--json` with every command, whether it succeeds or fails: one JSON document on stdout. And the exit codes that the README names.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::cli::program;

fn run(home: &Path, arguments: &[&str]) -> Output {
    program(home).args(["--json"]).args(arguments).output().unwrap()
}

fn document(output: &Output, what: &[&str]) -> Value {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{what:?}: {error}: {out:?} {err:?}"))
}

#[test]
fn what_succeeds_prints_a_document() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert!(run(home, &["secret-keys", "create", "--name", "s"]).status.success());
    let secrets = document(&run(home, &["secret-keys", "list"]), &["secret-keys"]);
    let secret_id = secrets[0]["id"].as_str().or(secrets[0]["secret_key_id"].as_str()).unwrap_or_else(|| panic!("{secrets}")).to_owned();
    let key = document(&run(home, &["keys", "create", "k", "--spend-limit", "1.00/daily"]), &["keys"]);
    let id = key["spend_key_id"].as_str().unwrap().to_owned();
    let mut set =
        program(home).args(["--json", "providers", "set", "openai"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut set.stdin.take().unwrap(), b"sk-canary\n").unwrap();
    let set = set.wait_with_output().unwrap();
    assert!(document(&set, &["providers set"]).is_object() && !String::from_utf8_lossy(&set.stdout).contains("canary"));
    for arguments in [
        &["search", "gpt"][..],
        &["search", "nothing-is-called-this-way"],
        &["providers", "list"],
        &["providers", "remove", "openai"],
        &["keys", "list"],
        &["keys", "show", &id],
        &["keys", "update", &id, "--spend-limit", "2.00/daily"],
        &["keys", "pause", &id],
        &["keys", "resume", &id],
        &["keys", "rotate", &id],
        &["keys", "holds"],
        &["keys", "revoke", &id],
        &["account"],
        &["account", "limit", "5.00/daily"],
        &["mispriced"],
        &["secret-keys", "delete", &secret_id],
        &["--sandbox", "login"],
        &["--sandbox", "status"],
        &["--sandbox", "prompt", "gpt-4o-mini", "hi"],
        &["--sandbox", "prompt", "--stream", "gpt-4o-mini", "hi"],
        &["--sandbox", "call", "https://api.openai.com/v1/embeddings", "-d", r#"{"model":"text-embedding-3-small","input":"Hi"}"#],
        &["--sandbox", "logout"],
        &["--sandbox", "logout"],
        &["demo"],
        &["manifest"],
        &["install", "cursor", "--dry-run"],
        &["install", "cursor"],
        &["uninstall", "cursor"],
    ] {
        let output = run(home, arguments);
        // Whoever does not exist any more cannot be paused, and a person may have to say yes: what counts here is the form.
        document(&output, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn what_fails_prints_its_error_as_a_document() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("wrong.toml"), "log = 3\n").unwrap();
    let wrong = home.join("wrong.toml");
    assert!(run(home, &["--sandbox", "login"]).status.success());
    for (arguments, code, exit_code) in [
        (&["nonsense"][..], "usage", 1),
        (&["keys"], "usage", 1),
        (&["keys", "lst"], "usage", 1),
        (&["search"], "usage", 1),
        (&["status", "--nonsense"], "usage", 1),
        (&["gateway", "--listen", "nowhere"], "usage", 1),
        (&["gateway", "--listen", "192.0.2.1:80", "--allow-remote"], "cannot_listen", 1),
        (&["serve", "--listen", "192.0.2.1:80", "--allow-remote"], "cannot_listen", 1),
        (&["gateway", "--listen", "0.0.0.0:0"], "failed", 1),
        (&["--config", "missing.toml", "status"], "bad_setting", 1),
        (&["--config", wrong.to_str().unwrap(), "keys", "list"], "bad_setting", 1),
        (&["keys", "show", "sk_nobody"], "*", 1),
        (&["--sandbox", "call", "https://nobody.example/v1/x"], "*", 1),
        (&["install", "nobody"], "*", 1),
        (&["account", "limit", "much"], "*", 1),
        (&["login", "--limit", "much"], "*", 1),
    ] {
        let output = run(home, arguments);
        let error = document(&output, arguments)["error"].clone();
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {error}");
        assert_eq!(error["exit_code"], exit_code, "{arguments:?}: {error}");
        assert!(code == "*" || error["code"] == code, "{arguments:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty() && !message.starts_with("error")), "{error}");
        // For people the same is on stderr, once.
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.matches("error: ").count(), 1, "{arguments:?}: {said}");
    }
    // The server without a command leaves stdout to MCP.
    let output = run(home, &["--config", "missing.toml"]);
    assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains("missing.toml"));
}

#[test]
fn servers_print_where_they_can_be_called() {
    let home = tempfile::tempdir().unwrap();
    for (command, path) in [("gateway", "/v1"), ("serve", "/mcp")] {
        for listen in ["0", ":0", "localhost:0", "127.0.0.1:0", "[::1]:0"] {
            let mut child = program(home.path())
                .args([command, "--json", "--listen", listen])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut text = String::new();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let printed: Value = loop {
                let line = lines.next().unwrap_or_else(|| panic!("{command} {listen}: {text}")).unwrap();
                text.push_str(&line);
                if let Ok(printed) = serde_json::from_str(&text) {
                    break printed;
                }
            };
            let url = printed["url"].as_str().unwrap_or_else(|| panic!("{printed}"));
            let host = if listen == "[::1]:0" { "http://[::1]:" } else { "http://127.0.0.1:" };
            assert!(url.starts_with(host) && url.ends_with(path), "{url}");
            // The port is taken now.
            let port = printed["listening"].as_str().unwrap().to_owned();
            let second = program(home.path()).args([command, "--listen", &port]).output().unwrap();
            let said = String::from_utf8_lossy(&second.stderr).into_owned();
            assert!(said.contains("in use") && said.contains("--listen"), "{said}");
            assert_eq!(second.status.code(), Some(1));
            assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
            child.wait().unwrap();
        }
    }
}

#[test]
fn exit_codes_are_those_of_the_readme() {
    let home = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| program(home.path()).args(arguments).output().unwrap().status.code();
    for (arguments, expected) in [
        (&["--version"][..], 0),
        (&["--help"], 0),
        (&["keys", "--help"], 0),
        (&["search", "gpt"], 0),
        (&["nonsense"], 1),
        (&["search", "--nonsense"], 1),
        (&["keys"], 1),
        (&["--config", "missing", "status"], 1),
        (&["--sandbox", "status"], 0),
    ] {
        assert_eq!(code(arguments), Some(expected), "{arguments:?}");
    }
    let nobody_logged_in = program(home.path()).env("LAVA_API_URL", "http://127.0.0.1:9").arg("status").output().unwrap();
    assert_eq!(nobody_logged_in.status.code(), Some(4));
    // 2 is tested where commands are stopped.
}
