//! `login`: makes sure that there is a key to pay with, within what its owner allows. The key itself is never part of a result.

use jiff::Timestamp;
use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call,
    args::{input_schema, output_schema},
    error::ToolError,
};
use crate::{
    client::{LimitObject, SpendKeyObject},
    session::{GatewayInfo, Narrowing, Session},
};

/// Restrictions to ask for; each may only narrow what the owner has set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// Most money a cycle, such as {"amount": "1.00", "cycle": "daily"}. Less than the owner's limit only.
    spend_limit: Option<LimitObject>,
    /// Models the session may use, such as ["gpt-4o-mini"].
    allowed_models: Option<Vec<String>>,
    /// Providers the session may use, such as ["openai"].
    allowed_providers: Option<Vec<String>>,
    /// When the session key stops working (RFC 3339), such as "2027-01-31T18:00:00Z".
    expires_at: Option<String>,
    /// Replace the key's value by a new one. What it has spent stays.
    #[serde(default)]
    force: bool,
}

/// The session that is ready.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// "ready", or "pending" while a person has yet to finish in a browser.
    status: &'static str,
    gateway: GatewayInfo,
    /// The session's spend key, without the key itself.
    spend_key: Option<SpendKeyObject>,
    /// US dollars left in this cycle.
    remaining: Option<String>,
    /// Where a person finishes a pending login.
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
    /// Where the key is kept: "environment", "keyring" or "file".
    stored_in: &'static str,
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("login", None, input_schema::<Args>())
        .with_title("Log in")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(false).destructive(false).idempotent(true).open_world(false))
        .describe(
            "Makes a spend key for this session, or reuses the one there is, so that prompt and call can pay. Call it first, and again when a call says that the \
             key is not valid. Returns the key's limit, what is left, and where it is kept; never the key. Arguments can only lower what the owner allows. \
             Example: {\"spend_limit\": {\"amount\": \"1.00\", \"cycle\": \"daily\"}}",
        )
}

pub(super) async fn run(session: &Session, call: &Call, args: Result<Args, ToolError>) -> Result<Output, ToolError> {
    let args = args?;
    let narrowing = Narrowing {
        spend_limit: args.spend_limit.map(|limit| read_limit(&limit)).transpose()?,
        allowed_models: args.allowed_models.map(|list| not_empty("allowed_models", list)).transpose()?,
        allowed_providers: args.allowed_providers.map(|list| not_empty("allowed_providers", list)).transpose()?,
        expires_at: args.expires_at.map(|text| read_time(&text)).transpose()?,
    };
    let logged_in = session.login(&call.payer, &narrowing, args.force).await?;
    let remaining = logged_in.key.as_ref().and_then(SpendKeyObject::remaining);
    Ok(Output {
        status: "ready",
        gateway: session.info().clone(),
        spend_key: logged_in.key,
        remaining,
        login_url: None,
        stored_in: logged_in.stored_in,
    })
}

fn read_limit(limit: &LimitObject) -> Result<crate::domain::SpendLimit, ToolError> {
    let read = limit.to_limit().filter(|limit| limit.amount > crate::domain::Money::ZERO);
    read.ok_or_else(|| ToolError::invalid("spend_limit.amount: a decimal above zero, as text, is needed, such as \"1.00\""))
}

fn not_empty(name: &str, list: Vec<String>) -> Result<Vec<String>, ToolError> {
    if list.is_empty() { Err(ToolError::invalid(format!("{name}: at least one entry is needed; leave it out for all"))) } else { Ok(list) }
}

fn read_time(text: &str) -> Result<Timestamp, ToolError> {
    text.parse().map_err(|_| ToolError::invalid(format!("expires_at: \"{text}\" is not a time such as 2027-01-31T18:00:00Z")))
}

impl Output {
    pub(super) fn text(&self) -> String {
        let place = match (&self.gateway.url, self.gateway.sandbox) {
            (Some(url), _) => format!("the gateway at {url}"),
            (None, true) => "the sandbox: nothing leaves this machine and no money is spent".to_owned(),
            (None, false) => "the embedded gateway".to_owned(),
        };
        let mut lines = vec![format!("Ready, with {place}.")];
        if let Some(key) = &self.spend_key {
            let limit = key
                .spend_limit
                .as_ref()
                .map_or_else(|| "no limit".to_owned(), |limit| format!("{} USD {}", limit.amount, limit.cycle.as_str()));
            lines.push(format!(
                "Spend key {} ({}): {limit}, {} USD left.",
                key.key_preview,
                key.name,
                self.remaining.as_deref().unwrap_or("unlimited")
            ));
        }
        lines.push(format!("The key is kept in the {}. Next: search, prompt or call.", self.stored_in));
        lines.join("\n")
    }
}

/// Sets a description after the rest, where it is easier to read.
pub(super) trait Describe {
    /// The tool with this description.
    fn describe(self, text: &'static str) -> Self;
}

impl Describe for Tool {
    fn describe(mut self, text: &'static str) -> Self {
        self.description = Some(text.into());
        self
    }
}
