//! A machine without a keyring, such as a server or a container: what needs no key works, and what keeps one asks once, or says how to go on.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::{cli::program, fake_upstream::FakeUpstream, mcp_stdio::Server};

const EMBEDDINGS: &str = "https://api.openai.com/v1/embeddings";
const INPUT: &str = r#"{"model":"text-embedding-3-small","input":"Hi"}"#;

/// The program as it comes, on a machine whose session has no bus.
fn bare(home: &Path) -> Command {
    let mut command = program(home);
    command
        .env_remove("LAVA_CREDENTIAL_STORE")
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
        .args(["--data-dir"])
        .arg(data(home));
    command
}

fn data(home: &Path) -> std::path::PathBuf {
    home.join("my data")
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    bare(home).args(arguments).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
}

#[test]
fn what_needs_no_key_works() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &["search", "gpt-4o-mini"] as &[&str],
        &["doctor"],
        &["status"],
        &["keys", "create", "mine", "--spend-limit", "1.00/daily"],
        &["keys", "list"],
        &["keys", "holds"],
        &["account"],
        &["account", "limit", "9.00/daily"],
        &["mispriced"],
        &["secret-keys", "list"],
        &["providers", "list"],
        &["logout"],
        &["logout", "--all"],
    ] {
        let done = run(home.path(), arguments);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
    }
    // The ledger's owner needs no key that would have to be kept, nor is one left behind.
    assert_eq!(json_of(&run(home.path(), &["--json", "secret-keys", "list"])), json!([]));
    assert_eq!(json_of(&run(home.path(), &["--json", "keys", "list"]))["data"].as_array().map(Vec::len), Some(1));
    let vault = json_of(&run(home.path(), &["--json", "doctor"]));
    let vault = vault["checks"].as_array().unwrap().iter().find(|check| check["what"] == "vault").unwrap().clone();
    assert!(vault["result"] == "note" && vault["detail"].as_str().unwrap().contains("login --store file"), "{vault}");
    let kept: Vec<_> = std::fs::read_dir(data(home.path())).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!kept.iter().any(|name| name.to_str().unwrap().contains("keys.json") || name == "credential-store"), "{kept:?}");
}

#[test]
fn the_sandbox_needs_nobodys_word() {
    let home = tempfile::tempdir().unwrap();
    let sandbox = |arguments: &[&str]| run(home.path(), &[&["--sandbox"], arguments].concat());
    for (at, arguments) in
        [&["prompt", "gpt-4o-mini", "Hi"] as &[&str], &["call", EMBEDDINGS, "--data", INPUT], &["login"]].into_iter().enumerate()
    {
        let done = sandbox(arguments);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        assert_eq!(err(&done).contains("Made a spend key"), at == 0, "{}", err(&done));
    }
    let status = json_of(&sandbox(&["--json", "status"]));
    assert_eq!((&status["stored_in"], &status["spend_key"]["current_requests"]), (&"file".into(), &2.into()));
    let file = data(home.path()).join("sandbox-keys.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut command = bare(home.path());
    command.arg("--sandbox");
    let mut server = Server::start(command, true);
    assert_eq!(server.call("login", json!({}))["structuredContent"]["stored_in"], "file");
    // Nothing of it decides about keys that stand for money: a provider's is refused, and so is a login.
    let mut set = bare(home.path());
    let mut set = set.args(["--sandbox", "providers", "set", "openai"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(b"sk-canary\n").unwrap();
    let set = set.wait_with_output().unwrap();
    assert!(!set.status.success() && err(&set).contains("no keyring was found"), "{set:?}");
    for part in ["providers set openai --store file`", "Or set OPENAI_API_KEY to the key"] {
        assert!(err(&set).contains(part), "{part}: {}", err(&set));
    }
    assert!(!err(&set).contains("LAVA_SPEND_KEY") && !err(&set).contains("zbus"), "{}", err(&set));
    assert!(!std::fs::read_to_string(file).unwrap().contains("canary"));
    assert_eq!(run(home.path(), &["login"]).status.code(), Some(1));
}

#[test]
fn without_a_terminal_the_error_says_how_to_go_on_and_that_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start(bare(home.path()), false);
    let refused = server.call("login", json!({}));
    let error = &refused["structuredContent"]["error"];
    let hint = format!("`lava-mcp --data-dir '{}' login --store file`", data(home.path()).display());
    assert_eq!(error["code"], "vault_unavailable");
    assert!(
        error["hint"].as_str().unwrap().contains(&hint) && error["hint"].as_str().unwrap().contains("LAVA_CREDENTIAL_STORE=file"),
        "{error}"
    );
    for arguments in [&["prompt", "gpt-4o-mini", "Hi"] as &[&str], &["call", EMBEDDINGS, "--data", INPUT], &["login"]] {
        let done = run(home.path(), arguments);
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        assert!(err(&done).starts_with("error: no keyring was found here") && err(&done).contains(&hint), "{}", err(&done));
    }
    assert_eq!(json_of(&run(home.path(), &["--json", "keys", "list"]))["data"], json!([]), "nothing is made that cannot be kept");

    let login = run(home.path(), &["login", "--store", "file"]);
    assert!(login.status.success(), "{login:?}");
    let status = json_of(&run(home.path(), &["--json", "status"]));
    assert_eq!((&status["logged_in"], &status["stored_in"]), (&true.into(), &"file".into()));
    // A server that runs already finds it too.
    assert_eq!(server.call("login", json!({}))["structuredContent"]["stored_in"], "file");
    let names = ["keys.json", "credential-store"];
    assert!(names.iter().all(|name| std::fs::metadata(data(home.path()).join(name)).unwrap().permissions().mode() & 0o777 == 0o600));
    // Hints go on to work for who gives the flag each time.
    let wrong = run(home.path(), &["--store", "file", "secret-keys", "delete", "aks_none"]);
    assert!(
        err(&wrong).contains(&format!("`lava-mcp --data-dir '{}' --store file secret-keys list`", data(home.path()).display())),
        "{}",
        err(&wrong)
    );
    // And it is taken back the same way.
    assert_eq!(run(home.path(), &["login", "--store", "keyring"]).status.code(), Some(1));
    assert_eq!(json_of(&run(home.path(), &["--json", "status"]))["logged_in"], false);
    let wrong = run(home.path(), &["login", "--store", "paper"]);
    assert!(wrong.status.code() == Some(1) && err(&wrong).contains("keyring or file"), "{}", err(&wrong));
}

#[test]
fn what_is_wrong_with_a_command_is_said_before_anything_is_asked() {
    for arguments in [&["providers", "set", "openai", "sk-canary"][..], &["providers", "set", "nobody"]] {
        let home = tempfile::tempdir().unwrap();
        let mut command = bare(home.path());
        command.args(arguments);
        let (shown, code) = at_a_terminal(command, "n\n");
        assert!(code == Some(1) && !shown.contains("[Y/n]") && !shown.contains("canary"), "{shown}");
    }
}

/// Runs a command at a terminal, types this once the question is there, and returns what the terminal showed.
fn at_a_terminal(mut command: Command, typed: &str) -> (String, Option<i32>) {
    let mut terminal = std::fs::File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side = || Stdio::from(OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap());
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    drop(command);
    let (mut shown, mut bytes, mut is_answered) = (String::new(), [0; 4_096], false);
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if shown.contains("[Y/n]") && !std::mem::replace(&mut is_answered, true) {
            terminal.write_all(typed.as_bytes()).unwrap();
        }
    }
    (shown, child.wait().unwrap().code())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_a_person_is_asked_once() {
    let upstream = FakeUpstream::start().await;
    // The end of input is Ctrl-D at the beginning of a line.
    for (typed, is_yes) in [("\n", true), ("y\n", true), (" YES \n", true), ("n\n", false), ("maybe\n", false), ("\u{4}", false)] {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("lava.toml");
        let provider = format!("local_servers = false\n[providers.house]\nbase_url = \"{}/v1\"\nprice = \"free\"\n", upstream.url);
        std::fs::write(&config, provider).unwrap();
        let prompt = || {
            let mut command = bare(home.path());
            command.arg("--config").arg(&config).args(["prompt", "house/ok", "Hi"]);
            command
        };
        let (shown, code) = at_a_terminal(prompt(), typed);
        let file = data(home.path()).join("keys.json");
        let question = format!("No keyring was found here. Keep keys in a file only you can read ({})? [Y/n] ", file.display());
        assert!(shown.starts_with(&question), "{shown}");
        assert_eq!((code, file.exists()), if is_yes { (Some(0), true) } else { (Some(2), false) }, "{typed:?}: {shown}");
        let (again, code) = at_a_terminal(prompt(), "n\n");
        if is_yes {
            assert!(shown.contains("Made a spend key for the command line: 5.00 USD a day"), "{shown}");
            assert!(code == Some(0) && !again.contains("[Y/n]") && !again.contains("Made a spend key"), "{again}");
            assert_eq!(Server::start(bare(home.path()), true).call("login", json!({}))["structuredContent"]["stored_in"], "file");
        } else {
            assert!(again.contains("[Y/n]") && shown.contains("start a keyring"), "{shown}{again}");
        }
    }
}
