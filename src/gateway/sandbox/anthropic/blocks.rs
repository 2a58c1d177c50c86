//! The content of a message: what is thought, and then a text, JSON of the form that was asked for, or uses of tools.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{blocks_of, messages};
use crate::gateway::sandbox::{
    Refusal, example, ids,
    tools::{Choice, Tool, Turn},
    words::{End, Written, count, last_text, speech, thought},
};

/// A model that may think as it likes does not, where so little may be written.
const ROOM_TO_THINK: u64 = 64;
/// Tools that the caller runs and that have no schema: their types begin so, and this is what they are asked.
const TYPED: [(&str, &str); 4] = [
    ("bash_", r#"{"command":"echo sandbox"}"#),
    ("computer_", r#"{"action":"screenshot"}"#),
    ("memory_", r#"{"command":"view","path":"/memories"}"#),
    ("text_editor_", r#"{"command":"view","path":"/sandbox.txt"}"#),
];

/// One block, as it was written.
pub(super) enum Block {
    Thinking { written: Written, is_shown: bool },
    Text { written: Written },
    Tool { id: String, name: String, input: Value, written: Written },
}

impl Block {
    pub(super) const fn written(&self) -> &Written {
        match self {
            Self::Thinking { written, .. } | Self::Text { written } | Self::Tool { written, .. } => written,
        }
    }

    pub(super) fn tokens(&self) -> u64 {
        match self {
            Self::Tool { name, written, .. } => count(name) + written.count(),
            Self::Thinking { written, .. } | Self::Text { written } => written.count(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Thinking { written, is_shown } => {
                json!({"type": "thinking", "thinking": if *is_shown { written.text() } else { String::new() }, "signature": self.signature()})
            }
            Self::Text { written } => json!({"type": "text", "text": written.text(), "citations": null}),
            Self::Tool { id, name, input, .. } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": input, "caller": {"type": "direct"}})
            }
        }
    }

    /// What says that a thought was not changed; the same for the same thought. One that was cut short has none.
    pub(super) fn signature(&self) -> String {
        match self {
            Self::Thinking { written, .. } if written.end != End::Cap => {
                let digest: [u8; 32] = Sha256::digest(written.text().as_bytes()).into();
                STANDARD.encode([digest, digest, digest].concat())
            }
            _ => String::new(),
        }
    }
}

/// Writes the content of an answer, as far as its cap allows.
pub(super) fn write(body: &Value, model: &str) -> Result<Vec<Block>, Refusal> {
    let cap = body["max_tokens"].as_u64().unwrap_or(u64::MAX);
    let stops: Vec<String> = body["stop_sequences"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut blocks = Vec::new();
    let mut left = cap;
    let thinking = &body["thinking"];
    if thinking["type"] == "enabled" || (thinking["type"] == "adaptive" && cap >= ROOM_TO_THINK) {
        let written = Written::new(&thought(model), left, &[]);
        left = left.saturating_sub(written.count());
        blocks.push(Block::Thinking { written, is_shown: thinking["display"] != "omitted" });
    }
    let tools = tools(body);
    for tool in chosen(body, &tools) {
        if left == 0 {
            break;
        }
        let input = input(tool)?;
        let written = Written::new(&input.to_string(), left.saturating_sub(count(tool.name)), &[]);
        left = left.saturating_sub(count(tool.name) + written.count());
        // What was cut short cannot be read.
        let input = if written.end == End::Cap { Value::Object(Map::new()) } else { input };
        blocks.push(Block::Tool { id: ids::tool_use(), name: tool.name.to_owned(), input, written });
    }
    let is_cut = blocks.last().is_some_and(|block| block.written().end == End::Cap);
    if !is_cut && !blocks.iter().any(|block| matches!(block, Block::Tool { .. })) {
        let text = wanted_json(body)?.unwrap_or_else(|| speech(model, &heard(body)));
        blocks.push(Block::Text { written: Written::new(&text, left, &stops) });
    }
    Ok(blocks)
}

/// The tools that the caller runs.
fn tools(body: &Value) -> Vec<Tool<'_>> {
    let is_run_by_caller =
        |tool: &Value| tool["type"].as_str().is_none_or(|kind| kind == "custom" || TYPED.iter().any(|(begin, _)| kind.starts_with(begin)));
    let tools = body["tools"].as_array().into_iter().flatten().enumerate().filter(|(_, tool)| is_run_by_caller(tool));
    tools.filter_map(|(at, declared)| Some(Tool { name: declared["name"].as_str()?, declared, at })).collect()
}

fn chosen<'t, 'a>(body: &'a Value, tools: &'t [Tool<'a>]) -> Vec<&'t Tool<'a>> {
    let choice = &body["tool_choice"];
    let wanted = match (choice["type"].as_str(), choice["name"].as_str()) {
        (Some("none"), _) => Choice::Never,
        (Some("any"), _) => Choice::Any,
        (_, Some(name)) => Choice::Named(name),
        _ => Choice::Free,
    };
    let messages = messages(body);
    let has_result = |message: &Value| blocks_of(message).any(|block| block["type"] == "tool_result");
    let since = messages.iter().rposition(|message| message["role"] == "user" && !has_result(message)).unwrap_or(0);
    let used = messages[since.min(messages.len())..].iter().flat_map(blocks_of).filter(|block| block["type"] == "tool_use");
    let said = messages.get(since).map(last_text).unwrap_or_default();
    let last = messages.iter().rfind(|message| message["role"] == "user");
    let turn = Turn {
        said: &said,
        is_after_result: last.is_some_and(has_result),
        called: used.filter_map(|block| block["name"].as_str()).collect(),
        is_parallel: choice["disable_parallel_tool_use"] != true,
    };
    turn.choose(tools, wanted)
}

fn input(tool: &Tool<'_>) -> Result<Value, Refusal> {
    let Some(schema) = tool.declared.get("input_schema") else {
        let kind = tool.declared["type"].as_str().unwrap_or_default();
        let typed = TYPED.iter().find(|(begin, _)| kind.starts_with(begin)).and_then(|(_, input)| serde_json::from_str(input).ok());
        return Ok(typed.unwrap_or_else(|| json!({})));
    };
    example::object_of(schema)
        .ok_or_else(|| Refusal::new(format!("tools.{}.custom.input_schema: no input was found that is valid under this schema", tool.at)))
}

/// What a person or a tool said last.
fn heard(body: &Value) -> String {
    let messages = messages(body);
    messages.iter().rfind(|message| message["role"] == "user").or(messages.last()).map(last_text).unwrap_or_default()
}

/// The JSON that is wanted instead of a text; `output_format` is the older place.
fn wanted_json(body: &Value) -> Result<Option<String>, Refusal> {
    let (place, format) = match body.pointer("/output_config/format").filter(|format| !format.is_null()) {
        Some(format) => ("output_config.format", format),
        None => ("output_format", &body["output_format"]),
    };
    if format["type"] != "json_schema" {
        return Ok(None);
    }
    let example = example::of(&format["schema"]);
    example
        .map(|example| Some(example.to_string()))
        .ok_or_else(|| Refusal::new(format!("{place}.schema: no value was found that is valid under this schema")))
}
