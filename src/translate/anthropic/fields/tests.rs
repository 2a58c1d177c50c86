//! What is sent of a messages request, and what is taken out or refused.

use serde_json::{Value, json};

use super::*;
use crate::domain::Money;

fn body(more: &Value) -> RawObject {
    let mut body = json!({"model": "m", "max_tokens": 1, "messages": []});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    RawObject::parse(body.to_string().as_bytes()).unwrap()
}

/// What is dropped of a request, and the body that is sent, without the fields that every request has.
fn sent(more: &Value, hosted: HostedTools) -> Result<(Vec<String>, Value), String> {
    let body = body(more);
    let screened = screen(&body, hosted).map_err(|error| error.to_string())?;
    let mut sent: Value = serde_json::from_slice(&screened.body_or(&body).to_bytes()).unwrap();
    sent.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "model" | "messages" | "max_tokens"));
    Ok((screened.dropped, sent))
}

#[test]
fn what_costs_tokens_only_passes() {
    let known = json!({
        "tools": [{"name": "mine", "input_schema": {}}, {"type": "custom", "name": "c"}, {"type": "bash_20250124", "name": "bash"}],
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "service_tier": "auto", "speed": null, "inference_geo": "global",
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]}, "output_config": {"effort": "high"},
        "diagnostics": {"previous_message_id": null}, "safeguards": {"auto_mode": true},
    });
    assert_eq!(tools::typed_count(&body(&known)), 1);
    for hosted in [HostedTools::Refused, HostedTools::Bounded, HostedTools::Free] {
        assert_eq!(sent(&known, hosted), Ok((Vec::new(), known.clone())));
    }
    let sets = json!({"tools": [{"type": "browser_toolset_20260801"}, {"type": "computer_toolset_20260801"}], "compaction": null});
    assert_eq!(sent(&sets, HostedTools::Refused), Ok((Vec::new(), sets.clone())));
    assert_eq!(tools::typed_count(&body(&sets)), 31 + 17);
    assert_eq!(sent(&json!({"speed": "standard", "mcp_servers": []}), HostedTools::Refused).unwrap().0, Vec::<String>::new());
}

#[test]
fn what_is_not_known_or_costs_more_is_taken_out_by_name() {
    let mine = json!({"name": "mine", "input_schema": {}});
    let deferred = json!({"name": "mine", "input_schema": {}, "defer_loading": true});
    for (more, dropped, left) in [
        (json!({"from_the_future": 1, "top_k": 5}), "from_the_future", json!({"top_k": 5})),
        (json!({"thread": {"type": "create"}}), "thread", json!({})),
        (json!({"speed": "fast"}), "speed", json!({})),
        (json!({"container": "c"}), "container", json!({})),
        (json!({"service_tier": "priority"}), "service_tier", json!({})),
        (
            json!({"context_management": {"edits": [{"type": "compact_20260112"}, {"type": "clear_thinking_20251015"}]}}),
            "context_management.edits:compact_20260112",
            json!({"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}),
        ),
        (
            json!({"context_management": {"edits": [{"type": "clear_thinking_fast_20251015"}, {"type": "clear_tool_uses_20250919"}]}}),
            "context_management.edits:clear_thinking_fast_20251015",
            json!({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        ),
        (
            json!({"tools": [mine, {"type": "tool_search_tool_regex", "name": "tool_search_tool_regex"}]}),
            "tools:tool_search_tool_regex",
            json!({"tools": [mine]}),
        ),
        (
            json!({"tools": [mine, {"type": "web_search_20250305", "name": "web_search"}]}),
            "tools:web_search_20250305",
            json!({"tools": [mine]}),
        ),
        (
            json!({"tools": [deferred, {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}]}),
            "tools:tool_search_tool_bm25_20251119",
            json!({"tools": [mine]}),
        ),
    ] {
        assert_eq!(sent(&more, HostedTools::Refused), Ok((vec![dropped.to_owned()], left)), "{more}");
    }
}

#[test]
fn what_would_make_no_sense_without_it_is_refused_by_name() {
    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8});
    for (more, says) in [
        (json!({"mcp_servers": [{"url": "https://x"}]}), "mcp_servers: "),
        (json!({"inference_geo": "us"}), "inference_geo: "),
        (json!({"compaction": {"type": "summarize"}}), "compaction: the provider summarises"),
        (json!({"compaction": {}}), "compaction: "),
        (json!({"compaction": true}), "compaction: "),
        (json!({"tools": [search]}), "tools: a tool of the type \"web_search_20250305\""),
        (
            json!({"tools": [search, {"name": "mine", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "web_search"}}),
            "tools: a tool of the type \"web_search_20250305\"",
        ),
        (json!({"tools": [{"type": "computer_toolset_20300101"}]}), "tools: the cost of a tool of type \"computer_toolset_20300101\""),
        (json!({"tools": [{"type": "computer_", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "bash_20250124 ", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "bash_2025-01-24", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "memory_search_20260101", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "web_search_premium_20300101", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "tool_search_tool_20251119", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "tool_search_tool_web_20251119", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "mcp_toolset_20300101", "name": "x"}]}), "tools: the cost"),
        (json!({"tools": [{"type": "from_the_future", "name": "x"}]}), "tools: the cost of a tool of type \"from_the_future\""),
        (json!({"thread": {"type": "continue", "previous_message_id": "msg_1"}}), "thread: "),
        (json!({"tools": 5}), "tools: "),
        (json!({"context_management": []}), "context_management: "),
    ] {
        let error = sent(&more, HostedTools::Refused).unwrap_err();
        assert!(error.starts_with(says), "{more}: {error}");
    }
}

#[test]
fn a_tool_that_a_message_defines_is_the_callers_own() {
    let adds = |definition: Value| {
        let block = json!({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}});
        json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": [block]}]})
    };
    let kept = json!({"messages": [{"role": "user", "content": [{"type": "compaction", "tool_changes": [{"tool": {
        "type": "tool_definition", "definition": {"type": "web_search_20250305", "name": "web_search"}}}]}]}]});
    let escaped = adds(json!({"type": "web_search_20250305", "name": "s"})).to_string().replace("tool_definition", "tool\\u005fdefinition");
    let by_reference = json!({"messages": [{"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "tool_name": "t"}}]}]});
    for (more, is_sent) in [
        (adds(json!({"name": "mine", "input_schema": {}})), true),
        (adds(json!({"type": "custom", "name": "mine", "input_schema": {}})), true),
        (adds(json!({"type": "bash_20250124", "name": "bash"})), true),
        (adds(json!({"type": "computer_toolset_20260801"})), true),
        (adds(json!({"type": "computer_toolset_20300101"})), false),
        (by_reference, true),
        (
            json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "make", "input":
            {"type": "tool_definition", "definition": {"type": "object"}}}]}]}),
            true,
        ),
        (adds(json!({"type": "web_search_20250305", "name": "web_search"})), false),
        (adds(json!({"type": "from_the_future", "name": "x"})), false),
        (kept, false),
    ] {
        for hosted in [HostedTools::Refused, HostedTools::Bounded] {
            let screened = screen(&body(&more), hosted).map_err(|error| error.to_string());
            assert_eq!(screened.is_ok(), is_sent, "{more}");
            assert!(
                screened.map_or_else(|error| error.starts_with("messages: a tool of the type"), |screened| screened.dropped.is_empty())
            );
        }
    }
    assert!(screen(&RawObject::parse(escaped.as_bytes()).unwrap(), HostedTools::Refused).is_err());
}

#[test]
fn where_the_key_allows_it_hosted_tools_are_sent_and_bounded() {
    let hosted = |more: Value| {
        let body = body(&more);
        let screened = screen(&body, HostedTools::Bounded).unwrap();
        assert!(screened.dropped.is_empty(), "{:?}", screened.dropped);
        (
            screened.hosted.rounds,
            screened.hosted.searches,
            screened.hosted.fee > Money::ZERO,
            screened.hosted.models.len(),
            screened.max_uses,
        )
    };
    let tool = |kind: &str, uses: Value| json!({"tools": [{"type": kind, "name": "t", "model": "claude-opus-4-8", "max_uses": uses}]});
    assert_eq!(hosted(tool("web_search_20250305", json!(3))), (3, 3, false, 0, None));
    assert_eq!(hosted(tool("web_search_20250305", json!(50))), (9, 50, false, 0, None));
    assert_eq!(hosted(tool("web_search_20260209", json!(3))), (9, 3, false, 0, None), "it runs code over what it finds");
    assert_eq!(hosted(tool("web_fetch_20250910", json!(2))), (2, 0, false, 0, None));
    assert_eq!(hosted(tool("code_execution_20250825", json!(null))), (9, 0, true, 0, None));
    assert_eq!(hosted(tool("advisor_20260301", json!(2))), (2, 0, false, 1, None));
    assert_eq!(hosted(tool("web_search_20250305", json!(null))), (5, 5, false, 0, Some(5)));
    assert_eq!(hosted(json!({"mcp_servers": [{"url": "https://x"}]})), (9, 0, false, 0, None));
    assert_eq!(hosted(json!({"context_management": {"edits": [{"type": "compact_20260112"}]}})), (1, 0, false, 0, None));
    assert_eq!(hosted(json!({"compaction": {"type": "summarize", "instructions": "Be short."}})), (1, 0, false, 0, None));
    // A limit that was put in is sent.
    let (_, sent) = sent(&json!({"tools": [{"type": "web_search_20250305", "name": "s"}]}), HostedTools::Bounded).unwrap();
    assert_eq!(sent["tools"][0]["max_uses"], 5);
}

#[test]
fn counting_tokens_is_free_and_refuses_no_tool() {
    let more = json!({"tools": [{"type": "from_the_future", "name": "x"}], "mcp_servers": [{"url": "https://x"}], "unknown": 1});
    let (dropped, sent) = sent(&more, HostedTools::Free).unwrap();
    assert_eq!((dropped, sent["tools"].is_array()), (vec!["unknown".to_owned()], true));
}

#[test]
fn a_name_that_decides_who_answers_or_what_is_paid_goes_to_no_provider() {
    for more in [json!({"Model": "x"}), json!({"MAX_TOKENS": 9}), json!({"maxTokens": 9}), json!({"models": ["x"]}), json!({"System": "x"})]
    {
        assert!(check_names(&body(&more)).is_err(), "{more}");
    }
    assert!(check_names(&body(&json!({"speed": null, "models": null, "system": "s", "fallbacks": ["m"]}))).is_ok());
    assert!(
        without_fallbacks(&body(&json!({"fallbacks": ["m"]})))
            .is_some_and(|(body, taken)| body.get("fallbacks").is_none() && taken == ["fallbacks"])
    );
    assert!(without_fallbacks(&body(&json!({}))).is_none());
}
