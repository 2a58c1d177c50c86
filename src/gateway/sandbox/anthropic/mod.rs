//! The sandbox in the Anthropic dialect: `messages`, plain and streamed, and `messages/count_tokens`.

mod blocks;
mod check;
mod events;

use serde_json::{Value, json};

use self::blocks::Block;
use super::{Made, Refusal, ids, input::Input, words::End};

/// Counts the tokens of a request.
pub(super) fn count_tokens(body: &Value) -> Result<Made, Refusal> {
    check::check(body)?;
    let tokens = Input::of_messages(body).total;
    let mut counted = json!({"input_tokens": tokens});
    if body.get("context_management").is_some_and(Value::is_object) {
        counted["context_management"] = json!({"original_input_tokens": tokens});
    }
    Ok(Made::Plain(counted))
}

/// Answers a request.
pub(super) fn message(model: &str, body: &Value) -> Result<Made, Refusal> {
    check::check(body)?;
    let blocks = blocks::write(body, model)?;
    let is_tool = blocks.iter().any(|block| matches!(block, Block::Tool { .. }));
    let (stop_reason, stop_sequence) = match blocks.last().map(|block| &block.written().end) {
        Some(End::Cap) => ("max_tokens", None),
        Some(End::Stop(stop)) => ("stop_sequence", Some(stop.clone())),
        _ if is_tool => ("tool_use", None),
        _ => ("end_turn", None),
    };
    let mut message = json!({
        "id": ids::message(), "type": "message", "role": "assistant", "model": model,
        "content": blocks.iter().map(Block::to_json).collect::<Vec<_>>(),
        "stop_reason": stop_reason, "stop_sequence": stop_sequence, "stop_details": null, "container": null,
        "usage": usage(body, &blocks),
    });
    if body.get("context_management").is_some_and(Value::is_object) {
        message["context_management"] = json!({"applied_edits": []});
    }
    Ok(if body["stream"] == true { Made::Stream(events::of(&message, &blocks)) } else { Made::Plain(message) })
}

fn usage(body: &Value, blocks: &[Block]) -> Value {
    let input = Input::of_messages(body);
    let output: u64 = blocks.iter().map(Block::tokens).sum();
    let thinking: u64 = blocks.iter().filter(|block| matches!(block, Block::Thinking { .. })).map(Block::tokens).sum();
    let details = body.get("thinking").is_some_and(|thinking| thinking["type"] != "disabled").then(|| json!({"thinking_tokens": thinking}));
    json!({
        "input_tokens": input.rest(), "cache_creation_input_tokens": input.kept_5m + input.kept_1h, "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": input.kept_5m, "ephemeral_1h_input_tokens": input.kept_1h},
        "output_tokens": output, "output_tokens_details": details, "server_tool_use": null, "service_tier": "standard",
        "inference_geo": body.get("inference_geo").and_then(Value::as_str).unwrap_or("not_available"),
    })
}

/// The messages of a request.
fn messages(body: &Value) -> &[Value] {
    body["messages"].as_array().map_or(&[], Vec::as_slice)
}

/// The blocks of a message.
fn blocks_of(message: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    message["content"].as_array().into_iter().flatten()
}
