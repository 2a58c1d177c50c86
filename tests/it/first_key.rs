//! The command line pays without a login where nobody has to agree to one: at the embedded gateway, within the limit that a person has set.

use std::{path::Path, process::Output};

use serde_json::Value;

use crate::{cli::program, fake_upstream::FakeUpstream};

const MADE: &str = "Made a spend key for the command line: ";
const EMBEDDINGS: &str = "https://api.openai.com/v1/embeddings";
const INPUT: &str = r#"{"model":"text-embedding-3-small","input":"Hi"}"#;

fn run(home: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    program(home).envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
}

#[test]
fn prompt_and_call_make_the_first_key_and_say_so_once() {
    let first: [(&[&str], Option<&str>, &str); 4] = [
        (&["prompt", "gpt-4o-mini", "Hi"], None, "5.00 USD a day"),
        (&["call", EMBEDDINGS, "--data", INPUT], None, "5.00 USD a day"),
        (&["prompt", "gpt-4o-mini", "Hi"], Some("2.50/weekly"), "2.50 USD a week"),
        (&["--json", "call", EMBEDDINGS, "--data", INPUT], Some("0.10/total"), "0.10 USD in total"),
    ];
    for (arguments, limit, expected) in first {
        let home = tempfile::tempdir().unwrap();
        let variables: Vec<_> = limit.map(|limit| ("LAVA_SESSION_LIMIT", limit)).into_iter().collect();
        let sandbox = |arguments: &[&str]| run(home.path(), &variables, &[&["--sandbox"], arguments].concat());
        let done = sandbox(arguments);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        let line = format!("{MADE}{expected} (LAVA_SESSION_LIMIT or session.limit changes it)\n");
        assert_eq!(err(&done).matches(&line).count(), 1, "{}", err(&done));
        // The second time there is one, and what was spent counts.
        let again = sandbox(arguments);
        assert!(again.status.success() && !err(&again).contains(MADE), "{again:?}");
        let status = json(&sandbox(&["--json", "status"]));
        assert_eq!((&status["logged_in"], &status["spend_key"]["current_requests"]), (&true.into(), &2.into()));
    }
}

#[test]
fn a_name_that_nothing_is_called_by_makes_no_key() {
    let home = tempfile::tempdir().unwrap();
    let sandbox = |arguments: &[&str]| run(home.path(), &[], &[&["--sandbox"], arguments].concat());
    for arguments in [&["prompt", "gpt-4o-mni", "Hi"][..], &["call", "gpt-4o-mni", "-d", "{}"], &["call", "openai/gpt-4o-mni", "-d", "{}"]]
    {
        let done = sandbox(arguments);
        assert!(done.status.code() == Some(1) && err(&done).contains("gpt-4o-mini"), "{arguments:?}: {done:?}");
        assert!(!err(&done).contains(MADE), "{done:?}");
        assert_eq!(json(&sandbox(&["--json", "status"]))["logged_in"], false, "{arguments:?}");
    }
    assert!(sandbox(&["prompt", "gpt-4o-mini", "Hi"]).status.success());
    // With a key there is one question less, and the same refusal.
    let done = sandbox(&["prompt", "gpt-4o-mni", "Hi"]);
    assert!(done.status.code() == Some(1) && err(&done).contains("gpt-4o-mini"), "{done:?}");
}

#[test]
fn the_key_is_made_within_the_limit_and_a_refusal_stays_one() {
    let home = tempfile::tempdir().unwrap();
    let done = run(home.path(), &[("LAVA_SESSION_LIMIT", "0.000001/daily")], &["--sandbox", "prompt", "gpt-4o-mini", "Hi"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(err(&done).contains("0.000001 USD a day") && err(&done).contains("spend limit exceeded"), "{}", err(&done));
}

#[test]
fn a_key_that_was_revoked_or_logged_out_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let sandbox = |arguments: &[&str]| run(home.path(), &[], &[&["--sandbox"], arguments].concat());
    let question = ["prompt", "gpt-4o-mini", "Hi"];
    assert!(sandbox(&question).status.success());
    assert!(sandbox(&["logout"]).status.success());
    let done = sandbox(&question);
    assert!(done.status.success() && err(&done).contains(MADE), "{done:?}");
    let twice = [sandbox(&["logout"]), sandbox(&["logout"])].map(|done| String::from_utf8(done.stdout).unwrap());
    assert!(twice[0].contains("Logged out: command line") && twice[1].contains("Not logged in; nothing was changed."), "{twice:?}");
}

#[test]
fn at_a_gateway_at_an_address_somebody_logs_in_first() {
    let home = tempfile::tempdir().unwrap();
    for command in [&["prompt", "gpt-4o-mini", "Hi"] as &[&str], &["call", EMBEDDINGS, "--data", INPUT], &["status"]] {
        let done = run(home.path(), &[("LAVA_API_URL", "http://127.0.0.1:9")], command);
        assert_eq!(done.status.code(), Some(4), "{done:?}");
        assert!(err(&done).contains("`lava-mcp login`") && !err(&done).contains(MADE), "{}", err(&done));
    }
}

/// Whoever hands a key over needs no login, and no vault either.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_environment_pays_for_prompt_call_and_status() {
    let home = tempfile::tempdir().unwrap();
    let upstream = FakeUpstream::start().await;
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        crate::cli::program_with(home.path(), &upstream.url).envs(variables.iter().copied()).args(arguments).output().unwrap()
    };
    let made = with(&[], &["keys", "create", "mine", "--spend-limit", "1.00/daily", "--quiet"]);
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let variables = [("LAVA_SPEND_KEY", key.as_str()), ("LAVA_CREDENTIAL_STORE", "keyring")];
    let call = format!("{}/v1/chat/completions", upstream.url);
    let body = r#"{"model":"ok","messages":[{"role":"user","content":"Hi"}],"max_tokens":20}"#;
    for command in [&["prompt", "house/ok", "Hi"] as &[&str], &["call", &call, "--data", body]] {
        let done = with(&variables, command);
        assert!(done.status.success() && !err(&done).contains(MADE), "{done:?}");
    }
    let status = with(&variables, &["--json", "status"]);
    assert!(status.status.success(), "{status:?}");
    let status = json(&status);
    assert_eq!((&status["stored_in"], &status["spend_key"]["name"]), (&"environment".into(), &"mine".into()));
    assert_eq!(status["spend_key"]["current_requests"], 2);
    // One that is not known says whose it is, and is not replaced in silence.
    let wrong = format!("{}x", &key[..key.len() - 1]);
    for command in [&["prompt", "house/ok", "Hi"] as &[&str], &["status"]] {
        let done = with(&[("LAVA_SPEND_KEY", wrong.as_str())], command);
        assert!(matches!(done.status.code(), Some(1 | 4)) && !err(&done).contains(MADE), "{done:?}");
    }
}
