//! The OpenAI dialect: what the gateway must know about a chat request, and where a reply says what was used.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::raw::RawObject;
use crate::domain::Usage;

/// Tokens added by the chat template around one message.
const TOKENS_PER_MESSAGE: u64 = 16;
/// Tokens added by the chat template around the whole request.
const TOKENS_PER_REQUEST: u64 = 1_024;
/// Most tokens one image may cost, at any provider's tile rule and detail.
const TOKENS_PER_IMAGE: u64 = 20_000;

/// A chat completions request of which the gateway has read what it needs.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    body: RawObject,
    bytes: u64,
    model: String,
    stream: bool,
    wants_usage: bool,
    choices: u64,
    cap: Option<u64>,
    messages: u64,
    images: u64,
    reads_server_context: bool,
    unpriceable: Option<&'static str>,
}

/// What is wrong with a request body; the text is meant for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not a JSON object.
    #[error("the body is not a JSON object: {0}")]
    NotJson(String),
    /// A field is missing or has the wrong type.
    #[error("{field}: {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type", default)]
    kind: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl ChatRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRequest> {
        let body = RawObject::parse(bytes).map_err(|error| BadRequest::NotJson(error.to_string()))?;
        let model: String = field(&body, "model", "a model id, as text, is needed")?
            .ok_or(BadRequest::Field { field: "model", expected: "a model id, as text, is needed" })?;
        let stream = field(&body, "stream", "true or false")?.unwrap_or(false);
        let options: Option<StreamOptions> = field(&body, "stream_options", "an object such as {\"include_usage\": true}")?;
        let choices = field(&body, "n", "a whole number of at least 1")?.unwrap_or(1);
        let completion_cap: Option<u64> = field(&body, "max_completion_tokens", "a whole number of tokens")?;
        let cap: Option<u64> = field(&body, "max_tokens", "a whole number of tokens")?;
        let messages: Vec<Message<'_>> = field(&body, "messages", "an array of messages is needed")?
            .ok_or(BadRequest::Field { field: "messages", expected: "an array of messages is needed" })?;
        if choices == 0 {
            return Err(BadRequest::Field { field: "n", expected: "a whole number of at least 1" });
        }
        let mut images = 0;
        let mut reads_server_context = false;
        for kind in messages.iter().filter_map(|message| message.content).flat_map(part_kinds) {
            match kind.as_str() {
                "text" | "input_text" | "refusal" | "input_audio" => {}
                "image_url" | "input_image" | "image" => images += 1,
                _ => reads_server_context = true,
            }
        }
        let count = messages.len() as u64;
        let unpriceable = unpriceable(&body)?;
        Ok(Self {
            bytes: bytes.len() as u64,
            model,
            stream,
            wants_usage: options.is_some_and(|options| options.include_usage),
            choices,
            // The smaller one holds at every provider; where one is unknown the other is.
            cap: match (completion_cap, cap) {
                (Some(one), Some(two)) => Some(one.max(two)),
                (one, two) => one.or(two),
            },
            messages: count,
            images,
            reads_server_context,
            unpriceable,
            body,
        })
    }

    /// The model as the caller named it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer shall be streamed.
    pub const fn is_streamed(&self) -> bool {
        self.stream
    }

    /// Whether the caller of a stream asked for the usage chunk.
    pub const fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// How many answers are asked for.
    pub const fn choices(&self) -> u64 {
        self.choices
    }

    /// The output cap the caller set, in tokens per choice.
    pub const fn output_cap(&self) -> Option<u64> {
        self.cap
    }

    /// Why the cost of the request has no bound, if it has none.
    pub const fn unpriceable(&self) -> Option<&'static str> {
        self.unpriceable
    }

    /// A true upper bound of the input in tokens. Byte-level tokenizers never make more tokens than bytes; where the provider adds context that is not in
    /// the body (files, audio by reference), only the model's context window bounds it.
    ///
    /// `None` when such context is used and the window is unknown.
    pub fn input_tokens_max(&self, context_window: Option<u64>) -> Option<u64> {
        let from_body = self.bytes + TOKENS_PER_REQUEST + self.messages * TOKENS_PER_MESSAGE + self.images * TOKENS_PER_IMAGE;
        if self.reads_server_context { context_window.map(|window| window.max(from_body)) } else { Some(from_body) }
    }

    /// The text whose tokens are the input, when there is nothing but text, with the tokens of the template around it. For an exact count.
    pub fn countable_text(&self) -> Option<(String, u64)> {
        if self.images > 0 || self.reads_server_context {
            return None;
        }
        let mut text = String::new();
        for name in ["messages", "tools", "functions", "response_format", "tool_choice"] {
            text.push_str(self.body.get(name).map_or("", RawValue::get));
        }
        Some((text, TOKENS_PER_REQUEST.min(64) + self.messages * TOKENS_PER_MESSAGE))
    }

    /// The body to send upstream: the provider's model name, an output cap if one is injected, and usage in streams.
    pub fn upstream_body(&self, model: &str, injected_cap: Option<(&'static str, u64)>) -> Vec<u8> {
        let mut body = self.body.clone();
        if model != self.model {
            body.set("model", &model);
        }
        if let Some((name, cap)) = injected_cap {
            body.set(name, &cap);
        }
        if self.stream && !self.wants_usage {
            let mut options: serde_json::Map<String, Value> = body.read("stream_options").ok().flatten().unwrap_or_default();
            options.insert("include_usage".to_owned(), Value::Bool(true));
            body.set("stream_options", &options);
        }
        body.to_bytes()
    }
}

/// An embeddings request: input only, so its bytes bound its cost.
#[derive(Clone, Debug)]
pub struct EmbeddingsRequest {
    body: RawObject,
    bytes: u64,
    model: String,
}

impl EmbeddingsRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRequest> {
        let body = RawObject::parse(bytes).map_err(|error| BadRequest::NotJson(error.to_string()))?;
        let model = field(&body, "model", "a model id, as text, is needed")?;
        let model = model.ok_or(BadRequest::Field { field: "model", expected: "a model id, as text, is needed" })?;
        Ok(Self { body, bytes: bytes.len() as u64, model })
    }

    /// The model as the caller named it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// A true upper bound of the input in tokens.
    pub const fn input_tokens_max(&self) -> u64 {
        self.bytes + TOKENS_PER_REQUEST
    }

    /// The body to send upstream.
    pub fn upstream_body(&self, model: &str) -> Vec<u8> {
        let mut body = self.body.clone();
        if model != self.model {
            body.set("model", &model);
        }
        body.to_bytes()
    }
}

fn field<'a, T: Deserialize<'a>>(body: &'a RawObject, name: &'static str, expected: &'static str) -> Result<Option<T>, BadRequest> {
    body.read(name).map_err(|_| BadRequest::Field { field: name, expected })
}

fn part_kinds(content: &RawValue) -> Vec<String> {
    let parts: Vec<Part<'_>> = serde_json::from_str(content.get()).unwrap_or_default();
    parts.into_iter().map(|part| part.kind.map_or_else(String::new, std::borrow::Cow::into_owned)).collect()
}

/// Features billed by something other than tokens, which no output cap bounds.
fn unpriceable(body: &RawObject) -> Result<Option<&'static str>, BadRequest> {
    if body.get("web_search_options").is_some_and(|raw| raw.get() != "null") {
        return Ok(Some("web_search_options adds search fees that cannot be bounded beforehand; leave it out"));
    }
    let tier: Option<String> = field(body, "service_tier", "a text such as \"default\"")?;
    Ok(match tier.as_deref() {
        None | Some("auto" | "default" | "flex" | "standard" | "standard_only") => None,
        Some(_) => Some("this service_tier is billed above the list price; leave it out or say \"default\""),
    })
}

/// Reads the usage block of a reply or a stream's chunk. `None` when there is none, or it is no set of whole numbers.
///
/// Some providers (xAI) leave reasoning out of `completion_tokens`; `total_tokens` then tells. DeepSeek names its cache counter differently.
pub fn usage(block: &Value) -> Option<Usage> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
    let input = number(block, "prompt_tokens")?;
    let completion = number(block, "completion_tokens").unwrap_or(0);
    let total = number(block, "total_tokens").unwrap_or(0);
    let none = Value::Null;
    let input_details = block.get("prompt_tokens_details").unwrap_or(&none);
    let output_details = block.get("completion_tokens_details").unwrap_or(&none);
    Some(Usage {
        input,
        cache_read: number(input_details, "cached_tokens").or_else(|| number(block, "prompt_cache_hit_tokens")).unwrap_or(0),
        cache_write: number(input_details, "cache_write_tokens").unwrap_or(0),
        cache_write_1h: 0,
        audio_input: number(input_details, "audio_tokens").unwrap_or(0),
        output: completion.max(total.saturating_sub(input)),
        reasoning: number(output_details, "reasoning_tokens").unwrap_or(0),
        audio_output: number(output_details, "audio_tokens").unwrap_or(0),
    })
}

/// What one chunk of a stream, or a whole reply, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The usage block, if it is there.
    pub usage: Option<Usage>,
    /// Bytes of text, reasoning and tool arguments.
    pub visible_bytes: u64,
    /// Whether there is nothing but usage in it: the extra chunk of `include_usage`.
    pub is_usage_only: bool,
    /// Whether it is an error report instead of an answer.
    pub is_error: bool,
}

/// Looks into a chunk or a reply; `None` when it is not a JSON object.
pub fn inspect(payload: &[u8]) -> Option<Seen> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let object = value.as_object()?;
    let usage = object.get("usage").and_then(usage);
    let choices = object.get("choices").and_then(Value::as_array);
    let visible_bytes =
        choices.into_iter().flatten().map(|choice| choice.get("delta").or_else(|| choice.get("message")).map_or(0, text_bytes)).sum();
    Some(Seen {
        usage,
        visible_bytes,
        is_usage_only: usage.is_some() && choices.is_some_and(Vec::is_empty),
        is_error: choices.is_none() && object.contains_key("error"),
    })
}

/// Bytes of all texts below a message or delta, but for its role, ids and kinds.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| !matches!(name.as_str(), "role" | "id" | "type")).map(|(_, value)| text_bytes(value)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: &Value) -> Result<ChatRequest, BadRequest> {
        ChatRequest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_request_is_read() {
        let body = json!({"model": "m", "stream": true, "n": 2, "max_tokens": 7, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://x"}}]}]});
        let chat = request(&body).unwrap();
        assert_eq!((chat.model(), chat.is_streamed(), chat.choices(), chat.output_cap()), ("m", true, 2, Some(7)));
        assert_eq!(chat.input_tokens_max(None), Some(body.to_string().len() as u64 + 1_024 + 16 + 20_000));
        assert!(chat.countable_text().is_none());
    }

    #[test]
    fn a_bad_request_names_the_field() {
        for (body, field) in [
            (json!({"messages": []}), "model"),
            (json!({"model": 5, "messages": []}), "model"),
            (json!({"model": "m"}), "messages"),
            (json!({"model": "m", "messages": "hi"}), "messages"),
            (json!({"model": "m", "messages": [], "max_tokens": -1}), "max_tokens"),
            (json!({"model": "m", "messages": [], "n": 0}), "n"),
            (json!({"model": "m", "messages": [], "stream": "yes"}), "stream"),
        ] {
            let error = request(&body).unwrap_err().to_string();
            assert!(error.starts_with(field), "{body}: {error}");
        }
        assert!(matches!(ChatRequest::parse(b"{"), Err(BadRequest::NotJson(_))));
    }

    #[test]
    fn a_file_by_reference_is_bounded_by_the_context_window_only() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]});
        let chat = request(&body).unwrap();
        assert_eq!(chat.input_tokens_max(None), None);
        assert_eq!(chat.input_tokens_max(Some(128_000)), Some(128_000));
    }

    #[test]
    fn the_upstream_body_changes_only_what_it_must() {
        let plain = r#"{"model":"m","messages":[{"role":"user","content":"é"}],"temperature":0.70}"#;
        let chat = ChatRequest::parse(plain.as_bytes()).unwrap();
        assert_eq!(chat.upstream_body("m", None), plain.as_bytes());
        let streamed = r#"{"model":"p/m","stream":true,"messages":[]}"#;
        let chat = ChatRequest::parse(streamed.as_bytes()).unwrap();
        let body = String::from_utf8(chat.upstream_body("m", Some(("max_tokens", 9)))).unwrap();
        assert_eq!(body, r#"{"model":"m","stream":true,"messages":[],"max_tokens":9,"stream_options":{"include_usage":true}}"#);
    }

    #[test]
    fn usage_is_inclusive_whatever_the_provider_reports() {
        let openai = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 15}});
        assert_eq!(usage(&openai), Some(Usage { input: 100, cache_read: 60, output: 20, reasoning: 15, ..Usage::default() }));
        let xai = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40});
        assert_eq!(usage(&xai).unwrap().output, 30);
        for bad in [json!({}), json!(null), json!({"prompt_tokens": "5"}), json!({"prompt_tokens": -5}), json!({"prompt_tokens": 1.5})] {
            assert_eq!(usage(&bad), None, "{bad}");
        }
    }
}
