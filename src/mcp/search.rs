//! `search`: finds models and APIs, each with a request that is ready to be sent.

use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    answer::CHARS_MAX,
    error::ToolError,
    login::Describe as _,
    schema::{input_schema, output_schema},
    text,
};
use crate::session::{Payer, Session};

const LIMIT_MAX: usize = 25;
/// As much of a text that others wrote is passed on, in characters.
const TEXT_CHARS_MAX: usize = 400;
const NAME_CHARS_MAX: usize = 200;
/// A longer example or price list is left out, in bytes.
const PART_BYTES_MAX: usize = 2_000;

/// What to look for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Model,
    Service,
    Any,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// Words, such as "cheap vision model" or "gpt-4o-mini".
    query: String,
    /// Only models, or only services (providers and APIs). Default: any.
    kind: Option<Kind>,
    /// Only what this provider has, such as "groq". With an empty query: all of its models.
    provider: Option<String>,
    /// How many results, 1 to 25. Default: 8.
    limit: Option<usize>,
    /// The next_cursor of the previous page.
    cursor: Option<String>,
}

/// A page of results, best first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// How many results there are in all.
    total: usize,
    results: Vec<Hit>,
    /// Pass it as cursor to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    /// What the query asks for that is not sold, or why nothing was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// One thing that can be bought.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Hit {
    /// Use it as model in prompt, or as url in call.
    id: String,
    /// "model" or "service".
    kind: String,
    provider: String,
    label: String,
    summary: String,
    method: String,
    url: String,
    /// A body that can be sent as it is.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    example_body: Value,
    /// US dollars, as decimal strings; tokens_1m means per million tokens.
    #[serde(default)]
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    pricing: Value,
    /// "ready", "missing" or "not_needed".
    credentials: String,
    #[serde(default)]
    docs_url: Option<String>,
    /// The tools that buy it as it is shown: "prompt", "call".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tools: Vec<String>,
    /// Whether it can be bought now, as it is shown.
    #[serde(default = "yes")]
    available: bool,
    /// Why not, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unavailable_reason: Option<String>,
}

const fn yes() -> bool {
    true
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("search", None, input_schema::<Args>())
        .with_title("Search models and APIs")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false))
        .describe(
            "Finds AI models and providers that can be paid with this session, best first. Use it before prompt or call, to pick a model by ability or price. \
             Returns id, summary, price, whether credentials are ready, and an example body. Costs nothing and needs no login. \
             Example: {\"query\": \"cheap fast model with tools\", \"kind\": \"model\"}",
        )
}

pub(super) async fn run(session: &Session, payer: &Payer, args: Result<Args, ToolError>) -> Result<Output, ToolError> {
    let args = args?;
    if args.limit.is_some_and(|limit| !(1..=LIMIT_MAX).contains(&limit)) {
        return Err(ToolError::invalid(format!("limit: must be a number between 1 and {LIMIT_MAX}")));
    }
    if args.query.trim().is_empty() && args.provider.is_none() {
        return Err(ToolError::invalid("query: give at least one word, or a provider whose models to list"));
    }
    if args.cursor.as_ref().is_some_and(|cursor| cursor.parse::<usize>().is_err()) {
        return Err(ToolError::invalid("cursor: pass the next_cursor of the previous page, unchanged"));
    }
    let start = args.cursor.as_ref().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let mut parameters = vec![("query", args.query)];
    let kind = args.kind.map(|kind| match kind {
        Kind::Model => "model",
        Kind::Service => "service",
        Kind::Any => "any",
    });
    parameters.extend(kind.map(|kind| ("kind", kind.to_owned())));
    parameters.extend(args.provider.map(|provider| ("provider", provider)));
    parameters.extend(args.limit.map(|limit| ("limit", limit.to_string())));
    parameters.extend(args.cursor.map(|cursor| ("cursor", cursor)));
    let page = session.looker(payer).await?.search(&parameters).await?;
    let results = page.results.into_iter().filter_map(|hit| serde_json::from_value::<Hit>(hit).ok()).map(Hit::made_safe).collect();
    let note = page.note.map(|note| text::one_line(&note, TEXT_CHARS_MAX));
    Ok(Output { total: page.total, results, next_cursor: page.next_cursor, note }.within(start, CHARS_MAX))
}

impl Hit {
    fn made_safe(mut self) -> Self {
        self.summary = text::one_line(&self.summary, TEXT_CHARS_MAX);
        for name in
            [&mut self.id, &mut self.provider, &mut self.label, &mut self.url, &mut self.kind, &mut self.method, &mut self.credentials]
        {
            *name = text::one_line(name, NAME_CHARS_MAX);
        }
        self.unavailable_reason = self.unavailable_reason.map(|why| text::one_line(&why, TEXT_CHARS_MAX));
        self.tools.retain(|tool| matches!(tool.as_str(), "prompt" | "call"));
        self.docs_url = self.docs_url.map(|url| text::one_line(&url, NAME_CHARS_MAX));
        for part in [&mut self.example_body, &mut self.pricing] {
            if !part.is_object() || part.to_string().len() > PART_BYTES_MAX {
                *part = Value::Null;
            }
        }
        self
    }

    fn line(&self) -> String {
        let price = |name: &str| self.pricing.get(name).and_then(Value::as_str);
        let price = match (price("input"), price("output")) {
            (Some(input), Some(output)) => format!(" — {input} in / {output} out USD per 1M tokens"),
            _ => String::new(),
        };
        let not_now = self.unavailable_reason.as_ref().map(|why| format!("; cannot be bought now: {why}")).unwrap_or_default();
        format!("- {} — {}{price}; credentials {}{not_now}", self.id, self.summary, self.credentials.replace('_', " "))
    }
}

impl Output {
    /// As many results as fit; the others are on the next page, which begins after them.
    fn within(mut self, start: usize, chars_max: usize) -> Self {
        let size = |hit: &Hit| serde_json::to_string(hit).map_or(0, |text| text.chars().count() + 1);
        let mut chars = 100;
        let fit = self.results.iter().take_while(|hit| {
            chars += size(hit);
            chars <= chars_max
        });
        let fit = fit.count();
        if fit < self.results.len() {
            self.results.truncate(fit);
            self.next_cursor = Some((start + fit).to_string());
        }
        self
    }

    pub(super) fn text(&self) -> String {
        if self.results.is_empty() {
            return self.note.clone().unwrap_or_else(|| "Nothing found. Try other words, or fewer.".to_owned());
        }
        let mut lines: Vec<String> = self.results.iter().map(Hit::line).collect();
        lines.insert(0, format!("{} of {} results:", self.results.len(), self.total));
        lines.extend(self.note.clone());
        lines.extend(self.next_cursor.as_ref().map(|cursor| format!("More: pass cursor \"{cursor}\".")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_that_is_too_long_goes_on_where_it_ends() {
        let hit = |n: usize| -> Hit {
            let summary = "s".repeat(300);
            let hit = json!({"id": n.to_string(), "kind": "model", "provider": "p", "label": "l", "summary": summary, "method": "POST", "url": "u",
                             "credentials": "ready", "example_body": {"long": "x".repeat(2 * PART_BYTES_MAX)}});
            serde_json::from_value::<Hit>(hit).unwrap().made_safe()
        };
        let page = || Output { total: 30, results: (0..20).map(hit).collect(), next_cursor: Some("25".to_owned()), note: None };
        let whole = page().within(5, 20_000);
        assert_eq!((whole.results.len(), whole.next_cursor.as_deref()), (20, Some("25")));
        let cut = page().within(5, 5_000);
        let shown = cut.results.len();
        assert!(shown < 12 && serde_json::to_string(&cut).unwrap().len() <= 5_000, "{shown}");
        assert_eq!(cut.next_cursor, Some((5 + shown).to_string()));
        assert_eq!(cut.results[0].example_body, Value::Null, "what others wrote is only so long");
    }
}
