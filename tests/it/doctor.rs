//! `lava-mcp doctor`: it says who can be bought from and with which key, and what is wrong, each once, whatever else is wrong.

mod online;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use crate::{cli::program, terminal::on_terminal_of};

/// What no output may have in it.
const CANARY: &str = "sk-canary-0123456789";

struct Place {
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What doctor said, and how it ended.
struct Report {
    json: Value,
    exit: Option<i32>,
    text: String,
}

impl Place {
    /// An empty home with this config file.
    fn new(config: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("lava.toml"), config).unwrap();
        let mut place = Self { home, variables: Vec::new() };
        if !config.is_empty() {
            place.set("LAVA_CONFIG", &place.path("lava.toml"));
        }
        place
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn with(mut self, variables: &[(&str, &str)]) -> Self {
        variables.iter().for_each(|(name, value)| self.set(name, value));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command.envs(self.variables.clone()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn keep(&self, provider: &str) {
        let mut child = self.command(&["providers", "set", provider]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{CANARY}\n").as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// The report for programs; the one for people says the same, and neither has a key in it.
    fn doctor(&self, arguments: &[&str]) -> Report {
        let output = self.run(&[&["doctor", "--json"], arguments].concat());
        let shown = self.run(&[&["doctor"], arguments].concat());
        let (text, err) = (String::from_utf8(shown.stdout).unwrap(), String::from_utf8(shown.stderr).unwrap());
        let json = String::from_utf8(output.stdout).unwrap();
        for said in [&text, &err, &json, &String::from_utf8(output.stderr).unwrap()] {
            assert!(!said.contains(CANARY), "a key is shown: {said}");
        }
        assert_eq!(output.status.code(), shown.status.code(), "{text}{err}");
        let json: Value = serde_json::from_str(&json).unwrap_or_else(|_| panic!("not JSON: {json}{err}"));
        assert_eq!(json["ok"], json!(output.status.success()), "{json}");
        assert_eq!(err.contains("checks failed"), !output.status.success(), "{err}");
        Report { json, exit: output.status.code(), text }
    }
}

impl Report {
    fn lines(&self, what: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let checks = self.json["checks"].as_array().unwrap().iter().filter(|check| check["what"] == what);
        checks.map(|check| (text(&check["result"]), text(&check["detail"]))).collect()
    }

    /// The only line of this name.
    fn check(&self, what: &str) -> (String, String) {
        let mut lines = self.lines(what);
        assert_eq!(lines.len(), 1, "{what}: {}", self.json);
        lines.remove(0)
    }

    fn provider(&self, name: &str) -> Option<&Value> {
        let providers = self.json["providers"].as_array().unwrap();
        let mut found = providers.iter().filter(|provider| provider["provider"] == name);
        let first = found.next();
        assert!(found.next().is_none(), "{name} is there twice: {}", self.json);
        first
    }

    /// What is said about a provider: its result, whether it sells, how many models, where its key comes from, and why not.
    fn facts(&self, name: &str) -> (Value, Value, Value, Value, String) {
        let row = self.provider(name).unwrap_or_else(|| panic!("{name} is missing: {}", self.json));
        let why = row["unavailable_reason"].as_str().unwrap_or_default().to_owned();
        (row["result"].clone(), row["available"].clone(), row["models"].clone(), row["key_from"].clone(), why)
    }

    fn assert_sells(&self, name: &str, key_from: &Value) {
        let (result, available, models, from, _) = self.facts(name);
        assert_eq!((&result, &available, &from), (&json!("ok"), &json!(true), key_from), "{name}: {}", self.json);
        assert!(models.is_null() || models.as_u64() > Some(0), "{name}: {models}");
        assert!(self.text.contains(name), "{}", self.text);
    }

    fn assert_sells_not(&self, name: &str, why: &str) {
        let (result, available, models, _, reason) = self.facts(name);
        assert_eq!((available, models), (json!(false), json!(0)), "{name}: {}", self.json);
        assert!(result != "ok" && reason.contains(why), "{name}: {result} {reason}");
        let shown = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(why), "{name}: {shown}");
    }
}

fn variable(name: &str) -> Value {
    json!({"kind": "environment", "variable": name})
}

#[test]
fn every_credential_that_sells_is_found_wherever_it_is() {
    let none = Place::new("local_servers = false\n").doctor(&[]);
    assert_eq!((none.exit, none.check("providers").0.as_str()), (Some(0), "note"));
    assert!(none.check("no key for").1.starts_with("openai, anthropic, google, "), "{}", none.json);
    assert!(none.provider("openai").is_none());
    // A provider that speaks Anthropic's dialect, and one that has two addresses and many names.
    for (name, provider) in [
        ("ANTHROPIC_API_KEY", "anthropic"),
        ("GEMINI_API_KEY", "google"),
        ("GOOGLE_API_KEY", "google"),
        ("GOOGLE_GENERATIVE_AI_API_KEY", "google"),
        ("OPENAI_API_KEY", "openai"),
        ("ZHIPU_API_KEY", "zai"),
    ] {
        let report = Place::new("").with(&[(name, CANARY)]).doctor(&[]);
        assert_eq!(report.exit, Some(0));
        report.assert_sells(provider, &variable(name));
        assert!(report.check("providers").1.contains("can be bought from"), "{}", report.json);
        let missing = report.check("no key for").1;
        assert!(!missing.split(", ").any(|other| other == provider), "{provider}: {missing}");
    }
    // The keyring, or the file in its place; then a variable, which comes first; then the config file, which does before both.
    let mut place = Place::new("");
    place.keep("google");
    place.keep("openai");
    let file = json!({"kind": "file"});
    let kept = place.doctor(&[]);
    kept.assert_sells("google", &file);
    kept.assert_sells("openai", &file);
    assert!(kept.text.contains("key from file store"), "{}", kept.text);
    place.set("OPENAI_API_KEY", CANARY);
    place.doctor(&[]).assert_sells("openai", &variable("OPENAI_API_KEY"));
    std::fs::write(
        place.path("lava.toml"),
        format!("[providers.openai]\napi_key = \"{CANARY}\"\n[providers.groq]\napi_key_env = \"MINE\"\n"),
    )
    .unwrap();
    place.set("LAVA_CONFIG", &place.path("lava.toml"));
    let unset = place.doctor(&[]);
    unset.assert_sells("openai", &json!({"kind": "config_file", "path": place.path("lava.toml")}));
    assert!(unset.provider("groq").unwrap()["unavailable_reason"].as_str().unwrap().contains("MINE"), "{}", unset.json);
    place.set("MINE", CANARY);
    place.doctor(&[]).assert_sells("groq", &variable("MINE"));
}

#[test]
fn a_credential_that_cannot_be_used_says_why() {
    let report = Place::new("")
        .with(&[("AZURE_API_KEY", CANARY), ("ELEVENLABS_API_KEY", CANARY), ("GITHUB_TOKEN", CANARY), ("MINIMAX_API_KEY", CANARY)])
        .doctor(&[]);
    assert_eq!(report.exit, Some(0), "{}", report.json);
    report.assert_sells_not("azure", "a separate address for each customer");
    report.assert_sells_not("elevenlabs", "a format of its own");
    report.assert_sells_not("github-models", "prices of its models are not known");
    // One variable of two addresses of a company: the one that sells is meant.
    report.assert_sells("minimax", &variable("MINIMAX_API_KEY"));
    assert!(report.provider("minimax-cn").is_none());
}

#[test]
fn providers_of_the_config_file_are_told_apart() {
    let one = |id: &str, more: &str| format!("[providers.{id}]\nbase_url = \"http://127.0.0.1:9/v1\"\n{more}\n");
    let config = [
        "local_servers = false\n".to_owned(),
        one("listed", "models = [\"a\", \"b\"]\nprice = \"free\""),
        one("any", "api_key_env = \"ANY_KEY\"\nprice = \"free\""),
        one("late", "api_key_env = \"LATE_KEY\"\nprice = \"free\""),
        one("unpriced", "models = [\"m\"]"),
        one("groq", "price = \"free\"\ndialect = \"anthropic\""),
        "[session]\nallowed_providers = [\"listed\", \"openai\"]\n".to_owned(),
    ];
    // The variable of the catalog's provider is not meant for another address under its name.
    let place = Place::new(&config.concat()).with(&[("ANY_KEY", CANARY), ("GROQ_API_KEY", CANARY)]);
    let report = place.doctor(&[]);
    assert_eq!(report.exit, Some(0), "{}", report.json);
    report.assert_sells("listed", &Value::Null);
    assert_eq!(report.facts("listed").2, 2);
    report.assert_sells("any", &variable("ANY_KEY"));
    report.assert_sells("groq", &Value::Null);
    report.assert_sells_not("late", "set LATE_KEY or run `lava-mcp providers set late`");
    report.assert_sells_not("unpriced", "set one under [providers.unpriced]");
    assert!(report.check("local").1.contains("local_servers = false"), "{}", report.json);
    assert!(report.check("session").1.contains("listed, openai only"), "{}", report.json);
    place.keep("late");
    place.doctor(&[]).assert_sells("late", &json!({"kind": "file"}));
}

#[test]
fn the_sandbox_needs_no_key() {
    let report = Place::new("").with(&[("OPENAI_API_KEY", CANARY)]).doctor(&["--sandbox", "--online"]);
    assert_eq!(report.exit, Some(0));
    let (result, said) = report.check("providers");
    assert!(result == "ok" && said.contains("no key is needed"), "{said}");
    assert!(report.check("online").1.contains("no key was tested"), "{}", report.json);
    assert!(report.lines("no key for").is_empty() && report.json["providers"] == json!([]), "{}", report.json);
}

#[test]
fn a_vault_that_cannot_be_read_is_said_and_the_rest_is_checked() {
    let place = Place::new("").with(&[("ANTHROPIC_API_KEY", CANARY)]);
    place.keep("openai");
    let file = place.path(".local/share/lava-mcp/keys.json");
    std::fs::write(&file, "{").unwrap();
    let broken = place.doctor(&[]);
    assert_eq!(broken.exit, Some(1));
    assert!(broken.check("vault").0 == "fail" && broken.check("vault").1.contains("damaged"), "{}", broken.json);
    broken.assert_sells_not("openai", "damaged");
    assert_eq!(broken.facts("openai").0, "fail");
    broken.assert_sells("anthropic", &variable("ANTHROPIC_API_KEY"));
    assert_eq!((broken.check("ledger").0.as_str(), broken.check("login").0.as_str()), ("ok", "note"));
    // The key was taken out by somebody else.
    std::fs::write(&file, "{}").unwrap();
    place.doctor(&[]).assert_sells_not("openai", "`lava-mcp providers set openai`");
    // No keyring at all, on a machine whose session has no bus.
    if cfg!(target_os = "linux") {
        let bare = place.with(&[("LAVA_CREDENTIAL_STORE", "keyring"), ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")]);
        let report = bare.doctor(&[]);
        assert_eq!((report.exit, report.check("vault").0.as_str()), (Some(1), "note"), "{}", report.json);
        report.assert_sells_not("openai", "no keyring was found");
        report.assert_sells("anthropic", &variable("ANTHROPIC_API_KEY"));
    }
}

#[test]
fn a_data_folder_that_cannot_be_written_is_said_and_the_rest_is_checked() {
    let place = Place::new("").with(&[("OPENAI_API_KEY", CANARY)]);
    std::fs::write(place.path("file"), "").unwrap();
    let data = place.path("file/data");
    let report = place.doctor(&["--data-dir", &data]);
    assert_eq!(report.exit, Some(1));
    let (result, said) = report.check("data");
    assert!(result == "fail" && said.contains(&data) && said.contains("--data-dir"), "{said}");
    assert_eq!(report.text.matches("FAIL").count(), 1, "it is said once: {}", report.text);
    assert_eq!(report.check("ledger").0, "note");
    report.assert_sells("openai", &variable("OPENAI_API_KEY"));
}

#[test]
fn settings_that_are_wrong_are_named_and_the_rest_is_checked() {
    for (config, place_of) in [
        ("log = \"loud\"\n", "line 1, column 1: log:"),
        ("[session]\nlimt = \"5/day\"\n", "line 2, column 1: session.limt:"),
        ("[providers.nobody]\nmodels = [\"m\"]\n", "line 1, column 12: providers.nobody:"),
        ("[network]\nproxy = \"proxy.example\"\n", "line 2, column 1: [network] proxy:"),
        ("sandbox = \n", "line 1, column "),
    ] {
        let place = Place::new(config).with(&[("OPENAI_API_KEY", CANARY), ("LAVA_ASK", "perhaps")]);
        let report = place.doctor(&[]);
        let wrong = report.lines("config");
        assert_eq!((report.exit, wrong.len()), (Some(1), 2), "{config}: {}", report.json);
        assert!(wrong.iter().all(|(result, _)| result == "fail"), "{wrong:?}");
        for said in [place_of, "environment variable LAVA_ASK:"] {
            assert!(wrong.iter().any(|(_, detail)| detail.contains(said)), "{said}: {wrong:?}");
        }
        // The ledger may be another one than is meant.
        assert_eq!(report.check("ledger").0, "note", "{}", report.json);
        report.assert_sells("openai", &variable("OPENAI_API_KEY"));
    }
    let missing = Place::new("").with(&[("LAVA_CONFIG", "/nonexistent/lava.toml")]).doctor(&[]);
    assert!(missing.exit == Some(1) && missing.check("config").1.contains("there is no such file"), "{}", missing.json);
    assert_eq!(missing.check("ledger").0, "note");
}

/// Texts wrap between words, so that each line fits.
#[test]
fn the_report_fits_the_terminal() {
    let place = Place::new("").with(&[
        ("ANTHROPIC_API_KEY", CANARY),
        ("AZURE_API_KEY", CANARY),
        ("ELEVENLABS_API_KEY", CANARY),
        ("GITHUB_TOKEN", CANARY),
        ("NO_COLOR", "1"),
        ("TERM", "xterm"),
    ]);
    let data = place.home.path().join("d");
    for columns in [80_u16, 120] {
        let mut command = place.command(&["doctor", "--data-dir"]);
        command.arg(&data);
        let shown = on_terminal_of(command, columns);
        let shown = shown.rsplit("\u{1b}[2K").next().unwrap();
        for line in shown.lines() {
            assert!(line.trim_end().width() <= usize::from(columns), "{columns}: {shown}");
        }
        assert!(shown.contains("anthropic") && shown.contains("ANTHROPIC_API_KEY"), "{shown}");
    }
}
