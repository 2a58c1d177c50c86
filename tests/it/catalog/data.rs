//! What is in the data: known prices, known addresses, and nothing that points at this machine.

use std::collections::BTreeSet;

use lava_mcp::{
    catalog::{Auth, Catalog, Dialect, Mode},
    domain::{Money, Rate},
};

use super::catalog;

const MODELS: &str = include_str!("../../../src/catalog/data/models.jsonl");
const PROVIDERS: &str = include_str!("../../../src/catalog/data/providers.jsonl");

#[test]
fn the_embedded_data_is_what_the_files_say() {
    let read = Catalog::parse(MODELS, PROVIDERS).unwrap();
    assert_eq!(read.models(), catalog().models());
    assert_eq!(read.providers(), catalog().providers());
    assert_eq!((read.date().len(), read.date()), (10, catalog().date()));
}

#[test]
fn known_prices_are_known() {
    for (provider, id, input, output) in [
        ("openai", "gpt-4o-mini", "0.15", "0.60"),
        ("openai", "gpt-4o", "2.50", "10.00"),
        ("anthropic", "claude-sonnet-4-20250514", "3.00", "15.00"),
        ("anthropic", "claude-sonnet-4-5", "3.00", "15.00"),
        ("google", "gemini-2.5-flash", "0.30", "2.50"),
        ("google-openai", "gemini-2.5-pro", "1.25", "10.00"),
        ("groq", "llama-3.3-70b-versatile", "0.59", "0.79"),
        ("openai", "text-embedding-3-small", "0.02", "0.00"),
    ] {
        let model = catalog().model(provider, id).unwrap_or_else(|| panic!("{provider} {id} is missing"));
        let rates = model.prices().unwrap().rates;
        assert_eq!((rates.input, rates.output), (Rate::per_million(input).unwrap(), Rate::per_million(output).unwrap()), "{provider} {id}");
    }
    let claude = catalog().model("anthropic", "claude-sonnet-4-20250514").unwrap().prices().unwrap().rates;
    assert_eq!(claude.cache_read, Some(Rate::per_million("0.30").unwrap()));
    assert_eq!(claude.cache_write, Some(Rate::per_million("3.75").unwrap()));
    assert_eq!(claude.cache_write_1h, Some(Rate::per_million("6").unwrap()));
}

#[test]
fn a_model_priced_by_anything_but_tokens_cannot_be_bought() {
    for (provider, id) in [("openai", "whisper-1"), ("openai", "tts-1"), ("openai", "sora-2"), ("perplexity", "sonar-deep-research")] {
        let model = catalog().model(provider, id).unwrap_or_else(|| panic!("{provider} {id} is missing"));
        assert!(model.prices().is_none(), "{provider} {id}");
    }
    for model in catalog().models() {
        let free = model.prices().is_some_and(|prices| prices.bound(1_000_000, 1_000_000) == Ok(Money::ZERO));
        let known_free = model.id.contains(":free") || model.mode == Mode::Moderation || &*model.provider == "zai";
        assert!(!free || known_free, "{} {} costs nothing", model.provider, model.id);
    }
}

#[test]
fn names_are_unique_and_lead_back() {
    let mut seen = BTreeSet::new();
    let mut priced = 0;
    for model in catalog().models() {
        assert!(seen.insert((&*model.provider, &*model.id)), "{} {} twice", model.provider, model.id);
        assert!(std::ptr::eq(catalog().model(&model.provider, &model.id).unwrap(), model));
        assert!(
            catalog().provider(&model.provider).is_some_and(|provider| *provider.id == *model.provider),
            "{} is unknown",
            model.provider
        );
        for name in model.names() {
            assert!(catalog().models_named(name).iter().any(|found| std::ptr::eq(*found, model)), "{name}");
        }
        priced += usize::from(model.prices().is_some());
    }
    assert!(priced > 3_500, "{priced} models have a price");
}

#[test]
fn a_bare_name_means_the_model_of_its_maker() {
    let first = |id: &str| catalog().models_named(id).first().map(|model| model.provider.to_string());
    assert_eq!(first("gpt-4o").as_deref(), Some("openai"));
    assert_eq!(first("claude-sonnet-4-5").as_deref(), Some("anthropic"));
    assert_eq!(first("gemini-2.5-flash").as_deref(), Some("google"));
    assert_eq!(first("no-such-model"), None);
}

#[test]
fn every_provider_says_where_it_is_and_how_to_ask() {
    let mut ids = BTreeSet::new();
    for provider in catalog().providers() {
        let id = &provider.id;
        assert!(ids.insert(id), "{id} twice");
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{id}");
        assert!(provider.base_url.starts_with("https://") && !provider.base_url.ends_with('/'), "{id}: {}", provider.base_url);
        assert!(provider.docs.starts_with("https://"), "{id}: {}", provider.docs);
        assert!(!provider.env.is_empty(), "{id} has no variable for its key");
        assert!(provider.key_check.as_ref().is_none_or(|url| url.starts_with("https://") && !url.contains('{')), "{id}");
        if let Auth::Header { name, .. } = &provider.auth {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{id}: {name}");
        }
        let host = provider.host();
        assert!(host.parse::<std::net::IpAddr>().is_err() && !host.starts_with("localhost") && !host.contains(':'), "{id}: {host}");
        assert!(host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_alphabetic())), "{id}: {host}");
    }
    for provider in catalog().providers() {
        assert!(provider.aliases.iter().all(|alias| !ids.contains(alias)), "{:?}", provider.aliases);
        assert!(provider.models_of.as_ref().is_none_or(|other| ids.contains(other)));
    }
}

#[test]
fn every_address_of_lava_is_known() {
    for (id, url, dialect) in [
        ("openai", "api.openai.com/v1", Dialect::Openai),
        ("anthropic", "api.anthropic.com/v1", Dialect::Anthropic),
        ("mistral", "api.mistral.ai/v1", Dialect::Openai),
        ("deepseek", "api.deepseek.com/v1", Dialect::Openai),
        ("xai", "api.x.ai/v1", Dialect::Openai),
        ("groq", "api.groq.com/openai/v1", Dialect::Openai),
        ("google", "generativelanguage.googleapis.com/v1beta", Dialect::Google),
        ("google-openai", "generativelanguage.googleapis.com/v1beta/openai", Dialect::Openai),
        ("together", "api.together.xyz/v1", Dialect::Openai),
        ("fireworks", "api.fireworks.ai/inference/v1", Dialect::Openai),
        ("cohere", "api.cohere.ai/compatibility/v1", Dialect::Openai),
        ("cerebras", "api.cerebras.ai/v1", Dialect::Openai),
        ("sambanova", "api.sambanova.ai/v1", Dialect::Openai),
        ("deepinfra", "api.deepinfra.com/v1/openai", Dialect::Openai),
        ("hyperbolic", "api.hyperbolic.xyz/v1", Dialect::Openai),
        ("nebius", "api.studio.nebius.com/v1", Dialect::Openai),
        ("novita", "api.novita.ai/v3/openai", Dialect::Openai),
        ("inference", "api.inference.net/v1", Dialect::Openai),
        ("kluster", "api.kluster.ai/v1", Dialect::Openai),
        ("parasail", "api.parasail.io/v1", Dialect::Openai),
        ("targon", "api.targon.com/v1", Dialect::Openai),
        ("gmicloud", "api.gmi-serving.com/v1", Dialect::Openai),
        ("chutes", "llm.chutes.ai/v1", Dialect::Openai),
        ("baseten", "inference.baseten.co/v1", Dialect::Openai),
        ("moonshot", "api.moonshot.ai/v1", Dialect::Openai),
        ("embercloud", "api.embercloud.ai/v1", Dialect::Openai),
        ("vercel", "api.v0.dev/v1", Dialect::Openai),
        ("elevenlabs", "api.elevenlabs.io/v1", Dialect::Custom),
        ("openrouter", "openrouter.ai/api/v1", Dialect::Openai),
    ] {
        let provider = catalog().provider(id).unwrap_or_else(|| panic!("{id} is missing"));
        assert_eq!(*provider.base_url, *format!("https://{url}"));
        assert_eq!(provider.dialect, dialect, "{id}");
        let (host, path) = url.split_once('/').unwrap();
        let found = catalog().provider_for_url(host, &format!("/{path}/anything")).unwrap();
        assert_eq!(found.id, provider.id, "{url}");
    }
    assert!(catalog().provider_for_url("api.openai.com.evil.example", "/v1/chat/completions").is_none());
    assert!(catalog().provider_for_url("evil.example", "/api.openai.com/v1").is_none());
}

/// Each is reported with a source in `examples/refresh_catalog/hand_checked.rs`.
#[test]
fn providers_that_refuse_stream_options_are_known() {
    let refusing: Vec<&str> = catalog().providers().iter().filter(|known| !known.takes_stream_options).map(|known| &*known.id).collect();
    assert_eq!(refusing, ["mistral", "databricks", "codestral"]);
}

#[test]
fn other_tools_names_for_a_provider_are_understood() {
    for (alias, id) in [("gemini", "google"), ("together_ai", "together"), ("fireworks_ai", "fireworks"), ("x-ai", "xai"), ("v0", "vercel")]
    {
        assert_eq!(catalog().provider(alias).map(|provider| &*provider.id), Some(id));
    }
    assert!(catalog().model("gemini", "gemini-2.5-flash").is_some());
}

#[test]
fn a_line_that_is_not_understood_is_named() {
    let error = Catalog::parse("{}\n{\"id\":\"x\"}\n", "{}\n").err().unwrap().to_string();
    assert!(error.starts_with("models line 2: "), "{error}");
    let error = Catalog::parse("{}\n", "{}\n\nnonsense\n").err().unwrap().to_string();
    assert!(error.starts_with("providers line 3: "), "{error}");
}
