//! What a call costs, exactly, and the most it could cost. Providers publish a price per kind of token; a reply reports how many of each
//! kind it used. Both directions of error matter here: a price that is too low lets a spend limit be overrun, so every doubt is
//! settled upwards, and a part-price that nobody published falls back to the more general price, never to zero.

use serde::{Deserialize, Serialize};

use crate::domain::{
    money::{Money, Rate},
    usage::Usage,
};

/// Pico-dollars in one nano-dollar.
const PICOS_PER_NANO: u128 = 1_000;

/// Why a price could not be worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// The amount is more than [`Money`] can hold.
    #[error("the cost is too large to account for")]
    TooLarge,
}

/// Prices per unit, in pico-dollars. Every optional price falls back to the more general one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// One input token.
    #[serde(rename = "in")]
    pub input: Rate,
    /// One output token.
    #[serde(rename = "out")]
    pub output: Rate,
    /// One input token read from a cache. Falls back to `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<Rate>,
    /// One input token written to a cache for minutes. Falls back to `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Rate>,
    /// One input token written to a cache for an hour. Falls back to `cache_write`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<Rate>,
    /// One output token of hidden reasoning. Falls back to `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Rate>,
    /// One input token of audio. Falls back to `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_in: Option<Rate>,
    /// One output token of audio. Falls back to `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_out: Option<Rate>,
    /// The request itself, whatever its size. Free when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Rate>,
}

impl Rates {
    /// One price for all input and one for all output.
    pub const fn flat(input: Rate, output: Rate) -> Self {
        Self {
            input,
            output,
            cache_read: None,
            cache_write: None,
            cache_write_1h: None,
            reasoning: None,
            audio_in: None,
            audio_out: None,
            request: None,
        }
    }

    /// The parts of the input: what was reported, and its price.
    fn input_parts(&self, usage: &Usage) -> [(u64, Rate); 4] {
        let write = self.cache_write.unwrap_or(self.input);
        [
            (usage.cache_read, self.cache_read.unwrap_or(self.input)),
            (usage.cache_write, write),
            (usage.cache_write_1h, self.cache_write_1h.unwrap_or(write)),
            (usage.audio_input, self.audio_in.unwrap_or(self.input)),
        ]
    }

    /// The parts of the output: what was reported, and its price.
    fn output_parts(&self, usage: &Usage) -> [(u64, Rate); 2] {
        [(usage.reasoning, self.reasoning.unwrap_or(self.output)), (usage.audio_output, self.audio_out.unwrap_or(self.output))]
    }

    /// The highest price one input token can have.
    fn input_max(&self) -> Rate {
        self.input_parts(&Usage::default()).into_iter().fold(self.input, |most, (_, rate)| most.max(rate))
    }

    /// The highest price one output token can have.
    fn output_max(&self) -> Rate {
        self.output_parts(&Usage::default()).into_iter().fold(self.output, |most, (_, rate)| most.max(rate))
    }

    /// The fixed price of the request in pico-dollars.
    fn request_picos(&self) -> u128 {
        u128::from(self.request.unwrap_or(Rate::FREE).picos())
    }

    /// The exact cost in pico-dollars.
    fn cost_picos(&self, usage: &Usage) -> Option<u128> {
        let cached = usage.cache_read.checked_add(usage.cache_write).and_then(|sum| sum.checked_add(usage.cache_write_1h));
        let input_adds_up = cached.is_some_and(|sum| sum <= usage.input) && usage.audio_input <= usage.input;
        let output_adds_up = usage.reasoning <= usage.output && usage.audio_output <= usage.output;
        charge(usage.input, self.input, self.input_parts(usage), input_adds_up)?
            .checked_add(charge(usage.output, self.output, self.output_parts(usage), output_adds_up)?)?
            .checked_add(self.request_picos())
    }

    /// The most that so many tokens can cost in pico-dollars.
    fn most_picos(&self, input: u64, output: u64) -> Option<u128> {
        times(input, self.input_max())?.checked_add(times(output, self.output_max())?)?.checked_add(self.request_picos())
    }
}

/// Charges `total` tokens: each part at its own price, the rest at `base`. `total` is never exceeded, so that a reply cannot cost more
/// than the hold that was made for its totals. Where parts overlap (cached audio is counted in both), the dearest part is served first.
/// Where they contradict the total, no part gets a discount.
fn charge<const N: usize>(total: u64, base: Rate, mut parts: [(u64, Rate); N], adds_up: bool) -> Option<u128> {
    if !adds_up {
        for (_, rate) in &mut parts {
            *rate = base.max(*rate);
        }
    }
    parts.sort_unstable_by_key(|&(_, rate)| std::cmp::Reverse(rate));
    let mut left = total;
    let mut picos = 0_u128;
    for (count, rate) in parts {
        let taken = count.min(left);
        left -= taken;
        picos = picos.checked_add(times(taken, rate)?)?;
    }
    picos.checked_add(times(left, base)?)
}

fn times(units: u64, rate: Rate) -> Option<u128> {
    u128::from(units).checked_mul(u128::from(rate.picos()))
}

fn rounded_up(picos: Option<u128>) -> Result<Money, PriceError> {
    picos
        .and_then(|picos| i128::try_from(picos).ok())
        .and_then(|picos| Money::from_picos_rounded_up(picos).ok())
        .ok_or(PriceError::TooLarge)
}

/// Other prices once the input is long. They hold for the whole request, not only for the tokens beyond the step: that is how the
/// providers with such steps bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Holds when the input has more tokens than this.
    pub above: u64,
    /// The prices then. Complete: nothing is inherited from the tier below.
    pub rates: Rates,
}

/// Everything needed to price a call to one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prices {
    /// The prices of a short request.
    pub rates: Rates,
    /// Prices of longer requests, by rising `above`.
    pub tiers: Box<[Tier]>,
    /// Prices of a second source that says more, from the same or its own steps. They count when setting money aside, not when settling.
    pub reserve: Box<[Tier]>,
}

impl Prices {
    /// One price for all input and one for all output.
    pub fn flat(input: Rate, output: Rate) -> Self {
        Self::from_rates(Rates::flat(input, output))
    }

    /// Costs nothing.
    pub fn free() -> Self {
        Self::flat(Rate::FREE, Rate::FREE)
    }

    /// The same prices for requests of every length.
    pub fn from_rates(rates: Rates) -> Self {
        Self { rates, tiers: Box::new([]), reserve: Box::new([]) }
    }

    /// The prices that hold for a request with this many input tokens.
    pub fn rates_for(&self, input_tokens: u64) -> &Rates {
        self.tiers.iter().rev().find(|tier| input_tokens > tier.above).map_or(&self.rates, |tier| &tier.rates)
    }

    /// What `usage` costs: the exact sum, rounded up once to whole nano-dollars.
    ///
    /// Counters that contradict each other never lower the result: a part that exceeds its total is cut to the total, and earns no
    /// discount.
    ///
    /// # Errors
    /// When the amount does not fit.
    pub fn cost(&self, usage: &Usage) -> Result<Money, PriceError> {
        rounded_up(self.rates_for(usage.input).cost_picos(usage))
    }

    /// The most that [`Self::cost`] can return for any usage within these totals, whatever its parts.
    ///
    /// # Errors
    /// When the amount does not fit.
    pub fn bound(&self, input_tokens_max: u64, output_tokens_max: u64) -> Result<Money, PriceError> {
        let most = self.reachable(input_tokens_max).try_fold(0, |most: u128, rates| {
            let picos = rates.most_picos(input_tokens_max, output_tokens_max)?;
            Some(most.max(picos))
        });
        rounded_up(most)
    }

    /// The largest output for which [`Self::bound`] stays within `budget`, or `None` when not even the input fits.
    /// `u64::MAX` when output is free.
    pub fn affordable_output(&self, budget: Money, input_tokens_max: u64) -> Option<u64> {
        let budget_picos = u128::from(u64::try_from(budget.nanos()).ok()?).checked_mul(PICOS_PER_NANO)?;
        self.reachable(input_tokens_max).try_fold(u64::MAX, |least, rates| {
            let left = budget_picos.checked_sub(rates.most_picos(input_tokens_max, 0)?)?;
            let output = match u128::from(rates.output_max().picos()) {
                0 => u64::MAX,
                rate => u64::try_from(left / rate).unwrap_or(u64::MAX),
            };
            Some(least.min(output))
        })
    }

    /// Every set of prices that may apply to a request with at most this many input tokens.
    fn reachable(&self, input_tokens_max: u64) -> impl Iterator<Item = &Rates> {
        let steps = self.tiers.iter().chain(&self.reserve).filter(move |tier| tier.above == 0 || input_tokens_max > tier.above);
        std::iter::once(&self.rates).chain(steps.map(|tier| &tier.rates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::per_million(text).unwrap()
    }

    fn claude() -> Prices {
        Prices::from_rates(Rates {
            cache_read: Some(rate("0.30")),
            cache_write: Some(rate("3.75")),
            cache_write_1h: Some(rate("6")),
            ..Rates::flat(rate("3"), rate("15"))
        })
    }

    #[test]
    fn each_part_has_its_price_and_the_sum_is_rounded_once() {
        let usage = Usage { cache_read: 700, cache_write: 100, cache_write_1h: 50, ..Usage::text(1_000, 10) };
        // 150 x 3 + 700 x 0.30 + 100 x 3.75 + 50 x 6 + 10 x 15 dollars per million.
        assert_eq!(claude().cost(&usage), Ok(Money::from_nanos(1_485_000)));
        let tiny = Prices::flat(Rate::from_picos(1), Rate::from_picos(1));
        assert_eq!(tiny.cost(&Usage::text(1, 1)), Ok(Money::from_nanos(1)));
    }

    #[test]
    fn a_price_nobody_published_falls_back_and_is_never_zero() {
        let flat = Prices::flat(rate("1"), rate("2"));
        let parts = Usage { cache_read: 10, cache_write: 10, cache_write_1h: 10, audio_input: 10, ..Usage::text(100, 0) };
        assert_eq!(flat.cost(&parts), flat.cost(&Usage::text(100, 0)));
        let hour = Prices::from_rates(Rates { cache_write: Some(rate("1.25")), ..Rates::flat(rate("1"), rate("2")) });
        let written = Usage { cache_write_1h: 100, ..Usage::text(100, 0) };
        assert_eq!(hour.cost(&written), Ok(Money::from_nanos(125_000)));
    }

    #[test]
    fn a_long_input_moves_the_whole_request_to_its_tier() {
        let mut prices = Prices::flat(rate("1"), rate("2"));
        prices.tiers = Box::new([Tier { above: 1_000, rates: Rates::flat(rate("2"), rate("4")) }]);
        assert_eq!(prices.cost(&Usage::text(1_000, 1)), Ok(Money::from_nanos(1_002_000)));
        assert_eq!(prices.cost(&Usage::text(1_001, 1)), Ok(Money::from_nanos(2_006_000)));
        assert_eq!(prices.bound(1_000, 1), Ok(Money::from_nanos(1_002_000)));
        assert_eq!(prices.bound(1_001, 1), Ok(Money::from_nanos(2_006_000)));
    }

    #[test]
    fn cheaper_sound_is_cheaper_only_as_far_as_it_can_be_part_of_the_whole() {
        let mut rates = Rates::flat(rate("10"), rate("10"));
        (rates.audio_in, rates.audio_out) = (Some(rate("1")), Some(rate("1")));
        let prices = Prices::from_rates(rates);
        let cost = |usage: Usage| prices.cost(&usage).unwrap();
        // 3 x 10 + 2 x 1 dollars per million, in and out; and all of it at 10 where there is more sound than there is of anything.
        assert_eq!(cost(Usage { audio_input: 2, audio_output: 2, ..Usage::text(5, 5) }), "0.000064".parse().unwrap());
        assert_eq!(cost(Usage { audio_input: 9, ..Usage::text(5, 0) }), "0.00005".parse().unwrap());
        assert_eq!(cost(Usage { audio_output: 9, ..Usage::text(0, 5) }), "0.00005".parse().unwrap());
        assert_eq!(cost(Usage { audio_input: 5, audio_output: 5, ..Usage::text(5, 5) }), "0.00001".parse().unwrap());
    }

    #[test]
    fn counters_that_contradict_each_other_earn_no_discount() {
        let plain = claude().cost(&Usage::text(100, 0)).unwrap();
        let lie = Usage { cache_read: 5_000, ..Usage::text(100, 0) };
        assert_eq!(claude().cost(&lie).unwrap(), plain);
        let wrap = Usage { cache_read: u64::MAX, cache_write: u64::MAX, ..Usage::text(100, 0) };
        assert!(claude().cost(&wrap).unwrap() >= plain);
        assert!(claude().cost(&wrap).unwrap() <= claude().bound(100, 0).unwrap());
    }

    #[test]
    fn cached_audio_is_charged_once_and_at_the_dearer_price() {
        let prices =
            Prices::from_rates(Rates { cache_read: Some(rate("0.1")), audio_in: Some(rate("10")), ..Rates::flat(rate("1"), rate("2")) });
        let usage = Usage { cache_read: 80, audio_input: 60, ..Usage::text(100, 0) };
        // 60 as audio, the other 40 as cached.
        assert_eq!(prices.cost(&usage), Ok(Money::from_nanos(604_000)));
    }

    #[test]
    fn a_disputed_price_counts_when_setting_money_aside_only() {
        let mut prices = Prices::flat(rate("1"), rate("2"));
        prices.reserve = Box::new([Tier { above: 0, rates: Rates::flat(rate("3"), rate("2")) }]);
        assert_eq!(prices.cost(&Usage::text(100, 0)), Ok(Money::from_nanos(100_000)));
        assert_eq!(prices.bound(100, 0), Ok(Money::from_nanos(300_000)));
    }

    #[test]
    fn the_affordable_output_is_the_last_one_that_fits() {
        let prices = claude();
        let budget = Money::from_nanos(1_000_003);
        let output = prices.affordable_output(budget, 100).unwrap();
        assert!(prices.bound(100, output).unwrap() <= budget);
        assert!(prices.bound(100, output + 1).unwrap() > budget);
        assert_eq!(prices.affordable_output(Money::from_nanos(10), 100), None);
        assert_eq!(prices.affordable_output(Money::from_nanos(-1), 0), None);
        assert_eq!(Prices::free().affordable_output(Money::ZERO, 100), Some(u64::MAX));
    }

    #[test]
    fn an_absurd_amount_is_an_error_and_not_a_wrap() {
        let dear = Prices::flat(Rate::from_picos(u64::MAX), Rate::from_picos(u64::MAX));
        assert_eq!(dear.cost(&Usage::text(u64::MAX, u64::MAX)), Err(PriceError::TooLarge));
        assert_eq!(dear.bound(u64::MAX, u64::MAX), Err(PriceError::TooLarge));
    }
}
