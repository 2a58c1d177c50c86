//! Every price against the calculator of another project, and every bound against every cost.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    time::{Duration, SystemTime},
};

use genai_prices::{Calculator, PriceRequest, Usage as OracleUsage, UsageKey};
use lava_mcp::{
    catalog::{Catalog, Mode, Model, Prices, Rates, Tier},
    domain::{Money, Rate, Usage},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRng, TestRunner},
};

use super::catalog;

fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(Default::default()))
}

fn usage() -> impl Strategy<Value = Usage> {
    let part = || prop_oneof![Just(0_u64), 0..1_000_u64];
    let parts = (part(), part(), part(), part(), part(), part());
    (prop_oneof![0..2_000_u64, 0..600_000_u64], 0..50_000_u64, parts).prop_map(|(input, output, parts)| {
        // The parts share out at most the whole, so that the usage is one a careful provider could report.
        let share = |total: u64, part: u64| total * part / 4_000;
        Usage {
            input,
            cache_read: share(input, parts.0),
            cache_write: share(input, parts.1),
            cache_write_1h: share(input, parts.2),
            audio_input: share(input, parts.3),
            output,
            reasoning: share(output, parts.4),
            audio_output: share(output, parts.5),
        }
    })
}

/// Counters without any order among them, as a careless or dishonest reply may have.
fn lies() -> impl Strategy<Value = Usage> {
    let count = || prop_oneof![Just(0_u64), Just(u64::MAX), 0..1_000_000_u64, any::<u32>().prop_map(u64::from)];
    let total = || prop_oneof![Just(0_u64), 0..1_000_000_u64];
    (total(), count(), count(), count(), count(), total(), count(), count()).prop_map(|counts| Usage {
        input: counts.0,
        cache_read: counts.1,
        cache_write: counts.2,
        cache_write_1h: counts.3,
        audio_input: counts.4,
        output: counts.5,
        reasoning: counts.6,
        audio_output: counts.7,
    })
}

fn samples<S: Strategy<Value = Usage>>(runner: &mut TestRunner, strategy: &S, count: usize) -> Vec<Usage> {
    (0..count).map(|_| strategy.new_tree(runner).unwrap().current()).collect()
}

/// Our id of a provider, and the oracle's.
const SHARED: [(&str, &str); 29] = [
    ("anthropic", "anthropic"),
    ("arcee", "arcee"),
    ("avian", "avian"),
    ("azure", "azure"),
    ("baseten", "baseten"),
    ("bedrock", "aws"),
    ("cerebras", "cerebras"),
    ("cloudflare", "cloudflare"),
    ("cohere", "cohere"),
    ("databricks", "databricks"),
    ("deepseek", "deepseek"),
    ("doubleword", "doubleword"),
    ("fireworks", "fireworks"),
    ("google", "google"),
    ("groq", "groq"),
    ("minimax", "minimax"),
    ("mistral", "mistral"),
    ("moonshot", "moonshotai"),
    ("novita", "novita"),
    ("openai", "openai"),
    ("openrouter", "openrouter"),
    ("ovhcloud", "ovhcloud"),
    ("meta", "meta"),
    ("perplexity", "perplexity"),
    ("together", "together"),
    ("voyage", "voyageai"),
    ("xai", "x-ai"),
    ("zai", "zai"),
    ("zhipuai", "zhipuai"),
];

struct Oracle {
    calculator: Calculator,
    /// Its own models. For others it may answer with the price of another provider.
    models: BTreeSet<(String, String)>,
    now: SystemTime,
}

impl Oracle {
    /// The list our data was made from, in the calculator of its authors.
    fn new() -> Self {
        let mut json = String::new();
        flate2::read::GzDecoder::new(&include_bytes!("../../fixtures/genai-prices.json.gz")[..]).read_to_string(&mut json).unwrap();
        // Two in the morning UTC lies in the dear hours of every provider that has cheap ones; our prices are those of the dear hours.
        let moment: jiff::Timestamp = format!("{}T02:00:00Z", catalog().date()).parse().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(moment.as_second().unsigned_abs());
        let providers: serde_json::Value = serde_json::from_str(&json).unwrap();
        let mut models = BTreeSet::new();
        for provider in providers.as_array().unwrap() {
            for model in provider["models"].as_array().unwrap() {
                models.insert((provider["id"].as_str().unwrap().to_owned(), model["id"].as_str().unwrap().to_owned()));
            }
        }
        Self { calculator: Calculator::from_json(json).unwrap(), models, now }
    }

    /// The cost in dollars, and which of its models the oracle took.
    fn cost(&self, provider: &str, model: &str, usage: &Usage) -> Option<(f64, String)> {
        let written = usage.cache_write + usage.cache_write_1h;
        let counters = [
            (UsageKey::INPUT_TOKENS, usage.input),
            (UsageKey::CACHE_READ_TOKENS, usage.cache_read),
            (UsageKey::CACHE_WRITE_TOKENS, written),
            (UsageKey::CACHE_WRITE_1H_TOKENS, usage.cache_write_1h),
            (UsageKey::INPUT_AUDIO_TOKENS, usage.audio_input),
            (UsageKey::OUTPUT_TOKENS, usage.output),
            (UsageKey::OUTPUT_REASONING_TOKENS, usage.reasoning),
            (UsageKey::OUTPUT_AUDIO_TOKENS, usage.audio_output),
        ];
        let mut theirs = OracleUsage::new();
        for (key, count) in counters {
            theirs.insert(key, count as f64);
        }
        for overlap in ["cache_audio_read_tokens", "cache_audio_write_tokens", "cache_audio_write_1h_tokens"] {
            theirs.insert(overlap, 0.0);
        }
        let request = PriceRequest::new(model, &theirs).with_provider_id(provider).with_timestamp(self.now);
        let found = self.calculator.calculate(&request).ok().filter(|found| found.provider_id == provider)?;
        self.models.contains(&(provider.to_owned(), found.model_id.clone())).then_some((found.total_price, found.model_id))
    }

    /// Clears the parts that the oracle has no price of its own for. Where it is silent, ours may know more, and its silence is no opinion.
    fn with_known_parts(&self, provider: &str, model: &str, usage: &Usage) -> Usage {
        let cost = |usage: Usage| self.cost(provider, model, &usage).map(|cost| cost.0);
        let keep = |count: u64, part: Usage, whole: Usage| if count > 0 && cost(part) != cost(whole) { count } else { 0 };
        let (input, output) = (Usage::text(usage.input, 0), Usage::text(usage.input, usage.output));
        let written = Usage { cache_write: usage.input, ..input };
        Usage {
            cache_read: keep(usage.cache_read, Usage { cache_read: usage.input, ..input }, input),
            cache_write: keep(usage.cache_write, written, input),
            cache_write_1h: keep(usage.cache_write_1h, Usage { cache_write_1h: usage.input, ..input }, written),
            audio_input: keep(usage.audio_input, Usage { audio_input: usage.input, ..input }, input),
            reasoning: keep(usage.reasoning, Usage { reasoning: usage.output, ..output }, output),
            audio_output: keep(usage.audio_output, Usage { audio_output: usage.output, ..output }, output),
            ..*usage
        }
    }
}

/// Models whose price differs from the oracle's although nobody is wrong.
fn is_excepted(model: &Model) -> bool {
    // Pictures and video are tokens too, and no counter of ours tells them from text: all are charged at the dearest.
    let sees_or_draws = matches!(model.mode, Mode::Image | Mode::ImageEdit | Mode::Video | Mode::Realtime);
    // The maker's fee for a search, which the oracle does not have for those who resell the model.
    let has_fee = model.prices().is_some_and(|prices| prices.rates.request.is_some());
    let is_resold = &*model.provider == "openrouter" || model.id.contains('/');
    // A chat model that answers with video.
    sees_or_draws || (has_fee && is_resold) || model.id.starts_with("gemini-omni")
}

#[test]
fn every_price_agrees_with_an_independent_calculator() {
    let oracle = Oracle::new();
    let mut runner = runner();
    let strategy = usage();
    let (mut compared, mut wrong) = (0, BTreeMap::new());
    for model in catalog().models().iter().filter(|model| !model.disputed && !is_excepted(model)) {
        let Some((_, theirs)) = SHARED.iter().find(|(ours, _)| *ours == &*model.provider) else { continue };
        let Some(prices) = model.prices() else { continue };
        if oracle.cost(theirs, &model.id, &Usage::text(1, 1)).is_none() {
            continue;
        }
        compared += 1;
        for usage in samples(&mut runner, &strategy, 6) {
            // Prices for more input than the model takes are history, and only one of the two keeps it.
            if model.context.is_some_and(|context| usage.input > context) {
                continue;
            }
            let usage = oracle.with_known_parts(theirs, &model.id, &usage);
            let (expected, their_model) = oracle.cost(theirs, &model.id, &usage).unwrap();
            let ours = prices.cost(&usage).unwrap().nanos() as f64;
            let expected = expected * 1e9;
            // Ours is rounded up to a whole nano-dollar; the oracle computes with floats.
            let slack = 1e-3 + expected * 1e-12;
            // The only prices finer than a pico-dollar are for cache writes (a third of a cent); each is rounded up.
            let thirds = (usage.cache_write + usage.cache_write_1h) as f64 / 1e3;
            if ours < expected - slack || ours > expected + 1.0 + thirds + slack {
                wrong.insert(format!("{} {}", model.provider, model.id), format!("{ours} against {expected} of {their_model}: {usage:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ: {wrong:#?}", wrong.len());
    assert!(compared > 1_800, "only {compared} models were compared");
}

#[test]
fn no_cost_is_above_its_bound() {
    let mut runner = runner();
    let (honest, lies) = (usage(), lies());
    for model in catalog().models() {
        let Some(prices) = model.prices() else { continue };
        for usage in samples(&mut runner, &honest, 4).into_iter().chain(samples(&mut runner, &lies, 8)) {
            let cost = prices.cost(&usage).unwrap();
            for room in [0, 1, 300_000] {
                let bound = prices.bound(usage.input + room, usage.output + room).unwrap();
                assert!(cost <= bound, "{} {}: {cost} above {bound} for {usage:?}", model.provider, model.id);
            }
        }
    }
}

fn rate() -> impl Strategy<Value = Rate> {
    prop_oneof![Just(Rate::FREE), (0..50_000_000_u64).prop_map(Rate::from_picos)]
}

fn rates() -> impl Strategy<Value = Rates> {
    let part = || proptest::option::of(rate());
    (rate(), rate(), part(), part(), part(), (part(), part(), part(), part())).prop_map(|(input, output, read, write, hour, rest)| Rates {
        cache_read: read,
        cache_write: write,
        cache_write_1h: hour,
        reasoning: rest.0,
        audio_in: rest.1,
        audio_out: rest.2,
        request: rest.3,
        ..Rates::flat(input, output)
    })
}

fn prices() -> impl Strategy<Value = Prices> {
    let tiers = || proptest::collection::vec((0..900_000_u64, rates()), 0..3);
    (rates(), tiers(), tiers()).prop_map(|(rates, tiers, reserve)| {
        let sorted = |mut tiers: Vec<(u64, Rates)>| {
            tiers.sort_by_key(|(above, _)| *above);
            tiers.into_iter().map(|(above, rates)| Tier { above, rates }).collect()
        };
        Prices { rates, tiers: sorted(tiers), reserve: sorted(reserve) }
    })
}

proptest! {
    #[test]
    fn the_bound_holds_for_any_prices_and_any_reply(prices in prices(), usage in lies(), room in 0..1_000_u64) {
        let cost = prices.cost(&usage).unwrap();
        prop_assert!(cost <= prices.bound(usage.input, usage.output).unwrap());
        prop_assert!(cost <= prices.bound(usage.input + room, usage.output + room).unwrap());
    }

    #[test]
    fn a_contradiction_never_makes_a_call_cheaper_than_the_same_without_parts(prices in prices(), usage in lies()) {
        let cached = u128::from(usage.cache_read) + u128::from(usage.cache_write) + u128::from(usage.cache_write_1h);
        if cached > u128::from(usage.input) && usage.reasoning > usage.output {
            prop_assert!(prices.cost(&usage).unwrap() >= prices.cost(&Usage::text(usage.input, usage.output)).unwrap());
        }
    }

    #[test]
    fn the_affordable_output_fits_and_one_more_does_not(prices in prices(), nanos in 0..10_000_000_000_i64, input in 0..500_000_u64) {
        let budget = Money::from_nanos(nanos);
        match prices.affordable_output(budget, input) {
            None => prop_assert!(prices.bound(input, 0).unwrap() > budget),
            Some(u64::MAX) => prop_assert!(prices.bound(input, 1_000_000).unwrap() <= budget),
            Some(output) => {
                prop_assert!(prices.bound(input, output).unwrap() <= budget);
                prop_assert!(prices.bound(input, output + 1).unwrap() > budget);
            }
        }
    }
}

/// A model that searches for each answer is never sold for its tokens alone, whoever resells it.
#[test]
fn models_that_search_by_themselves_are_priced_with_the_fee_or_not_at_all() {
    let catalog = Catalog::embedded();
    let fee =
        |provider: &str, model: &str| catalog.model(provider, model).unwrap().prices().map(|prices| prices.rates.request.unwrap().picos());
    assert_eq!(fee("perplexity", "sonar"), Some(12_000_000_000));
    for (provider, model, expected) in [
        ("openrouter", "perplexity/sonar", Some(12_000_000_000)),
        ("vercel-ai-gateway", "perplexity/sonar-pro", Some(14_000_000_000)),
        ("openrouter", "openai/gpt-4o-search-preview", Some(25_000_000_000)),
        ("openrouter", "perplexity/sonar-deep-research", None),
        ("openrouter", "perplexity/sonar-pro-search", None),
        ("openai", "o3-deep-research", None),
    ] {
        assert_eq!(fee(provider, model), expected, "{provider}/{model}");
    }
    // The bound has the fee in it, and so has the cost.
    let sonar = catalog.model("openrouter", "perplexity/sonar").unwrap().prices().unwrap();
    assert_eq!(sonar.bound(10, 10).unwrap(), sonar.cost(&Usage::text(10, 10)).unwrap());
    assert_eq!(sonar.cost(&Usage::text(10, 10)).unwrap().to_string(), "0.01202");
}
