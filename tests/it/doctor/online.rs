//! `doctor --online`: each key is shown to its provider in a call that costs nothing, and what comes back is told apart.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{CANARY, Place, variable};
use crate::{
    fake_lava::FakeLava,
    fake_upstream::FakeUpstream,
    no_connection::closed_port,
    server::{Gateway, http},
};

/// A provider that does what the first part of the path says, and notes what it was asked.
struct Provider {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let record = seen.clone();
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                let record = record.clone();
                std::thread::spawn(move || answer(socket, &record));
            }
        });
        Self { url, seen }
    }

    /// An entry of the config file; `key` is the variable with its key.
    fn entry(&self, id: &str, path: &str, key: Option<&str>) -> String {
        let key = key.map_or_else(String::new, |name| format!("api_key_env = \"{name}\"\n"));
        format!("[providers.{id}]\nbase_url = \"{}/{path}/v1\"\nprice = \"free\"\n{key}", self.url)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(mut socket: TcpStream, record: &Mutex<Vec<String>>) {
    let mut bytes = [0; 8_192];
    let count = socket.read(&mut bytes).unwrap_or(0);
    let head = String::from_utf8_lossy(&bytes[..count]).to_lowercase();
    record.lock().unwrap().push(head.clone());
    let behaves = head.split('/').nth(1).unwrap_or_default().to_owned();
    let has_key = head.contains(CANARY);
    let is_asked_rightly = !behaves.starts_with("claude") || (head.contains("x-api-key: ") && head.contains("anthropic-version: 20"));
    let error = |message: &str| json!({"error": {"message": message}}).to_string();
    let list = json!({"object": "list", "data": [{"id": "m"}]}).to_string();
    let (status, body) = match behaves.as_str() {
        "good" | "claude" if has_key && is_asked_rightly => (200, list),
        "good" | "claude" => (401, error("no key")),
        "strict" => (401, error(&format!("Incorrect key: {CANARY}, ending in 6789. Make one at example.com."))),
        "google" => (400, error("API key not valid. Please pass a valid API key.")),
        "barred" if has_key => (403, error("Missing scopes: api.model.read")),
        "open" => (200, list),
        "broken" => (500, error(&format!("the database is down, {CANARY}"))),
        "silent" => return std::thread::sleep(Duration::from_secs(20)),
        "hangup" => return,
        _ => (404, error("not found")),
    };
    let _ = write!(
        socket,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

/// Without the setting that is wrong, a key could go to another address than the one that is meant.
#[test]
fn no_key_is_tested_while_a_setting_is_wrong() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://127.0.0.1:{}/v1", listener.local_addr().unwrap().port());
    let house = format!("local_servers = false\n[providers.house]\nbase_url = \"{url}\"\nprice = \"free\"\napi_key_env = \"HOUSE_KEY\"\n");
    for (config, variables) in [
        (format!("{house}modles = [\"m\"]\n"), vec![("HOUSE_KEY", CANARY), ("OPENAI_API_KEY", CANARY)]),
        (house, vec![("HOUSE_KEY", CANARY), ("LAVA_SANDBOX", "treu")]),
    ] {
        let report = Place::new(&config).with(&variables).doctor(&["--online"]);
        assert_eq!((report.exit, report.check("online").0.as_str()), (Some(1), "note"), "{}", report.json);
        assert!(listener.accept().is_err(), "{}", report.json);
        assert!(!report.text.contains("it could not be asked") && !report.json.to_string().contains("not_reached"), "{}", report.json);
    }
}

#[test]
fn what_a_provider_says_to_its_key_is_told_apart() {
    let provider = Provider::start();
    let key = Some("HOUSE_KEY");
    let elsewhere =
        |id: &str, url: &str| format!("[providers.{id}]\nbase_url = \"{url}/v1\"\nprice = \"free\"\napi_key_env = \"HOUSE_KEY\"\n");
    let config = [
        "local_servers = false\n".to_owned(),
        provider.entry("strict", "strict", Some("OTHER_KEY")),
        provider.entry("google-like", "google", key),
        provider.entry("barred", "barred", key),
        provider.entry("open", "open", key),
        provider.entry("keyless", "open", None),
        provider.entry("broken", "broken", key),
        provider.entry("hangup", "hangup", key),
        provider.entry("listless", "none", key),
        provider.entry("late", "good", Some("LATE_KEY")),
        elsewhere("closed", &format!("http://127.0.0.1:{}", closed_port())),
        elsewhere("unknown", "http://provider.invalid"),
    ];
    let place = Place::new(&config.concat()).with(&[("HOUSE_KEY", CANARY), ("OTHER_KEY", CANARY)]);
    let report = place.doctor(&["--online"]);
    assert_eq!(report.exit, Some(1));
    for (name, result, online, said) in [
        ("strict", "fail", "refused", "Incorrect key: ****, ending in **** Make"),
        ("google-like", "fail", "refused", "API key not valid"),
        ("barred", "note", "not_tested", "Missing scopes"),
        ("open", "note", "not_tested", "open to everybody"),
        ("keyless", "ok", "answers", ""),
        ("broken", "fail", "failed", "the database is down, ****"),
        ("hangup", "fail", "not_reached", "closed"),
        ("listless", "note", "not_tested", "no free call is known"),
        ("closed", "fail", "not_reached", "connection refused"),
        ("unknown", "fail", "not_reached", "could not be resolved (DNS: "),
    ] {
        let row = report.provider(name).unwrap();
        assert_eq!((&row["result"], &row["online"]["result"]), (&json!(result), &json!(online)), "{name}: {row}");
        let message = row["online"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(said), "{name}: {message}");
        assert!(said.is_empty() || report.text.contains(said), "{name}: {}", report.text);
    }
    assert_eq!(report.provider("strict").unwrap()["online"]["status"], 401);
    assert!(report.text.contains("key refused (401)") && report.text.contains("it answered 500"), "{}", report.text);
    // Without a key there is nothing to test, and why is said already.
    assert_eq!(report.provider("late").unwrap()["online"], Value::Null);
    assert_eq!(report.check("providers").1, "4 can be bought from", "{}", report.json);
    // Only lists were asked for, and nothing was bought.
    let seen = provider.seen();
    assert!(seen.iter().all(|head| head.starts_with("get /") && head.contains("/v1/models http")), "{seen:?}");
    let account: Value = serde_json::from_slice(&place.run(&["account", "--json"]).stdout).unwrap();
    assert_eq!(account["current_spend"].as_str().unwrap().trim_matches(['0', '.']), "", "{account}");
}

#[test]
fn all_are_asked_at_once_and_none_is_waited_for_long() {
    let provider = Provider::start();
    let silent = (0..20).map(|n| provider.entry(&format!("silent{n}"), "silent", Some("HOUSE_KEY")));
    let config = format!("local_servers = false\n[network]\nsilence_timeout_s = 1\n{}", silent.collect::<String>());
    let began = Instant::now();
    let report = Place::new(&config).with(&[("HOUSE_KEY", CANARY)]).doctor(&["--online"]);
    // Doctor is run twice: one after the other, they would take 40 seconds.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    for n in 0..20 {
        let row = report.provider(&format!("silent{n}")).unwrap();
        assert_eq!(row["online"], json!({"result": "not_reached", "message": "no answer came within 1 second"}), "{row}");
    }
}

#[test]
fn a_key_that_is_accepted_is_said_to_be_and_doctor_ends_well() {
    let provider = Provider::start();
    let config = [
        "local_servers = false\n".to_owned(),
        provider.entry("house", "good", Some("HOUSE_KEY")),
        provider.entry("claude", "claude", Some("HOUSE_KEY")) + "dialect = \"anthropic\"\n",
        // Two addresses of one company, and the key of one of them.
        provider.entry("twin", "strict", Some("HOUSE_KEY")),
    ];
    let report = Place::new(&config.concat()).with(&[("HOUSE_KEY", CANARY)]).doctor(&["--online"]);
    assert_eq!(report.exit, Some(0), "{}", report.json);
    for name in ["house", "claude"] {
        report.assert_sells(name, &variable("HOUSE_KEY"));
        assert_eq!(report.provider(name).unwrap()["online"], json!({"result": "accepted"}), "{}", report.json);
    }
    let twin = report.provider("twin").unwrap();
    assert_eq!((&twin["result"], &twin["online"]["accepted_by"]), (&json!("note"), &json!("claude")), "{twin}");
    assert!(report.text.contains("key accepted"), "{}", report.text);
    // Nobody is asked without the flag.
    let before = provider.seen().len();
    let quiet = Place::new(&config.concat()).with(&[("HOUSE_KEY", CANARY)]).doctor(&[]);
    assert_eq!((quiet.provider("house").unwrap()["online"].clone(), provider.seen().len()), (Value::Null, before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_server_on_this_machine_is_found_and_answers() {
    let server = FakeUpstream::start_on(&[8_000, 8_080, 1_234, 11_434]).await;
    let port = server.url.trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
    let name = [("8000", "vllm"), ("8080", "llamacpp"), ("1234", "lmstudio"), ("11434", "ollama")].iter().find(|(of, _)| *of == port);
    let name = name.unwrap().1;
    let report = tokio::task::block_in_place(|| Place::new("").doctor(&["--online"]));
    report.assert_sells(name, &Value::Null);
    let row = report.provider(name).unwrap();
    assert_eq!((&row["kind"], &row["models"], &row["online"]), (&json!("local"), &json!(2), &json!({"result": "answers"})), "{row}");
    assert!(report.lines("local").is_empty() && report.text.contains("on this machine, needs no key"), "{}", report.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_gateway_the_keys_for_it_are_tested() {
    let served = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(served.path(), crate::cli::program(served.path()));
    let body = json!({"name": "served", "spend_limit": {"amount": "1.00", "cycle": "daily"}}).to_string();
    let created = http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
    let created: Value = serde_json::from_slice(&created.bytes().await.unwrap()).unwrap();
    let at = |variables: &[(&str, &str)]| {
        let place = Place::new("").with(&[("LAVA_API_URL", &gateway.address)]).with(variables);
        tokio::task::block_in_place(|| place.doctor(&["--online"]))
    };
    let good = at(&[("LAVA_SPEND_KEY", created["key"].as_str().unwrap())]);
    assert_eq!((good.exit, good.check("spend key").1.as_str()), (Some(0), "accepted by the gateway"), "{}", good.json);
    assert_eq!(good.check("gateway").0, "ok");
    let bad = at(&[("LAVA_SPEND_KEY", "lava_sk_wrong")]);
    assert!(bad.exit == Some(1) && bad.check("login").1.contains("does not accept the key from LAVA_SPEND_KEY"), "{}", bad.json);
    let good = at(&[("LAVA_SECRET_KEY", &gateway.secret)]);
    assert_eq!((good.exit, good.check("secret key").0.as_str()), (Some(0), "ok"), "{}", good.json);
    assert!(good.check("secret key").1.contains("from LAVA_SECRET_KEY; accepted by the gateway"), "{}", good.json);
    let bad = at(&[("LAVA_SECRET_KEY", "aks_live_wrong")]);
    assert!(bad.exit == Some(1) && bad.check("secret key").1.contains("does not accept"), "{}", bad.json);
    assert!(!bad.text.contains("aks_live_wrong"), "{}", bad.text);
    // A gateway that says nothing of a spend key's own, as hosted Lava does.
    let lava = FakeLava::start().await;
    let place = Place::new("").with(&[("LAVA_API_URL", &lava.address), ("LAVA_SPEND_KEY", "lava_sk_any")]);
    let unknown = tokio::task::block_in_place(|| place.doctor(&["--online"]));
    assert!(unknown.check("spend key").1.contains("not tested: no free call is known"), "{}", unknown.json);
}
