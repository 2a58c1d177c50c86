//! Which fields of a messages request leave its cost to tokens. As in the OpenAI dialect, what is not on the list is refused by its name.

use std::borrow::Cow;

use serde::Deserialize;

use crate::translate::{BadRequest, field, members::look_alike, raw::RawObject};

/// Fields that choose how the model writes, and nothing that is billed apart.
const KNOWN: [&str; 19] = [
    "cache_control",
    "context_management",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];
/// Tools that the caller runs and the provider knows by their type: they cost tokens only.
const RUN_BY_THE_CALLER: [&str; 4] = ["bash_", "computer_", "memory_", "text_editor_"];

#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ContextManagement<'a> {
    #[serde(borrow, default)]
    edits: Vec<Typed<'a>>,
}

/// The types of the tools that the provider knows by their type.
fn typed_tools(body: &RawObject) -> Result<Vec<String>, BadRequest> {
    let tools: Vec<Typed<'_>> = field(body, "tools", "an array of tools")?.unwrap_or_default();
    Ok(tools.into_iter().filter_map(|tool| tool.kind).filter(|kind| kind != "custom").map(Cow::into_owned).collect())
}

/// How many tools the provider describes to the model by itself.
pub(super) fn typed_count(body: &RawObject) -> u64 {
    typed_tools(body).map_or(0, |kinds| kinds.len() as u64)
}

/// Why the cost of a request is not bounded by its tokens, if it is not.
pub(super) fn unpriceable(body: &RawObject) -> Result<Option<String>, BadRequest> {
    let hosted = typed_tools(body)?.into_iter().find(|kind| !RUN_BY_THE_CALLER.iter().any(|known| kind.starts_with(known)));
    let reason = unknown_field(body).or_else(|| {
        hosted.map(|kind| format!("a tool of type \"{kind}\" runs at the provider for a fee; only tools you run can be bounded"))
    });
    reason.map_or_else(|| dearer_service(body), |reason| Ok(Some(reason)))
}

/// Refuses what would change at any provider who answers: a field, or a name that a reader takes for one that counts.
pub(super) fn check_names(body: &RawObject) -> Result<(), BadRequest> {
    const REFUSED: [&str; 2] = ["fallbacks", "models"];
    for (name, raw) in body.fields() {
        if let Some(field) = REFUSED.into_iter().find(|field| *field == name && raw.get() != "null") {
            return Err(BadRequest::Field { field, expected: "name one model, as \"model\", and others in the header x-lava-fallbacks" });
        }
        if KNOWN.binary_search(&name).is_err()
            && let Some(meant) = look_alike(name, &KNOWN).or_else(|| look_alike(name, &REFUSED))
        {
            return Err(BadRequest::look_alike(name, meant));
        }
    }
    Ok(())
}

fn unknown_field(body: &RawObject) -> Option<String> {
    let (unknown, _) = body.fields().find(|(name, raw)| raw.get() != "null" && KNOWN.binary_search(name).is_err())?;
    Some(format!("the field \"{unknown}\" may be billed apart from tokens; leave it out"))
}

fn dearer_service(body: &RawObject) -> Result<Option<String>, BadRequest> {
    let geo: Option<String> = field(body, "inference_geo", "a text such as \"global\"")?;
    if geo.is_some_and(|geo| geo != "global") {
        return Ok(Some("another inference_geo than \"global\" is billed above the list price; leave it out".to_owned()));
    }
    let tier: Option<String> = field(body, "service_tier", "\"auto\" or \"standard_only\"")?;
    if tier.is_some_and(|tier| !matches!(tier.as_str(), "auto" | "standard_only")) {
        return Ok(Some("this service_tier may be billed above the list price; leave it out".to_owned()));
    }
    // An edit that clears only shortens the input; one that summarises lets the model run once more.
    let management: Option<ContextManagement<'_>> = field(body, "context_management", "an object with edits")?;
    let edits = management.map(|management| management.edits).unwrap_or_default();
    let other = edits.iter().any(|edit| !edit.kind.as_deref().is_some_and(|kind| kind.starts_with("clear_")));
    Ok(other.then(|| {
        "this edit of context_management lets the model run once more, at a cost that has no bound; only clear_… can be bounded".to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body(more: &Value) -> RawObject {
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": []});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        RawObject::parse(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_may_be_billed_apart_is_refused_by_name() {
        for (more, says) in [
            (json!({"mcp_servers": []}), "mcp_servers"),
            (json!({"speed": "fast"}), "speed"),
            (json!({"container": "c"}), "container"),
            (json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), "web_search_20250305"),
            (json!({"tools": [{"type": "code_execution_20250825", "name": "x"}]}), "code_execution"),
            (json!({"inference_geo": "us"}), "inference_geo"),
            (json!({"service_tier": "priority"}), "service_tier"),
            (json!({"context_management": {"edits": [{"type": "compact_20260112"}]}}), "context_management"),
        ] {
            let reason = unpriceable(&body(&more)).unwrap();
            assert!(reason.as_ref().is_some_and(|reason| reason.contains(says)), "{more}: {reason:?}");
        }
    }

    #[test]
    fn what_costs_tokens_only_passes() {
        let known = body(&json!({
            "tools": [{"name": "mine", "input_schema": {}}, {"type": "custom", "name": "c"}, {"type": "bash_20250124", "name": "bash"}],
            "thinking": {"type": "enabled", "budget_tokens": 1024}, "service_tier": "auto", "speed": null, "inference_geo": "global",
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        }));
        assert_eq!((typed_count(&known), unpriceable(&known).unwrap()), (1, None));
    }

    #[test]
    fn a_name_that_decides_who_answers_or_what_is_paid_goes_to_no_provider() {
        for more in
            [json!({"Model": "x"}), json!({"MAX_TOKENS": 9}), json!({"maxTokens": 9}), json!({"models": ["x"]}), json!({"System": "x"})]
        {
            assert!(check_names(&body(&more)).is_err(), "{more}");
        }
        assert!(check_names(&body(&json!({"speed": null, "models": null, "system": "s"}))).is_ok());
        assert!(KNOWN.is_sorted());
    }
}
