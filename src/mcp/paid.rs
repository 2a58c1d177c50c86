//! What the tools that buy something have in common: the limit on one call, and what is told when it fails.

use super::{
    LavaMcp,
    answer::{Answer, Stop},
    confirm::{self, Permit, Purchase},
    error::ToolError,
};
use crate::{
    client::{Client, ClientError},
    domain::{Money, Secret},
};

/// An amount given as text.
pub(super) fn read_money(text: Option<&str>) -> Result<Option<Money>, ToolError> {
    let read = |text: &str| text.parse().ok().filter(|money: &Money| !money.is_negative());
    text.map(|text| {
        read(text).ok_or_else(|| ToolError::invalid(format!("max_cost: \"{text}\" is not an amount in US dollars such as \"0.05\"")))
    })
    .transpose()
}

/// Whether the gateway obeys a limit on one call. One that it would not obey must not be promised.
pub(super) async fn is_bounded(server: &LavaMcp, key: &Secret, max_cost: Option<Money>) -> Result<bool, Stop> {
    if max_cost.is_none() && server.ask_above.is_none() {
        return Ok(false);
    }
    let obeys = server.session.obeys_max_cost(key).await?;
    if max_cost.is_some() && !obeys {
        let message = "This gateway does not limit the cost of a single call.";
        return Err(ToolError::new("max_cost_not_supported", message, "Leave max_cost out, and lower max_tokens instead.").into());
    }
    Ok(obeys)
}

/// After a call has failed: a wider permit, if that is all it lacks; else the failure, with what its attempts cost.
pub(super) async fn after_failure(
    server: &LavaMcp,
    call: &super::Call,
    purchase: &Purchase,
    permit: &Permit,
    (client, key): (&Client, &Secret),
    error: ClientError,
) -> Result<Permit, Stop> {
    let request = if let ClientError::Refused { request_id, .. } = &error { request_id.clone() } else { None };
    let report = match &request {
        Some(request) => client.report(key, request).await.ok().flatten(),
        None => None,
    };
    let cost = report.as_ref().and_then(crate::client::RequestReport::cost);
    let is_paid = cost.as_ref().and_then(|cost| cost.parse::<Money>().ok()).is_some_and(|cost| cost > Money::ZERO);
    if !is_paid && let Some(wider) = confirm::widen(server, call, purchase, permit, &error).await? {
        return Ok(wider);
    }
    let error = ToolError::from(error);
    if error.is_key_refused() {
        server.session.forget().await;
    }
    Err(match (report, cost) {
        (Some(report), Some(cost)) => error.after(&cost, is_paid, report.attempts()),
        _ => error,
    }
    .into())
}

/// Runs a call once, or as often as it is sent with the same `idempotency_key`, yet buys once.
pub(super) async fn run<F: Future<Output = Result<Answer, Stop>> + Send + 'static>(
    server: &LavaMcp,
    call: super::Call,
    (tool, key): (&'static str, Option<String>),
    arguments: &rmcp::model::JsonObject,
    buy: impl FnOnce(LavaMcp, super::Call) -> F,
) -> Result<Answer, Stop> {
    let payer = call.payer.scope();
    let work = buy(server.clone(), call);
    match key {
        None => Box::pin(work).await,
        Some(key) => server.once.run(payer, tool, &key, arguments, work).await,
    }
}
