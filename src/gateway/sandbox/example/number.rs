//! What numbers are worth, and whether a schema allows one: whole ones exactly, others as the doubles that programs read them as.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::multiple::Factors;

/// 2^126: from here on a number is always a double.
const LARGE: i128 = 1 << 126;

/// What a number is worth; each worth has one form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Worth {
    /// A whole number, nearer to zero than 2^126.
    Whole(i128),
    /// Any other.
    Double(f64),
}

impl Worth {
    pub(super) fn of(number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        whole.map_or_else(|| Self::of_double(number.as_f64().unwrap_or_default()), Self::Whole)
    }

    pub(super) fn of_double(double: f64) -> Self {
        if double.fract() == 0.0 && double.abs() < LARGE as f64 { Self::Whole(double as i128) } else { Self::Double(double) }
    }

    pub(super) const fn double(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Double(double) => double,
        }
    }

    pub(super) fn is_whole(self) -> bool {
        self.double().abs() >= LARGE as f64 || matches!(self, Self::Whole(_))
    }

    pub(super) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(one), Self::Whole(two)) => one.cmp(&two),
            // A whole number that is no double is further from zero than any fraction, and nearer than what is large.
            _ => self.double().total_cmp(&other.double()),
        }
    }

    /// The number as JSON has it; beyond 64 bits the double next to it.
    pub(super) fn number(self) -> Option<Number> {
        let whole = match self {
            Self::Whole(whole) => i64::try_from(whole).map(Number::from).or_else(|_| u64::try_from(whole).map(Number::from)).ok(),
            Self::Double(_) => None,
        };
        whole.or_else(|| Number::from_f64(self.double()))
    }
}

/// A count as schemas write it; one that is too large for that is the largest.
pub(super) fn count(value: &Value) -> Option<u64> {
    match Worth::of(value.as_number()?) {
        Worth::Whole(whole) => u64::try_from(whole.min(u64::MAX.into())).ok(),
        Worth::Double(double) => (double >= 0.0).then_some(double as u64),
    }
}

/// An end of a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) at: Worth,
    /// Whether the end itself is not within.
    is_exclusive: bool,
}

impl Bound {
    pub(super) fn is_below(&self, worth: Worth) -> bool {
        self.at.order(worth).then(self.is_exclusive.cmp(&false)) != Ordering::Greater
    }

    pub(super) fn is_above(&self, worth: Worth) -> bool {
        worth.order(self.at).then(self.is_exclusive.cmp(&false)) != Ordering::Greater
    }

    /// The same for programs that read whole numbers as doubles.
    pub(super) fn is_below_in_doubles(&self, worth: Worth) -> bool {
        let (end, double) = (self.at.double(), worth.double());
        end < double || (end == double && !self.is_exclusive)
    }

    pub(super) fn is_above_in_doubles(&self, worth: Worth) -> bool {
        let (end, double) = (self.at.double(), worth.double());
        double < end || (end == double && !self.is_exclusive)
    }

    /// Orders lower ends: the last one leaves the least.
    pub(super) fn by_low(one: &Self, two: &Self) -> Ordering {
        one.at.order(two.at).then(one.is_exclusive.cmp(&two.is_exclusive))
    }

    /// Orders upper ends: the first one leaves the least.
    pub(super) fn by_high(one: &Self, two: &Self) -> Ordering {
        one.at.order(two.at).then(two.is_exclusive.cmp(&one.is_exclusive))
    }
}

/// The lower ends of the range that a schema gives.
pub(super) fn lows(schema: &Map<String, Value>) -> impl Iterator<Item = Bound> + use<> {
    bounds(schema, "minimum", "exclusiveMinimum")
}

/// The upper ends.
pub(super) fn highs(schema: &Map<String, Value>) -> impl Iterator<Item = Bound> + use<> {
    bounds(schema, "maximum", "exclusiveMaximum")
}

/// In draft 4 an exclusive bound was a switch beside the bound.
fn bounds(schema: &Map<String, Value>, inclusive: &str, exclusive: &str) -> impl Iterator<Item = Bound> + use<> {
    let is_switched = schema.get(exclusive) == Some(&Value::Bool(true));
    let read =
        |name: &str, is_exclusive| schema.get(name).and_then(Value::as_number).map(|number| Bound { at: Worth::of(number), is_exclusive });
    [read(inclusive, is_switched), read(exclusive, true)].into_iter().flatten()
}

/// Whether a number is within the bounds of a schema and a multiple as it wants.
pub(super) fn is_within(schema: &Map<String, Value>, number: &Number) -> bool {
    let worth = Worth::of(number);
    let is_multiple = |step: &Number| Factors::of(Worth::of(step)).is_some_and(|step| step.divides(worth));
    lows(schema).all(|low| low.is_below(worth))
        && highs(schema).all(|high| high.is_above(worth))
        && schema.get("multipleOf").and_then(Value::as_number).is_none_or(is_multiple)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_in_their_order_whatever_their_form() {
        let texts = [
            "-1e300",
            "-1e30",
            "-18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775807",
            "-1e-15",
            "0",
            "5e-324",
            "1e-15",
            "0.1",
            "1",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "1e20",
            "1e30",
            "9e37",
            "1e300",
        ];
        let worths = texts.map(|text| Worth::of(&serde_json::from_str(text).unwrap()));
        for (at, one) in worths.iter().enumerate() {
            for (other, two) in worths.iter().enumerate() {
                assert_eq!(one.order(*two), at.cmp(&other), "{} and {}", texts[at], texts[other]);
                assert_eq!(one == two, at == other);
            }
        }
        assert_eq!(Worth::of(&serde_json::from_str("-0.0").unwrap()), Worth::Whole(0));
        assert_eq!(Worth::of(&serde_json::from_str("1e19").unwrap()), Worth::Whole(10_i128.pow(19)));
    }

    #[test]
    fn a_count_is_read_whatever_its_form() {
        let counts = [json!(3), json!(3.0), json!(1e3), json!(1e30), json!(1e300), json!(u64::MAX), json!(-1), json!(-0.5), json!("3")];
        let expected = [Some(3), Some(3), Some(1000), Some(u64::MAX), Some(u64::MAX), Some(u64::MAX), None, None, None];
        assert_eq!(counts.each_ref().map(count), expected);
    }
}
