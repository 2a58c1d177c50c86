//! The parts of OpenAI's form, as they are described to a client. Only the schemas are used: what was sent is passed on as it came, with whatever else is in it.
#![expect(dead_code, reason = "only the schemas are used")]

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// One message of a conversation.
#[derive(JsonSchema)]
pub(super) struct Message {
    /// "system", "user", "assistant" or "tool".
    role: String,
    content: Option<Content>,
    /// What an assistant called, in OpenAI's form.
    tool_calls: Option<Vec<Map<String, Value>>>,
    /// Which call a tool's message answers.
    tool_call_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Content {
    /// The text.
    Text(String),
    /// Parts, such as {"type": "text", "text": "Hello"} or {"type": "image_url", "image_url": {"url": "https://…"}}.
    Parts(Vec<Map<String, Value>>),
}

/// A function the model may call.
#[derive(JsonSchema)]
pub(super) struct Function {
    /// "function".
    #[schemars(rename = "type")]
    kind: String,
    function: Option<Signature>,
}

/// Its name, what it is for, and what it takes.
#[derive(JsonSchema)]
struct Signature {
    name: String,
    description: Option<String>,
    /// A JSON Schema.
    parameters: Option<Map<String, Value>>,
}

/// The form of the answer.
#[derive(JsonSchema)]
pub(super) struct ResponseFormat {
    /// "text", "json_object" or "json_schema".
    #[schemars(rename = "type")]
    kind: String,
    /// {"name": …, "schema": …}, for json_schema.
    json_schema: Option<Map<String, Value>>,
}

/// Headers that may be set.
#[derive(JsonSchema)]
pub(super) struct Headers {
    accept: Option<String>,
    #[schemars(rename = "content-type")]
    content_type: Option<String>,
    #[schemars(rename = "openai-beta")]
    openai_beta: Option<String>,
}

/// What an API answered.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Body {
    /// Text, and JSON that is neither an object nor a list of objects.
    Text(String),
    /// A JSON object; for images, sound and files it shows what and where they are.
    Object(Map<String, Value>),
    /// A list of JSON objects.
    List(Vec<Map<String, Value>>),
}
