//! What an answer reports beside the usage of the model that was asked: what other models used for it, what the provider says it took, and a
//! service that is not the one of the price list.
//!
//! Where the catalog or the config file names the field, the larger of the reported and the computed cost is booked. A cost that cannot be true is not believed, and
//! the whole hold is charged.

use memchr::memmem;

use super::{Gateway, hosted, reserve::Held, route::Route};
use crate::{
    catalog::ReportedCost,
    domain::{
        Money, Usage,
        ledger::{Basis, Outcome},
    },
    translate::{Seen, Service, value_at},
};

/// No answer costs a million dollars. A report that says so is not believed.
pub(super) const COST_BELIEVED: Money = Money::from_dollars(1_000_000);

/// What is reported beside the usage; the largest counts, for a stream reports running totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    others: Vec<(String, Usage)>,
    searches: u64,
    cost: Option<Claim>,
    service: Service,
}

/// A cost as the provider says it; a larger one is the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Cost(Money),
    /// Not an amount that can be true.
    Unbelievable,
}

impl Beside {
    /// Whether other models than the one that was asked took part.
    pub(super) const fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Looks into a reply or a chunk that has been read.
    pub(super) fn add(&mut self, route: &Route, payload: &[u8], seen: &Seen) {
        if !seen.others.is_empty() {
            self.others.clone_from(&seen.others);
        }
        self.searches = self.searches.max(seen.searches);
        // A person vouches for what their own provider costs, whatever it calls its service.
        if !route.is_own() {
            self.service = self.service.max(seen.service);
        }
        if let Some(reported) = &route.reported_cost {
            self.cost = self.cost.max(claim(reported, payload));
        }
    }

    /// Makes an outcome at least as expensive as what is reported. A refusal stays one.
    pub(super) fn raise(&self, gateway: &Gateway, held: &Held, outcome: Outcome) -> Outcome {
        let (route, amount) = (&held.route, held.plan.amount);
        let Outcome::Charge { cost, basis, usage } = outcome else { return outcome };
        let unknown = Outcome::Charge { cost: cost.max(amount), basis: Basis::Hold, usage };
        let Some(others) = self.cost_of_others(gateway, route) else { return unknown };
        // What is not known in full is charged in full already.
        let fee = if basis == Basis::Hold { Money::ZERO } else { hosted::fee(&held.ask, route, self.searches) };
        let listed = cost.saturating_add(others);
        // Where it is to run the account decides, so nothing was set aside for that: it is paid from what is left of the hold.
        let computed = match (self.service, basis) {
            (Service::InAPlace, Basis::Measured | Basis::Estimated) => in_a_place(listed).min(amount.max(listed)),
            _ => listed,
        };
        let computed = computed.saturating_add(fee);
        match self.cost {
            // Who says what it took has said what the service costs.
            None if self.service == Service::Unlisted => Outcome::Charge { cost: computed.max(amount), basis: Basis::Hold, usage },
            Some(Claim::Unbelievable) => unknown,
            Some(Claim::Cost(claimed)) if claimed > computed => Outcome::Charge { cost: claimed, basis, usage },
            _ => Outcome::Charge { cost: computed, basis, usage },
        }
    }

    /// What other models used, each at its own price; `None` when one of them has none.
    fn cost_of_others(&self, gateway: &Gateway, route: &Route) -> Option<Money> {
        self.others.iter().try_fold(Money::ZERO, |sum, (model, usage)| {
            let known = if *model == route.model || route.is_own() {
                route.prices.as_ref()
            } else {
                gateway.registry.catalog().model(&route.provider, model).and_then(|model| model.prices())
            };
            let cost = known?.cost(usage).ok().filter(|cost| *cost < COST_BELIEVED)?;
            Some(sum.saturating_add(cost))
        })
    }
}

/// The list price and a tenth of it.
fn in_a_place(listed: Money) -> Money {
    Money::from_picos_rounded_up(i128::from(listed.nanos()) * 1_100).unwrap_or(Money::MAX)
}

fn claim(reported: &ReportedCost, payload: &[u8]) -> Option<Claim> {
    // Most chunks of a stream do not have it, and need not be read again.
    let name = reported.field.rsplit('.').next().unwrap_or_default();
    memmem::find(payload, name.as_bytes())?;
    let text = value_at(payload, &reported.field)?;
    let cost = reported.unit.to_money(&text).filter(|cost| *cost < COST_BELIEVED);
    Some(cost.map_or(Claim::Unbelievable, Claim::Cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CostUnit;

    #[test]
    fn a_place_costs_a_tenth_more_and_the_part_of_a_nano_dollar_is_paid() {
        for (listed, costs) in [(0, 0), (1, 2), (9, 10), (10, 11), (11, 13), (450_000, 495_000), (i64::MAX, i64::MAX)] {
            assert_eq!(in_a_place(Money::from_nanos(listed)), Money::from_nanos(costs), "{listed}");
        }
    }

    #[test]
    fn a_cost_is_read_to_the_nano_dollar_and_rounded_up() {
        let cost = |nanos| Some(Claim::Cost(Money::from_nanos(nanos)));
        let usd = ReportedCost { field: "usage.cost".into(), unit: CostUnit::Usd };
        for (value, claimed) in [
            ("0.5", cost(500_000_000)),
            ("\"0.5\"", cost(500_000_000)),
            ("5.2e-06", cost(5_200)),
            ("0.00000000012", cost(1)),
            ("0", cost(0)),
            ("999999.99", cost(999_999_990_000_000)),
            ("null", None),
            ("1000000", Some(Claim::Unbelievable)),
            ("1e300", Some(Claim::Unbelievable)),
            ("-0.5", Some(Claim::Unbelievable)),
            ("\"NaN\"", Some(Claim::Unbelievable)),
            ("{\"total\":1}", Some(Claim::Unbelievable)),
            ("true", Some(Claim::Unbelievable)),
        ] {
            let payload = format!("{{\"choices\":[],\"usage\":{{\"prompt_tokens\":1,\"cost\":{value}}}}}");
            assert_eq!(claim(&usd, payload.as_bytes()), claimed, "{value}");
        }
        assert_eq!(claim(&usd, br#"{"usage":{"prompt_tokens":1},"choices":[{"delta":{"content":"cost"}}]}"#), None);
        let ticks = ReportedCost { field: "usage.cost_in_usd_ticks".into(), unit: CostUnit::UsdTicks };
        assert_eq!(claim(&ticks, br#"{"usage":{"cost_in_usd_ticks":37756001}}"#), cost(3_775_601));
    }
}
