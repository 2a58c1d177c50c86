//! What happened: requests, with what each cost and how that is known.

use std::{sync::Arc, time::Duration};

use axum::extract::{Path, Query, State};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Gateway,
    authorise::{Caller, identify},
    credential::key_in,
    edge::{Response, respond_json},
    error::GatewayError,
    manage::{Listing, Page, manages_test},
};
use crate::{
    domain::ledger::{Attempt, RequestRecord},
    store::RequestPage,
};

/// The status of a request whose cost is not known yet.
const PENDING: &str = "pending";

/// A request as Lava's API shows it; `lava_mcp` is ours.
#[derive(Serialize)]
struct RequestObject {
    request_id: String,
    status: &'static str,
    provider: String,
    provider_key_type: &'static str,
    model: String,
    endpoint: String,
    model_usage: Option<Value>,
    cost: String,
    metadata: Value,
    created_at: String,
    lava_mcp: Value,
}

impl RequestObject {
    fn new(gateway: &Gateway, record: &RequestRecord) -> Self {
        let last = record.last();
        let key = gateway.store.spend_key(&record.key).ok().flatten();
        let now = (gateway.clock)();
        Self {
            request_id: record.request.to_string(),
            status: record.status(),
            provider: last.subject.provider.clone(),
            provider_key_type: "unmanaged",
            model: last.subject.model.clone(),
            endpoint: last.subject.endpoint.clone(),
            model_usage: last.usage.map(|usage| {
                json!({"input_tokens": usage.input, "output_tokens": usage.output, "total_tokens": usage.total(),
                       "cache_read_tokens": usage.cache_read, "reasoning_tokens": usage.reasoning})
            }),
            cost: record.cost().to_wire(),
            metadata: json!({}),
            created_at: record.first.opened_at.to_string(),
            lava_mcp: json!({
                "spend_key_id": record.key.as_str(),
                "held": record.held(),
                "test": record.test,
                "remaining": key.as_ref().and_then(crate::domain::SpendKey::remaining),
                "resets_at": key.as_ref().and_then(|key| key.resets_at(now)).map(|at| at.to_string()),
                "attempts": record.attempts().map(attempt).collect::<Vec<_>>(),
                // What the head of a stream could not say, because it had to go out before the answer came.
                "late_headers": gateway.late_headers.of(&record.request),
            }),
        }
    }
}

fn attempt(attempt: &Attempt) -> Value {
    json!({
        "provider": attempt.subject.provider, "model": attempt.subject.model, "outcome": attempt.kind, "upstream_status": attempt.upstream_status,
        "ending": attempt.ending, "cost": attempt.cost, "basis": attempt.basis, "note": attempt.note,
    })
}

/// Whose requests a caller may see: a secret key those of the account, live or test as it is itself; a spend key its own.
fn scope(gateway: &Gateway, headers: &HeaderMap) -> Result<RequestPage, GatewayError> {
    Ok(match identify(gateway, key_in(headers)?.as_ref())? {
        Caller::Secret(secret) => RequestPage { test: Some(manages_test(gateway, &secret)), ..RequestPage::default() },
        Caller::Spend(key) => RequestPage { key: Some(key.id), ..RequestPage::default() },
    })
}

pub(super) async fn list(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, Query(page): Query<Page>) -> Response {
    let listing = (|| {
        let scope = scope(&gateway, &headers)?;
        let (cursor, limit) = page.parts()?;
        let records = gateway.store.requests(&RequestPage { before: cursor.map(str::to_owned), limit: limit + 1, ..scope })?;
        let objects = records.iter().map(|record| RequestObject::new(&gateway, record)).collect();
        Ok(Listing::new(objects, limit, |request: &RequestObject| request.request_id.clone()))
    })();
    respond_json(StatusCode::OK, listing)
}

#[derive(Default, Deserialize)]
pub(super) struct Patience {
    /// Seconds to wait for a request that is still pending. An extension of ours: a report right after an answer would else have to be asked for again and again.
    wait_s: Option<u64>,
}

/// Longest wait for a settlement.
const WAIT_S_MAX: u64 = 10;

pub(super) async fn retrieve(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Query(patience): Query<Patience>,
    headers: HeaderMap,
) -> Response {
    let look = || {
        let scope = scope(&gateway, &headers)?;
        let record = gateway.store.requests(&RequestPage { only: Some(id.clone()), limit: 1, ..scope })?;
        record.first().map(|record| RequestObject::new(&gateway, record)).ok_or_else(|| GatewayError::NotFound(format!("request {id}")))
    };
    let until_settled = async {
        // Listened to before the first look, so that a settlement in between is not missed.
        let mut settled = gateway.settled.subscribe();
        loop {
            match look() {
                Ok(report) if report.status == PENDING => {}
                found => return found,
            }
            while settled.recv().await.is_ok_and(|request| request.as_str() != id) {}
        }
    };
    let wait = Duration::from_secs(patience.wait_s.unwrap_or_default().min(WAIT_S_MAX));
    let found = match wait {
        Duration::ZERO => look(),
        wait => tokio::time::timeout(wait, until_settled).await.unwrap_or_else(|_| look()),
    };
    respond_json(StatusCode::OK, found)
}
