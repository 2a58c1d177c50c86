//! Where a reply of the OpenAI dialect says what was used.
//!
//! Providers put the usage block at the top level, into a choice (Moonshot), or below `x_groq`; with the last part of the answer, or in a chunk of its own with
//! `choices` empty, null or absent. What contradicts itself is read as the larger.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::TIERS;
use crate::{
    domain::Usage,
    translate::{
        raw::RawObject,
        reply::{Count, Seen, Service, TextBytes, begins_as_object, count, says_only},
    },
};

/// A usage block, with the names that providers have for the same things.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Block {
    prompt_tokens: Option<Count>,
    input_tokens: Option<Count>,
    completion_tokens: Option<Count>,
    output_tokens: Option<Count>,
    total_tokens: Option<Count>,
    /// Moonshot's.
    cached_tokens: Option<Count>,
    /// DeepSeek's.
    prompt_cache_hit_tokens: Option<Count>,
    reasoning_tokens: Option<Count>,
    prompt_tokens_details: Option<InputDetails>,
    input_tokens_details: Option<InputDetails>,
    completion_tokens_details: Option<OutputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<Count>,
    cache_write_tokens: Option<Count>,
    audio_tokens: Option<Count>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<Count>,
    audio_tokens: Option<Count>,
}

/// Reads a usage block. `None` when there is none, or a counter in it is not a number of zero or more.
///
/// Some providers leave reasoning out of the completion (xAI, Gemini): the total says so, or that there was more reasoning than completion.
pub fn usage(block: &str) -> Option<Usage> {
    let block: Block = serde_json::from_str(block).ok()?;
    block.prompt_tokens.or(block.input_tokens)?;
    let input = count(block.prompt_tokens).max(count(block.input_tokens));
    let input_details = block.prompt_tokens_details.or(block.input_tokens_details).unwrap_or_default();
    let output_details = block.completion_tokens_details.or(block.output_tokens_details).unwrap_or_default();
    let completion = count(block.completion_tokens).max(count(block.output_tokens));
    let reasoning = count(output_details.reasoning_tokens).max(count(block.reasoning_tokens));
    let by_total = completion.max(count(block.total_tokens).saturating_sub(input));
    Some(Usage {
        input,
        cache_read: count(input_details.cached_tokens.or(block.cached_tokens).or(block.prompt_cache_hit_tokens)),
        cache_write: count(input_details.cache_write_tokens),
        cache_write_1h: 0,
        audio_input: count(input_details.audio_tokens),
        output: if reasoning > by_total { completion.saturating_add(reasoning) } else { by_total },
        reasoning,
        audio_output: count(output_details.audio_tokens),
    })
}

/// What is read of a reply or chunk.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    x_groq: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    /// vLLM: `error` for an error.
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
    /// MiniMax: how it went, with HTTP status 200 in any case.
    #[serde(borrow, default)]
    base_resp: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    delta: Option<TextBytes>,
    #[serde(default)]
    message: Option<TextBytes>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Groq<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BaseResponse {
    #[serde(default)]
    status_code: i64,
}

/// Looks into a chunk or a reply; `None` when it is not a JSON object of that form.
pub fn inspect(payload: &[u8]) -> Option<Seen> {
    if payload.trim_ascii() == b"[DONE]" {
        return Some(Seen { is_end: true, ..Seen::default() });
    }
    if !begins_as_object(payload) {
        return None;
    }
    let reply: Reply<'_> = serde_json::from_slice(payload).ok()?;
    let groq = reply.x_groq.and_then(|raw| serde_json::from_str::<Groq<'_>>(raw.get()).ok()?.usage);
    let choices = reply.choices.as_deref().unwrap_or_default();
    let blocks = [reply.usage, groq].into_iter().chain(choices.iter().map(|choice| choice.usage)).flatten();
    let usage = blocks.filter_map(|block| usage(block.get())).reduce(Usage::max_each);
    let visible_bytes = choices.iter().filter_map(|choice| choice.delta.or(choice.message)).map(|TextBytes(bytes)| bytes).sum();
    let says = |raw: Option<&RawValue>, word: &str| raw.is_some_and(|raw| raw.get() == word);
    let has_failed = |raw: &RawValue| serde_json::from_str::<BaseResponse>(raw.get()).is_ok_and(|response| response.status_code != 0);
    let is_error = reply.error.is_some()
        || says(reply.object, "\"error\"")
        || reply.base_resp.is_some_and(has_failed)
        || choices.iter().any(|choice| choice.error.is_some() || says(choice.finish_reason, "\"error\""));
    // Also where it cannot be read: nobody asked for it.
    let is_usage_only = reply.usage.is_some() && choices.is_empty() && !is_error;
    let is_listed = says_only(reply.service_tier, &TIERS) || says_only(reply.service_tier, &["batch"]);
    Some(Seen {
        searches: 0,
        service: if is_listed { Service::Listed } else { Service::Unlisted },
        usage,
        others: Vec::new(),
        visible_bytes,
        is_usage_only,
        is_finish: (is_usage_only && usage.is_some()) || choices.iter().any(|choice| choice.finish_reason.is_some()),
        is_error,
        is_end: false,
    })
}

/// A chunk without its usage, for a caller who did not ask for it; the rest keeps its bytes. `None` when there is nothing to take out.
pub fn without_usage(payload: &[u8]) -> Option<Vec<u8>> {
    let mut chunk = RawObject::parse(payload).ok()?;
    chunk.remove("usage").then(|| chunk.to_bytes())
}

/// A chunk that only reports usage, as OpenAI has it: with an empty list of choices, which clients go through. `None` when it has a list.
pub fn with_choices(payload: &[u8]) -> Option<Vec<u8>> {
    let mut chunk = RawObject::parse(payload).ok()?;
    let has_list = chunk.get("choices").is_some_and(|choices| choices.get().starts_with('['));
    (!has_list).then(|| {
        chunk.set("choices", &Vec::<()>::new());
        chunk.to_bytes()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_inclusive_whatever_the_provider_reports() {
        let of = |input, cache_read, output, reasoning| Usage { input, cache_read, output, reasoning, ..Usage::default() };
        for (name, block, expected) in [
            (
                "OpenAI",
                json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60},
                    "completion_tokens_details": {"reasoning_tokens": 15}}),
                of(100, 60, 20, 15),
            ),
            ("xAI, by the total", json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40}), of(10, 0, 30, 0)),
            (
                "reasoning beside, in the total",
                json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 410, "completion_tokens_details": {"reasoning_tokens": 300}}),
                of(100, 0, 310, 300),
            ),
            (
                "reasoning beside, not in the total",
                json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "completion_tokens_details": {"reasoning_tokens": 300}}),
                of(100, 0, 310, 300),
            ),
            ("Moonshot", json!({"prompt_tokens": 10_000, "completion_tokens": 10, "cached_tokens": 9_000}), of(10_000, 9_000, 10, 0)),
            ("DeepSeek", json!({"prompt_tokens": 100, "completion_tokens": 1, "prompt_cache_hit_tokens": 64}), of(100, 64, 1, 0)),
            ("other names", json!({"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}), of(100, 0, 10, 0)),
            ("floats", json!({"prompt_tokens": 100.0, "completion_tokens": 10.5}), of(100, 0, 11, 0)),
            ("text", json!({"prompt_tokens": "5", "completion_tokens": "7"}), of(5, 0, 7, 0)),
            ("nulls", json!({"prompt_tokens": 5, "completion_tokens": null, "prompt_tokens_details": null}), of(5, 0, 0, 0)),
        ] {
            assert_eq!(usage(&block.to_string()), Some(expected), "{name}");
        }
        for bad in [json!({}), json!(null), json!({"prompt_tokens": "many"}), json!({"prompt_tokens": -5}), json!({"total_tokens": 0})] {
            assert_eq!(usage(&bad.to_string()), None, "{bad}");
        }
    }

    #[test]
    fn usage_is_found_wherever_it_stands() {
        let used = json!({"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110});
        let part = |more: serde_json::Value| {
            let mut choice = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
            choice.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            choice
        };
        for (chunk, is_usage_only) in [
            (json!({"choices": [], "usage": used}), true),
            (json!({"choices": null, "usage": used}), true),
            (json!({"usage": used}), true),
            (json!({"choices": [part(json!({}))], "usage": used}), false),
            (json!({"choices": [part(json!({"usage": used}))]}), false),
            (json!({"choices": [part(json!({}))], "x_groq": {"id": "r", "usage": used}}), false),
            (json!({"choices": [part(json!({}))], "usage": null, "x_groq": {"usage": used}}), false),
        ] {
            let seen = inspect(chunk.to_string().as_bytes()).unwrap();
            assert_eq!((seen.usage, seen.is_usage_only, seen.is_finish), (Some(Usage::text(100, 10)), is_usage_only, true), "{chunk}");
        }
        assert_eq!(inspect(br#"{"choices":[],"usage":null}"#).unwrap(), Seen::default());
    }

    #[test]
    fn a_service_above_the_price_list_is_seen() {
        use Service::{Listed, Unlisted};
        for (tier, expected) in [
            (json!(null), Listed),
            (json!(""), Listed),
            (json!("default"), Listed),
            (json!("auto"), Listed),
            (json!("flex"), Listed),
            (json!("batch"), Listed),
            (json!("on_demand"), Listed),
            (json!("priority"), Unlisted),
            (json!("fast"), Unlisted),
            (json!("scale"), Unlisted),
            (json!("from the future"), Unlisted),
            (json!({"name": "default"}), Unlisted),
        ] {
            let used = json!({"prompt_tokens": 1, "completion_tokens": 1});
            for reply in [
                json!({"choices": [], "service_tier": tier, "usage": used}),
                json!({"choices": [{"delta": {"content": "a"}}], "service_tier": tier, "usage": used}),
            ] {
                let seen = inspect(reply.to_string().as_bytes()).unwrap();
                assert_eq!((seen.service, seen.usage), (expected, Some(Usage::text(1, 1))), "{reply}");
            }
        }
    }

    #[test]
    fn an_error_beside_an_answer_is_an_error() {
        for (reply, is_error) in [
            (json!({"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "error"}], "error": {"code": 502}}), true),
            (json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}), true),
            (json!({"choices": [{"index": 0, "delta": {}, "error": {"code": 502}}]}), true),
            (json!({"choices": [], "error": {"message": "too long"}}), true),
            (json!({"object": "error", "message": "m"}), true),
            (json!({"choices": null, "usage": {"total_tokens": 0}, "base_resp": {"status_code": 1002}}), true),
            (json!({"choices": [{"index": 0, "message": {"content": "a"}}], "error": null, "base_resp": {"status_code": 0}}), false),
        ] {
            assert_eq!(inspect(reply.to_string().as_bytes()).unwrap().is_error, is_error, "{reply}");
        }
    }

    #[test]
    fn usage_is_taken_out_and_the_rest_keeps_its_bytes() {
        let chunk = br#"{"id":"c", "n":1.10,"usage":{"prompt_tokens":1},"choices":[ {"delta":{}} ]}"#;
        assert_eq!(without_usage(chunk).unwrap(), br#"{"id":"c","n":1.10,"choices":[ {"delta":{}} ]}"#);
        assert_eq!(without_usage(br#"{"choices":[]}"#), None);
    }
}
