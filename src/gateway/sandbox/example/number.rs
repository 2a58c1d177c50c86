//! Numbers that a schema allows, in whole units of 10^-12, so that no float is added or divided.

use serde_json::{Map, Number, Value};

use super::search::Wish;

/// Digits after the point.
const SCALE: u32 = 12;
/// The number one, in units.
pub(super) const ONE: i128 = 1_000_000_000_000;
/// Candidates of one kind, at most: more than that are distinct by chance only.
const SERIES_MAX: usize = 512;

/// A number in units; `None` when it is too large or too fine.
pub(super) fn units(number: &Number) -> Option<i128> {
    let text = number.to_string();
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let shift = exponent.parse::<i32>().ok()?.checked_add(i32::try_from(SCALE).ok()?)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    if digits == 0 {
        Some(0)
    } else if shift >= 0 {
        digits.checked_mul(factor)
    } else {
        (digits % factor == 0).then(|| digits / factor)
    }
}

pub(super) fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || units(number).is_some_and(|units| units % ONE == 0)
}

/// The bounds of one schema. In draft 4 an exclusive bound was a switch beside the bound.
fn bound(schema: &Map<String, Value>, inclusive: &str, exclusive: &str) -> (Option<i128>, Option<i128>) {
    let read = |name: &str| schema.get(name).and_then(Value::as_number).and_then(units);
    match schema.get(exclusive) {
        Some(Value::Bool(true)) => (None, read(inclusive)),
        _ => (read(inclusive), read(exclusive)),
    }
}

/// Whether a number is within the bounds of a schema and a multiple as it wants.
pub(super) fn is_within(schema: &Map<String, Value>, number: &Number) -> bool {
    let Some(value) = units(number) else { return false };
    let (least, above) = bound(schema, "minimum", "exclusiveMinimum");
    let (most, below) = bound(schema, "maximum", "exclusiveMaximum");
    let factor = schema.get("multipleOf").and_then(Value::as_number).map(|factor| units(factor).filter(|factor| *factor > 0));
    least.is_none_or(|least| value >= least)
        && above.is_none_or(|above| value > above)
        && most.is_none_or(|most| value <= most)
        && below.is_none_or(|below| value < below)
        && factor.is_none_or(|factor| factor.is_some_and(|factor| value % factor == 0))
}

/// Numbers to try, plain ones first; `others` of them may be taken already.
pub(super) fn candidates(wish: &Wish<'_>, is_whole: bool, others: usize) -> Option<Vec<Value>> {
    let bounds = |inclusive, exclusive| wish.flat.iter().map(move |schema| bound(schema, inclusive, exclusive));
    let lows = bounds("minimum", "exclusiveMinimum").flat_map(|(least, above)| [least, above]).flatten();
    let highs = bounds("maximum", "exclusiveMaximum").flat_map(|(most, below)| [most, below]).flatten();
    let (low, high) = (lows.max(), highs.min());
    let factors = wish.all("multipleOf").map(|factor| units(factor.as_number()?).filter(|factor| *factor > 0));
    let step = factors.chain(is_whole.then_some(Some(ONE))).try_fold(None, |common, factor| Some(Some(least_common(common, factor?)?)))?;
    let count = (others + 4).min(SERIES_MAX);
    // Zero says little, a negative number less.
    let start = low.unwrap_or(ONE).max(if high.is_none_or(|high| high >= ONE) { ONE } else { i128::MIN });
    let start = high.map_or(start, |high| start.min(high));
    let mut found = Vec::new();
    for step in step.and_then(|step| least_common(Some(step), ONE)).or(Some(ONE)).into_iter().chain(step) {
        for base in [Some(start), low, high].into_iter().flatten() {
            let base = base.div_euclid(step).checked_mul(step)?;
            let count = i128::try_from(count).ok()?;
            // Upwards first, then downwards.
            found.extend((0..=count).chain(-count..0).filter_map(|at| base.checked_add(step.checked_mul(at)?)));
        }
    }
    if let (None, Some(low), Some(high)) = (step, low, high) {
        let parts = i128::try_from(count).ok()? + 1;
        found.extend([low, high]);
        // The middle first.
        found.extend(
            [2].into_iter()
                .chain([parts])
                .flat_map(|parts| (1..parts).filter_map(move |at| (high - low).checked_mul(at)?.checked_div(parts)?.checked_add(low))),
        );
    }
    let is_inside = |value: &i128| low.is_none_or(|low| *value >= low) && high.is_none_or(|high| *value <= high);
    Some(found.into_iter().filter(is_inside).filter_map(to_json).collect())
}

fn least_common(one: Option<i128>, two: i128) -> Option<i128> {
    let Some(one) = one else { return Some(two) };
    let (mut a, mut b) = (one, two);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (one / a).checked_mul(two)
}

fn to_json(units: i128) -> Option<Value> {
    if units % ONE == 0 {
        return i64::try_from(units / ONE).ok().map(Value::from);
    }
    let sign = if units < 0 { "-" } else { "" };
    let (whole, rest) = (units.unsigned_abs() / ONE.unsigned_abs(), units.unsigned_abs() % ONE.unsigned_abs());
    serde_json::from_str(&format!("{sign}{whole}.{rest:012}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_is_written() {
        for (text, expected) in [
            ("1", Some(ONE)),
            ("-0.5", Some(-ONE / 2)),
            ("1e-7", Some(100_000)),
            ("1.5e3", Some(1_500 * ONE)),
            ("0.0", Some(0)),
            ("1e-13", None),
            ("1e300", None),
        ] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(units(&number), expected, "{text}");
        }
        assert_eq!([ONE / 4, -ONE * 3 / 2, ONE * 3].map(|units| to_json(units).unwrap().to_string()), ["0.25", "-1.5", "3"]);
    }
}
