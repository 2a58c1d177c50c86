//! One choice of a chat completion: a text, JSON of the form that was asked for, or calls of tools.

use serde_json::{Value, json};

use super::logprobs;
use crate::gateway::sandbox::{
    Refusal, example, ids,
    tools::{self, Tool, Turn},
    words::{End, NOTE, Written, count, last_text, speech, thought},
};

/// What the model has written.
pub(super) struct Choice {
    content: Option<Written>,
    calls: Vec<Call>,
    /// How many other tokens are named for each token; `None` where nothing is said of them.
    others: Option<u64>,
    pub(super) finish_reason: &'static str,
    /// Tokens that nobody sees.
    pub(super) reasoning: u64,
    /// All tokens, those that nobody sees included.
    pub(super) tokens: u64,
}

struct Call {
    id: String,
    kind: Kind,
    name: String,
    arguments: Written,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    /// A tool that takes text.
    Custom,
    /// A function by its old name.
    Legacy,
}

/// Writes a choice.
pub(super) fn make(body: &Value, model: &str) -> Result<Choice, Refusal> {
    let caps = ["max_completion_tokens", "max_tokens"].iter().filter_map(|name| body[*name].as_u64());
    let cap = caps.min().unwrap_or(u64::MAX);
    let stops: Vec<String> = match &body["stop"] {
        Value::Array(stops) => stops.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        stop => stop.as_str().map(str::to_owned).into_iter().collect(),
    };
    let effort = body.get("reasoning_effort").or_else(|| body.pointer("/reasoning/effort")).and_then(Value::as_str);
    let reasoning = if effort.is_some_and(|effort| effort != "none") { count(&thought(model)).min(cap) } else { 0 };
    let mut tokens = reasoning;
    let mut calls = Vec::new();
    let mut end = End::Whole;
    for (kind, tool) in chosen(body) {
        tokens += count(tool.name);
        let arguments = Written::new(&arguments(kind, &tool)?, cap.saturating_sub(tokens), &[]);
        tokens += arguments.count();
        end = arguments.end.clone();
        calls.push(Call { id: ids::call(), kind, name: tool.name.to_owned(), arguments });
        if end == End::Cap {
            break;
        }
    }
    let mut content = None;
    if calls.is_empty() {
        let text = wanted_json(body)?.unwrap_or_else(|| speech(model, &heard(body)));
        let written = Written::new(&text, cap.saturating_sub(tokens), &stops);
        tokens += written.count();
        end = written.end.clone();
        content = Some(written);
    }
    let finish_reason = match (end, calls.first()) {
        (End::Cap, _) => "length",
        (_, Some(call)) if call.kind == Kind::Legacy => "function_call",
        (_, Some(_)) => "tool_calls",
        (_, None) => "stop",
    };
    let others = (body["logprobs"] == true).then(|| body["top_logprobs"].as_u64().unwrap_or(0));
    Ok(Choice { content, calls, others, finish_reason, reasoning, tokens: tokens.min(cap) })
}

impl Choice {
    pub(super) fn message(&self) -> Value {
        let content = self.content.as_ref().map(Written::text);
        let mut message = json!({"role": "assistant", "content": content, "refusal": null, "annotations": []});
        if let Some(call) = self.calls.first().filter(|call| call.kind == Kind::Legacy) {
            message["function_call"] = json!({"name": call.name, "arguments": call.arguments.text()});
        } else if !self.calls.is_empty() {
            message["tool_calls"] = self.calls.iter().map(|call| call.to_json(&call.arguments.text())).collect();
        }
        message
    }

    pub(super) fn logprobs(&self) -> Value {
        match (&self.content, self.others) {
            (Some(content), Some(others)) => logprobs::of(&content.tokens, others),
            _ => Value::Null,
        }
    }

    /// The message in pieces, each with what is said of its tokens.
    pub(super) fn deltas(&self) -> Vec<(Value, Value)> {
        let begin = self.content.as_ref().map(|_| "");
        let mut deltas = vec![(json!({"role": "assistant", "content": begin, "refusal": null}), Value::Null)];
        if let Some(content) = &self.content {
            let mut open = Vec::new();
            for (token, piece) in content.tokens.iter().zip(content.pieces()) {
                open.push(token.clone());
                // A character that is not whole yet waits for the rest of it.
                if !piece.is_empty() {
                    let logprobs = self.others.map_or(Value::Null, |others| logprobs::of(&open, others));
                    deltas.push((json!({"content": piece}), logprobs));
                    open.clear();
                }
            }
        }
        for (index, call) in self.calls.iter().enumerate() {
            let pieces = call.arguments.pieces().into_iter().filter(|piece| !piece.is_empty());
            if call.kind == Kind::Legacy {
                deltas.push((json!({"function_call": {"name": call.name, "arguments": ""}}), Value::Null));
                deltas.extend(pieces.map(|piece| (json!({"function_call": {"arguments": piece}}), Value::Null)));
                continue;
            }
            let mut head = call.to_json("");
            head["index"] = index.into();
            deltas.push((json!({"tool_calls": [head]}), Value::Null));
            let (member, text) = call.kind.members();
            deltas.extend(pieces.map(|piece| (json!({"tool_calls": [{"index": index, member: {text: piece}}]}), Value::Null)));
        }
        deltas
    }
}

impl Kind {
    /// Where a call has its text.
    const fn members(self) -> (&'static str, &'static str) {
        match self {
            Self::Function | Self::Legacy => ("function", "arguments"),
            Self::Custom => ("custom", "input"),
        }
    }
}

impl Call {
    fn to_json(&self, arguments: &str) -> Value {
        let (member, text) = self.kind.members();
        json!({"id": self.id, "type": member, member: {"name": self.name, text: arguments}})
    }
}

fn read(at: usize, declared: &Value, kind: Kind) -> Option<(Kind, Tool<'_>)> {
    Some((kind, Tool { name: declared.get("name")?.as_str()?, declared, at }))
}

/// The tools of a request that are functions or take text.
fn tools(body: &Value) -> Vec<(Kind, Tool<'_>)> {
    match body.get("tools").and_then(Value::as_array) {
        Some(tools) => {
            let tools = tools.iter().enumerate().filter_map(|(at, tool)| match tool["type"].as_str() {
                Some("custom") => read(at, tool.get("custom")?, Kind::Custom),
                _ => read(at, tool.get("function")?, Kind::Function),
            });
            tools.collect()
        }
        None => {
            let functions = body["functions"].as_array().into_iter().flatten().enumerate();
            functions.filter_map(|(at, function)| read(at, function, Kind::Legacy)).collect()
        }
    }
}

fn chosen(body: &Value) -> Vec<(Kind, Tool<'_>)> {
    let choice = body.get("tool_choice").or_else(|| body.get("function_call"));
    let allowed = choice.and_then(|choice| choice.get("allowed_tools"));
    let name_of = |tool: &'_ Value| {
        ["/function/name", "/custom/name", "/name"].iter().find_map(|place| tool.pointer(place)?.as_str().map(str::to_owned))
    };
    let names: Option<Vec<String>> = allowed.and_then(|allowed| Some(allowed["tools"].as_array()?.iter().filter_map(name_of).collect()));
    let is_allowed = |tool: &Tool<'_>| names.as_ref().is_none_or(|names| names.iter().any(|name| name == tool.name));
    let mode = allowed.and_then(|allowed| allowed.get("mode")).or(choice).and_then(Value::as_str);
    let named = choice.and_then(name_of);
    let choice = match (mode, &named) {
        (Some("none"), _) => tools::Choice::Never,
        (Some("required" | "any"), _) => tools::Choice::Any,
        (_, Some(name)) => tools::Choice::Named(name),
        _ => tools::Choice::Free,
    };
    let (kinds, tools): (Vec<Kind>, Vec<Tool<'_>>) = tools(body).into_iter().filter(|(_, tool)| is_allowed(tool)).unzip();
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let since = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    let said = messages.get(since).map(last_text).unwrap_or_default();
    let calls = messages[since.min(messages.len())..].iter().flat_map(|message| message["tool_calls"].as_array().into_iter().flatten());
    let called = calls.filter_map(|call| call.pointer("/function/name").or_else(|| call.pointer("/custom/name")));
    let legacy = messages[since.min(messages.len())..].iter().filter_map(|message| message.pointer("/function_call/name"));
    let is_after_result = messages.last().is_some_and(|message| message["role"] == "tool" || message["role"] == "function");
    let is_parallel = body["parallel_tool_calls"] != false && kinds.first() != Some(&Kind::Legacy);
    let turn = Turn { said: &said, is_after_result, called: called.chain(legacy).filter_map(Value::as_str).collect(), is_parallel };
    let chosen: Vec<usize> = turn.choose(&tools, choice).iter().map(|tool| tool.at).collect();
    kinds.into_iter().zip(tools).filter(|(_, tool)| chosen.contains(&tool.at)).collect()
}

fn arguments(kind: Kind, tool: &Tool<'_>) -> Result<String, Refusal> {
    if kind == Kind::Custom {
        return Ok("sandbox".to_owned());
    }
    let Some(schema) = tool.declared.get("parameters").filter(|schema| !schema.is_null()) else { return Ok("{}".to_owned()) };
    let place =
        if kind == Kind::Legacy { format!("functions[{}].parameters", tool.at) } else { format!("tools[{}].function.parameters", tool.at) };
    let example = example::object_of(schema).ok_or_else(|| {
        let message = format!("Invalid schema for function '{}': no arguments were found that are valid under it.", tool.name);
        Refusal::of(place, Some("invalid_function_parameters"), message)
    })?;
    Ok(example.to_string())
}

/// What a person or a tool said last.
fn heard(body: &Value) -> String {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let speaks = |message: &&Value| matches!(message["role"].as_str(), Some("user" | "tool" | "function"));
    messages.iter().rfind(speaks).or(messages.last()).map(last_text).unwrap_or_default()
}

/// The JSON that is wanted instead of a text.
fn wanted_json(body: &Value) -> Result<Option<String>, Refusal> {
    let format = &body["response_format"];
    let object = || Some(json!({"sandbox": NOTE}).to_string());
    match format["type"].as_str() {
        Some("json_object") => Ok(object()),
        Some("json_schema") => {
            let Some(schema) = format.pointer("/json_schema/schema").filter(|schema| !schema.is_null()) else { return Ok(object()) };
            let name = format.pointer("/json_schema/name").and_then(Value::as_str).unwrap_or_default();
            let message = || format!("Invalid schema for response_format '{name}': no value was found that is valid under it.");
            let example = example::of(schema).ok_or_else(|| Refusal::of("response_format", None, message()))?;
            Ok(Some(example.to_string()))
        }
        _ => Ok(None),
    }
}
