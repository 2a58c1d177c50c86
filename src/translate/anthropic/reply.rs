//! Where a reply or a stream of the Anthropic dialect says what was used.
//!
//! `input_tokens` leaves out what was read from or written to a cache; those are counted beside it. In a stream, `message_start` has the input and
//! `message_delta` the running total of the output; hidden reasoning is part of the output.

use serde::{Deserialize, de::IgnoredAny};

use crate::{
    domain::Usage,
    translate::reply::{Seen, TextBytes},
};

/// The usage block of a reply or an event.
#[derive(Deserialize)]
struct Block {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation: Option<CacheCreation>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct CacheCreation {
    #[serde(default)]
    ephemeral_1h_input_tokens: Option<u64>,
    #[serde(default)]
    ephemeral_5m_input_tokens: Option<u64>,
}

impl Block {
    fn to_usage(&self) -> Option<Usage> {
        if self.input_tokens.is_none() && self.output_tokens.is_none() {
            return None;
        }
        let cache_read = self.cache_read_input_tokens.unwrap_or(0);
        let part = |read: fn(&CacheCreation) -> Option<u64>| self.cache_creation.as_ref().and_then(read).unwrap_or(0);
        let for_an_hour = part(|creation| creation.ephemeral_1h_input_tokens);
        let parts = for_an_hour.saturating_add(part(|creation| creation.ephemeral_5m_input_tokens));
        let written = self.cache_creation_input_tokens.unwrap_or(0).max(parts);
        Some(Usage {
            input: self.input_tokens.unwrap_or(0).saturating_add(cache_read).saturating_add(written),
            cache_read,
            cache_write: written - for_an_hour,
            cache_write_1h: for_an_hour,
            output: self.output_tokens.unwrap_or(0),
            ..Usage::default()
        })
    }
}

/// Reads the usage block of a reply. `None` when there is none, or it is no set of whole numbers.
pub fn usage(block: &str) -> Option<Usage> {
    serde_json::from_str::<Block>(block).ok()?.to_usage()
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a str>,
    /// Of a whole reply and of `message_delta`.
    #[serde(borrow, default)]
    usage: Option<&'a serde_json::value::RawValue>,
    /// Of `message_start`.
    #[serde(borrow, default)]
    message: Option<Start<'a>>,
    #[serde(default)]
    content: Option<TextBytes>,
    #[serde(default)]
    delta: Option<TextBytes>,
    #[serde(default)]
    content_block: Option<TextBytes>,
    #[serde(default)]
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Start<'a> {
    #[serde(borrow, default)]
    usage: Option<&'a serde_json::value::RawValue>,
}

/// Looks into an event or a reply; `None` when it is not a JSON object of that form.
pub fn inspect(payload: &[u8]) -> Option<Seen> {
    let reply: Reply<'_> = serde_json::from_slice(payload).ok()?;
    // The running total of the output stands in `message_delta`; `message_start` only has its beginning.
    let is_whole = matches!(reply.kind, Some("message_delta" | "message"));
    let block = reply.usage.or(reply.message.and_then(|message| message.usage));
    let visible_bytes = [reply.content, reply.delta, reply.content_block].into_iter().flatten().map(|TextBytes(bytes)| bytes).sum();
    let usage = block.and_then(|raw| usage(raw.get()));
    Some(Seen {
        usage,
        visible_bytes,
        is_usage_only: false,
        is_finish: is_whole && usage.is_some_and(|usage| usage.output > 0),
        is_error: reply.kind == Some("error") || (reply.kind.is_none() && reply.error.is_some()),
        is_end: reply.kind == Some("message_stop"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_input_contains_what_was_read_from_and_written_to_a_cache() {
        let block = json!({"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}, "output_tokens": 7});
        let expected = Usage { input: 160, cache_read: 100, cache_write: 20, cache_write_1h: 30, output: 7, ..Usage::default() };
        assert_eq!(usage(&block.to_string()), Some(expected));
        let nulls = json!({"input_tokens": 10, "cache_read_input_tokens": null, "cache_creation": null, "output_tokens": 7});
        assert_eq!(usage(&nulls.to_string()), Some(Usage::text(10, 7)));
        for bad in [json!({}), json!({"input_tokens": -1, "output_tokens": 1}), json!({"input_tokens": "1"})] {
            assert_eq!(usage(&bad.to_string()), None, "{bad}");
        }
    }

    #[test]
    fn the_events_of_a_stream_are_understood() {
        let see = |value: serde_json::Value| inspect(value.to_string().as_bytes()).unwrap();
        let start = see(json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}}));
        assert_eq!(start.usage, Some(Usage::text(9, 1)));
        let delta = see(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "abc"}}));
        assert_eq!((delta.visible_bytes, delta.usage), (3, None));
        let last = see(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}));
        assert_eq!(last.usage, Some(Usage::text(0, 5)));
        assert!(see(json!({"type": "message_stop"})).is_end);
        assert!(see(json!({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})).is_error);
        assert_eq!(inspect(b"[DONE]"), None);
    }
}
