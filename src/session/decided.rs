//! What people decided for one key, beside the ceiling: how much a session may spend, said at login; and what its owner has changed at the gateway since.
//!
//! It is kept with the key and outlives sessions, other than what an agent asks for. The settings are above it: what they allow less of, holds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::narrow::{Wanted, check_list};
use crate::{
    client::{LimitObject, SpendKeyObject},
    config::{Ceiling, SetBy},
    domain::SpendLimit,
};

/// Decisions about one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Decided {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_by_person: Option<SpendLimit>,
    /// Who decided that; at login, where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_chosen_by: Option<SetBy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    models_by_person: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    providers_by_person: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_by_person: Option<Timestamp>,
}

impl Decided {
    /// The same, with another limit; without one where the ceiling's is meant.
    pub(super) fn with_limit(self, limit: Option<SpendLimit>, by: SetBy) -> Self {
        Self { limit_by_person: limit, limit_chosen_by: limit.map(|_| by), ..self }
    }

    /// The same, once an end that was decided has come.
    pub(super) fn without_end(self) -> Self {
        Self { expires_by_person: None, ..self }
    }

    /// When the key ends.
    pub(super) const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_by_person
    }

    /// Takes over what differs from all that sessions gave the key: its owner has changed that.
    pub(super) fn notice(&mut self, given: &[Wanted], key: &SpendKeyObject) {
        let limit = key.spend_limit.as_ref().and_then(LimitObject::to_limit);
        if given.iter().all(|given| Some(given.limit) != limit) {
            (self.limit_by_person, self.limit_chosen_by) = (limit, limit.map(|_| SetBy::Owner));
        }
        if given.iter().all(|given| given.allowed_models != key.allowed_models) {
            self.models_by_person.clone_from(&key.allowed_models);
        }
        if given.iter().all(|given| given.allowed_providers != key.allowed_providers) {
            self.providers_by_person.clone_from(&key.allowed_providers);
        }
        let end = key.expires_at.as_ref().and_then(|at| at.parse().ok());
        if given.iter().all(|given| given.expires_at != end) {
            self.expires_by_person = end;
        }
    }

    /// The ceiling with these decisions in it, as far as the settings allow them.
    pub(super) fn within(&self, ceiling: &Ceiling, is_allowed: impl Fn(SpendLimit) -> bool) -> Ceiling {
        let list = |decided: &Option<Vec<String>>, most: &Option<Vec<String>>| {
            let decided = decided.clone().filter(|list| check_list("", Some(list), most.as_ref()).is_ok());
            decided.or_else(|| most.clone())
        };
        let (limit, set_by) = match self.limit_by_person.filter(|limit| is_allowed(*limit)) {
            Some(limit) => (limit, self.limit_chosen_by.unwrap_or(SetBy::Person)),
            None => (ceiling.limit, ceiling.set_by),
        };
        Ceiling {
            limit,
            set_by,
            allowed_models: list(&self.models_by_person, &ceiling.allowed_models),
            allowed_providers: list(&self.providers_by_person, &ceiling.allowed_providers),
        }
    }
}
