//! Where a reply of the OpenAI dialect says what was used.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};

use crate::{
    domain::Usage,
    translate::reply::{Seen, TextBytes},
};

/// Reads the usage block of a reply or a stream's chunk. `None` when there is none, or it is no set of whole numbers.
///
/// Some providers (xAI) leave reasoning out of `completion_tokens`; `total_tokens` then tells. DeepSeek names its cache counter differently.
pub fn usage(block: &Value) -> Option<Usage> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
    let input = number(block, "prompt_tokens")?;
    let completion = number(block, "completion_tokens").unwrap_or(0);
    let total = number(block, "total_tokens").unwrap_or(0);
    let none = Value::Null;
    let input_details = block.get("prompt_tokens_details").unwrap_or(&none);
    let output_details = block.get("completion_tokens_details").unwrap_or(&none);
    Some(Usage {
        input,
        cache_read: number(input_details, "cached_tokens").or_else(|| number(block, "prompt_cache_hit_tokens")).unwrap_or(0),
        cache_write: number(input_details, "cache_write_tokens").unwrap_or(0),
        cache_write_1h: 0,
        audio_input: number(input_details, "audio_tokens").unwrap_or(0),
        output: completion.max(total.saturating_sub(input)),
        reasoning: number(output_details, "reasoning_tokens").unwrap_or(0),
        audio_output: number(output_details, "audio_tokens").unwrap_or(0),
    })
}

/// What is read of a reply or chunk.
#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Option<TextBytes>,
    #[serde(default)]
    message: Option<TextBytes>,
    #[serde(default)]
    finish_reason: Option<IgnoredAny>,
}

/// Looks into a chunk or a reply; `None` when it is not a JSON object of that form.
pub fn inspect(payload: &[u8]) -> Option<Seen> {
    if payload == b"[DONE]" {
        return Some(Seen { is_end: true, ..Seen::default() });
    }
    let reply: Reply<'_> = serde_json::from_slice(payload).ok()?;
    let usage = reply.usage.and_then(|raw| usage(&serde_json::from_str(raw.get()).ok()?));
    let visible_bytes =
        reply.choices.iter().flatten().filter_map(|choice| choice.delta.or(choice.message)).map(|TextBytes(bytes)| bytes).sum();
    let is_usage_only = usage.is_some() && reply.choices.as_ref().is_some_and(Vec::is_empty);
    Some(Seen {
        usage,
        visible_bytes,
        is_usage_only,
        is_finish: is_usage_only || reply.choices.iter().flatten().any(|choice| choice.finish_reason.is_some()),
        is_error: reply.choices.is_none() && reply.error.is_some(),
        is_end: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_inclusive_whatever_the_provider_reports() {
        let openai = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 15}});
        assert_eq!(usage(&openai), Some(Usage { input: 100, cache_read: 60, output: 20, reasoning: 15, ..Usage::default() }));
        let xai = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40});
        assert_eq!(usage(&xai).unwrap().output, 30);
        for bad in [json!({}), json!(null), json!({"prompt_tokens": "5"}), json!({"prompt_tokens": -5}), json!({"prompt_tokens": 1.5})] {
            assert_eq!(usage(&bad), None, "{bad}");
        }
    }
}
