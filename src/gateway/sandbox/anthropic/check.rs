//! What Anthropic refuses in a messages request, in its words.

use std::collections::HashSet;

use serde_json::Value;

use super::{blocks_of, messages};
use crate::gateway::sandbox::{Refusal, input};

/// Fields that are a number between zero and this.
const RANGES: [(&str, i64); 3] = [("temperature", 1), ("top_p", 1), ("top_k", i64::MAX)];
const THINKING_TOKENS_MIN: u64 = 1_024;
const NAME_CHARS_MAX: usize = 128;
const EFFORTS: [&str; 5] = ["low", "medium", "high", "xhigh", "max"];

pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    for (name, most) in RANGES {
        check_range(&body[name], name, most)?;
    }
    let stops = body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if stops.clone().any(|stop| stop.trim().is_empty()) {
        return Err(Refusal::new("stop_sequences: each stop sequence must contain non-whitespace"));
    }
    check_messages(messages(body))?;
    check_tools(body)?;
    check_thinking(body)?;
    check_form(body)
}

#[expect(clippy::cast_precision_loss, reason = "the bounds are one, and one that is never reached")]
fn check_range(value: &Value, name: &str, most: i64) -> Result<(), Refusal> {
    if value.is_null() {
        return Ok(());
    }
    let Some(number) = value.as_f64() else { return Err(Refusal::new(format!("{name}: Input should be a valid number"))) };
    if number < 0.0 {
        return Err(Refusal::new(format!("{name}: Input should be greater than or equal to 0")));
    }
    if number > most as f64 {
        return Err(Refusal::new(format!("{name}: Input should be less than or equal to {most}")));
    }
    Ok(())
}

/// Instructions may come between the messages: newer models take them there, and Claude Code sends them.
fn check_messages(messages: &[Value]) -> Result<(), Refusal> {
    if messages.is_empty() {
        return Err(Refusal::new("messages: at least one message is required"));
    }
    for (at, message) in messages.iter().enumerate() {
        match message["role"].as_str() {
            Some("user" | "assistant" | "system") => {}
            Some(_) => return Err(Refusal::new(format!("messages.{at}.role: Input should be 'user' or 'assistant'"))),
            None if message.is_object() => return Err(Refusal::new(format!("messages.{at}.role: Field required"))),
            None => return Err(Refusal::new(format!("messages.{at}: Input should be an object"))),
        }
        check_content(message, at, at + 1 == messages.len())?;
    }
    if messages[0]["role"] != "user" {
        return Err(Refusal::new("messages: first message must use the \"user\" role"));
    }
    check_results(messages)
}

fn check_content(message: &Value, at: usize, is_last: bool) -> Result<(), Refusal> {
    let is_empty = match &message["content"] {
        Value::Null => return Err(Refusal::new(format!("messages.{at}.content: Field required"))),
        Value::String(text) => text.is_empty(),
        Value::Array(blocks) => blocks.is_empty(),
        _ => return Err(Refusal::new(format!("messages.{at}.content: Input should be a valid string or a valid array"))),
    };
    // Instructions can be nothing but a setting beside the content.
    if is_empty && message["role"] != "system" && !(is_last && message["role"] == "assistant") {
        return Err(Refusal::new(format!(
            "messages.{at}: all messages must have non-empty content except for the optional final assistant message"
        )));
    }
    for (number, block) in blocks_of(message).enumerate() {
        let place = format!("messages.{at}.content.{number}");
        let Some(kind) = block["type"].as_str() else { return Err(Refusal::new(format!("{place}.type: Field required"))) };
        let needed: &[&str] = match kind {
            "text" => &["text"],
            "image" | "document" => &["source"],
            "tool_use" => &["id", "name", "input"],
            "tool_result" => &["tool_use_id"],
            "thinking" => &["thinking", "signature"],
            _ => &[],
        };
        if let Some(missing) = needed.iter().find(|name| block.get(**name).is_none()) {
            return Err(Refusal::new(format!("{place}.{kind}.{missing}: Field required")));
        }
        if kind == "text" && block["text"] == "" {
            return Err(Refusal::new("messages: text content blocks must be non-empty"));
        }
        if kind == "document" && block["source"]["data"].as_str().map_or(0, input::pages) > input::PAGES_MAX {
            return Err(Refusal::new(format!("{place}.document.source: A maximum of {} PDF pages may be provided.", input::PAGES_MAX)));
        }
    }
    Ok(())
}

/// Each use of a tool has its result in what the user says next, and no result comes without its use.
fn check_results(messages: &[Value]) -> Result<(), Refusal> {
    let mut at = 0;
    let mut used: HashSet<&str> = HashSet::new();
    while at < messages.len() {
        // What one side says in several messages is one turn.
        let role = &messages[at]["role"];
        let end = messages[at..].iter().position(|message| message["role"] != *role).map_or(messages.len(), |length| at + length);
        let turn = || messages[at..end].iter().enumerate();
        let mut found: HashSet<&str> = HashSet::new();
        for (offset, message) in turn() {
            for (number, block) in blocks_of(message).enumerate().filter(|(_, block)| block["type"] == "tool_result") {
                let id = block["tool_use_id"].as_str().unwrap_or_default();
                if !used.contains(id) {
                    return Err(Refusal::new(format!(
                        "messages.{}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have a \
                         corresponding `tool_use` block in the previous message.",
                        at + offset
                    )));
                }
                found.insert(id);
            }
        }
        // Instructions in between are nobody's turn.
        if role != "system" {
            check_found(&used, &found, at)?;
            used = turn()
                .flat_map(|(_, message)| blocks_of(message))
                .filter(|block| block["type"] == "tool_use")
                .filter_map(|block| block["id"].as_str())
                .collect();
        }
        at = end;
    }
    check_found(&used, &HashSet::new(), messages.len())
}

fn check_found(used: &HashSet<&str>, found: &HashSet<&str>, at: usize) -> Result<(), Refusal> {
    let mut missing: Vec<&str> = used.difference(found).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort_unstable();
    Err(Refusal::new(format!(
        "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding \
         `tool_result` block in the next message.",
        at - 1,
        missing.join(", ")
    )))
}

fn check_tools(body: &Value) -> Result<(), Refusal> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    let mut names: HashSet<&str> = HashSet::new();
    for (at, tool) in tools.iter().enumerate() {
        let is_custom = tool["type"].as_str().is_none_or(|kind| kind == "custom");
        let Some(name) = tool["name"].as_str() else {
            if is_custom {
                return Err(Refusal::new(format!("tools.{at}.custom.name: Field required")));
            }
            continue;
        };
        let is_fine = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_custom && (name.is_empty() || name.len() > NAME_CHARS_MAX || !is_fine) {
            return Err(Refusal::new(format!(
                "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{NAME_CHARS_MAX}}}$'"
            )));
        }
        if is_custom && tool["input_schema"].is_null() {
            return Err(Refusal::new(format!("tools.{at}.custom.input_schema: Field required")));
        }
        if tool["input_schema"]["type"].as_str().is_some_and(|kind| kind != "object") {
            return Err(Refusal::new(format!("tools.{at}.custom.input_schema.type: Input should be 'object'")));
        }
        if !names.insert(name) {
            return Err(Refusal::new("tools: Tool names must be unique."));
        }
    }
    let choice = &body["tool_choice"];
    match choice["type"].as_str() {
        Some("any" | "tool") if tools.is_empty() => {
            Err(Refusal::new("tool_choice: tool_choice may only be specified while providing tools"))
        }
        Some("tool") => match choice["name"].as_str() {
            Some(name) if names.contains(name) => Ok(()),
            Some(name) => Err(Refusal::new(format!("Tool '{name}' not found in provided tools"))),
            None => Err(Refusal::new("tool_choice.tool.name: Field required")),
        },
        Some("auto" | "any" | "none") => Ok(()),
        None if choice.is_null() => Ok(()),
        _ => Err(Refusal::new("tool_choice: Input should be an object whose type is one of 'auto', 'any', 'tool', 'none'")),
    }
}

fn check_thinking(body: &Value) -> Result<(), Refusal> {
    let thinking = &body["thinking"];
    if thinking["type"] != "enabled" {
        let is_known = thinking.is_null() || thinking["type"].is_string();
        return if is_known { Ok(()) } else { Err(Refusal::new("thinking.type: Field required")) };
    }
    let Some(budget) = thinking["budget_tokens"].as_u64() else {
        return Err(Refusal::new("thinking.enabled.budget_tokens: Field required"));
    };
    if budget < THINKING_TOKENS_MIN {
        return Err(Refusal::new(format!(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to {THINKING_TOKENS_MIN}"
        )));
    }
    let has_tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    // Thinking between tools may take more than one answer.
    if !has_tools && body["max_tokens"].as_u64().is_some_and(|most| most <= budget) {
        return Err(Refusal::new("`max_tokens` must be greater than `thinking.budget_tokens`."));
    }
    if matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
        return Err(Refusal::new("Thinking may not be enabled when tool_choice forces tool use."));
    }
    if body["temperature"].as_f64().is_some_and(|temperature| temperature < 1.0) {
        return Err(Refusal::new("`temperature` may only be set to 1 when thinking is enabled."));
    }
    Ok(())
}

fn check_form(body: &Value) -> Result<(), Refusal> {
    let config = &body["output_config"];
    if config["effort"].as_str().is_some_and(|effort| !EFFORTS.contains(&effort)) {
        return Err(Refusal::new(format!(
            "output_config.effort: Input should be one of {}",
            EFFORTS.map(|effort| format!("'{effort}'")).join(", ")
        )));
    }
    for (place, format) in [("output_config.format", &config["format"]), ("output_format", &body["output_format"])] {
        if format.is_null() {
            continue;
        }
        if format["type"] != "json_schema" {
            return Err(Refusal::new(format!("{place}.type: Input should be 'json_schema'")));
        }
        if !format["schema"].is_object() {
            return Err(Refusal::new(format!("{place}.schema: Field required")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instructions_may_come_between_messages() {
        let used = json!([{"type": "tool_use", "id": "t", "name": "n", "input": {}}]);
        let result = json!([{"type": "tool_result", "tool_use_id": "t", "content": "x"}]);
        let body = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": used},
            {"role": "system", "content": "b"}, {"role": "system", "content": [], "output_config": {"effort": "low"}},
            {"role": "user", "content": result}]});
        assert!(check(&body).is_ok());
    }
}
