//! Resources: what a client can read, or a person attach, without calling a tool. Listing them opens nothing.

use rmcp::{
    ErrorData,
    model::{CacheScope, ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    LavaMcp,
    answer::{CHARS_MAX, Stop},
    content,
    error::ToolError,
    media,
    results::{self, Kept},
    text, usage,
};
use crate::session::Payer;

const CATALOG: &str = "lava-mcp://catalog";
const SESSION: &str = "lava-mcp://session";
pub(super) const MODELS: &str = "lava-mcp://models/";
/// Most models in the catalog resource; search finds the others.
const MODELS_MAX: usize = 150;
/// How long what is read may be kept, in milliseconds: prices change with the program and its settings, spending with each call, and a result never.
const CATALOG_TTL_MS: u64 = 600_000;
const RESULT_TTL_MS: u64 = 86_400_000;
/// Most text of a result that is read at once, in characters, and most bytes of one that is no text. What is larger has pages, or is a file.
const WHOLE_CHARS_MAX: usize = 1_000_000;
const BLOB_BYTES_MAX: usize = 8 << 20;

pub(super) fn list() -> Vec<Resource> {
    let json = |uri: &str, name: &str, title: &str, about: &str| {
        Resource::new(uri, name).with_title(title).with_description(about).with_mime_type("application/json")
    };
    vec![
        json(
            CATALOG,
            "catalog",
            "Models that can be paid now",
            "Models whose credentials are ready, with their prices in US dollars per million tokens",
        ),
        json(
            SESSION,
            "session",
            "This session's spending",
            "What the session's spend key has spent, its limit, what is left, and the newest requests",
        ),
    ]
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template =
        |uri: String, name: &str, title: &str, about: &str| ResourceTemplate::new(uri, name).with_title(title).with_description(about);
    vec![
        template(
            format!("{MODELS}{{+id}}"),
            "model",
            "A model",
            "One model by its id, such as openai/gpt-4o-mini: abilities, price and an example",
        )
        .with_mime_type("application/json"),
        template(
            format!("{}{{id}}{{?offset}}", results::ADDRESS),
            "result",
            "A kept result",
            "A tool's result that was too long or is not text, whole or from a given character on; only for the session that paid for it",
        ),
    ]
}

/// Reads a resource.
pub(super) async fn read(server: &LavaMcp, payer: &Payer, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let (contents, ttl_ms, scope) = if uri == CATALOG {
        (as_json(uri, &catalog(server, payer).await.map_err(failed)?), CATALOG_TTL_MS, CacheScope::Private)
    } else if uri == SESSION {
        (as_json(uri, &usage::of(server, payer, usage::LIMIT_DEFAULT).await.map_err(failed)?), 0, CacheScope::Private)
    } else if let Some(id) = uri.strip_prefix(MODELS) {
        let model = model(server, payer, id).await.map_err(failed)?.ok_or_else(|| not_found(uri))?;
        (as_json(uri, &model), CATALOG_TTL_MS, CacheScope::Private)
    } else if let Some(result) = find(server, payer, uri).await {
        (result.into_contents(uri)?, RESULT_TTL_MS, CacheScope::Private)
    } else {
        return Err(not_found(uri));
    };
    Ok(ReadResourceResult::new(vec![contents]).with_ttl_ms(ttl_ms).with_cache_scope(scope))
}

/// A result that was kept, and from where on it is wanted.
pub(super) struct Found {
    pub(super) kind: &'static str,
    pub(super) kept: Kept,
    pub(super) bytes: bytes::Bytes,
    offset: Option<usize>,
}

/// The result at an address such as `lava-mcp://results/0123…?offset=18000`, if `payer` has one there.
pub(super) async fn find(server: &LavaMcp, payer: &Payer, uri: &str) -> Option<Found> {
    let rest = uri.strip_prefix(results::ADDRESS)?;
    let (id, offset) = match rest.split_once("?offset=") {
        Some((id, offset)) => (id, Some(offset.parse().ok()?)),
        None => (rest, None),
    };
    let (kind, kept, bytes) = server.results.read(payer, id).await?;
    Some(Found { kind, kept, bytes, offset })
}

impl Found {
    /// The text from where it is wanted on, as much of it as takes `max` characters in JSON; `None` when it is no text.
    pub(super) fn page(&self, max: usize) -> Option<(String, Option<content::Truncated>)> {
        let whole = self.text()?;
        Some(content::page(whole, &self.kept, self.offset.unwrap_or(0), max))
    }

    fn text(&self) -> Option<&str> {
        if matches!(self.kind, "text/plain" | "application/json") { std::str::from_utf8(&self.bytes).ok() } else { None }
    }

    fn into_contents(self, uri: &str) -> Result<ResourceContents, ErrorData> {
        let too_large = |rest: &str| {
            let file = self.kept.file.as_ref().map(|file| format!(" The whole is in {file}.")).unwrap_or_default();
            ErrorData::invalid_params(format!("{uri} is too large to be read at once.{rest}{file}"), None)
        };
        let contents = match (self.text(), self.offset) {
            (Some(_), Some(_)) => ResourceContents::text(self.page(CHARS_MAX).unwrap_or_default().0, uri),
            (Some(text), None) if text.chars().count() <= WHOLE_CHARS_MAX => ResourceContents::text(text, uri),
            (Some(_), None) => return Err(too_large(" Read it in pages, from ?offset=0 on.")),
            (None, _) if self.bytes.len() <= BLOB_BYTES_MAX => ResourceContents::blob(media::to_base64(&self.bytes), uri),
            (None, _) => return Err(too_large("")),
        };
        Ok(contents.with_mime_type(self.kind))
    }
}

fn as_json(uri: &str, value: &impl Serialize) -> ResourceContents {
    let value = text::visible_value(serde_json::to_value(value).unwrap_or_default());
    ResourceContents::text(value.to_string(), uri).with_mime_type("application/json")
}

fn not_found(uri: &str) -> ErrorData {
    let message = format!("unknown resource {}; see resources/list and resources/templates/list", text::one_line(uri, 200));
    ErrorData::resource_not_found(message, Some(json!({ "uri": text::one_line(uri, 200) })))
}

/// A failure to read what exists: there is no tool error to tell it with.
fn failed(stop: Stop) -> ErrorData {
    let text = match stop {
        Stop::Failed(error) => error.to_text(),
        Stop::Ask(_) => "this needs an answer first".to_owned(),
    };
    ErrorData::internal_error(text, None)
}

/// The models that can be paid now, the best known providers first, with their prices.
async fn catalog(server: &LavaMcp, payer: &Payer) -> Result<Value, Stop> {
    let client = server.session.looker(payer).await?;
    let mut models: Vec<Value> = Vec::new();
    let (mut chars, mut total, mut cursor) = (0, 0, Some("0".to_owned()));
    while let Some(from) = cursor.take() {
        let page = client
            .search(&[
                ("query", String::new()),
                ("kind", "model".to_owned()),
                ("available", "true".to_owned()),
                ("limit", "25".to_owned()),
                ("cursor", from),
            ])
            .await?;
        total = page.total;
        for hit in &page.results {
            let part = |name: &str| hit.pointer(name).cloned().unwrap_or_default();
            let model = json!({"id": part("/id"), "input": part("/pricing/input"), "output": part("/pricing/output")});
            chars += model.to_string().len() + 1;
            if models.len() >= MODELS_MAX || chars > CHARS_MAX - 500 {
                return Ok(listing(total, &models));
            }
            models.push(model);
        }
        cursor = page.next_cursor;
    }
    Ok(listing(total, &models))
}

fn listing(total: usize, models: &[Value]) -> Value {
    let more = "The search tool finds the others, and shows more about each.";
    json!({"unit": "US dollars per million tokens", "total": total, "shown": models.len(), "models": models, "more": more})
}

/// One model by its id, as search shows it.
async fn model(server: &LavaMcp, payer: &Payer, id: &str) -> Result<Option<Value>, Stop> {
    let client = server.session.looker(payer).await?;
    let id = percent_decoded(id);
    Ok(client.model_by_id(&id).await?)
}

/// An id as some clients write it in an address.
fn percent_decoded(text: &str) -> String {
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, text)| text.into_owned()).unwrap_or_default()
}

/// Ids of models that can be bought and begin like `beginning`, for a client that completes what a person types.
pub(super) async fn complete_model(server: &LavaMcp, payer: &Payer, beginning: &str) -> Result<Vec<String>, ToolError> {
    if beginning.trim().is_empty() {
        return Ok(Vec::new());
    }
    let client = server.session.looker(payer).await?;
    let page = client
        .search(&[
            ("query", beginning.to_owned()),
            ("kind", "model".to_owned()),
            ("available", "true".to_owned()),
            ("limit", "25".to_owned()),
        ])
        .await?;
    // A gateway elsewhere may not know the word.
    let is_available = |hit: &&Map<String, Value>| hit.get("available") != Some(&Value::Bool(false));
    let id = |hit: &Map<String, Value>| hit.get("id").and_then(Value::as_str).map(|id| text::one_line(id, 200));
    Ok(page.results.iter().filter_map(|hit| hit.as_object().filter(is_available).and_then(id)).collect())
}
