//! What the ledger of this process has done since it was opened, for whoever watches it.

use crate::domain::{
    count::{Counter, Histogram},
    ledger::{Basis, Outcome},
};

/// Upper bounds of the time that a flush takes, in microseconds.
const FLUSH_US: [u64; 13] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];
/// Upper bounds of the operations in one transaction.
const BATCH: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// Every basis an entry can have, in the order of [`Counters::entries`].
const BASES: [Basis; 5] = [Basis::Measured, Basis::Estimated, Basis::Hold, Basis::Crash, Basis::Void];

/// The ledger's counters.
#[derive(Debug)]
pub struct Counters {
    /// How long each commit took, its flush to the disk included, in microseconds.
    pub commit_us: Histogram,
    /// How many operations went into each transaction.
    pub batch: Histogram,
    /// Transactions that could not be written.
    pub failures: Counter,
    entries: [Counter; BASES.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            commit_us: Histogram::new(&FLUSH_US),
            batch: Histogram::new(&BATCH),
            failures: Counter::default(),
            entries: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Counters {
    /// Entries by how their amount is known.
    pub fn entries(&self) -> impl Iterator<Item = (Basis, u64)> + '_ {
        BASES.into_iter().zip(self.entries.iter().map(Counter::get))
    }

    pub(super) fn ended(&self, outcome: &Outcome) {
        self.add_entries(if let Outcome::Charge { basis, .. } = outcome { *basis } else { Basis::Void }, 1);
    }

    pub(super) fn add_entries(&self, basis: Basis, more: u64) {
        let counter = BASES.iter().position(|one| *one == basis).and_then(|place| self.entries.get(place));
        counter.into_iter().for_each(|counter| counter.add(more));
    }
}
