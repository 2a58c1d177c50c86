//! The server card (the extension of SEP-2127): what this server is and where it is spoken to, for programs that look for servers. It lists no tools; those a
//! client asks for.

use axum::{Json, extract::Request, response::IntoResponse};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::listen::{host, is_this_machine};

/// Where the extension's draft puts the card: below the server's own address.
pub(super) const PATH: &str = "/mcp/server-card";
/// Where earlier drafts put it, and most programs look.
pub(super) const WELL_KNOWN_PATH: &str = "/.well-known/mcp/server-card.json";
/// The name in registries: a domain read backwards, and a name below it.
const NAME: &str = "so.lava/lava-mcp";

pub(super) async fn card(request: Request) -> impl IntoResponse {
    let host = host(&request).ok().flatten().unwrap_or("127.0.0.1");
    // Under a domain's name a proxy with TLS stands in front, and a client must not send its key past it in the clear.
    let is_address = host.starts_with('[') || host.split(':').next().is_some_and(|name| name.parse::<std::net::Ipv4Addr>().is_ok());
    let scheme = if is_address || is_this_machine(host) { "http" } else { "https" };
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
        "description": "Lets an AI agent buy AI models and APIs from one spend key, whose limit holds",
        "version": env!("CARGO_PKG_VERSION"),
        "remotes": [{"type": "streamable-http", "url": url}],
    })
}
