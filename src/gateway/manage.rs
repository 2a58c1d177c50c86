//! The spend keys API: create, list, retrieve, update, rotate, revoke. Field for field as Lava has it.

mod fields;
mod page;

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Gateway,
    authorise::{Caller, identify, payer},
    credential::key_in,
    edge::{Response, respond_json},
    error::GatewayError,
    request_body::{self, SETTINGS_BYTES_MAX},
};
use crate::{
    domain::{
        KeyId, KeySettings, Money, NewSpendKey, PlainKey, RateLimit, RequestLimit, RequestShape, SpendKey, SpendLimit, Status, key::KeyKind,
    },
    store::{KeyPage, SecretKey},
};
use fields::Fields;
pub(super) use fields::{account_limit, bad, reason};
use page::Revoked;
pub(super) use page::{Listing, Page};

/// A spend key as the API shows it. `lava_mcp` is ours; Lava's SDKs ignore it.
#[derive(Serialize)]
pub(super) struct KeyObject {
    spend_key_id: String,
    key_preview: String,
    name: String,
    wallet_id: String,
    /// As Lava has it; `revoked` only where revoked keys were asked for.
    status: &'static str,
    request_shape: RequestShape,
    allowed_models: Option<Vec<String>>,
    allowed_providers: Option<Vec<String>>,
    spend_limit: Option<SpendLimit>,
    request_limit: Option<RequestLimit>,
    rate_limit: Option<RateLimit>,
    current_spend: String,
    total_spend: String,
    current_requests: u64,
    total_requests: u64,
    expires_at: Option<String>,
    last_used_at: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    lava_mcp: KeyExtras,
}

#[derive(Serialize)]
struct KeyExtras {
    /// Set aside by calls in flight.
    held: Money,
    /// Charged in full because nobody knows what was billed, and not written off.
    unverified: Money,
    /// The part of it for calls of processes that died; the old name.
    suspect: Money,
    /// What can still be spent in this cycle.
    remaining: Option<Money>,
    /// When the spend cycle ends.
    resets_at: Option<String>,
    /// When the request cycle ends.
    requests_reset_at: Option<String>,
    /// Whether the key only reaches the sandbox.
    test: bool,
    /// Whether it may buy hosted tools.
    hosted_tools: bool,
    /// Whether an output cap is lowered to what there is money for.
    lower_output_cap: bool,
    /// Of a revoked key, when that was, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl KeyObject {
    fn new(gateway: &Gateway, key: SpendKey, now: Timestamp, plain: Option<&PlainKey>) -> Result<Self, GatewayError> {
        let (unverified, suspect) = gateway.store.unverified_sums(&key.id)?;
        let extras = KeyExtras {
            held: key.held,
            unverified,
            suspect,
            remaining: key.remaining(),
            resets_at: key.resets_at(now).map(|at| at.to_string()),
            requests_reset_at: key.settings.request_limit.and_then(|limit| limit.cycle.resets_at(now)).map(|at| at.to_string()),
            test: key.test,
            hosted_tools: key.settings.hosted_tools,
            lower_output_cap: key.settings.lower_output_cap,
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        };
        let status = match (key.is_revoked, key.settings.status) {
            (true, _) => "revoked",
            (false, Status::Active) => "active",
            (false, Status::Paused) => "paused",
        };
        let settings = key.settings;
        Ok(Self {
            spend_key_id: key.id.to_string(),
            key_preview: key.preview,
            name: settings.name,
            wallet_id: "local".to_owned(),
            status,
            request_shape: settings.shape,
            allowed_models: settings.allowed_models,
            allowed_providers: settings.allowed_providers,
            spend_limit: settings.spend_limit,
            request_limit: settings.request_limit,
            rate_limit: settings.rate_limit,
            current_spend: key.current_spend.to_wire(),
            total_spend: key.total_spend.to_wire(),
            current_requests: key.current_requests,
            total_requests: key.total_requests,
            expires_at: settings.expires_at.map(|at| at.to_string()),
            last_used_at: key.last_used_at.map(|at| at.to_string()),
            created_at: key.created_at.to_string(),
            key: plain.map(|key| key.expose().to_owned()),
            lava_mcp: extras,
        })
    }
}

/// The caller, who must hold a secret key.
pub(super) fn owner(gateway: &Gateway, headers: &HeaderMap) -> Result<SecretKey, GatewayError> {
    match identify(gateway, key_in(headers)?.as_ref())? {
        Caller::Secret(secret) => Ok(secret),
        Caller::Spend(_) => Err(GatewayError::Forbidden("A spend key cannot manage keys; use a secret key (aks_…).")),
    }
}

/// The owner and the body of a request that sets something; the body is read once it is known that an owner sends it.
pub(super) async fn read_settings(gateway: &Gateway, request: Request) -> Result<(SecretKey, Bytes), GatewayError> {
    let received = request_body::read(gateway, request, SETTINGS_BYTES_MAX, |headers| owner(gateway, headers), |owner| &owner.id).await?;
    Ok((received.caller, received.body))
}

/// Whether a secret key manages the sandbox's keys. One that is live does too where everything is a sandbox, or it would not see the keys it makes.
pub(super) const fn manages_test(gateway: &Gateway, owner: &SecretKey) -> bool {
    owner.test || gateway.sandbox
}

/// A key of the account. A live secret key manages live keys, a test one those of the sandbox; the others do not exist for it.
fn owned(gateway: &Gateway, headers: &HeaderMap, id: &str) -> Result<SpendKey, GatewayError> {
    owned_by(gateway, &owner(gateway, headers)?, id)
}

fn owned_by(gateway: &Gateway, owner: &SecretKey, id: &str) -> Result<SpendKey, GatewayError> {
    managed_by(gateway, owner, gateway.store.spend_key(&KeyId::from_text(id))?, id)
}

fn managed_by(gateway: &Gateway, owner: &SecretKey, key: Option<SpendKey>, id: &str) -> Result<SpendKey, GatewayError> {
    // The own budget of a secret key is no spend key.
    key.filter(|key| key.test == manages_test(gateway, owner) && !key.is_of_secret_key())
        .ok_or_else(|| GatewayError::NotFound(format!("spend key {id}")))
}

fn gone(id: &str) -> GatewayError {
    GatewayError::NotFound(format!("spend key {id}"))
}

fn new_plain_key() -> Result<PlainKey, GatewayError> {
    PlainKey::generate(KeyKind::Spend).map_err(|error| crate::store::StoreError::Unavailable(error.to_string()).into())
}

pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let created = async {
        let (owner, body) = read_settings(&gateway, request).await?;
        let fields = Fields::parse(&body, (gateway.clock)())?;
        if fields.name.is_none() {
            return Err(bad("name", "must be a string of 1 to 255 characters"));
        }
        let mut settings = KeySettings::default();
        fields.apply(&mut settings);
        let plain = new_plain_key()?;
        let id = KeyId::generate();
        let test = manages_test(&gateway, &owner);
        gateway.enroll(&owner).await?;
        let (hash, preview) = (plain.hash(&gateway.pepper), plain.preview());
        gateway.store.create_spend_key(NewSpendKey { id: id.clone(), owner: owner.id, hash, preview, test, settings }).await?;
        let key = gateway.store.spend_key(&id)?.ok_or_else(|| gone(id.as_str()))?;
        KeyObject::new(&gateway, key, (gateway.clock)(), Some(&plain))
    };
    respond_json(StatusCode::CREATED, created.await)
}

pub(super) async fn list(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Query(page): Query<Page>,
    Query(revoked): Query<Revoked>,
) -> Response {
    let listing = (|| {
        let owner = owner(&gateway, &headers)?;
        let (cursor, limit) = page.parts()?;
        let now = (gateway.clock)();
        let test = manages_test(&gateway, &owner);
        let keys = gateway.store.spend_keys(&KeyPage { test, before: cursor, limit: limit + 1, with_revoked: revoked.are_shown()? })?;
        let objects = keys.into_iter().map(|key| KeyObject::new(&gateway, key, now, None)).collect::<Result<_, _>>()?;
        Ok(Listing::new(objects, limit, |key: &KeyObject| key.spend_key_id.clone()))
    })();
    respond_json(StatusCode::OK, listing)
}

/// The key that is presented, for callers who hold nothing else. Not part of Lava's API.
pub(super) async fn own(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let object = (|| {
        let key = payer(&gateway, key_in(&headers)?.as_ref())?;
        KeyObject::new(&gateway, key, (gateway.clock)(), None)
    })();
    respond_json(StatusCode::OK, object)
}

pub(super) async fn retrieve(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Query(revoked): Query<Revoked>,
) -> Response {
    let object = (|| {
        let owner = owner(&gateway, &headers)?;
        let key_id = KeyId::from_text(&id);
        let key = if revoked.are_shown()? { gateway.store.spend_key_or_revoked(&key_id)? } else { gateway.store.spend_key(&key_id)? };
        KeyObject::new(&gateway, managed_by(&gateway, &owner, key, &id)?, (gateway.clock)(), None)
    })();
    respond_json(StatusCode::OK, object)
}

pub(super) async fn update(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request) -> Response {
    let updated = async {
        let (owner, body) = read_settings(&gateway, request).await?;
        let key = owned_by(&gateway, &owner, &id)?;
        let fields = Fields::parse(&body, (gateway.clock)())?;
        let changed = gateway.store.change_spend_key(key.id, Box::new(move |settings| fields.apply(settings))).await?;
        KeyObject::new(&gateway, changed.ok_or_else(|| gone(&id))?, (gateway.clock)(), None)
    };
    respond_json(StatusCode::OK, updated.await)
}

/// The official SDK sends an empty body that claims to be JSON; whatever is sent is not read.
pub(super) async fn rotate(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let rotated = async {
        let key = owned(&gateway, &headers, &id)?;
        let plain = new_plain_key()?;
        let rotated = gateway.store.rotate_spend_key(key.id, plain.hash(&gateway.pepper), plain.preview()).await?;
        KeyObject::new(&gateway, rotated.ok_or_else(|| gone(&id))?, (gateway.clock)(), Some(&plain))
    };
    respond_json(StatusCode::OK, rotated.await)
}

pub(super) async fn revoke(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let revoked = async {
        let key = owned(&gateway, &headers, &id)?;
        if !gateway.store.revoke_spend_key(key.id).await? {
            return Err(gone(&id));
        }
        Ok(serde_json::json!({"success": true}))
    };
    respond_json(StatusCode::OK, revoked.await)
}
