//! Keys of providers at the command line: where each comes from, whose it looks like, and what a provider is called.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::cli::program;

struct Place {
    home: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
}

impl Place {
    fn new(config: &str, variables: &[(&'static str, &'static str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("lava.toml"), config).unwrap();
        Self { home, variables: variables.to_vec() }
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut command = program(self.home.path());
        command.env("LAVA_CONFIG", self.home.path().join("lava.toml")).envs(self.variables.clone()).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn set(&self, provider: &str, key: &str) -> (Option<i32>, String) {
        let output = self.run(&["providers", "set", provider], key);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    fn sources(&self) -> Value {
        let output = self.run(&["providers", "list", "--json"], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["keys"].clone()
    }
}

#[test]
fn a_key_on_the_command_line_is_neither_taken_nor_repeated() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["openai", "sk-canary"][..], "`lava-mcp providers set openai`"),
        (&["sk-canary", "openai"], "`lava-mcp providers set NAME`"),
        (&["sk-canary"], "`lava-mcp providers set NAME`"),
        (&["openai", "is", "sk-canary"], "`lava-mcp providers set openai`"),
    ] {
        for json in [&[][..], &["--json"]] {
            let done = program(home.path()).args(json).args(["providers", "set"]).args(arguments).output().unwrap();
            let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
            assert!(done.status.code() == Some(1) && said.contains(says) && !said.contains("canary"), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn the_list_says_where_each_key_comes_from() {
    let config = "[providers.house]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"HOUSE_KEY\"\nprice = \"free\"\n\
                  [providers.late]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"LATE_KEY\"\nprice = \"free\"\n\
                  [providers.groq]\napi_key = \"gsk_canary\"\n[providers.mistral]\napi_key_env = \"MY_MISTRAL\"\n\
                  [providers.xai]\nbase_url = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\n";
    let variables = [
        ("HOUSE_KEY", "canary"),
        ("GROQ_API_KEY", "canary"),
        ("MISTRAL_API_KEY", "canary"),
        ("MY_MISTRAL", "canary"),
        ("OPENAI_API_KEY", "canary"),
        ("COHERE_API_KEY", "canary"),
        ("CO_API_KEY", "canary"),
        ("DEEPSEEK_API_KEY", ""),
        ("XAI_API_KEY", "meant for another address"),
    ];
    let place = Place::new(config, &variables);
    for provider in ["openai", "anthropic", "groq", "house"] {
        let (code, err) = place.set(provider, "canary\n");
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(err.contains("is not used"), provider != "anthropic", "{provider}: {err}");
    }
    let variable = |name: &str| json!({"kind": "environment", "variable": name});
    let file = json!({"kind": "file"});
    let config = json!({"kind": "config_file", "path": place.home.path().join("lava.toml")});
    let of = |provider: &str, from: Value, not_used: Value| json!({"provider": provider, "from": from, "not_used": not_used, "unset_variable": null});
    let mut late = of("late", Value::Null, json!([]));
    late["unset_variable"] = json!("LATE_KEY");
    assert_eq!(
        place.sources(),
        json!([
            of("groq", config, json!([variable("GROQ_API_KEY"), file])),
            of("house", variable("HOUSE_KEY"), json!([file])),
            late,
            of("mistral", variable("MY_MISTRAL"), json!([variable("MISTRAL_API_KEY")])),
            of("openai", variable("OPENAI_API_KEY"), json!([file])),
            of("anthropic", file.clone(), json!([])),
            of("cohere", variable("COHERE_API_KEY"), json!([variable("CO_API_KEY")])),
        ])
    );
    let output = place.run(&["providers", "list"], "");
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for line in [
        "groq       config file                          environment variable GROQ_API_KEY, file store",
        "openai     environment variable OPENAI_API_KEY  file store",
        "anthropic  file store",
        "late       nowhere: LATE_KEY is not set",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(err.contains("the key for openai in the file store is not used: the environment variable OPENAI_API_KEY comes first"), "{err}");
    assert!(!out.contains("canary") && !err.contains("canary"));
}

/// A provider that remembers which key it was shown.
fn provider(shown: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut head = String::new();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
            let head = head.to_lowercase();
            let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
            shown.lock().unwrap().push(value("authorization: bearer "));
            reader.read_exact(&mut vec![0; value("content-length:").parse().unwrap_or(0)]).unwrap();
            let body = json!({
                "id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
            })
            .to_string();
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    url
}

/// What the list says is what a provider gets to see.
#[test]
fn the_key_that_the_list_names_is_the_one_that_is_sent() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let url = provider(shown.clone());
    for (api_key, variables, kind, sent) in [
        ("api_key = \"from-config\"\n", &[("HOUSE_KEY", "from-variable")][..], "config_file", "from-config"),
        ("", &[("HOUSE_KEY", "from-variable")], "environment", "from-variable"),
        ("", &[], "file", "from-vault"),
    ] {
        let config = format!(
            "local_servers = false\n[providers.house]\nbase_url = \"{url}/v1\"\n{api_key}api_key_env = \"HOUSE_KEY\"\nprice = \"free\"\n"
        );
        let place = Place::new(&config, variables);
        assert_eq!(place.set("house", "from-vault").0, Some(0));
        assert_eq!(place.sources()[0]["from"]["kind"], kind);
        assert!(place.run(&["login"], "").status.success());
        let asked = place.run(&["prompt", "house/m", "Hi"], "");
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        assert_eq!(shown.lock().unwrap().last().map(String::as_str), Some(sent));
    }
}

#[test]
fn a_provider_is_known_by_all_its_names() {
    let place = Place::new("[providers.House]\nbase_url = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\n", &[]);
    for (name, id) in [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("OPENAI", "openai"),
        ("gemini", "google"),
        ("Google Gemini", "google"),
        ("Mistral AI", "mistral"),
        ("together-ai", "together"),
        ("x-ai", "xai"),
        ("house", "House"),
    ] {
        let output = place.run(&["providers", "set", name, "--json"], "some-key");
        let said: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!((&said["provider"], &said["stored_in"]), (&json!(id), &json!("file")), "{name}");
    }
    for (name, near) in [("opnai", "openai"), ("anthropc", "anthropic"), ("houze", "House"), ("mistal", "mistral")] {
        let (code, err) = place.set(name, "some-key");
        assert!(code == Some(1) && err.contains(&format!("no provider is called \"{name}\"")) && err.contains(near), "{err}");
    }
    let (code, err) = place.set("zzzzzz", "some-key");
    assert!(code == Some(1) && err.contains("lava-mcp search"), "{err}");
}

#[test]
fn removing_a_key_that_is_not_kept_says_so() {
    let place = Place::new("", &[("GROQ_API_KEY", "gsk_x")]);
    let remove = |name: &str| {
        let output = place.run(&["providers", "remove", name], "");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = remove("openai");
    assert!(code == Some(1) && err.contains("the file store has no key for openai"), "{err}");
    let (code, err) = remove("groq");
    assert!(code == Some(1) && err.contains("its key comes from the environment variable GROQ_API_KEY"), "{err}");
    let (code, err) = remove("opnai");
    assert!(code == Some(1) && err.contains("did you mean openai"), "{err}");
    assert_eq!(place.set("openai", "sk-x").0, Some(0));
    assert_eq!(remove("OpenAI").0, Some(0));
    assert_eq!(remove("openai").0, Some(1));
    assert_eq!(place.set("groq", "gsk_y").0, Some(0));
    let output = place.run(&["providers", "remove", "groq", "--json"], "");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), json!({"removed": "groq", "stored_in": "file"}));
}

#[test]
fn a_key_of_another_provider_is_kept_with_a_warning() {
    let place = Place::new("[providers.house]\nbase_url = \"http://127.0.0.1:9/v1\"\nprice = \"free\"\n", &[]);
    for (provider, key, owner) in [
        ("openai", "sk-ant-api03-canary", Some("anthropic")),
        ("anthropic", "sk-proj-canary", Some("openai")),
        ("anthropic", "sk-canary", Some("sk-ant-")),
        ("groq", "xai-canary", Some("xai")),
        ("openai", "lava_sk_canary", Some("Lava")),
        ("openai", "sk-canary", None),
        ("deepseek", "sk-canary", None),
        ("google-openai", "AIzacanary", None),
        ("house", "sk-ant-canary", None),
    ] {
        let (code, err) = place.set(provider, key);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(err.contains("warning: this looks like a key of"), owner.is_some(), "{provider} {key}: {err}");
        assert!(owner.is_none_or(|owner| err.contains(owner)) && !err.contains("canary"), "{err}");
    }
    for wrong in
        ["", "\n", "two words\n", "\"sk-canary\"\n", "OPENAI_API_KEY=sk-canary\n", "export OPENAI_API_KEY=sk-canary\n", "sk-canary\u{e9}\n"]
    {
        let (code, err) = place.set("openai", wrong);
        assert!(code == Some(1) && !err.contains("canary"), "{wrong:?}: {err}");
    }
}

#[test]
fn nobody_has_a_key_at_first() {
    let home = tempfile::tempdir().unwrap();
    let list = |home: &Path| program(home).args(["providers", "list"]).output().unwrap();
    let output = list(home.path());
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("lava-mcp providers set openai"));
}
