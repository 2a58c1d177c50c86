//! Numbers to try where a schema wants one. Each is checked against the whole schema before it is taken.

use std::collections::VecDeque;

use serde_json::{Number, Value};

use super::{
    multiple::Factors,
    number::{Bound, Worth, highs, lows},
    search::Wish,
};

/// Candidates of one kind, at most: more than that are distinct by chance only.
const SERIES_MAX: usize = 512;
/// Beyond these a whole number is read as a double, so it may have been a little more or less: -2^63 and 2^64.
const READ_AS_DOUBLE: (Worth, Worth) = (Worth::Whole(-1 << 63), Worth::Whole(1 << 64));
/// How many digits a number between two others is rounded to, at first.
const DIGITS: [usize; 5] = [1, 2, 4, 8, 17];

/// Numbers to try, plain ones first; `others` of them may be taken already.
pub(super) fn candidates(wish: &Wish<'_>, is_whole: bool, others: usize) -> Option<Vec<Value>> {
    let low = wish.flat.iter().flat_map(|schema| lows(schema)).max_by(Bound::by_low);
    let high = wish.flat.iter().flat_map(|schema| highs(schema)).min_by(Bound::by_high);
    let given: Vec<Worth> = wish.all("multipleOf").map(|step| step.as_number().map(Worth::of)).collect::<Option<_>>()?;
    let steps = given.iter().map(|step| Factors::of(*step).filter(Factors::is_positive));
    let step = steps.chain(is_whole.then_some(Some(Factors::ONE))).try_fold(None, |common: Option<Factors>, step| {
        let step = step?;
        common.map_or(Some(step), |common| common.common(step)).map(Some)
    })?;
    let count = (others + 4).min(SERIES_MAX);
    let (low_at, high_at) = (low.map(|low| low.at), high.map(|high| high.at));
    let mut found = Vec::new();
    let whole = step.map_or(Some(Factors::ONE), |step| step.common(Factors::ONE)).unwrap_or(Factors::ONE);
    for step in [whole, step.unwrap_or(Factors::HALF)] {
        for base in [Some(start(low_at, high_at)), low_at, high_at].into_iter().flatten() {
            found.extend(multiples_near(base, step, count));
        }
    }
    // What is between the ends is a surer thing than they are: a long number is not always read to its last digit.
    if let (Some(low), Some(high)) = (low_at, high_at) {
        found.extend(between(low.double(), high.double(), count));
    }
    found.extend(low_at.into_iter().chain(high_at));
    found.extend(low_at.map(|low| Worth::of_double(low.double().next_up())));
    found.extend(high_at.map(|high| Worth::of_double(high.double().next_down())));
    let is_inside = |number: &Number| {
        let worth = Worth::of(number);
        low.is_none_or(|low| low.is_below(worth)) && high.is_none_or(|high| high.is_above(worth))
    };
    let mut found: Vec<Number> = found.into_iter().filter_map(Worth::number).filter(is_inside).collect();
    // Programs that know only doubles should think so too.
    let is_seen = |worth: Worth| {
        low.is_none_or(|low| low.is_below_in_doubles(worth))
            && high.is_none_or(|high| high.is_above_in_doubles(worth))
            && given.iter().all(|step| is_multiple_in_doubles(worth, *step))
    };
    found.sort_by_key(|number| !is_seen(Worth::of(number)));
    Some(found.into_iter().map(Value::Number).collect())
}

/// Where to begin: zero says little, a negative number less.
fn start(low: Option<Worth>, high: Option<Worth>) -> Worth {
    let one = Worth::Whole(1);
    let at_least_one = |low: Worth| if low.order(one).is_lt() { one } else { low };
    let start = match high {
        Some(high) if high.order(one).is_lt() => low.unwrap_or(high),
        _ => low.map_or(one, at_least_one),
    };
    high.filter(|high| high.order(start).is_lt()).unwrap_or(start)
}

/// Multiples of a step near a number, upwards first.
fn multiples_near(base: Worth, step: Factors, count: usize) -> Vec<Worth> {
    let is_double = base.order(READ_AS_DOUBLE.0).is_le() || base.order(READ_AS_DOUBLE.1).is_ge();
    let step = if is_double { step.as_coarse_as(base.double()) } else { step };
    let (Some(times), Ok(count)) = (step.times_in(base), i128::try_from(count)) else { return Vec::new() };
    // What may not be exact is better left behind: the double of it, then what is next to it.
    let (doubled, first) = if is_double { (Some(times), 1) } else { (None, 0) };
    let offsets = doubled.into_iter().chain(first..=count).chain(-count..first);
    offsets.filter_map(|offset| step.times(times.checked_add(offset)?)).collect()
}

/// Numbers between two others, the middle first, each with as few digits as do.
fn between(low: f64, high: f64, count: usize) -> Vec<Worth> {
    let mut found = Vec::new();
    let mut gaps = VecDeque::from([(low, high)]);
    for _ in 0..count {
        let Some((low, high)) = gaps.pop_front() else { break };
        let middle = low.midpoint(high);
        let rounded = |digits: &usize| format!("{middle:.*e}", digits - 1).parse().ok();
        found.extend(DIGITS.iter().filter_map(rounded).map(Worth::of_double));
        gaps.extend([(low, middle), (middle, high)]);
    }
    found
}

/// Whether programs that divide doubles take a number for a multiple, as they do not with 0.3 and 0.1.
#[expect(clippy::float_arithmetic, reason = "it is about what doubles do; no money is counted")]
fn is_multiple_in_doubles(worth: Worth, step: Worth) -> bool {
    (worth.double() / step.double()).fract() == 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::gateway::sandbox::example::of;

    fn found(schema: &Value) -> f64 {
        of(schema).and_then(|value| value.as_f64()).unwrap_or_else(|| panic!("nothing for {schema}"))
    }

    #[test]
    fn bounds_of_any_size_are_kept() {
        let int = |schema: Value| (schema, true);
        let num = |schema: Value| (schema, false);
        for (schema, is_whole) in [
            num(json!({"minimum": 1e30})),
            num(json!({"exclusiveMinimum": 1e30})),
            num(json!({"minimum": 0, "maximum": 1e-15})),
            num(json!({"minimum": -1e-12, "maximum": -1e-13})),
            num(json!({"exclusiveMinimum": -1e-12, "exclusiveMaximum": -1e-13})),
            num(json!({"exclusiveMinimum": 0, "exclusiveMaximum": 1e-12})),
            num(json!({"exclusiveMinimum": 0, "exclusiveMaximum": 1e-320})),
            num(json!({"exclusiveMinimum": 1e-9, "exclusiveMaximum": 2e-9})),
            num(json!({"minimum": 1e19})),
            num(json!({"minimum": 1e20})),
            num(json!({"minimum": 9_223_372_036_854_775_808_u64})),
            num(json!({"minimum": 1e308})),
            num(json!({"maximum": -1e308})),
            num(json!({"minimum": f64::MAX})),
            num(json!({"maximum": -1e30})),
            num(json!({"exclusiveMaximum": -1e-300})),
            num(json!({"minimum": 1e-15, "maximum": 1e30})),
            num(json!({"minimum": 1e-15, "exclusiveMaximum": 1})),
            num(json!({"exclusiveMinimum": -1e308, "exclusiveMaximum": 1e308})),
            num(json!({"minimum": 1e20, "maximum": 1e20})),
            num(json!({"multipleOf": 1e-13})),
            num(json!({"multipleOf": 1e20})),
            num(json!({"multipleOf": 1e-13, "exclusiveMinimum": 0, "maximum": 1e-12})),
            num(json!({"multipleOf": 1e-300, "minimum": 5})),
            num(json!({"multipleOf": 0.01, "minimum": 0.015, "maximum": 0.025})),
            num(json!({"multipleOf": 7, "minimum": 1e30})),
            num(json!({"multipleOf": 0.5, "minimum": 1e300})),
            num(json!({"multipleOf": 10, "minimum": 1e30})),
            num(json!({"multipleOf": 1e30, "minimum": 1e300})),
            int(json!({"minimum": 1e30})),
            int(json!({"minimum": 1e30, "multipleOf": 7})),
            int(json!({"minimum": 1e20, "multipleOf": 3})),
            int(json!({"maximum": -1e30, "multipleOf": 11})),
            int(json!({"minimum": 9_223_372_036_854_775_808_u64})),
            int(json!({"exclusiveMinimum": 9_223_372_036_854_775_807_u64, "multipleOf": 3})),
            int(json!({"minimum": u64::MAX})),
            int(json!({"exclusiveMinimum": u64::MAX})),
            int(json!({"maximum": i64::MIN})),
            int(json!({"exclusiveMaximum": i64::MIN})),
            int(json!({"multipleOf": 1e20, "exclusiveMinimum": 0})),
            int(json!({"minimum": 1e-15})),
            int(json!({"exclusiveMinimum": 1_000_000_000_000_000_000_u64, "maximum": 1_000_000_000_000_000_001_u64})),
            int(json!({"minimum": 1e30, "maximum": 1e30})),
            int(json!({"minimum": i64::MIN, "maximum": i64::MIN})),
            int(json!({"exclusiveMinimum": i64::MIN, "maximum": i64::MIN + 2})),
        ] {
            let mut typed = schema.clone();
            typed["type"] = if is_whole { "integer" } else { "number" }.into();
            let value = found(&typed);
            let is_met = |name: &str, is_met: &dyn Fn(f64) -> bool| schema.get(name).and_then(Value::as_f64).is_none_or(is_met);
            assert!(is_met("minimum", &|low| value >= low) && is_met("maximum", &|high| value <= high), "{typed} gave {value:e}");
            // Next to 2^63 a whole number is not the double next to it.
            let is_small = value.abs() < 9e15 || value.abs() > 2e19;
            assert!(!is_small || is_met("exclusiveMinimum", &|low| value > low), "{typed} gave {value:e}");
            assert!(!is_small || is_met("exclusiveMaximum", &|high| value < high), "{typed} gave {value:e}");
            assert!(!is_whole || value.fract() == 0.0, "{typed} gave {value:e}");
            assert!(!is_small || is_met("multipleOf", &|step| step < 1.0 || value % step == 0.0), "{typed} gave {value:e}");
        }
    }

    #[test]
    fn what_no_number_meets_has_none() {
        for schema in [
            json!({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
            json!({"type": "integer", "minimum": 1e-15, "maximum": 1e-12}),
            json!({"type": "number", "minimum": 1e30, "maximum": 1e29}),
            json!({"type": "number", "minimum": 1e30, "exclusiveMaximum": 1e30}),
            json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 5e-324}),
            json!({"type": "number", "multipleOf": 1e30, "minimum": 1, "maximum": 1e29}),
            json!({"type": "number", "exclusiveMinimum": f64::MAX}),
            json!({"type": "integer", "exclusiveMinimum": u64::MAX, "exclusiveMaximum": 18_446_744_073_709_551_616.0}),
        ] {
            assert_eq!(of(&schema), None, "{schema}");
        }
    }

    #[test]
    fn a_number_that_is_a_multiple_in_doubles_too_is_taken_first() {
        // 0.3 / 0.1 is 2.9999999999999996 in doubles.
        assert_eq!(of(&json!({"type": "number", "minimum": 0.25, "maximum": 0.75, "multipleOf": 0.1})), Some(json!(0.4)));
        assert_eq!(of(&json!({"type": "number", "minimum": 0.25, "maximum": 0.35, "multipleOf": 0.1})), Some(json!(0.3)));
    }

    proptest! {
        #[test]
        fn whatever_the_range_a_number_within_is_found(one in any::<f64>(), two in any::<f64>(), is_near in any::<bool>()) {
            prop_assume!(one.is_finite() && two.is_finite());
            let two = if is_near { one.next_up().next_up() } else { two };
            let (low, high) = if one <= two { (one, two) } else { (two, one) };
            for schema in [json!({"minimum": low}), json!({"maximum": high}), json!({"minimum": low, "maximum": high})] {
                let value = found(&schema);
                prop_assert!(schema.get("minimum").is_none_or(|_| value >= low), "{} gave {:e}", schema, value);
                prop_assert!(schema.get("maximum").is_none_or(|_| value <= high), "{} gave {:e}", schema, value);
            }
            if low.next_up() < high {
                let schema = json!({"exclusiveMinimum": low, "exclusiveMaximum": high});
                let value = found(&schema);
                prop_assert!(low < value && value < high, "{} gave {:e}", schema, value);
            }
        }

        #[test]
        fn whatever_the_whole_range_a_whole_number_within_is_found(low in any::<i64>(), width in 0_u32..2_000, step in 1_i64..1_000) {
            let high = low.saturating_add(width.into());
            let value = of(&json!({"type": "integer", "minimum": low, "maximum": high})).and_then(|value| value.as_i64()).unwrap();
            prop_assert!((low..=high).contains(&value));
            let multiple = of(&json!({"type": "integer", "minimum": low, "maximum": high, "multipleOf": step}));
            let is_there = low.rem_euclid(step) == 0 || high.div_euclid(step) > low.div_euclid(step);
            prop_assert_eq!(multiple.is_some(), is_there);
            prop_assert!(multiple.is_none_or(|value| value.as_i64().is_some_and(|value| value % step == 0 && (low..=high).contains(&value))));
        }
    }
}
