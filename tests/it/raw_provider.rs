//! A provider that sends the bytes it is told to, piece by piece.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

/// What a provider does, one after the other.
pub(crate) enum Step {
    Send(Vec<u8>),
    Wait(Duration),
}

type Play = Arc<dyn Fn(&str, &Value) -> Vec<Step> + Send + Sync>;

/// Listens until the test ends; returns its address.
pub(crate) fn start(play: impl Fn(&str, &Value) -> Vec<Step> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let play: Play = Arc::new(play);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let play = play.clone();
            std::thread::spawn(move || serve(socket, &play));
        }
    });
    url
}

fn serve(mut socket: TcpStream, play: &Play) -> Option<()> {
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    for step in play(&path, &serde_json::from_slice(&body).unwrap_or_default()) {
        match step {
            Step::Send(bytes) => socket.write_all(&bytes).ok()?,
            Step::Wait(time) => std::thread::sleep(time),
        }
    }
    Some(())
}

pub(crate) fn plain(status: u16, body: &Value) -> Vec<Step> {
    let body = body.to_string();
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    vec![Step::Send((head + &body).into_bytes())]
}

pub(crate) fn completion(text: &str) -> Value {
    let message = json!({"role": "assistant", "content": text});
    json!({"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})
}

pub(crate) fn event(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

/// The beginning of a stream.
pub(crate) fn stream_head() -> Step {
    Step::Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec())
}

pub(crate) fn piece(text: &str) -> Step {
    Step::Send(event(&json!({"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]})))
}

/// The end of a stream, with what it used.
pub(crate) fn stream_end() -> Vec<Step> {
    let mut end = event(&json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    end.extend(event(&json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}})));
    end.extend(b"data: [DONE]\n\n");
    vec![Step::Send(end)]
}
