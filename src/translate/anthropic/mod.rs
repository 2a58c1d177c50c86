//! The Anthropic dialect (`/v1/messages`): what the gateway must know about a request before it sends it on.
//!
//! Field names and what is billed: Anthropic's Messages API reference.

mod fields;
mod reply;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use reply::{inspect, usage};

use super::{BadRequest, TOKENS_PER_IMAGE, TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST, field, needed, parse_object, raw::RawObject};

/// The version header that is sent when the caller sent none; the only one there is besides a beta of early 2023.
pub const VERSION: &str = "2023-06-01";
/// Most tokens that the provider adds for one tool it knows by its type (bash, text editor, computer use). The largest figure published is 735.
const TOKENS_PER_TYPED_TOOL: u64 = 2_000;
/// How deep content blocks may nest before they count as unreadable.
const DEPTH_MAX: usize = 8;

/// A messages request of which the gateway has read what it needs.
#[derive(Clone, Debug)]
pub struct MessagesRequest {
    original: Bytes,
    body: RawObject,
    model: String,
    stream: bool,
    cap: Option<u64>,
    messages: u64,
    content: Content,
    typed_tools: u64,
    unpriceable: Option<String>,
}

/// What the blocks of a request hold besides text.
#[derive(Clone, Copy, Debug, Default)]
struct Content {
    images: u64,
    /// Whether something is in there whose tokens its bytes do not bound: a document, a file by reference, a kind that is not known.
    is_unbounded: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

impl MessagesRequest {
    /// Reads the body of a request for an answer.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse(bytes: &Bytes) -> Result<Self, BadRequest> {
        const CAP: &str = "a whole number of at least 1 is needed";
        let request = Self::parse_for_count(bytes)?;
        match request.cap {
            None | Some(0) => Err(BadRequest::Field { field: "max_tokens", expected: CAP }),
            Some(_) => Ok(request),
        }
    }

    /// Reads the body of a request to count tokens, which has no output and so no cap.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse_for_count(bytes: &Bytes) -> Result<Self, BadRequest> {
        const MESSAGES: &str = "an array of messages is needed";
        let body = parse_object(bytes)?;
        let model: String = needed(&body, "model", "a model id, as text, is needed")?;
        let stream = field(&body, "stream", "true or false")?.unwrap_or(false);
        let cap = field(&body, "max_tokens", "a whole number of at least 1 is needed")?;
        let messages: Vec<Message<'_>> = needed(&body, "messages", MESSAGES)?;
        let mut content = Content::default();
        messages.iter().filter_map(|message| message.content).for_each(|blocks| content.add(blocks, 0));
        body.get("system").into_iter().for_each(|blocks| content.add(blocks, 0));
        let messages = messages.len() as u64;
        let fields::Tools { typed, unpriceable } = fields::check(&body)?;
        Ok(Self { original: bytes.clone(), body, model, stream, cap, messages, content, typed_tools: typed, unpriceable })
    }

    /// The model as the caller named it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer shall be streamed.
    pub const fn is_streamed(&self) -> bool {
        self.stream
    }

    /// The output cap the caller set, in tokens, hidden reasoning included.
    pub const fn output_cap(&self) -> Option<u64> {
        self.cap
    }

    /// Why the cost of the request has no bound at a provider whose price list is all that is known, if it has none.
    pub fn unpriceable(&self) -> Option<&str> {
        self.unpriceable.as_deref()
    }

    /// A true upper bound of the input in tokens, by its bytes; where those do not bound it, by the model's context window. `None` when that is not known.
    pub fn input_tokens_max(&self, context_window: Option<u64>) -> Option<u64> {
        let around = TOKENS_PER_REQUEST + self.messages * TOKENS_PER_MESSAGE + self.typed_tools * TOKENS_PER_TYPED_TOOL;
        let from_body = self.original.len() as u64 + around + self.content.images * TOKENS_PER_IMAGE;
        if self.content.is_unbounded { context_window.map(|window| window.max(from_body)) } else { Some(from_body) }
    }

    /// The text whose tokens are the input, when there is nothing but text, with the tokens of the template around it. For an exact count.
    pub fn countable_text(&self) -> Option<(String, u64)> {
        if self.content.images > 0 || self.content.is_unbounded || self.typed_tools > 0 {
            return None;
        }
        let text = ["system", "messages", "tools", "tool_choice"].map(|name| self.body.get(name).map_or("", RawValue::get)).concat();
        Some((text, TOKENS_PER_REQUEST / 2 + self.messages * TOKENS_PER_MESSAGE))
    }

    /// The body to send upstream: as it came, but for the provider's name of the model.
    pub fn upstream_body(&self, model: &str) -> Bytes {
        if model == self.model {
            return self.original.clone();
        }
        let mut body = self.body.clone();
        body.set("model", &model);
        body.to_bytes().into()
    }
}

impl Content {
    fn add(&mut self, content: &RawValue, depth: usize) {
        if content.get().starts_with('"') || content.get() == "null" {
            return;
        }
        let blocks: Option<Vec<Block<'_>>> = serde_json::from_str(content.get()).ok().filter(|_| depth < DEPTH_MAX);
        let Some(blocks) = blocks else {
            self.is_unbounded = true;
            return;
        };
        for block in blocks {
            match block.kind.as_deref() {
                Some("text" | "tool_use" | "thinking" | "redacted_thinking") => {}
                Some("image") => self.images += 1,
                Some("tool_result" | "search_result") => {
                    if let Some(inner) = block.content {
                        self.add(inner, depth + 1);
                    }
                }
                // Pages of a document are read as pictures too; the bytes of a compressed file say little about its tokens.
                _ => self.is_unbounded = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(body: &Value) -> Result<MessagesRequest, BadRequest> {
        MessagesRequest::parse(&Bytes::from(body.to_string()))
    }

    fn with_content(content: &Value) -> MessagesRequest {
        request(&json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": content}]})).unwrap()
    }

    #[test]
    fn a_request_is_read_and_passes_unchanged() {
        let text =
            r#"{"model":"m","max_tokens":9,"stream":true,"system":"s","messages":[{"role":"user","content":"é"}],"temperature":0.70}"#;
        let read = MessagesRequest::parse(&Bytes::from(text)).unwrap();
        assert_eq!((read.model(), read.is_streamed(), read.output_cap(), read.unpriceable()), ("m", true, Some(9), None));
        assert_eq!(read.input_tokens_max(None), Some(text.len() as u64 + 1_024 + 16));
        assert_eq!(read.upstream_body("m"), text);
        assert_eq!(read.upstream_body("n"), text.replace("\"m\"", "\"n\""));
    }

    #[test]
    fn a_bad_request_names_the_field() {
        for (body, field) in [
            (json!({"max_tokens": 1, "messages": []}), "model"),
            (json!({"model": "m", "messages": []}), "max_tokens"),
            (json!({"model": "m", "max_tokens": 0, "messages": []}), "max_tokens"),
            (json!({"model": "m", "max_tokens": 1}), "messages"),
            (json!({"model": "m", "max_tokens": 1, "messages": [], "stream": 1}), "stream"),
        ] {
            let error = request(&body).unwrap_err().to_string();
            assert!(error.starts_with(field), "{body}: {error}");
        }
    }

    #[test]
    fn pictures_count_wherever_they_stand() {
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
        assert_eq!(with_content(&json!([image])).content.images, 1);
        assert_eq!(with_content(&json!([{"type": "tool_result", "tool_use_id": "t", "content": [image, image]}])).content.images, 2);
        assert!(with_content(&json!([image])).countable_text().is_none());
    }

    #[test]
    fn what_its_bytes_do_not_bound_is_bounded_by_the_context_window_only() {
        for content in [
            json!([{"type": "document", "source": {"type": "url", "url": "https://x"}}]),
            json!([{"type": "container_upload", "file_id": "f"}]),
            json!([{"type": "from_the_future"}]),
            json!([{}]),
            json!({"type": "text"}),
            json!(5),
        ] {
            let read = with_content(&content);
            assert_eq!(read.input_tokens_max(None), None, "{content}");
            assert_eq!(read.input_tokens_max(Some(200_000)), Some(200_000), "{content}");
        }
    }
}
