//! How processes end: what a stopped call has cost is said, signals are obeyed, and a reader that takes nothing holds nobody up.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cli::{program, program_with},
    raw_provider::{self, Step, completion, piece, plain, stream_end, stream_head},
};

/// The promise, and what a debug build on a busy machine takes.
const SOON: Duration = Duration::from_millis(2_500);

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits for the end, at most so long.
fn ends(child: &mut Child, within: Duration) -> ExitStatus {
    let began = Instant::now();
    while began.elapsed() < within {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it did not end within {within:?}");
}

/// A provider that waits before, or in the middle of, its answer.
fn slow() -> String {
    raw_provider::start(|_, body| {
        let script = body["model"].as_str().unwrap_or_default();
        let wait = Step::Wait(Duration::from_millis(1_500));
        match script {
            "refuses" => [vec![wait], plain(400, &json!({"error": {"message": "no"}}))].into_iter().flatten().collect(),
            "never" => vec![Step::Wait(Duration::from_secs(60))],
            _ if body["stream"] == true => {
                let mut steps = vec![stream_head(), piece("Hello"), wait];
                steps.extend(stream_end());
                steps
            }
            _ => [vec![wait], plain(200, &completion("Hello"))].into_iter().flatten().collect(),
        }
    })
}

struct Place {
    home: tempfile::TempDir,
    url: String,
}

impl Place {
    fn new(url: String) -> Self {
        let place = Self { home: tempfile::tempdir().unwrap(), url };
        assert!(place.command(&["login"]).output().unwrap().status.success());
        place
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program_with(self.home.path(), &self.url);
        command.args(arguments);
        command
    }

    /// Starts a command, sends it a signal once the call is under way, and returns how it ended.
    fn stopped(&self, arguments: &[&str], signals: &[&str]) -> (Output, Duration) {
        let child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while self.count("SELECT count(*) FROM hold") == 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "the call never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        for (at, name) in signals.iter().enumerate() {
            if at > 0 {
                std::thread::sleep(Duration::from_millis(300));
            }
            signal(&child, name);
        }
        (child.wait_with_output().unwrap(), began.elapsed())
    }

    fn count(&self, query: &str) -> i64 {
        let path = self.home.path().join(".local/share/lava-mcp/ledger.db");
        let Ok(ledger) = rusqlite::Connection::open(path) else { return 0 };
        ledger.query_row(query, [], |row| row.get(0)).unwrap_or(0)
    }
}

#[test]
fn ctrl_c_hangs_up_and_says_what_was_booked() {
    let place = Place::new(slow());
    let call = format!("{}/v1/chat/completions", place.url);
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":50}"#;
    // 11 tokens at a dollar and 7 at two dollars a million: the answer was read on, as after any hang-up.
    for (arguments, name) in [
        (&["prompt", "house/m", "hi"][..], "INT"),
        (&["prompt", "--stream", "house/m", "hi"], "INT"),
        (&["call", &call, "-d", body], "INT"),
        (&["prompt", "house/m", "hi"], "TERM"),
        (&["prompt", "house/m", "hi"], "HUP"),
    ] {
        let before = place.count("SELECT sum(amount_n) FROM entry");
        let (output, _) = place.stopped(arguments, &[name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{arguments:?} {said}");
        assert!(said.contains("stopped; 0.000025 USD were charged"), "{arguments:?}: {said}");
        assert_eq!(place.count("SELECT sum(amount_n) FROM entry") - before, 25_000, "{arguments:?}");
        assert_eq!(place.count("SELECT count(*) FROM hold"), 0);
    }
    let (output, _) = place.stopped(&["prompt", "house/refuses", "hi"], &["INT"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("stopped; nothing was charged"), "{said}");
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let place = Place::new(slow());
    let (output, took) = place.stopped(&["prompt", "house/never", "hi"], &["INT", "INT"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(output.status.code() == Some(130) && said.contains("what was set aside for it is charged"), "{said}");
    assert_eq!(place.count("SELECT count(*) FROM hold"), 0);
    assert!(place.count("SELECT sum(amount_n) FROM entry") > 0);
}

/// The servers: MCP on stdin, MCP over HTTP, and the gateway.
const SERVERS: [&[&str]; 3] =
    [&["--sandbox"], &["--sandbox", "serve", "--listen", "127.0.0.1:0"], &["--sandbox", "gateway", "--listen", "127.0.0.1:0"]];

fn server(home: &Path, arguments: &[&str], is_hang_up_ignored: bool) -> Child {
    let plain = program(home);
    let mut command = if is_hang_up_ignored {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(plain.get_program());
        shell.env_clear().env("HOME", home).env("LAVA_CREDENTIAL_STORE", "file");
        shell
    } else {
        plain
    };
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

const HELLO: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;

/// Waits until a server can be asked.
fn is_up(child: &mut Child, is_stdio: bool) {
    let mut line = String::new();
    if is_stdio {
        writeln!(child.stdin.as_mut().unwrap(), "{HELLO}").unwrap();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    } else {
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        // The second line comes with it, and the handlers of signals right after.
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!line.is_empty());
}

#[test]
fn a_terminal_that_goes_away_ends_what_runs_in_it() {
    for (at, arguments) in SERVERS.into_iter().enumerate() {
        for name in ["HUP", "TERM", "INT"] {
            let home = tempfile::tempdir().unwrap();
            let mut child = server(home.path(), arguments, false);
            is_up(&mut child, at == 0);
            signal(&child, name);
            let status = ends(&mut child, SOON);
            assert!(status.success(), "{arguments:?} {name}: {status}");
        }
    }
}

#[test]
fn what_is_to_outlive_its_terminal_does() {
    for (at, arguments) in SERVERS.into_iter().enumerate() {
        let home = tempfile::tempdir().unwrap();
        let mut child = server(home.path(), arguments, true);
        is_up(&mut child, at == 0);
        signal(&child, "HUP");
        std::thread::sleep(Duration::from_millis(700));
        assert!(child.try_wait().unwrap().is_none(), "{arguments:?} ended");
        signal(&child, "TERM");
        assert!(ends(&mut child, SOON).success(), "{arguments:?}");
    }
}

/// Sends until the server takes no more, or so many; nobody reads what comes back.
fn stuff(input: &mut (impl Write + Send), lines: usize, line: impl Fn(usize) -> String) {
    for at in 0..lines {
        if writeln!(input, "{}", line(at)).is_err() {
            return;
        }
    }
}

#[test]
fn a_client_that_never_reads_the_log_is_served() {
    for line in [
        r#"{"jsonrpc":"2.0","id":ID,"method":"resources/subscribe","params":{"uri":"lava-mcp://catalog"}}"#,
        r#"{"jsonrpc":"2.0","id":ID,"method":"resources/read","params":{"uri":"lava-mcp://nope"}}"#,
        "this is no JSON ID",
    ] {
        let home = tempfile::tempdir().unwrap();
        let mut command = program(home.path());
        command.arg("--sandbox").env("LAVA_LOG", "trace").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let writer = std::thread::spawn(move || {
            writeln!(input, "{HELLO}").unwrap();
            stuff(&mut input, 2_000, |at| line.replace("ID", &(at + 10).to_string()));
            writeln!(input, r#"{{"jsonrpc":"2.0","id":9,"method":"ping"}}"#).unwrap();
            input
        });
        let began = Instant::now();
        loop {
            let mut answer = String::new();
            assert!(output.read_line(&mut answer).unwrap() > 0 && began.elapsed() < Duration::from_secs(60), "{line}");
            if serde_json::from_str::<Value>(&answer).unwrap()["id"] == 9 {
                break;
            }
        }
        drop(writer.join().unwrap());
        ends(&mut child, SOON);
    }
}

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    ByClosing,
    BySignal(&'static str),
}

#[test]
fn full_pipes_keep_no_server() {
    for leaves in [Leaves::ByClosing, Leaves::BySignal("TERM"), Leaves::BySignal("HUP"), Leaves::BySignal("INT")] {
        for line in [r#"{"jsonrpc":"2.0","id":ID,"method":"tools/list"}"#, "this is no JSON ID"] {
            for is_socket in [false, true] {
                let home = tempfile::tempdir().unwrap();
                let mut command = program(home.path());
                command.arg("--sandbox").env("LAVA_LOG", "trace");
                let (mut child, mut input, unread): (Child, Box<dyn Write + Send>, _) = if is_socket {
                    // As Node starts its children.
                    let [(ours, theirs), (out, out_there), (err, err_there)] = [(); 3].map(|()| UnixStream::pair().unwrap());
                    let pass = |stream: UnixStream| Stdio::from(std::os::fd::OwnedFd::from(stream));
                    let child = command.stdin(pass(theirs)).stdout(pass(out_there)).stderr(pass(err_there)).spawn().unwrap();
                    (child, Box::new(ours), Some((out, err)))
                } else {
                    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                    let input = child.stdin.take().unwrap();
                    (child, Box::new(input), None)
                };
                drop(command);
                // Taken apart from its end, so that it can be closed while it is stuck.
                let writer = std::thread::spawn(move || {
                    let _ = writeln!(input, "{HELLO}");
                    stuff(&mut input, 300, |at| line.replace("ID", &(at + 10).to_string()));
                    input
                });
                std::thread::sleep(Duration::from_millis(1_500));
                let what = format!("{leaves:?} {line} socket {is_socket}");
                let status = match leaves {
                    Leaves::BySignal(name) => {
                        signal(&child, name);
                        ends(&mut child, SOON)
                    }
                    Leaves::ByClosing => {
                        // 300 lines fit into the pipe, read or not.
                        drop(writer.join().unwrap());
                        ends(&mut child, SOON)
                    }
                };
                assert!(status.code().is_some(), "{what}: {status}");
                drop(unread);
            }
        }
    }
}

#[test]
fn full_pipes_keep_no_http_server() {
    for arguments in &SERVERS[1..] {
        let home = tempfile::tempdir().unwrap();
        let mut command = program(home.path());
        command.args(*arguments).env("LAVA_LOG", "trace").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit_once("http://").unwrap().1.split('/').next().unwrap().to_owned();
        // Many lines for a log that nobody reads; the answers are asked for and not read either.
        for _ in 0..1_500 {
            let Ok(mut socket) = std::net::TcpStream::connect(&address) else { break };
            let _ = socket.write_all(
                format!("GET /v1/models HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic x\r\nconnection: close\r\n\r\n").as_bytes(),
            );
            let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
            let mut one = [0; 1];
            assert!(socket.read(&mut one).is_ok(), "it stopped answering");
        }
        signal(&child, "TERM");
        assert!(ends(&mut child, SOON).success(), "{arguments:?}");
    }
}

#[test]
fn a_result_that_nobody_reads_keeps_no_command() {
    let url = raw_provider::start(|_, _| {
        let mut steps = vec![stream_head()];
        steps.extend((0..200).map(|_| piece(&"x".repeat(4_000))));
        steps.extend(stream_end());
        steps
    });
    let place = Place::new(url);
    let mut child = place.command(&["prompt", "--stream", "house/m", "hi"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while place.count("SELECT count(*) FROM entry") == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "a reader that takes nothing holds the bookkeeping up");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "a slow reader is waited for");
    signal(&child, "TERM");
    ends(&mut child, SOON);
    // And one that reads gets all of it.
    let whole = place.command(&["prompt", "--stream", "house/m", "hi"]).output().unwrap();
    assert_eq!(whole.stdout.iter().filter(|byte| **byte == b'x').count(), 800_000);
}
