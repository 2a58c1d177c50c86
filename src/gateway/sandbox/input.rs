//! How many tokens a request has as input: its texts exactly, images and documents by the rules that the vendors publish, in round figures.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::words::{count, texts};

/// Tokens that a chat template adds around one message, and around the whole prompt (OpenAI's cookbook).
const TOKENS_PER_MESSAGE: u64 = 3;
/// An image at OpenAI in low detail, and one of 1024 by 1024 in high detail.
const OPENAI_IMAGE: (u64, u64) = (85, 765);
/// The largest image that Anthropic does not scale down: width by height through 750.
const ANTHROPIC_IMAGE: u64 = 1_600;
/// A page of a document: Anthropic's lower figure.
const TOKENS_PER_PAGE: u64 = 1_500;
/// Bytes of sound for a token.
const SOUND_BYTES_PER_TOKEN: u64 = 3_200;
/// Pages that a document may have.
pub(super) const PAGES_MAX: u64 = 100;
/// What is shorter is not kept in a cache.
const CACHED_TOKENS_MIN: u64 = 1_024;

/// The input of a chat request.
pub(super) fn of_chat(body: &Value) -> u64 {
    let messages = body["messages"].as_array().into_iter().flatten().map(|message| TOKENS_PER_MESSAGE + of_chat_message(message));
    let beside = ["tools", "functions", "response_format"].iter().map(|name| of_json(body.get(*name)));
    TOKENS_PER_MESSAGE + messages.chain(beside).sum::<u64>()
}

fn of_chat_message(message: &Value) -> u64 {
    let content = match &message["content"] {
        Value::Array(parts) => parts.iter().map(of_part).sum(),
        content => count(&texts(content)),
    };
    let calls = message["tool_calls"].as_array().into_iter().flatten().chain(message.get("function_call"));
    let texts_of = |call: &Value| {
        let function = ["function", "custom"].iter().find_map(|name| call.get(*name)).unwrap_or(call);
        ["name", "arguments", "input"].iter().map(|name| count(&texts(&function[*name]))).sum::<u64>()
    };
    content + calls.map(texts_of).sum::<u64>()
}

fn of_part(part: &Value) -> u64 {
    match part["type"].as_str().unwrap_or_default() {
        "image_url" | "input_image" | "image" => {
            let is_low = part.pointer("/image_url/detail").or_else(|| part.get("detail")).is_some_and(|detail| detail == "low");
            if is_low { OPENAI_IMAGE.0 } else { OPENAI_IMAGE.1 }
        }
        "input_audio" => {
            1 + part.pointer("/input_audio/data").and_then(Value::as_str).map_or(0, |data| data.len() as u64 / SOUND_BYTES_PER_TOKEN)
        }
        "file" => {
            let data = part.pointer("/file/file_data").and_then(Value::as_str).unwrap_or_default();
            pages(data.split_once(";base64,").map_or(data, |(_, data)| data)).min(PAGES_MAX) * TOKENS_PER_PAGE
        }
        _ => count(&texts(part)),
    }
}

/// The input of a messages request, and what of it goes into a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    /// All of it.
    pub(super) total: u64,
    /// What is kept for five minutes.
    pub(super) kept_5m: u64,
    /// What is kept for an hour.
    pub(super) kept_1h: u64,
    /// Up to the last place that was to be kept, for either time.
    marks: (u64, u64),
}

impl Input {
    /// Measures a request. It has no memory: what is to be cached is written each time and never read.
    pub(super) fn of_messages(body: &Value) -> Self {
        let mut input = Self { total: TOKENS_PER_MESSAGE, ..Self::default() };
        for tool in body["tools"].as_array().into_iter().flatten() {
            input.add(of_json(Some(tool)), tool);
        }
        input.add_content(&body["system"]);
        for message in body["messages"].as_array().into_iter().flatten() {
            input.total += TOKENS_PER_MESSAGE;
            input.add_content(&message["content"]);
        }
        let format = body.get("output_format").or_else(|| body.pointer("/output_config/format"));
        input.add(of_json(format), body);
        let (for_5m, for_1h) = input.marks;
        if for_5m.max(for_1h) >= CACHED_TOKENS_MIN {
            (input.kept_5m, input.kept_1h) = (for_5m.saturating_sub(for_1h), for_1h);
        }
        input
    }

    fn add_content(&mut self, content: &Value) {
        match content {
            Value::Array(blocks) => blocks.iter().for_each(|block| self.add(of_block(block), block)),
            content => self.total += count(&texts(content)),
        }
    }

    /// Adds a piece, which may end what is to be kept.
    fn add(&mut self, tokens: u64, piece: &Value) {
        self.total += tokens;
        if let Some(control) = piece.get("cache_control").filter(|control| control.is_object()) {
            let mark = if control["ttl"] == "1h" { &mut self.marks.1 } else { &mut self.marks.0 };
            *mark = self.total;
        }
    }

    /// What is neither written to a cache nor read from one.
    pub(super) const fn rest(&self) -> u64 {
        self.total.saturating_sub(self.kept_5m + self.kept_1h)
    }
}

fn of_block(block: &Value) -> u64 {
    let of_content = |content: &Value| match content {
        Value::Array(blocks) => blocks.iter().map(of_block).sum(),
        content => count(&texts(content)),
    };
    let named = |names: &[&str]| names.iter().map(|name| count(&texts(&block[*name]))).sum::<u64>();
    match block["type"].as_str().unwrap_or_default() {
        "text" => named(&["text"]),
        // What was thought before is not read again.
        "thinking" | "redacted_thinking" => 0,
        "image" => ANTHROPIC_IMAGE,
        "tool_use" => named(&["name"]) + of_json(block.get("input")),
        "tool_result" => of_content(&block["content"]),
        "search_result" => named(&["source", "title"]) + of_content(&block["content"]),
        "document" => {
            let source = &block["source"];
            let pages_of = |data: &Value| pages(data.as_str().unwrap_or_default()).min(PAGES_MAX) * TOKENS_PER_PAGE;
            named(&["title", "context"])
                + match source["type"].as_str().unwrap_or_default() {
                    "text" => count(&texts(&source["data"])),
                    "content" => of_content(&source["content"]),
                    "base64" => pages_of(&source["data"]),
                    _ => TOKENS_PER_PAGE,
                }
        }
        _ => of_json(Some(block)),
    }
}

/// JSON that a model reads: without what only says how it is kept.
fn of_json(value: Option<&Value>) -> u64 {
    match value {
        None | Some(Value::Null) => 0,
        Some(Value::Object(fields)) if fields.contains_key("cache_control") => {
            let read: Map<String, Value> = fields.clone().into_iter().filter(|(name, _)| name != "cache_control").collect();
            count(&Value::Object(read).to_string())
        }
        Some(value) => count(&value.to_string()),
    }
}

/// Pages of a PDF as they are declared in it, at least one. Where they are packed, one is counted.
pub(super) fn pages(base64: &str) -> u64 {
    let bytes = STANDARD.decode(base64.as_bytes()).unwrap_or_default();
    let is_page = |at: usize| {
        let rest = bytes[at + 5..].trim_ascii_start();
        rest.starts_with(b"/Page") && rest.get(5).is_none_or(|byte| !byte.is_ascii_alphanumeric())
    };
    (memchr::memmem::find_iter(&bytes, b"/Type").filter(|at| is_page(*at)).count() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_are_counted_where_they_can_be_seen() {
        let pdf = b"%PDF-1.4 <</Type /Pages /Count 2>> <</Type /Page>> <</Type/Page/Parent 1 0 R>>";
        assert_eq!((pages(&STANDARD.encode(pdf)), pages("AAAA"), pages("not base64")), (2, 1, 1));
    }

    #[test]
    fn what_is_to_be_cached_is_written_up_to_the_last_mark() {
        let long = "word ".repeat(1_500);
        let body = |ttl: &str| {
            json!({"system": [{"type": "text", "text": long, "cache_control": {"type": "ephemeral", "ttl": ttl}}],
                "messages": [{"role": "user", "content": [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]},
                    {"role": "user", "content": "and this"}]})
        };
        let (five, hour) = (Input::of_messages(&body("5m")), Input::of_messages(&body("1h")));
        assert_eq!((five.total, five.kept_1h), (hour.total, 0));
        assert!(five.kept_5m > 3_000 && five.rest() < 20, "{five:?}");
        assert_eq!((hour.kept_5m + hour.kept_1h, hour.rest()), (five.kept_5m, five.rest()));
        assert!(hour.kept_1h > 1_500 && hour.kept_5m > 1_500, "{hour:?}");
        let short = json!({"system": [{"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}}]});
        assert_eq!(Input::of_messages(&short).kept_5m, 0);
    }
}
