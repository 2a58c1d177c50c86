//! What reaches a terminal: no escape, nothing hidden, whoever wrote it; and the same texts as they are where a file or a program reads them. Under a real pseudo-terminal.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    process::{Child, Command, Output, Stdio},
};

use lava_mcp::domain::text::has_hidden;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde_json::{Value, json};

use crate::{
    cli::program_with,
    raw_provider::{self, completion, piece, plain, stream_end, stream_head},
};

/// Writes the clipboard, sets the title, moves the cursor, colours; and hides, reverses, smuggles.
const EVIL: &str = "fine\u{1b}]52;c;cm0gLXJmIH4K\u{7}\u{1b}]0;pwn\u{7}\u{1b}[2K\u{1b}[1A\u{9b}31m \u{8d}hidden\u{202e}\u{200b}\u{e0041}\u{7f}\u{90}x\u{9c}";
const FAMILY: &str = "👩\u{200d}👩\u{200d}👧";

fn provider() -> String {
    raw_provider::start(|path, body| {
        if path.starts_with("/err") {
            return plain(400, &json!({"error": {"message": EVIL, "code": EVIL}}));
        }
        if body["stream"] == true {
            // An escape is cut wherever it can be.
            let mut steps = vec![stream_head()];
            steps.extend(format!("{EVIL}{FAMILY}").chars().map(|c| piece(&c.to_string())));
            steps.extend(stream_end());
            return steps;
        }
        plain(200, &completion(&format!("{EVIL}{FAMILY}")))
    })
}

/// Runs a command whose three streams are one terminal; returns what the terminal was sent.
pub(crate) fn on_terminal(command: Command) -> String {
    on_terminal_of(command, 0)
}

/// The same on a terminal that is `columns` wide.
pub(crate) fn on_terminal_of(command: Command, columns: u16) -> String {
    let (mut terminal, mut child) = start(command, columns);
    let mut sent = Vec::new();
    let mut bytes = [0; 4_096];
    // The last one who leaves the terminal makes reading fail.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        sent.extend_from_slice(&bytes[..count]);
    }
    child.wait().unwrap();
    String::from_utf8(sent).unwrap()
}

/// Starts a command whose three streams are one terminal; of no width where `columns` is 0.
pub(crate) fn start(mut command: Command, columns: u16) -> (File, Child) {
    let terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize { ws_row: if columns == 0 { 0 } else { 24 }, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let side = || Stdio::from(OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap());
    let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    (terminal, child)
}

struct Place {
    home: tempfile::TempDir,
    url: String,
}

impl Place {
    fn new() -> Self {
        let place = Self { home: tempfile::tempdir().unwrap(), url: provider() };
        assert!(place.piped(&["login"]).status.success());
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program_with(self.home.path(), &self.url);
        command.args(arguments);
        command
    }

    fn piped(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn shown(&self, arguments: &[&str]) -> String {
        let shown = on_terminal(self.command(arguments));
        assert_harmless(&shown, &format!("{arguments:?}"));
        shown
    }
}

fn assert_harmless(shown: &str, what: &str) {
    // A terminal makes CR LF of a line end.
    let text = shown.replace("\r\n", "\n");
    assert!(!has_hidden(&text), "{what}: {}", text.escape_debug());
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{what}: {}", text.escape_debug());
}

#[test]
fn answers_and_errors_of_a_provider_are_only_text() {
    let place = Place::new();
    let call = format!("{}/v1/chat/completions", place.url);
    for arguments in [
        &["prompt", "house/m", "hi"][..],
        &["prompt", "--stream", "house/m", "hi"],
        &["call", &call, "-d", r#"{"model":"m","messages":[]}"#],
    ] {
        let shown = place.shown(arguments);
        assert!(shown.contains("fine") && shown.contains("hidden"), "{shown}");
        assert!(shown.contains(FAMILY) || arguments[0] == "call", "{}", shown.escape_unicode());
        let piped = String::from_utf8(place.piped(arguments).stdout).unwrap();
        assert!(arguments[0] == "call" || piped.contains(EVIL), "as it is: {}", piped.escape_debug());
    }
    assert!(place.shown(&["prompt", "bad/m", "hi"]).contains("error: "));
    assert!(place.shown(&["prompt", "--stream", "bad/m", "hi"]).contains("error: "));
}

#[test]
fn json_is_the_same_json_on_a_terminal() {
    let place = Place::new();
    for arguments in [&["--json", "prompt", "house/m", "hi"][..], &["--json", "prompt", "--stream", "house/m", "hi"]] {
        let (shown, piped) = (place.shown(arguments), place.piped(arguments).stdout);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let piped: Value = serde_json::from_slice(&piped).unwrap();
        assert_eq!(shown["content"], piped["content"]);
        assert_eq!(piped["content"], format!("{EVIL}{FAMILY}"));
    }
}

#[test]
fn names_of_keys_are_only_text() {
    let place = Place::new();
    let name = format!("x\n{EVIL}");
    // Over the API a name can be anything.
    let mut gateway = place.command(&["gateway", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(gateway.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    let address = line.trim().strip_prefix("Listening on ").unwrap().to_owned();
    let secret = String::from_utf8(place.piped(&["secret-keys", "create", "--name", "s"]).stdout).unwrap().trim().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let body = json!({"name": name, "spend_limit": {"amount": "1.00", "cycle": "daily"}}).to_string();
        client.post(format!("{address}/spend_keys")).bearer_auth(&secret).body(body).send().await.unwrap().status()
    });
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    if made.is_success() {
        assert!(place.shown(&["keys", "list"]).contains("fine"));
        place.shown(&["--json", "keys", "list"]);
    }
    place.shown(&["keys", "create", &format!("y{EVIL}"), "--unlimited"]);
    place.shown(&["keys", "list"]);
    place.shown(&["secret-keys", "create", "--name", EVIL]);
    place.shown(&["secret-keys", "list"]);
}

#[test]
fn what_a_person_was_made_to_type_is_only_text() {
    let place = Place::new();
    for arguments in [
        &[EVIL][..],
        &["prompt", "--max-cost", EVIL, "m", "hi"],
        &["prompt", EVIL, "hi"],
        &["--config", EVIL, "status"],
        &["--data-dir", "/proc/\u{1b}]0;pwn\u{7}", "status"],
        &["search", EVIL],
        &["call", &format!("http://127.0.0.1/{EVIL}")],
        &["keys", "revoke", EVIL],
        &["keys", "holds", EVIL],
        &["keys", "write-off", EVIL, "--reason", EVIL],
        &["mispriced", "sell-again", EVIL],
        &["login", "--limit", EVIL],
        &["providers", "remove", EVIL],
        &["install", "cursor", "--name", EVIL],
        &["account", "limit", EVIL],
        &["status"],
        &["doctor"],
        &["mispriced"],
        &["keys", "holds"],
        &["account"],
    ] {
        place.shown(arguments);
    }
}

#[test]
fn the_log_on_a_terminal_is_only_text() {
    let place = Place::new();
    for arguments in [&["prompt", "bad/m", "hi"][..], &["prompt", "house/m", "hi"]] {
        let mut command = place.command(arguments);
        command.env("LAVA_LOG", "trace");
        assert_harmless(&on_terminal(command), "log");
    }
    let mut command = place.command(&["status"]);
    command.env("LAVA_LOG", EVIL);
    assert_harmless(&on_terminal(command), "setting");
}
