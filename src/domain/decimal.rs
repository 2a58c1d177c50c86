//! Decimal numbers as JSON writes them, read into whole numbers without a float in between. What does not fit the unit is rounded up.

/// The value of `text` times `10^decimals`, rounded up. `None` when it is not a decimal number of zero or more, or does not fit.
pub fn scaled_up(text: &str, decimals: i64) -> Option<u128> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => {
            let exponent = &text[at + 1..];
            (&text[..at], i64::from(exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?))
        }
        None => (text, 0),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let shift = exponent + decimals - i64::try_from(part.len()).ok()?;
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    if let Ok(zeros) = u32::try_from(shift) {
        return digits.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(zeros)?);
    }
    let kept = usize::try_from(i64::try_from(digits.len()).ok()? + shift).unwrap_or(0);
    let (whole, rest) = digits.split_at(kept);
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    whole.checked_add(u128::from(rest.bytes().any(|byte| byte != b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_read_and_rounded_up() {
        for (text, decimals, value) in [
            ("10", 0, Some(10)),
            ("10.0", 0, Some(10)),
            ("10.5", 0, Some(11)),
            ("0.0000000001", 9, Some(1)),
            ("0.5", 9, Some(500_000_000)),
            ("5e-05", 9, Some(50_000)),
            ("1.5E+2", 0, Some(150)),
            ("37756000", -1, Some(3_775_600)),
            ("1", -1, Some(1)),
            ("0", -1, Some(0)),
            ("0.000", 9, Some(0)),
            (".5", 0, Some(1)),
            ("1e-400", 9, Some(1)),
            ("1e400", 0, None),
            ("-1", 0, None),
            ("", 0, None),
            (".", 0, None),
            ("NaN", 9, None),
            ("1e", 9, None),
            ("1e99999999999", 9, None),
            ("99999999999999999999999999999999999999999", 0, None),
        ] {
            assert_eq!(scaled_up(text, decimals), value, "{text} times 10^{decimals}");
        }
    }
}
