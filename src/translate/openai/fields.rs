//! Which fields of a chat request leave its cost to tokens.
//!
//! A provider may know fields that we do not: another model to fall back to, a search that costs a fee, a faster and dearer service. A field that is not on this list
//! could make the bound on the cost untrue, so the request is refused, by the field's name.

use serde::Deserialize;

use crate::translate::{BadRequest, field, members::look_alike, raw::RawObject};

/// Fields that choose how the model writes, and nothing that is billed apart.
const KNOWN: [&str; 55] = [
    "audio",
    "chat_template_kwargs",
    "enable_thinking",
    "frequency_penalty",
    "function_call",
    "functions",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "ignore_eos",
    "include_reasoning",
    "length_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "min_p",
    "min_tokens",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "random_seed",
    "reasoning",
    "reasoning_effort",
    "reasoning_format",
    "repetition_penalty",
    "response_format",
    "safe_prompt",
    "safety_identifier",
    "seed",
    "service_tier",
    "skip_special_tokens",
    "stop",
    "stop_token_ids",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "thinking",
    "thinking_budget",
    "tool_choice",
    "tools",
    "top_a",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// Fields that no provider gets: by them another model answers, or one answer is paid several times, or the caller writes the text around the messages.
const REFUSED: [(&str, &str); 4] = [
    ("best_of", "all of its answers are billed, and only one is returned; ask with n"),
    ("chat_template", "a template of one's own has no bound on its cost; leave it out"),
    ("fallbacks", "name one model here, and others in the header x-lava-fallbacks"),
    ("models", "name one model, as \"model\", and others in the header x-lava-fallbacks"),
];

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<std::borrow::Cow<'a, str>>,
}

/// Refuses what would change at any provider who answers or what is paid: by a field, or by a name that a reader takes for one that counts.
pub(super) fn check_names(body: &RawObject) -> Result<(), BadRequest> {
    check_names_of(body, &KNOWN)
}

/// The same for embeddings.
pub(super) fn check_embeddings(body: &RawObject) -> Result<(), BadRequest> {
    check_names_of(body, &["dimensions", "encoding_format", "input", "model", "user"])
}

fn check_names_of(body: &RawObject, known: &[&'static str]) -> Result<(), BadRequest> {
    let refused: [&'static str; REFUSED.len()] = REFUSED.map(|(name, _)| name);
    for name in body.names() {
        if let Some((field, expected)) = REFUSED.iter().find(|(field, _)| *field == name).filter(|_| is_set(body, name)) {
            return Err(BadRequest::Field { field, expected });
        }
        if let Some(meant) = look_alike(name, known).or_else(|| look_alike(name, &refused)) {
            return Err(BadRequest::look_alike(name, meant));
        }
    }
    Ok(())
}

fn is_set(body: &RawObject, name: &str) -> bool {
    body.get(name).is_some_and(|raw| raw.get() != "null")
}

/// Why the cost of a request is not bounded by its tokens, if it is not.
pub(super) fn unpriceable(body: &RawObject) -> Result<Option<String>, BadRequest> {
    if let Some((unknown, _)) = body.fields().find(|(name, raw)| raw.get() != "null" && KNOWN.binary_search(name).is_err()) {
        return Ok(Some(format!("the field \"{unknown}\" may be billed apart from tokens; leave it out")));
    }
    let tools: Vec<Tool<'_>> = field(body, "tools", "an array of tools")?.unwrap_or_default();
    let hosted = tools.iter().filter_map(|tool| tool.kind.as_deref()).find(|kind| !matches!(*kind, "function" | "custom"));
    if let Some(kind) = hosted {
        return Ok(Some(format!("a tool of type \"{kind}\" runs at the provider for a fee; only functions can be bounded")));
    }
    let tier: Option<String> = field(body, "service_tier", "a text such as \"default\"")?;
    Ok(match tier.as_deref() {
        None | Some("auto" | "default" | "flex" | "on_demand" | "standard" | "standard_only") => None,
        Some(tier) => Some(format!("the service_tier \"{tier}\" is billed above the list price; leave it out or say \"default\"")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_billed_apart_is_refused_by_name() {
        let reason = |more: serde_json::Value| {
            let mut body = json!({"model": "m", "messages": []});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            unpriceable(&RawObject::parse(body.to_string().as_bytes()).unwrap()).unwrap()
        };
        let functions = json!([{"type": "function", "function": {"name": "f"}}]);
        assert_eq!(reason(json!({"temperature": 1, "seed": 5, "tools": functions, "service_tier": "default", "prediction": null})), None);
        for (more, says) in [
            (json!({"web_search_options": {}}), "web_search_options"),
            (json!({"plugins": [{"id": "web"}]}), "plugins"),
            (json!({"search_parameters": {}}), "search_parameters"),
            (json!({"prediction": {"type": "content"}}), "prediction"),
            (json!({"tools": [{"type": "web_search"}]}), "web_search"),
            (json!({"service_tier": "priority"}), "priority"),
        ] {
            assert!(reason(more.clone()).unwrap().contains(says), "{more}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_has_no_field_twice() {
        assert!(KNOWN.is_sorted() && KNOWN.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn a_name_that_decides_who_answers_or_what_is_paid_goes_to_no_provider() {
        let check = |more: &str| check_names(&RawObject::parse(format!(r#"{{"model":"m","messages":[],{more}}}"#).as_bytes()).unwrap());
        for (more, says) in [
            (r#""models":["expensive"]"#, "models: "),
            (r#""chat_template":"{{ 1 }}""#, "chat_template: "),
            (r#""best_of":5"#, "best_of: "),
            (r#""Model":"expensive""#, "\"model\""),
            (r#""MAX_TOKENS":10000"#, "\"max_tokens\""),
            (r#""maxCompletionTokens":10000"#, "\"max_completion_tokens\""),
            (r#""Models":["expensive"]"#, "\"models\""),
            (r#""N":50"#, "\"n\""),
        ] {
            let error = check(more).unwrap_err().to_string();
            assert!(error.contains(says), "{more}: {error}");
        }
        for more in [r#""models":null"#, r#""documents":[]"#, r#""max_tokens":5"#] {
            assert!(check(more).is_ok(), "{more}");
        }
    }
}
