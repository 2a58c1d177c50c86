//! Reads the genai-prices list: what it says beside LiteLLM, and what LiteLLM has already dropped. Its own Rust crate answers which of its
//! models a name means; the prices themselves are read from text.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    entry::{AUDIO_IN, AUDIO_OUT, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, IN, OUT, REASONING, REQUEST, Rates},
    price_text::scaled_up,
};

/// Pico-dollars a token from dollars per million tokens: 12 digits less 6.
const PER_MILLION: i32 = 6;
/// Pico-dollars a request from dollars per thousand requests: 12 digits less 3.
const PER_THOUSAND: i32 = 9;

#[derive(Deserialize)]
struct Provider {
    id: String,
    models: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    context_window: Option<u64>,
    #[serde(default)]
    deprecated: bool,
    #[serde(rename = "match")]
    names: Value,
    prices: Box<RawValue>,
}

#[derive(Deserialize)]
struct Dated {
    #[serde(default)]
    constraint: Option<BTreeMap<String, String>>,
    prices: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
struct Stepped {
    base: Box<RawValue>,
    tiers: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    start: u64,
    price: Box<RawValue>,
}

/// A model of the list, with the prices that hold today.
pub(crate) struct Known {
    pub(crate) ctx: Option<u64>,
    pub(crate) deprecated: bool,
    /// Names it lists exactly.
    pub(crate) names: BTreeSet<String>,
    pub(crate) rates: Option<Rates>,
    pub(crate) tiers: Vec<(u64, Rates)>,
}

/// The whole list.
pub(crate) struct Genai {
    calculator: Calculator,
    now: SystemTime,
    /// By provider and model id, as the list calls them.
    pub(crate) models: BTreeMap<(String, String), Known>,
}

impl Genai {
    pub(crate) fn read(json: &str, today: &str, now_seconds: u64) -> Result<Self, Box<dyn std::error::Error>> {
        let providers: Vec<Provider> = serde_json::from_str(json)?;
        let mut models = BTreeMap::new();
        for provider in providers {
            for model in provider.models {
                let mut names = BTreeSet::from([model.id.clone()]);
                exact_names(&model.names, &mut names);
                let prices = prices_today(&model.prices, today)?;
                let embeds = model.id.contains("embed");
                let (mut rates, tiers) = split(&prices, embeds);
                // The router's free variants have no price in the list.
                if prices.is_empty() && provider.id == "openrouter" && model.id.ends_with(":free") {
                    rates = Some(Rates([Some(0), Some(0), None, None, None, None, None, None, None]));
                }
                let known = Known { ctx: model.context_window, deprecated: model.deprecated, names, rates, tiers };
                models.insert((provider.id.clone(), model.id), known);
            }
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_seconds);
        Ok(Self { calculator: Calculator::from_json(json)?, now, models })
    }

    /// Which model of the list this name means.
    pub(crate) fn meaning(&self, provider: &str, name: &str) -> Option<(&str, &Known)> {
        let usage = Usage::from([(UsageKey::INPUT_TOKENS, 1.0), (UsageKey::OUTPUT_TOKENS, 1.0)]);
        let request = PriceRequest::new(name, &usage).with_provider_id(provider).with_timestamp(self.now);
        let found = self.calculator.calculate(&request).ok().filter(|found| found.provider_id == provider)?;
        let ((_, id), known) = self.models.get_key_value(&(provider.to_owned(), found.model_id))?;
        Some((id, known))
    }
}

/// Collects the names of `equals` clauses that are alternatives.
fn exact_names(clause: &Value, names: &mut BTreeSet<String>) {
    if let Some(name) = clause.get("equals").and_then(Value::as_str) {
        names.insert(name.to_owned());
    }
    for alternative in clause.get("or").and_then(Value::as_array).into_iter().flatten() {
        exact_names(alternative, names);
    }
}

/// The prices that hold on a day. Where they depend on the hour the highest counts, because a hold must last the whole day.
fn prices_today(prices: &RawValue, today: &str) -> Result<BTreeMap<String, Box<RawValue>>, serde_json::Error> {
    if !prices.get().starts_with('[') {
        return serde_json::from_str(prices.get());
    }
    let dated: Vec<Dated> = serde_json::from_str(prices.get())?;
    let by_hour = |constraint: &BTreeMap<String, String>| constraint.contains_key("start_time");
    let in_force = |dated: &Dated| match &dated.constraint {
        None => true,
        Some(constraint) => by_hour(constraint) || constraint.get("start_date").is_some_and(|start| start.as_str() <= today),
    };
    Ok(dated.into_iter().rfind(in_force).map(|dated| dated.prices).unwrap_or_default())
}

/// The base prices and the complete prices of each step.
fn split(prices: &BTreeMap<String, Box<RawValue>>, embeds: bool) -> (Option<Rates>, Vec<(u64, Rates)>) {
    let stepped: BTreeMap<&str, Stepped> = prices
        .iter()
        .filter(|(_, raw)| raw.get().starts_with('{'))
        .filter_map(|(name, raw)| Some((name.as_str(), serde_json::from_str(raw.get()).ok()?)))
        .collect();
    let starts: BTreeSet<u64> = stepped.values().flat_map(|price| price.tiers.iter().map(|tier| tier.start)).collect();
    let at = |input: u64| {
        rates(embeds, |name| {
            let raw = match stepped.get(name) {
                Some(price) => price.tiers.iter().rev().find(|tier| input > tier.start).map_or(&price.base, |tier| &tier.price),
                None => prices.get(name)?,
            };
            Some(raw.get())
        })
    };
    // Prices for hours of audio, pages or characters are not for tokens.
    let other = prices.keys().any(|name| ["audio_hours", "kpages", "mchars", "text_messages"].iter().any(|unit| name.contains(unit)));
    let base = at(0).filter(|_| !other);
    let tiers = starts.into_iter().filter_map(|start| Some((start, at(start + 1)?))).collect();
    (base, if base.is_some() { tiers } else { Vec::new() })
}

/// Kinds of token that no counter tells apart share the higher price, as for LiteLLM. The output price may be missing.
fn rates<'a>(embeds: bool, price: impl Fn(&str) -> Option<&'a str>) -> Option<Rates> {
    let highest = |names: &[&str]| names.iter().filter_map(|name| scaled_up(price(name)?, PER_MILLION)).max();
    let mut rates = Rates::default();
    rates.0[IN] = highest(if embeds { &["input_mtok"] } else { &["input_mtok", "input_image_mtok", "input_video_mtok"] });
    rates.0[OUT] = highest(&["output_mtok", "output_image_mtok", "output_video_mtok", "output_citation_mtok"]);
    rates.0[CACHE_READ] = highest(&["cache_read_mtok", "cache_image_read_mtok"]);
    rates.0[CACHE_WRITE] = highest(&["cache_write_mtok"]);
    rates.0[CACHE_WRITE_1H] = highest(&["cache_write_1h_mtok"]);
    rates.0[REASONING] = highest(&["output_reasoning_mtok"]);
    rates.0[AUDIO_IN] = highest(&["input_audio_mtok"]);
    rates.0[AUDIO_OUT] = highest(&["output_audio_mtok"]);
    rates.0[REQUEST] = price("requests_kcount").and_then(|text| scaled_up(text, PER_THOUSAND));
    match rates.0[IN] {
        Some(input) if input > 0 || rates.is_free() => Some(rates.tidied()),
        _ => None,
    }
}
