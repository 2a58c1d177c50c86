//! The command line, as somebody at a terminal or in a script uses it.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The program with an empty home, keys in a file, and nothing of this machine's environment.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lava-mcp"));
    command.env_clear().env("HOME", home).env("LAVA_CREDENTIAL_STORE", "file").stdin(Stdio::null());
    command
}

/// The program with the provider at `url` as `house`, and, for what has to be paid, prices.
pub(crate) fn program_with(home: &Path, url: &str) -> Command {
    let config = home.join("lava.toml");
    let provider =
        |id: &str, path: &str| format!("[providers.{id}]\nbase_url = \"{url}{path}\"\nprice = {{ input = \"1\", output = \"2\" }}\n");
    std::fs::write(&config, format!("local_servers = false\n{}{}", provider("house", "/v1"), provider("bad", "/err"))).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", config);
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    program(home).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {}{}", out(output), err(output)))
}

#[test]
fn the_help_names_every_command() {
    let home = tempfile::tempdir().unwrap();
    let help = run(home.path(), &["--help"]);
    assert!(help.status.success());
    for word in [
        "login",
        "logout",
        "status",
        "search",
        "prompt",
        "call",
        "providers",
        "keys",
        "account",
        "mispriced",
        "doctor",
        "demo",
        "manifest",
        "--sandbox",
        "--config",
        "--data-dir",
        "--json",
    ] {
        assert!(out(&help).contains(word), "{word}");
    }
    assert_eq!(run(home.path(), &["--version"]).status.code(), Some(0));
    let wrong = run(home.path(), &["prompf"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(err(&wrong).contains("prompt"), "{}", err(&wrong));
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "looking at the help writes nothing");
}

#[test]
fn a_session_from_login_to_logout() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let sandbox = |arguments: &[&str]| run(home, &[&["--sandbox", "--json"], arguments].concat());

    let before = sandbox(&["status"]);
    assert_eq!(before.status.code(), Some(0));
    assert_eq!(json(&before)["logged_in"], false);

    let login = sandbox(&["login", "--limit", "0.50/daily"]);
    assert_eq!(login.status.code(), Some(0), "{}", err(&login));
    let session = json(&login);
    assert_eq!((&session["stored_in"], &session["remaining"]), (&"file".into(), &"0.50".into()));
    assert_eq!(session["spend_key"]["spend_limit"]["amount"], "0.50");
    let id = session["spend_key"]["spend_key_id"].clone();

    let answer = json(&sandbox(&["prompt", "gpt-4o-mini", "Say", "hello", "--max-tokens", "50"]));
    assert!(answer["content"].as_str().unwrap().contains("sandbox"));
    let cost: f64 = answer["cost"].as_str().unwrap().parse().unwrap();
    assert!(cost > 0.0);
    let streamed = program(home)
        .args(["--sandbox", "prompt", "--stream", "gpt-4o-mini", "--max-tokens", "50"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut streamed = streamed.unwrap();
    std::io::Write::write_all(&mut streamed.stdin.take().unwrap(), b"from stdin").unwrap();
    assert!(out(&streamed.wait_with_output().unwrap()).contains("from stdin"));
    let called =
        json(&sandbox(&["call", "https://api.openai.com/v1/embeddings", "--data", r#"{"model":"text-embedding-3-small","input":"Hi"}"#]));
    assert_eq!(called["status"], 200);

    let status = json(&sandbox(&["status"]));
    assert_eq!((&status["spend_key"]["current_requests"], &status["spend_key"]["spend_key_id"]), (&3.into(), &id));
    // A second login keeps key, limit and history; force makes a new value of the same key.
    let again = json(&sandbox(&["login"]));
    assert_eq!((&again["spend_key"]["spend_key_id"], &again["spend_key"]["spend_limit"]["amount"]), (&id, &"0.50".into()));
    let forced = json(&sandbox(&["login", "--force"]));
    assert_eq!((&forced["spend_key"]["spend_key_id"], &forced["spend_key"]["current_requests"]), (&id, &3.into()));
    assert_ne!(forced["spend_key"]["key_preview"], again["spend_key"]["key_preview"]);

    let wider = sandbox(&["login", "--limit", "50.00/daily"]);
    assert_eq!(wider.status.code(), Some(1));
    assert!(err(&wider).contains("LAVA_SESSION_LIMIT"), "{}", err(&wider));

    assert_eq!(json(&sandbox(&["logout"]))["logged_out"], serde_json::json!([{"client": "command line", "revoked": true}]));
    assert_eq!(json(&sandbox(&["status"]))["logged_in"], false);
    assert_eq!(json(&sandbox(&["logout", "--all"]))["logged_out"], serde_json::json!([]));
}

#[test]
fn the_ceiling_of_today_holds_for_the_key_of_yesterday() {
    let home = tempfile::tempdir().unwrap();
    let limit = |limit: &str, arguments: &[&str]| {
        program(home.path()).env("LAVA_SESSION_LIMIT", limit).args(["--sandbox", "--json"]).args(arguments).output().unwrap()
    };
    assert_eq!(json(&limit("5.00/daily", &["login"]))["remaining"], "5.00");
    assert_eq!(json(&limit("0.000001/daily", &["status"]))["remaining"], "0.000001");
    let refused = limit("0.000001/daily", &["prompt", "gpt-4o-mini", "Hi"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains("spend limit exceeded"), "{}", err(&refused));
    assert_eq!(json(&limit("7.00/weekly", &["status"]))["remaining"], "7.00");
}

#[test]
fn search_answers_people_and_scripts() {
    let home = tempfile::tempdir().unwrap();
    let found = json(&run(home.path(), &["--json", "search", "gpt-4o-mini", "--limit", "3"]));
    assert_eq!(found["results"][0]["id"], "openai/gpt-4o-mini");
    assert_eq!(found["results"][0]["credentials"], "missing");
    let table = run(home.path(), &["search", "gpt-4o-mini"]);
    assert!(out(&table).contains("openai/gpt-4o-mini") && out(&table).contains("0.15"), "{}", out(&table));
    assert_eq!(run(home.path(), &["search"]).status.code(), Some(1));
}

#[test]
fn a_mistake_in_the_settings_is_named() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("lava.toml");
    std::fs::write(&config, "sandbox = true\n[session]\nlimits = \"1.00/daily\"\n").unwrap();
    let wrong = run(home.path(), &["--config", config.to_str().unwrap(), "status"]);
    assert_eq!(wrong.status.code(), Some(1));
    for says in ["lava.toml, line 3", "limits", "`limit`", "`allowed_models`"] {
        assert!(err(&wrong).contains(says), "{says}: {}", err(&wrong));
    }
    let missing = run(home.path(), &["--config", "/nowhere/lava.toml", "status"]);
    assert!(err(&missing).contains("/nowhere/lava.toml"));
    let nameless = home.path().join("nameless.toml");
    std::fs::write(&nameless, "[providers.nobody]\nmodels = [\"m\"]\n").unwrap();
    let wrong = run(home.path(), &["--config", nameless.to_str().unwrap(), "status"]);
    assert!(err(&wrong).contains("nobody") && err(&wrong).contains("base_url"), "{}", err(&wrong));
    let wrong = program(home.path()).env("LAVA_SESSION_LIMIT", "lots").arg("status").output().unwrap();
    assert!(err(&wrong).contains("LAVA_SESSION_LIMIT") && err(&wrong).contains("5.00/daily"), "{}", err(&wrong));
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("data");
    let refused = program(home.path())
        .env("LAVA_SPEND_KEY", "lava_sk_x")
        .args(["--sandbox", "--data-dir", below.to_str().unwrap(), "prompt", "gpt-4o-mini", "Hi"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(err(&refused).contains(below.to_str().unwrap()), "{}", err(&refused));
}

#[test]
fn a_key_in_the_environment_wins_and_is_checked() {
    let home = tempfile::tempdir().unwrap();
    let refused = program(home.path()).env("LAVA_SPEND_KEY", "lava_sk_wrong").args(["--sandbox", "status"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(err(&refused).contains("LAVA_SPEND_KEY") && !err(&refused).contains("lava_sk_wrong"), "{}", err(&refused));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_a_prompt_and_settles_it() {
    let upstream = crate::fake_upstream::FakeUpstream::start().await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("lava.toml");
    std::fs::write(
        &config,
        format!("local_servers = false\n[providers.fake]\nbase_url = \"{}\"\nprice = {{ input = \"1\", output = \"1\" }}\n", upstream.url),
    )
    .unwrap();
    let command = |arguments: &[&str]| {
        let mut command = program(home.path());
        command.env("LAVA_CONFIG", &config).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    assert!(command(&["login"]).status().unwrap().success());
    let child = command(&["prompt", "fake/never", "Hi", "--max-tokens", "9"]).spawn().unwrap();
    for _ in 0..500 {
        if !upstream.seen().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // The first is a hang-up, after which the answer is read on for half a minute; the second does not wait for that.
    for _ in 0..2 {
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", err(&stopped));
    let ledger = rusqlite::Connection::open(home.path().join(".local/share/lava-mcp/ledger.db")).unwrap();
    let (holds, kind): (i64, String) =
        ledger.query_row("SELECT (SELECT count(*) FROM hold), kind FROM entry", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!((holds, kind.as_str()), (0, "charge"), "it may have been billed");
}

#[test]
fn provider_keys_are_kept_and_never_shown() {
    let home = tempfile::tempdir().unwrap();
    let set = |provider: &str, key: &str| {
        let mut child = program(home.path())
            .args(["providers", "set", provider])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), key.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(set("openai", "sk-canary\n").status.success());
    assert_eq!(set("openai", "\n").status.code(), Some(1));
    assert!(err(&set("nobody", "sk-x\n")).contains("nobody"));
    let listed = run(home.path(), &["providers", "list"]);
    assert_eq!(out(&listed).lines().nth(1).map(str::split_whitespace).map(Iterator::collect), Some(vec!["openai", "file", "store"]));
    // The search tells that it is there, without looking into the vault.
    let found = json(&run(home.path(), &["--json", "search", "gpt-4o-mini", "--limit", "1"]));
    assert_eq!(found["results"][0]["credentials"], "ready");
    for arguments in [&["providers", "list", "--json"][..], &["doctor"], &["doctor", "--json"]] {
        let shown = run(home.path(), arguments);
        assert!(!out(&shown).contains("canary") && !err(&shown).contains("canary"), "{arguments:?}");
    }
    assert!(run(home.path(), &["providers", "remove", "openai"]).status.success());
    assert_eq!(out(&run(home.path(), &["providers", "list"])), "");
}

#[test]
fn doctor_tells_what_works() {
    let home = tempfile::tempdir().unwrap();
    let report = json(&run(home.path(), &["doctor", "--json"]));
    let checks = report["checks"].as_array().unwrap();
    let result = |what: &str| checks.iter().find(|check| check["what"] == what).map(|check| check["result"].as_str().unwrap().to_owned());
    for (what, expected) in [("vault", "ok"), ("ledger", "ok"), ("login", "note"), ("providers", "note")] {
        assert_eq!(result(what).as_deref(), Some(expected), "{what}: {report}");
    }
    let remote = program(home.path()).env("LAVA_API_URL", "http://127.0.0.1:9").args(["doctor"]).output().unwrap();
    assert_eq!(remote.status.code(), Some(1));
    assert!(out(&remote).contains("FAIL  gateway"), "{}", out(&remote));
}

#[test]
fn the_demo_shows_the_whole_job_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let demo = program(home.path()).env("TMPDIR", home.path()).arg("demo").output().unwrap();
    assert!(demo.status.success(), "{}{}", out(&demo), err(&demo));
    for step in ["login", "search", "prompt", "streamed as", "call", "refused [insufficient_budget]", "usage", "Every step worked"] {
        assert!(out(&demo).contains(step), "{step}: {}", out(&demo));
    }
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "nothing is left behind");
    assert_eq!(miscounted(&out(&demo)), Vec::<String>::new());
}

/// Where a text has one of something, and speaks of several.
fn miscounted(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric())).collect();
    let is_plural = |word: &str| {
        ["requests", "notes", "numbers", "calls", "keys", "seconds", "bytes", "lines", "charges", "models", "results", "steps"]
            .contains(&word)
    };
    let wrong = words.windows(3).filter(|words| words[0] == "1" && words[1..].iter().any(|word| is_plural(word)));
    wrong.map(|words| words.join(" ")).collect()
}

#[test]
fn one_of_something_is_not_several() {
    assert_eq!(miscounted("as 1 progress notes, 1 request; 21 requests"), ["1 progress notes"]);
    let home = tempfile::tempdir().unwrap();
    let sandbox = |arguments: &[&str]| run(home.path(), &[&["--sandbox"], arguments].concat());
    assert!(sandbox(&["prompt", "gpt-4o-mini", "Hi"]).status.success());
    assert!(out(&sandbox(&["status"])).contains("1 request"));
    let made = sandbox(&["keys", "create", "one", "--spend-limit", "5/day", "--request-limit", "1/day", "--rate-limit", "1"]);
    assert!(made.status.success(), "{made:?}");
    let own = json(&sandbox(&["--json", "status"]))["spend_key"]["spend_key_id"].as_str().unwrap().to_owned();
    for arguments in [
        &["status"][..],
        &["keys", "list"],
        &["keys", "show", "one"],
        &["keys", "show", &own],
        &["account"],
        &["doctor"],
        &["search", "gpt-4o-mini", "--limit", "1"],
    ] {
        let done = sandbox(arguments);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        assert_eq!(miscounted(&(out(&done) + &err(&done))), Vec::<String>::new(), "{arguments:?}: {done:?}");
    }
}

#[test]
fn the_manifest_in_the_repository_is_the_one_that_is_served() {
    let home = tempfile::tempdir().unwrap();
    let served = json(&run(home.path(), &["manifest"]));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("mcp-manifest.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(kept, served, "run `cargo run -- manifest > mcp-manifest.json`");
}
