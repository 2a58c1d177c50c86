//! What is answered where no route is: what the address was likely meant to be, or which setting of a tool leads to a route that is here.

use axum::extract::Request;
use http::StatusCode;
use serde_json::json;

use super::{
    edge::{Form, Response, respond_as, respond_json},
    error::GatewayError,
    lengths::shown,
};

/// Where the documentation is: there is no address that every copy of it could name.
const DOCS: &str = "README.md and docs/ of lava-mcp; `lava-mcp --help`";
const RESPONSES: &str = "This gateway does not serve the Responses API yet; set the tool to chat completions: `openai.chat(…)` or @ai-sdk/openai-compatible in the AI SDK and opencode, \
                         `useResponsesApi: false` in Continue and LangChain.js (`use_responses_api=False` in Python), `openai-chat:` in Pydantic AI, \
                         `set_default_openai_api(\"chat_completions\")` in OpenAI's Agents SDK, `wire_api = \"chat\"` in versions of Codex that have it.";
const GOOGLE: &str = "This gateway does not serve Google's own API yet; use /v1/chat/completions, with an OpenAI client.";
const NOT_THERE: [(&str, &str); 14] = [
    ("/v1/responses", RESPONSES),
    ("/v1/messages/batches", "This gateway does not serve batches yet; send each message to /v1/messages."),
    ("/v1/batches", "This gateway does not serve batches yet; send each request to /v1/chat/completions."),
    (
        "/v1/completions",
        "This gateway does not serve the older completions API; use /v1/chat/completions (`is_chat_model=True` in LlamaIndex's OpenAILike, a chat model in other tools).",
    ),
    ("/v1/embeddings", "Embeddings are at /v1/forward?u=<address>, such as /v1/forward?u=https://api.openai.com/v1/embeddings."),
    ("/v1/files", "This gateway does not serve files yet; put their contents into the request."),
    ("/v1/uploads", "This gateway does not serve files yet; put their contents into the request."),
    ("/v1/realtime", "This gateway does not serve the Realtime API yet; use /v1/chat/completions."),
    ("/v1/images", "This gateway does not serve images yet."),
    ("/v1/audio", "This gateway does not serve audio yet."),
    ("/v1/moderations", "This gateway does not serve moderations yet."),
    ("/v1beta", GOOGLE),
    ("/v1alpha", GOOGLE),
    ("/mcp", "This is the gateway; `lava-mcp serve` serves MCP."),
];
const BASE_ADDRESSES: &str =
    "A base address for Anthropic's clients (ANTHROPIC_BASE_URL) ends without /v1, one for OpenAI's (OPENAI_BASE_URL) with it.";

/// `GET /` and `HEAD /`, and the same at `/api/hello`, with which some clients begin.
pub(super) async fn root() -> Response {
    respond_json(StatusCode::OK, Ok(json!({"name": "lava-mcp", "version": env!("CARGO_PKG_VERSION"), "docs": DOCS})))
}

/// Every path that has no route.
pub(super) async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    let is_at = |at: &str| path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let hint = NOT_THERE.iter().find(|(at, _)| is_at(at)).map_or(BASE_ADDRESSES, |(_, hint)| hint);
    refuse(&request, hint)
}

/// `POST /v1/models/{id}`, where Google's clients ask a model.
pub(super) async fn ask_of_google(request: Request) -> Response {
    refuse(&request, GOOGLE)
}

fn refuse(request: &Request, hint: &'static str) -> Response {
    respond_as(&Form::of(request), Err(GatewayError::NoRoute { path: shown(request.uri().path()), hint }))
}
