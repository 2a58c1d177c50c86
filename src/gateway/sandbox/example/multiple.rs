//! Numbers taken apart into twos, fives and the rest: so it is exact whether one is a multiple of another, for decimals as for doubles, whatever their size.

use super::number::Worth;

/// A number other than zero: `rest` times `2^twos` times `5^fives`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Factors {
    /// Neither even nor a multiple of five.
    rest: i128,
    twos: i32,
    fives: i32,
}

impl Factors {
    pub(super) const ONE: Self = Self { rest: 1, twos: 0, fives: 0 };
    pub(super) const HALF: Self = Self { rest: 1, twos: -1, fives: 0 };

    /// Takes a number apart; zero cannot be. A fraction is what its digits say, as 0.1 is a tenth; what is large is what the double is.
    pub(super) fn of(worth: Worth) -> Option<Self> {
        match worth {
            Worth::Whole(whole) => Self::stripped(whole, 0, 0),
            Worth::Double(double) if worth.is_whole() => {
                let mantissa = i128::from(double.to_bits() & ((1 << 52) - 1) | 1 << 52);
                Self::stripped(if double < 0.0 { -mantissa } else { mantissa }, exponent(double) - 52, 0)
            }
            Worth::Double(double) => {
                let text = format!("{double:e}");
                let (digits, exponent) = text.split_once('e')?;
                let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                let point = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
                Self::stripped(format!("{whole}{fraction}").parse().ok()?, point, point)
            }
        }
    }

    fn stripped(mut rest: i128, mut twos: i32, mut fives: i32) -> Option<Self> {
        if rest == 0 {
            return None;
        }
        for (prime, times) in [(2, &mut twos), (5, &mut fives)] {
            while rest % prime == 0 {
                rest /= prime;
                *times += 1;
            }
        }
        Some(Self { rest, twos, fives })
    }

    pub(super) const fn is_positive(&self) -> bool {
        self.rest > 0
    }

    /// Whether a number is a multiple of this one, which has to be positive.
    pub(super) fn divides(&self, worth: Worth) -> bool {
        let is_multiple = |of: Self| of.twos >= self.twos && of.fives >= self.fives && of.rest % self.rest == 0;
        self.is_positive() && Self::of(worth).is_none_or(is_multiple)
    }

    /// The least number that is a multiple of two positive ones.
    pub(super) fn common(self, other: Self) -> Option<Self> {
        let (mut a, mut b) = (self.rest, other.rest);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let rest = (self.rest / a).checked_mul(other.rest)?;
        Some(Self { rest, twos: self.twos.max(other.twos), fives: self.fives.max(other.fives) })
    }

    /// A multiple of this number that is no finer than a double is at that size.
    pub(super) fn as_coarse_as(self, size: f64) -> Self {
        // Two bits are left, for what is a little larger.
        Self { twos: self.twos.max(exponent(size) - 50), ..self }
    }

    /// How many whole times this number fits in another one; `None` where that is beyond counting.
    pub(super) fn times_in(&self, worth: Worth) -> Option<i128> {
        let Some(of) = Self::of(worth) else { return Some(0) };
        let (twos, fives) = (of.twos - self.twos, of.fives - self.fives);
        let above = of.rest.checked_mul(power(2, twos)?)?.checked_mul(power(5, fives)?)?;
        let below = power(2, -twos).and_then(|twos| self.rest.checked_mul(twos)?.checked_mul(power(5, -fives)?));
        Some(below.map_or(if above < 0 { -1 } else { 0 }, |below| above.div_euclid(below)))
    }

    /// This number so many times.
    pub(super) fn times(&self, times: i128) -> Option<Worth> {
        let rest = self.rest.checked_mul(times)?;
        let point = self.twos.min(self.fives);
        if point < 0 {
            let digits = rest.checked_mul(power(2, self.twos - point)?)?.checked_mul(power(5, self.fives - point)?)?;
            return format!("{digits}e{point}").parse().ok().map(Worth::of_double);
        }
        let odd = rest.checked_mul(power(5, self.fives)?)?;
        let whole =
            power(2, self.twos).and_then(|twos| odd.checked_mul(twos)).map(Worth::Whole).filter(|whole| whole.double().abs() < 1e37);
        whole.or_else(|| Some(Worth::of_double((odd as f64).mul_add(2_f64.powi(self.twos), 0.0))))
    }
}

/// The power of two that a double begins with.
fn exponent(double: f64) -> i32 {
    i32::try_from((double.to_bits() >> 52) & 0x7ff).unwrap_or(0) - 1_023
}

/// A power of a small number; one where the exponent is below zero.
fn power(base: i128, exponent: i32) -> Option<i128> {
    base.checked_pow(u32::try_from(exponent).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(text: &str) -> Worth {
        Worth::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_multiple_is_known_whatever_its_size() {
        for (number, step, expected) in [
            ("0", "7", true),
            ("-14", "7", true),
            ("15", "7", false),
            ("0.3", "0.1", true),
            ("0.35", "0.1", false),
            ("7.5", "2.5", true),
            ("1", "1e-13", true),
            ("1.5e-13", "1e-13", false),
            ("1e22", "10", true),
            // The double is 1000000000000000019884624838656.
            ("1e30", "10", false),
            ("1e300", "1e30", false),
            ("1e300", "2", true),
            ("18446744073709551615", "5", true),
            ("18446744073709551614", "5", false),
            ("1e-20", "1e-21", true),
            ("4", "-2", false),
        ] {
            assert_eq!(Factors::of(worth(step)).unwrap().divides(worth(number)), expected, "{number} by {step}");
        }
        assert_eq!(Factors::of(worth("0.0")), None);
    }

    #[test]
    fn multiples_are_counted_and_made() {
        for (number, step, times) in [
            ("50", "7", Some(7)),
            ("-50", "7", Some(-8)),
            ("0", "7", Some(0)),
            ("0.75", "0.25", Some(3)),
            ("1e-15", "1", Some(0)),
            ("-1e-300", "1", Some(-1)),
            ("1e-12", "1e-13", Some(10)),
            ("1e300", "1", None),
            ("9007199254740993", "1", Some(9_007_199_254_740_993)),
        ] {
            assert_eq!(Factors::of(worth(step)).unwrap().times_in(worth(number)), times, "{number} by {step}");
        }
        let made = |step: &str, times| Factors::of(worth(step)).unwrap().times(times).unwrap();
        assert_eq!(made("0.1", 3), worth("0.3"));
        assert_eq!(made("7", -2), worth("-14"));
        assert_eq!(made("1e300", 2), worth("2e300"));
        assert_eq!(made("1e-320", 2), worth("2e-320"));
    }
}
