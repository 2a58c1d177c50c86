//! Every boundary of a plan, with prices that can be added up in the head: an input token costs 1,000 nano-dollars, an output token 2,000.

use super::*;
use crate::domain::Rate;

/// 124 tokens of input, so 124,000 nano-dollars before the first token of output.
fn quote() -> Quote {
    Quote {
        prices: Prices::flat(Rate::from_picos(1_000_000), Rate::from_picos(2_000_000)),
        is_free: false,
        text_tokens_max: 100,
        template_tokens: 24,
        is_tight: false,
        choices: 1,
        asked_cap: None,
        max_output: None,
        beyond_cap: 0,
        least_cap: 256,
        extra: Extra::default(),
    }
}

const PLENTY: Means = Means { remaining: None, held: Money::ZERO, max_cost: None, usual_output: None, may_wait: false, may_lower: false };

const fn n(nanos: i64) -> Money {
    Money::from_nanos(nanos)
}

fn left(nanos: i64) -> Means {
    Means { remaining: Some(n(nanos)), ..PLENTY }
}

fn injected(amount_n: i64, cap: u64) -> Result<Plan, TooDear> {
    Ok(Plan { amount: n(amount_n), cap: Some(cap), is_injected: true })
}

#[test]
fn a_count_replaces_the_bound_of_the_text_if_it_is_less() {
    assert_eq!((quote().input_tokens_max(), quote().text_tokens_max()), (124, 100));
    for (counted, went_down, text, input) in [
        (None, false, 100, 124),
        (Some(100), false, 100, 124),
        (Some(200), false, 100, 124),
        (Some(99), true, 99, 123),
        (Some(0), true, 0, 24),
    ] {
        let mut quote = quote();
        assert!(!quote.is_tight());
        assert_eq!(quote.tighten(counted), went_down, "{counted:?}");
        assert!(quote.is_tight());
        assert_eq!((quote.text_tokens_max(), quote.input_tokens_max()), (text, input), "{counted:?}");
    }
}

#[test]
fn a_cap_that_was_asked_for_is_paid_for_or_refused_and_never_lowered() {
    let asked = |cap| Quote { asked_cap: Some(cap), ..quote() };
    let paid = Ok(Plan { amount: n(224_000), cap: Some(50), is_injected: false });
    let dear = |max_cost_n| Err(TooDear::MaxCost { needed: n(224_000), max_cost: n(max_cost_n) });
    for (means, expected) in [
        (PLENTY, paid),
        (left(224_000), paid),
        (left(223_999), Err(TooDear::Budget { needed: n(224_000) })),
        (Means { max_cost: Some(n(224_000)), ..PLENTY }, paid),
        (Means { max_cost: Some(n(223_999)), ..PLENTY }, dear(223_999)),
        // What the caller wants to pay comes first.
        (Means { max_cost: Some(n(1)), ..left(1) }, dear(1)),
        (Means { max_cost: Some(n(224_000)), ..left(223_999) }, Err(TooDear::Budget { needed: n(224_000) })),
        // A cap is not lowered for want of money, and nothing is waited for here.
        (Means { held: n(1_000_000), may_wait: true, ..left(223_999) }, Err(TooDear::Budget { needed: n(224_000) })),
    ] {
        assert_eq!(asked(50).plan(means), expected, "{means:?}");
    }
    assert_eq!(asked(0).plan(PLENTY), Ok(Plan { amount: n(124_000), cap: None, is_injected: false }), "such a cap is not sent");
    // A million dollars and more is a mistake.
    let most = 499_999_999_938;
    assert_eq!(asked(most).plan(PLENTY), Err(TooDear::Budget { needed: HOLD_MAX }));
    assert!(asked(most - 1).plan(PLENTY).is_ok());
    assert_eq!(asked(u64::MAX).plan(PLENTY), Err(TooDear::Budget { needed: Money::MAX }));
}

#[test]
fn what_is_free_needs_no_money_and_no_cap() {
    for (asked_cap, cap) in [(None, None), (Some(0), None), (Some(5), Some(5))] {
        let quote = Quote { is_free: true, asked_cap, ..quote() };
        assert!(quote.is_free());
        assert_eq!(quote.plan(left(0)), Ok(Plan { amount: Money::ZERO, cap, is_injected: false }));
    }
    assert!(!quote().is_free());
}

#[test]
fn where_no_cap_is_asked_for_one_is_put_in_that_the_money_pays_for() {
    let usual = |usual_output, means| Means { usual_output: Some(usual_output), ..means };
    let wait = |held_n, means| Means { held: n(held_n), may_wait: true, ..means };
    for (name, means, expected) in [
        ("no limit", PLENTY, injected(32_892_000, 16_384)),
        ("ample: sixteen times the usual hold", usual(300, left(526_272_000)), injected(32_892_000, 16_384)),
        ("short: twice what is usual", usual(300, left(526_271_999)), injected(1_324_000, 600)),
        ("usual is very little", usual(1, left(10_000_000)), injected(636_000, 256)),
        ("usual is more than the most", usual(16_000, left(100_000_000)), injected(32_892_000, 16_384)),
        ("an eighth of what is left", left(10_000_000), injected(1_250_000, 563)),
        ("what is held comes back", Means { held: n(5_000_000), ..left(5_000_000) }, injected(1_250_000, 563)),
        ("the least", left(700_000), injected(636_000, 256)),
        ("just the least", left(636_000), injected(636_000, 256)),
        ("less than the least", left(635_999), Err(TooDear::Budget { needed: n(636_000) })),
        ("others hold the money", wait(10_000_000, left(700_000)), Err(TooDear::Budget { needed: n(1_336_000) })),
        ("the same without waiting", Means { held: n(10_000_000), ..left(700_000) }, injected(700_000, 288)),
        ("nobody holds anything", usual(400, wait(0, left(700_000))), injected(700_000, 288)),
        ("what others hold would do", usual(400, wait(1_024_000, left(700_000))), Err(TooDear::Budget { needed: n(1_724_000) })),
        ("what others hold would not do", usual(400, wait(1_023_999, left(700_000))), injected(700_000, 288)),
        ("it is just there", usual(144, wait(1, left(700_000))), injected(700_000, 288)),
        ("all that the caller allows", Means { max_cost: Some(n(32_892_000)), ..PLENTY }, injected(32_892_000, 16_384)),
        ("less than that", Means { max_cost: Some(n(32_891_999)), ..PLENTY }, injected(32_890_000, 16_383)),
        ("much less", Means { max_cost: Some(n(1_124_000)), ..PLENTY }, injected(1_124_000, 500)),
        ("too little", Means { max_cost: Some(n(635_999)), ..PLENTY }, Err(TooDear::MaxCost { needed: n(636_000), max_cost: n(635_999) })),
        (
            "the caller allows less than the key has",
            usual(400, Means { max_cost: Some(n(724_000)), ..left(10_000_000) }),
            injected(724_000, 300),
        ),
        (
            "the key has less than the caller allows",
            usual(400, Means { max_cost: Some(n(1_124_000)), ..left(700_000) }),
            injected(700_000, 288),
        ),
    ] {
        assert_eq!(quote().plan(means), expected, "{name}");
    }
    for (max_output, cap) in [(Some(1_000), 1_000), (Some(100_000), 16_384), (Some(100), 100), (Some(0), 1)] {
        assert_eq!(Quote { max_output, ..quote() }.plan(PLENTY).unwrap().cap, Some(cap), "a model that writes {max_output:?} at most");
    }
}

#[test]
fn a_cap_holds_for_each_choice_and_hidden_reasoning_comes_on_top() {
    let quote = Quote { choices: 2, beyond_cap: 10, ..quote() };
    assert_eq!(quote.bound(40), n(324_000));
    for (budget_n, cap) in [(324_000, 40), (323_999, 39), (328_000, 41), (164_000, 0), (123_999, 0)] {
        assert_eq!(quote.affordable_cap(n(budget_n)), cap, "{budget_n}");
    }
}

#[test]
fn where_the_key_says_so_a_cap_is_fitted_to_the_money() {
    let asked = |cap| Quote { asked_cap: Some(cap), ..quote() };
    let lower = |means| Means { may_lower: true, ..means };
    let chosen = |amount_n, cap| Ok(Plan { amount: n(amount_n), cap: Some(cap), is_injected: true });
    // 124,000 of input, and 2,000 for each token of output.
    let whole = Ok(Plan { amount: n(128_124_000), cap: Some(64_000), is_injected: false });
    for (means, expected) in [
        (PLENTY, whole),
        (left(128_124_000), whole),
        // Three quarters of the money, as long as that is ample.
        (left(100_000_000), chosen(75_000_000, 37_438)),
        (left(11_000_000), chosen(8_316_000, 4_096)),
        // Less than is ample: all there is.
        (left(5_124_000), chosen(5_124_000, 2_500)),
        (left(636_000), chosen(636_000, 256)),
        (left(635_999), Err(TooDear::Budget { needed: n(636_000) })),
        // What the caller wants to pay counts too.
        (Means { max_cost: Some(n(636_000)), ..left(100_000_000) }, chosen(636_000, 256)),
        (Means { max_cost: Some(n(635_999)), ..PLENTY }, Err(TooDear::MaxCost { needed: n(636_000), max_cost: n(635_999) })),
        // It waits for money that others will give back, rather than be cut short.
        (Means { held: n(9_000_000), may_wait: true, ..left(1_000_000) }, Err(TooDear::Budget { needed: n(8_316_000) })),
        (Means { held: n(9_000_000), may_wait: false, ..left(1_000_000) }, chosen(1_000_000, 438)),
        (Means { held: n(1_000), may_wait: true, ..left(1_000_000) }, chosen(1_000_000, 438)),
    ] {
        assert_eq!(asked(64_000).plan(lower(means)), expected, "{means:?}");
        assert_eq!(asked(64_000).is_lowered(lower(means)), expected != whole, "{means:?}");
        if expected != whole {
            assert!(asked(64_000).plan(means).is_err(), "only where the key says so: {means:?}");
        }
    }
    // A cap below the least is not raised.
    assert_eq!(asked(50).plan(lower(left(224_000))), Ok(Plan { amount: n(224_000), cap: Some(50), is_injected: false }));
    assert_eq!(asked(50).plan(lower(left(223_999))), Err(TooDear::Budget { needed: n(224_000) }));
}

#[test]
fn hosted_tools_are_set_aside_for_every_run_and_with_their_fees() {
    let hosted = Quote { asked_cap: Some(10), extra: Extra::example(2, 1_000, n(5)), ..quote() };
    // Three runs that read 1,000 tokens and write 10 each, and the fee.
    assert_eq!(hosted.bound(10), n(3 * (1_000_000 + 20_000) + 5));
    assert_eq!(hosted.affordable_cap(n(3_060_005)), 10);
    assert_eq!(hosted.affordable_cap(n(3_060_004)), 9);
    let fee_only = Quote { asked_cap: Some(10), extra: Extra::example(0, 0, n(5)), ..quote() };
    assert_eq!(fee_only.bound(10), n(124_000 + 20_000 + 5));
}
