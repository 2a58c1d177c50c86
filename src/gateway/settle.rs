//! Books what an attempt cost and gives the rest of its hold back: exactly once, on every way out.

use super::{
    Gateway,
    ask::Ask,
    meter::{Answer, LastWord, Metered},
    metrics::OpenHold,
    reported::COST_BELIEVED,
    reserve::Held,
};
use crate::{
    domain::{
        HoldId, Metered as Known, Money, Usage,
        ledger::{Basis, Ending, Outcome, Settle},
    },
    store::Store,
};

/// Owns an open hold. If it is dropped before it was settled (a panic, a runtime that ends), the whole hold is charged: the money may have been spent.
pub(super) struct HoldGuard {
    store: Store,
    hold: Option<HoldId>,
    amount: Money,
}

impl HoldGuard {
    pub(super) const fn new(store: Store, hold: HoldId, amount: Money) -> Self {
        Self { store, hold: Some(hold), amount }
    }

    /// Books the outcome. From here on whoever asks this ledger sees it; what is returned resolves when it is on disk.
    fn settle(mut self, outcome: Outcome, upstream_status: Option<u16>, ending: Ending) -> impl Future<Output = ()> + Send + use<> {
        let booked = self.hold.take().map(|hold| self.store.settle(Settle { hold, outcome, upstream_status, ending }));
        async {
            if let Some(booked) = booked
                && let Err(error) = booked.await
            {
                tracing::error!(%error, "a settlement is not on disk; the hold stays, and counts in full");
            }
        }
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let outcome = Outcome::Charge { cost: self.amount, basis: Basis::Hold, usage: None };
            drop(self.store.settle(Settle { hold, outcome, upstream_status: None, ending: Ending::Stopped }));
        }
    }
}

/// What the attempts of one request have come to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Charged in all.
    pub(super) charged: Money,
    /// Whether the request has been counted.
    pub(super) is_counted: bool,
}

impl Tally {
    /// Gives an attempt's money back that was never sent.
    pub(super) async fn return_unsent(&mut self, gateway: &Gateway, held: Held) {
        held.guard.settle(Outcome::Void { dispatched: false }, None, Ending::NotSent).await;
        gateway.lines.money_is_back(&held.key);
        // Nobody may be waiting.
        let _ = gateway.settled.send(held.request);
    }

    /// Books an attempt, and gives the caller the end of the answer, if this was the last attempt; else returns it.
    pub(super) async fn settle(
        &mut self,
        gateway: &Gateway,
        metered: Metered,
        outcome: Outcome,
        open: OpenHold<'_>,
        answer: Option<&Answer>,
    ) -> Option<LastWord> {
        let Metered { held, known, upstream_status, ending, last_word, .. } = metered;
        if let (Known::Exact(usage), Ask::Chat(_)) = (known, &*held.ask) {
            gateway.habits.learn(&held.key, &held.route.model, usage.output);
        }
        if let (Known::Exact(usage), Some(features)) = (known, held.ask.features()) {
            gateway.template_tokens.learn(&held.route, features, usage.input, held.text_tokens_max);
        }
        gateway.metrics.booked(gateway, &held.route, held.plan.amount, &outcome);
        let mut exceeds_hold = false;
        match &outcome {
            Outcome::Charge { cost, .. } => {
                self.charged = self.charged.saturating_add(*cost);
                self.is_counted = true;
                exceeds_hold = *cost > held.plan.amount;
                if exceeds_hold {
                    tracing::warn!(request = %held.request, model = %held.route.model, %cost, held = %held.plan.amount, "hold_exceeded");
                }
            }
            Outcome::Void { dispatched } => self.is_counted |= dispatched,
        }
        let (cost, basis) = match &outcome {
            Outcome::Charge { cost, basis, .. } => (*cost, basis.as_str()),
            Outcome::Void { .. } => (Money::ZERO, Basis::Void.as_str()),
        };
        tracing::debug!(request = held.request.as_str(), %cost, basis, held = %held.plan.amount, ending = ending.as_str(), "settled");
        let booked = held.guard.settle(outcome, upstream_status, ending);
        drop(open);
        // Who asks for the cost once the last byte is there must see it, so it is booked first; the disk is not waited for.
        let unsaid = match answer {
            Some(answer) => {
                last_word.say(answer).await;
                None
            }
            None => Some(last_word),
        };
        booked.await;
        if exceeds_hold {
            gateway.quarantine.forget();
        }
        gateway.lines.money_is_back(&held.key);
        // Nobody may be waiting.
        let _ = gateway.settled.send(held.request);
        unsaid
    }
}

/// What an attempt costs.
pub(super) fn outcome(gateway: &Gateway, metered: &Metered) -> Outcome {
    let Metered { held, known, beside, .. } = metered;
    beside.raise(gateway, held, by_usage(held, *known))
}

/// What an attempt costs by its usage; pure.
fn by_usage(held: &Held, known: Known) -> Outcome {
    let amount = held.plan.amount;
    let price = |usage: &Usage| {
        let cost = held.route.prices.as_ref()?.cost(usage).ok()?;
        (cost < COST_BELIEVED).then_some(cost)
    };
    let charge = |cost: Money, basis: Basis, usage: Option<Usage>| Outcome::Charge { cost, basis, usage };
    match known {
        Known::Nothing { dispatched } => Outcome::Void { dispatched },
        Known::Unknown => charge(amount, Basis::Hold, None),
        Known::Exact(_) if held.ask.is_free() => charge(Money::ZERO, Basis::Measured, None),
        Known::Exact(usage) => {
            price(&usage).map_or_else(|| charge(amount, Basis::Hold, None), |cost| charge(cost, Basis::Measured, Some(usage)))
        }
        // An estimate never charges more than was set aside: the hold is the upper bound.
        Known::Estimated(usage) => {
            price(&usage).map_or_else(|| charge(amount, Basis::Hold, None), |cost| charge(cost.min(amount), Basis::Estimated, Some(usage)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            KeyId, KeySettings, NewSpendKey, PlainKey, RequestId,
            key::{KeyKind, Pepper},
            ledger::{Reserve, Subject},
        },
        store::{NewSecretKey, RequestPage, wall_clock},
    };

    /// A panic, or a runtime that ends, drops what was on its way.
    #[tokio::test]
    async fn a_hold_that_is_dropped_is_charged_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let store = Store::open(&path, wall_clock()).await.unwrap();
        let pepper = Pepper::from_bytes(&[1; 32]);
        let secret = PlainKey::generate(KeyKind::SecretLive).unwrap();
        let (hash, preview) = (secret.hash(&pepper), secret.preview());
        store.create_secret_key(NewSecretKey { id: "owner".into(), hash, preview, name: "n".into(), test: false }).await.unwrap();
        let (key, plain) = (KeyId::generate(), PlainKey::generate(KeyKind::Spend).unwrap());
        let (hash, preview) = (plain.hash(&pepper), plain.preview());
        let settings = KeySettings { name: "k".into(), ..KeySettings::default() };
        store.create_spend_key(NewSpendKey { id: key.clone(), owner: "owner".into(), hash, preview, test: false, settings }).await.unwrap();
        let (hold, amount) = (HoldId::generate(), Money::from_dollars(3));
        let reserve = Reserve {
            hold: hold.clone(),
            request: RequestId::generate(false),
            key: key.clone(),
            generation: 1,
            amount,
            counted: true,
            test: false,
            subject: Subject::default(),
        };
        store.reserve(reserve).await.unwrap().unwrap();
        drop(HoldGuard::new(store.clone(), hold, amount));
        store.close().await;
        let store = Store::open(&path, wall_clock()).await.unwrap();
        let booked = store.spend_key(&key).unwrap().unwrap();
        assert_eq!((booked.total_spend, booked.held), (amount, Money::ZERO));
        let request = store.requests(&RequestPage { limit: 1, ..RequestPage::default() }).unwrap().remove(0);
        assert_eq!(request.last().basis.as_deref(), Some("hold"), "and not as what a process left that died");
        store.close().await;
    }
}
