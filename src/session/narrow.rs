//! What an agent may ask for: less than a person set, never more.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    client::{Change, KeyUpdate, LimitObject, NewKey, SpendKeyObject},
    config::{Ceiling, SetBy},
    domain::SpendLimit,
};

/// Restrictions that an agent asks for. Each may only narrow the ceiling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Most money a cycle.
    pub spend_limit: Option<SpendLimit>,
    /// Models.
    pub allowed_models: Option<Vec<String>>,
    /// Providers.
    pub allowed_providers: Option<Vec<String>>,
    /// When the key stops working.
    pub expires_at: Option<Timestamp>,
}

/// The settings that a session key is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub(super) limit: SpendLimit,
    pub(super) allowed_models: Option<Vec<String>>,
    pub(super) allowed_providers: Option<Vec<String>>,
    pub(super) expires_at: Option<Timestamp>,
}

impl Narrowing {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything asked for lies within the ceiling; else a sentence that says what does not.
    pub(super) fn check(&self, ceiling: &Ceiling) -> Result<(), String> {
        if let Some(excess) = self.spend_limit.and_then(|limit| limit.excess(ceiling.limit)) {
            let way_out = match ceiling.set_by {
                SetBy::Default | SetBy::Setting => "raise LAVA_SESSION_LIMIT",
                SetBy::File => "raise session.limit in the config file",
                SetBy::Person => "run `lava-mcp logout --all`, after which login asks them again",
                SetBy::Login => "run `lava-mcp login --limit` with more",
                SetBy::Owner | SetBy::Agent => "raise the key's limit with `lava-mcp keys update`",
            };
            return Err(format!("{excess}; or ask the owner of this machine to {way_out}"));
        }
        check_list("allowed_models", self.allowed_models.as_ref(), ceiling.allowed_models.as_ref())?;
        check_list("allowed_providers", self.allowed_providers.as_ref(), ceiling.allowed_providers.as_ref())
    }

    /// This and what was asked for earlier in the same session, where this says nothing.
    pub(super) fn after(&self, earlier: &Self) -> Self {
        Self {
            spend_limit: self.spend_limit.or(earlier.spend_limit),
            allowed_models: self.allowed_models.clone().or_else(|| earlier.allowed_models.clone()),
            allowed_providers: self.allowed_providers.clone().or_else(|| earlier.allowed_providers.clone()),
            expires_at: self.expires_at.or(earlier.expires_at),
        }
    }

    /// What the key is to have: what the session asks for, as far as the ceiling still allows it; else the ceiling. It ends when that was decided, or earlier.
    pub(super) fn settings(&self, ceiling: &Ceiling, ends_at: Option<Timestamp>) -> Wanted {
        let list = |asked: &Option<Vec<String>>, most: &Option<Vec<String>>| {
            let asked = asked.clone().filter(|list| check_list("", Some(list), most.as_ref()).is_ok());
            asked.or_else(|| most.clone())
        };
        Wanted {
            limit: self.spend_limit.filter(|limit| limit.is_within(ceiling.limit)).unwrap_or(ceiling.limit),
            allowed_models: list(&self.allowed_models, &ceiling.allowed_models),
            allowed_providers: list(&self.allowed_providers, &ceiling.allowed_providers),
            expires_at: self.expires_at.into_iter().chain(ends_at).min(),
        }
    }
}

/// Whether a key can be given another limit without spending twice in one window of the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replacing {
    /// Whatever was spent in the ceiling's present window goes on counting.
    Safe,
    /// Only because nothing was spent in that window.
    WhileUnspent,
    /// No: part of that window would be forgotten.
    Forgets,
}

impl Wanted {
    /// What may become of a key's limit. A limit in a cycle that begins again within the ceiling's, such as a month under a weekly ceiling, is within it from one
    /// of its windows to the next; but what was spent before under another cycle would not count in it.
    pub(super) fn replacing(&self, key: &SpendKeyObject, ceiling: SpendLimit) -> Replacing {
        let before = key.spend_limit.as_ref().and_then(LimitObject::to_limit);
        match before {
            _ if self.limit.cycle.covers(ceiling.cycle) => Replacing::Safe,
            Some(before) if before.cycle == self.limit.cycle && before.is_within(ceiling) => Replacing::Safe,
            Some(before) if before.cycle.covers(ceiling.cycle) && !key.has_spent() => Replacing::WhileUnspent,
            _ => Replacing::Forgets,
        }
    }

    /// The same settings, with the limit of the ceiling.
    pub(super) fn at(&self, limit: SpendLimit) -> Self {
        Self { limit, ..self.clone() }
    }

    /// Who set the limit.
    pub(super) fn limit_set_by(&self, ceiling: &Ceiling) -> SetBy {
        if self.limit == ceiling.limit { ceiling.set_by } else { SetBy::Agent }
    }

    /// Why a key that has spent does not get this limit.
    pub(super) fn forgets(&self, ceiling: SpendLimit) -> String {
        format!(
            "the key has spent already, and a limit of {} would not count all of what was spent within the {ceiling} that the owner of this machine allows; \
             choose a {} limit, or one in total",
            self.limit,
            ceiling.cycle.as_str()
        )
    }

    pub(super) fn matches(&self, key: &SpendKeyObject) -> bool {
        key.spend_limit.as_ref().and_then(LimitObject::to_limit) == Some(self.limit)
            && key.allowed_models == self.allowed_models
            && key.allowed_providers == self.allowed_providers
            && key.expires_at.as_ref().and_then(|at| at.parse().ok()) == self.expires_at
    }

    pub(super) fn to_new_key(&self, name: String) -> NewKey {
        NewKey {
            spend_limit: Some(self.limit),
            allowed_models: self.allowed_models.clone(),
            allowed_providers: self.allowed_providers.clone(),
            expires_at: self.expires_at,
            ..NewKey::named(name)
        }
    }

    /// What the session does not set stays as a person set it.
    pub(super) fn to_update(&self) -> KeyUpdate {
        KeyUpdate {
            spend_limit: Change::Set(self.limit),
            allowed_models: Change::to(self.allowed_models.clone()),
            allowed_providers: Change::to(self.allowed_providers.clone()),
            expires_at: Change::to(self.expires_at),
            ..KeyUpdate::default()
        }
    }
}

pub(super) fn check_list(name: &str, list: Option<&Vec<String>>, most: Option<&Vec<String>>) -> Result<(), String> {
    let (Some(list), Some(most)) = (list, most) else { return Ok(()) };
    match list.iter().find(|item| !most.contains(item)) {
        Some(item) => Err(format!("{name}: the owner of this machine does not allow {item}, only {}", most.join(", "))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> SpendLimit {
        SpendLimit::parse_short(text).unwrap()
    }

    #[test]
    fn an_agent_can_only_ask_for_less() {
        let ceiling = Ceiling {
            limit: limit("5.00/weekly"),
            set_by: SetBy::Setting,
            allowed_models: Some(vec!["a".into(), "b".into()]),
            allowed_providers: None,
        };
        let ask = |text: &str| Narrowing { spend_limit: Some(limit(text)), ..Narrowing::default() }.check(&ceiling);
        for narrower in ["5.00/weekly", "0.10/weekly", "2.50/monthly", "0.70/daily", "1.00/total"] {
            assert!(ask(narrower).is_ok(), "{narrower}");
        }
        for wider in ["5.01/weekly", "1.00/daily", "2.51/monthly", "5.00/monthly", "6.00/total"] {
            assert!(ask(wider).unwrap_err().contains("LAVA_SESSION_LIMIT"), "{wider}");
        }
        let models = |list: &[&str]| {
            Narrowing { allowed_models: Some(list.iter().map(|id| (*id).to_owned()).collect()), ..Narrowing::default() }.check(&ceiling)
        };
        assert!(models(&["a"]).is_ok());
        assert!(models(&["a", "c"]).unwrap_err().contains('c'));
    }

    fn key(most: &str, spent: &str, more: &serde_json::Value) -> SpendKeyObject {
        let limit = limit(most);
        let mut key = serde_json::json!({"spend_key_id": "k", "key_preview": "p", "name": "n", "status": "active", "request_shape": "openai",
            "spend_limit": {"amount": limit.amount, "cycle": limit.cycle}, "current_spend": spent, "total_spend": spent,
            "current_requests": 0, "total_requests": 0, "created_at": "2026-11-24T12:00:00Z"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(key).unwrap()
    }

    fn wanted(text: &str) -> Wanted {
        Wanted { limit: limit(text), allowed_models: None, allowed_providers: None, expires_at: None }
    }

    #[test]
    fn a_limit_is_replaced_where_nothing_that_was_spent_is_forgotten() {
        let nothing = serde_json::json!({});
        for (ceiling, before, spent, asked, expected) in [
            // The same cycle as the ceiling's, or a longer one that covers it: spending goes on counting.
            ("5.00/weekly", "5.00/weekly", "1.00", "2.00/weekly", Replacing::Safe),
            ("5.00/weekly", "0.70/daily", "0.50", "2.00/total", Replacing::Safe),
            // A shorter cycle under the same ceiling, as before.
            ("5.00/weekly", "0.70/daily", "0.50", "0.20/daily", Replacing::Safe),
            ("5.00/weekly", "2.50/monthly", "0.50", "1.00/monthly", Replacing::Safe),
            // One that was there before the ceiling, and is not within it.
            ("5.00/weekly", "2.00/daily", "0.50", "0.20/daily", Replacing::Forgets),
            // From a cycle that counts all of it: only while there is nothing to count.
            ("5.00/weekly", "5.00/weekly", "0.00", "0.70/daily", Replacing::WhileUnspent),
            ("5.00/weekly", "5.00/weekly", "0.0000000001", "0.70/daily", Replacing::Forgets),
            ("5.00/weekly", "5.00/weekly", "1.00", "0.70/daily", Replacing::Forgets),
            ("5.00/weekly", "5.00/total", "0.00", "2.50/monthly", Replacing::WhileUnspent),
            // From a cycle that has begun anew meanwhile: what it counts is not all.
            ("5.00/weekly", "0.70/daily", "0.00", "2.50/monthly", Replacing::Forgets),
        ] {
            let replaced = wanted(asked).replacing(&key(before, spent, &nothing), limit(ceiling));
            assert_eq!(replaced, expected, "{before} with {spent} spent becomes {asked} under {ceiling}");
        }
    }

    #[test]
    fn what_a_session_asked_for_stays_while_the_ceiling_allows_it() {
        let ceiling = Ceiling {
            limit: limit("5.00/weekly"),
            set_by: SetBy::Person,
            allowed_models: Some(vec!["a".into(), "b".into()]),
            allowed_providers: None,
        };
        let asked = Narrowing { spend_limit: Some(limit("1.00/weekly")), ..Narrowing::default() };
        assert!(Narrowing::default().is_empty() && !asked.is_empty());
        let ask = |most: &str, models: &[&str]| Narrowing {
            spend_limit: Some(limit(most)),
            allowed_models: Some(models.iter().map(|id| (*id).to_owned()).collect()),
            allowed_providers: Some(vec!["p".into()]),
            expires_at: Some("2026-12-01T00:00:00Z".parse().unwrap()),
        };
        let lists = serde_json::json!({"allowed_models": ["a"], "allowed_providers": ["p"], "expires_at": "2026-12-01T00:00:00Z"});
        let earlier = ask("2.00/weekly", &["a"]);
        let kept = Narrowing::default().after(&earlier).settings(&ceiling, None);
        let before = key("2.00/weekly", "0.00", &lists);
        assert!(kept.matches(&before), "{kept:?}");
        assert_eq!(asked.after(&earlier).settings(&ceiling, None), Wanted { limit: limit("1.00/weekly"), ..kept.clone() });
        // What the ceiling has become too narrow for is the ceiling's again.
        let narrowed = Wanted { limit: ceiling.limit, allowed_models: ceiling.allowed_models.clone(), ..kept.clone() };
        assert_eq!(ask("9.00/weekly", &["a", "c"]).settings(&ceiling, None), narrowed);
        assert_eq!((kept.limit_set_by(&ceiling), narrowed.limit_set_by(&ceiling)), (SetBy::Agent, SetBy::Person));
        // An end that was decided is not put off.
        for (ends_at, expected) in [("2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z"), ("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z")] {
            let ends = earlier.settings(&ceiling, Some(ends_at.parse().unwrap())).expires_at;
            assert_eq!(ends, Some(expected.parse().unwrap()));
        }
        // Every setting counts, and each is sent.
        for other in [
            wanted("2.00/weekly"),
            Wanted { limit: limit("2.00/total"), ..kept.clone() },
            Wanted { allowed_models: None, ..kept.clone() },
            Wanted { allowed_providers: None, ..kept.clone() },
            Wanted { expires_at: None, ..kept.clone() },
        ] {
            assert!(!other.matches(&before), "{other:?}");
        }
        let new = kept.to_new_key("name".to_owned());
        assert_eq!((new.spend_limit, new.expires_at), (Some(kept.limit), kept.expires_at));
        assert_eq!((new.allowed_models, new.allowed_providers), (kept.allowed_models.clone(), kept.allowed_providers.clone()));
        let update = serde_json::to_value(kept.to_update()).unwrap();
        assert_eq!(
            update,
            serde_json::json!({"spend_limit": {"amount": "2.00", "cycle": "weekly"}, "allowed_models": ["a"], "allowed_providers": ["p"],
                "expires_at": "2026-12-01T00:00:00Z"})
        );
        let lifted = serde_json::to_value(wanted("2.00/weekly").to_update()).unwrap();
        assert!(
            ["allowed_models", "allowed_providers", "expires_at"].iter().all(|name| lifted[name].is_null() && lifted.get(name).is_some())
        );
        assert_eq!(kept.at(limit("1.00/total")), Wanted { limit: limit("1.00/total"), ..kept.clone() });
        assert!(kept.forgets(limit("5.00/weekly")).contains("a limit of 2.00 USD (weekly) would not count"));
    }
}
