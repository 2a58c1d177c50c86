//! How much a request can cost at most, and which output cap goes with it; pure.
//!
//! The bound is true: the input is bounded by its bytes (or counted exactly), the output by a cap the provider enforces. A cap the caller set is lowered only where the key
//! says so. Where none is set, one is put in that the budget can pay for.

use super::{ask::Ask, error::GatewayError, hosted::Extra, providers::thinks_beyond_cap, route::Route};
use crate::{catalog::Prices, domain::Money};

/// Output cap put in where the caller set none, in tokens: ample for an answer with reasoning.
const OUTPUT_CAP_DEFAULT: u64 = 16_384;
/// A smaller cap would cut answers to pieces; the request is refused instead.
const OUTPUT_CAP_MIN: u64 = 256;
/// A cap that was asked for is not lowered further than this while there is money for it, or money that others will give back.
const OUTPUT_CAP_ENOUGH: u64 = 4_096;
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
    /// The least cap with which the answer is of use.
    least_cap: u64,
    /// Tokens of hidden reasoning that the cap does not hold back.
    beyond_cap: u64,
    /// What hosted tools can add.
    extra: Extra,
}

/// How much to set aside, and with which cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) amount: Money,
    pub(super) cap: Option<u64>,
    /// Whether the cap was chosen here: put in, or lowered.
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
    /// Whether a cap that the caller set may be lowered.
    pub(super) may_lower: bool,
}

impl Quote {
    /// The quote for a request at a route, whose chat template adds at most `template_tokens`, and hosted tools `extra`.
    ///
    /// # Errors
    /// [`GatewayError::Unpriceable`] when the cost has no bound.
    pub(super) fn new(ask: &Ask, route: &Route, template_tokens: u64, extra: Extra) -> Result<Self, GatewayError> {
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
        let text_tokens_max = match ask.input_tokens_max(route.context) {
            Some(input) => input,
            None if is_free => 0,
            None => {
                let known_by = if route.is_own() {
                    format!("; set context_window under [providers.{provider}] in the config file")
                } else {
                    String::new()
                };
                return unpriceable(format!(
                    "it has content whose tokens cannot be counted in advance, and the model's context window is not known{known_by}"
                ));
            }
        };
        let (choices, asked_cap) = (ask.choices(), ask.output_cap());
        let beyond_cap = match thinks_beyond_cap(provider) && route.reasons {
            false => 0,
            true => match route.max_output.or(route.context) {
                Some(most) => most,
                None => return unpriceable(format!("{provider} does not limit hidden reasoning, and its length is not known")),
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
            least_cap: ask.least_cap(),
            beyond_cap,
            extra,
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
        let output = cap.saturating_add(self.beyond_cap).saturating_mul(self.answers());
        self.prices.bound(self.input_of_all_runs(), output).map_or(Money::MAX, |tokens| tokens.saturating_add(self.extra.fee))
    }

    /// How many answers the model may write.
    const fn answers(&self) -> u64 {
        self.choices.saturating_mul(self.extra.runs())
    }

    /// Where the model runs again, it reads what hosted tools have brought: all that it can read.
    fn input_of_all_runs(&self) -> u64 {
        self.extra.input_max().unwrap_or_else(|| self.input_tokens_max())
    }

    /// The largest cap whose bound is within `budget`; zero when none is.
    pub(super) fn affordable_cap(&self, budget: Money) -> u64 {
        let for_tokens = budget.saturating_sub(self.extra.fee);
        let output = self.prices.affordable_output(for_tokens, self.input_of_all_runs()).unwrap_or(0);
        (output / self.answers()).saturating_sub(self.beyond_cap)
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
        if let Some(asked) = self.asked_cap {
            let cap = if means.may_lower { self.fit(asked, means)? } else { asked };
            let amount = means.afford(self.bound(cap))?;
            return Ok(Plan { amount, cap: Some(cap).filter(|cap| *cap > 0), is_injected: cap < asked });
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
    /// Whether the cap that was asked for is more than there is money for.
    pub(super) fn is_lowered(&self, means: Means) -> bool {
        means.may_lower && self.asked_cap.is_some_and(|asked| means.limit().is_some_and(|limit| self.bound(asked) > limit))
    }

    /// The part that there is money for of a cap that was asked for. A quarter of the money is left to requests beside this one, as long as the cap is ample.
    fn fit(&self, asked: u64, means: Means) -> Result<u64, TooDear> {
        let Some(limit) = means.limit().filter(|limit| self.bound(asked) > *limit) else { return Ok(asked) };
        let (least, enough) = (self.least_cap.min(asked), OUTPUT_CAP_ENOUGH.max(self.least_cap).min(asked));
        let cap = self.affordable_cap(Money::from_nanos(limit.nanos() / 4 * 3)).max(self.affordable_cap(limit).min(enough)).min(asked);
        if cap < enough && means.may_wait && means.remaining == Some(limit) && self.bound(enough) <= limit.saturating_add(means.held) {
            return Err(TooDear::Budget { needed: self.bound(enough) });
        }
        Ok(cap.max(least))
    }

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
    /// The least of what there is and what the caller wants to pay.
    fn limit(self) -> Option<Money> {
        [self.max_cost, self.remaining].into_iter().flatten().min()
    }

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
