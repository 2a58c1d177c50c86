//! The objects of the API, as far as a client reads them. Unknown fields are skipped, so a newer gateway does not break an older client.

use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::domain::{Cycle, Money, Secret, SpendLimit};

/// A spend key as the API shows it, without the key.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpendKeyObject {
    /// Its id.
    pub spend_key_id: String,
    /// What may be shown of the key.
    pub key_preview: String,
    /// What people call it.
    pub name: String,
    /// `active` or `paused`.
    // Or `revoked`, where revoked keys were asked for; the schema of the tools, whose keys are not revoked, is made from this.
    pub status: String,
    /// `openai` or `anthropic`.
    pub request_shape: String,
    /// Models it may use; all when absent.
    #[serde(default)]
    pub allowed_models: Option<Vec<String>>,
    /// Providers it may use; all when absent.
    #[serde(default)]
    pub allowed_providers: Option<Vec<String>>,
    /// Most money a cycle.
    #[serde(default)]
    pub spend_limit: Option<LimitObject>,
    /// Most requests a cycle.
    #[serde(default)]
    pub request_limit: Option<RequestLimitObject>,
    /// Requests a minute.
    #[serde(default)]
    pub rate_limit: Option<RateLimitObject>,
    /// US dollars spent in this cycle.
    pub current_spend: String,
    /// US dollars spent since it was made.
    pub total_spend: String,
    /// Requests in this cycle.
    pub current_requests: u64,
    /// Requests since it was made.
    pub total_requests: u64,
    /// When it stops working.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// When it was last used.
    #[serde(default)]
    pub last_used_at: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// What our gateway adds; hosted Lava does not have it.
    #[serde(default, rename = "lava_mcp", skip_serializing_if = "Option::is_none")]
    pub extras: Option<KeyExtras>,
}

/// A spend limit on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LimitObject {
    /// US dollars, as a decimal string.
    pub amount: String,
    /// When spending starts again.
    pub cycle: Cycle,
}

impl LimitObject {
    /// The limit as a value.
    pub fn to_limit(&self) -> Option<SpendLimit> {
        Some(SpendLimit { amount: self.amount.parse().ok()?, cycle: self.cycle })
    }
}

/// A request limit on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RequestLimitObject {
    /// Number of requests.
    pub count: u64,
    /// When counting starts again.
    pub cycle: Cycle,
}

/// A rate limit on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RateLimitObject {
    /// Requests a minute in the long run.
    pub rpm: u32,
    /// Requests that may come at once; as many as `rpm` when absent.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// What our gateway adds to a spend key.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KeyExtras {
    /// US dollars set aside by calls in flight.
    pub held: String,
    /// US dollars charged in full because nobody knows what was billed, and not written off.
    #[serde(default)]
    pub unverified: Option<String>,
    /// The part of it for calls whose process died; the old name.
    #[serde(default)]
    pub suspect: Option<String>,
    /// US dollars left in this cycle; absent without a limit.
    pub remaining: Option<String>,
    /// When the spend cycle ends.
    pub resets_at: Option<String>,
    /// When the request cycle ends.
    #[serde(default)]
    pub requests_reset_at: Option<String>,
    /// Whether the key only reaches the sandbox.
    pub test: bool,
    /// Whether it may buy what a provider runs for a fee of its own, such as searches.
    #[serde(default)]
    pub hosted_tools: bool,
    /// Whether an output cap that is more than there is money for is lowered rather than refused.
    #[serde(default)]
    pub lower_output_cap: bool,
    /// Of a revoked key, when that was, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub revoked_at: Option<String>,
}

impl SpendKeyObject {
    /// Whether anything was spent or set aside in this cycle. What cannot be read counts as spent.
    pub fn has_spent(&self) -> bool {
        let held = self.extras.as_ref().map(|extras| extras.held.as_str());
        [Some(self.current_spend.as_str()), held].into_iter().flatten().any(|amount| amount.parse::<Money>() != Ok(Money::ZERO))
    }

    /// US dollars of unverified charges, if there are any.
    pub fn unverified(&self) -> Option<Money> {
        let extras = self.extras.as_ref()?;
        let unverified: Money = extras.unverified.as_ref().or(extras.suspect.as_ref())?.parse().ok()?;
        (unverified > Money::ZERO).then_some(unverified)
    }

    /// US dollars left in this cycle, as far as the gateway shows it: exact with ours, else limit minus what is booked.
    pub fn remaining(&self) -> Option<String> {
        if let Some(extras) = &self.extras {
            return extras.remaining.clone();
        }
        let limit = self.spend_limit.as_ref()?.to_limit()?;
        let spent: Money = self.current_spend.parse().ok()?;
        Some(limit.amount.saturating_sub(spent).to_string())
    }
}

/// A key that was just made: the only moment at which it is told.
#[derive(Debug, Deserialize)]
pub struct CreatedKey {
    /// The key.
    #[serde(deserialize_with = "secret")]
    pub key: Secret,
    /// Everything else.
    #[serde(flatten)]
    pub object: SpendKeyObject,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// A page of spend keys, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyPage {
    /// The keys of this page.
    pub data: Vec<SpendKeyObject>,
    /// Whether there are more.
    pub has_more: bool,
    /// What to ask for the next page with.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// Where to try next when an upstream fails.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// The provider's address, such as `api.openai.com/v1/chat/completions`; without it the model's name picks the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The model to ask there.
    pub model: String,
}

/// A page of search results.
#[derive(Clone, Debug, Deserialize)]
pub struct SearchPage {
    /// How many there are in all.
    pub total: usize,
    /// The results of this page.
    pub results: Vec<Value>,
    /// What to ask for the next page with.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// What the question asks for that is not sold, or why nothing was found.
    #[serde(default)]
    pub note: Option<String>,
}

/// A request as the API reports it.
#[derive(Clone, Debug, Deserialize)]
pub struct RequestReport {
    /// Its id.
    pub request_id: String,
    /// `pending`, `completed` or `error`.
    pub status: String,
    /// Who answered.
    #[serde(default)]
    pub provider: String,
    /// With which model.
    #[serde(default)]
    pub model: Option<String>,
    /// US dollars.
    #[serde(default)]
    pub cost: Option<String>,
    /// When it began.
    #[serde(default)]
    pub created_at: String,
    /// What our gateway adds.
    #[serde(default)]
    pub lava_mcp: Value,
}

impl RequestReport {
    /// The cost without trailing zeros.
    pub fn cost(&self) -> Option<String> {
        let cost = self.cost.as_ref()?;
        Some(cost.parse::<Money>().map_or_else(|_| cost.clone(), |cost| cost.to_string()))
    }

    /// US dollars left on the key afterwards.
    pub fn remaining(&self) -> Option<String> {
        self.lava_mcp.get("remaining").and_then(Value::as_str).map(str::to_owned)
    }

    /// Which providers were tried, in order.
    pub fn attempts(&self) -> Vec<Value> {
        self.lava_mcp.get("attempts").and_then(Value::as_array).cloned().unwrap_or_default()
    }
}

/// An answer of a provider, passed on.
#[derive(Clone, Debug)]
pub struct Forwarded {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The request's id.
    pub request_id: Option<String>,
}
