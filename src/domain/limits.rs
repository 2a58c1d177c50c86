//! The limits a spend key can carry, in the form the API shows them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Cycle, Money};

/// The most that may be spent in each cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpendLimit {
    /// US dollars, a decimal string on the wire.
    pub amount: Money,
    /// When spending starts anew.
    pub cycle: Cycle,
}

impl SpendLimit {
    /// The most that can be spent under this limit in any window of `outer`; `None` if there is no most.
    pub fn most_in(self, outer: Cycle) -> Option<Money> {
        let windows = self.cycle.most_windows_in(outer)?;
        self.amount.nanos().checked_mul(windows).map(Money::from_nanos)
    }

    /// Whether nobody can spend more under this limit than `most` allows, in any of its windows: 1.00 a month is within 5.00 a day; 5.00 a month is not within
    /// 5.00 a week, because one week can touch two months.
    pub fn is_within(self, most: Self) -> bool {
        self.most_in(most.cycle).is_some_and(|spent| spent <= most.amount)
    }

    /// The largest limit with `cycle` that is within this one; `None` if there is none.
    pub fn largest_within(self, cycle: Cycle) -> Option<Self> {
        let amount = Money::from_nanos(self.amount.nanos() / cycle.most_windows_in(self.cycle)?);
        (amount > Money::ZERO).then_some(Self { amount, cycle })
    }
}

impl SpendLimit {
    /// Why this limit is not within `most`, and what would be, as the end of a sentence; `None` if it is.
    pub fn excess(self, most: Self) -> Option<String> {
        if self.is_within(most) {
            return None;
        }
        let window = match most.cycle {
            Cycle::Daily => "one day",
            Cycle::Weekly => "one week",
            Cycle::Monthly => "one month",
            Cycle::Total => "all",
        };
        let comes_to = match self.most_in(most.cycle) {
            Some(spent) if self.cycle.covers(most.cycle) => format!("{spent} USD"),
            Some(spent) => format!("{spent} USD in {window}"),
            None => "any amount in the long run".to_owned(),
        };
        let allowed = most.largest_within(self.cycle).filter(|largest| *largest != most);
        let allowed = allowed.map_or_else(|| most.to_string(), |largest| format!("{largest} or {most}"));
        Some(format!("{self} can come to {comes_to}, and at most {most} is allowed: choose at most {allowed}"))
    }
}

impl fmt::Display for SpendLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD ({})", self.amount, self.cycle.as_str())
    }
}

/// The most requests that may be made in each cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimit {
    /// Number of requests.
    pub count: u64,
    /// When counting starts anew.
    pub cycle: Cycle,
}

/// Requests per minute, with an optional allowance for bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests per minute in the long run.
    pub rpm: u32,
    /// Requests that may come at once; `None` means as many as `rpm`.
    #[serde(default)]
    pub burst: Option<u32>,
}

/// Which endpoint family a key may use. It locks the endpoint, not the provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestShape {
    /// `/v1/chat/completions`.
    #[default]
    Openai,
    /// `/v1/messages`.
    Anthropic,
}

impl RequestShape {
    /// The word used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// Whether a key may be used. A revoked key has no status: it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The key works.
    #[default]
    Active,
    /// The key is refused until it is set active again.
    Paused,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> SpendLimit {
        SpendLimit::parse_short(text).unwrap()
    }

    #[test]
    fn a_limit_is_within_another_in_every_window_or_not_at_all() {
        for (most, within, beyond) in [
            ("5.00/daily", vec!["5.00/daily", "5.00/weekly", "5.00/monthly", "5.00/total"], vec!["5.000000001/daily", "5.01/weekly"]),
            (
                "5.00/weekly",
                vec!["0.714285714/daily", "5.00/weekly", "2.50/monthly", "5.00/total"],
                vec!["0.714285715/daily", "2.500000001/monthly"],
            ),
            ("6.00/monthly", vec!["0.19/daily", "1.00/weekly", "6.00/monthly", "6.00/total"], vec!["0.20/daily", "1.000000001/weekly"]),
            ("5.00/total", vec!["5.00/total"], vec!["0.000000001/daily", "0.01/weekly", "0.01/monthly", "5.01/total"]),
        ] {
            let most = limit(most);
            assert!(within.iter().all(|text| limit(text).is_within(most)), "{most}");
            assert!(!beyond.iter().any(|text| limit(text).is_within(most)), "{most}");
        }
        assert!(!limit("9000000000.00/daily").is_within(limit("9000000000.00/monthly")), "no overflow");
    }

    #[test]
    fn who_asks_for_too_much_is_told_what_would_do() {
        for (asked, most, said) in [
            (
                "5.00/monthly",
                "5.00/weekly",
                "5.00 USD (monthly) can come to 10.00 USD in one week, and at most 5.00 USD (weekly) is allowed: choose at most 2.50 USD (monthly) or 5.00 USD (weekly)",
            ),
            (
                "2.00/daily",
                "1.00/daily",
                "2.00 USD (daily) can come to 2.00 USD, and at most 1.00 USD (daily) is allowed: choose at most 1.00 USD (daily)",
            ),
            (
                "6.00/monthly",
                "5.00/daily",
                "6.00 USD (monthly) can come to 6.00 USD, and at most 5.00 USD (daily) is allowed: choose at most 5.00 USD (monthly) or 5.00 USD (daily)",
            ),
            (
                "1.00/daily",
                "5.00/total",
                "1.00 USD (daily) can come to any amount in the long run, and at most 5.00 USD (total) is allowed: choose at most 5.00 USD (total)",
            ),
            (
                "1.00/daily",
                "0.000000006/weekly",
                "1.00 USD (daily) can come to 7.00 USD in one week, and at most 0.000000006 USD (weekly) is allowed: choose at most 0.000000006 USD (weekly)",
            ),
        ] {
            assert_eq!(limit(asked).excess(limit(most)).as_deref(), Some(said));
        }
        assert_eq!(limit("2.50/monthly").excess(limit("5.00/weekly")), None);
    }

    #[test]
    fn the_shapes_of_requests_have_the_words_of_the_wire() {
        for shape in [RequestShape::Openai, RequestShape::Anthropic] {
            assert_eq!(serde_json::to_value(shape).unwrap(), shape.as_str());
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..proptest::test_runner::Config::default() })]

        #[test]
        fn the_largest_is_within_and_the_next_is_not(amount in 1_i64..i64::MAX / 40, outer in 0_usize..4, inner in 0_usize..4) {
            let cycles = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total];
            let most = SpendLimit { amount: Money::from_nanos(amount), cycle: cycles[outer] };
            match most.largest_within(cycles[inner]) {
                Some(largest) => {
                    proptest::prop_assert!(largest.is_within(most));
                    let next = SpendLimit { amount: Money::from_nanos(largest.amount.nanos() + 1), ..largest };
                    proptest::prop_assert!(!next.is_within(most));
                }
                None => {
                    let least = SpendLimit { amount: Money::from_nanos(1), cycle: cycles[inner] };
                    proptest::prop_assert!(!least.is_within(most));
                }
            }
        }
    }
}
