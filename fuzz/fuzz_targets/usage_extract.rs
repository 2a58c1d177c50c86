//! Whatever a provider reports as used, reading it never panics, and its cost is never above the bound for its totals.

#![no_main]

use lava_mcp::{
    catalog::{Prices, Rates, Tier},
    domain::{Rate, Usage},
    translate::{anthropic, openai},
};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    // The first bytes are prices, the rest is a reply.
    let Some((rates, reply)) = bytes.split_first_chunk::<20>() else { return };
    let prices = prices(rates);
    // The same bytes as counters, which contradict each other as they please.
    if let Some(counters) = reply.first_chunk::<7>() {
        let [input, output, cached, written, audio, reasoning, spoken] = counters.map(u64::from);
        let block = json!({"prompt_tokens": input, "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio},
            "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": spoken}});
        let read = openai::usage(&block.to_string()).unwrap();
        let output = if reasoning > output { output + reasoning } else { output };
        assert_eq!((read.input, read.output, read.cache_read, read.reasoning), (input, output, cached, reasoning));
        check(&prices, &read);
    }
    if let Some(seen) = anthropic::inspect(reply) {
        assert!(seen.visible_bytes <= reply.len() as u64);
        if let Some(usage) = seen.usage {
            check(&prices, &usage);
        }
    }
    let seen = openai::inspect(reply);
    if let Ok(text) = std::str::from_utf8(reply)
        && let Some(usage) = openai::usage(text)
    {
        check(&prices, &usage);
    }
    if let Some(seen) = seen {
        // No text is longer than the reply that holds it; an escape takes more room than what it stands for.
        assert!(seen.visible_bytes <= reply.len() as u64);
        assert!(!(seen.is_error && seen.is_usage_only));
        if let Some(usage) = seen.usage {
            check(&prices, &usage);
        }
    }
});

fn check(prices: &Prices, usage: &Usage) {
    match (prices.cost(usage), prices.bound(usage.input, usage.output)) {
        (Ok(cost), Ok(bound)) => assert!(cost <= bound, "{usage:?} costs {cost}, and the bound is {bound}"),
        // What fits no number is refused when money is set aside.
        (_, Err(_)) => {}
        (Err(_), Ok(bound)) => panic!("{usage:?} has no cost, and the bound is {bound}"),
    }
}

/// Every optional price is there or not; the second half of the bytes prices a longer request, or is a second opinion.
fn prices(bytes: &[u8; 20]) -> Prices {
    let rate = |at: usize| Rate::from_picos(u64::from(bytes[at]) << (bytes[at] % 40));
    let maybe = |at: usize| Some(rate(at)).filter(|_| bytes[at] % 3 != 0);
    let rates = |from: usize| Rates {
        input: rate(from),
        output: rate(from + 1),
        cache_read: maybe(from + 2),
        cache_write: maybe(from + 3),
        cache_write_1h: maybe(from + 4),
        reasoning: maybe(from + 5),
        audio_in: maybe(from + 6),
        audio_out: maybe(from + 7),
        request: maybe(from + 8),
    };
    let tier = Tier { above: u64::from(bytes[18]) * 50, rates: rates(9) };
    let mut prices = Prices::from_rates(rates(0));
    match bytes[19] % 3 {
        0 => {}
        1 => prices.tiers = Box::new([tier]),
        _ => prices.reserve = Box::new([tier]),
    }
    prices
}
