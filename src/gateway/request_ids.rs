//! The ids of a request: ours, under the names that the official SDKs read, and the provider's, which its support asks for.
//!
//! Nothing else of a provider's head is handed on: its rate limits are those of the gateway's account, and say nothing about the caller's key.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::domain::{RequestId, Secret};

/// On every answer. The second is what OpenAI's SDKs read, the third what Anthropic's do.
const OURS: [HeaderName; 3] =
    [HeaderName::from_static("x-lava-request-id"), HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];
/// On answers that a provider gave.
const OF_UPSTREAM: HeaderName = HeaderName::from_static("x-lava-upstream-request-id");
/// On every answer too: shows a client that this gateway has the routes and fields that Lava does not.
const GATEWAY: HeaderName = HeaderName::from_static("x-lava-mcp-gateway");
/// Where providers put their id, the best first. The last one is of a network in front of them.
const NAMES: [&str; 12] = [
    // OpenAI, Groq, xAI, Together, Fireworks and most others.
    "x-request-id",
    // Anthropic.
    "request-id",
    // AWS Bedrock.
    "x-amzn-requestid",
    // Azure: API Management, then the service behind it.
    "apim-request-id",
    "x-ms-request-id",
    // Mistral: its own, then that of the Kong gateway in front of it.
    "mistral-correlation-id",
    "x-kong-request-id",
    // NVIDIA's cloud functions.
    "nvcf-reqid",
    // OpenRouter.
    "x-generation-id",
    // SiliconFlow.
    "x-siliconcloud-trace-id",
    // DeepSeek.
    "x-ds-trace-id",
    // Cloudflare.
    "cf-ray",
];
/// Where it is in an error: Anthropic and Alibaba, Azure, Volcano Engine, those who put it inside.
const IN_BODY: [&str; 4] = ["/request_id", "/requestId", "/ResponseMetadata/RequestId", "/error/request_id"];
/// A longer one is not an id.
const BYTES_MAX: usize = 256;

/// Puts our id on an answer, once.
pub(super) fn stamp(id: &RequestId, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        for name in OURS {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(GATEWAY, HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
}

/// The provider's id of a request.
pub(super) fn of_upstream(headers: &HeaderMap, key: Option<&Secret>) -> Option<HeaderValue> {
    NAMES.iter().filter_map(|name| headers.get(*name)).find(|value| is_an_id(value, key)).cloned()
}

/// The same where only an error says it.
pub(super) fn in_body(body: &Value, key: Option<&Secret>) -> Option<HeaderValue> {
    let mut ids = IN_BODY.iter().filter_map(|path| HeaderValue::from_str(body.pointer(path)?.as_str()?).ok());
    ids.find(|value| is_an_id(value, key))
}

/// One that quotes the key it was asked with does not count.
fn is_an_id(value: &HeaderValue, key: Option<&Secret>) -> bool {
    let text = value.to_str().unwrap_or_default();
    (1..=BYTES_MAX).contains(&text.len()) && key.is_none_or(|key| !text.contains(key.expose()))
}

/// Puts the provider's id on an answer, where it gave one.
pub(super) fn name_upstream(id: Option<HeaderValue>, headers: &mut HeaderMap) {
    headers.extend(id.map(|id| (OF_UPSTREAM, id)));
}
