//! Books what an attempt cost and gives the rest of its hold back: exactly once, on every way out.

use super::meter::Metered;
use crate::{
    domain::{
        HoldId, Metered as Known, Money, Usage,
        ledger::{Basis, Outcome, Settle},
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

    async fn settle(mut self, outcome: Outcome, upstream_status: Option<u16>) {
        let Some(hold) = self.hold.take() else { return };
        if let Err(error) = self.store.settle(Settle { hold, outcome, upstream_status }).await {
            tracing::error!(%error, "a settlement is not on disk; the hold stays, and counts in full");
        }
    }
}

impl Drop for HoldGuard {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let outcome = Outcome::Charge { cost: self.amount, basis: Basis::Hold, usage: None };
            drop(self.store.settle(Settle { hold, outcome, upstream_status: None }));
        }
    }
}

/// Books the attempt.
pub(super) async fn settle(metered: Metered) {
    let Metered { held, known, upstream_status } = metered;
    let prices = held.route.prices.as_ref();
    let price = |usage: &Usage| prices.and_then(|prices| prices.cost(usage).ok());
    let whole_hold = Outcome::Charge { cost: held.amount, basis: Basis::Hold, usage: None };
    let outcome = match known {
        Known::Nothing { dispatched } => Outcome::Void { dispatched },
        Known::Exact(usage) => match price(&usage) {
            Some(cost) => {
                if cost > held.amount {
                    tracing::warn!(request = %held.request, model = %held.route.model, %cost, held = %held.amount, "hold_exceeded");
                }
                Outcome::Charge { cost, basis: Basis::Measured, usage: Some(usage) }
            }
            None if matches!(held.ask, super::authorise::Ask::Free) => {
                Outcome::Charge { cost: Money::ZERO, basis: Basis::Measured, usage: None }
            }
            None => whole_hold,
        },
        // An estimate never charges more than was set aside: the hold is the upper bound.
        Known::Estimated(usage) => match price(&usage) {
            Some(cost) => Outcome::Charge { cost: cost.min(held.amount), basis: Basis::Estimated, usage: Some(usage) },
            None => whole_hold,
        },
        Known::Unknown => whole_hold,
    };
    held.guard.settle(outcome, upstream_status).await;
}
