//! What tools that run at a provider can add to the cost of a request, and what they have added.

use super::{ask::Ask, error::GatewayError, route::Route};
use crate::{
    catalog::{Catalog, Model, Unit},
    domain::{Money, Rate},
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
pub(super) fn bound(ask: &Ask, route: &Route) -> Result<Extra, GatewayError> {
    let Some(hosted) = ask.hosted().filter(|hosted| !hosted.is_empty() && !route.is_own()) else { return Ok(Extra::default()) };
    let no_bound = |what: &str| GatewayError::BadField {
        field: "tools".to_owned(),
        message: format!("tools: the cost of hosted tools has no upper bound, because the {what} of the model is not known"),
    };
    let again = match hosted.rounds {
        0 => None,
        rounds => Some((rounds, route.context.ok_or_else(|| no_bound("context window"))?)),
    };
    let searches = search_fee(route).times(hosted.searches);
    let mut fee = fixed_fee(ask, route).saturating_add(searches);
    for (name, uses) in &hosted.models {
        let model = Catalog::embedded().model(&route.provider, name);
        let most = model.and_then(|model| model.prices()?.bound(model.context?, model.max_output?).ok());
        fee = fee.saturating_add(most.ok_or_else(|| no_bound("price"))?.times(*uses));
    }
    Ok(Extra { again, fee })
}

/// What hosted tools have cost beside tokens, when so many searches were reported.
pub(super) fn fee(ask: &Ask, route: &Route, searches: u64) -> Money {
    if route.is_own() {
        return Money::ZERO;
    }
    fixed_fee(ask, route).saturating_add(search_fee(route).times(searches))
}

/// What is due however much is used, beyond the fee of each request that the model's prices have already.
fn fixed_fee(ask: &Ask, route: &Route) -> Money {
    let fee = ask.hosted().map_or(Money::ZERO, |hosted| hosted.fee);
    let of_request = route.prices.as_ref().and_then(|prices| prices.rates.request).map_or(Money::ZERO, rounded_up);
    fee.saturating_sub(of_request).max(Money::ZERO)
}

/// The model's price of a search; where it has none, the highest of the same provider, and where that has none either, the highest of all.
fn search_fee(route: &Route) -> Money {
    let catalog = Catalog::embedded();
    let fee_of = |model: &Model| model.units.iter().find(|(unit, _)| *unit == Unit::WebSearch).map(|(_, rate)| rounded_up(*rate));
    let own = catalog.model(&route.provider, &route.model).and_then(fee_of);
    own.or_else(|| catalog.models().iter().filter(|model| *model.provider == *route.provider).filter_map(fee_of).max())
        .unwrap_or(SEARCH_FEE_MAX)
}

fn rounded_up(rate: Rate) -> Money {
    Money::from_picos_rounded_up(i128::from(rate.picos())).unwrap_or(Money::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        gateway::route::Reach,
        translate::{anthropic::MessagesRequest, openai::ChatRequest, screening::HostedTools},
    };

    fn route(provider: &str, model: &str, reach: Reach) -> Route {
        Route { context: Some(200_000), ..Route::example(provider, model, reach) }
    }

    fn asked(tool: &Value) -> Ask {
        let body = json!({"model": "m", "max_tokens": 5, "messages": [], "tools": [tool]});
        let mut ask = Ask::Messages(MessagesRequest::parse(&Bytes::from(body.to_string())).unwrap());
        ask.screen(HostedTools::Bounded).unwrap();
        ask
    }

    fn dollars(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn a_search_is_bounded_and_paid_at_the_price_that_the_model_has() {
        let ask = asked(&json!({"type": "web_search_20250305", "name": "s", "max_uses": 3}));
        let sold = route("anthropic", "claude-sonnet-4-5", Reach::Public);
        let extra = bound(&ask, &sold).unwrap();
        assert_eq!((extra.runs(), extra.input_max(), extra.fee), (4, Some(800_000), dollars("0.03")));
        assert_eq!((fee(&ask, &sold, 2), fee(&ask, &sold, 0)), (dollars("0.02"), Money::ZERO));
        // Where no price of a search is known, the highest one of the provider counts, and then that of all.
        assert_eq!(fee(&ask, &route("anthropic", "claude-haiku-4-5", Reach::Public), 1), dollars("0.01"));
        assert_eq!(fee(&ask, &route("nobody", "unheard-of", Reach::Public), 1), dollars("0.05"));
        // A person vouches for what their own provider costs.
        let own = route("anthropic", "claude-sonnet-4-5", Reach::Private);
        assert_eq!((bound(&ask, &own).unwrap(), fee(&ask, &own, 2)), (Extra::default(), Money::ZERO));
        assert!(bound(&ask, &Route { context: None, ..sold }).is_err(), "nobody knows how much it reads");
    }

    #[test]
    fn a_container_is_paid_by_the_hour_and_another_model_is_bounded_by_its_own_prices() {
        let sold = route("anthropic", "claude-sonnet-4-5", Reach::Public);
        let code = asked(&json!({"type": "code_execution_20250825", "name": "c"}));
        assert_eq!((bound(&code, &sold).unwrap().fee, fee(&code, &sold, 0)), (dollars("0.05"), dollars("0.05")));
        let advisor = |model: &str| asked(&json!({"type": "advisor_20260301", "name": "a", "model": model, "max_uses": 2}));
        let big = Catalog::embedded().model("anthropic", "claude-opus-4-8").unwrap();
        let most = big.prices().unwrap().bound(big.context.unwrap(), big.max_output.unwrap()).unwrap();
        assert_eq!(bound(&advisor("claude-opus-4-8"), &sold).unwrap().fee, most.saturating_add(most));
        assert!(bound(&advisor("unheard-of"), &sold).is_err());
        assert_eq!(Money::MAX.times(2), Money::MAX);
    }

    #[test]
    fn a_search_of_the_chat_dialect_costs_its_fee_once() {
        let body = json!({"model": "m", "messages": [], "web_search_options": {}});
        let mut ask = Ask::Chat(ChatRequest::parse(&Bytes::from(body.to_string())).unwrap());
        ask.screen(HostedTools::Bounded).unwrap();
        let sold = route("openai", "gpt-4o-search-preview", Reach::Public);
        assert_eq!((bound(&ask, &sold).unwrap().fee, fee(&ask, &sold, 0)), (dollars("0.05"), dollars("0.05")));
        // A fee that the model's prices have for each request is a part of it.
        let prices = Catalog::embedded().model("openai", "gpt-4o-search-preview").and_then(|model| model.prices().cloned());
        let sold = Route { prices, ..sold };
        assert_eq!((bound(&ask, &sold).unwrap().fee, fee(&ask, &sold, 0)), (dollars("0.025"), dollars("0.025")));
    }
}
