//! Between the two forms of an answer of the OpenAI dialect, for providers that send the one that was not asked for.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::translate::sse::{Event, Splitter};

/// Members of a delta that name something; others that are text come in pieces.
const NAMES: [&str; 6] = ["role", "id", "type", "name", "object", "model"];

/// A whole answer as the events of a stream; `None` when it is not one. An error becomes the event of one.
pub fn as_events(answer: &[u8], wants_usage: bool) -> Option<Bytes> {
    let mut chunk: Map<String, Value> = serde_json::from_slice(answer).ok()?;
    if chunk.get("error").is_some_and(|error| !error.is_null()) {
        return Some(Event::new(None, &Value::Object(chunk)).raw().clone());
    }
    let usage = chunk.remove("usage").filter(|usage| wants_usage && !usage.is_null());
    for choice in chunk.get_mut("choices")?.as_array_mut()? {
        let mut delta = choice.as_object_mut()?.remove("message").unwrap_or_default();
        for (index, call) in delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            if let Some(call) = call.as_object_mut() {
                call.entry("index").or_insert(index.into());
            }
        }
        choice["delta"] = if delta.is_null() { json!({}) } else { delta };
    }
    chunk.insert("object".to_owned(), "chat.completion.chunk".into());
    let last = usage.map(|usage| {
        let mut last = chunk.clone();
        last.insert("choices".to_owned(), json!([]));
        last.insert("usage".to_owned(), usage);
        Event::new(None, &Value::Object(last))
    });
    let events = [Some(Event::new(None, &Value::Object(chunk))), last, Some(Event::done())];
    Some(events.iter().flatten().flat_map(|event| event.raw().iter().copied()).collect())
}

/// The events of a stream as a whole answer; `None` when they come to none. An error in them is the answer.
pub fn from_events(stream: &[u8]) -> Option<Bytes> {
    let mut whole: Map<String, Value> = Map::new();
    let mut choices: Vec<Value> = Vec::new();
    for chunk in chunks(stream) {
        let Value::Object(chunk) = chunk else { return None };
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            return Some(Value::Object(chunk).to_string().into());
        }
        for (name, value) in chunk {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("choices", value) => merge_items(&mut choices, value.as_array()?),
                ("usage", value) => {
                    whole.insert(name, value);
                }
                (_, value) => {
                    whole.entry(name).or_insert(value);
                }
            }
        }
    }
    for choice in &mut choices {
        let mut message = choice.as_object_mut()?.remove("delta").unwrap_or_else(|| json!({}));
        let fields = message.as_object_mut()?;
        fields.entry("role").or_insert("assistant".into());
        fields.entry("content").or_insert(Value::Null);
        for call in fields.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            call.as_object_mut()?.shift_remove("index");
        }
        choice["message"] = message;
    }
    if choices.is_empty() {
        return None;
    }
    whole.insert("object".to_owned(), "chat.completion".into());
    whole.insert("choices".to_owned(), choices.into());
    Some(Value::Object(whole).to_string().into())
}

fn chunks(stream: &[u8]) -> Vec<Value> {
    let mut splitter = Splitter::default();
    let mut chunks = Vec::new();
    if splitter.push(stream).is_err() || splitter.push(b"\n\n").is_err() {
        return chunks;
    }
    while let Some(event) = splitter.next_event() {
        chunks.extend(event.data().and_then(|data| serde_json::from_slice(&data).ok()));
    }
    chunks
}

/// Adds items to a list: those with an index to the item with the same one.
/// So many of the last items are searched for the one that a piece belongs to: more than any answer has choices or calls.
const NEAR_ITEMS: usize = 1_024;

fn merge_items(items: &mut Vec<Value>, more: &[Value]) {
    for value in more {
        let index = value.get("index").filter(|index| !index.is_null());
        // What belongs together comes close together: a long list is not searched whole for each of its items.
        let near = if index.is_some() { NEAR_ITEMS } else { 0 };
        match items.iter_mut().rev().take(near).find(|item| item.get("index") == index) {
            Some(item) => merge(item, value),
            None => items.push(value.clone()),
        }
    }
}

/// Adds a piece to what came before it: texts are joined, lists grow, objects are merged.
fn merge(whole: &mut Value, piece: &Value) {
    let (Value::Object(whole), Value::Object(piece)) = (whole, piece) else { return };
    for (name, value) in piece {
        match (whole.get_mut(name), value) {
            (_, Value::Null) => {}
            (None | Some(Value::Null), value) => {
                whole.insert(name.clone(), value.clone());
            }
            (Some(Value::String(before)), Value::String(more)) if !NAMES.contains(&name.as_str()) => before.push_str(more),
            (Some(Value::Array(before)), Value::Array(more)) => merge_items(before, more),
            (Some(before @ Value::Object(_)), Value::Object(_)) => merge(before, value),
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(chunks: &[Value]) -> Vec<u8> {
        chunks.iter().flat_map(|chunk| Event::new(None, chunk).raw().to_vec()).chain(b"data: [DONE]\n\n".to_vec()).collect()
    }

    #[test]
    fn an_answer_and_its_stream_say_the_same() {
        let call = |index: Option<u64>| {
            let mut call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
            if let Some(index) = index {
                call["index"] = index.into();
            }
            call
        };
        let whole = |call: Value| {
            json!({"id": "x", "object": "chat.completion", "model": "m", "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi", "tool_calls": [call]}}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 4}})
        };
        let answer = whole(call(None));
        for wants_usage in [true, false] {
            let events = as_events(answer.to_string().as_bytes(), wants_usage).unwrap();
            let read = chunks(&events);
            assert_eq!(read.len(), if wants_usage { 2 } else { 1 });
            assert_eq!(
                (&read[0]["object"], &read[0]["choices"][0]["delta"]["tool_calls"][0]),
                (&json!("chat.completion.chunk"), &call(Some(0)))
            );
            assert!(events.ends_with(b"data: [DONE]\n\n"));
            let mut expected = answer.clone();
            if !wants_usage {
                expected.as_object_mut().unwrap().remove("usage");
            }
            assert_eq!(serde_json::from_slice::<Value>(&from_events(&events).unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn the_pieces_of_a_stream_are_joined() {
        let choice =
            |delta: Value, end: Value| json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]});
        let call = |piece: Value| choice(json!({"tool_calls": [piece]}), Value::Null);
        let events = stream(&[
            choice(json!({"role": "assistant", "content": "", "reasoning_content": "h"}), Value::Null),
            choice(json!({"role": "assistant", "content": "He", "reasoning_content": "m"}), Value::Null),
            json!({"choices": [{"index": 1, "delta": {"content": "two"}}]}),
            choice(json!({"content": "llo"}), Value::Null),
            call(json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\""}})),
            call(json!({"index": 0, "id": "a", "function": {"arguments": ":1}"}})),
            call(json!({"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}})),
            choice(json!({}), json!("tool_calls")),
            json!({"choices": [], "usage": {"prompt_tokens": 3}}),
        ]);
        let whole: Value = serde_json::from_slice(&from_events(&events).unwrap()).unwrap();
        let message = json!({"role": "assistant", "content": "Hello", "reasoning_content": "hm", "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]});
        assert_eq!(whole["choices"][0]["message"], message);
        assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(whole["choices"][1]["message"], json!({"role": "assistant", "content": "two"}));
        assert_eq!((&whole["object"], &whole["usage"]["prompt_tokens"]), (&json!("chat.completion"), &json!(3)));
    }

    #[test]
    fn an_error_stays_one_and_what_is_not_an_answer_is_none() {
        let error = json!({"error": {"message": "m"}});
        assert_eq!(chunks(&as_events(error.to_string().as_bytes(), false).unwrap()), std::slice::from_ref(&error));
        assert_eq!(from_events(&stream(std::slice::from_ref(&error))).unwrap(), error.to_string());
        for other in ["[]", "{}", "{\"choices\": 5}", "<html>", "{\"choices\": [5]}"] {
            assert_eq!(as_events(other.as_bytes(), true), None, "{other}");
        }
        assert_eq!(from_events(b"data: [DONE]\n\n"), None);
    }
}
