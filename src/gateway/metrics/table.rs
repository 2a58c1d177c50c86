//! Series by their labels, in a table of fixed size that is read and filled without a lock.

use std::sync::OnceLock;

/// As many neighbouring places are tried for a series.
const TRIES: usize = 16;

/// Series with `N` labels each. What finds no place is counted as `other`.
pub(super) struct Table<const N: usize, T> {
    places: Box<[OnceLock<Box<Series<N, T>>>]>,
    other: Series<N, T>,
}

struct Series<const N: usize, T> {
    labels: [Box<str>; N],
    counted: T,
}

impl<const N: usize, T: Default> Series<N, T> {
    fn new(labels: [&str; N]) -> Self {
        Self { labels: labels.map(Into::into), counted: T::default() }
    }

    fn is(&self, labels: &[&str; N]) -> bool {
        self.labels.iter().zip(labels).all(|(own, label)| **own == **label)
    }
}

impl<const N: usize, T: Default> Table<N, T> {
    pub(super) fn new(size: usize) -> Self {
        Self { places: (0..size).map(|_| OnceLock::new()).collect(), other: Series::new([super::OTHER; N]) }
    }

    /// A series that was counted before.
    pub(super) fn find(&self, labels: [&str; N]) -> Option<&T> {
        let mut taken = self.places_for(&labels).map_while(OnceLock::get);
        taken.find(|series| series.is(&labels)).map(|series| &series.counted)
    }

    /// The series with these labels. Only its first use takes memory.
    pub(super) fn of(&self, labels: [&str; N]) -> &T {
        // Another thread may take a place that was free a moment ago; then the next one is tried.
        let mut places = self.places_for(&labels).map(|place| place.get_or_init(|| Box::new(Series::new(labels))));
        places.find(|series| series.is(&labels)).map_or(&self.other.counted, |series| &series.counted)
    }

    /// Every series that was counted, the one of what found no place last.
    pub(super) fn all(&self) -> impl Iterator<Item = ([&str; N], &T)> {
        let named = self.places.iter().filter_map(OnceLock::get).map(AsRef::as_ref);
        named.chain([&self.other]).map(|series| (series.labels.each_ref().map(AsRef::as_ref), &series.counted))
    }

    fn places_for(&self, labels: &[&str; N]) -> impl Iterator<Item = &OnceLock<Box<Series<N, T>>>> {
        // FNV-1a: labels are short, and nobody outside chooses them.
        let bytes = labels.iter().flat_map(|label| label.bytes().chain([0]));
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let size = self.places.len();
        let start = usize::try_from(hash % (size as u64).max(1)).unwrap_or(0);
        (0..TRIES.min(size)).filter_map(move |step| self.places.get((start + step) % size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::count::Counter;

    #[test]
    fn a_full_table_counts_on_under_another_name() {
        let table: Table<1, Counter> = Table::new(8);
        assert!(table.find(["one"]).is_none());
        for name in ["one", "two", "one"] {
            table.of([name]).add(1);
        }
        assert_eq!((table.find(["one"]).unwrap().get(), table.find(["two"]).unwrap().get()), (2, 1));
        (0..100).for_each(|n| table.of([&n.to_string()]).add(1));
        let (named, other): (Vec<_>, Vec<_>) = table.all().partition(|(labels, _)| labels != &["other"]);
        assert_eq!(named.len(), 8);
        assert_eq!(other[0].1.get(), 94);
        assert_eq!(table.all().map(|(_, count)| count.get()).sum::<u64>(), 103);
    }

    #[test]
    fn threads_that_meet_at_a_place_agree_on_it() {
        let table: Table<2, Counter> = Table::new(64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|n| table.of(["p", &(n % 10).to_string()]).add(1)));
            }
        });
        let counts: Vec<u64> = table.all().map(|(_, count)| count.get()).filter(|count| *count > 0).collect();
        assert_eq!(counts, [400; 10]);
    }
}
