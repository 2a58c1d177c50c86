//! Whatever body is sent, its bound is at least what a reader finds in it, for a tokenizer with a token for every byte; and finding it never panics.

#![no_main]

use bytes::Bytes;
use lava_mcp::translate::{anthropic::MessagesRequest, openai::ChatRequest};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    // As a body, and as the content of one.
    check(&Bytes::copy_from_slice(bytes));
    let content: Value = serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into());
    for role in ["user", "tool", "system"] {
        check(&Bytes::from(json!({"model": "m", "max_tokens": 1, "messages": [{"role": role, "content": content}]}).to_string()));
    }
    check(&Bytes::from(json!({"model": "m", "max_tokens": 1, "messages": [], "tools": [content]}).to_string()));
});

fn check(body: &Bytes) {
    let read: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Ok(request) = ChatRequest::parse(body) {
        hold(&read, &["messages", "tools"], request.bound().tokens(None), request.count_tokens(|text| text.len() as u64));
    }
    if let Ok(request) = MessagesRequest::parse(body) {
        hold(&read, &["messages", "system", "tools"], request.bound().tokens(None), request.count_tokens(|text| text.len() as u64));
    }
}

fn hold(read: &Value, fields: &[&str], bound: Option<u64>, counted: Option<u64>) {
    let texts: u64 = fields.iter().map(|field| text_bytes(&read[*field])).sum();
    let Some(bound) = bound else { return };
    assert!(bound >= texts, "{bound} of {texts}: {read}");
    if let Some(counted) = counted {
        assert!((texts..=bound).contains(&counted), "{counted} of {texts} to {bound}: {read}");
    }
}

/// The bytes of all texts that a model may read, but for those of images, which have a price of their own.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) if fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind.contains("image")) => 0,
        // What only caches and kinds say is not read.
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| !matches!(name.as_str(), "type" | "cache_control")).map(|(_, value)| text_bytes(value)).sum()
        }
        _ => 0,
    }
}
