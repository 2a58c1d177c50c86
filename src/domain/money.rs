//! Money is whole nano-dollars in an `i64`; prices are whole pico-dollars per unit. There are no floats and one rounding rule: up.
//!
//! An `i64` of nano-dollars holds ±9.2 billion dollars. Prices need three more digits, because a cached token can cost 3e-9 dollars.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Nano-dollars in one dollar.
const NANOS_PER_DOLLAR: i64 = 1_000_000_000;
/// Pico-dollars in one nano-dollar.
const PICOS_PER_NANO: i128 = 1_000;
/// Pico-dollars in one dollar.
const PICOS_PER_DOLLAR: u64 = 1_000_000_000_000;

/// An amount in US dollars, held as whole nano-dollars (1e-9 USD). On the wire it is a decimal string such as `"5.00"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

/// Why a text is not an amount of money or a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not digits with at most one decimal point.
    #[error("an amount is a plain decimal number such as 5.00")]
    NotADecimal,
    /// Digits beyond the smallest unit.
    #[error("an amount has at most {0} decimals")]
    TooFine(usize),
    /// Outside what the integer can hold.
    #[error("the amount is too large")]
    TooLarge,
}

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount that can be held.
    pub const MAX: Self = Self(i64::MAX);

    /// An amount of whole nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// An amount of whole dollars.
    pub const fn from_dollars(dollars: i32) -> Self {
        Self(dollars as i64 * NANOS_PER_DOLLAR)
    }

    /// The amount in nano-dollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Rounds pico-dollars up to whole nano-dollars.
    ///
    /// # Errors
    /// [`MoneyError::TooLarge`] when the result does not fit.
    pub fn from_picos_rounded_up(picos: i128) -> Result<Self, MoneyError> {
        let nanos = picos.div_euclid(PICOS_PER_NANO) + i128::from(picos.rem_euclid(PICOS_PER_NANO) != 0);
        i64::try_from(nanos).map(Self).map_err(|_| MoneyError::TooLarge)
    }

    /// The sum, clamped at the largest amount.
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many times this amount; the largest amount when that fits no number.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        i64::try_from(count).map_or(Self::MAX, |count| Self(self.0.saturating_mul(count)))
    }

    /// The difference, clamped at zero.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// Whether the amount is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The amount with all ten decimals Lava's API shows, such as `0.0001500000`.
    pub fn to_wire(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = self.split();
        format!("{sign}{whole}.{part:09}0")
    }

    fn split(self) -> (u64, u64) {
        let nanos = self.0.unsigned_abs();
        (nanos / NANOS_PER_DOLLAR.unsigned_abs(), nanos % NANOS_PER_DOLLAR.unsigned_abs())
    }
}

impl fmt::Display for Money {
    /// At least two decimals, and no trailing zeros beyond them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = self.split();
        let digits = format!("{part:09}");
        let kept = digits.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{whole}.{}", &digits[..kept])
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let nanos = parse_scaled(digits, 9)?;
        let nanos = i64::try_from(nanos).map_err(|_| MoneyError::TooLarge)?;
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A price in whole pico-dollars (1e-12 USD) for one unit: a token, a request, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(u64);

impl Rate {
    /// Free of charge.
    pub const FREE: Self = Self(0);

    /// A price of whole pico-dollars a unit.
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// The price in pico-dollars a unit.
    pub const fn picos(self) -> u64 {
        self.0
    }

    /// Reads a price in dollars per million units, such as `0.15`, as providers publish it.
    ///
    /// # Errors
    /// When the text is no decimal or finer than a millionth of a dollar per million units.
    pub fn per_million(text: &str) -> Result<Self, MoneyError> {
        parse_scaled(text, 6).map(Self)
    }

    /// Reads a price in dollars for one unit, such as `0.005` for a request.
    ///
    /// # Errors
    /// When the text is no decimal or finer than a pico-dollar.
    pub fn per_unit(text: &str) -> Result<Self, MoneyError> {
        parse_scaled(text, 12).map(Self)
    }

    /// The price of a million units in dollars, such as `0.15`.
    pub fn to_per_million(self) -> String {
        let picos_per_million = u128::from(self.0) * 1_000_000;
        let whole = picos_per_million / u128::from(PICOS_PER_DOLLAR);
        let digits = format!("{:012}", picos_per_million % u128::from(PICOS_PER_DOLLAR));
        let kept = digits.trim_end_matches('0').len().max(2);
        format!("{whole}.{}", &digits[..kept])
    }
}

/// Reads an unsigned decimal into an integer scaled by `10^decimals`, with no float in between.
fn parse_scaled(text: &str, decimals: usize) -> Result<u64, MoneyError> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits_only = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !digits_only(whole) || !digits_only(part) {
        return Err(MoneyError::NotADecimal);
    }
    let part = part.trim_end_matches('0');
    if part.len() > decimals {
        return Err(MoneyError::TooFine(decimals));
    }
    format!("{whole}{part:0<decimals$}").parse().map_err(|_| MoneyError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_reads_back_as_it_was_written() {
        for (text, nanos) in [("5.00", 5_000_000_000), ("0.000000001", 1), ("12", 12_000_000_000), ("-0.50", -500_000_000)] {
            assert_eq!(text.parse::<Money>(), Ok(Money::from_nanos(nanos)), "{text}");
        }
        assert_eq!(Money::from_nanos(1_500).to_string(), "0.0000015");
        assert_eq!(Money::from_dollars(5).to_string(), "5.00");
        for (nanos, wire, shown, is_negative) in [
            (150_000, "0.0001500000", "0.00015", false),
            (0, "0.0000000000", "0.00", false),
            (-150_000, "-0.0001500000", "-0.00015", true),
            (5_000_000_000, "5.0000000000", "5.00", false),
        ] {
            let amount = Money::from_nanos(nanos);
            assert_eq!((amount.to_wire(), amount.to_string(), amount.is_negative()), (wire.to_owned(), shown.to_owned(), is_negative));
        }
    }

    #[test]
    fn a_bad_amount_says_why() {
        for (text, error) in [
            ("", MoneyError::NotADecimal),
            ("1e3", MoneyError::NotADecimal),
            (".5", MoneyError::NotADecimal),
            ("1.", MoneyError::NotADecimal),
            ("+1", MoneyError::NotADecimal),
            ("0.0000000001", MoneyError::TooFine(9)),
            ("99999999999", MoneyError::TooLarge),
        ] {
            assert_eq!(text.parse::<Money>(), Err(error), "{text}");
        }
    }

    #[test]
    fn rounding_is_always_up() {
        assert_eq!(Money::from_picos_rounded_up(1), Ok(Money::from_nanos(1)));
        assert_eq!(Money::from_picos_rounded_up(1_000), Ok(Money::from_nanos(1)));
        assert_eq!(Money::from_picos_rounded_up(1_001), Ok(Money::from_nanos(2)));
        assert_eq!(Money::from_picos_rounded_up(i128::MAX), Err(MoneyError::TooLarge));
    }

    #[test]
    fn an_amount_is_text_on_the_wire() {
        let amount = Money::from_nanos(1_500);
        assert_eq!(serde_json::to_string(&amount).unwrap(), r#""0.0000015""#);
        assert_eq!(serde_json::from_str::<Money>(r#""0.0000015""#).unwrap(), amount);
        assert_eq!(serde_json::from_str::<Money>(r#""0.\u0030000015""#).unwrap(), amount);
        for wrong in ["0.0000015", r#""1e3""#, "null"] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_price_per_unit_is_exact() {
        assert_eq!(Rate::per_unit("0.005").unwrap().picos(), 5_000_000_000);
        assert_eq!(Rate::per_unit("0.000000000001").unwrap().picos(), 1);
        assert_eq!(Rate::per_unit("0.0000000000001"), Err(MoneyError::TooFine(12)));
    }

    #[test]
    fn a_price_per_million_is_exact() {
        let rate = Rate::per_million("0.15").unwrap();
        assert_eq!(rate.picos(), 150_000);
        assert_eq!(rate.to_per_million(), "0.15");
        assert_eq!(Rate::from_picos(3).to_per_million(), "0.000003");
    }
}
