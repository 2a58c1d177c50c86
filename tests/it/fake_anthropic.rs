//! The provider that does what it is told, in the Anthropic dialect. The model's name is the script, as with [`crate::fake_upstream`].

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::fake_upstream::plain;

/// What every answer says it used: input beside the cache, read from it, written to it for minutes and for an hour, output.
pub(crate) const USED: (u64, u64, u64, u64, u64) = (10, 1_000, 200, 300, 7);

fn usage(output: u64) -> Value {
    let (input, read, minutes, hour, _) = USED;
    json!({
        "input_tokens": input, "cache_read_input_tokens": read, "cache_creation_input_tokens": minutes + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": minutes, "ephemeral_1h_input_tokens": hour}, "output_tokens": output,
    })
}

fn message(content: &Value, usage: &Value) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "fake", "content": content, "stop_reason": "end_turn",
        "stop_sequence": null, "usage": usage,
    })
}

/// Answers one request; `None` ends the connection.
pub(crate) async fn answer(socket: &mut TcpStream, path: &str, script: &str, is_streamed: bool) -> Option<()> {
    if path.starts_with("/v1/messages/count_tokens") {
        return plain(socket, 200, &json!({"input_tokens": 42}).to_string(), "").await;
    }
    if let Some(status) = script.strip_prefix("status-") {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        return plain(socket, status.parse().unwrap(), &error.to_string(), "").await;
    }
    if is_streamed {
        return stream(socket, script).await;
    }
    let content = json!([{"type": "text", "text": "Hello there."}]);
    let usage = if script == "no-usage" { Value::Null } else { usage(USED.4) };
    plain(socket, 200, &message(&content, &usage).to_string(), "").await
}

async fn stream(socket: &mut TcpStream, script: &str) -> Option<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await.ok()?;
    for event in events(script) {
        socket.write_all(event.as_bytes()).await.ok()?;
    }
    None
}

/// The events of a stream as they stand on the wire.
pub(crate) fn events(script: &str) -> Vec<String> {
    let event = |payload: Value| format!("event: {}\ndata: {payload}\n\n", payload["type"].as_str().unwrap());
    let text = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let mut all: Vec<String> = vec![
        event(json!({"type": "message_start", "message": message(&json!([]), &usage(1))})),
        event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})),
        event(json!({"type": "ping"})),
        event(text("Hello ")),
        event(text("there.")),
    ];
    match script {
        "cut-stream" => all.push("event: content_block_delta\ndata: {\"type\":\"conte".to_owned()),
        "error-stream" => all.push(event(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))),
        _ => {
            all.push(event(json!({"type": "content_block_stop", "index": 0})));
            all.push(event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": USED.4}})));
            if script != "no-stop" {
                all.push(event(json!({"type": "message_stop"})));
            }
        }
    }
    all
}
