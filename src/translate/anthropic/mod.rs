//! The Anthropic dialect (`/v1/messages`): what the gateway must know about a request before it sends it on.
//!
//! Field names and what is billed: Anthropic's Messages API reference.

pub mod betas;
mod fields;
mod reads;
mod reply;
mod tools;
mod whole;

use bytes::Bytes;

pub use reply::{inspect, usage};
pub use whole::{as_events, from_events};

use super::{
    BadRequest,
    bounds::{self, Bound},
    field,
    lowering::{ANSWER_MIN, THINKING_MIN, lower_member, member},
    needed, parse_object,
    raw::RawObject,
    screening::{Hosted, HostedTools, Screened},
};

/// The version header that is sent when the caller sent none; the only one there is besides a beta of early 2023.
pub const VERSION: &str = "2023-06-01";
/// A messages request of which the gateway has read what it needs.
#[derive(Clone, Debug)]
pub struct MessagesRequest {
    original: Bytes,
    body: RawObject,
    model: String,
    stream: bool,
    cap: Option<u64>,
    bound: Bound,
    taken: Vec<&'static str>,
    screened: Screened,
}

impl MessagesRequest {
    /// Reads the body of a request for an answer.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse(bytes: &Bytes) -> Result<Self, BadRequest> {
        const CAP: &str = "must be a whole number of at least 1";
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
        let body = parse_object(bytes)?;
        let model: String = needed(&body, "model", "must be a model id, as a string")?;
        let stream = field(&body, "stream", "must be true or false")?.unwrap_or(false);
        let cap = field(&body, "max_tokens", "must be a whole number of at least 1")?;
        if !body.get("messages").is_some_and(|messages| messages.get().starts_with('[')) {
            return Err(BadRequest::Field { field: "messages", expected: "must be an array of messages" });
        }
        fields::check_names(&body)?;
        let bound = bounds::measure::<reads::Messages>(&body)?;
        let (original, body, taken) = match fields::without_fallbacks(&body) {
            Some((without, taken)) => (without.to_bytes().into(), without, taken),
            None => (bytes.clone(), body, Vec::new()),
        };
        Ok(Self { original, body, model, stream, cap, bound, taken, screened: Screened::default() })
    }

    /// Decides what is sent to a provider of which only the price list is known, and what that can cost.
    ///
    /// # Errors
    /// [`BadRequest`] for what cannot be sent there.
    pub fn screen(&mut self, hosted: HostedTools) -> Result<&Screened, BadRequest> {
        let screened = fields::screen(&self.body, hosted);
        // What such a request is billed says nothing about those that are billed by their tokens.
        self.bound.features.is_special |= screened.as_ref().map_or(true, |screened| !screened.hosted.is_empty());
        self.screened = screened?;
        Ok(&self.screened)
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

    /// Fields that no provider gets.
    pub fn taken(&self) -> &[&'static str] {
        &self.taken
    }

    /// Models that a tool of it asks beside the one that answers.
    pub fn advisors(&self) -> Vec<String> {
        tools::advisors(&self.body)
    }

    /// What hosted tools can add to its cost at a provider of which only the price list is known.
    pub const fn hosted(&self) -> &Hosted {
        &self.screened.hosted
    }

    /// What bounds the input.
    pub const fn bound(&self) -> &Bound {
        &self.bound
    }

    /// The input in tokens by an exact count of its texts, without the template; `None` when there is more than text in it.
    pub fn count_tokens(&self, count: impl Fn(&str) -> u64) -> Option<u64> {
        bounds::count::<reads::Messages>(&self.body, &self.bound, count)
    }

    /// The body to send upstream: as it came, but for the provider's name of the model, a cap that was lowered, and, unless a person vouches for the provider, what was
    /// taken out.
    pub fn upstream_body(&self, model: &str, cap: Option<u64>, is_own: bool) -> Bytes {
        let lowered = cap.filter(|cap| self.cap.is_some_and(|asked| *cap < asked));
        let is_screened = !is_own && self.screened.is_changed();
        if model == self.model && lowered.is_none() && !is_screened {
            return self.original.clone();
        }
        let mut body = if is_screened { self.screened.body_or(&self.body).clone() } else { self.body.clone() };
        body.set("model", &model);
        if let (Some(cap), Some(asked)) = (lowered, self.cap) {
            body.set("max_tokens", &cap);
            lower_member(&mut body, "thinking", "budget_tokens", cap, asked);
        }
        body.to_bytes().into()
    }

    /// The least cap with which the request still makes sense, beyond what is written: reasoning has a least budget of its own.
    pub fn least_cap(&self) -> u64 {
        if member(&self.body, "thinking", "budget_tokens").is_some() { THINKING_MIN + ANSWER_MIN } else { ANSWER_MIN }
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
        assert_eq!((read.model(), read.is_streamed(), read.output_cap()), ("m", true, Some(9)));
        // The instructions, the role, two bytes of text, and a message.
        assert_eq!(read.bound().tokens(None), Some(1 + 4 + 2 + 16));
        assert_eq!(read.upstream_body("m", Some(9), false), text);
        assert_eq!(read.upstream_body("n", Some(9), false), text.replace("\"m\"", "\"n\""));
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
    fn a_reference_to_a_tool_counts_as_the_largest_of_them() {
        let tool = |name: &str, text: &str| json!({"name": name, "description": text, "input_schema": {}, "defer_loading": true});
        let tokens = |content: Value| {
            let messages = json!([{"role": "user", "content": content}]);
            let body = json!({"model": "m", "max_tokens": 5, "messages": messages, "tools": [tool("a", &"x".repeat(500)), tool("b", "y")]});
            request(&body).unwrap().bound().tokens(None).unwrap()
        };
        let result = |blocks: Value| json!([{"type": "tool_result", "tool_use_id": "t", "content": blocks}]);
        let reference = json!({"type": "tool_reference", "tool_name": "b"});
        let (none, one, two) =
            (tokens(result(json!([]))), tokens(result(json!([reference]))), tokens(result(json!([reference, reference]))));
        assert!(one - none > 500 && two - one == one - none, "{none} {one} {two}");
        assert!(tokens(json!([{"type": "tool_addition", "tool": {"type": "tool_reference", "tool_name": "b"}}])) > none);
        // A definition may be of a tool that the provider describes by itself.
        let defined = json!({"type": "tool_definition", "definition": {"type": "bash_20250124", "name": "bash"}});
        assert!(tokens(json!([{"type": "tool_addition", "tool": defined}])) > none + 2_000);
        let toolset = json!({"type": "tool_definition", "definition": {"type": "browser_toolset_20260801"}});
        assert!(tokens(json!([{"type": "tool_addition", "tool": toolset}])) > none + 31 * 2_000);
    }

    #[test]
    fn pictures_count_wherever_they_stand() {
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
        let tokens = |content: &Value| with_content(content).bound().tokens(None).unwrap();
        assert!((50_000..51_000).contains(&tokens(&json!([image]))));
        assert!((100_000..101_000).contains(&tokens(&json!([{"type": "tool_result", "tool_use_id": "t", "content": [image, image]}]))));
        assert_eq!(with_content(&json!([image])).count_tokens(|text| text.len() as u64), None);
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
            assert_eq!(read.bound().tokens(None), None, "{content}");
            assert_eq!(read.bound().tokens(Some(200_000)), Some(200_000), "{content}");
        }
    }
}
