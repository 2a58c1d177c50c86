//! What the search says can be bought is bought as it is printed, and what it says cannot be is refused; with one provider's key, several, none, a provider of one's own, a key
//! with lists, and in the sandbox.

use std::{collections::HashSet, path::Path};

use lava_mcp::catalog::{Catalog, Mode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::proxies::{Proxy, tls};
use crate::{
    cli::program,
    raw_provider::{self, completion, plain},
    server::{Gateway, http, json_of},
};

const QUERIES: [&str; 40] = [
    "cheap vision model",
    "embeddings",
    "transcribe audio",
    "claude",
    "gemini flash",
    "image generation",
    "text to speech",
    "rerank",
    "fast model with tools",
    "openai",
    "llama on groq",
    "ocr",
    "gpt-4o-mini",
    "anthropic",
    "google",
    "openrouter",
    "reasoning",
    "cheapest model",
    "long context",
    "deepseek",
    "mistral",
    "qwen coder",
    "free model",
    "moderation",
    "video",
    "realtime voice",
    "azure",
    "bedrock",
    "elevenlabs",
    "whisper",
    "grok",
    "kimi",
    "json schema output",
    "pdf",
    "web search",
    "groq",
    "text-embedding-3-small",
    "o3",
    "gemini embedding",
    "house-chat",
];

/// Every provider with a fixed address answers.
async fn start(home: &Path, keys: &[&str], config: &str, sandbox: bool) -> Gateway {
    let url = raw_provider::start(|path, _| {
        let usage = json!({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6});
        let answer = if path.ends_with("/messages") {
            json!({"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
                   "usage": {"input_tokens": 5, "output_tokens": 1}})
        } else if path.ends_with("/embeddings") {
            json!({"object": "list", "data": [], "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        } else if path.ends_with("/models") {
            json!({"object": "list", "data": []})
        } else {
            let mut answer = completion("hi");
            answer["usage"] = usage;
            answer
        };
        plain(200, &answer)
    });
    let hosts: HashSet<String> = Catalog::embedded().providers().iter().map(|provider| provider.host().to_owned()).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).filter(|host| !host.contains('{')).collect();
    let (acceptor, authority) = tls(&hosts);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(Some(listener.local_addr().unwrap().port())).await;
    let address = url.strip_prefix("http://").unwrap().to_owned();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                let Ok(mut socket) = acceptor.accept(socket).await else { return };
                let mut provider = TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut socket, &mut provider).await;
            });
        }
    });
    std::fs::write(home.join("company.pem"), authority).unwrap();
    let file = home.join("lava.toml");
    let network = format!("[network]\nproxy = \"http://127.0.0.1:{}\"\nca_file = \"company.pem\"\n", proxy.port);
    std::fs::write(&file, format!("local_servers = false\n{network}{}", config.replace("URL", &url))).unwrap();
    let mut command = program(home);
    command.env("LAVA_CONFIG", file);
    for key in keys {
        command.env(key, "sk-canary");
    }
    if sandbox {
        command.arg("--sandbox");
    }
    Gateway::start(home, command)
}

async fn key(gateway: &Gateway, mut settings: Value) -> String {
    settings["name"] = "k".into();
    settings["spend_limit"] = json!({"amount": "500", "cycle": "daily"});
    let made = http()
        .post(format!("{}/spend_keys", gateway.address))
        .bearer_auth(&gateway.secret)
        .body(settings.to_string())
        .send()
        .await
        .unwrap();
    json_of(made).await["key"].as_str().unwrap().to_owned()
}

/// An address with one parameter.
fn with(address: &str, name: &str, value: &str) -> String {
    format!("{address}?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish())
}

async fn called(client: &reqwest::Client, gateway: &Gateway, key: &str, hit: &Value) -> (u16, String) {
    let method = hit["method"].as_str().unwrap().parse().unwrap();
    let request = client.request(method, with(&format!("{}/forward", gateway.address), "u", hit["url"].as_str().unwrap())).bearer_auth(key);
    let request = if hit["example_body"].is_null() { request } else { request.body(hit["example_body"].to_string()) };
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn prompted(client: &reqwest::Client, gateway: &Gateway, key: &str, model: &str) -> (u16, String) {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100}).to_string();
    let answer = client.post(format!("{}/chat/completions", gateway.address)).bearer_auth(key).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Sends every hit of every query back as it is printed; returns how many could be bought, and whose they were.
async fn check(client: &reqwest::Client, set_up: &str, gateway: &Gateway, key: &str) -> (usize, HashSet<String>) {
    let (mut seen, mut bought, mut sellers) = (HashSet::new(), 0, HashSet::new());
    for query in QUERIES {
        let found = client
            .get(with(&format!("{}/lava_mcp/search", gateway.address), "query", query) + "&limit=5")
            .bearer_auth(key)
            .send()
            .await
            .unwrap();
        for hit in json_of(found).await["results"].as_array().unwrap() {
            let (id, is_model) = (hit["id"].as_str().unwrap(), hit["kind"] == "model");
            if !seen.insert((id.to_owned(), is_model)) {
                continue;
            }
            let tools: Vec<&str> = hit["tools"].as_array().unwrap().iter().map(|tool| tool.as_str().unwrap()).collect();
            let (call, said) = called(client, gateway, key, hit).await;
            let is_available = hit["available"] == true;
            assert_eq!(call == 200, is_available, "{set_up}, {query}: {hit}\n{call} {said}");
            if is_model {
                let (label, provider) = (hit["label"].as_str().unwrap(), hit["provider"].as_str().unwrap());
                let is_chat = Catalog::embedded().model(provider, label).is_none_or(|model| model.mode == Mode::Chat);
                assert!(is_chat || hit["example_body"].get("messages").is_none(), "{hit}");
                let speaks_messages = ["anthropic", "claudes"].contains(&provider);
                assert_eq!(hit["url"].as_str().unwrap().ends_with("/messages"), speaks_messages && is_chat, "{hit}");
                let (prompt, said) = prompted(client, gateway, key, id).await;
                assert_eq!(prompt == 200, tools.contains(&"prompt"), "{set_up}, {query}: {hit}\n{prompt} {said}");
            }
            if is_available {
                assert!(tools.contains(&"call") && hit.get("unavailable_reason").is_none(), "{hit}");
                bought += 1;
                sellers.insert(hit["provider"].as_str().unwrap().to_owned());
            } else {
                assert!(hit["unavailable_reason"].as_str().is_some_and(|why| why.len() > 20), "{set_up}: {hit}");
            }
        }
    }
    (bought, sellers)
}

const HOUSE: &str = "[providers.house]\nbase_url = \"URL/v1\"\nmodels = [\"house-chat\"]\nprice = \"free\"\n\
                     [providers.claudes]\nbase_url = \"URL/claudes/v1\"\ndialect = \"anthropic\"\nmodels = [\"claude-house\"]\nprice = \"free\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_search_offers_is_bought_as_printed_and_the_rest_is_refused() {
    let client = http();
    for (set_up, keys, config, sandbox, settings, sells) in [
        ("nothing", &[][..], "", false, json!({}), &[][..]),
        ("sandbox", &[], "", true, json!({}), &["openai", "anthropic", "google", "groq"]),
        ("openai", &["OPENAI_API_KEY"], "", false, json!({}), &["openai"]),
        ("anthropic", &["ANTHROPIC_API_KEY"], "", false, json!({}), &["anthropic"]),
        ("gemini", &["GEMINI_API_KEY"], "", false, json!({}), &["google"]),
        ("two", &["OPENROUTER_API_KEY", "GROQ_API_KEY"], "", false, json!({}), &["openrouter", "groq"]),
        ("house", &["AZURE_OPENAI_API_KEY"], HOUSE, false, json!({}), &["house"]),
        ("lists", &["OPENAI_API_KEY", "GEMINI_API_KEY"], "", false, json!({"allowed_providers": ["gemini"]}), &["google"]),
        ("models", &["OPENAI_API_KEY"], "", false, json!({"allowed_models": ["gpt-4o*"]}), &["openai"]),
    ] {
        let home = tempfile::tempdir().unwrap();
        let gateway = start(home.path(), keys, config, sandbox).await;
        let key = key(&gateway, settings).await;
        let (bought, sellers) = check(&client, set_up, &gateway, &key).await;
        assert!(sells.iter().all(|seller| sellers.contains(*seller)), "{set_up}: {bought} of {sellers:?}");
        assert!(!sells.is_empty() || bought == 0, "{set_up}: {sellers:?}");
    }
}

/// A provider of one's own that sells what OpenAI makes.
const OWN_MINI: &str = "[providers.house]\nbase_url = \"URL/v1\"\nmodels = [\"gpt-4o-mini\"]\nprice = \"free\"\n";
/// One whose key is not there.
const LOCKED: &str = "[providers.house]\nbase_url = \"URL/v1\"\nmodels = [\"house-chat\"]\nprice = \"free\"\napi_key_env = \"NOT_SET\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_nobody_who_refuses_as_well() {
    for (keys, config, name) in
        [(&[][..], LOCKED, "house-chat"), (&[], LOCKED, "gpt-4o-mini"), (&["ANTHROPIC_API_KEY"], "", "claude-haiku-4-5")]
    {
        let home = tempfile::tempdir().unwrap();
        let gateway = start(home.path(), keys, config, false).await;
        let key = key(&gateway, json!({})).await;
        let (status, said) = prompted(&http(), &gateway, &key, name).await;
        assert!(status == 400 && !said.contains("What can be bought now"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_name_goes_to_a_seller_that_the_key_allows_and_that_has_a_credential() {
    let client = http();
    for (keys, config, settings, name, status, says) in [
        // The maker has no key; a reseller has one.
        (&["OPENROUTER_API_KEY"][..], "", json!({}), "gpt-4o-mini", 200, "openrouter"),
        (&["OPENROUTER_API_KEY", "OPENAI_API_KEY"], "", json!({}), "gpt-4o-mini", 200, "openai"),
        (&["OPENROUTER_API_KEY", "OPENAI_API_KEY"], "", json!({"allowed_providers": ["openrouter"]}), "gpt-4o-mini", 200, "openrouter"),
        (&["GEMINI_API_KEY"], "", json!({}), "gemini-2.5-flash", 200, "google-openai"),
        (&["GOOGLE_GENERATIVE_AI_API_KEY"], "", json!({}), "google/gemini-2.5-flash", 200, "google-openai"),
        (&["GEMINI_API_KEY"], "", json!({}), "models/gemini-2.5-flash", 200, "google-openai"),
        (&["GEMINI_API_KEY"], "", json!({"allowed_providers": ["google"]}), "google-openai/gemini-2.5-flash", 200, "google-openai"),
        (&[], HOUSE, json!({}), "house-chat", 200, "house"),
        // Own providers come before the maker, and of those who resell it, the cheapest.
        (&["OPENAI_API_KEY"], OWN_MINI, json!({}), "gpt-4o-mini", 200, "house"),
        (&["GROQ_API_KEY", "DEEPINFRA_API_KEY", "TOGETHER_API_KEY"], "", json!({}), "gpt-oss-120b", 200, "deepinfra"),
        // Nobody can: what can be bought instead, or with which key.
        (&["OPENROUTER_API_KEY"], "", json!({}), "openai/gpt-4o-mini", 400, "It can be bought now as openrouter/openai/gpt-4o-mini"),
        (&["OPENAI_API_KEY"], "", json!({}), "groq/llama-3.3-70b-versatile", 400, "GROQ_API_KEY"),
        (&["OPENAI_API_KEY"], "", json!({}), "claude-sonnet-4-5", 400, "What can be bought now is sold by openai"),
        (&[], "", json!({}), "gpt-4o-mini", 400, "It is also sold as"),
        (&["ANTHROPIC_API_KEY"], "", json!({}), "claude-haiku-4-5", 400, "Ask it with `call`"),
        // The maker is named, and nobody who cannot sell.
        (&[], "", json!({"allowed_providers": ["groq"]}), "gpt-4o-mini", 403, "does not allow the provider openai"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let gateway = start(home.path(), keys, config, false).await;
        let key = key(&gateway, settings).await;
        let (got, said) = prompted(&client, &gateway, &key, name).await;
        assert_eq!(got, status, "{keys:?} {name}: {said}");
        if status == 200 {
            let list = json_of(client.get(format!("{}/requests", gateway.address)).bearer_auth(&key).send().await.unwrap()).await;
            assert!(list.to_string().contains(&format!("\"provider\":\"{says}\"")), "{keys:?} {name}: {list}");
        } else {
            assert!(said.contains(says), "{keys:?} {name}: {said}");
        }
    }
}
