//! The sandbox in the Anthropic dialect: `messages`, plain and streamed, and `messages/count_tokens`.

use serde_json::{Value, json};

use super::{Made, TOKENS_PER_MESSAGE, count, cut_to, role, sample, speech, texts};
use crate::translate::sse::Event;

/// Counts the tokens of a request.
pub(super) fn count_tokens(body: &Value) -> Value {
    json!({"input_tokens": input_tokens(body)})
}

/// Answers a request.
pub(super) fn message(model: &str, body: &Value) -> Made {
    let last = messages(body).last();
    let cap = body.get("max_tokens").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let tool = first_tool(body).filter(|_| !has_tool_result(last));
    let said = if tool.is_some() { String::new() } else { speech(model, last.filter(|message| role(Some(message)) == "user")) };
    let (pieces, is_cut) = cut_to(&said, cap);
    let input = tool.map(|tool| tool.get("input_schema").map_or_else(|| json!({}), |schema| sample(schema, 0)));
    let output = (pieces.len() as u64 + input.as_ref().map_or(0, |input| count(&input.to_string()))).min(cap);
    let stop_reason = match (&input, is_cut) {
        (Some(_), _) => "tool_use",
        (None, true) => "max_tokens",
        (None, false) => "end_turn",
    };
    let block = match (&tool, &input) {
        (Some(tool), Some(input)) => json!({"type": "tool_use", "id": "toolu_sandbox_1", "name": tool["name"], "input": input}),
        _ => json!({"type": "text", "text": pieces.concat()}),
    };
    let usage = json!({
        "input_tokens": input_tokens(body), "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": output,
    });
    let message = json!({
        "id": format!("msg_sandbox_{}", ulid::Ulid::generate()), "type": "message", "role": "assistant", "model": model, "content": [block],
        "stop_reason": stop_reason, "stop_sequence": null, "usage": usage,
    });
    if body.get("stream").and_then(Value::as_bool).unwrap_or(false) {
        Made::Stream(events(&message, &pieces))
    } else {
        Made::Plain(message)
    }
}

/// The events in which a message is streamed.
fn events(message: &Value, pieces: &[String]) -> Vec<Event> {
    let block = message["content"][0].clone();
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = 1.into();
    let mut empty = block.clone();
    let deltas: Vec<Value> = if block["type"] == "tool_use" {
        empty["input"] = json!({});
        vec![json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})]
    } else {
        empty["text"] = "".into();
        pieces.iter().map(|piece| json!({"type": "text_delta", "text": piece})).collect()
    };
    let mut payloads = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": empty}),
        json!({"type": "ping"}),
    ];
    payloads.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    payloads.push(json!({"type": "content_block_stop", "index": 0}));
    payloads.push(json!({
        "type": "message_delta", "delta": {"stop_reason": message["stop_reason"], "stop_sequence": null}, "usage": message["usage"],
    }));
    payloads.push(json!({"type": "message_stop"}));
    payloads.iter().map(|payload| Event::new(payload["type"].as_str(), payload)).collect()
}

fn messages(body: &Value) -> &[Value] {
    body.get("messages").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn input_tokens(body: &Value) -> u64 {
    let around = ["system", "tools"].iter().filter_map(|name| body.get(*name)).map(|part| count(&part.to_string())).sum::<u64>();
    3 + around + messages(body).iter().map(|message| TOKENS_PER_MESSAGE + count(&texts(message))).sum::<u64>()
}

/// The first tool of the request, or the one the caller names, unless the caller wants none.
fn first_tool(body: &Value) -> Option<&Value> {
    let choice = body.get("tool_choice");
    let kind = choice.and_then(|choice| choice.get("type")).and_then(Value::as_str);
    let named = choice.and_then(|choice| choice.get("name")).and_then(Value::as_str);
    let tools = body.get("tools").and_then(Value::as_array).filter(|_| kind != Some("none"))?;
    tools.iter().find(|tool| tool.get("name").is_some() && (named.is_none() || tool["name"].as_str() == named))
}

fn has_tool_result(message: Option<&Value>) -> bool {
    let blocks = message.and_then(|message| message.get("content")).and_then(Value::as_array);
    blocks.into_iter().flatten().any(|block| block["type"] == "tool_result")
}
