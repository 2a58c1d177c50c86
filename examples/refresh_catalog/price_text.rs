//! Turns the prices of the sources into whole pico-dollars, from their text. A float would already have lost the last digits.

/// Longest run of digits that is taken at its word. Sources that were written from floats carry noise behind it, as in
/// `2.9999999999999997e-07`.
const DIGITS_TRUSTED: usize = 14;

/// Reads a price such as `1.5e-07` and scales it by `10^scale`, rounded up to a whole number.
pub(crate) fn scaled_up(text: &str, scale: i32) -> Option<u64> {
    let text = text.trim().trim_matches('"');
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let mut exponent = exponent.parse::<i32>().ok()? - i32::try_from(part.len()).ok()? + scale;
    if digits.is_empty() {
        return Some(0);
    }
    let mut value: u128 = digits.get(..digits.len().min(30))?.parse().ok()?;
    let dropped = digits.len().saturating_sub(30);
    exponent += i32::try_from(dropped).ok()?;
    let noise = digits.len().min(30).saturating_sub(DIGITS_TRUSTED);
    if noise > 0 {
        let unit = 10_u128.checked_pow(u32::try_from(noise).ok()?)?;
        value = (value + unit / 2) / unit;
        exponent += i32::try_from(noise).ok()?;
    }
    let power = 10_u128.checked_pow(exponent.unsigned_abs());
    let scaled = match (exponent >= 0, power) {
        (true, Some(power)) => value.checked_mul(power)?,
        (true, None) => return None,
        (false, Some(power)) => value.div_ceil(power),
        (false, None) => 1,
    };
    u64::try_from(scaled).ok()
}

/// Pico-dollars of a price in dollars per unit.
pub(crate) fn picos(text: &str) -> Option<u64> {
    scaled_up(text, 12)
}

/// A count that may be written as `32000.0`.
pub(crate) fn whole(text: &str) -> Option<u64> {
    scaled_up(text, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_from_its_text_and_rounded_up() {
        assert_eq!(picos("1.5e-07"), Some(150_000));
        assert_eq!(picos("0.01"), Some(10_000_000_000));
        assert_eq!(picos("3e-06"), Some(3_000_000));
        assert_eq!(picos("5"), Some(5_000_000_000_000));
        assert_eq!(picos("0.0"), Some(0));
        assert_eq!(picos("1.3e-13"), Some(1));
        assert_eq!(picos("1.0000001e-09"), Some(1_001));
        assert_eq!(scaled_up("0.25", 6), Some(250_000));
        assert_eq!(whole("32000.0"), Some(32_000));
    }

    #[test]
    fn the_noise_of_a_float_is_no_price() {
        assert_eq!(picos("2.9999999999999997e-07"), Some(300_000));
        assert_eq!(picos("3.0000000000000004e-07"), Some(300_000));
        assert_eq!(picos("0.00000014999999999999999999999999999999999"), Some(150_000));
    }

    #[test]
    fn what_is_no_price_is_none() {
        for text in ["", "free", "-1", "1e", "null", "1.2.3", "NaN", "1e40"] {
            assert_eq!(picos(text), None, "{text}");
        }
    }
}
