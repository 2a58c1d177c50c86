//! Between the two forms of an answer of the Anthropic dialect, for providers that send the one that was not asked for.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::translate::sse::{Event, Splitter};

/// A whole answer as the events of a stream; `None` when it is not one. An error becomes the event of one.
pub fn as_events(answer: &[u8]) -> Option<Bytes> {
    let mut message: Map<String, Value> = serde_json::from_slice(answer).ok()?;
    if message.get("error").is_some_and(|error| !error.is_null()) {
        message.insert("type".to_owned(), "error".into());
        return Some(joined(&[Value::Object(message)]));
    }
    let Value::Array(blocks) = message.insert("content".to_owned(), json!([]))? else { return None };
    let mut last = Map::new();
    for name in ["stop_reason", "stop_sequence"] {
        last.insert(name.to_owned(), message.insert(name.to_owned(), Value::Null).unwrap_or_default());
    }
    let usage = message.get("usage").cloned().unwrap_or_default();
    let mut events = vec![json!({"type": "message_start", "message": message})];
    for (index, mut block) in blocks.into_iter().enumerate() {
        let kind = block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fields = block.as_object_mut()?;
        // What comes in pieces begins empty.
        let mut pieces = Vec::new();
        let mut piece = |name: &str, empty: Value, delta: &str, member: &str| {
            if let Some(value) = fields.insert(name.to_owned(), empty) {
                let value = if name == "input" { value.to_string().into() } else { value };
                pieces.push(json!({"type": delta, member: value}));
            }
        };
        match kind.as_str() {
            "text" => piece("text", "".into(), "text_delta", "text"),
            "tool_use" | "server_tool_use" => piece("input", json!({}), "input_json_delta", "partial_json"),
            "thinking" => {
                piece("thinking", "".into(), "thinking_delta", "thinking");
                piece("signature", "".into(), "signature_delta", "signature");
            }
            _ => {}
        }
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.extend(pieces.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": last, "usage": usage}));
    events.push(json!({"type": "message_stop"}));
    Some(joined(&events))
}

fn joined(events: &[Value]) -> Bytes {
    events.iter().flat_map(|event| Event::new(event["type"].as_str(), event).raw().to_vec()).collect()
}

/// The events of a stream as a whole answer; `None` when they come to none. An error in them is the answer.
pub fn from_events(stream: &[u8]) -> Option<Bytes> {
    let mut splitter = Splitter::default();
    splitter.push(stream).ok()?;
    splitter.push(b"\n\n").ok()?;
    let mut whole: Option<Map<String, Value>> = None;
    let mut blocks: Vec<Map<String, Value>> = Vec::new();
    let mut input = String::new();
    while let Some(event) = splitter.next_event() {
        let Some(mut event) = event.data().and_then(|data| serde_json::from_slice::<Value>(&data).ok()) else { continue };
        match event["type"].as_str()? {
            "error" => return Some(event.to_string().into()),
            "message_start" => whole = event["message"].as_object().cloned(),
            "content_block_start" => {
                input.clear();
                blocks.push(event["content_block"].as_object()?.clone());
            }
            "content_block_delta" => add_piece(blocks.last_mut()?, &mut input, event["delta"].take()),
            "content_block_stop" if !input.is_empty() => {
                blocks.last_mut()?.insert("input".to_owned(), serde_json::from_str(&input).ok()?);
            }
            "message_delta" => {
                let whole = whole.as_mut()?;
                whole.extend(event["delta"].as_object().cloned().unwrap_or_default());
                let usage = whole.entry("usage").or_insert_with(|| json!({}));
                usage.as_object_mut()?.extend(event["usage"].as_object().cloned().unwrap_or_default());
            }
            _ => {}
        }
    }
    let mut whole = whole?;
    whole.insert("content".to_owned(), blocks.into_iter().map(Value::Object).collect());
    Some(Value::Object(whole).to_string().into())
}

fn add_piece(block: &mut Map<String, Value>, input: &mut String, mut delta: Value) {
    let name = match delta["type"].as_str() {
        Some("text_delta") => "text",
        Some("thinking_delta") => "thinking",
        Some("signature_delta") => "signature",
        Some("input_json_delta") => return input.push_str(delta["partial_json"].as_str().unwrap_or_default()),
        Some("citations_delta") => {
            let citation = delta["citation"].take();
            match block.get_mut("citations").and_then(Value::as_array_mut) {
                Some(citations) => citations.push(citation),
                None => drop(block.insert("citations".to_owned(), json!([citation]))),
            }
            return;
        }
        _ => return,
    };
    let piece = delta[name].as_str().unwrap_or_default();
    match block.get_mut(name) {
        Some(Value::String(whole)) => whole.push_str(piece),
        _ => drop(block.insert(name.to_owned(), piece.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_not_an_object_is_no_answer() {
        for block in [r#""x""#, "5", "[]", "null"] {
            let start = r#"data: {"type":"message_start","message":{"id":"m"}}"#;
            let piece = r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
            let events =
                format!("{start}\n\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{block}}}\n\n{piece}\n\n");
            assert_eq!(from_events(events.as_bytes()), None, "{block}");
        }
    }

    #[test]
    fn an_answer_and_its_stream_say_the_same() {
        let answer = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Hello"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {"x": [1]}},
                {"type": "redacted_thinking", "data": "d"}],
            "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 4}});
        let events = as_events(answer.to_string().as_bytes()).unwrap();
        let text = String::from_utf8(events.to_vec()).unwrap();
        assert!(text.starts_with("event: message_start\n") && text.ends_with("data: {\"type\":\"message_stop\"}\n\n"), "{text}");
        for delta in ["thinking_delta", "signature_delta", "text_delta", "input_json_delta"] {
            assert!(text.contains(delta), "{text}");
        }
        assert_eq!(serde_json::from_slice::<Value>(&from_events(&events).unwrap()).unwrap(), answer);
    }

    #[test]
    fn an_error_stays_one_and_what_is_not_an_answer_is_none() {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "m"}});
        let events = as_events(error.to_string().as_bytes()).unwrap();
        assert!(events.starts_with(b"event: error\n"));
        assert_eq!(from_events(&events).unwrap(), error.to_string());
        for other in ["[]", "{}", "{\"content\": 5}", "<html>", "{\"content\": [5]}"] {
            assert_eq!(as_events(other.as_bytes()), None, "{other}");
        }
        assert_eq!(from_events(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"), None);
    }
}
