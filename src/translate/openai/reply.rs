//! Where a reply of the OpenAI dialect says what was used.

use serde_json::Value;

use crate::domain::Usage;

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

/// What one chunk of a stream, or a whole reply, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The usage block, if it is there.
    pub usage: Option<Usage>,
    /// Bytes of text, reasoning and tool arguments.
    pub visible_bytes: u64,
    /// Whether there is nothing but usage in it: the extra chunk of `include_usage`.
    pub is_usage_only: bool,
    /// Whether it is an error report instead of an answer.
    pub is_error: bool,
}

/// Looks into a chunk or a reply; `None` when it is not a JSON object.
pub fn inspect(payload: &[u8]) -> Option<Seen> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let object = value.as_object()?;
    let usage = object.get("usage").and_then(usage);
    let choices = object.get("choices").and_then(Value::as_array);
    let visible_bytes =
        choices.into_iter().flatten().map(|choice| choice.get("delta").or_else(|| choice.get("message")).map_or(0, text_bytes)).sum();
    Some(Seen {
        usage,
        visible_bytes,
        is_usage_only: usage.is_some() && choices.is_some_and(Vec::is_empty),
        is_error: choices.is_none() && object.contains_key("error"),
    })
}

/// Bytes of all texts below a message or delta, but for its role, ids and kinds.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| !matches!(name.as_str(), "role" | "id" | "type")).map(|(_, value)| text_bytes(value)).sum()
        }
        _ => 0,
    }
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
