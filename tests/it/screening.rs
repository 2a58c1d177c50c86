//! What a request may ask of a provider of which only the price list is known: what passes, what is taken out and named, what is bounded, and what is refused.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    cli::program,
    fake_upstream::FakeUpstream,
    harness::{Answer, Harness, request},
    server::{Gateway, http, json_of},
};

const SONNET: &str = "claude-sonnet-4-5";

/// Asks the sandbox, which knows the catalog's providers and sends nothing anywhere.
async fn messages(harness: &Harness, key: &str, betas: &str, more: Value) -> Answer {
    ask(harness, key, "/v1/messages", betas, more).await
}

async fn ask(harness: &Harness, key: &str, path: &str, betas: &str, more: Value) -> Answer {
    let mut body = json!({"model": SONNET, "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut asked = request(Method::POST, path, Some(key), body);
    if !betas.is_empty() {
        asked.headers_mut().insert("anthropic-beta", betas.parse().unwrap());
    }
    harness.send(asked).await
}

async fn anthropic_key(harness: &Harness, limit: &str, terms: Value) -> String {
    let limit = json!({"amount": limit, "cycle": "total"});
    harness.key(json!({"request_shape": "anthropic", "spend_limit": limit, "lava_mcp": terms})).await.0
}

#[tokio::test]
async fn claude_code_is_served_as_it_is_and_told_what_was_not_sent() {
    let harness = Harness::start_with(true).await;
    let key = anthropic_key(&harness, "5.00", json!({})).await;
    let claude_code = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,per-turn-control-2026-07-01,\
                       mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,effort-2025-11-24,\
                       context-1m-2025-08-07,prompt-caching-scope-2026-01-05,afk-mode-2026-01-31,dangerous-tool-use-2026-09-03";
    let fields = json!({
        "thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "medium"}, "metadata": {"user_id": "u"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "diagnostics": {"previous_message_id": null}, "safeguards": {"auto_mode": true}, "speed": "standard",
        "tools": [{"name": "Bash", "input_schema": {"type": "object"}, "defer_loading": true}],
    });
    let served = messages(&harness, &key, claude_code, fields).await;
    assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, None), "{}", served.text());
    for (betas, more, dropped) in [
        ("advisor-tool-2026-03-01, effort-2025-11-24", json!({}), "anthropic-beta:advisor-tool-2026-03-01"),
        (
            "server-side-fallback-2026-06-01",
            json!({"fallbacks": [{"model": "claude-opus-4-8"}]}),
            "fallbacks, anthropic-beta:server-side-fallback-2026-06-01",
        ),
        ("effort-2025-11-24 fast-mode-2026-02-01", json!({}), "anthropic-beta:effort-2025-11-24 fast-mode-2026-02-01"),
        ("effort-2025-11-24;fast-mode-2026-02-01", json!({}), "anthropic-beta:effort-2025-11-24;fast-mode-2026-02-01"),
        ("effort-2025-11-24\tfast-mode-2026-02-01", json!({}), "anthropic-beta:effort-2025-11-24\\tfast-mode-2026-02-01"),
        ("effort-,effort-2025-11-24", json!({}), "anthropic-beta:effort-"),
        ("fast-mode-2026-02-01", json!({"speed": "fast"}), "speed, anthropic-beta:fast-mode-2026-02-01"),
        ("from-the-future-2030-01-01", json!({"future": {"a": 1}}), "future, anthropic-beta:from-the-future-2030-01-01"),
        ("", json!({"container": "c"}), "container"),
        ("", json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}), "context_management.edits:compact_20260112"),
        (
            "",
            json!({"tools": [{"name": "mine", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}]}),
            "tools:web_search_20250305",
        ),
    ] {
        let served = messages(&harness, &key, betas, more.clone()).await;
        assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, Some(dropped)), "{more}: {}", served.text());
    }
    harness.finish().await;
}

#[tokio::test]
async fn what_cannot_be_taken_out_is_a_bad_request_that_names_the_field() {
    let harness = Harness::start_with(true).await;
    let key = anthropic_key(&harness, "5.00", json!({})).await;
    for (more, field) in [
        (json!({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]}), "tools"),
        (json!({"tools": [{"type": "from_the_future_20300101", "name": "x"}, {"name": "mine", "input_schema": {}}]}), "tools"),
        (json!({"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]}), "mcp_servers"),
        (json!({"inference_geo": "us"}), "inference_geo"),
        (json!({"compaction": {"type": "summarize"}}), "compaction"),
        (json!({"tools": [{"type": "computer_toolset_20300101"}, {"name": "mine", "input_schema": {}}]}), "tools"),
        (json!({"thread": {"type": "continue", "previous_message_id": "msg_1"}}), "thread"),
    ] {
        let refused = messages(&harness, &key, "", more.clone()).await;
        let error = refused.json();
        assert_eq!((refused.status, refused.header("x-should-retry")), (StatusCode::BAD_REQUEST, Some("false")), "{more}: {error}");
        assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("invalid_request_error")), "{more}");
        assert!(error["error"]["message"].as_str().unwrap().starts_with(field), "{more}: {error}");
        // Counting is free: it is never refused for what it would cost.
        let counted = ask(&harness, &key, "/v1/messages/count_tokens", "thinking-token-count-2026-05-13,unknown-2030-01-01", more).await;
        assert_eq!(counted.status, StatusCode::OK, "{}", counted.text());
    }
    assert_eq!(harness.entries().await.iter().filter(|entry| entry.amount_n > 0).count(), 0);
    harness.finish().await;
}

#[tokio::test]
async fn a_key_that_allows_hosted_tools_has_their_bound_set_aside() {
    let harness = Harness::start_with(true).await;
    let key = anthropic_key(&harness, "50.00", json!({"hosted_tools": true})).await;
    let search = json!({"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]});
    let served = messages(&harness, &key, "web-search-2025-03-05", search.clone()).await;
    assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, None), "{}", served.text());
    harness.settled().await;
    // Three runs over 200,000 tokens at the highest price of input, 50 tokens of output each, and two searches.
    assert_eq!(harness.entries().await.last().unwrap().held_n, 3 * 200_000 * 6_000 + 3 * 50 * 15_000 + 2 * 10_000_000);
    let unlimited = messages(&harness, &key, "", json!({"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]})).await;
    assert_eq!((unlimited.status, unlimited.header("x-lava-max-uses")), (StatusCode::OK, Some("5")), "{}", unlimited.text());
    // A summary is one more run over all that it can read.
    let compaction = json!({"compaction": {"type": "summarize"}});
    let served = messages(&harness, &key, "compact-2026-09-04", compaction).await;
    assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, None), "{}", served.text());
    harness.settled().await;
    assert_eq!(harness.entries().await.last().unwrap().held_n, 2 * 200_000 * 6_000 + 2 * 50 * 15_000);
    // A limit that does not pay for the bound refuses.
    let poor = anthropic_key(&harness, "0.50", json!({"hosted_tools": true})).await;
    assert_eq!(messages(&harness, &poor, "", search).await.code(), "insufficient_budget");
    // A second model is one that the key must allow.
    let advisor = json!({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-8", "max_uses": 1}]});
    assert_eq!(messages(&harness, &key, "advisor-tool-2026-03-01", advisor.clone()).await.status, StatusCode::OK);
    let terms = json!({"request_shape": "anthropic", "allowed_models": [SONNET], "lava_mcp": {"hosted_tools": true}});
    let (narrow, _) = harness.key(terms).await;
    assert_eq!(messages(&harness, &narrow, "", advisor).await.code(), "model_not_allowed");
    harness.finish().await;
}

#[tokio::test]
async fn fields_that_only_narrow_or_cost_nothing_pass_in_the_chat_dialect_too() {
    let harness = Harness::start_with(true).await;
    let (key, _) = harness.key_with_limit("5.00").await;
    let function = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let through_router = |more: Value| {
        let mut more = more;
        more["model"] = "openrouter/anthropic/claude-sonnet-4.5".into();
        more
    };
    for (more, dropped) in [
        (through_router(json!({"usage": {"include": true}, "session_id": "s1"})), None),
        (through_router(json!({"provider": {"order": ["anthropic"], "allow_fallbacks": false}})), None),
        (json!({"prediction": null, "session_id": "s1"}), Some("prediction")),
        (json!({"prediction": {"type": "content", "content": "x"}}), Some("prediction")),
        (json!({"plugins": [{"id": "web"}], "service_tier": "priority"}), Some("plugins, service_tier")),
        (json!({"web_search_options": {}}), Some("web_search_options")),
        (json!({"tools": [function, {"type": "web_search"}]}), Some("tools:web_search")),
    ] {
        let mut body = json!({"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let served = harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body)).await;
        assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, dropped), "{more}: {}", served.text());
    }
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "web_search"}]});
    let refused = harness.send(request(Method::POST, "/v1/chat/completions", Some(&key), body)).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (StatusCode::BAD_REQUEST, Some("tools")), "{}", refused.text());
    harness.finish().await;
}

#[tokio::test]
async fn a_provider_of_ones_own_gets_the_request_as_it_came() {
    let harness = Harness::start().await;
    let (key, _) = harness.key_with_limit("5.00").await;
    let more = json!({"from_the_future": {"a": 1}, "plugins": [], "tools": [{"type": "web_search"}], "max_tokens": 50});
    let served = harness.chat(&key, "ok", more).await;
    assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, None), "{}", served.text());
    let sent = harness.upstream.seen().remove(0).body;
    assert!(sent["from_the_future"].is_object() && sent["plugins"].is_array() && sent["tools"][0]["type"] == "web_search", "{sent}");
    harness.finish().await;
}

#[tokio::test]
async fn what_would_let_another_model_answer_is_named_and_checked_at_ones_own_provider_too() {
    let harness = Harness::start().await;
    let (key, _) = harness.key(json!({"request_shape": "anthropic", "allowed_models": ["claude/ok"]})).await;
    let ask = async |more: Value| {
        let mut body = json!({"model": "claude/ok", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        harness.send(request(Method::POST, "/v1/messages", Some(&key), body)).await
    };
    let served = ask(json!({"fallbacks": [{"model": "another"}]})).await;
    assert_eq!((served.status, served.header("x-lava-dropped")), (StatusCode::OK, Some("fallbacks")), "{}", served.text());
    let sent = harness.upstream.seen().pop().unwrap().body;
    assert!(sent.get("fallbacks").is_none(), "{sent}");
    let advisor = |model: &str| json!({"tools": [{"type": "advisor_20260301", "name": "advisor", "model": model}]});
    assert_eq!(ask(advisor("another")).await.code(), "model_not_allowed");
    assert_eq!(ask(advisor("ok")).await.status, StatusCode::OK);
    harness.finish().await;
}

#[tokio::test]
async fn where_the_key_says_so_an_output_cap_is_fitted_to_the_limit_and_told() {
    let harness = Harness::start().await;
    let cap_of = |answer: &Answer| answer.header("x-lava-output-cap").map(|cap| cap.parse::<u64>().unwrap());
    let limit = json!({"spend_limit": {"amount": "0.05", "cycle": "total"}});
    let (strict, _) = harness.key(limit.clone()).await;
    // 64,000 tokens at 2,000 nano-dollars are 0.128 USD.
    assert_eq!(harness.chat(&strict, "ok", json!({"max_tokens": 64_000})).await.code(), "insufficient_budget");
    let mut lowering = limit;
    lowering["lava_mcp"] = json!({"lower_output_cap": true});
    let (key, id) = harness.key(lowering).await;
    let served = harness.chat(&key, "ok", json!({"max_tokens": 64_000, "thinking": {"type": "enabled", "budget_tokens": 32_000}})).await;
    assert_eq!(served.status, StatusCode::OK, "{}", served.text());
    let cap = cap_of(&served).unwrap();
    assert!((10_000..25_000).contains(&cap), "{cap}");
    let sent = harness.upstream.seen().remove(0).body;
    assert_eq!((&sent["max_tokens"], &sent["thinking"]["budget_tokens"]), (&json!(cap), &json!(cap / 2)), "{sent}");
    // The least length that was asked for is no more than what may be written.
    let more = json!({"max_tokens": 64_000, "min_tokens": 60_000});
    assert_eq!(harness.chat(&key, "ok", more).await.status, StatusCode::OK);
    let sent = harness.upstream.seen().pop().unwrap().body;
    assert!(sent["max_tokens"].as_u64().unwrap() < 60_000 && sent["min_tokens"] == sent["max_tokens"], "{sent}");
    // A cap that there is money for stays as it is, and so it does once the key no longer says so.
    let small = harness.chat(&key, "ok", json!({"max_tokens": 500})).await;
    assert_eq!((small.status, cap_of(&small)), (StatusCode::OK, None));
    let object = harness.object(&id).await;
    assert_eq!((&object["lava_mcp"]["lower_output_cap"], &object["lava_mcp"]["hosted_tools"]), (&json!(true), &json!(false)));
    let path = format!("/v1/spend_keys/{id}");
    let changed = harness.manage(Method::PUT, &path, json!({"lava_mcp": {"lower_output_cap": false}})).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text());
    assert_eq!(harness.chat(&key, "ok", json!({"max_tokens": 64_000})).await.code(), "insufficient_budget");
    let unknown = harness.manage(Method::PUT, &path, json!({"lava_mcp": {"lower_cap": true}})).await;
    assert_eq!(unknown.json()["error"]["param"], "lava_mcp", "{}", unknown.text());
    harness.finish().await;
}

#[test]
fn a_name_can_stand_for_another_model_for_all_keys_or_for_one() {
    let home = tempfile::tempdir().unwrap();
    let run = |config: &str, arguments: &[&str]| {
        let path = home.path().join("aliases.toml");
        std::fs::write(&path, config).unwrap();
        let mut command = program(home.path());
        let output = command.env("LAVA_CONFIG", path).args(["--sandbox", "--json"]).args(arguments).output().unwrap();
        (output.status.success(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
    };
    assert!(run("", &["login"]).0);
    let (_, keys) = run("", &["keys", "list"]);
    let keys: Value = serde_json::from_str(&keys).unwrap();
    let id = keys["data"][0]["spend_key_id"].as_str().unwrap();
    let config =
        format!("[model_aliases]\n\"claude-x\" = \"openai/gpt-4o-mini\"\n[keys.{id}.model_aliases]\n\"gpt-4o-mini\" = \"gpt-4o\"\n");
    for (asked, answers) in [("claude-x", "gpt-4o-mini"), ("gpt-4o-mini", "gpt-4o"), ("openai/gpt-4o-mini", "gpt-4o-mini")] {
        let (is_ok, said) = run(&config, &["prompt", asked, "hi"]);
        let answer: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
        assert!(is_ok && answer["model"] == answers, "{asked}: {said}");
    }
    assert!(!run(&config, &["prompt", "some-other-name", "hi"]).0);
    let (is_ok, said) = run("[model_aliases]\n\"a\" = \" \"\n", &["prompt", "a", "hi"]);
    assert!(!is_ok && said.contains("model_aliases"), "{said}");
}

#[tokio::test]
async fn a_document_is_bounded_by_the_context_window_that_the_config_file_names() {
    let (home, upstream) = (tempfile::tempdir().unwrap(), FakeUpstream::start().await);
    let config = home.path().join("lava.toml");
    let of = |id: &str, more: &str| {
        format!("[providers.{id}]\nbase_url = \"{}\"\nprice = {{ input = \"1\", output = \"2\" }}\n{more}\n", upstream.url)
    };
    std::fs::write(&config, format!("local_servers = false\n{}{}", of("plain", ""), of("known", "context_window = 100_000"))).unwrap();
    let mut command = program(home.path());
    command.env("LAVA_CONFIG", config);
    let gateway = Gateway::start(home.path(), command);
    let ask = async |model: &str| {
        let file = json!([{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}]);
        let body = json!({"model": model, "messages": [{"role": "user", "content": file}], "max_tokens": 9}).to_string();
        let answer =
            http().post(format!("{}/chat/completions", gateway.address)).bearer_auth(&gateway.secret).body(body).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await.to_string())
    };
    let (status, said) = ask("plain/ok").await;
    assert!(status == 402 && said.contains("set context_window under [providers.plain]"), "{status} {said}");
    let (status, said) = ask("known/ok").await;
    assert_eq!(status, 200, "{said}");
}
