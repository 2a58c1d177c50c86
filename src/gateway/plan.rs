//! How much a request can cost at most, and which output cap goes with it; pure.
//!
//! The bound is true: the input is bounded by its bytes (or counted exactly), the output by a cap the provider enforces. A cap the caller set is never lowered.
//! Where none is set, one is put in that the budget can pay for.

use super::{ask::Ask, error::GatewayError, providers::thinks_beyond_cap, route::Route};
use crate::{catalog::Prices, domain::Money};

/// Output cap put in where the caller set none, in tokens: ample for an answer with reasoning.
const OUTPUT_CAP_DEFAULT: u64 = 16_384;
/// A smaller cap would cut answers to pieces; the request is refused instead.
const OUTPUT_CAP_MIN: u64 = 256;
/// Money is short when it does not pay for this many requests with the usual cap; then a request only gets what it will need.
const AMPLE: i64 = 16;
/// Where it is not known what requests need, one gets this part of money that is short.
const SHARE: i64 = 8;

/// No request holds a million dollars: such a cap is a mistake, and its amount could not be added up.
const HOLD_MAX: Money = Money::from_dollars(1_000_000);

/// What one attempt can cost, as a function of its output cap.
pub(super) struct Quote {
    prices: Prices,
    is_free: bool,
    /// Of the request's own text; the template comes on top.
    text_tokens_max: u64,
    template_tokens: u64,
    is_tight: bool,
    choices: u64,
    /// The cap the caller set.
    asked_cap: Option<u64>,
    /// The most the model writes, if that is known.
    max_output: Option<u64>,
    /// Tokens of hidden reasoning that the cap does not hold back.
    beyond_cap: u64,
}

/// How much to set aside, and with which cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) amount: Money,
    pub(super) cap: Option<u64>,
    /// Whether the cap was put in by us.
    pub(super) is_injected: bool,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooDear {
    /// More than the key has left.
    Budget { needed: Money },
    /// More than the caller wants to pay for this call.
    MaxCost { needed: Money, max_cost: Money },
}

/// What may be spent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// Left on the key; `None` without a limit.
    pub(super) remaining: Option<Money>,
    /// Set aside by other requests; it comes back for the most part.
    pub(super) held: Money,
    /// What the caller allows for this call.
    pub(super) max_cost: Option<Money>,
    /// What requests like this one seldom exceed, in tokens, where that is known.
    pub(super) usual_output: Option<u64>,
    /// Whether the request may wait for money that is set aside, rather than be cut short.
    pub(super) may_wait: bool,
}

impl Quote {
    /// The quote for a request at a route, whose chat template adds at most `template_tokens`.
    ///
    /// # Errors
    /// [`GatewayError::Unpriceable`] when the cost has no bound.
    pub(super) fn new(ask: &Ask, route: &Route, template_tokens: u64) -> Result<Self, GatewayError> {
        let unpriceable = |reason: String| Err(GatewayError::Unpriceable(reason));
        let Route { provider, model, .. } = route;
        let prices = match &route.prices {
            _ if ask.is_free() => Prices::free(),
            Some(prices) => prices.clone(),
            None => {
                return unpriceable(format!(
                    "no price is known for {provider}/{model}; set one under [providers.{provider}] in the config file"
                ));
            }
        };
        let is_free = prices.bound(1_000_000, 1_000_000).is_ok_and(|cost| cost == Money::ZERO);
        // A person vouches for the prices of their own providers.
        if let Some(reason) = ask.unpriceable().filter(|_| !route.is_own()) {
            return unpriceable(reason.to_owned());
        }
        let text_tokens_max = match ask.input_tokens_max(route.context) {
            Some(input) => input,
            None if is_free => 0,
            None => {
                let reason = "it refers to content that is not in the request, and the model's context window is not known";
                return unpriceable(reason.to_owned());
            }
        };
        let (choices, asked_cap) = (ask.choices(), ask.output_cap());
        let beyond_cap = match thinks_beyond_cap(provider) && route.reasons {
            false => 0,
            true => match route.max_output.or(route.context) {
                Some(most) => most,
                None => return unpriceable(format!("{provider} does not hold back hidden reasoning, and its extent is not known")),
            },
        };
        Ok(Self {
            prices,
            is_free,
            text_tokens_max,
            template_tokens,
            is_tight: false,
            choices,
            asked_cap,
            max_output: route.max_output,
            beyond_cap,
        })
    }

    /// Upper bound of the input in tokens.
    pub(super) const fn input_tokens_max(&self) -> u64 {
        self.text_tokens_max.saturating_add(self.template_tokens)
    }

    /// The same without the chat template.
    pub(super) const fn text_tokens_max(&self) -> u64 {
        self.text_tokens_max
    }

    /// Whether the input has been counted, as far as it can be.
    pub(super) const fn is_tight(&self) -> bool {
        self.is_tight
    }

    /// Replaces the bound of the text by an exact count, if there is one. Returns whether it went down.
    pub(super) fn tighten(&mut self, counted: Option<u64>) -> bool {
        self.is_tight = true;
        let before = self.text_tokens_max;
        self.text_tokens_max = counted.map_or(before, |counted| counted.min(before));
        self.text_tokens_max < before
    }

    /// The most it can cost with this cap; the largest amount when that fits no number, which nobody can afford.
    fn bound(&self, cap: u64) -> Money {
        let output = cap.saturating_add(self.beyond_cap).saturating_mul(self.choices);
        self.prices.bound(self.input_tokens_max(), output).unwrap_or(Money::MAX)
    }

    /// The largest cap whose bound is within `budget`; zero when none is.
    pub(super) fn affordable_cap(&self, budget: Money) -> u64 {
        let output = self.prices.affordable_output(budget, self.input_tokens_max()).unwrap_or(0);
        (output / self.choices).saturating_sub(self.beyond_cap)
    }

    /// Whether it costs nothing.
    pub(super) const fn is_free(&self) -> bool {
        self.is_free
    }

    /// Chooses amount and cap.
    pub(super) fn plan(&self, means: Means) -> Result<Plan, TooDear> {
        if self.is_free {
            return Ok(Plan { amount: Money::ZERO, cap: self.asked_cap.filter(|cap| *cap > 0), is_injected: false });
        }
        if let Some(cap) = self.asked_cap {
            let amount = means.afford(self.bound(cap))?;
            return Ok(Plan { amount, cap: Some(cap).filter(|cap| *cap > 0), is_injected: false });
        }
        let most = self.max_output.map_or(OUTPUT_CAP_DEFAULT, |most| most.min(OUTPUT_CAP_DEFAULT)).max(1);
        let least = OUTPUT_CAP_MIN.min(most);
        let mut cap = self.need(most, means).clamp(least, most);
        // What the caller wants to pay counts first, then what the key has.
        if let Some(max_cost) = means.max_cost.filter(|max_cost| self.bound(cap) > *max_cost) {
            cap = self.affordable_cap(max_cost).clamp(least, cap);
        }
        if let Some(remaining) = means.remaining.filter(|remaining| self.bound(cap) > *remaining) {
            if means.may_wait && self.bound(cap) <= remaining.saturating_add(means.held) {
                return Err(TooDear::Budget { needed: self.bound(cap) });
            }
            cap = self.affordable_cap(remaining).clamp(least, cap);
        }
        Ok(Plan { amount: means.afford(self.bound(cap))?, cap: Some(cap), is_injected: true })
    }
}

impl Quote {
    /// The cap a request without one should get: all it may want where money is ample, else about twice what such requests write.
    fn need(&self, most: u64, means: Means) -> u64 {
        let Some(remaining) = means.remaining else { return most };
        let free = remaining.saturating_add(means.held);
        if free.nanos() / AMPLE >= self.bound(most).nanos() {
            return most;
        }
        means.usual_output.map_or_else(|| self.affordable_cap(Money::from_nanos(free.nanos() / SHARE)), |usual| usual.saturating_mul(2))
    }
}

impl Means {
    fn afford(self, needed: Money) -> Result<Money, TooDear> {
        if needed >= HOLD_MAX {
            return Err(TooDear::Budget { needed });
        }
        match (self.max_cost, self.remaining) {
            (Some(max_cost), _) if needed > max_cost => Err(TooDear::MaxCost { needed, max_cost }),
            (_, Some(remaining)) if needed > remaining => Err(TooDear::Budget { needed }),
            _ => Ok(needed),
        }
    }
}

#[cfg(test)]
mod tests;
