//! What somebody sees who types the commands on a terminal: no line of a library, no escape where none is wanted, tables that fit, and what the bare program waits for.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use unicode_width::UnicodeWidthStr;

use crate::{
    cli::program,
    terminal::{on_terminal, on_terminal_of},
};

/// Every command, as it can be called in an empty home without a network; and its help.
const COMMANDS: [&[&str]; 26] = [
    &["status"],
    &["search", "gpt"],
    &["--sandbox", "login"],
    &["--sandbox", "prompt", "gpt-4o-mini", "hi"],
    &["--sandbox", "call", "https://api.openai.com/v1/embeddings", "-d", r#"{"model":"text-embedding-3-small","input":"Hi"}"#],
    &["providers", "list"],
    &["providers", "remove", "openai"],
    &["keys", "create", "k", "--spend-limit", "1.00/daily"],
    &["keys", "list"],
    &["keys", "show", "k"],
    &["keys", "holds"],
    &["account"],
    &["mispriced"],
    &["secret-keys", "create", "--name", "s"],
    &["secret-keys", "list"],
    &["doctor"],
    &["demo"],
    &["manifest"],
    &["install", "cursor", "--dry-run"],
    &["uninstall", "cursor", "--dry-run"],
    &["logout"],
    &["--version"],
    &["--help"],
    &["help"],
    &["keys"],
    &["nonsense"],
];
const NAMES: [&str; 18] = [
    "serve",
    "login",
    "logout",
    "status",
    "search",
    "prompt",
    "call",
    "providers",
    "gateway",
    "keys",
    "account",
    "mispriced",
    "secret-keys",
    "doctor",
    "demo",
    "manifest",
    "install",
    "uninstall",
];

/// A terminal of today, with colours.
fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = program(home);
    command.env("TERM", "xterm-256color").args(arguments);
    command
}

#[test]
fn no_line_of_a_library_and_no_escape_that_is_not_wanted() {
    let home = tempfile::tempdir().unwrap();
    let helps: Vec<Vec<&str>> = NAMES.iter().map(|name| vec![*name, "--help"]).collect();
    for arguments in COMMANDS.iter().map(|arguments| arguments.to_vec()).chain(helps) {
        for (name, value) in [("TERM", "xterm-256color"), ("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR", "0")] {
            let mut command = command(home.path(), &arguments);
            // CI is where terminals say that they are dumb.
            command.env(name, value).env("CI", "1");
            let shown = on_terminal_of(command, 100);
            let what = format!("{arguments:?} {name}={value}: {shown}");
            for word in ["ansi", "ANSI", "tracing", "subscriber", "panicked"] {
                assert!(!shown.contains(word), "{what}");
            }
            assert!(!shown.trim().is_empty() || arguments == ["logout"], "{what}");
            assert!(name == "TERM" && value != "dumb" || !shown.contains('\u{1b}'), "{}", what.escape_debug());
        }
    }
}

#[test]
fn colours_are_for_a_person_who_looks() {
    let home = tempfile::tempdir().unwrap();
    let search = on_terminal_of(command(home.path(), &["search", "gpt"]), 100);
    assert!(search.contains("\u{1b}[1mID"), "headings are bold: {search}");
    let error = on_terminal(command(home.path(), &["--config", "missing", "status"]));
    assert!(error.starts_with("\u{1b}["), "{}", error.escape_debug());
    for arguments in [&["search", "gpt"][..], &["nonsense"], &["--help"]] {
        let piped = command(home.path(), arguments).output().unwrap();
        assert!(!piped.stdout.contains(&0x1b) && !piped.stderr.contains(&0x1b), "{arguments:?}");
    }
}

/// Lines that a terminal of this width would break, but for those with a word that has no room beside a heading: it may be an id, and is not cut.
fn too_wide(shown: &str, columns: usize) -> Vec<&str> {
    let is_id = |word: &str| word.width() + "CREDENTIALS  ".len() > columns;
    shown.lines().filter(|line| line.trim_end().width() > columns && !line.split_whitespace().any(is_id)).collect()
}

#[test]
fn tables_fit_the_width_and_ids_are_whole() {
    let home = tempfile::tempdir().unwrap();
    let name = "鍵 of the team that builds the search page and everything behind it";
    let created = command(home.path(), &["keys", "create", name, "--spend-limit", "1.00/daily", "--json"]).output().unwrap();
    let created: serde_json::Value = serde_json::from_slice(&created.stdout).unwrap();
    let id = created["spend_key_id"].as_str().unwrap_or_else(|| panic!("{created}"));
    for columns in [200, 100, 80, 60, 48] {
        for arguments in [&["keys", "list"][..], &["search", "gpt", "--limit", "20"], &["search", "translate text"], &["account"]] {
            let shown = on_terminal_of(command(home.path(), arguments), columns);
            // On a slow machine a spinner came first, and is gone.
            let shown = shown.rsplit("\u{1b}[2K").next().unwrap().replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
            assert!(too_wide(before_sentences(&shown), usize::from(columns)).is_empty(), "{arguments:?} at {columns}: {shown}");
            assert!(arguments[0] != "keys" || (shown.contains(id) && shown.contains('鍵')), "{columns}: {shown}");
        }
        // A variable may say another width.
        let mut narrow = command(home.path(), &["search", "gpt"]);
        narrow.env("COLUMNS", "70").env("NO_COLOR", "1");
        let shown = on_terminal_of(narrow, columns);
        assert!(too_wide(before_sentences(&shown), 70).is_empty(), "{shown}");
    }
    // Programs get whole lines.
    let piped = command(home.path(), &["search", "gpt", "--limit", "3"]).env("COLUMNS", "40").output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap().lines().count(), 4);
}

/// The table alone: sentences are left to the terminal, so that a command in them can be copied.
fn before_sentences(shown: &str) -> &str {
    shown.find(" results;").map_or(shown, |at| &shown[..shown[..at].rfind('\n').unwrap_or(0)])
}

#[test]
fn the_bare_program_says_on_a_terminal_what_it_waits_for() {
    let home = tempfile::tempdir().unwrap();
    let shown = on_terminal_until(command(home.path(), &[]), "Ctrl-C");
    for word in ["MCP", "stdin", "--help", "install", "demo", "JSON-RPC"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    // A client is not told.
    let mut child = command(home.path(), &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// Runs on a terminal until it shows this, then stops the command as Ctrl-C does.
fn on_terminal_until(command: Command, until: &str) -> String {
    use rustix::process::{Pid, Signal, kill_process};
    let (mut terminal, mut child) = crate::terminal::start(command, 80);
    let (mut shown, mut bytes, began) = (Vec::new(), [0; 4_096], Instant::now());
    let mut is_stopped = false;
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..count]);
        if !is_stopped && String::from_utf8_lossy(&shown).contains(until) {
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
            is_stopped = true;
        }
    }
    child.wait().unwrap();
    assert!(began.elapsed() < Duration::from_secs(20));
    String::from_utf8(shown).unwrap()
}

/// A gateway that answers after so long.
fn slow_gateway(pause: Duration) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::spawn(move || {
                let _ = socket.read(&mut [0; 8_192]);
                std::thread::sleep(pause);
                let body = r#"{"error":{"message":"nothing here"}}"#;
                let _ = write!(socket, "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            });
        }
    });
    url
}

#[test]
fn a_second_of_silence_shows_a_spinner_which_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let slow = slow_gateway(Duration::from_millis(2_500));
    let run = |name: &str, value: &str, arguments: &[&str], url: &str| {
        let mut command = command(home.path(), arguments);
        command.env("LAVA_API_URL", url).env("LAVA_SECRET_KEY", format!("aks_live_{}", "x".repeat(32))).env(name, value);
        on_terminal_of(command, 80)
    };
    let shown = run("TERM", "xterm", &["keys", "list"], &slow);
    let (before, after) = shown.rsplit_once("\r\u{1b}[2K").unwrap_or_else(|| panic!("{}", shown.escape_debug()));
    assert!(before.contains("Waiting for the gateway (1 s)"), "{}", before.escape_debug());
    assert!(after.starts_with("\u{1b}[") && after.contains("nothing here") && !after.contains("Waiting"), "{}", after.escape_debug());
    for (name, value, arguments) in
        [("NO_COLOR", "1", &["keys", "list"][..]), ("TERM", "dumb", &["keys", "list"]), ("TERM", "xterm", &["--json", "keys", "list"])]
    {
        let shown = run(name, value, arguments, &slow);
        assert!(!shown.contains("Waiting") && !shown.contains('\u{1b}') && shown.contains("nothing here"), "{}", shown.escape_debug());
    }
    let quick = run("TERM", "xterm", &["keys", "list"], &slow_gateway(Duration::ZERO));
    assert!(!quick.contains("Waiting"), "{}", quick.escape_debug());
    // A program that reads stderr sees nothing of it.
    let mut piped = command(home.path(), &["keys", "list"]);
    piped.env("LAVA_API_URL", &slow).env("LAVA_SECRET_KEY", format!("aks_live_{}", "x".repeat(32)));
    assert!(!String::from_utf8(piped.output().unwrap().stderr).unwrap().contains("Waiting"));
}
