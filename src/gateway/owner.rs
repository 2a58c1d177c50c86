//! What an owner looks at and decides beside the spend keys: a lid over all of them, charges that nobody can prove, and models whose prices were wrong.
//!
//! None of it is part of Lava's API. A secret key of the sandbox sees the sandbox's account, a live one the other.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Gateway,
    authorise::{Caller, identify},
    credential::key_in,
    edge::{Response, respond_json},
    error::GatewayError,
    manage::{account_limit, bad, manages_test, owner, read_settings, reason},
};
use crate::{
    domain::{
        HoldId, KeyId, Money, SpendLimit,
        ledger::{Basis, OpenHold, Unverified, WriteOff},
        spend_key::Account,
    },
    store::StoreError,
};

/// The account as the API shows it.
#[derive(Serialize)]
struct AccountObject {
    spend_limit: Option<SpendLimit>,
    /// In this cycle; in all where there is no limit.
    current_spend: String,
    held: Money,
    remaining: Option<Money>,
    resets_at: Option<String>,
    test: bool,
}

impl AccountObject {
    fn new(gateway: &Gateway, account: Account, test: bool) -> Self {
        Self {
            spend_limit: account.limit,
            current_spend: account.spent.to_wire(),
            held: account.held,
            remaining: account.remaining(),
            resets_at: account.resets_at((gateway.clock)()).map(|at| at.to_string()),
            test,
        }
    }
}

pub(super) async fn account(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let shown = (|| {
        let test = manages_test(&gateway, &owner(&gateway, &headers)?);
        Ok(AccountObject::new(&gateway, gateway.store.account(test)?, test))
    })();
    respond_json(StatusCode::OK, shown)
}

pub(super) async fn limit_account(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let limited = async {
        let (owner, body) = read_settings(&gateway, request).await?;
        let test = manages_test(&gateway, &owner);
        let limit = account_limit(&body, (gateway.clock)())?;
        gateway.store.limit_account(test, limit).await?;
        Ok(AccountObject::new(&gateway, gateway.store.account(test)?, test))
    };
    respond_json(StatusCode::OK, limited.await)
}

#[derive(Deserialize)]
pub(super) struct HoldsQuery {
    spend_key_id: Option<String>,
}

/// Money that is set aside, and charges that nobody can prove. A spend key sees its own.
pub(super) async fn holds(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, Query(query): Query<HoldsQuery>) -> Response {
    let shown = (|| {
        let wanted = query.spend_key_id.map(KeyId::from_text);
        let (test, key) = match identify(&gateway, key_in(&headers)?.as_ref())? {
            Caller::Secret(secret) => (manages_test(&gateway, &secret), wanted),
            Caller::Spend(own) if wanted.is_none_or(|wanted| wanted == own.id) => (own.test, Some(own.id)),
            Caller::Spend(_) => {
                return Err(GatewayError::Forbidden("A spend key sees only its own holds; use a secret key (aks_…) for others."));
            }
        };
        if let Some(key) = &key
            && !gateway.store.has_had(test, key)?
        {
            return Err(GatewayError::NotFound(format!("spend key {key}")));
        }
        // Open ones first: one that becomes an unverified charge in between is then found there.
        let open = gateway.store.open_holds(test, key.as_ref())?;
        let unverified = gateway.store.unverified(test, key.as_ref())?;
        Ok(json!({
            "open": open.iter().map(hold).collect::<Vec<_>>(),
            "unverified": unverified.iter().map(unverified_charge).collect::<Vec<_>>(),
            // The old word, for those of processes that died.
            "suspect": unverified.iter().filter(|charge| charge.is_crash).map(|charge| hold(&charge.charge)).collect::<Vec<_>>(),
        }))
    })();
    respond_json(StatusCode::OK, shown)
}

fn hold(hold: &OpenHold) -> Value {
    json!({
        "hold_id": hold.hold.as_str(), "spend_key_id": hold.key.as_str(), "request_id": hold.request.as_str(), "amount": hold.amount,
        "provider": hold.subject.provider, "model": hold.subject.model, "endpoint": hold.subject.endpoint, "opened_at": hold.opened_at.to_string(),
    })
}

fn unverified_charge(unverified: &Unverified) -> Value {
    let mut object = hold(&unverified.charge);
    object["basis"] = if unverified.is_crash { Basis::Crash } else { Basis::Hold }.as_str().into();
    object
}

pub(super) async fn write_off(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let written_off = async {
        let (owner, body) = read_settings(&gateway, request).await?;
        let test = manages_test(&gateway, &owner);
        match gateway.store.write_off(test, HoldId::from_text(id.as_str()), reason(&body)?).await? {
            WriteOff::Done(amount) => Ok(json!({"hold_id": id, "written_off": amount})),
            WriteOff::Already => Err(GatewayError::AlreadyWrittenOff(id)),
            WriteOff::NoSuch => Err(GatewayError::NotFound(format!("unverified charge for {id}"))),
        }
    };
    respond_json(StatusCode::OK, written_off.await)
}

/// Models that billed more than their prices allow. They are the same for the sandbox and for what is live.
pub(super) async fn mispriced(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let listed = (|| {
        owner(&gateway, &headers)?;
        let models = gateway.store.mispriced()?.into_iter().map(|model| {
            json!({
                "provider": model.provider, "model": model.model, "request_id": model.request.as_str(), "held": model.held, "billed": model.billed,
                "at": model.at.to_string(),
            })
        });
        Ok(json!({"data": models.collect::<Vec<_>>()}))
    })();
    respond_json(StatusCode::OK, listed)
}

#[derive(Deserialize)]
pub(super) struct ModelQuery {
    provider: Option<String>,
    model: Option<String>,
}

/// Sells a model again to keys with a limit. A key of the sandbox does not decide that for live ones.
pub(super) async fn sell_again(State(gateway): State<Arc<Gateway>>, headers: HeaderMap, Query(query): Query<ModelQuery>) -> Response {
    let sold = async {
        if owner(&gateway, &headers)?.test {
            return Err(GatewayError::Forbidden(
                "A sandbox key cannot change what live keys may buy; use a live secret key (aks_live_…), or leave out --sandbox.",
            ));
        }
        let provider = query.provider.ok_or_else(|| bad("provider", "give the id of a provider"))?;
        let model = query.model.ok_or_else(|| bad("model", "give the id of a model"))?;
        if !gateway.store.sell_again(provider.clone(), model.clone()).await? {
            return Err(GatewayError::NotFound(format!("quarantined model {provider}/{model}")));
        }
        gateway.quarantine.forget();
        Ok(json!({"success": true}))
    };
    respond_json(StatusCode::OK, sold.await)
}

impl Gateway {
    /// What a person should look at: unverified charges that were not written off, how many and how much, and quarantined models.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn to_review(&self) -> Result<ToReview, StoreError> {
        let unverified = self.store.unverified(self.sandbox, None)?;
        let quarantined = self.store.mispriced()?.into_iter().map(|model| (model.provider, model.model)).collect();
        let sum = unverified.iter().fold(Money::ZERO, |sum, unverified| sum.saturating_add(unverified.charge.amount));
        Ok(ToReview { unverified: unverified.len(), unverified_sum: sum, quarantined })
    }
}

/// What waits for a person's decision.
#[derive(Clone, Debug)]
pub struct ToReview {
    /// Number of unverified charges.
    pub unverified: usize,
    /// What they come to.
    pub unverified_sum: Money,
    /// Models that keys with a limit cannot buy, as (provider, model).
    pub quarantined: Vec<(String, String)>,
}
