//! Chat completions through the gateway, plain or streamed; either way the caller gets one whole answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use super::{
    ANSWER_BYTES_MAX, Client, ClientError, Fallback, authorise, error, limit_cost, request_id,
    transport::{self, Exchange},
};
use crate::{
    domain::{Money, Secret},
    translate::{media, sse::Splitter},
};

/// How a prompt is sent.
#[derive(Clone, Debug, Default)]
pub struct ChatOptions {
    /// Where to try next when the provider fails.
    pub fallbacks: Vec<Fallback>,
    /// The most this request may cost.
    pub max_cost: Option<Money>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct ChatResult {
    /// The model that answered, as it names itself.
    pub model: String,
    /// The assistant's message.
    pub message: Map<String, Value>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// The usage block, if there was one.
    pub usage: Option<Value>,
    /// The request's id.
    pub request_id: Option<String>,
}

impl Client {
    /// Sends a chat completions body. With `on_text` the answer is streamed, and each piece of text is handed over as it comes.
    ///
    /// # Errors
    /// [`ClientError`]; a stream that breaks off is one too, with the request's id in it where the gateway gave one.
    pub async fn chat(
        &self,
        key: &Secret,
        mut body: Map<String, Value>,
        options: &ChatOptions,
        on_text: Option<&mut (dyn FnMut(&str) + Send)>,
    ) -> Result<ChatResult, ClientError> {
        if on_text.is_some() {
            body.insert("stream".to_owned(), true.into());
            body.insert("stream_options".to_owned(), json!({"include_usage": true}));
        }
        let mut request = Exchange::new(Method::POST, "/v1/chat/completions".to_owned());
        authorise(&mut request.headers, key)?;
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        limit_cost(&mut request.headers, options.max_cost);
        name_fallbacks(&mut request.headers, &options.fallbacks);
        request.body = Bytes::from(serde_json::to_vec(&body).unwrap_or_default());

        let response = error::refuse(self.transport.send(request).await?).await?;
        let id = request_id(response.headers());
        let is_stream =
            response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| media::is_type(kind.as_bytes(), media::EVENT_STREAM));
        let mut ignore = |_: &str| {};
        let result = if is_stream {
            collect_stream(response.into_body(), on_text.unwrap_or(&mut ignore)).await
        } else {
            let body = transport::read_whole(response.into_body(), ANSWER_BYTES_MAX).await?;
            parse_plain(&body)
        };
        match result {
            Ok(answer) => Ok(ChatResult { request_id: id, ..answer }),
            Err(ClientError::Refused { status, code, message, details, .. }) => {
                Err(ClientError::Refused { status, code, message, details, request_id: id })
            }
            Err(error) => Err(error),
        }
    }
}

fn name_fallbacks(headers: &mut HeaderMap, fallbacks: &[Fallback]) {
    // Header values are ASCII: what is not is written as JSON escapes.
    let mut text = String::new();
    for c in serde_json::to_string(fallbacks).unwrap_or_default().chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    if !fallbacks.is_empty()
        && let Ok(value) = HeaderValue::from_str(&text)
    {
        headers.insert("x-lava-fallbacks", value);
    }
}

/// What a provider sent with status 200 that is no answer.
fn not_an_answer(detail: &str, details: Value) -> ClientError {
    let message = format!("The provider's answer is not a chat completion: {detail}.");
    ClientError::Refused { status: 502, code: "upstream_broken".to_owned(), message, details: Box::new(details), request_id: None }
}

fn parse_plain(body: &[u8]) -> Result<ChatResult, ClientError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| not_an_answer("it is not JSON", Value::Null))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        return Err(reported(error));
    }
    let choice = value.pointer("/choices/0").ok_or_else(|| not_an_answer("it has no choices", Value::Null))?;
    let message = choice.get("message").and_then(Value::as_object).cloned();
    Ok(ChatResult {
        model: text_of(&value, "model"),
        message: message.ok_or_else(|| not_an_answer("its choice has no message", Value::Null))?,
        finish_reason: choice.get("finish_reason").and_then(Value::as_str).map(str::to_owned),
        usage: value.get("usage").filter(|usage| usage.is_object()).cloned(),
        request_id: None,
    })
}

/// An error inside an answer with status 200.
fn reported(error: &Value) -> ClientError {
    let message = error.get("message").and_then(Value::as_str).or(error.as_str()).unwrap_or("the provider reported an error").to_owned();
    let code = error.get("code").and_then(Value::as_str).unwrap_or("upstream_error").to_owned();
    ClientError::Refused { status: 502, code, message, details: Box::new(error.clone()), request_id: None }
}

async fn collect_stream(mut body: transport::Body, on_text: &mut (dyn FnMut(&str) + Send)) -> Result<ChatResult, ClientError> {
    let mut splitter = Splitter::default();
    let mut answer = Assembly::default();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame?.into_data() else { continue };
        splitter.push(&chunk).map_err(|error| not_an_answer(&error.to_string(), Value::Null))?;
        while let Some(event) = splitter.next_event() {
            let Some(data) = event.data().filter(|data| &data[..] != b"[DONE]") else { continue };
            let Ok(chunk) = serde_json::from_slice::<Value>(&data) else { continue };
            if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
                return Err(reported(error));
            }
            if let Some(text) = answer.add(&chunk) {
                on_text(&text);
            }
        }
    }
    answer.finish()
}

/// An answer that is put together from the chunks of its first choice.
#[derive(Default)]
struct Assembly {
    model: String,
    is_begun: bool,
    content: Option<String>,
    other_texts: Map<String, Value>,
    tool_calls: Vec<Map<String, Value>>,
    /// Images, one by one as they came.
    images: Vec<Value>,
    audio: Audio,
    finish_reason: Option<String>,
    usage: Option<Value>,
}

impl Assembly {
    /// Adds a chunk; returns its visible text.
    fn add(&mut self, chunk: &Value) -> Option<String> {
        if self.model.is_empty() {
            self.model = text_of(chunk, "model");
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(usage.clone());
        }
        let choices = chunk.get("choices").and_then(Value::as_array)?;
        let choice = choices.iter().find(|choice| choice.get("index").and_then(Value::as_u64).unwrap_or(0) == 0)?;
        self.is_begun = true;
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish_reason = Some(reason.to_owned());
        }
        let delta = choice.get("delta").and_then(Value::as_object)?;
        for call in delta.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.add_tool_call(call);
        }
        for name in ["refusal", "reasoning", "reasoning_content"] {
            let Some(text) = delta.get(name).and_then(Value::as_str) else { continue };
            let before = self.other_texts.get(name).and_then(Value::as_str).unwrap_or_default();
            let whole = format!("{before}{text}");
            self.other_texts.insert(name.to_owned(), whole.into());
        }
        self.images.extend(delta.get("images").and_then(Value::as_array).into_iter().flatten().cloned());
        if let Some(piece) = delta.get("audio").and_then(Value::as_object) {
            self.audio.add(piece);
        }
        let text = delta.get("content").and_then(Value::as_str).filter(|text| !text.is_empty())?;
        self.content.get_or_insert_default().push_str(text);
        Some(text.to_owned())
    }

    /// The first piece of a call has its id and name, all pieces have a part of its arguments.
    fn add_tool_call(&mut self, piece: &Value) {
        let Some(piece) = piece.as_object() else { return };
        let index =
            piece.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()).unwrap_or(self.tool_calls.len());
        if index > self.tool_calls.len() {
            return;
        }
        if index == self.tool_calls.len() {
            let mut first = piece.clone();
            first.remove("index");
            self.tool_calls.push(first);
            return;
        }
        let more = piece.get("function").and_then(|function| function.get("arguments")).and_then(Value::as_str).unwrap_or_default();
        if let Some(arguments) = self.tool_calls[index].get_mut("function").and_then(|function| function.get_mut("arguments")) {
            let whole = format!("{}{more}", arguments.as_str().unwrap_or_default());
            *arguments = whole.into();
        }
    }

    fn finish(self) -> Result<ChatResult, ClientError> {
        if !self.is_begun {
            return Err(not_an_answer("the stream had no choices", Value::Null));
        }
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        message.insert("content".to_owned(), self.content.map_or(Value::Null, Value::from));
        message.extend(self.other_texts);
        if !self.tool_calls.is_empty() {
            message.insert("tool_calls".to_owned(), self.tool_calls.into_iter().map(Value::Object).collect());
        }
        if !self.images.is_empty() {
            message.insert("images".to_owned(), self.images.into());
        }
        message.extend(self.audio.finish().map(|audio| ("audio".to_owned(), audio)));
        Ok(ChatResult { model: self.model, message, finish_reason: self.finish_reason, usage: self.usage, request_id: None })
    }
}

/// Sound that comes in pieces. Each is base64 by itself, so they are joined as bytes.
#[derive(Default)]
struct Audio {
    other: Map<String, Value>,
    bytes: Vec<u8>,
    transcript: String,
}

impl Audio {
    fn add(&mut self, piece: &Map<String, Value>) {
        for (name, value) in piece {
            match (name.as_str(), value.as_str()) {
                ("data", Some(data)) => self.bytes.extend(STANDARD.decode(data).unwrap_or_default()),
                ("transcript", Some(text)) => self.transcript.push_str(text),
                _ => drop(self.other.insert(name.clone(), value.clone())),
            }
        }
    }

    fn finish(mut self) -> Option<Value> {
        if self.bytes.is_empty() && self.transcript.is_empty() {
            return None;
        }
        self.other.insert("data".to_owned(), STANDARD.encode(&self.bytes).into());
        self.other.insert("transcript".to_owned(), self.transcript.into());
        Some(Value::Object(self.other))
    }
}

fn text_of(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streamed_answer_is_put_together() {
        let mut answer = Assembly::default();
        let chunks = [
            json!({"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
            json!({"choices": [{"index": 0, "delta": {"content": "Hel"}}, {"index": 1, "delta": {"content": "other"}}]}),
            json!({"choices": [{"index": 0, "delta": {"content": "lo"}}]}),
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\""}}]}}]}),
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 1}}),
        ];
        let texts: Vec<String> = chunks.iter().filter_map(|chunk| answer.add(chunk)).collect();
        assert_eq!(texts, ["Hel", "lo"]);
        let result = answer.finish().unwrap();
        assert_eq!(result.message["content"], "Hello");
        assert_eq!(
            result.message["tool_calls"][0],
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}})
        );
        assert_eq!(result.finish_reason.as_deref(), Some("tool_calls"));
        assert_eq!(result.usage, Some(json!({"prompt_tokens": 1})));
    }

    #[test]
    fn streamed_images_and_sound_are_put_together() {
        let mut answer = Assembly::default();
        let image = |n: u32| json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{n}")}});
        let piece = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
        for delta in [
            json!({"images": [image(1)]}),
            json!({"images": [image(2)]}),
            json!({"audio": {"id": "a", "data": "YQ==", "transcript": "Hel"}}),
            json!({"audio": {"data": "YmM=", "transcript": "lo", "expires_at": 5}}),
        ] {
            assert_eq!(answer.add(&piece(delta)), None);
        }
        let message = answer.finish().unwrap().message;
        assert_eq!(message["images"], json!([image(1), image(2)]));
        assert_eq!(message["audio"], json!({"id": "a", "expires_at": 5, "data": "YWJj", "transcript": "Hello"}));
    }

    #[test]
    fn what_is_no_chat_completion_is_told_so() {
        for body in ["<html>", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#] {
            assert!(parse_plain(body.as_bytes()).unwrap_err().to_string().contains("not a chat completion"), "{body}");
        }
        assert_eq!(parse_plain(br#"{"error":{"message":"no"}}"#).unwrap_err().to_string(), "no");
    }
}
