//! A provider that does what it is told: answers, streams, stalls, cuts off, and lies about usage. It speaks HTTP/1.1 over a plain socket, because a
//! well-behaved server library cannot break off in the middle of an answer.
//!
//! The model's name is the script. Every request is recorded, so a test can see what reached the provider.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Duration, sleep},
};

use crate::fake_anthropic;

/// What a plain or streamed answer says it used, unless the script says otherwise.
pub(crate) const USED: (u64, u64) = (11, 7);

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) struct FakeUpstream {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeUpstream {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// On the first of these ports that is free, as a model server that somebody runs at home.
    pub(crate) async fn start_on(ports: &[u16]) -> Self {
        for port in ports {
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", *port)).await {
                return Self::on(listener);
            }
        }
        panic!("none of the ports {ports:?} is free");
    }

    fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, record.clone()));
            }
        });
        Self { url, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    while let Some((head, body)) = read_request(&mut socket).await {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        seen.lock().unwrap().push(Seen { head: head.clone(), body: body.clone() });
        if head.starts_with("get /v1/models") {
            let models = json!({"object": "list", "data": [{"id": "ok"}, {"id": "home-model"}]});
            if plain(&mut socket, 200, &models.to_string(), "").await.is_none() {
                return;
            }
            continue;
        }
        // A model can have the name of a vendor before its own.
        let script = body["model"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
        if script == "says" {
            if say(&mut socket, &body).await.is_none() {
                return;
            }
            continue;
        }
        if let Some(path) = head.strip_prefix("post ").filter(|path| path.starts_with("/v1/messages")) {
            if fake_anthropic::answer(&mut socket, path, &script, body["stream"] == true).await.is_none() {
                return;
            }
            continue;
        }
        if answer(&mut socket, &script, body["stream"] == true).await.is_none() {
            if script == "endless" {
                seen.lock().unwrap().push(Seen { head: "hung up".to_owned(), body: Value::Null });
            }
            return;
        }
    }
}

/// Answers with what the request wants to hear: `x_answer` with `x_status` and `x_head`, or a stream of `x_events`.
async fn say(socket: &mut TcpStream, body: &Value) -> Option<()> {
    if let Some(status) = body["x_status"].as_u64() {
        let answer = body["x_answer"].as_str().map_or_else(|| body["x_answer"].to_string(), str::to_owned);
        let kind = body["x_type"].as_str().unwrap_or("application/json");
        let head = body["x_head"].as_str().unwrap_or_default();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{head}content-length: {}\r\n\r\n", answer.len());
        socket.write_all(head.as_bytes()).await.ok()?;
        return socket.write_all(answer.as_bytes()).await.ok();
    }
    let Some(events) = body["x_events"].as_array() else {
        return plain(socket, 200, &body["x_answer"].to_string(), "").await;
    };
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await.ok()?;
    for event in events {
        let data = event.as_str().map_or_else(|| event.to_string(), str::to_owned);
        let kind = event["type"].as_str().map_or_else(String::new, |kind| format!("event: {kind}\n"));
        socket.write_all(format!("{kind}data: {data}\n\n").as_bytes()).await.ok()?;
    }
    None
}

pub(crate) async fn read_request(socket: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |value| value.trim().parse().unwrap());
    while bytes.len() < head_end + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, bytes[head_end..head_end + length].to_vec()))
}

/// Answers one request; `None` ends the connection.
async fn answer(socket: &mut TcpStream, script: &str, is_streamed: bool) -> Option<()> {
    if let Some(ms) = script.strip_prefix("slow-") {
        sleep(Duration::from_millis(ms.parse().unwrap())).await;
    }
    if let Some(status) = script.strip_prefix("echo-") {
        // Says the gateway's key wherever something can be said.
        let said = "key sk-upstream-secret, sk-upstream-secret";
        let body = json!({"error": {"message": said, "param": said, "code": said}, "message": said, "detail": said});
        return plain(socket, status.parse().unwrap(), &body.to_string(), "x-echo: sk-upstream-secret\r\n").await;
    }
    match script {
        "never" => {
            sleep(Duration::from_secs(3_600)).await;
            None
        }
        "drop" => None,
        "late-drop" => {
            sleep(Duration::from_millis(300)).await;
            None
        }
        "status-500" => plain(socket, 500, &json!({"error": {"message": "the provider is broken"}}).to_string(), "").await,
        "status-429" => plain(socket, 429, &json!({"error": {"message": "slow down"}}).to_string(), "retry-after: 7\r\n").await,
        "status-429-days" => plain(socket, 429, "{}", "retry-after: 3000000\r\n").await,
        "status-401" => plain(socket, 401, &json!({"error": {"message": "bad key sk-upstream-secret"}}).to_string(), "").await,
        "status-400" => plain(socket, 400, &json!({"error": {"message": "no good: sk-upstream-secret"}}).to_string(), "").await,
        "status-504" => plain(socket, 504, "<html>gateway timeout</html>", "").await,
        "status-302" => plain(socket, 302, "", "location: https://example.com/\r\n").await,
        "garbage" => plain(socket, 200, "<html>it works</html>", "").await,
        "error-200" => plain(socket, 200, &json!({"error": {"message": "overloaded, but 200"}}).to_string(), "").await,
        "cut-body" => {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{\"choices\":[")
                .await
                .ok()?;
            None
        }
        _ if is_streamed => stream(socket, script).await,
        "no-usage" => plain(socket, 200, &completion("twelve bytes", None).to_string(), "").await,
        "lies" => plain(socket, 200, &completion("x", Some((11, 1_000_000))).to_string(), "").await,
        "bad-usage" => {
            let mut body = completion("twelve bytes", None);
            body["usage"] = json!({"prompt_tokens": "many", "completion_tokens": -4});
            plain(socket, 200, &body.to_string(), "").await
        }
        "png" => bytes(socket, "image/png", PNG).await,
        "wav-called-png" => bytes(socket, "image/png", b"RIFF\0\0\0\0WAVEfmt ").await,
        "binary" => bytes(socket, "application/octet-stream", &[0xff; 3_000]).await,
        "draws" => {
            let mut body = completion("Here it is.", Some(USED));
            let url = format!("data:image/png;base64,{}", base64(PNG));
            body["choices"][0]["message"]["images"] = json!([{"type": "image_url", "image_url": {"url": url}}]);
            body["choices"][0]["message"]["audio"] = json!({"id": "a", "data": base64(b"ID3 sound"), "transcript": "Here"});
            plain(socket, 200, &body.to_string(), "").await
        }
        "calls-long" => {
            let mut body = completion("Calling.", Some(USED));
            let arguments = json!({"text": "x".repeat(40_000)}).to_string();
            body["choices"][0]["message"]["tool_calls"] =
                json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]);
            plain(socket, 200, &body.to_string(), "").await
        }
        "hides" => plain(socket, 200, &completion("a\u{202e}b\u{200b}c", Some(USED)).to_string(), "").await,
        _ if script.starts_with("long-") => {
            // Its end tells whether all of it came.
            let length: usize = script["long-".len()..].parse().unwrap();
            let text = format!("{}end", "line with \"quotes\"\n".repeat(length / 19));
            plain(socket, 200, &completion(&text, Some(USED)).to_string(), "").await
        }
        "embed" => {
            plain(socket, 200, &json!({"data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": 11, "total_tokens": 11}}).to_string(), "")
                .await
        }
        _ => plain(socket, 200, &completion("Hello there.", Some(USED)).to_string(), "").await,
    }
}

/// The smallest image there is.
pub(crate) const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
}

/// Answers with something that is not JSON.
async fn bytes(socket: &mut TcpStream, content_type: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(body).await.ok()
}

fn completion(text: &str, used: Option<(u64, u64)>) -> Value {
    let mut body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "fake",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]});
    if let Some((input, output)) = used {
        body["usage"] = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    }
    body
}

pub(crate) async fn plain(socket: &mut TcpStream, status: u16, body: &str, headers: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nset-cookie: a=b\r\nx-ratelimit-remaining-requests: 3\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(body.as_bytes()).await.ok()
}

async fn stream(socket: &mut TcpStream, script: &str) -> Option<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\nconnection: close\r\n\r\n").await.ok()?;
    let piece = |text: &str| json!({"model": "fake", "choices": [{"index": 0, "delta": {"content": text}}]});
    let usage = json!({"model": "fake", "choices": [], "usage": {"prompt_tokens": USED.0, "completion_tokens": USED.1, "total_tokens": USED.0 + USED.1}});
    if script == "endless" {
        loop {
            socket.write_all(format!("data: {}\n\n", piece("on ")).as_bytes()).await.ok()?;
            sleep(Duration::from_millis(20)).await;
        }
    }
    if script == "long-event" {
        socket.write_all(format!("data: {}\n\ndata: ", piece("on ")).as_bytes()).await.ok()?;
        socket.write_all(&vec![b'x'; 66 << 20]).await.ok()?;
        return None;
    }
    for text in ["Hel", "lo ", "thé", "re."] {
        let event = format!("data: {}\n\n", piece(text));
        if script == "trickle" {
            for byte in event.as_bytes() {
                socket.write_all(&[*byte]).await.ok()?;
            }
        } else {
            socket.write_all(event.as_bytes()).await.ok()?;
        }
        if text == "lo " {
            match script {
                "cut-stream" => {
                    socket.write_all(b"data: {\"choi").await.ok()?;
                    return None;
                }
                "stall-stream" => sleep(Duration::from_secs(3_600)).await,
                "usage-then-cut" => {
                    socket.write_all(format!("data: {usage}\n\n").as_bytes()).await.ok()?;
                    socket.write_all(b"data: {").await.ok()?;
                    return None;
                }
                _ => {}
            }
        }
        if script == "paced" {
            sleep(Duration::from_millis(40)).await;
        }
    }
    socket
        .write_all(
            format!("data: {}\n\n", json!({"model": "fake", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})).as_bytes(),
        )
        .await
        .ok()?;
    if script == "no-usage" {
        socket.write_all(b"data: [DONE]\n\n").await.ok()?;
        return None;
    }
    socket.write_all(format!("data: {usage}\n\n").as_bytes()).await.ok()?;
    if script != "no-done" {
        socket.write_all(b"data: [DONE]\n\n").await.ok()?;
    }
    None
}
