//! Limits as people type them, wherever one is read: `5/day`, `$5 daily`, `1k requests per day`, `60/min`.
//!
//! Amounts are read strictly and the words around them leniently: a limit that is understood otherwise than it was meant costs money, so what could mean two things is
//! an error with both ways to write it.

mod tokens;

use std::fmt;

use super::{Money, RateLimit, RequestLimit, SpendLimit, money::MoneyError, text::counted};
use tokens::{Ending, Reader, Token, ending, is_money_sign, tokens};

const DOLLARS: [&str; 7] = ["usd", "us", "dollar", "dollars", "$", "us$", "usd$"];
const OTHER_MONEY: [&str; 14] =
    ["eur", "euro", "euros", "gbp", "pound", "pounds", "yen", "jpy", "cny", "rmb", "inr", "chf", "cent", "cents"];
const REQUESTS: [&str; 7] = ["request", "requests", "req", "reqs", "call", "calls", "x"];

const CYCLES: &str = "daily, weekly, monthly or total";

impl SpendLimit {
    /// Reads a limit as people write it, such as `5.00/daily`, `5/day` or `$5 a week`.
    ///
    /// # Errors
    /// A sentence that says what was wrong and what is allowed.
    pub fn parse_short(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("\"{text}\" is not a limit: {why}"));
        let expected = format!("write an amount and a cycle, such as 5.00/daily ({CYCLES})");
        let tokens = tokens(text);
        let mut reader = Reader(&tokens);
        if tokens.iter().any(|token| matches!(token, Token::Word(word) if is_other_money(word))) {
            return wrong("amounts are in US dollars, such as 5.00/daily");
        }
        if tokens.first() == Some(&Token::Minus) || tokens.get(1) == Some(&Token::Minus) {
            return wrong("the amount must be above zero");
        }
        reader.skip(&DOLLARS);
        let Some((digits, is_thousands)) = reader.number() else { return wrong(&expected) };
        reader.skip(&DOLLARS);
        let end = ending(&mut reader);
        let amount = match amount(digits, is_thousands) {
            Ok(amount) => amount,
            Err(why) => return wrong(&why),
        };
        match end {
            Ending::Cycle(_) if amount <= Money::ZERO => wrong("the amount must be above zero"),
            Ending::Cycle(cycle) => Ok(Self { amount, cycle }),
            Ending::Missing => {
                wrong(&format!("say for how long: {amount}/daily, {amount}/weekly, {amount}/monthly, or {amount}/total for all time"))
            }
            Ending::Foreign => wrong(&format!("a cycle is {CYCLES}: write an amount such as 5.00/daily")),
            Ending::Unread => wrong(&expected),
        }
    }

    /// The form in which settings and commands have it, such as `5.00/daily`.
    pub fn to_short(self) -> String {
        format!("{}/{}", self.amount, self.cycle.as_str())
    }
}

fn is_other_money(word: &str) -> bool {
    OTHER_MONEY.contains(&word) || word.chars().any(|c| is_money_sign(c) && c != '$')
}

fn amount(digits: &str, is_thousands: bool) -> Result<Money, String> {
    if digits.contains(',') {
        return Err(match digits.split_once(',') {
            // A thousand to some, one to others.
            Some((whole, part)) if part.len() == 3 && !whole.contains('.') => {
                format!("the comma can mean two things: write {whole}{part}.00 or {whole}.{part}, with the cycle")
            }
            _ => "write the amount with a dot and without commas, such as 5.00/daily".to_owned(),
        });
    }
    let plain = digits.replace('_', "");
    let plain = if plain.starts_with('.') { format!("0{plain}") } else { plain };
    let amount: Money = plain.parse().map_err(|error| match error {
        MoneyError::NotADecimal => "write an amount such as 5.00".to_owned(),
        error => error.to_string(),
    })?;
    if !is_thousands {
        return Ok(amount);
    }
    amount.nanos().checked_mul(1_000).map(Money::from_nanos).ok_or_else(|| MoneyError::TooLarge.to_string())
}

/// A whole number, with what people put between its thousands.
fn count(digits: &str, is_thousands: bool) -> Option<u64> {
    let mut groups = digits.split(',');
    let first_len = groups.next()?.len();
    let has_groups = digits.contains(',');
    if has_groups && (!(1..=3).contains(&first_len) || groups.any(|group| group.len() != 3)) {
        return None;
    }
    let plain = digits.replace([',', '_'], "");
    if !is_thousands {
        return plain.parse().ok();
    }
    // 1.5k is 1500.
    let thousands: Money = plain.parse().ok()?;
    let nanos = u64::try_from(thousands.nanos()).ok()?;
    nanos.is_multiple_of(1_000_000).then_some(nanos / 1_000_000)
}

impl RequestLimit {
    /// Reads a limit as people write it, such as `1000/daily`, `1k/day` or `100 requests per day`.
    ///
    /// # Errors
    /// A sentence that says what was wrong and what is allowed.
    pub fn parse_short(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("\"{text}\" is not a limit: {why}"));
        let expected = format!("write a whole number and a cycle, such as 1000/daily ({CYCLES})");
        let tokens = tokens(text);
        let mut reader = Reader(&tokens);
        let Some((digits, is_thousands)) = reader.number() else { return wrong(&expected) };
        reader.skip(&REQUESTS);
        let end = ending(&mut reader);
        let Some(count) = count(digits, is_thousands) else { return wrong(&expected) };
        match end {
            Ending::Cycle(_) if count == 0 => wrong("the number of requests must be at least 1"),
            Ending::Cycle(cycle) => Ok(Self { count, cycle }),
            Ending::Missing => {
                wrong(&format!("say for how long: {count}/daily, {count}/weekly, {count}/monthly, or {count}/total for all time"))
            }
            Ending::Foreign => wrong(&format!("a cycle is {CYCLES}; requests a minute are a rate limit, such as 60")),
            Ending::Unread => wrong(&expected),
        }
    }
}

impl fmt::Display for RequestLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", counted(self.count, "request"), self.cycle.as_str())
    }
}

impl RateLimit {
    /// Reads a rate as people write it, such as `60`, `60/min`, `60rpm`, or `60/10` with bursts of 10.
    ///
    /// # Errors
    /// A sentence that says what is allowed.
    pub fn parse_short(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("\"{text}\" is not a rate limit: {why}"));
        let tokens = tokens(text);
        let mut reader = Reader(&tokens);
        match read_rate(&mut reader) {
            Some(Self { rpm: 0, .. } | Self { burst: Some(0), .. }) => wrong("the number of requests a minute must be at least 1"),
            Some(rate) => Ok(rate),
            None => wrong("write requests a minute, such as 60, or 60/10 with a burst of 10"),
        }
    }
}

fn read_rate(reader: &mut Reader<'_>) -> Option<RateLimit> {
    let number = |reader: &mut Reader<'_>| {
        let (digits, is_thousands) = reader.number()?;
        u32::try_from(count(digits, is_thousands)?).ok()
    };
    let rpm = number(reader)?;
    reader.skip(&REQUESTS);
    if !reader.skip(&["rpm"]) {
        let before = reader.0;
        reader.separator();
        if !reader.skip(&["minute", "min", "m", "minutes"]) {
            reader.0 = before;
        }
    }
    if matches!(reader.peek(), Some(Token::Comma | Token::Slash)) {
        reader.next();
    } else if reader.peek().is_some()
        && !matches!(reader.peek(), Some(Token::Word(word)) if matches!(word.as_str(), "burst" | "bursts" | "with"))
    {
        return None;
    } else if reader.peek().is_none() {
        return Some(RateLimit { rpm, burst: None });
    }
    reader.skip(&["with", "a", "burst", "bursts", "of"]);
    let burst = number(reader)?;
    reader.peek().is_none().then_some(RateLimit { rpm, burst: Some(burst) })
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} a minute", counted(self.rpm, "request"))?;
        self.burst.map_or(Ok(()), |burst| write!(f, ", bursts of {burst}"))
    }
}
