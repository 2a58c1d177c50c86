//! What is typed at a real terminal: a provider's key, which is not shown, and the answer before something ends for good.

use std::process::Command;

use serde_json::Value;

use crate::{cli::program, typed::Typed};

const KEY: &str = "sk-proj-canary0123456789";
const QUESTION: &str = "then press Enter: ";

fn kept(home: &std::path::Path) -> Option<String> {
    let kept: Value = serde_json::from_slice(&std::fs::read(home.join(".local/share/lava-mcp/keys.json")).ok()?).ok()?;
    let providers: Value = serde_json::from_str(kept["providers"].as_str()?).ok()?;
    providers["openai"].as_str().map(str::to_owned)
}

#[test]
fn a_key_that_is_typed_or_pasted_is_not_shown() {
    for typed in [
        format!("{KEY}\n"),
        format!("  {KEY}  \r"),
        // A terminal that marks what is pasted, and a slip that is taken back.
        format!("\u{1b}[200~{KEY}\u{1b}[201~\n"),
        format!("wrong\u{15}{KEY}x\u{7f}\n"),
        format!("{KEY}\nrm -rf nothing\n"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut terminal = Typed::start(home.path(), &["providers", "set", "openai"]);
        terminal.wait_for(QUESTION);
        assert!(!terminal.echoes(), "hidden while it is asked for");
        terminal.write(&typed);
        assert!(terminal.end().success(), "{}", terminal.shown());
        let shown = terminal.shown();
        assert!(!shown.contains("canary") && shown.contains("The key for openai is kept in the file store."), "{typed:?}: {shown}");
        assert!(terminal.echoes(), "shown again afterwards");
        assert_eq!(kept(home.path()).as_deref(), Some(KEY), "{typed:?}");
        // The second line was not left to the shell.
        assert!(!shown.contains("rm -rf"), "{shown}");
    }
}

#[test]
fn however_the_question_ends_the_terminal_shows_again() {
    for end in ["\u{3}", "", "\u{4}", "TERM", "HUP", "INT"] {
        let home = tempfile::tempdir().unwrap();
        let mut terminal = Typed::start(home.path(), &["providers", "set", "openai"]);
        terminal.wait_for(QUESTION);
        assert!(!terminal.echoes());
        match end {
            "" => terminal.write("\n"),
            signal if signal.len() > 1 => {
                terminal.write("sk-proj-can");
                let sent = Command::new("kill").args([&format!("-{signal}"), &terminal.id().to_string()]).status().unwrap();
                assert!(sent.success());
            }
            typed => terminal.write(typed),
        }
        let code = terminal.end().code();
        let expected = if matches!(end, "" | "\u{4}") { 1 } else { 130 };
        assert_eq!(code, Some(expected), "{end:?}: {}", terminal.shown());
        assert!(terminal.echoes(), "{end:?}");
        assert_eq!(kept(home.path()), None, "{end:?}");
    }
}

#[test]
fn a_stop_and_a_core_do_not_leave_it_hidden() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = Typed::start(home.path(), &["providers", "set", "openai"]);
    terminal.wait_for(QUESTION);
    // Ctrl-Z and Ctrl-\ are characters like others, and a key has neither.
    terminal.write("\u{1a}\u{1c}\n");
    assert_eq!(terminal.end().code(), Some(1), "{}", terminal.shown());
    assert!(terminal.echoes() && terminal.shown().contains("this is not a key"), "{}", terminal.shown());
}

fn sandbox(home: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = program(home).arg("--sandbox").args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_terminal_is_asked_before_a_key_ends_for_good() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert_eq!(sandbox(home, &["keys", "create", "my editor", "--spend-limit", "5/day"]).0, Some(0));
    let id = serde_json::from_str::<Value>(&sandbox(home, &["keys", "show", "my editor", "--json"]).1).unwrap();
    let id = id["spend_key_id"].as_str().unwrap();
    let ask = |answer: &str| {
        let mut terminal = Typed::start(home, &["--sandbox", "keys", "revoke", "my editor"]);
        terminal.wait_for(&format!("Revoke \"my editor\" ({id})? It cannot be undone. [y/N] "));
        terminal.write(answer);
        (terminal.end().code(), terminal.shown())
    };
    for no in ["\n", "n\n", "yess\n", "\u{4}"] {
        let (code, shown) = ask(no);
        assert!(code == Some(2) && shown.contains("was not revoked"), "{no:?}: {shown}");
    }
    assert!(sandbox(home, &["keys", "list"]).1.contains(id));
    let (code, shown) = ask("Y\n");
    assert!(code == Some(0) && shown.contains("is revoked"), "{shown}");
    assert!(!sandbox(home, &["keys", "list"]).1.contains(id));

    // Neither a script nor somebody who said yes is asked.
    assert_eq!(sandbox(home, &["keys", "create", "second", "--spend-limit", "5/day"]).0, Some(0));
    let mut terminal = Typed::start(home, &["--sandbox", "keys", "revoke", "second", "--yes"]);
    assert!(terminal.end().success() && !terminal.shown().contains("[y/N]"), "{}", terminal.shown());
    assert_eq!(sandbox(home, &["keys", "create", "third", "--spend-limit", "5/day"]).0, Some(0));
    assert_eq!(sandbox(home, &["keys", "revoke", "third"]).0, Some(0));
    // What can be undone is not asked about.
    assert_eq!(sandbox(home, &["keys", "create", "fourth", "--spend-limit", "5/day"]).0, Some(0));
    for arguments in [["keys", "pause", "fourth"], ["keys", "resume", "fourth"], ["keys", "rotate", "fourth"]] {
        let mut terminal = Typed::start(home, &[&["--sandbox"], &arguments[..]].concat());
        assert!(terminal.end().success() && !terminal.shown().contains("[y/N]"), "{}", terminal.shown());
    }
}

#[test]
fn a_terminal_is_asked_before_a_secret_key_ends_for_good() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    assert_eq!(sandbox(home, &["secret-keys", "create", "--name", "backend"]).0, Some(0));
    for (answer, code) in [("n\n", 2), ("y\n", 0)] {
        let mut terminal = Typed::start(home, &["secret-keys", "delete", "backend"]);
        terminal.wait_for("[y/N] ");
        terminal.write(answer);
        assert_eq!(terminal.end().code(), Some(code), "{}", terminal.shown());
    }
    assert!(!sandbox(home, &["secret-keys", "list"]).1.contains("backend"));
}
