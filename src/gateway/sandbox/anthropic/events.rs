//! The events in which a message is streamed.

use serde_json::{Value, json};

use super::blocks::Block;
use crate::translate::sse::Event;

pub(super) fn of(message: &Value, blocks: &[Block]) -> Vec<Event> {
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["stop_sequence"] = Value::Null;
    start["usage"]["output_tokens"] = 1.into();
    start["usage"]["output_tokens_details"] = Value::Null;
    let mut payloads = vec![json!({"type": "message_start", "message": start})];
    for (index, block) in blocks.iter().enumerate() {
        payloads.push(json!({"type": "content_block_start", "index": index, "content_block": empty(block)}));
        if index == 0 {
            payloads.push(json!({"type": "ping"}));
        }
        payloads.extend(deltas(block).into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        payloads.push(json!({"type": "content_block_stop", "index": index}));
    }
    let names = [
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
        "server_tool_use",
    ];
    let usage: serde_json::Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), message["usage"][*name].clone())).collect();
    let mut end = json!({
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"], "stop_details": null, "container": null},
        "usage": usage,
    });
    if let Some(management) = message.get("context_management") {
        end["context_management"] = management.clone();
    }
    payloads.push(end);
    payloads.push(json!({"type": "message_stop"}));
    payloads.iter().map(|payload| Event::new(payload["type"].as_str(), payload)).collect()
}

/// A block before anything was written into it.
fn empty(block: &Block) -> Value {
    let mut empty = block.to_json();
    match block {
        Block::Thinking { .. } => {
            empty["thinking"] = "".into();
            empty["signature"] = "".into();
        }
        Block::Text { .. } => empty["text"] = "".into(),
        Block::Tool { .. } => empty["input"] = json!({}),
    }
    empty
}

fn deltas(block: &Block) -> Vec<Value> {
    // Half of a character is not an event.
    let pieces = block.written().pieces().into_iter().filter(|piece| !piece.is_empty());
    match block {
        Block::Thinking { is_shown, .. } => {
            let thoughts = pieces.filter(|_| *is_shown).map(|piece| json!({"type": "thinking_delta", "thinking": piece}));
            let signature = Some(block.signature()).filter(|signature| !signature.is_empty());
            thoughts.chain(signature.map(|signature| json!({"type": "signature_delta", "signature": signature}))).collect()
        }
        Block::Text { .. } => pieces.map(|piece| json!({"type": "text_delta", "text": piece})).collect(),
        Block::Tool { .. } => {
            [String::new()].into_iter().chain(pieces).map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).collect()
        }
    }
}
