//! How much a session may spend, and who said so.

use serde::{Deserialize, Serialize};

use super::{ConfigError, place::Written};
use crate::domain::{Cycle, Money, SpendLimit};

/// What may be spent in a session when nobody has set a limit.
pub(super) const DEFAULT: SpendLimit = SpendLimit { amount: Money::from_dollars(5), cycle: Cycle::Daily };

/// Who chose how much a session may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetBy {
    /// Nobody did.
    Default,
    /// Whoever set `LAVA_SESSION_LIMIT`.
    Setting,
    /// Whoever wrote `session.limit` into the config file.
    File,
    /// The person at the client, when the session began.
    Person,
    /// The person at the command line, with `login --limit`.
    Login,
    /// The owner of the gateway, with `keys update` or its API.
    Owner,
    /// The agent, which asked for less at login.
    Agent,
}

impl SetBy {
    /// Whether the settings say it: then it is the most that anybody can choose.
    pub const fn is_setting(self) -> bool {
        matches!(self, Self::Setting | Self::File)
    }

    /// For programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Setting => "LAVA_SESSION_LIMIT",
            Self::File => "session.limit",
            Self::Person => "person at login",
            Self::Login => "login --limit",
            Self::Owner => "keys update",
            Self::Agent => "agent at login",
        }
    }

    /// For people, after a limit.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Default => "set by default; LAVA_SESSION_LIMIT changes it",
            Self::Setting => "set by LAVA_SESSION_LIMIT",
            Self::File => "set by session.limit in the config file",
            Self::Person => "set by the user at login",
            Self::Login => "set with `lava-mcp login --limit`",
            Self::Owner => "set with `lava-mcp keys update`",
            Self::Agent => "set by the agent at login, for its session",
        }
    }
}

/// What a person allows a session to do; an agent can only ask for less.
#[derive(Clone, Debug)]
pub struct Ceiling {
    /// Most money a cycle.
    pub limit: SpendLimit,
    /// Who chose it.
    pub set_by: SetBy,
    /// Models; `None` for all.
    pub allowed_models: Option<Vec<String>>,
    /// Providers; `None` for all.
    pub allowed_providers: Option<Vec<String>>,
}

/// The limit of the environment or the config file, or the default.
pub(super) fn limit(written: Option<Written<'_>>) -> Result<(SpendLimit, SetBy), ConfigError> {
    let Some(written) = written else { return Ok((DEFAULT, SetBy::Default)) };
    let set_by = if written.is_variable() { SetBy::Setting } else { SetBy::File };
    Ok((SpendLimit::parse_short(written.text).map_err(|error| written.wrong(error))?, set_by))
}
