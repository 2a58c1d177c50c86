//! The shape of a line while it is being made, and how it is written.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Names of the prices, in the order they are written.
pub(crate) const RATE_NAMES: [&str; 9] =
    ["in", "out", "cache_read", "cache_write", "cache_write_1h", "reasoning", "audio_in", "audio_out", "request"];
pub(crate) const IN: usize = 0;
pub(crate) const OUT: usize = 1;
pub(crate) const CACHE_READ: usize = 2;
pub(crate) const CACHE_WRITE: usize = 3;
pub(crate) const CACHE_WRITE_1H: usize = 4;
pub(crate) const REASONING: usize = 5;
pub(crate) const AUDIO_IN: usize = 6;
pub(crate) const AUDIO_OUT: usize = 7;
pub(crate) const REQUEST: usize = 8;
/// Which more general price stands in for a missing one. `request` has none: it is free when absent.
const FALLBACK: [usize; 8] = [IN, OUT, IN, IN, CACHE_WRITE, OUT, IN, OUT];

/// Pico-dollars per unit, by [`RATE_NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rates(pub(crate) [Option<u64>; 9]);

impl Rates {
    /// The price that is charged: its own, or the one it falls back to.
    pub(crate) fn effective(&self, which: usize) -> u64 {
        match self.0[which] {
            Some(picos) => picos,
            None if which == REQUEST => 0,
            None if FALLBACK[which] == which => 0,
            None => self.effective(FALLBACK[which]),
        }
    }

    /// Leaves out parts that say nothing: zero beside a paid whole is a gap in the source, and the fallback's own price is implied.
    pub(crate) fn tidied(mut self) -> Self {
        for which in [REQUEST, AUDIO_OUT, AUDIO_IN, REASONING, CACHE_WRITE_1H, CACHE_WRITE, CACHE_READ] {
            let whole = if which == REQUEST { 0 } else { self.effective(FALLBACK[which]) };
            if self.0[which] == Some(0) || self.0[which] == Some(whole) {
                self.0[which] = None;
            }
        }
        self
    }

    /// The higher of the two, price by price.
    pub(crate) fn higher(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for which in 0..RATE_NAMES.len() {
            both.0[which] = Some(self.effective(which).max(other.effective(which)));
        }
        both.tidied()
    }

    /// The largest difference between the two in permille of the lower; 1 when they differ by less than that. A part that only one of
    /// them prices is a gap and no difference.
    pub(crate) fn permille_apart(&self, other: &Self) -> u64 {
        let both = |which: &usize| matches!(*which, IN | OUT | REQUEST) || (self.0[*which].is_some() && other.0[*which].is_some());
        (0..RATE_NAMES.len()).filter(both).map(|which| apart(self.effective(which), other.effective(which))).max().unwrap_or(0)
    }

    /// The highest price of an input token, of an output token, and that of the request.
    fn highest(&self) -> [u64; 3] {
        let most = |all: &[usize]| all.iter().map(|which| self.effective(*which)).max().unwrap_or(0);
        [most(&[IN, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, AUDIO_IN]), most(&[OUT, REASONING, AUDIO_OUT]), most(&[REQUEST])]
    }

    pub(crate) fn is_free(&self) -> bool {
        self.0.iter().all(|picos| picos.unwrap_or(0) == 0)
    }

    pub(crate) fn json(&self) -> Value {
        let known = RATE_NAMES.iter().zip(self.0).filter_map(|(name, picos)| Some(((*name).to_owned(), json!(picos?))));
        Value::Object(known.collect::<Map<_, _>>())
    }
}

/// The difference between two prices in permille of the lower one; a rounding step is none.
pub(crate) fn apart(one: u64, other: u64) -> u64 {
    let (low, high) = (one.min(other), one.max(other));
    match high - low {
        0 | 1 => 0,
        _ if low == 0 => 1_000_000,
        gap => (gap.saturating_mul(1_000) / low).max(1),
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) provider: String,
    pub(crate) id: String,
    pub(crate) mode: &'static str,
    pub(crate) aliases: BTreeSet<String>,
    pub(crate) ctx: Option<u64>,
    pub(crate) max_out: Option<u64>,
    pub(crate) caps: Vec<&'static str>,
    pub(crate) rates: Option<Rates>,
    pub(crate) tiers: Vec<(u64, Rates)>,
    /// Prices to set aside beside the charged ones, by the step they hold from.
    pub(crate) reserve: BTreeMap<u64, Rates>,
    pub(crate) units: Vec<(&'static str, u64)>,
    pub(crate) disputed: bool,
    pub(crate) retired: bool,
    pub(crate) deprecation: Option<String>,
    pub(crate) src: &'static str,
}

impl Entry {
    /// The prices that hold for so many input tokens.
    pub(crate) fn rates_at(&self, input: u64) -> Option<Rates> {
        let tier = self.tiers.iter().rev().find(|(above, _)| input > *above);
        tier.map(|(_, rates)| *rates).or(self.rates)
    }

    /// Keeps this entry's prices, and has the higher ones of `other` set aside for inputs above `step`.
    pub(crate) fn dispute(&mut self, step: u64, other: &Rates) {
        self.disputed = true;
        let so_far = self.reserve.get(&step).copied().or(self.rates_at(step + 1)).unwrap_or_default();
        let higher = so_far.higher(other);
        // A difference below the dearest kind of token changes nothing about what must be set aside.
        if higher.highest() != so_far.highest() {
            self.reserve.insert(step, higher);
        }
    }

    /// The line, with its keys in a fixed order.
    pub(crate) fn line(&self) -> String {
        let mut out = Map::new();
        let mut put = |name: &str, value: Option<Value>| value.map(|value| out.insert(name.to_owned(), value));
        put("id", Some(json!(self.id)));
        put("provider", Some(json!(self.provider)));
        put("mode", Some(json!(self.mode)));
        put("aliases", (!self.aliases.is_empty()).then(|| json!(self.aliases)));
        put("ctx", self.ctx.map(Value::from));
        put("max_out", self.max_out.map(Value::from));
        put("caps", (!self.caps.is_empty()).then(|| json!(self.caps)));
        put("rates", self.rates.map(|rates| rates.json()));
        let steps = |steps: &mut dyn Iterator<Item = (u64, Rates)>| {
            let all: Vec<Value> = steps.map(|(above, rates)| json!({"above": above, "rates": rates.json()})).collect();
            (!all.is_empty()).then_some(Value::Array(all))
        };
        put("tiers", steps(&mut self.tiers.iter().copied()));
        put("reserve", steps(&mut self.reserve.iter().map(|(above, rates)| (*above, *rates))));
        put("units", (!self.units.is_empty()).then(|| json!(self.units)));
        put("disputed", self.disputed.then_some(Value::Bool(true)));
        put("retired", self.retired.then_some(Value::Bool(true)));
        put("deprecation", self.deprecation.clone().map(Value::from));
        put("src", Some(json!(self.src)));
        Value::Object(out).to_string()
    }
}
