//! The OpenAI dialect: what the gateway must know about a request before it sends it on.

mod fields;
mod reads;
mod reply;
mod whole;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

pub use reply::{inspect, usage, with_choices, without_usage};
pub use whole::{as_events, from_events};

use super::{
    BadRequest,
    bounds::{self, Bound, TEMPLATE_TOKENS},
    field,
    lowering::{ANSWER_MIN, THINKING_MIN, at_most, lower, lower_member, member},
    needed, parse_object,
    raw::RawObject,
    screening::{Hosted, HostedTools, Screened},
};

/// A chat completions request of which the gateway has read what it needs.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    original: Bytes,
    body: RawObject,
    model: String,
    stream: bool,
    wants_usage: bool,
    choices: u64,
    cap: Option<u64>,
    bound: Bound,
    screened: Screened,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// What a provider takes of a chat request.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The field in which it obeys an output cap.
    pub cap_field: &'static str,
    /// Whether it can be asked for the usage of a stream.
    pub takes_stream_options: bool,
    /// The tier of its price list, where a request without one gets what the account is set to.
    pub tier: Option<&'static str>,
    /// Whether a person vouches for it, so that nothing is taken out.
    pub is_own: bool,
}

impl ChatRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse(bytes: &Bytes) -> Result<Self, BadRequest> {
        let body = parse_object(bytes)?;
        let model: String = needed(&body, "model", "must be a model id, as a string")?;
        let stream = field(&body, "stream", "must be true or false")?.unwrap_or(false);
        let options: Option<StreamOptions> = field(&body, "stream_options", "must be an object such as {\"include_usage\": true}")?;
        let choices = field(&body, "n", "must be a whole number of at least 1")?.unwrap_or(1);
        let completion_cap: Option<u64> = field(&body, "max_completion_tokens", "must be a whole number of tokens")?;
        let cap: Option<u64> = field(&body, "max_tokens", "must be a whole number of tokens")?;
        if !body.get("messages").is_some_and(|messages| messages.get().starts_with('[')) {
            return Err(BadRequest::Field { field: "messages", expected: "must be an array of messages" });
        }
        if completion_cap == Some(0) || cap == Some(0) {
            // Some servers read zero as no limit.
            return Err(BadRequest::Field { field: "max_tokens", expected: "must be a whole number of at least 1" });
        }
        if choices == 0 {
            return Err(BadRequest::Field { field: "n", expected: "must be a whole number of at least 1" });
        }
        fields::check_names(&body)?;
        let bound = bounds::measure::<reads::Chat>(&body)?;
        Ok(Self {
            original: bytes.clone(),
            model,
            stream,
            wants_usage: options.is_some_and(|options| options.include_usage),
            choices,
            cap: match (completion_cap, cap) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
            bound,
            screened: Screened::default(),
            body,
        })
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
        bounds::count::<reads::Chat>(&self.body, &self.bound, count)
    }

    /// The body to send upstream: the provider's model name, the output cap in the one field that the provider obeys, usage in streams where the provider can be asked for
    /// it, and, unless a person vouches for the provider, without what was taken out.
    pub fn upstream_body(&self, model: &str, cap: Option<u64>, terms: &Terms) -> Bytes {
        let Terms { cap_field, takes_stream_options, tier, is_own } = *terms;
        let asks_for_usage = self.stream && !self.wants_usage && takes_stream_options;
        let has_too_much = !takes_stream_options && self.body.get("stream_options").is_some();
        let is_screened = !is_own && self.screened.is_changed();
        let has_its_cap = cap.is_none() || (cap == self.cap && self.has_only_cap(cap_field));
        let body = if is_screened { self.screened.body_or(&self.body) } else { &self.body };
        let tier = tier.filter(|_| fields::leaves_tier(body));
        if model == self.model && !asks_for_usage && !has_too_much && !is_screened && has_its_cap && tier.is_none() {
            return self.original.clone();
        }
        let mut body = body.clone();
        if model != self.model {
            body.set("model", &model);
        }
        if let (Some(cap), Some(asked)) = (cap, self.cap)
            && cap < asked
        {
            lower(&mut body, "thinking_budget", cap, asked);
            lower_member(&mut body, "thinking", "budget_tokens", cap, asked);
            lower_member(&mut body, "reasoning", "max_tokens", cap, asked);
        }
        if let Some(cap) = cap {
            let other = if cap_field == "max_tokens" { "max_completion_tokens" } else { "max_tokens" };
            body.rename(other, cap_field);
            body.set(cap_field, &cap);
            at_most(&mut body, "min_tokens", cap);
        }
        if let Some(tier) = tier {
            body.set("service_tier", &tier);
        }
        if asks_for_usage {
            let mut options: serde_json::Map<String, Value> = body.read("stream_options").ok().flatten().unwrap_or_default();
            options.insert("include_usage".to_owned(), Value::Bool(true));
            body.set("stream_options", &options);
        }
        if has_too_much {
            body.remove("stream_options");
        }
        body.to_bytes().into()
    }

    /// The least cap with which the request still makes sense: reasoning with a budget has a least one.
    pub fn least_cap(&self) -> u64 {
        let budgets = [member(&self.body, "thinking", "budget_tokens"), member(&self.body, "reasoning", "max_tokens")];
        if budgets.into_iter().flatten().next().is_some() { THINKING_MIN + ANSWER_MIN } else { ANSWER_MIN }
    }

    /// Whether the caller's cap stands where the provider looks for it, and nowhere else.
    fn has_only_cap(&self, cap_field: &str) -> bool {
        let other = if cap_field == "max_tokens" { "max_completion_tokens" } else { "max_tokens" };
        self.body.get(other).is_none() && self.body.get(cap_field).is_some_and(|raw| raw.get() != "null")
    }
}

/// An embeddings request: input only, so its bytes bound its cost.
#[derive(Clone, Debug)]
pub struct EmbeddingsRequest {
    original: Bytes,
    body: RawObject,
    model: String,
}

const INPUT: &str = "must be a string, an array of strings, or arrays of tokens";

/// What may be embedded.
#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only whether it can be read counts")]
enum EmbeddingsInput {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

impl EmbeddingsRequest {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`BadRequest`] with a sentence for the caller.
    pub fn parse(bytes: &Bytes) -> Result<Self, BadRequest> {
        let body = parse_object(bytes)?;
        let model = needed(&body, "model", "must be a model id, as a string")?;
        // Only what stands in the body is bounded by its bytes: texts and tokens, not pictures by reference.
        let _: EmbeddingsInput = needed(&body, "input", INPUT)?;
        fields::check_embeddings(&body)?;
        Ok(Self { original: bytes.clone(), body, model })
    }

    /// The model as the caller named it.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// A true upper bound of the input in tokens.
    pub const fn input_tokens_max(&self) -> u64 {
        self.original.len() as u64 + TEMPLATE_TOKENS
    }

    /// The body to send upstream.
    pub fn upstream_body(&self, model: &str) -> Bytes {
        if model == self.model {
            return self.original.clone();
        }
        let mut body = self.body.clone();
        body.set("model", &model);
        body.to_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(value: &Value) -> Result<ChatRequest, BadRequest> {
        ChatRequest::parse(&Bytes::from(value.to_string()))
    }

    #[test]
    fn a_request_is_read() {
        let body = json!({"model": "m", "stream": true, "n": 2, "max_tokens": 7, "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://x"}}]}]});
        let chat = request(&body).unwrap();
        assert_eq!((chat.model(), chat.is_streamed(), chat.choices(), chat.output_cap()), ("m", true, 2, Some(7)));
        // The role, the text, a message and two parts of 16 tokens, and the image.
        assert_eq!(chat.bound().tokens(None), Some(4 + 1 + 3 * 16 + 50_000));
        assert_eq!(chat.count_tokens(|text| text.len() as u64), None);
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
            (json!({"model": "m", "messages": [], "max_completion_tokens": 0}), "max_tokens"),
            (json!({"model": "m", "messages": [], "stream": "yes"}), "stream"),
        ] {
            let error = request(&body).unwrap_err().to_string();
            assert!(error.starts_with(field), "{body}: {error}");
        }
        assert!(matches!(ChatRequest::parse(&Bytes::from("{")), Err(BadRequest::NotJson(_))));
    }

    #[test]
    fn a_file_by_reference_is_bounded_by_the_context_window_only() {
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]});
        let chat = request(&body).unwrap();
        assert_eq!(chat.bound().tokens(None), None);
        assert_eq!(chat.bound().tokens(Some(128_000)), Some(128_000));
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        for content in [json!(["text", {"type": "image_url"}]), json!({"type": "image_url"}), json!([{"type": "video_url"}]), json!(5)] {
            let chat = request(&json!({"model": "m", "messages": [{"role": "user", "content": content}]})).unwrap();
            assert_eq!(chat.bound().tokens(None), None, "{content}");
        }
        let audio = json!({"model": "m", "messages": [{"role": "assistant", "audio": {"id": "a"}}]});
        assert_eq!(request(&audio).unwrap().bound().tokens(None), None);
    }

    #[test]
    fn the_upstream_body_changes_only_what_it_must() {
        let plain = r#"{"model":"m","messages":[{"role":"user","content":"é"}],"temperature":0.70,"max_tokens":9}"#;
        let chat = ChatRequest::parse(&Bytes::from(plain)).unwrap();
        let terms = |cap_field| Terms { cap_field, takes_stream_options: true, tier: None, is_own: false };
        assert_eq!(chat.upstream_body("m", chat.output_cap(), &terms("max_tokens")), plain);
        // One cap, under the name that the provider obeys.
        let renamed = plain.replace("max_tokens", "max_completion_tokens");
        assert_eq!(chat.upstream_body("m", chat.output_cap(), &terms("max_completion_tokens")), renamed);
        let both = ChatRequest::parse(&Bytes::from(r#"{"model":"m","messages":[],"max_tokens":9,"max_completion_tokens":5}"#)).unwrap();
        assert_eq!(both.upstream_body("m", both.output_cap(), &terms("max_tokens")), r#"{"model":"m","messages":[],"max_tokens":5}"#);

        let streamed = r#"{"model":"p/m","stream":true,"messages":[]}"#;
        let chat = ChatRequest::parse(&Bytes::from(streamed)).unwrap();
        let body = String::from_utf8(chat.upstream_body("m", Some(9), &terms("max_tokens")).to_vec()).unwrap();
        assert_eq!(body, r#"{"model":"m","stream":true,"messages":[],"max_tokens":9,"stream_options":{"include_usage":true}}"#);
    }

    #[test]
    fn a_provider_that_takes_no_stream_options_gets_none() {
        let terms = |takes_stream_options| Terms { cap_field: "max_tokens", takes_stream_options, tier: None, is_own: false };
        for (options, wants_usage) in
            [("", false), (r#","stream_options":{"include_usage":true}"#, true), (r#","stream_options":{}"#, false)]
        {
            let chat = ChatRequest::parse(&Bytes::from(format!(r#"{{"model":"m","stream":true,"messages":[]{options}}}"#))).unwrap();
            assert_eq!(chat.wants_usage(), wants_usage);
            assert_eq!(chat.upstream_body("m", None, &terms(false)), r#"{"model":"m","stream":true,"messages":[]}"#);
            let asked = String::from_utf8(chat.upstream_body("m", None, &terms(true)).to_vec()).unwrap();
            assert!(asked.contains(r#""stream_options":{"include_usage":true}"#), "{asked}");
        }
    }

    #[test]
    fn embeddings_are_of_text_or_tokens() {
        for input in [json!("a"), json!(["a", "b"]), json!([1, 2]), json!([[1], [2]])] {
            assert!(EmbeddingsRequest::parse(&Bytes::from(json!({"model": "m", "input": input}).to_string())).is_ok(), "{input}");
        }
        for more in [r#""Model":"expensive""#, r#""models":["expensive"]"#, r#""INPUT":"more""#] {
            let body = format!(r#"{{"model":"m","input":"a",{more}}}"#);
            assert!(EmbeddingsRequest::parse(&Bytes::from(body)).is_err(), "{more}");
        }
        for input in [json!({"image": "https://x"}), json!([{"type": "image_url"}]), json!(null)] {
            assert!(EmbeddingsRequest::parse(&Bytes::from(json!({"model": "m", "input": input}).to_string())).is_err(), "{input}");
        }
    }
}
