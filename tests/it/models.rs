//! `GET /v1/models` and one model of it, in the form that the caller's client reads; and that what is listed is what is admitted.

use std::{collections::HashSet, path::Path};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    cli::program,
    fake_upstream::FakeUpstream,
    harness::{Harness, request},
    server::{Gateway, http, json_of},
};

const CONFIG: &str = r#"
local_servers = false
[providers.house]
base_url = "http://127.0.0.1:9/v1"
models = ["house-chat"]
price = "free"
[providers.claudes]
base_url = "http://127.0.0.1:9/v1"
dialect = "anthropic"
models = ["claude-a", "claude-b"]
price = "free"
"#;

#[tokio::test]
async fn a_client_of_anthropic_gets_its_own_list_and_others_theirs() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("lava.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = program(home.path());
    command.env("LAVA_CONFIG", config);
    let gateway = Gateway::start(home.path(), command);
    let list = async |version: Option<&str>, key: &str| -> (u16, Value) {
        let get = http().get(format!("{}/models?limit=1000", gateway.address)).header("x-api-key", key);
        let get = match version {
            Some(version) => get.header("anthropic-version", version),
            None => get,
        };
        let answer = get.send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    };
    let model = |id: &str| json!({"type": "model", "id": id, "display_name": id, "created_at": "1970-01-01T00:00:00Z"});
    let (status, anthropic) = list(Some("2023-06-01"), &gateway.secret).await;
    assert_eq!(status, 200);
    let expected =
        json!({"data": [model("claude-a"), model("claude-b")], "has_more": false, "first_id": "claude-a", "last_id": "claude-b"});
    assert_eq!(anthropic, expected);
    let (_, openai) = list(None, &gateway.secret).await;
    assert_eq!(openai, json!({"object": "list", "data": [{"id": "house-chat", "object": "model", "created": 0, "owned_by": "house"}]}));
    // A key's list of models holds here too, and nothing is listed as nothing.
    let body = json!({"name": "narrow", "spend_limit": {"amount": "1", "cycle": "daily"}, "allowed_models": ["none"]}).to_string();
    let made = http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
    let key = json_of(made).await["key"].as_str().unwrap().to_owned();
    let (_, none) = list(Some("2023-06-01"), &key).await;
    assert_eq!(none, json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
    let (status, refused) = list(Some("2023-06-01"), "lava_sk_mistyped").await;
    assert_eq!((status, &refused["type"], &refused["error"]["type"]), (401, &json!("error"), &json!("authentication_error")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_what_it_may_buy_in_its_own_dialect_whichever_form_the_list_has() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("lava.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut command = program(home.path());
    command.env("LAVA_CONFIG", config);
    let gateway = Gateway::start(home.path(), command);
    for (shape, listed) in [("openai", &["house-chat"][..]), ("anthropic", &["claude-a", "claude-b"])] {
        let key = key(&gateway, json!({"request_shape": shape})).await;
        for header in [("accept", "*/*"), ("x-goog-api-key", ""), ("anthropic-version", "2023-06-01")] {
            let get = async |path: &str| {
                let asked = http().get(format!("{}/models{path}", gateway.address)).bearer_auth(&key).header(header.0, header.1);
                let answer = asked.send().await.unwrap();
                (answer.status().as_u16(), json_of(answer).await)
            };
            let (_, list) = get("").await;
            let rows = list["data"].as_array().or(list["models"].as_array()).unwrap_or_else(|| panic!("{list}"));
            let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().or(row["name"].as_str()).unwrap()).collect();
            assert_eq!(ids.iter().map(|id| id.trim_start_matches("models/")).collect::<Vec<_>>(), listed, "{shape} {header:?}");
            for id in ["house-chat", "claude-a"] {
                let (status, one) = get(&format!("/{id}")).await;
                assert_eq!(status == 200, listed.contains(&id), "{shape} {header:?} {id}: {one}");
            }
        }
    }
}

/// A gateway with two providers that both sell `ok`, at an upstream that answers.
fn start(home: &Path, url: &str) -> Gateway {
    let config = home.join("lava.toml");
    let of = |id: &str, models: &str| format!("[providers.{id}]\nbase_url = \"{url}\"\nmodels = {models}\nprice = \"free\"\n");
    let text = format!("local_servers = false\n{}{}", of("first", r#"["ok", "only"]"#), of("second", r#"["ok", "vendor/ok"]"#));
    std::fs::write(&config, text).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", config);
    Gateway::start(home, command)
}

async fn key(gateway: &Gateway, settings: Value) -> String {
    let mut body = json!({"name": "k", "spend_limit": {"amount": "1", "cycle": "daily"}});
    for (name, value) in settings.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made =
        http().post(format!("{}/spend_keys", gateway.address)).bearer_auth(&gateway.secret).body(body.to_string()).send().await.unwrap();
    json_of(made).await["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_listed_is_what_is_admitted() {
    let (home, upstream) = (tempfile::tempdir().unwrap(), FakeUpstream::start().await);
    let gateway = start(home.path(), &upstream.url);
    let every = [
        "ok",
        "only",
        "first/ok",
        "first/only",
        "second/ok",
        "second/vendor/ok",
        "vendor/ok",
        "first/vendor/ok",
        "second/only",
        "nobody/ok",
        "none",
    ];
    for (settings, listed) in [
        (json!({}), vec!["ok", "only", "second/ok", "vendor/ok"]),
        (json!({"allowed_models": ["first/*"]}), vec!["ok", "only"]),
        // A bare name goes to a seller that the key allows.
        (json!({"allowed_models": ["second/*"]}), vec!["ok", "vendor/ok"]),
        (json!({"allowed_models": ["ok"]}), vec!["ok", "second/ok"]),
        (json!({"allowed_models": ["o*"]}), vec!["ok", "only", "second/ok"]),
        (json!({"allowed_models": ["second/ok"]}), vec!["ok"]),
        (json!({"allowed_models": ["vendor/ok"]}), vec!["vendor/ok"]),
        (json!({"allowed_models": ["second/vendor/*"]}), vec!["vendor/ok"]),
        (json!({"allowed_providers": ["second"]}), vec!["ok", "vendor/ok"]),
        (json!({"allowed_models": ["ok"], "allowed_providers": ["first"]}), vec!["ok"]),
        (json!({"allowed_models": ["none"]}), vec![]),
    ] {
        let key = key(&gateway, settings.clone()).await;
        let get = async |path: &str| {
            let answer = http().get(format!("{}/models{path}", gateway.address)).bearer_auth(&key).send().await.unwrap();
            (answer.status().as_u16(), json_of(answer).await)
        };
        let (_, list) = get("").await;
        let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!(ids, listed, "{settings}");
        for name in every {
            let body = json!({"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}).to_string();
            let asked = http().post(format!("{}/chat/completions", gateway.address)).bearer_auth(&key).body(body).send().await.unwrap();
            let asked = asked.status().as_u16();
            let (found, model) = get(&format!("/{name}")).await;
            assert_eq!(asked == 200, found == 200, "{settings} {name}: {asked} {found} {model}");
            assert!(!listed.contains(&name) || asked == 200, "{settings} {name}: listed, and answered with {asked}");
            assert!(found != 200 || model["id"] == name, "{model}");
            let (encoded, _) = get(&format!("/{}", name.replace('/', "%2F"))).await;
            assert_eq!(encoded, found, "{name}");
        }
    }
}

#[tokio::test]
async fn each_model_has_one_row_and_can_be_looked_up_in_three_forms() {
    let harness = Harness::start_with(true).await;
    let (key, _) = harness.key_with_limit("1.00").await;
    let list = harness.send(request(Method::GET, "/v1/models", Some(&key), Value::Null)).await.json();
    let rows = list["data"].as_array().unwrap();
    let ids: HashSet<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert!(ids.len() == rows.len() && rows.len() > 1_000, "{} rows, {} ids", rows.len(), ids.len());
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id}")).clone();
    assert_eq!(row("gpt-4o-mini"), json!({"id": "gpt-4o-mini", "object": "model", "created": 0, "owned_by": "openai"}));
    let sellers = rows.iter().filter(|row| row["id"].as_str().unwrap().ends_with("openai/gpt-oss-120b")).count();
    assert!(sellers > 2, "{sellers}");

    let get = async |path: &str, name: &str, value: &str| {
        let mut asked = request(Method::GET, path, Some(&key), Value::Null);
        if !name.is_empty() {
            asked.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        harness.send(asked).await
    };
    for id in ["gpt-4o-mini", "openrouter/openai/gpt-4o-mini", "claude-sonnet-4-5", "openai/gpt-oss-120b"] {
        for path in [format!("/v1/models/{id}"), format!("/v1/models/{}", id.replace('/', "%2F")), format!("/v1/models/{id}/")] {
            let openai = get(&path, "", "").await;
            assert_eq!((openai.status, &openai.json()["id"]), (StatusCode::OK, &json!(id)), "{path}");
            assert_eq!(get(&path, "anthropic-version", "2023-06-01").await.json()["type"], "model", "{path}");
            assert_eq!(get(&path, "x-goog-api-key", "").await.json()["name"], format!("models/{id}"), "{path}");
        }
    }
    let unknown = get("/v1/models/gpt-4o-minni", "", "").await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "model_not_found"));
    assert!(unknown.json()["error"]["nearest"].as_array().unwrap().contains(&json!("gpt-4o-mini")), "{}", unknown.text());
    let unknown = get("/v1/models/claude-none", "anthropic-version", "2023-06-01").await.json();
    assert_eq!((&unknown["type"], &unknown["error"]["type"]), (&json!("error"), &json!("not_found_error")));
    assert!(unknown["request_id"].as_str().is_some_and(|id| id.starts_with("req_")), "{unknown}");
    harness.finish().await;
}

#[tokio::test]
async fn pages_are_turned_as_the_vendors_clients_turn_them() {
    let harness = Harness::start_with(true).await;
    let get = async |path: &str, name: &'static str| {
        let mut asked = request(Method::GET, path, None, Value::Null);
        asked.headers_mut().insert(name, harness.secret.expose().parse().unwrap());
        harness.send(asked).await
    };
    let anthropic = async |query: &str| {
        let mut asked = request(Method::GET, &format!("/v1/models{query}"), Some(harness.secret.expose()), Value::Null);
        asked.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
        harness.send(asked).await
    };
    let ids = |page: &Value| page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let all = ids(&anthropic("?limit=1000").await.json());
    let first = anthropic("").await.json();
    assert_eq!((ids(&first), &first["has_more"]), (all[..20].to_vec(), &json!(true)));
    assert_eq!((&first["first_id"], &first["last_id"]), (&json!(all[0]), &json!(all[19])));
    let second = anthropic(&format!("?limit=5&after_id={}", all[19])).await.json();
    assert_eq!((ids(&second), &second["has_more"]), (all[20..25].to_vec(), &json!(true)));
    let back = anthropic(&format!("?limit=5&before_id={}", all[20])).await.json();
    assert_eq!((ids(&back), &back["has_more"]), (all[15..20].to_vec(), &json!(true)));
    let begin = anthropic(&format!("?limit=5&before_id={}", all[2])).await.json();
    assert_eq!((ids(&begin), &begin["has_more"]), (all[..2].to_vec(), &json!(false)));
    for query in ["?limit=0", "?limit=1001", "?limit=x", "?after_id=none", "?after_id=a&before_id=b"] {
        let refused = anthropic(query).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["type"]), (400, &json!("error")), "{query}");
    }

    // Google's clients: a key of their own, or one in the address.
    let google = get("/v1/models?pageSize=3", "x-goog-api-key").await.json();
    assert_eq!((google["models"].as_array().unwrap().len(), &google["nextPageToken"]), (3, &json!("3")));
    for (query, rows) in [("", 50), ("?pageSize=0", 50), ("?pageSize=5000", 1_000)] {
        assert_eq!(get(&format!("/v1/models{query}"), "x-goog-api-key").await.json()["models"].as_array().unwrap().len(), rows, "{query}");
    }
    for query in ["?pageSize=-1", "?pageSize=x", "?pageToken=x"] {
        assert_eq!(get(&format!("/v1/models{query}"), "x-goog-api-key").await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let next = get("/v1/models?pageSize=1000&pageToken=3", "x-goog-api-key").await.json();
    assert_ne!(next["models"][0], google["models"][0]);
    let asked = request(Method::GET, &format!("/v1/models/gpt-4o-mini?key={}", harness.secret.expose()), None, Value::Null);
    let model = harness.send(asked).await.json();
    assert_eq!((&model["name"], &model["displayName"]), (&json!("models/gpt-4o-mini"), &json!("gpt-4o-mini")));
    assert!(
        model["supportedGenerationMethods"].is_array() && model["inputTokenLimit"].is_u64() && model["outputTokenLimit"].is_u64(),
        "{model}"
    );
    harness.finish().await;
}

#[tokio::test]
async fn an_alias_is_listed_and_admitted_where_the_key_allows_what_it_stands_for() {
    let (home, upstream) = (tempfile::tempdir().unwrap(), FakeUpstream::start().await);
    let gateway = {
        let config = home.path().join("lava.toml");
        let providers = |id: &str| format!("[providers.{id}]\nbase_url = \"{}\"\nmodels = [\"ok\"]\nprice = \"free\"\n", upstream.url);
        let aliases = "[model_aliases]\nshort = \"first/ok\"\nok = \"second/ok\"\n[keys.k.model_aliases]\nmine = \"second/ok\"\n";
        std::fs::write(&config, format!("local_servers = false\n{}{}{aliases}", providers("first"), providers("second"))).unwrap();
        let mut command = program(home.path());
        command.env("LAVA_CONFIG", config);
        Gateway::start(home.path(), command)
    };
    for (settings, listed) in [
        (json!({}), vec!["mine", "ok", "short", "first/ok", "second/ok"]),
        (json!({"name": "another"}), vec!["ok", "short", "first/ok", "second/ok"]),
        (json!({"allowed_models": ["first/*"]}), vec!["short", "first/ok"]),
        (json!({"allowed_models": ["second/*"]}), vec!["mine", "ok", "second/ok"]),
        // The list is about the model that answers, not about its alias.
        (json!({"allowed_models": ["short", "mine"]}), vec![]),
    ] {
        let key = key(&gateway, settings.clone()).await;
        let answer = http().get(format!("{}/models", gateway.address)).bearer_auth(&key).send().await.unwrap();
        let list = json_of(answer).await;
        let mut ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
        ids.sort_by_key(|id| (id.contains('/'), *id));
        assert_eq!(ids, listed, "{settings}");
        for name in ["mine", "ok", "short", "first/ok", "second/ok"] {
            let body = json!({"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}).to_string();
            let asked = http().post(format!("{}/chat/completions", gateway.address)).bearer_auth(&key).body(body).send().await.unwrap();
            let model = http().get(format!("{}/models/{name}", gateway.address)).bearer_auth(&key).send().await.unwrap();
            let is_listed = listed.contains(&name);
            assert_eq!((asked.status().is_success(), model.status().is_success()), (is_listed, is_listed), "{settings} {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_alone_is_not_a_model() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("1.00").await;
    for name in ["fake/", "fake/ ", "openai/", "/ok", "/", "ollama/"] {
        for stream in [false, true] {
            let refused = harness.chat(&key, "ok", json!({"model": name, "stream": stream})).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (404, "model_not_found".to_owned()), "{name}");
        }
    }
    assert!(harness.upstream.seen().is_empty(), "nobody was asked");
    harness.finish().await;
}
