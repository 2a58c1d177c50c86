//! What tools that run at a provider can add to the cost of a request, and what they have added.

use super::{Gateway, ask::Ask, error::GatewayError, route::Route};
use crate::{
    catalog::{Model, Unit},
    domain::Money,
};

/// The price of a search where the catalog has none: the highest that is published for any model (gpt-4o-search-preview, platform.openai.com/docs/pricing).
const SEARCH_FEE_MAX: Money = Money::from_nanos(50_000_000);

/// The most that hosted tools can add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extra {
    /// How often the model may run again, and how many tokens it can read each time.
    again: Option<(u64, u64)>,
    /// Everything that is not this model's tokens.
    pub(super) fee: Money,
}

impl Extra {
    #[cfg(test)]
    pub(super) fn example(rounds: u64, window: u64, fee: Money) -> Self {
        Self { again: (rounds > 0).then_some((rounds, window)), fee }
    }

    /// How often the model may run in all.
    pub(super) const fn runs(&self) -> u64 {
        match self.again {
            Some((rounds, _)) => rounds.saturating_add(1),
            None => 1,
        }
    }

    /// What it can read in all its runs; `None` where it runs once.
    pub(super) const fn input_max(&self) -> Option<u64> {
        match self.again {
            Some((_, window)) => Some(window.saturating_mul(self.runs())),
            None => None,
        }
    }
}

/// The bound of what hosted tools add to a request at a route.
pub(super) fn bound(gateway: &Gateway, ask: &Ask, route: &Route) -> Result<Extra, GatewayError> {
    let Some(hosted) = ask.hosted().filter(|hosted| !hosted.is_empty() && !route.is_own()) else { return Ok(Extra::default()) };
    let no_bound = |what: &str| GatewayError::BadField {
        field: "tools".to_owned(),
        message: format!("tools: what hosted tools cost has no bound here, for the {what} of the model is not known"),
    };
    let again = match hosted.rounds {
        0 => None,
        rounds => Some((rounds, route.context.ok_or_else(|| no_bound("context window"))?)),
    };
    let searches = times(search_fee(gateway, route), hosted.searches);
    let mut fee = hosted.fee.saturating_add(searches);
    for (name, uses) in &hosted.models {
        let model = gateway.registry.catalog().model(&route.provider, name);
        let most = model.and_then(|model| Some(model.prices()?.bound(model.context?, model.max_output?).ok()?));
        fee = fee.saturating_add(times(most.ok_or_else(|| no_bound("price"))?, *uses));
    }
    Ok(Extra { again, fee })
}

/// What hosted tools have cost beside tokens, when so many searches were reported.
pub(super) fn fee(gateway: &Gateway, ask: &Ask, route: &Route, searches: u64) -> Money {
    if route.is_own() {
        return Money::ZERO;
    }
    let fixed = ask.hosted().map_or(Money::ZERO, |hosted| hosted.fee);
    fixed.saturating_add(times(search_fee(gateway, route), searches))
}

fn search_fee(gateway: &Gateway, route: &Route) -> Money {
    let model: Option<&Model> = gateway.registry.catalog().model(&route.provider, &route.model);
    let rate = model.and_then(|model| model.units.iter().find(|(unit, _)| *unit == Unit::WebSearch)).map(|(_, rate)| *rate);
    rate.and_then(|rate| Money::from_picos_rounded_up(i128::from(rate.picos())).ok()).unwrap_or(SEARCH_FEE_MAX)
}

fn times(amount: Money, count: u64) -> Money {
    let nanos = i64::try_from(count).ok().and_then(|count| amount.nanos().checked_mul(count));
    nanos.map_or(Money::MAX, Money::from_nanos)
}
