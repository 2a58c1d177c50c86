//! Who sells models: the providers checked by hand, then those of two public registries, each once and under one id.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::hand_checked;

/// Keys of the sources that are no provider one can buy from with a key of one's own: subscriptions of a person, local servers, routers
/// of the source itself, and services that sell no models.
const LEFT_OUT: &[&str] = &[
    "chatgpt",
    "github_copilot",
    "microsoft_365_copilot",
    "agentcore",
    "strands_decider",
    "sagemaker",
    "lemonade",
    "ollama",
    "duckduckgo",
    "aws_polly",
    "transcribe",
    "gigachat",
    "anyscale",
    "opencode_go",
    "qwencloud",
    "qwen_ai_platform",
    "vertex_ai-chat-models",
];

/// A provider as it will be written.
struct Seller {
    id: String,
    line: Value,
    also: Vec<String>,
}

#[derive(Deserialize)]
struct Registry {
    providers: BTreeMap<String, Registered>,
}

/// An entry of the `@mastra/core` registry.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registered {
    name: String,
    url: Option<String>,
    doc_url: Option<String>,
    api_key_env_var: Value,
    npm: Option<String>,
    #[serde(default)]
    models: Vec<String>,
}

/// An entry of LiteLLM's list of OpenAI-like providers.
#[derive(Deserialize)]
struct OpenaiLike {
    base_url: String,
    api_key_env: String,
}

/// All providers, and every name each is known by.
pub(crate) struct Sellers {
    list: Vec<Seller>,
    ids: HashMap<String, String>,
    /// Models a provider sells today, according to the registry.
    pub(crate) sold_today: BTreeMap<String, Vec<String>>,
}

impl Sellers {
    pub(crate) fn read(registry: &str, openai_like: &str) -> Result<Self, serde_json::Error> {
        let registry: Registry = serde_json::from_str(registry)?;
        let openai_like: BTreeMap<String, OpenaiLike> = serde_json::from_str(openai_like)?;
        let mut sellers = Self { list: Vec::new(), ids: HashMap::new(), sold_today: BTreeMap::new() };
        for known in hand_checked::all() {
            let env: Vec<String> = known.env.iter().map(|name| (*name).to_owned()).collect();
            let mut line = line(known.id, known.name, known.base_url, known.docs, auth(known.auth), &env, known.dialect);
            if let Some((_, hosts)) = hand_checked::OTHER_HOSTS.iter().find(|(id, _)| *id == known.id) {
                line["hosts"] = json!(hosts);
            }
            if known.first_party {
                line["first_party"] = Value::Bool(true);
            }
            if known.id == "google-openai" {
                line["models_of"] = json!("google");
            }
            if let Some((_, url)) = hand_checked::KEY_CHECK.iter().find(|(id, _)| *id == known.id) {
                line["key_check"] = json!(url);
            }
            if let Some((_, field, unit)) = hand_checked::REPORTED_COST.iter().find(|(id, ..)| *id == known.id) {
                line["reported_cost"] = json!({"field": field, "unit": unit});
            }
            if hand_checked::NO_STREAM_OPTIONS.iter().any(|(id, _)| *id == known.id) {
                line["stream_options"] = Value::Bool(false);
            }
            sellers.add(known.id, line, known.also.iter().map(|name| (*name).to_owned()).collect());
        }
        for (key, entry) in registry.providers {
            sellers.add_registered(key, entry);
        }
        for (key, entry) in openai_like {
            let id = key.replace('_', "-");
            let docs = format!("https://docs.litellm.ai/docs/providers/{key}");
            let base_url = entry.base_url.trim_end_matches('/');
            if sellers.id(&key).is_some() || sellers.id(&id).is_some() {
                let known = sellers.id(&key).or_else(|| sellers.id(&id)).unwrap_or_default();
                sellers.also(&known, &key);
            } else if let Some(known) = sellers.at(base_url) {
                sellers.also(&known, &key);
            } else {
                let line = line(&id, &title(&key), base_url, &docs, json!({"scheme": "bearer"}), &[entry.api_key_env], "openai");
                sellers.add(&id, line, if id == key { Vec::new() } else { vec![key] });
            }
        }
        Ok(sellers)
    }

    fn add_registered(&mut self, key: String, entry: Registered) {
        // Two products of one company: the registry's `vercel` is not the API that is called so elsewhere.
        let key = if key == "vercel" { "vercel-ai-gateway".to_owned() } else { key };
        if let Some(id) = self.id(&key) {
            self.sold_today.entry(id).or_default().extend(entry.models);
            return;
        }
        let (Some(url), Some(docs)) = (entry.url, entry.doc_url) else { return };
        // A flat-rate plan has no price per token, and an address on this machine is nobody's API.
        if key.contains("-plan") || url.contains("localhost") || url.contains("127.0.0.1") || url.starts_with("${") {
            return;
        }
        let base_url = url.trim_end_matches('/').trim_end_matches("/chat/completions");
        let base_url = if base_url.contains("${") { base_url.replace("${", "{").to_lowercase() } else { base_url.to_owned() };
        if let Some(id) = self.at(&base_url) {
            self.also(&id, &key);
            self.sold_today.entry(id).or_default().extend(entry.models);
            return;
        }
        let (dialect, auth) = match entry.npm.as_deref() {
            Some("@ai-sdk/anthropic") => ("anthropic", json!({"scheme": "header", "name": "x-api-key"})),
            _ => ("openai", json!({"scheme": "bearer"})),
        };
        let env: Vec<String> = match entry.api_key_env_var {
            Value::String(one) => vec![one],
            Value::Array(all) => all.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
            _ => Vec::new(),
        };
        let docs = docs.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        let id = key.replace(['_', '.'], "-");
        let line = line(&id, &entry.name, &base_url, &docs, auth, &env, dialect);
        self.sold_today.entry(id.clone()).or_default().extend(entry.models);
        self.add(&id, line, if id == key { Vec::new() } else { vec![key] });
    }

    fn add(&mut self, id: &str, line: Value, also: Vec<String>) {
        for name in also.iter().map(String::as_str).chain([id]) {
            self.ids.entry(name.to_owned()).or_insert_with(|| id.to_owned());
        }
        self.list.push(Seller { id: id.to_owned(), line, also });
    }

    fn also(&mut self, id: &str, name: &str) {
        if self.ids.contains_key(name) {
            return;
        }
        self.ids.insert(name.to_owned(), id.to_owned());
        if let Some(seller) = self.list.iter_mut().find(|seller| seller.id == id) {
            seller.also.push(name.to_owned());
        }
    }

    /// The id of the provider at this address.
    fn at(&self, base_url: &str) -> Option<String> {
        let host = |url: &str| url.split('/').nth(2).unwrap_or_default().to_owned();
        let found = self.list.iter().find(|seller| seller.line["base_url"].as_str().is_some_and(|own| host(own) == host(base_url)));
        found.map(|seller| seller.id.clone())
    }

    /// Our id of the provider that a source calls `key`.
    pub(crate) fn id(&self, key: &str) -> Option<String> {
        self.ids.get(key).cloned()
    }

    pub(crate) fn is_left_out(&self, key: &str) -> bool {
        LEFT_OUT.contains(&key)
    }

    /// The lines of the file: the hand-checked ones in their order, the others by id.
    pub(crate) fn lines(&self) -> Vec<String> {
        let first = hand_checked::all().count();
        let mut rest: Vec<&Seller> = self.list[first..].iter().collect();
        rest.sort_by(|a, b| a.id.cmp(&b.id));
        let written = |seller: &Seller| {
            let mut line = seller.line.clone();
            let mut also = seller.also.clone();
            also.sort_unstable();
            also.dedup();
            if let (Value::Object(line), false) = (&mut line, also.is_empty()) {
                line.insert("aliases".to_owned(), json!(also));
            }
            line.to_string()
        };
        self.list[..first].iter().chain(rest).map(written).collect()
    }
}

fn line(id: &str, name: &str, base_url: &str, docs: &str, auth: Value, env: &[String], dialect: &str) -> Value {
    let mut out = Map::new();
    for (key, value) in [("id", json!(id)), ("name", json!(name)), ("base_url", json!(base_url)), ("docs", json!(docs))] {
        out.insert(key.to_owned(), value);
    }
    out.insert("auth".to_owned(), auth);
    out.insert("env".to_owned(), json!(env));
    out.insert("dialect".to_owned(), json!(dialect));
    Value::Object(out)
}

fn auth(text: &str) -> Value {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("header"), Some(name), None) => json!({"scheme": "header", "name": name}),
        (Some("header"), Some(name), Some(prefix)) => json!({"scheme": "header", "name": name, "prefix": prefix}),
        (scheme, ..) => json!({"scheme": scheme}),
    }
}

fn title(key: &str) -> String {
    let words = key.split(['_', '-']).map(|word| {
        word.chars().next().map_or(String::new(), |first| first.to_uppercase().collect::<String>() + &word[first.len_utf8()..])
    });
    words.collect::<Vec<_>>().join(" ")
}
