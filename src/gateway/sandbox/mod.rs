//! The built-in upstream of the sandbox. Nothing leaves the machine: it answers for every model, counts real tokens, and says in its text what it is.
//!
//! It is an upstream like any other: it gets the body a provider would get and answers in its dialect, so everything around it (holds, metering,
//! settlement, limits) is what happens with a real provider.

mod anthropic;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{
    ask::Ask,
    route::Route,
    tokens::{self, vocabulary},
    upstream::Reply,
    waits::Waits,
};
use crate::translate::sse::Event;

/// How much of the prompt is repeated in the answer, in characters.
const ECHO_CHARS: usize = 160;
/// Tokens the chat template adds around one message, and around the whole prompt (OpenAI's cookbook).
const TOKENS_PER_MESSAGE: u64 = 3;
/// Numbers of an embedding.
const DIMENSIONS: usize = 16;
/// How deep a made-up argument may nest.
const SAMPLE_DEPTH_MAX: usize = 6;

/// Answers a request as a provider would.
pub(super) async fn answer(route: &Arc<Route>, ask: &Arc<Ask>, body: Bytes) -> Reply {
    let (route, ask) = (route.clone(), ask.clone());
    // Counting is work, and the first count loads the vocabulary.
    let made = tokens::counting(move || {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match *ask {
            Ask::Chat(_) => chat(&route.model, &body),
            Ask::Messages(_) => anthropic::message(&route.model, &body),
            Ask::CountTokens(_) => Made::Plain(anthropic::count_tokens(&body)),
            Ask::Embeddings(_) => Made::Plain(embeddings(&route.model, &body)),
            Ask::Free => {
                Made::Plain(json!({"object": "list", "data": [], "sandbox": "This is the lava-mcp sandbox; nothing left this machine."}))
            }
        }
    });
    match made.await {
        Some(Made::Plain(value)) => reply("application/json", vec![Bytes::from(value.to_string())]),
        Some(Made::Stream(events)) => reply("text/event-stream", events.iter().map(|event| event.raw().clone()).collect()),
        None => reply("application/json", vec![Bytes::from_static(br#"{"error":{"message":"the sandbox failed"}}"#)]),
    }
}

fn reply(kind: &'static str, parts: Vec<Bytes>) -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let body = stream::iter(parts.into_iter().map(Ok)).boxed();
    Reply { status: StatusCode::OK, headers, body, is_stream: false, waits: Waits::default() }
}

enum Made {
    Plain(Value),
    Stream(Vec<Event>),
}

struct ChatAnswer {
    id: String,
    model: String,
    message: Value,
    pieces: Vec<String>,
    finish_reason: &'static str,
    usage: Value,
}

fn chat(model: &str, body: &Value) -> Made {
    let empty = Vec::new();
    let messages = body.get("messages").and_then(Value::as_array).unwrap_or(&empty);
    let input = 3
        + messages.iter().map(|message| TOKENS_PER_MESSAGE + count(&texts(message))).sum::<u64>()
        + body.get("tools").map_or(0, |tools| count(&tools.to_string()));
    let cap = ["max_completion_tokens", "max_tokens"].iter().find_map(|name| body.get(*name).and_then(Value::as_u64)).unwrap_or(u64::MAX);
    let last = messages.last();
    let (text, call) = match first_tool(body).filter(|_| role(last) != "tool") {
        Some(function) => (String::new(), Some(tool_call(function))),
        None => (wanted_json(body).unwrap_or_else(|| speech(model, last)), None),
    };
    let (pieces, cut) = cut_to(&text, cap);
    let text = pieces.concat();
    let arguments = call.as_ref().map_or(0, |call| count(&call["function"].to_string()));
    let output = (pieces.len() as u64 + arguments).min(cap);
    let finish_reason = match (&call, cut) {
        (Some(_), _) => "tool_calls",
        (None, true) => "length",
        (None, false) => "stop",
    };
    let message = match call {
        Some(call) => json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        None => json!({"role": "assistant", "content": text}),
    };
    let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let id = format!("chatcmpl-sandbox-{}", ulid::Ulid::generate());
    let stream = body.get("stream").and_then(Value::as_bool).unwrap_or(false);
    let answer = ChatAnswer { id, model: model.to_owned(), message, pieces, finish_reason, usage };
    if stream { Made::Stream(answer.to_events()) } else { Made::Plain(answer.to_reply()) }
}

impl ChatAnswer {
    fn to_reply(&self) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [{"index": 0, "message": self.message, "finish_reason": self.finish_reason}],
            "usage": self.usage,
        })
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
        })
    }

    fn to_events(&self) -> Vec<Event> {
        let mut chunks = vec![self.chunk(&json!({"role": "assistant", "content": ""}), None)];
        chunks.extend(self.pieces.iter().map(|piece| self.chunk(&json!({"content": piece}), None)));
        if let Some(call) = self.message.get("tool_calls").and_then(|calls| calls.get(0)) {
            let mut call = call.clone();
            call["index"] = 0.into();
            chunks.push(self.chunk(&json!({"tool_calls": [call]}), None));
        }
        chunks.push(self.chunk(&json!({}), Some(self.finish_reason)));
        chunks.push(json!({
            "id": self.id, "object": "chat.completion.chunk", "created": 0, "model": self.model, "choices": [], "usage": self.usage,
        }));
        chunks.iter().map(|chunk| Event::new(None, chunk)).chain(std::iter::once(Event::done())).collect()
    }
}

fn embeddings(model: &str, body: &Value) -> Value {
    let inputs = match body.get("input") {
        Some(Value::Array(items)) => items.iter().map(texts).collect(),
        Some(other) => vec![texts(other)],
        None => Vec::new(),
    };
    let tokens: u64 = inputs.iter().map(|input| count(input)).sum();
    let data: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| json!({"object": "embedding", "index": index, "embedding": vector(input)}))
        .collect();
    json!({"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
}

/// A vector that depends on nothing but the text.
fn vector(text: &str) -> Vec<Value> {
    let number = |at: usize| {
        let seed = crc32fast::hash(format!("{at}:{text}").as_bytes()) % 2_001;
        format!("{}{}.{:03}", if seed < 1_000 { "-" } else { "" }, seed.abs_diff(1_000) / 1_000, seed.abs_diff(1_000) % 1_000)
    };
    (0..DIMENSIONS).filter_map(|at| serde_json::from_str(&number(at)).ok()).collect()
}

fn speech(model: &str, last: Option<&Value>) -> String {
    let said = last.map(texts).unwrap_or_default();
    let shown: String = said.chars().take(ECHO_CHARS).collect();
    let dots = if said.chars().count() > ECHO_CHARS { "…" } else { "" };
    format!(
        "This is the lava-mcp sandbox answering in place of {model}: no request left this machine and no money was spent. You wrote: “{shown}{dots}”"
    )
}

/// The first tool of the request, unless the caller wants none or wants JSON text.
fn first_tool(body: &Value) -> Option<&Value> {
    let choice = body.get("tool_choice");
    if choice.and_then(Value::as_str) == Some("none") {
        return None;
    }
    let tools = body.get("tools").and_then(Value::as_array)?;
    let named = choice.and_then(|choice| choice.pointer("/function/name")).and_then(Value::as_str);
    let is_named = |tool: &&Value| named.is_none() || tool.pointer("/function/name").and_then(Value::as_str) == named;
    tools.iter().find(is_named)?.get("function")
}

fn tool_call(function: &Value) -> Value {
    let arguments = function.get("parameters").map_or_else(|| json!({}), |schema| sample(schema, 0));
    let name = function.get("name").cloned().unwrap_or_default();
    json!({"id": "call_sandbox_1", "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
}

fn wanted_json(body: &Value) -> Option<String> {
    let format = body.get("response_format")?;
    match format.get("type").and_then(Value::as_str)? {
        "json_schema" => Some(sample(format.pointer("/json_schema/schema")?, 0).to_string()),
        "json_object" => Some(json!({"sandbox": "This is the lava-mcp sandbox; no request left this machine."}).to_string()),
        _ => None,
    }
}

/// The plainest value a JSON schema allows, as far as its common keywords tell.
fn sample(schema: &Value, depth: usize) -> Value {
    if let Some(value) = schema.get("const").or_else(|| schema.pointer("/enum/0")).or_else(|| schema.get("default")) {
        return value.clone();
    }
    if depth > SAMPLE_DEPTH_MAX {
        return Value::Null;
    }
    if let Some(first) = ["anyOf", "oneOf", "allOf"].iter().find_map(|name| schema.get(*name)?.get(0)) {
        return sample(first, depth + 1);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None => schema.get("properties").map(|_| "object"),
    };
    match kind {
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let fields = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), sample(schema, depth + 1)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Some("array") => schema.get("items").map_or_else(|| json!([]), |items| json!([sample(items, depth + 1)])),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        _ => json!("sandbox"),
    }
}

fn role(message: Option<&Value>) -> &str {
    message.and_then(|message| message.get("role")).and_then(Value::as_str).unwrap_or("user")
}

/// All texts of a message, or of a bare text.
fn texts(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(texts).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            ["content", "text", "tool_calls", "function", "arguments"].iter().filter_map(|name| fields.get(*name)).map(texts).collect()
        }
        _ => String::new(),
    }
}

fn count(text: &str) -> u64 {
    vocabulary().map_or(text.len(), |vocabulary| vocabulary.count(text)) as u64
}

/// The text cut into tokens, and whether it was cut short.
fn cut_to(text: &str, cap: u64) -> (Vec<String>, bool) {
    let Some(vocabulary) = vocabulary() else { return (vec![text.to_owned()], false) };
    let tokens = vocabulary.encode(text);
    let kept = usize::try_from(cap).unwrap_or(usize::MAX).min(tokens.len());
    let mut pieces = Vec::with_capacity(kept);
    let mut open = Vec::new();
    for token in &tokens[..kept] {
        open.extend(vocabulary.decode(&[*token]));
        // A character can span tokens: it is sent with the last of them.
        match String::from_utf8(std::mem::take(&mut open)) {
            Ok(piece) => pieces.push(piece),
            Err(error) => {
                open = error.into_bytes();
                pieces.push(String::new());
            }
        }
    }
    (pieces, kept < tokens.len())
}
