//! A breaker between a key and a provider whose answers break off.
//!
//! An answer that does not come is charged in full, because it may have been billed. So a caller who tries again and again at a provider in trouble could lose a
//! whole budget in seconds. Two such answers in a row stop a key from buying at that provider for a while; three keys, or two connections that fail in a row, stop
//! everybody. After that time one request goes through, and another one when it takes long: if it is answered, the breaker
//! closes, else the time doubles.
//!
//! What is kept is in the memory of this process alone, and bounded; a process that is started again begins with everything closed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{
    ask::Ask,
    error::GatewayError,
    route::{Reach, Route},
};
use crate::{
    domain::{
        KeyId, Money,
        ledger::{Basis, Ending, Outcome},
    },
    store::Clock,
};

/// Answers in a row that did not come, or connections that failed, before a breaker opens.
const STRIKES: usize = 2;
/// Keys whose answers did not come before a breaker opens for everybody.
const WITNESSES: usize = 3;
/// How long a breaker is open at first, and at most.
const OPEN_S: i64 = 30;
const OPEN_S_MAX: i64 = 300;
/// A try that takes longer than this is not waited for: another request may try as well.
const TRY_S: i64 = 30;
/// When to come again while the one request that tries is under way.
const PROBE_WAIT_S: u64 = 5;
/// Most breakers that are kept, of keys and of providers; for one more, the one that opened longest ago is forgotten.
const KEPT_MAX: usize = 4_096;

/// All breakers of this process.
pub(super) struct Breakers {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of one key at one provider.
    keys: HashMap<(KeyId, String), Circuit>,
    /// Of everybody at one provider.
    places: HashMap<String, Circuit>,
}

/// One breaker. It exists from the first failure to the next success.
#[derive(Default)]
struct Circuit {
    /// Failures in a row.
    strikes: usize,
    /// The keys that had them.
    witnesses: Vec<KeyId>,
    open: Option<Open>,
}

struct Open {
    since: Timestamp,
    seconds: i64,
    /// Since when the one request that tries is under way.
    tried: Option<Timestamp>,
}

/// What an attempt says about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answered, if only with a refusal.
    Answered,
    /// Its answer did not come, or did not say what it cost, and was charged in full.
    Lost,
    /// There was no connection.
    Unreachable,
    /// Nothing: the caller hung up, or the gateway ended.
    Nothing,
}

impl Verdict {
    /// What an attempt that ended like this, and was booked like this, says about the provider.
    pub(super) fn of(ending: Ending, outcome: &Outcome) -> Self {
        match (ending, outcome) {
            (Ending::CutByCaller | Ending::Stopped | Ending::NotSent, _) => Self::Nothing,
            (Ending::Unreachable, _) => Self::Unreachable,
            // It came, and only the price of what it used is not known.
            (Ending::Complete, Outcome::Charge { usage: Some(_), .. }) => Self::Answered,
            (_, Outcome::Charge { cost, basis: Basis::Hold, .. }) if *cost > Money::ZERO => Self::Lost,
            // It broke off, and what it cost is known: neither well nor a loss.
            (Ending::Broken | Ending::TimedOut | Ending::ErrorInAnswer, _) => Self::Nothing,
            (Ending::Complete | Ending::Refused, _) => Self::Answered,
        }
    }
}

/// The way to a provider for one attempt. Dropped without a verdict it says nothing about the provider.
pub(super) struct Pass<'a> {
    breakers: &'a Breakers,
    key: &'a KeyId,
    /// `None` where there is no breaker.
    place: Option<String>,
    /// Whether this attempt is the one that tries: for the key's breaker, for everybody's.
    tries: (bool, bool),
    verdict: Verdict,
}

impl Breakers {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Lets an attempt through, or says how long its provider's breaker stays open.
    pub(super) fn admit<'a>(&'a self, key: &'a KeyId, ask: &Ask, route: &Route) -> Result<Pass<'a>, GatewayError> {
        let mut pass = Pass { breakers: self, key, place: None, tries: (false, false), verdict: Verdict::Nothing };
        if route.reach == Reach::Sandbox || ask.is_free() {
            return Ok(pass);
        }
        // A caller can choose a host where a provider has one for each customer, and must not close the others.
        let place = format!("{} {}", route.provider, route.url.authority());
        let now = (self.clock)();
        let mut state = self.lock();
        let State { keys, places } = &mut *state;
        let (mut own, mut all) = (keys.get_mut(&(key.clone(), place.clone())), places.get_mut(&place));
        let wait = |circuit: &Option<&mut Circuit>| circuit.as_ref().and_then(|circuit| circuit.wait_s(now));
        let refused = |wait_s, is_for_all| Err(GatewayError::BreakerOpen { provider: route.provider.clone(), wait_s, is_for_all });
        match (wait(&own), wait(&all)) {
            (_, Some(wait_s)) => return refused(wait_s, true),
            (Some(wait_s), _) => return refused(wait_s, false),
            (None, None) => {}
        }
        pass.tries = (own.as_mut().is_some_and(|own| own.begin_trial(now)), all.as_mut().is_some_and(|all| all.begin_trial(now)));
        pass.place = Some(place);
        Ok(pass)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Ends the attempt.
    pub(super) fn end(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let now = (self.breakers.clock)();
        let mut state = self.breakers.lock();
        let State { keys, places } = &mut *state;
        let own = (self.key.clone(), place.clone());
        match self.verdict {
            Verdict::Answered => {
                close(keys, &own, self.tries.0);
                close(places, &place, self.tries.1);
            }
            Verdict::Lost => {
                strike(keys, own, self.tries.0, now, |circuit| {
                    circuit.strikes += 1;
                    circuit.strikes >= STRIKES
                });
                strike(places, place, self.tries.1, now, |circuit| {
                    if !circuit.witnesses.contains(self.key) {
                        circuit.witnesses.push(self.key.clone());
                    }
                    circuit.witnesses.len() >= WITNESSES
                });
            }
            Verdict::Unreachable => {
                leave(keys, &own, self.tries.0);
                strike(places, place, self.tries.1, now, |circuit| {
                    circuit.strikes += 1;
                    circuit.strikes >= STRIKES
                });
            }
            Verdict::Nothing => {
                leave(keys, &own, self.tries.0);
                leave(places, &place, self.tries.1);
            }
        }
    }
}

impl Circuit {
    /// How long it stays open; `None` when it is closed, or the time has come to try.
    fn wait_s(&self, now: Timestamp) -> Option<u64> {
        let open = self.open.as_ref()?;
        if let Some(tried) = open.tried {
            return (0..TRY_S).contains(&now.duration_since(tried).as_secs()).then_some(PROBE_WAIT_S);
        }
        // A clock that was set back does not keep it open for longer.
        let gone = now.duration_since(open.since).as_secs();
        let left = open.seconds - gone;
        (gone >= 0 && left > 0).then(|| left.unsigned_abs())
    }

    /// Begins the one try of a breaker that was open for long enough.
    fn begin_trial(&mut self, now: Timestamp) -> bool {
        self.open.as_mut().map(|open| open.tried = Some(now)).is_some()
    }
}

/// Closes a breaker. What was under way when it opened does not close it.
fn close<K: std::hash::Hash + Eq>(circuits: &mut HashMap<K, Circuit>, key: &K, was_trial: bool) {
    if circuits.get(key).is_some_and(|circuit| circuit.open.is_none() || was_trial) {
        circuits.remove(key);
    }
}

/// Ends a try that showed nothing: another request may try.
fn leave<K: std::hash::Hash + Eq>(circuits: &mut HashMap<K, Circuit>, key: &K, was_trial: bool) {
    if was_trial && let Some(open) = circuits.get_mut(key).and_then(|circuit| circuit.open.as_mut()) {
        open.tried = None;
    }
}

/// Counts a failure, and opens the breaker when that was the last one allowed.
fn strike<K: std::hash::Hash + Eq + Clone>(
    circuits: &mut HashMap<K, Circuit>,
    key: K,
    was_trial: bool,
    now: Timestamp,
    count: impl FnOnce(&mut Circuit) -> bool,
) {
    if circuits.len() >= KEPT_MAX && !circuits.contains_key(&key) {
        let horizon = SignedDuration::from_secs(OPEN_S_MAX);
        circuits.retain(|_, circuit| circuit.open.as_ref().is_some_and(|open| now.duration_since(open.since) < horizon));
        if circuits.len() >= KEPT_MAX {
            let oldest =
                circuits.iter().min_by_key(|(_, circuit)| circuit.open.as_ref().map(|open| open.since)).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| circuits.remove(&oldest));
        }
    }
    let circuit = circuits.entry(key).or_default();
    match &mut circuit.open {
        Some(open) if was_trial => {
            *open = Open { since: now, seconds: (open.seconds * 2).min(OPEN_S_MAX), tried: None };
        }
        // What was under way when it opened says nothing new.
        Some(_) => {}
        None => {
            if count(circuit) {
                circuit.open = Some(Open { since: now, seconds: OPEN_S, tried: None });
            }
        }
    }
}
