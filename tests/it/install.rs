//! `lava-mcp install` and `uninstall` on files as clients and people write them: our entry changes, every other byte stays.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::cli::program;

const CLIENTS: [&str; 9] = ["claude-desktop", "claude-code", "cursor", "vscode", "codex", "windsurf", "zed", "gemini", "opencode"];

/// Somebody's home folder, with the file of one client in it.
struct Home {
    folder: tempfile::TempDir,
    client: &'static str,
}

impl Home {
    fn of(client: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), client }
    }

    /// A home in which the client's file says this already.
    fn with(client: &'static str, text: &str) -> Self {
        let home = Self::of(client);
        home.write(text);
        home
    }

    fn command(&self) -> Command {
        let mut command = program(self.folder.path());
        command.env("USERPROFILE", self.folder.path()).current_dir(self.folder.path());
        command
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        self.command().args([&[verb, self.client], arguments].concat()).output().unwrap()
    }

    /// Runs with `--json`; it has to succeed.
    fn done(&self, verb: &str, arguments: &[&str]) -> Value {
        let output = self.run(verb, &[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}: {}", self.client, err(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs what has to be refused; returns what was said. Nothing may have been touched.
    fn refused(&self, verb: &str, arguments: &[&str]) -> String {
        let before = self.bytes();
        let output = self.run(verb, arguments);
        assert_eq!(output.status.code(), Some(1), "{}: {}", self.client, String::from_utf8_lossy(&output.stdout));
        assert_eq!(self.bytes(), before, "untouched");
        assert_eq!(fs::read_dir(self.file().parent().unwrap()).unwrap().count(), 1, "no copy, nothing half-written");
        err(&output)
    }

    fn file(&self) -> PathBuf {
        let output = self.run("uninstall", &["--json", "--name", "nobody", "--dry-run"]);
        match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(report) if report["file"].is_string() => report["file"].as_str().unwrap().into(),
            // A file that cannot be read is named in the refusal.
            _ => err(&output).strip_prefix("error: ").unwrap().split_once(": ").unwrap().0.into(),
        }
    }

    fn write(&self, text: &str) {
        let file = self.file();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn bytes(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// The entry of this name, as the client reads it.
    fn entry(&self, name: &str) -> Value {
        let text = self.bytes();
        let text = text.trim_start_matches('\u{feff}');
        let file: Value = match self.client {
            "codex" => serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap(),
            _ => jsonc_parser::cst::CstRootNode::parse(text, &jsonc_parser::ParseOptions::default()).unwrap().to_serde_value().unwrap(),
        };
        file[root(self.client)][name].clone()
    }
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn root(client: &str) -> &'static str {
    match client {
        "vscode" => "servers",
        "codex" => "mcp_servers",
        "zed" => "context_servers",
        "opencode" => "mcp",
        _ => "mcpServers",
    }
}

/// A file that a person has written by hand, with a server of somebody else.
fn by_hand(client: &str) -> String {
    if client == "codex" {
        return "# mine\nmodel = \"o\"   # odd   blanks\n\n[mcp_servers.other]\ncommand = 'x'\nargs = [\n  \"a\", # one\n]\n\n[tui]\n# last\n".to_owned();
    }
    format!(
        "// mine\n{{\n\t\"theme\":   \"dark\", /* odd   blanks */\n\t\"{}\": {{\n\t\t\"other\": {{ \"command\": \"x\", \"args\": [] }}, // why\n\t\t// last\n\t}},\n\t\"z\": [1,2, 3]\n}}\n",
        root(client)
    )
}

#[test]
fn a_new_file_is_made_once_and_taken_back() {
    for client in CLIENTS {
        let home = Home::of(client);
        let shown = home.done("install", &["--limit", "2.00/weekly", "--dry-run"]);
        assert!(shown["written"] == false && shown["diff"].as_str().unwrap().contains("+") && !home.file().exists(), "{shown}");
        assert!(fs::read_dir(home.folder.path()).unwrap().next().is_none(), "{client}: a dry run writes nothing");

        let added = home.done("install", &["--limit", "2.00/weekly"]);
        assert_eq!((&added["action"], &added["backup"], &added["written"]), (&json!("added"), &Value::Null, &json!(true)));
        let entry = home.entry("lava");
        let command = entry["command"].get(0).unwrap_or(&entry["command"]).as_str().unwrap();
        assert!(Path::new(command).is_absolute() && command.ends_with(&format!("lava-mcp{}", std::env::consts::EXE_SUFFIX)), "{command}");
        let env = if client == "opencode" { &entry["environment"] } else { &entry["env"] };
        assert_eq!(env, &json!({"LAVA_SESSION_LIMIT": "2.00/weekly"}));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600, "it can hold keys");
        }
        let before = home.bytes();
        let again = home.done("install", &[]);
        assert_eq!((&again["action"], home.bytes() == before), (&json!("unchanged"), true), "the limit stays: {again}");
        assert_eq!(home.done("uninstall", &[])["action"], "removed");
        assert_eq!(home.entry("lava"), Value::Null);
        assert_eq!(home.done("uninstall", &[])["action"], "absent");
    }
}

#[test]
fn every_other_byte_stays() {
    for client in CLIENTS {
        let text = by_hand(client);
        let cut = text.trim_end().to_owned();
        for text in [text.clone(), text.replace('\n', "\r\n"), format!("\u{feff}{text}"), cut] {
            let home = Home::with(client, &text);
            let added = home.done("install", &["--env", "A=\"b\" \\ é", "--sandbox"]);
            let with = home.bytes();
            // What was there is still there, around what is new.
            let head = with.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
            let tail = with.bytes().rev().zip(text.bytes().rev()).take_while(|(a, b)| a == b).count();
            assert!(head + tail >= text.len(), "{client}: {with}");
            assert_eq!(with.contains("\r\n"), text.contains("\r\n"));
            assert_eq!(with.replace("\r\n", "").contains('\n'), !text.contains("\r\n"), "{client}: one kind of line end");
            assert_eq!(home.entry("other")["command"], "x");
            let entry = home.entry("lava");
            let env = if client == "opencode" { &entry["environment"] } else { &entry["env"] };
            assert_eq!(env, &json!({"LAVA_SANDBOX": "1", "A": "\"b\" \\ é"}));
            assert_eq!(fs::read_to_string(added["backup"].as_str().unwrap()).unwrap(), text);
            assert_eq!(home.done("uninstall", &[])["action"], "removed");
            assert_eq!(home.bytes(), text, "{client}");
        }
    }
}

#[test]
fn our_entry_is_brought_up_to_date_and_keeps_what_a_person_added() {
    for client in CLIENTS {
        let home = Home::with(client, &by_hand(client));
        home.done("install", &["--limit", "2.00/weekly"]);
        let installed = home.bytes();
        let path = home.entry("lava")["command"].clone();
        let path = path.get(0).unwrap_or(&path).as_str().unwrap().to_owned();
        let theirs = if client == "codex" { "enabled = false\ncommand = " } else { "\"disabled\": true, /* mine */ \"command\": " };
        let ours = if client == "codex" { "command = " } else { "\"command\": " };
        let at = installed.find(&path).unwrap();
        let start = installed[..at].rfind(ours).unwrap();
        let moved =
            [&installed[..start], theirs, &installed[start + ours.len()..at], "/old/lava-mcp", &installed[at + path.len()..]].concat();
        home.write(&moved);
        assert_eq!(home.done("install", &["--env", "B=2"])["action"], "updated");
        let entry = home.entry("lava");
        let env = if client == "opencode" { &entry["environment"] } else { &entry["env"] };
        assert_eq!(env, &json!({"LAVA_SESSION_LIMIT": "2.00/weekly", "B": "2"}), "{client}");
        assert_eq!(entry["command"].get(0).unwrap_or(&entry["command"]), &json!(path));
        assert!(entry["disabled"] == true || entry["enabled"] == false, "{entry}");
        assert!(client == "codex" || home.bytes().contains("/* mine */"));
        assert_eq!(home.done("uninstall", &[])["action"], "removed");
        assert_eq!(home.bytes(), by_hand(client));
    }
}

/// As `codex mcp add` writes it, with a table for the variables.
#[test]
fn an_entry_that_codex_wrote_keeps_its_layout() {
    let others = "[mcp_servers.other]\ncommand = \"true\"\n";
    let theirs = "[mcp_servers.lava]\ncommand = \"/old/lava-mcp\"\nenv_vars = []\n\n[mcp_servers.lava.env]\nA = \"b\"\n\n";
    let home = Home::with("codex", &[theirs, others].concat());
    assert_eq!(home.done("install", &["--sandbox"])["action"], "updated");
    let text = home.bytes();
    assert!(text.contains("\n\n[mcp_servers.lava.env]\nA = \"b\"\nLAVA_SANDBOX = \"1\"\n\n[mcp_servers.other]\n"), "{text}");
    assert!(!text.contains("/old/"), "{text}");
    home.done("uninstall", &[]);
    assert_eq!(home.bytes(), others);
}

/// All the ways in which TOML can say the same of our entry: with a header, as dotted keys, with quoted keys, and within inline tables at every level.
const FORMS: [&str; 16] = [
    "[mcp_servers.lava]\ncommand = \"/old/lava-mcp\"\nenv = { A = \"1\" }\n",
    "[mcp_servers.lava]\ncommand = \"/old/lava-mcp\" # path\nenv.A = \"1\"\n",
    "[mcp_servers.lava]\ncommand = \"/old/lava-mcp\"\n\n[mcp_servers.lava.env]\nA = \"1\"\n",
    "[mcp_servers]\nlava = { command = \"/old/lava-mcp\", env = { A = \"1\" } }\n",
    "[mcp_servers]\nlava = {command = \"/old/lava-mcp\",env.A = \"1\"}\n",
    "[mcp_servers]\nlava.command = \"/old/lava-mcp\"\nlava.env.A = \"1\"\n",
    "[mcp_servers]\nlava.command = \"/old/lava-mcp\"\nlava.env = { A = \"1\" }\nother.command = \"x\"\n",
    "[mcp_servers]\nlava.command = \"/old/lava-mcp\"\n\n[mcp_servers.lava.env]\nA = \"1\"\n",
    "mcp_servers.lava.command = \"/old/lava-mcp\"\nmcp_servers.lava.env.A = \"1\"\n",
    "mcp_servers.lava = { command = \"/old/lava-mcp\", env = { A = \"1\" } }\nmcp_servers.other = { command = \"x\" }\n",
    "mcp_servers = { lava = { command = \"/old/lava-mcp\", env = { A = \"1\" } } }\n",
    "mcp_servers = { other = { command = \"x\" }, lava = { command = \"/old/lava-mcp\", env = { A = \"1\" } } }\n",
    "mcp_servers = { lava.command = \"/old/lava-mcp\", lava.env.A = \"1\", other.command = \"x\" }\n",
    "[\"mcp_servers\".'lava']\n\"command\" = '/old/lava-mcp'\n'env'.\"A\" = \"1\"\n",
    "[ mcp_servers . lava ]\ncommand=\"/old/lava-mcp\"\nenv={A=\"1\"}\n",
    "[mcp_servers.\"lava\"]\nenv.\"A\" = \"1\"\ncommand = \"\"\"/old/lava-mcp\"\"\"\n[mcp_servers.other]\ncommand = \"x\"\n",
];

#[test]
fn every_way_to_write_an_entry_in_toml_is_understood() {
    let (before, after) = ("# mine\nmodel = \"o\"   # odd   blanks\n\n", "\n[tui]\n# last\nx = 1 # one\n");
    for form in FORMS {
        let whole = [before, form, after].concat();
        for text in [whole.clone(), whole.replace('\n', "\r\n"), whole.trim_end().to_owned(), form.to_owned()] {
            let home = Home::with("codex", &text);
            let read = || home.bytes().parse::<toml::Table>().unwrap_or_else(|error| panic!("{}: {error}", home.bytes()));
            let other = read()["mcp_servers"].get("other").cloned();
            assert_eq!(home.done("install", &["--limit", "2.00/weekly"])["action"], "updated", "{text}");
            let entry = home.entry("lava");
            assert_eq!(entry["env"], json!({"A": "1", "LAVA_SESSION_LIMIT": "2.00/weekly"}), "{}", home.bytes());
            assert!(!entry["command"].as_str().unwrap().starts_with("/old"), "{entry}");
            assert_eq!(read()["mcp_servers"].get("other").cloned(), other);
            let installed = home.bytes();
            assert_eq!(home.done("install", &["--limit", "2.00/weekly"])["action"], "unchanged", "{installed}");
            assert_eq!(home.done("uninstall", &[])["action"], "removed", "{installed}");
            let left = home.bytes();
            assert!(!left.contains("lava"), "{left}");
            assert_eq!(read().get("mcp_servers").and_then(|servers| servers.get("other")).cloned(), other, "{left}");
            assert_eq!(home.done("uninstall", &[])["action"], "absent");
            if text.contains("# mine") {
                let theirs = |part: &str| if text.contains("\r\n") { part.replace('\n', "\r\n") } else { part.to_owned() };
                assert!(left.starts_with(&theirs(before)) && left.trim_end().ends_with(theirs(after).trim_end()), "{left:?}");
                assert!(
                    installed.starts_with(&theirs(before))
                        && installed.trim_end().contains(theirs("\n[tui]\n# last\nx = 1 # one").trim_end())
                );
            }
            // And once more, from nothing.
            assert_eq!(home.done("install", &[])["action"], "added", "{left}");
            home.done("uninstall", &[]);
            assert!(!home.bytes().contains("lava"), "{}", home.bytes());
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_left_alone() {
    for client in CLIENTS {
        let root = root(client);
        let (broken, odd) = match client {
            "codex" => ("a = 1\nb = = 2\n".to_owned(), format!("{root} = 3\n")),
            _ => ("{\n  \"a\": 1,\n  \"b\": }\n".to_owned(), format!("{{\"{root}\": []}}")),
        };
        let line = if client == "codex" { "line 2, column" } else { "line 3, column" };
        for (text, says) in [(broken, line), (odd, root)] {
            for verb in ["install", "uninstall"] {
                let said = Home::with(client, &text).refused(verb, &[]);
                assert!(said.contains(says) && said.contains("not touched"), "{client}: {said}");
            }
        }
        let home = Home::with(client, "");
        fs::write(home.file(), b"\xff\xfe{\0}\0").unwrap();
        let said = err(&home.run("install", &[]));
        assert!(said.contains("UTF-8"), "{client}: {said}");
    }
    let twice = "{\"mcpServers\": {}, \"mcpServers\": {}}";
    assert!(Home::with("cursor", twice).refused("install", &[]).contains("duplicate"));
}

#[test]
fn a_server_of_somebody_else_is_not_touched() {
    for client in CLIENTS {
        let home = Home::with(client, &by_hand(client));
        for verb in ["install", "uninstall"] {
            let said = home.refused(verb, &["--name", "other"]);
            assert!(said.contains("(x)") && said.contains("--force") && said.contains("--name"), "{client}: {said}");
        }
        assert_eq!(home.done("install", &["--name", "other", "--force"])["action"], "updated");
        assert!(home.entry("other").to_string().contains("lava-mcp"));
    }
    let address = Home::with("cursor", "{\"mcpServers\": {\"lava\": {\"url\": \"https://lava.example/mcp\"}}}");
    assert!(address.refused("install", &[]).contains("lava.example"));
    assert_eq!(address.done("install", &["--url", "https://lava.example/mcp"])["action"], "unchanged");
    assert_eq!(address.done("install", &["--force"])["action"], "updated");
    assert_eq!(address.entry("lava").get("url"), None, "one or the other");
}

#[test]
fn an_address_is_registered_in_each_clients_words() {
    let url = "http://127.0.0.1:8484/mcp";
    for (client, expected) in [
        ("claude-code", json!({"type": "http", "url": url})),
        ("cursor", json!({"url": url})),
        ("vscode", json!({"type": "http", "url": url})),
        ("codex", json!({"url": url})),
        ("windsurf", json!({"serverUrl": url})),
        ("zed", json!({"url": url})),
        ("gemini", json!({"httpUrl": url})),
        ("opencode", json!({"type": "remote", "url": url, "enabled": true})),
    ] {
        let home = Home::with(client, &by_hand(client));
        home.done("install", &["--limit", "1.00/daily"]);
        home.done("install", &["--url", url]);
        assert_eq!(home.entry("lava"), expected, "{client}: nothing of the other kind is left");
        home.done("install", &[]);
        assert!(home.entry("lava").to_string().contains("command"), "{client}");
    }
    let said = err(&Home::of("claude-desktop").run("install", &["--url", url]));
    assert!(said.contains("connectors"), "{said}");
    for (wrong, says) in [
        ("127.0.0.1:8484", "such as"),
        ("ftp://x/mcp", "such as"),
        ("http://127.0.0.1:8484/sse", "/mcp"),
        ("http://me:pw@x/mcp", "password"),
    ] {
        assert!(err(&Home::of("cursor").run("install", &["--url", wrong])).contains(says), "{wrong}");
    }
    assert!(err(&Home::of("cursor").run("install", &["--url", url, "--sandbox"])).contains("serve"));
}

#[test]
fn variables_are_passed_on_by_name_where_the_client_can() {
    for (client, expected) in [
        ("claude-code", json!({"env": {"KEY_X": "${KEY_X:-}"}})),
        ("cursor", json!({"env": {"KEY_X": "${env:KEY_X}"}})),
        ("vscode", json!({"env": {"KEY_X": "${env:KEY_X}"}})),
        ("windsurf", json!({"env": {"KEY_X": "${env:KEY_X}"}})),
        ("gemini", json!({"env": {"KEY_X": "${KEY_X:-}"}})),
        ("opencode", json!({"environment": {"KEY_X": "{env:KEY_X}"}})),
    ] {
        let home = Home::of(client);
        home.done("install", &["--pass", "KEY_X"]);
        let (key, env) = expected.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&home.entry("lava")[key], env, "{client}");
    }
    let codex = Home::of("codex");
    codex.done("install", &["--pass", "KEY_X"]);
    codex.done("install", &["--pass", "KEY_Y"]);
    let names = codex.entry("lava")["env_vars"].to_string();
    assert!(names.contains("KEY_X") && names.contains("KEY_Y"), "{names}");
    assert_eq!(names.contains("DBUS_SESSION_BUS_ADDRESS") && names.contains("XDG_RUNTIME_DIR"), cfg!(target_os = "linux"), "{names}");
    for client in ["claude-desktop", "zed"] {
        assert!(err(&Home::of(client).run("install", &["--pass", "KEY_X"])).contains("--env KEY_X=VALUE"), "{client}");
    }
    let home = Home::of("cursor");
    for (arguments, says) in [
        (["--env", "A"], "NAME=VALUE"),
        (["--env", "1A=x"], "variable"),
        (["--pass", "A=x"], "variable"),
        (["--limit", "5"], "5.00/daily"),
        (["--name", "a b"], "--name"),
    ] {
        let said = err(&home.run("install", &arguments));
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    let noted = home.run("install", &["--env", "OPENAI_API_KEY=sk-canary"]);
    assert!(noted.status.success() && err(&noted).contains("providers set") && !err(&noted).contains("canary"), "{}", err(&noted));
}

#[test]
fn a_project_has_a_file_of_its_own() {
    for client in CLIENTS {
        let home = Home::of(client);
        let output = home.run("install", &["--scope", "project", "--json"]);
        if matches!(client, "claude-desktop" | "windsurf") {
            assert!(err(&output).contains("--scope"), "{client}");
            continue;
        }
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let file = Path::new(report["file"].as_str().unwrap());
        assert!(file.exists() && file.starts_with(fs::canonicalize(home.folder.path()).unwrap()), "{file:?}");
    }
}

#[test]
fn settings_given_as_flags_go_along_and_broken_settings_do_not_matter() {
    let home = Home::of("cursor");
    let broken = home.folder.path().join("lava.toml");
    fs::write(&broken, "nonsense").unwrap();
    home.done("install", &["--config", "lava.toml", "--data-dir", "data"]);
    let env = &home.entry("lava")["env"];
    let broken = fs::canonicalize(broken).unwrap();
    assert_eq!(fs::canonicalize(env["LAVA_CONFIG"].as_str().unwrap()).unwrap(), broken);
    assert!(Path::new(env["LAVA_DATA_DIR"].as_str().unwrap()).is_absolute());
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_rights_stay_as_they_are() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let home = Home::with("cursor", "{}");
    let (file, real) = (home.file(), home.folder.path().join("dotfiles.json"));
    fs::rename(&file, &real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&real, &file).unwrap();
    let added = home.done("install", &[]);
    assert!(fs::symlink_metadata(file).unwrap().is_symlink() && fs::read_to_string(&real).unwrap().contains("lava"));
    let backup = added["backup"].as_str().unwrap();
    for path in [real.to_str().unwrap(), backup] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o640, "{path}");
    }
    // A copy is never written over.
    home.done("uninstall", &[]);
    fs::write(backup, "of another day").unwrap();
    let second = home.done("install", &[]);
    assert!(second["backup"].as_str().unwrap().starts_with(backup) && second["backup"] != backup, "{second}");
    assert_eq!(fs::read_to_string(backup).unwrap(), "of another day");
    fs::remove_file(&real).unwrap();
    assert!(err(&home.run("install", &[])).contains("broken link"));
}

#[test]
fn what_is_printed_can_be_pasted_and_links_can_be_opened() {
    for client in CLIENTS {
        let home = Home::of(client);
        let printed = String::from_utf8(home.run("install", &["--print"]).stdout).unwrap();
        assert!(!home.file().exists());
        home.write(&printed);
        assert_eq!(home.done("install", &[])["action"], "unchanged", "{client}: {printed}");
    }
    let link = |client| String::from_utf8(Home::of(client).run("install", &["--link"]).stdout).unwrap();
    let cursor = url::Url::parse(link("cursor").lines().next().unwrap()).unwrap();
    assert!(cursor.as_str().starts_with("cursor://anysphere.cursor-deeplink/mcp/install?"));
    let query: Vec<(String, String)> = cursor.query_pairs().into_owned().collect();
    use base64::{Engine, engine::general_purpose::STANDARD};
    let config: Value = serde_json::from_slice(&STANDARD.decode(&query[1].1).unwrap()).unwrap();
    assert!(query[0] == ("name".into(), "lava".into()) && config["command"].as_str().unwrap().contains("lava-mcp"), "{config}");
    let vscode = link("vscode");
    let encoded = vscode.trim().strip_prefix("vscode:mcp/install?").unwrap();
    let decoded = url::form_urlencoded::parse(encoded.as_bytes()).next().unwrap().0.into_owned();
    let config: Value = serde_json::from_str(&decoded).unwrap();
    assert!(config["name"] == "lava" && config["type"] == "stdio", "{config}");
    assert!(err(&Home::of("zed").run("install", &["--link"])).contains("no links"));
}

#[test]
fn what_was_installed_answers() {
    let home = Home::of("cursor");
    home.done("install", &["--sandbox", "--env", "LAVA_CREDENTIAL_STORE=file"]);
    let entry = home.entry("lava");
    let mut command = Command::new(entry["command"].as_str().unwrap());
    command.env_clear().env("HOME", home.folder.path()).current_dir("/");
    command.envs(entry["env"].as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap())));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "cursor", "version": "1"}}});
    writeln!(child.stdin.as_mut().unwrap(), "{hello}").unwrap();
    let mut answer = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success() && answer.contains("lava-mcp"), "{answer}");
}

/// Each page of docs/guides shows what is really written.
#[cfg(target_os = "linux")]
#[test]
fn the_guides_show_what_is_written() {
    for client in CLIENTS {
        let home = Home::of(client);
        let pass: &[&str] = if client == "codex" { &["--pass", "OPENAI_API_KEY"] } else { &[] };
        home.done("install", &[&["--limit", "5.00/daily"], pass].concat());
        let written = home.entry("lava");
        let command = written["command"].get(0).unwrap_or(&written["command"]).as_str().unwrap();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/guides/{client}.md"));
        let page = fs::read_to_string(page).unwrap();
        let (_, block) = page.split_once(if client == "codex" { "```toml\n" } else { "```json\n" }).unwrap();
        home.write(block.split_once("\n```").unwrap().0);
        assert_eq!(home.entry("lava").to_string().replace("/home/ann/.cargo/bin/lava-mcp", command), written.to_string(), "{client}");
    }
}

/// A project as it came from somewhere, in a folder of its own below the home folder.
#[cfg(unix)]
fn in_project(home: &Home, arguments: &[&str]) -> Output {
    let project = home.folder.path().join("project");
    home.command().current_dir(project).args(arguments).output().unwrap()
}

#[cfg(unix)]
#[test]
fn no_link_leads_out_of_a_project() {
    use std::os::unix::fs::symlink;
    for (client, file) in [("cursor", ".cursor/mcp.json"), ("claude-code", ".mcp.json"), ("codex", ".codex/config.toml")] {
        for way in ["file", "folder", "nowhere"] {
            let home = Home::of(client);
            let (project, outside) = (home.folder.path().join("project"), home.folder.path().join("outside"));
            fs::create_dir_all(&project).unwrap();
            fs::create_dir_all(&outside).unwrap();
            let (file, name) = (project.join(file), Path::new(file).file_name().unwrap());
            fs::write(outside.join(name), "").unwrap();
            match way {
                "folder" if file.parent() != Some(&project) => symlink(&outside, file.parent().unwrap()).unwrap(),
                "nowhere" => {
                    fs::create_dir_all(file.parent().unwrap()).unwrap();
                    symlink(outside.join("missing"), &file).unwrap();
                }
                _ => {
                    fs::create_dir_all(file.parent().unwrap()).unwrap();
                    symlink(outside.join(name), &file).unwrap();
                }
            }
            for verb in ["install", "uninstall"] {
                let output = in_project(&home, &[verb, client, "--scope", "project"]);
                assert_eq!(output.status.code(), Some(1), "{client} {way}");
                assert!(err(&output).contains("a link out of the project") || way == "nowhere", "{}", err(&output));
            }
            assert_eq!(fs::read_to_string(outside.join(name)).unwrap(), "", "{client} {way}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{client} {way}");
        }
    }
    // A link that stays inside is followed, as a team may share one file.
    let home = Home::of("cursor");
    let project = home.folder.path().join("project");
    fs::create_dir_all(project.join("shared")).unwrap();
    symlink("shared", project.join(".cursor")).unwrap();
    assert!(in_project(&home, &["install", "cursor", "--scope", "project"]).status.success());
    assert!(fs::read_to_string(project.join("shared/mcp.json")).unwrap().contains("lava-mcp"));
}

#[cfg(unix)]
#[test]
fn what_makes_a_program_run_other_code_does_not_stay_in_our_entry() {
    let loads = [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS",
        "PYTHONPATH",
        "BASH_ENV",
        "GLIBC_TUNABLES",
        "BROWSER",
    ];
    let variables: Vec<String> = loads.iter().map(|name| format!("\"{name}\": \"/tmp/evil.so\"")).collect();
    for (client, file, text) in [
        (
            "cursor",
            ".cursor/mcp.json",
            format!(
                "{{\"mcpServers\": {{\"lava\": {{\"command\": \"lava-mcp\", \"env\": {{\"MINE\": \"1\", {}}}}}, \"theirs\": {{\"command\": \"x\", \"env\": {{\"LD_PRELOAD\": \"y\"}}}}}}}}",
                variables.join(", ")
            ),
        ),
        (
            "vscode",
            ".vscode/mcp.json",
            format!(
                "{{\"servers\": {{\"lava\": {{\"type\": \"stdio\", \"command\": \"lava-mcp\", \"envFile\": \"evil.env\", \"env\": {{\"MINE\": \"1\", {}}}}}, \"theirs\": {{\"command\": \"x\", \"env\": {{\"LD_PRELOAD\": \"y\"}}}}}}}}",
                variables.join(", ")
            ),
        ),
        (
            "codex",
            ".codex/config.toml",
            format!(
                "[mcp_servers.theirs]\ncommand = \"x\"\nenv = {{ LD_PRELOAD = \"y\" }}\n\n[mcp_servers.lava]\ncommand = \"lava-mcp\"\nenv_vars = [\"LD_PRELOAD\", \"KEEP\"]\n\n[mcp_servers.lava.env]\nMINE = \"1\"\n{}\n",
                loads.map(|name| format!("{name} = \"/tmp/evil.so\"")).join("\n")
            ),
        ),
    ] {
        let home = Home::of(client);
        let path = home.folder.path().join("project").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let installed = in_project(&home, &["install", client, "--name", "lava", "--scope", "project"]);
        assert!(installed.status.success(), "{}", err(&installed));
        let now = fs::read_to_string(&path).unwrap();
        for name in loads {
            let theirs = usize::from(name == "LD_PRELOAD");
            assert_eq!(now.matches(name).count(), theirs, "{client}: {now}");
        }
        assert!(now.contains("MINE") && !now.contains("evil"), "{now}");
        assert_eq!(now.contains("KEEP"), client == "codex");
        let again = in_project(&home, &["install", client, "--name", "lava", "--scope", "project", "--json"]);
        assert!(String::from_utf8_lossy(&again.stdout).contains("unchanged"));
        // What a person asks for by name is theirs to ask for.
        let asked = in_project(&home, &["install", client, "--name", "lava", "--scope", "project", "--env", "NODE_OPTIONS=--inspect"]);
        assert!(asked.status.success() && fs::read_to_string(&path).unwrap().contains("--inspect"));
    }
}
