//! How many tokens the chat template of a provider's model adds to a request, learned from what answers were billed.
//!
//! Whatever a whole request was billed as input is more than its template alone. So the smallest bills show how large the template can be, without a guess about how
//! many tokens a text has; and a bill above the bound of its text shows how large it is at least.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
};

use super::route::{Reach, Route};
use crate::translate::bounds::{Features, TEMPLATE_TOKENS};

/// Answers that must have been seen before less than [`TEMPLATE_TOKENS`] is set aside.
const ENOUGH: usize = 3;
/// What was seen is doubled: a template can have parts that it seldom shows.
const MARGIN: u64 = 2;
/// Less is never set aside.
const LEAST: u64 = 64;
/// Templates that are remembered; beyond that all of it is forgotten and learned again.
const TEMPLATES_MAX: usize = 4_096;

/// What is known of all templates. Only in memory: another process, or the next one, learns by itself.
#[derive(Default)]
pub(super) struct TemplateTokens {
    hasher: RandomState,
    /// By a hash of provider, model and features.
    seen: Mutex<HashMap<u64, Seen>>,
}

/// What was billed at one template.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The smallest bills, rising.
    smallest: [u64; ENOUGH],
    /// The most that was billed above what a text can come to.
    excess: u64,
}

impl Seen {
    const NOTHING: Self = Self { smallest: [u64::MAX; ENOUGH], excess: 0 };

    fn learn(&mut self, billed: u64, text_max: u64) {
        self.excess = self.excess.max(billed.saturating_sub(text_max));
        let [.., largest] = &mut self.smallest;
        *largest = billed.min(*largest);
        self.smallest.sort_unstable();
    }

    fn allowance(&self, published: Option<u64>) -> u64 {
        let [.., largest] = self.smallest;
        let most = published.unwrap_or(TEMPLATE_TOKENS);
        // While too little was seen, an excess counts where it is larger than what is set aside anyway.
        let excess = if largest == u64::MAX && self.excess <= most { 0 } else { self.excess.saturating_mul(MARGIN) };
        most.min(largest.saturating_mul(MARGIN)).max(excess).max(LEAST)
    }
}

impl TemplateTokens {
    /// Remembers what an answer was billed as input. `text_max` is the bound of its text, without the template.
    pub(super) fn learn(&self, route: &Route, features: Features, billed: u64, text_max: u64) {
        // A caller with a key of their own can have an account there that says what they like.
        if features.is_special || billed == 0 || route.is_callers_key {
            return;
        }
        let key = self.key(route, features);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= TEMPLATES_MAX && !seen.contains_key(&key) {
            seen.clear();
        }
        seen.entry(key).or_insert(Seen::NOTHING).learn(billed, text_max);
    }

    /// Tokens to set aside for the template.
    pub(super) fn allowance(&self, route: &Route, features: Features) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&self.key(route, features)).copied();
        seen.unwrap_or(Seen::NOTHING).allowance(published(route, features))
    }

    fn key(&self, route: &Route, features: Features) -> u64 {
        self.hasher.hash_one((&route.provider, route.url.authority(), &route.model, route.reach == Reach::Sandbox, features))
    }
}

/// What vendors say of their templates. OpenAI: three tokens a message and three for the answer (its cookbook, on counting tokens); how tools are written out is
/// not published. The sandbox counts by that rule.
fn published(route: &Route, features: Features) -> Option<u64> {
    let is_described = route.reach == Reach::Sandbox || (route.provider == "openai" && route.reach == Reach::Public);
    (is_described && features == Features { system: features.system, ..Features::default() }).then_some(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(bills: &[(u64, u64)]) -> u64 {
        let mut seen = Seen::NOTHING;
        bills.iter().for_each(|(billed, text_max)| seen.learn(*billed, *text_max));
        seen.allowance(None)
    }

    #[test]
    fn three_answers_are_needed_to_set_less_aside() {
        assert_eq!(allowance(&[]), 1_024);
        assert_eq!(allowance(&[(25, 70), (25, 70)]), 1_024);
        assert_eq!(allowance(&[(25, 70), (25, 70), (25, 70)]), 64, "never less");
        assert_eq!(allowance(&[(25, 70), (90, 70), (25, 70)]), 180, "the largest of them counts");
        assert_eq!(
            allowance(&[(25, 70), (90, 100), (25, 70), (30, 70), (9_000, 30_000)]),
            64,
            "long requests say nothing about a template"
        );
    }

    #[test]
    fn an_excess_counts_for_good_and_at_once_where_it_was_not_covered() {
        assert_eq!(allowance(&[(3_070, 70)]), 6_000);
        assert_eq!(allowance(&[(570, 70)]), 1_024);
        assert_eq!(allowance(&[(570, 70), (25, 70), (25, 70), (25, 70)]), 1_000);
    }

    #[test]
    fn a_template_that_the_vendor_describes_need_not_be_learned() {
        assert_eq!(Seen::NOTHING.allowance(Some(64)), 64);
        let mut seen = Seen::NOTHING;
        seen.learn(300, 100);
        assert_eq!(seen.allowance(Some(64)), 400, "unless the bills say otherwise");
    }

    #[test]
    fn only_openais_plain_template_is_published() {
        let plain = Features::default();
        let system = Features { system: true, ..plain };
        let others = [
            Features { tools: true, ..plain },
            Features { form: true, ..plain },
            Features { media: true, ..system },
            Features { is_special: true, ..plain },
        ];
        for (provider, reach, is_described) in [
            ("openai", Reach::Public, true),
            ("openai", Reach::Private, false),
            ("groq", Reach::Public, false),
            ("groq", Reach::Sandbox, true),
            ("openai", Reach::Sandbox, true),
        ] {
            let route = Route::example(provider, "m", reach);
            for features in [plain, system] {
                assert_eq!(published(&route, features), is_described.then_some(64), "{provider} {reach:?}");
            }
            assert!(others.iter().all(|features| published(&route, *features).is_none()));
        }
    }

    #[test]
    fn each_template_is_learned_by_itself() {
        let (templates, plain) = (TemplateTokens::default(), Features::default());
        let at = |provider: &str, model: &str| Route::example(provider, model, Reach::Private);
        let learn = |route: &Route, features| (0..ENOUGH).for_each(|_| templates.learn(route, features, 100, 100));
        let known = at("a", "m");
        learn(&known, plain);
        assert_eq!(templates.allowance(&known, plain), 200);
        let mut elsewhere = known.clone();
        elsewhere.url = "http://10.0.0.1/v1/chat/completions".parse().unwrap();
        let apart = [at("b", "m"), at("a", "n"), elsewhere];
        for other in &apart {
            assert_eq!(templates.allowance(other, plain), TEMPLATE_TOKENS, "{other:?}");
        }
        assert_eq!(templates.allowance(&known, Features { tools: true, ..plain }), TEMPLATE_TOKENS);
        // What learning another one leaves alone.
        learn(&apart[0], plain);
        assert_eq!(templates.allowance(&known, plain), 200);
    }

    #[test]
    fn what_says_nothing_of_a_template_is_not_learned() {
        let (templates, plain) = (TemplateTokens::default(), Features::default());
        let route = Route::example("a", "m", Reach::Private);
        let brought = Route { is_callers_key: true, ..route.clone() };
        let special = Features { is_special: true, ..plain };
        for _ in 0..ENOUGH {
            templates.learn(&route, special, 100, 100);
            templates.learn(&route, plain, 0, 100);
            templates.learn(&brought, plain, 100, 100);
        }
        assert_eq!((templates.allowance(&route, plain), templates.allowance(&route, special)), (TEMPLATE_TOKENS, TEMPLATE_TOKENS));
    }

    #[test]
    fn memory_is_bounded_and_what_is_known_stays_while_there_is_room() {
        let (templates, plain) = (TemplateTokens::default(), Features::default());
        let route = |number: usize| Route::example("a", &format!("model {number}"), Reach::Private);
        for number in 0..TEMPLATES_MAX {
            (0..ENOUGH).for_each(|_| templates.learn(&route(number), plain, 100, 100));
        }
        templates.learn(&route(1), plain, 100, 100);
        assert_eq!(templates.allowance(&route(0), plain), 200, "all of them fit, and one that is known takes no room");
        templates.learn(&route(TEMPLATES_MAX), plain, 100, 100);
        assert_eq!(templates.allowance(&route(0), plain), TEMPLATE_TOKENS);
        assert_eq!(templates.seen.lock().unwrap().len(), 1);
    }
}
