//! A command that a text suggests works as printed: with the flags that this process was started with, as a shell takes them.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::cli::program;

/// The commands of ours that a text quotes.
fn commands(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).filter(|quoted| quoted.contains("lava-mcp")).collect()
}

/// A folder with the program in it, under its own name.
fn on_the_path(folder: &Path) -> String {
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lava-mcp"), folder.join("lava-mcp")).unwrap();
    folder.display().to_string()
}

#[test]
fn commands_of_texts_carry_the_flags_and_work_in_a_shell() {
    let home = tempfile::tempdir().unwrap();
    let bin = tempfile::tempdir().unwrap();
    let path = on_the_path(bin.path());
    let data = home.path().join("it's my data");
    let config = home.path().join("lava config.toml");
    std::fs::write(&config, "local_servers = false\n").unwrap();
    let (data, config) = (data.to_str().unwrap(), config.to_str().unwrap());
    let all: [(&[&str], &str); 4] = [
        (&[], "lava-mcp "),
        (&["--sandbox"], "lava-mcp --sandbox "),
        (&["--data-dir", data], "lava-mcp --data-dir '"),
        (&["--data-dir", data, "--sandbox", "--config", config], "lava-mcp --sandbox --config '"),
    ];
    let asked: [(&[&str], Option<&str>); 6] = [
        (&["secret-keys", "delete", "aks_none"], None),
        (&["mispriced", "sell-again", "house/model"], None),
        (&["providers", "set", "nobody"], None),
        (&["prompt", "gpt-4o-mini", "Hi"], Some("http://127.0.0.1:9")),
        (&["status"], Some("http://127.0.0.1:9")),
        (&["doctor"], None),
    ];
    for (flags, begins) in all {
        for (arguments, url) in asked {
            let mut command = program(home.path());
            command.envs(url.map(|url| ("LAVA_API_URL", url))).args(flags).args(arguments);
            let done = command.output().unwrap();
            let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
            let hints = commands(&said);
            // In the sandbox every provider is there, and nothing is quarantined, so there is nothing to suggest.
            let is_quiet = flags.contains(&"--sandbox") && matches!(arguments[0], "doctor" | "mispriced");
            assert!(!hints.is_empty() || is_quiet, "{flags:?} {arguments:?}: {said}");
            for hint in hints {
                assert!(hint.starts_with(begins), "{flags:?} {arguments:?}: {hint}");
                let help = Command::new("/bin/sh").env_clear().env("PATH", &path).args(["-c", &format!("{hint} --help")]).output().unwrap();
                assert!(help.status.success(), "{hint}: {help:?}");
                // What only reads is run as it is printed.
                if [" search ", " list", " quarantined"].iter().any(|reads| hint.contains(reads)) {
                    let mut shell = Command::new("/bin/sh");
                    let done = shell.env_clear().env("PATH", &path).env("HOME", home.path()).args(["-c", hint]).output().unwrap();
                    assert!(done.status.success(), "{hint}: {done:?}");
                }
            }
        }
    }
    // Not only what it says: the command reads the same ledger.
    let wrong = program(home.path()).args(["--data-dir", data, "secret-keys", "delete", "aks_none"]).output().unwrap();
    let made = program(home.path()).args(["--data-dir", data, "secret-keys", "create", "--name", "mine"]).output().unwrap();
    assert!(made.status.success());
    let said = String::from_utf8(wrong.stderr).unwrap();
    let listed =
        Command::new("/bin/sh").env_clear().env("PATH", &path).env("HOME", home.path()).args(["-c", commands(&said)[0]]).output().unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains("mine"), "{said}");
}

#[test]
fn the_tools_and_the_gateway_carry_them_too() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("my data");
    let expected = format!("`lava-mcp --data-dir '{}' providers set openai`", data.display());
    let mut command = program(home.path());
    command.arg("--data-dir").arg(&data);
    let mut server = crate::mcp_stdio::Server::start(command, true);
    server.call("login", json!({}));
    let refused = server.call("prompt", json!({"model": "openai/gpt-4o-mini", "input": "Hi"}));
    let error = refused["structuredContent"]["error"].to_string();
    assert!(error.contains(&expected), "{error}");
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(&expected), "{text}");
    // As a client starts it after `install --data-dir`: the person's shell has none of its variables.
    let mut command = program(home.path());
    command.env("LAVA_DATA_DIR", &data);
    let refused = crate::mcp_stdio::Server::start(command, false).call("prompt", json!({"model": "openai/gpt-4o-mini", "input": "Hi"}));
    assert!(refused.to_string().contains(&expected), "{refused}");
}
