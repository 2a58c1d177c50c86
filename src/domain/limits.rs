//! The limits a spend key can carry, in the form the API shows them.

use serde::{Deserialize, Serialize};

use super::{Cycle, Money};

/// The most that may be spent in each cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendLimit {
    /// US dollars, a decimal string on the wire.
    pub amount: Money,
    /// When spending starts anew.
    pub cycle: Cycle,
}

impl SpendLimit {
    /// Reads the short form of settings, such as `5.00/daily`.
    ///
    /// # Errors
    /// A sentence that says what was wrong and what is allowed.
    pub fn parse_short(text: &str) -> Result<Self, String> {
        let expected =
            || format!("\"{text}\" is not a limit: write an amount and a cycle, such as 5.00/daily (daily, weekly, monthly or total)");
        let (amount, cycle) = text.split_once('/').ok_or_else(expected)?;
        let amount: Money = amount.trim().parse().map_err(|_| expected())?;
        let cycle = Cycle::parse(cycle.trim()).ok_or_else(expected)?;
        if amount <= Money::ZERO {
            return Err(format!("\"{text}\" is not a limit: the amount must be above zero"));
        }
        Ok(Self { amount, cycle })
    }
}

/// The most requests that may be made in each cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimit {
    /// Number of requests.
    pub count: u64,
    /// When counting starts anew.
    pub cycle: Cycle,
}

/// Requests per minute, with an optional allowance for bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per minute in the long run.
    pub rpm: u32,
    /// Requests that may come at once; `None` means as many as `rpm`.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// Which endpoint family a key may use. It locks the endpoint, not the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestShape {
    /// `/v1/chat/completions`.
    #[default]
    Openai,
    /// `/v1/messages`.
    Anthropic,
}

impl RequestShape {
    /// The word used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// Whether a key may be used. A revoked key has no status: it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The key works.
    #[default]
    Active,
    /// The key is refused until it is set active again.
    Paused,
}
