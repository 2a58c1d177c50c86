//! Asks the person how much a client may spend, and says what to do where there is no answer.

use rmcp::model::{ElicitationSchema, EnumSchema, PrimitiveSchemaDefinition};
use serde_json::Value;

use super::{
    Call,
    ask::{Asked, Conversation, No},
    error::ToolError,
};
use crate::{
    domain::SpendLimit,
    session::{Payer, Session},
};

/// Asks the person how much this client may spend.
pub(super) async fn ask(session: &Session, talk: &Conversation<'_>, by_person: bool) -> Result<Asked<SpendLimit>, ToolError> {
    let (offer, is_bound) = session.offer(by_person);
    let most = if is_bound {
        format!(" At most {} USD {} can be chosen here; LAVA_SESSION_LIMIT sets that.", offer.amount, offer.cycle.as_str())
    } else {
        String::new()
    };
    let message = format!("How much may this agent spend on AI models and APIs through lava-mcp? It cannot spend more.{most}");
    let cycles = EnumSchema::builder(["daily", "weekly", "monthly", "total"].map(str::to_owned).to_vec());
    let cycles = cycles.title("Renewed").description("When the amount is available again; total means never");
    let Ok(cycles) = cycles.with_default(offer.cycle.as_str()) else { return Ok(Asked::Unable) };
    let amount = |field: rmcp::model::StringSchema| {
        field.title("US dollars").description("A decimal, such as 5.00").with_default(offer.amount.to_string())
    };
    let schema = ElicitationSchema::builder()
        .required_string_property("amount", amount)
        .required_property("cycle", PrimitiveSchemaDefinition::Enum(cycles.build()))
        .build();
    let Ok(schema) = schema else { return Ok(Asked::Unable) };
    Ok(match talk.form("limit", message, schema).await? {
        Asked::Answer(content) => {
            let word = |name: &str, offered: String| match content.get(name) {
                // What was offered and not changed may be left out.
                None | Some(Value::Null) => offered,
                Some(Value::String(text)) => text.trim().trim_start_matches('$').trim_end_matches("USD").trim().to_owned(),
                Some(other) => other.to_string(),
            };
            let cycle = word("cycle", offer.cycle.as_str().to_owned()).to_ascii_lowercase();
            let limit = SpendLimit::parse_short(&format!("{}/{cycle}", word("amount", offer.amount.to_string())));
            Asked::Answer(limit.map_err(|wrong| {
                ToolError::new(
                    "limit_not_valid",
                    format!("The user was asked for a limit, but {wrong}."),
                    "Call login again: the user is asked again.",
                )
            })?)
        }
        Asked::No(no) => Asked::No(no),
        Asked::Unanswered => Asked::Unanswered,
        Asked::Unable => Asked::Unable,
        Asked::Later(round) => Asked::Later(round),
    })
}

/// Why there is no limit, and how there comes to be one.
pub(super) fn none(no: No, session: &Session, call: &Call) -> ToolError {
    match no {
        No::Declined => ToolError::new(
            "login_declined",
            "The user was asked how much may be spent, and declined.",
            "This is final. Do not call login again unless the user asks for it; go on without paid calls, or stop.",
        ),
        No::Dismissed => ToolError::new(
            "limit_needed",
            "The user was asked how much may be spent, and closed the question without an answer. Nothing was set up.",
            "When the user wants to go on, call login again: they are asked again. With LAVA_SESSION_LIMIT in this server's environment, login does not ask.",
        ),
        No::Unreadable => ToolError::new(
            "limit_needed",
            "The client was asked how much may be spent, and its answer cannot be read. Nothing was set up.",
            format!(
                "The next login asks again. To avoid the question, the user can set the limit in advance. {}",
                how_to_set(session, call)
            ),
        ),
        No::ByItself(took) => ToolError::new(
            "limit_needed",
            format!(
                "The client answered the question how much may be spent by itself, after {} ms, so no person has read it. Nothing was set up.",
                took.as_millis()
            ),
            format!("The user has to set the limit in advance; then login does not ask. {}", how_to_set(session, call)),
        ),
    }
}

/// What a person types to set the limit before they start this client.
fn how_to_set(session: &Session, call: &Call) -> String {
    let (offer, _) = session.offer(true);
    let limit = format!("LAVA_SESSION_LIMIT={}/{}", offer.amount, offer.cycle.as_str());
    let command = match &call.payer {
        _ if call.is_http() => format!("They start the server with `{limit} lava-mcp serve`"),
        Payer::Client(name) if name.starts_with("claude") => format!("They run `claude mcp add lava -e {limit} -- lava-mcp`"),
        Payer::Client(name) if name.starts_with("codex") => format!("They run `codex mcp add lava --env {limit} -- lava-mcp`"),
        _ => format!("They put {limit} into this server's environment, in the client's settings"),
    };
    let file = format!("limit = \"{}/{}\" in [session] of lava-mcp's config file", offer.amount, offer.cycle.as_str());
    format!(
        "{command}, or write {file}, with the amount and the cycle (daily, weekly, monthly, total) that they want; then start the client again."
    )
}
