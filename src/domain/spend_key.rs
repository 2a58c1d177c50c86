//! A spend key as the ledger knows it: everything but the key itself.

use jiff::Timestamp;

use super::{
    KeyHash, KeyId, Money, RateLimit, RequestLimit, RequestShape, SpendLimit, Status,
    ledger::{Shortfall, Whose},
};

/// What a person sets on a spend key. `None` in a limit or list means no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySettings {
    /// What people call it; at most 255 characters.
    pub name: String,
    /// Whether it may be used.
    pub status: Status,
    /// Which endpoint family it may use.
    pub shape: RequestShape,
    /// Models it may use.
    pub allowed_models: Option<Vec<String>>,
    /// Providers it may use.
    pub allowed_providers: Option<Vec<String>>,
    /// Most money a cycle.
    pub spend_limit: Option<SpendLimit>,
    /// Most requests a cycle.
    pub request_limit: Option<RequestLimit>,
    /// Requests a minute.
    pub rate_limit: Option<RateLimit>,
    /// When it stops working; at that very moment it no longer does.
    pub expires_at: Option<Timestamp>,
    /// Whether it may buy what a provider runs for a fee of its own, such as searches, as far as that has a bound.
    pub hosted_tools: bool,
    /// Whether an output cap that is more than there is money for is lowered rather than refused.
    pub lower_output_cap: bool,
}

impl KeySettings {
    /// Whether it may buy this model at this provider: the one rule for what is admitted and what is listed. Calls without a model have an empty one.
    pub fn allows(&self, provider: &str, model: &str) -> bool {
        self.allows_provider(provider) && self.allows_model(provider, model)
    }

    /// Whether it may buy at this provider.
    pub fn allows_provider(&self, provider: &str) -> bool {
        self.allowed_providers.as_ref().is_none_or(|allowed| allowed.iter().any(|one| one == provider))
    }

    /// Whether a pattern of its list names this model, by the provider's own name for it or with the provider in front.
    pub fn allows_model(&self, provider: &str, model: &str) -> bool {
        let Some(allowed) = self.allowed_models.as_ref().filter(|_| !model.is_empty()) else { return true };
        let full = format!("{provider}/{model}");
        allowed.iter().any(|pattern| is_named(pattern, model) || is_named(pattern, &full))
    }
}

/// Exact, or everything that begins like a pattern ending in `*`.
fn is_named(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// A key to be created.
#[derive(Clone, Debug)]
pub struct NewSpendKey {
    /// Its id.
    pub id: KeyId,
    /// The secret key that made it.
    pub owner: String,
    /// Digest of the key.
    pub hash: KeyHash,
    /// What may be shown of it.
    pub preview: String,
    /// Whether it only ever reaches the sandbox.
    pub test: bool,
    /// Its settings.
    pub settings: KeySettings,
}

/// A spend key and what has been spent on it.
#[derive(Clone, Debug)]
pub struct SpendKey {
    /// Its id.
    pub id: KeyId,
    /// The secret key that made it.
    pub owner: String,
    /// What may be shown of it.
    pub preview: String,
    /// Whether it only ever reaches the sandbox.
    pub test: bool,
    /// Its settings.
    pub settings: KeySettings,
    /// Rises with each rotation; a hold is only opened for the current one.
    pub generation: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last opened a hold.
    pub last_used_at: Option<Timestamp>,
    /// Whether it has ended for good; it is then only shown.
    pub is_revoked: bool,
    /// When that was, if it is known.
    pub revoked_at: Option<Timestamp>,
    /// Booked in this cycle.
    pub current_spend: Money,
    /// Set aside by calls in flight.
    pub held: Money,
    /// Booked since it was made.
    pub total_spend: Money,
    /// Requests in this cycle.
    pub current_requests: u64,
    /// Requests since it was made.
    pub total_requests: u64,
    /// The lid over all keys, its own one included.
    pub account: Account,
}

/// What all keys of an account together may spend, and have spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Most money a cycle; `None` where there is no lid.
    pub limit: Option<SpendLimit>,
    /// Booked in this cycle; without a lid since the first key was made, which a spend key is not told.
    pub spent: Money,
    /// Set aside by calls in flight.
    pub held: Money,
}

impl Account {
    /// What the lid still allows to set aside; `None` without a lid.
    pub fn remaining(&self) -> Option<Money> {
        Some(self.limit?.amount.saturating_sub(self.spent).saturating_sub(self.held))
    }

    /// When the cycle that contains `now` ends.
    pub fn resets_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.limit?.cycle.resets_at(now)
    }
}

impl SpendKey {
    /// Whether it is the own budget of a secret key.
    pub fn is_of_secret_key(&self) -> bool {
        self.id.as_str() == self.owner
    }

    /// What its spend limit and that of the account still allow to set aside; `None` without a limit.
    pub fn remaining(&self) -> Option<Money> {
        let own = self.settings.spend_limit.map(|limit| limit.amount.saturating_sub(self.current_spend).saturating_sub(self.held));
        match (own, self.account.remaining()) {
            (Some(own), Some(account)) => Some(own.min(account)),
            (own, account) => own.or(account),
        }
    }

    /// What is set aside under the limit that leaves the least: it may come back.
    pub fn held_in_the_way(&self) -> Money {
        let own =
            self.settings.spend_limit.map(|limit| (limit.amount.saturating_sub(self.current_spend).saturating_sub(self.held), self.held));
        let account = self.account.remaining().map(|remaining| (remaining, self.account.held));
        own.into_iter().chain(account).min().map_or(Money::ZERO, |(_, held)| held)
    }

    /// Why `asked` cannot be set aside, if a limit is in its way.
    pub fn shortfall(&self, asked: Money, now: Timestamp) -> Option<Shortfall> {
        let own = self.settings.spend_limit.map(|limit| (Whose::Key, limit, self.current_spend, self.held));
        let account = self.account.limit.map(|limit| (Whose::Account, limit, self.account.spent, self.account.held));
        own.into_iter()
            .chain(account)
            .map(|(whose, limit, spent, held)| {
                let (unverified, resets_at) = (Money::ZERO, limit.cycle.resets_at(now));
                Shortfall { whose, limit, spent, held, asked, unverified, resets_at }
            })
            .find(|shortfall| asked > shortfall.available())
    }

    /// When the spend cycle that contains `now` ends.
    pub fn resets_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.settings.spend_limit?.cycle.resets_at(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_models_with_or_without_their_provider() {
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let settings = |models: Option<Vec<String>>, providers: Option<Vec<String>>| KeySettings {
            allowed_models: models,
            allowed_providers: providers,
            ..KeySettings::default()
        };
        for (models, provider, model, is_allowed) in [
            (None, "a", "m", true),
            (list(&[]), "a", "m", false),
            (list(&["m"]), "a", "m", true),
            (list(&["m"]), "a", "x/m", false),
            (list(&["x/m"]), "a", "x/m", true),
            (list(&["a/*"]), "a", "m", true),
            (list(&["a/*"]), "b", "m", false),
            (list(&["a/m"]), "b", "m", false),
            (list(&["m*"]), "a", "m-mini", true),
            (list(&["*"]), "a", "m", true),
            (list(&["m"]), "a", "", true),
        ] {
            assert_eq!(settings(models.clone(), None).allows(provider, model), is_allowed, "{models:?} {provider}/{model}");
            assert!(!settings(models.clone(), list(&["c"])).allows(provider, model), "{models:?} {provider}/{model}");
        }
        assert!(settings(None, list(&["a"])).allows("a", "m"));
    }
}
