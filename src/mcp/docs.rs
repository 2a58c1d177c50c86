//! `get_provider_docs`: what one must know to call a provider.

use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    error::ToolError,
    login::Describe as _,
    schema::{input_schema, output_schema},
    text,
};
use crate::{
    client::ClientError,
    session::{Payer, Session},
};

const TEXT_CHARS_MAX: usize = 4_000;
/// Most addresses that are listed, and as much of each text about them, in characters. An example or a description of the credential that is longer is left out.
const ENDPOINTS_MAX: usize = 15;
const PART_CHARS_MAX: usize = 200;
const PART_BYTES_MAX: usize = 2_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// A provider id from search, such as "openai".
    provider: String,
}

/// How a provider is called.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Output {
    provider: String,
    /// The provider's own documentation.
    docs_url: Option<String>,
    /// What can be called: method, url, summary.
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    endpoints: Vec<Value>,
    /// How the gateway shows its credential, and where that is set.
    #[schemars(with = "serde_json::Map<String, Value>")]
    auth: Value,
    /// A request that can be sent with call.
    #[schemars(with = "Option<serde_json::Map<String, Value>>")]
    example: Option<Value>,
    /// Whether anything of it can be bought now.
    #[serde(default = "yes")]
    available: bool,
    /// Why not, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unavailable_reason: Option<String>,
    /// In words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

const fn yes() -> bool {
    true
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("get_provider_docs", None, input_schema::<Args>())
        .with_title("Read provider docs")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false))
        .describe(
            "Shows how to call a provider: its addresses, how its credential is set, an example, and where its documentation is. Use it before call, when the \
             example of search is not enough. Costs nothing and needs no login. Example: {\"provider\": \"openai\"}",
        )
}

pub(super) async fn run(session: &Session, payer: &Payer, args: Result<Args, ToolError>) -> Result<Output, ToolError> {
    let args = args?;
    let docs = match session.looker(payer).await?.provider_docs(&args.provider).await {
        Err(ClientError::Refused { status: 404, .. }) => {
            let message = format!("No provider is called \"{}\".", args.provider);
            return Err(ToolError::new("provider_not_found", message, "Call search with kind \"service\" to find providers."));
        }
        docs => docs?,
    };
    let mut output: Output =
        serde_json::from_value(docs).map_err(|error| ToolError::new("gateway_error", error.to_string(), "Tell the user."))?;
    output.unavailable_reason = output.unavailable_reason.map(|why| text::one_line(&why, TEXT_CHARS_MAX));
    output.text = output.text.map(|text| text::one_line(&text, TEXT_CHARS_MAX));
    output.endpoints.truncate(ENDPOINTS_MAX);
    for part in output.endpoints.iter_mut().chain([&mut output.auth]).chain(&mut output.example) {
        text::shorten_value(part, PART_CHARS_MAX);
        if !part.is_object() || part.to_string().len() > PART_BYTES_MAX {
            *part = Value::Null;
        }
    }
    output.provider = text::one_line(&output.provider, PART_CHARS_MAX);
    output.docs_url = output.docs_url.map(|url| text::one_line(&url, PART_CHARS_MAX));
    Ok(output)
}

impl Output {
    pub(super) fn text(&self) -> String {
        let mut lines = vec![self.text.clone().unwrap_or_else(|| self.provider.clone())];
        lines.extend(self.endpoints.iter().map(|endpoint| {
            let part = |name: &str| endpoint.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("- {} {} — {}", part("method"), part("url"), part("summary"))
        }));
        lines.extend(self.example.as_ref().map(|example| format!("Example: {example}")));
        lines.extend(self.docs_url.as_ref().map(|url| format!("Documentation: {url}")));
        lines.join("\n")
    }
}
