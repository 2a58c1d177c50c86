//! `usage`: what was spent, what is left, and the newest requests.

use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Call, LavaMcp,
    answer::{Answer, Stop},
    error::ToolError,
    login::Describe as _,
    schema::{input_schema, output_schema},
    text,
};
use crate::{
    client::{RequestReport, SpendKeyObject},
    domain::{Money, invocation::in_text, text::counted},
    session::{Payer, SetBy},
};

pub(super) const LIMIT_DEFAULT: usize = 10;
const LIMIT_MAX: usize = 50;
/// As much of the name of a model or provider is shown, in characters.
const NAME_CHARS_MAX: usize = 100;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Args {
    /// How many requests to list, 1 to 50. Default: 10.
    limit: Option<usize>,
}

/// The session's spending.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// The session's spend key with its limits and counters, without the key itself.
    spend_key: Option<SpendKeyObject>,
    /// US dollars left in this cycle.
    remaining: Option<String>,
    /// Who set the limit, such as "LAVA_SESSION_LIMIT", "person at login" or "agent at login"; absent where the key was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_set_by: Option<&'static str>,
    #[serde(skip)]
    set_by: Option<SetBy>,
    /// US dollars set aside by calls in flight.
    held: Option<String>,
    /// When the cycle ends; absent when it never does.
    resets_at: Option<String>,
    /// The newest requests.
    requests: Vec<Request>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Request {
    request_id: String,
    /// "pending", "completed" or "error".
    status: String,
    provider: String,
    model: Option<String>,
    /// US dollars.
    cost: Option<String>,
    created_at: String,
}

pub(super) fn tool() -> Tool {
    Tool::new_with_raw("usage", None, input_schema::<Args>())
        .with_title("Show spending")
        .with_raw_output_schema(output_schema::<Output>())
        .with_annotations(ToolAnnotations::new().read_only(true).destructive(false).idempotent(true).open_world(false))
        .describe(
            "Shows what this session has spent, its limit, what is left, when it resets, and the newest requests with their cost. Use it before expensive work, or \
             when the user asks about spending; needs login. Costs nothing. Example: {\"limit\": 5}",
        )
}

pub(super) async fn run(server: &LavaMcp, call: &Call, args: Result<Args, ToolError>) -> Result<Answer, Stop> {
    let limit = args?.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ToolError::invalid(format!("limit: must be a number between 1 and {LIMIT_MAX}")).into());
    }
    let output = of(server, &call.payer, limit).await?;
    Ok(Answer::new(&output, &output.text()))
}

/// The spending of a payer, with its newest requests.
pub(super) async fn of(server: &LavaMcp, payer: &Payer, limit: usize) -> Result<Output, Stop> {
    let session = &server.session;
    let key = session.spend_key(payer).await?;
    let client = session.client().await?;
    let object = match client.own_key(&key).await {
        Err(error) if error.is_unauthorised() => {
            session.forget().await;
            return Err(error.into());
        }
        object => object?,
    };
    let requests = client.requests(&key, limit).await.unwrap_or_default();
    let extras = object.as_ref().and_then(|object| object.extras.clone());
    let set_by = session.limit_set_by(payer).await;
    Ok(Output {
        limit_set_by: set_by.map(SetBy::as_str),
        set_by,
        remaining: object.as_ref().and_then(SpendKeyObject::remaining),
        held: extras.as_ref().map(|extras| extras.held.clone()),
        resets_at: extras.and_then(|extras| extras.resets_at),
        spend_key: object,
        requests: requests.into_iter().map(Request::from).collect(),
    })
}

impl From<RequestReport> for Request {
    fn from(report: RequestReport) -> Self {
        let cost = report.cost();
        let RequestReport { request_id, status, provider, model, created_at, .. } = report;
        let name = |text: String| text::one_line(&text, NAME_CHARS_MAX);
        Self { request_id, status, provider: name(provider), model: model.map(name), cost, created_at }
    }
}

/// An amount without the zeros at its end.
fn amount(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |amount: Money| amount.to_string())
}

impl Output {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        match &self.spend_key {
            Some(key) => {
                let limit = key
                    .spend_limit
                    .as_ref()
                    .map_or_else(|| "no limit".to_owned(), |limit| format!("limit {} USD {}", amount(&limit.amount), limit.cycle.as_str()));
                let left = self.remaining.as_deref().map_or_else(|| "unlimited".to_owned(), amount);
                lines.push(format!(
                    "{}: {} USD spent this cycle, {limit}, {left} USD left, {}.",
                    key.name,
                    amount(&key.current_spend),
                    counted(key.current_requests, "request")
                ));
                lines.extend(self.set_by.map(|by| format!("The limit is {}.", in_text(by.in_words()))));
                lines.extend(self.resets_at.as_ref().map(|at| format!("Resets at {at}.")));
            }
            None => lines.push("This gateway does not show a spend key what it has spent.".to_owned()),
        }
        lines.extend(self.requests.iter().map(|request| {
            let model = request.model.as_deref().filter(|model| !model.is_empty()).unwrap_or("(no model)");
            format!(
                "- {} {}/{model} {} {} USD",
                request.created_at,
                request.provider,
                request.status,
                request.cost.as_deref().unwrap_or("?")
            )
        }));
        lines.join("\n")
    }
}
