//! What lies on disk is its owner's alone, whatever the umask; and nobody else can make the program wait, or look into it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::cli::program;

/// The program, started by a shell with this umask.
fn with_umask(home: &Path, umask: &str, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(program(home).get_program()).args(arguments);
    shell.env_clear().env("HOME", home).env("LAVA_CREDENTIAL_STORE", "file").env("LAVA_DATA_DIR", home.join("data")).stdin(Stdio::null());
    shell
}

/// Everything below a folder, itself included, with its permissions.
fn modes(folder: &Path) -> Vec<(String, u32, bool)> {
    let mut all = vec![(folder.display().to_string(), fs::metadata(folder).unwrap().mode() & 0o7777, true)];
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        match metadata.is_dir() {
            true => all.extend(modes(&entry.path())),
            false => all.push((entry.path().display().to_string(), metadata.mode() & 0o7777, false)),
        }
    }
    all
}

fn assert_private(folder: &Path, what: &str) {
    for (path, mode, is_folder) in modes(folder) {
        assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{what}: {path} is {mode:o}");
    }
}

/// A server that has made all that there is: ledger, keys, locks, results.
fn work(home: &Path, umask: &str) {
    let mut child =
        with_umask(home, umask, &["--sandbox"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut ask = |id: u64, method: &str, params: serde_json::Value| {
        writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line
    };
    ask(1, "initialize", json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}));
    ask(2, "tools/call", json!({"name": "login", "arguments": {}}));
    let input_text = "word ".repeat(20_000);
    let answer =
        ask(3, "tools/call", json!({"name": "prompt", "arguments": {"model": "gpt-4o-mini", "input": input_text, "max_tokens": 30}}));
    assert!(answer.contains("request_id"), "{answer}");
    // While it runs, with the files that come and go.
    assert_private(&home.join("data"), &format!("umask {umask}, running"));
    drop(input);
    child.wait().unwrap();
    assert!(with_umask(home, umask, &["--sandbox", "login"]).output().unwrap().status.success());
    assert!(with_umask(home, umask, &["doctor"]).output().unwrap().status.success());
}

#[test]
fn files_are_their_owners_alone_whatever_the_umask() {
    for umask in ["000", "002", "022", "077", "0277"] {
        let home = tempfile::tempdir().unwrap();
        work(home.path(), umask);
        assert_private(&home.path().join("data"), &format!("umask {umask}"));
        let names: Vec<String> = modes(&home.path().join("data")).into_iter().map(|(path, ..)| path).collect();
        for name in ["login.lock", "keys.json", "keys.json.lock", "pepper", "ledger.db"] {
            assert!(names.iter().any(|path| path.ends_with(name)), "{name} is there: {names:?}");
        }
    }
}

#[test]
fn what_an_earlier_version_left_open_is_closed() {
    let home = tempfile::tempdir().unwrap();
    work(home.path(), "022");
    let data = home.path().join("data");
    for (path, _, is_folder) in modes(&data) {
        fs::set_permissions(path, fs::Permissions::from_mode(if is_folder { 0o777 } else { 0o666 })).unwrap();
    }
    work(home.path(), "000");
    assert_private(&data, "after another start");
}

#[test]
fn nobody_is_waited_for_for_ever() {
    for file in ["login.lock", "keys.json.lock", "pepper", "keys.json", "ledger.db"] {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        fs::create_dir_all(&data).unwrap();
        assert!(Command::new("mkfifo").arg(data.join(file)).status().unwrap().success());
        let began = Instant::now();
        let mut login =
            with_umask(home.path(), "077", &["--sandbox", "login"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while login.try_wait().unwrap().is_none() {
            if began.elapsed() > Duration::from_secs(20) {
                login.kill().unwrap();
                panic!("{file}: a pipe in its place is waited for");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = login.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("is not a file") && said.contains(file.trim_end_matches(".db")), "{file}: {said}");
    }
}

#[test]
fn a_lock_that_is_held_is_given_up_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fs::create_dir_all(&data).unwrap();
    let held = fs::File::create(data.join("keys.json.lock")).unwrap();
    held.lock().unwrap();
    let began = Instant::now();
    let login = with_umask(home.path(), "077", &["--sandbox", "login"]).output().unwrap();
    let said = String::from_utf8_lossy(&login.stderr).into_owned();
    assert!(!login.status.success() && said.contains("another process has held"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[test]
fn nobody_looks_into_the_process() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$0\" --sandbox"]).arg(program(home.path()).get_program());
    command.env_clear().env("HOME", home.path()).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
    if fs::metadata(home.path()).unwrap().uid() == 0 {
        // Of root's own processes the kernel says the same, whether they are open or not.
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().unwrap();
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}});
    writeln!(child.stdin.as_mut().unwrap(), "{}", json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})).unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let of = |name: &str| format!("/proc/{}/{name}", child.id());
    let limits = fs::read_to_string(of("limits")).unwrap();
    let core: Vec<&str> = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4], "0", "{limits}");
    // What the kernel has of a process that is closed belongs to root.
    assert_eq!(fs::metadata(of("environ")).unwrap().uid(), 0, "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Only as root can a test give files away.
#[test]
fn what_another_user_has_put_there_is_not_used() {
    for file in ["login.lock", "keys.json.lock", "pepper", "keys.json", "ledger.db"] {
        let home = tempfile::tempdir().unwrap();
        if fs::metadata(home.path()).unwrap().uid() != 0 {
            return;
        }
        let data = home.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let planted = fs::File::create(data.join(file)).unwrap();
        planted.lock().unwrap();
        std::os::unix::fs::chown(data.join(file), Some(65_534), Some(65_534)).unwrap();
        let began = Instant::now();
        let login = with_umask(home.path(), "077", &["--sandbox", "login"]).output().unwrap();
        let said = String::from_utf8_lossy(&login.stderr).into_owned();
        assert!(said.contains("belongs to another user"), "{file}: {said}");
        assert!(began.elapsed() < Duration::from_secs(10), "{file}: {:?}", began.elapsed());
    }
}
