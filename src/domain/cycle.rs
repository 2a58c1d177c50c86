//! Budget cycles as calendar windows in UTC.
//!
//! A window is a whole number (days since the epoch, ISO weeks since the epoch, months since year 0), so rolling over is a comparison and
//! needs no job that could be missed. At the boundary itself the new window counts.

use jiff::{Timestamp, ToSpan, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// How often a limit starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    /// Every day at 00:00 UTC.
    Daily,
    /// Every Monday at 00:00 UTC.
    Weekly,
    /// On the 1st of every month at 00:00 UTC.
    Monthly,
    /// Never.
    Total,
}

/// The number of a cycle's window; larger is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window(pub i64);

/// Seconds in a UTC day.
const DAY_S: i64 = 86_400;

impl Cycle {
    /// The window that contains `now`.
    pub fn window(self, now: Timestamp) -> Window {
        let days = now.as_second().div_euclid(DAY_S);
        Window(match self {
            Self::Daily => days,
            // 1970-01-01 was a Thursday, three days after a Monday.
            Self::Weekly => (days + 3).div_euclid(7),
            Self::Monthly => {
                let date = utc_date(now);
                i64::from(date.year()) * 12 + i64::from(date.month()) - 1
            }
            Self::Total => 0,
        })
    }

    /// When the window that contains `now` ends; `None` if it never does.
    pub fn resets_at(self, now: Timestamp) -> Option<Timestamp> {
        let Window(window) = self.window(now);
        match self {
            Self::Daily => Timestamp::from_second((window + 1) * DAY_S).ok(),
            Self::Weekly => Timestamp::from_second(((window + 1) * 7 - 3) * DAY_S).ok(),
            Self::Monthly => {
                let first = utc_date(now).first_of_month();
                let next = first.checked_add(1.month()).ok()?;
                TimeZone::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok()
            }
            Self::Total => None,
        }
    }

    /// The most windows of this cycle that one window of `outer` touches; `None` if there is no most. A month does not lie within a week: where it ends on a
    /// Tuesday, that week touches two months.
    pub const fn most_windows_in(self, outer: Self) -> Option<i64> {
        match (self, outer) {
            (Self::Total, _) | (_, Self::Daily) | (Self::Weekly, Self::Weekly) | (Self::Monthly, Self::Monthly) => Some(1),
            (_, Self::Total) => None,
            (Self::Monthly, Self::Weekly) => Some(2),
            // Of 31 days that begin on a Saturday, the first two lie in one week, and the last in a sixth.
            (Self::Weekly, Self::Monthly) => Some(6),
            (Self::Daily, Self::Weekly) => Some(7),
            (Self::Daily, Self::Monthly) => Some(31),
        }
    }

    /// Whether each window of `outer` lies in one of this cycle, so that what is spent in the outer window is counted in the inner one whenever it was spent.
    pub const fn covers(self, outer: Self) -> bool {
        matches!(self.most_windows_in(outer), Some(1))
    }

    /// The word used on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Total => "total",
        }
    }

    /// How people say it after an amount, such as `5.00 USD a day`.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Daily => "a day",
            Self::Weekly => "a week",
            Self::Monthly => "a month",
            Self::Total => "in total",
        }
    }

    /// Reads the word used on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Daily, Self::Weekly, Self::Monthly, Self::Total].into_iter().find(|cycle| cycle.as_str() == text)
    }
}

fn utc_date(now: Timestamp) -> civil::Date {
    TimeZone::UTC.to_datetime(now).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_longer_calendar_covers_a_shorter_one_only_where_it_never_begins_within_it() {
        for (inner, outer, expected) in [
            (Cycle::Weekly, Cycle::Daily, true),
            (Cycle::Monthly, Cycle::Daily, true),
            (Cycle::Total, Cycle::Monthly, true),
            (Cycle::Daily, Cycle::Daily, true),
            (Cycle::Monthly, Cycle::Weekly, false),
            (Cycle::Daily, Cycle::Weekly, false),
            (Cycle::Weekly, Cycle::Monthly, false),
            (Cycle::Monthly, Cycle::Total, false),
        ] {
            assert_eq!(inner.covers(outer), expected, "{inner:?} {outer:?}");
        }
    }

    /// They are kept in ledgers, so another version must count them in the same way.
    #[test]
    fn windows_keep_their_numbers() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let numbers = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total].map(|cycle| cycle.window(now).0);
        assert_eq!(numbers, [20_781, 2_969, 2026 * 12 + 10, 0]);
    }

    #[test]
    fn the_new_window_begins_at_the_boundary() {
        for (cycle, before, boundary) in [
            (Cycle::Daily, "2026-11-24T23:59:59.999Z", "2026-11-25T00:00:00Z"),
            (Cycle::Weekly, "2026-11-29T23:59:59.999Z", "2026-11-30T00:00:00Z"),
            (Cycle::Weekly, "2026-01-04T23:59:59Z", "2026-01-05T00:00:00Z"),
            (Cycle::Monthly, "2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"),
            (Cycle::Monthly, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(cycle.window(at(before)).0 + 1, cycle.window(at(boundary)).0, "{cycle:?} {boundary}");
            assert_eq!(cycle.resets_at(at(before)), Some(at(boundary)), "{cycle:?} {boundary}");
        }
        assert_eq!(Cycle::Total.resets_at(at("2026-11-24T00:00:00Z")), None);
    }

    /// The Gregorian calendar repeats itself, weekdays included, after 400 years: what holds in those holds always.
    #[test]
    fn the_most_windows_are_those_of_the_whole_calendar() {
        const DAYS: i64 = 146_097;
        let cycles = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total];
        // One more day, so that no window at the end is cut.
        let days: Vec<[i64; 4]> = (0..DAYS + 31)
            .map(|day| {
                let noon = Timestamp::from_second((10_957 + day) * DAY_S + DAY_S / 2).unwrap();
                cycles.map(|cycle| cycle.window(noon).0)
            })
            .collect();
        for (o, outer) in cycles.into_iter().enumerate() {
            for (i, inner) in cycles.into_iter().enumerate() {
                let (mut most, mut seen) = (0, 0);
                for (at, windows) in days.iter().enumerate() {
                    let before = at.checked_sub(1).map(|before| days[before]);
                    let is_same = |cycle: usize| before.is_some_and(|before| before[cycle] == windows[cycle]);
                    seen = match (is_same(o), is_same(i)) {
                        (false, _) => 1,
                        (true, true) => seen,
                        (true, false) => seen + 1,
                    };
                    most = most.max(seen);
                }
                match inner.most_windows_in(outer) {
                    Some(windows) => assert_eq!(windows, most, "{inner:?} in {outer:?}"),
                    None => assert!(most > 4_000, "{inner:?} in {outer:?}"),
                }
            }
        }
    }
}
