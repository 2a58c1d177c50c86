//! The server card (the extension of SEP-2127): what this server is and where it is spoken to, for programs that look for servers. It lists no tools; those a
//! client asks for.

use axum::{Json, extract::Request, response::IntoResponse};
use http::{HeaderValue, header, uri::Scheme};
use serde_json::{Value, json};

use crate::listen::host;

/// Where the extension's draft puts the card: below the server's own address.
pub(super) const PATH: &str = "/mcp/server-card";
/// Where earlier drafts put it, and most programs look.
pub(super) const WELL_KNOWN_PATH: &str = "/.well-known/mcp/server-card.json";
/// The name in registries: a domain read backwards, and a name below it.
const NAME: &str = "so.lava/lava-mcp";

pub(super) async fn card(request: Request) -> impl IntoResponse {
    let scheme = request.uri().scheme().unwrap_or(&Scheme::HTTP).clone();
    let host = host(&request).ok().flatten().unwrap_or("127.0.0.1");
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/mcp-server-card+json"))],
        Json(describe(&format!("{scheme}://{host}/mcp"))),
    )
}

fn describe(url: &str) -> Value {
    json!({
        "$schema": "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
        "name": NAME,
        "title": "Lava",
        "description": "A wallet with a lid for AI agents: models and APIs under one spend limit",
        "version": env!("CARGO_PKG_VERSION"),
        "remotes": [{"type": "streamable-http", "url": url}],
    })
}
