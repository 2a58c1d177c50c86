//! Numbers that many threads add to at once, without a lock; for what a process tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or the difference of what opened and what closed.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Takes from it; what is taken was added before.
    pub fn take(&self, less: u64) {
        self.0.fetch_sub(less, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a value fell below each of some bounds, and the sum of all.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what lies above all of them.
    counts: Box<[Counter]>,
    sum: Counter,
}

impl Histogram {
    /// With upper bounds, rising.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| Counter::default()).collect(), sum: Counter::default() }
    }

    /// Counts a value.
    pub fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.add(1);
        }
        self.sum.add(value);
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        self.sum.get()
    }

    /// For each bound how many values were at most that large, then (without a bound) how many there were in all.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts.iter()).scan(0, |below, (bound, count)| {
            *below += count.get();
            Some((bound, *below))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let histogram = Histogram::new(&[10, 20]);
        [0, 10, 11, 20, 21].iter().for_each(|value| histogram.observe(*value));
        assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(Some(10), 2), (Some(20), 4), (None, 5)]);
        assert_eq!(histogram.sum(), 62);
    }
}
