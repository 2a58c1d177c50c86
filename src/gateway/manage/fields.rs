//! What a caller may set, and what each field must look like: of a spend key, and of the account.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{
    domain::{Cycle, KeySettings, Money, RateLimit, RequestLimit, RequestShape, SpendLimit, Status},
    gateway::error::GatewayError,
};

const NAME_CHARS_MAX: usize = 255;
const LIST_ITEMS_MAX: usize = 1_000;
const REQUESTS_MAX: u64 = 10_000_000;
const RPM_MAX: u32 = 1_000_000;

/// The fields a caller may set. A field that is absent is left alone; one that is `null` lifts the restriction.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    pub(super) name: Option<String>,
    status: Option<Status>,
    request_shape: Option<RequestShape>,
    #[serde(default, deserialize_with = "present")]
    allowed_models: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    allowed_providers: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "present")]
    spend_limit: Option<Option<SpendLimit>>,
    #[serde(default, deserialize_with = "present")]
    request_limit: Option<Option<RequestLimit>>,
    #[serde(default, deserialize_with = "present")]
    rate_limit: Option<Option<RateLimit>>,
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Option<Timestamp>>,
    lava_mcp: Option<Terms>,
}

/// What this gateway has beyond Lava's fields. Those that are absent are left alone.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    hosted_tools: Option<bool>,
    lower_output_cap: Option<bool>,
}

/// Tells `null` from absent.
#[expect(clippy::option_option, reason = "absent, null and a value are three different things in a partial update")]
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Fields {
    pub(super) fn parse(body: &[u8], now: Timestamp) -> Result<Self, GatewayError> {
        Self::read(object(body)?, now)
    }

    fn read(object: Map<String, Value>, now: Timestamp) -> Result<Self, GatewayError> {
        let mut fields = Self::default();
        for (name, value) in object {
            let one = Value::Object([(name.clone(), value)].into_iter().collect());
            let read: Self = serde_json::from_value(one).map_err(|error| bad(&name, &expectation(&name, &error.to_string())))?;
            fields.take(read);
        }
        fields.check(now).map(|()| fields)
    }

    fn take(&mut self, one: Self) {
        self.name = one.name.or(self.name.take());
        self.status = one.status.or(self.status);
        self.request_shape = one.request_shape.or(self.request_shape);
        self.allowed_models = one.allowed_models.or(self.allowed_models.take());
        self.allowed_providers = one.allowed_providers.or(self.allowed_providers.take());
        self.spend_limit = one.spend_limit.or(self.spend_limit);
        self.request_limit = one.request_limit.or(self.request_limit);
        self.rate_limit = one.rate_limit.or(self.rate_limit);
        self.expires_at = one.expires_at.or(self.expires_at);
        self.lava_mcp = one.lava_mcp.or(self.lava_mcp);
    }

    fn check(&self, now: Timestamp) -> Result<(), GatewayError> {
        if let Some(name) = &self.name
            && (name.trim().is_empty() || name.chars().count() > NAME_CHARS_MAX)
        {
            return Err(bad("name", "must be 1 to 255 characters"));
        }
        for (field, list) in [("allowed_models", &self.allowed_models), ("allowed_providers", &self.allowed_providers)] {
            let Some(Some(list)) = list else { continue };
            if list.is_empty() || list.len() > LIST_ITEMS_MAX || list.iter().any(|item| item.is_empty() || item.len() > NAME_CHARS_MAX) {
                return Err(bad(field, "must be an array of 1 to 1000 ids, or null for all"));
            }
        }
        if let Some(Some(limit)) = self.spend_limit
            && limit.amount <= Money::ZERO
        {
            return Err(bad("spend_limit", "amount must be above zero"));
        }
        if let Some(Some(limit)) = self.request_limit
            && !(1..=REQUESTS_MAX).contains(&limit.count)
        {
            return Err(bad("request_limit", "count must be between 1 and 10000000"));
        }
        if let Some(Some(limit)) = self.rate_limit
            && (!(1..=RPM_MAX).contains(&limit.rpm) || limit.burst.is_some_and(|burst| !(1..=RPM_MAX).contains(&burst)))
        {
            return Err(bad("rate_limit", "rpm must be between 1 and 1000000, burst too, or null"));
        }
        if let Some(Some(expiry)) = self.expires_at
            && expiry <= now
        {
            return Err(bad("expires_at", "the date must lie in the future"));
        }
        Ok(())
    }

    pub(super) fn apply(&self, settings: &mut KeySettings) {
        let Self {
            name,
            status,
            request_shape,
            allowed_models,
            allowed_providers,
            spend_limit,
            request_limit,
            rate_limit,
            expires_at,
            lava_mcp,
        } = self;
        if let Some(name) = name {
            settings.name.clone_from(name);
        }
        settings.status = status.unwrap_or(settings.status);
        settings.shape = request_shape.unwrap_or(settings.shape);
        if let Some(list) = allowed_models {
            settings.allowed_models.clone_from(list);
        }
        if let Some(list) = allowed_providers {
            settings.allowed_providers.clone_from(list);
        }
        settings.spend_limit = spend_limit.unwrap_or(settings.spend_limit);
        settings.request_limit = request_limit.unwrap_or(settings.request_limit);
        settings.rate_limit = rate_limit.unwrap_or(settings.rate_limit);
        settings.expires_at = expires_at.unwrap_or(settings.expires_at);
        let terms = lava_mcp.unwrap_or_default();
        settings.hosted_tools = terms.hosted_tools.unwrap_or(settings.hosted_tools);
        settings.lower_output_cap = terms.lower_output_cap.unwrap_or(settings.lower_output_cap);
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, GatewayError> {
    let value: Value = serde_json::from_slice(body).map_err(|error| GatewayError::BadRequest(format!("the body is not JSON: {error}")))?;
    let Value::Object(object) = value else { return Err(GatewayError::BadRequest("the body must be a JSON object".to_owned())) };
    Ok(object)
}

/// The body of a change that has one field only.
fn one_field(body: &[u8], field: &str) -> Result<Map<String, Value>, GatewayError> {
    let object = object(body)?;
    match object.keys().find(|name| *name != field) {
        Some(other) => Err(bad(other, &format!("no such field; the only one is {field}"))),
        None => Ok(object),
    }
}

/// The limit of the account in a body that sets or lifts it.
pub(in crate::gateway) fn account_limit(body: &[u8], now: Timestamp) -> Result<Option<SpendLimit>, GatewayError> {
    let fields = Fields::read(one_field(body, "spend_limit")?, now)?;
    fields.spend_limit.ok_or_else(|| bad("spend_limit", &expectation("spend_limit", "it is missing")))
}

/// The reason in a body that writes a charge off.
pub(in crate::gateway) fn reason(body: &[u8]) -> Result<String, GatewayError> {
    match one_field(body, "reason")?.remove("reason") {
        Some(Value::String(reason)) if !reason.trim().is_empty() && reason.chars().count() <= NAME_CHARS_MAX => Ok(reason),
        _ => Err(bad("reason", "must be a string of 1 to 255 characters")),
    }
}

pub(in crate::gateway) fn bad(field: &str, message: &str) -> GatewayError {
    GatewayError::BadField { field: field.to_owned(), message: format!("{field}: {message}") }
}

/// What a field should hold; serde's own text is kept where it says more.
fn expectation(field: &str, error: &str) -> String {
    let cycles = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total].map(Cycle::as_str).join(", ");
    match field {
        "name" => "must be a string of 1 to 255 characters".to_owned(),
        "status" => "must be \"active\" or \"paused\"".to_owned(),
        "request_shape" => "must be \"openai\" or \"anthropic\"".to_owned(),
        "allowed_models" | "allowed_providers" => "must be an array of ids, or null for all".to_owned(),
        "spend_limit" => format!("must be {{\"amount\": \"5.00\", \"cycle\": …}} or null; cycle is one of {cycles}; {error}"),
        "request_limit" => format!("must be {{\"count\": 100, \"cycle\": …}} or null; cycle is one of {cycles}; {error}"),
        "rate_limit" => format!("must be {{\"rpm\": 60, \"burst\": 10}} or null; {error}"),
        "expires_at" => "must be a date and time such as \"2027-01-31T00:00:00Z\", or null".to_owned(),
        "lava_mcp" => format!("must be {{\"hosted_tools\": false, \"lower_output_cap\": false}}, or one of the two; {error}"),
        _ => "no such field; there are name, status, request_shape, allowed_models, allowed_providers, spend_limit, request_limit, rate_limit, \
              expires_at and lava_mcp"
            .to_owned(),
    }
}
