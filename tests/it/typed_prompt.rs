//! `lava-mcp prompt` at a real terminal: a prompt that is typed, and Ctrl-C while it is typed and while its answer is awaited.

use std::{path::Path, time::Duration};

use serde_json::json;

use crate::{
    cli::{program, program_with},
    raw_provider::{self, Step, completion, plain},
    typed::Typed,
};

const HOW: &str = "end it with Ctrl-D";

fn count(home: &Path, query: &str) -> i64 {
    let Ok(ledger) = rusqlite::Connection::open(home.join(".local/share/lava-mcp/ledger.db")) else { return 0 };
    ledger.query_row(query, [], |row| row.get(0)).unwrap_or(0)
}

/// A prompt without its text, to a provider that says what it was asked, or answers late.
fn prompt(home: &Path, more: &[&str]) -> Typed {
    let url = raw_provider::start(|_, body| {
        let answer = plain(200, &completion(&format!("asked: {}", body["messages"])));
        let wait = Step::Wait(Duration::from_millis(if body["model"] == "late" { 1_500 } else { 0 }));
        [vec![wait], answer].into_iter().flatten().collect()
    });
    program_with(home, &url);
    let config = home.join("lava.toml");
    Typed::start(home, &[&["--config", config.to_str().unwrap(), "prompt"], more].concat())
}

#[test]
fn a_prompt_is_typed_up_to_ctrl_d() {
    for arguments in [&["house/m"][..], &["house/m", "-"]] {
        let home = tempfile::tempdir().unwrap();
        let mut terminal = prompt(home.path(), arguments);
        terminal.wait_for(HOW);
        assert!(terminal.echoes(), "a prompt is no secret");
        terminal.write("Hello\nthere\n");
        terminal.write("\u{4}");
        assert!(terminal.end().success(), "{}", terminal.shown());
        let asked = json!([{"role": "user", "content": "Hello\nthere\n"}]).to_string();
        assert!(terminal.shown().contains(&format!("asked: {asked}")), "{}", terminal.shown());
    }
    // Who has said what to ask is not asked.
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompt(home.path(), &["house/m", "Hi"]);
    assert!(terminal.end().success() && !terminal.shown().contains(HOW), "{}", terminal.shown());
    // Nothing typed is nothing to ask.
    let mut terminal = prompt(home.path(), &["house/m"]);
    terminal.wait_for(HOW);
    terminal.write("\u{4}");
    assert_eq!(terminal.end().code(), Some(1));
    assert!(terminal.shown().contains("there is nothing to ask"), "{}", terminal.shown());
}

#[test]
fn ctrl_c_while_typing_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompt(home.path(), &["house/m"]);
    terminal.wait_for(HOW);
    terminal.write("Hello\n\u{3}");
    assert_eq!(terminal.end().code(), Some(130), "{}", terminal.shown());
    assert!(terminal.echoes() && terminal.shown().contains("error: stopped"), "{}", terminal.shown());
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lava.toml"]);
}

#[test]
fn ctrl_c_while_waiting_settles_what_was_begun() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompt(home.path(), &["house/late", "Hi"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while count(home.path(), "SELECT count(*) FROM hold") == 0 {
        assert!(std::time::Instant::now() < deadline, "{}", terminal.shown());
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(200));
    terminal.write("\u{3}");
    assert_eq!(terminal.end().code(), Some(130), "{}", terminal.shown());
    assert!(terminal.echoes() && terminal.shown().contains("stopped; 0.000025 USD were charged"), "{}", terminal.shown());
    assert_eq!((count(home.path(), "SELECT count(*) FROM hold"), count(home.path(), "SELECT sum(amount_n) FROM entry")), (0, 25_000));
}

#[test]
fn ctrl_c_at_a_question_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let made = program(home).args(["--sandbox", "keys", "create", "mine", "--spend-limit", "5/day"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut terminal = Typed::start(home, &["--sandbox", "keys", "revoke", "mine"]);
    terminal.wait_for("[y/N] ");
    terminal.write("y\u{3}");
    assert_eq!(terminal.end().code(), Some(130), "{}", terminal.shown());
    let listed = program(home).args(["--sandbox", "keys", "list"]).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("mine"));
}
