//! How much memory the bodies of requests may take at a time: in all, and for one payer, so that nobody with a key can fill the memory or keep others from theirs.
//!
//! A body is counted as it arrives, not as it is announced: who announces much and sends nothing takes nothing away from others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// All bodies together. A body is copied once or twice on its way, so this is up to three times as much memory.
const BYTES_MAX: usize = 256 << 20;
/// The bodies of one payer: four of the largest, or hundreds of long conversations, and half of what there is.
const BYTES_MAX_OF_ONE: usize = 128 << 20;

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverBudget {
    /// That of this payer.
    Own,
    /// That of everybody.
    Everybody,
}

/// The bodies in memory.
pub(crate) struct BodyBudget {
    bytes_max: usize,
    bytes_max_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    in_all: usize,
    by_payer: HashMap<Box<str>, usize>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::new(BYTES_MAX, BYTES_MAX_OF_ONE)
    }
}

impl BodyBudget {
    fn new(bytes_max: usize, bytes_max_of_one: usize) -> Self {
        Self { bytes_max, bytes_max_of_one, taken: Mutex::default() }
    }

    /// The share of a body that is about to be read.
    pub(crate) fn share(self: &Arc<Self>, payer: &str) -> BodyShare {
        BodyShare { budget: self.clone(), payer: payer.into(), bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one body takes; given back when it is dropped, so it lives as long as the body.
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    payer: Box<str>,
    bytes: usize,
}

impl BodyShare {
    /// A share of the same payer, for what is needed a shorter time.
    pub(crate) fn beside(&self) -> Self {
        Self { budget: self.budget.clone(), payer: self.payer.clone(), bytes: 0 }
    }

    /// How much room it takes.
    #[cfg(test)]
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes room for bytes that have arrived.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if bytes == 0 {
            return Ok(());
        }
        let mut taken = self.budget.lock();
        let own = taken.by_payer.get(&self.payer).copied().unwrap_or_default();
        if own.saturating_add(bytes) > self.budget.bytes_max_of_one {
            return Err(OverBudget::Own);
        }
        if taken.in_all.saturating_add(bytes) > self.budget.bytes_max {
            return Err(OverBudget::Everybody);
        }
        taken.in_all += bytes;
        *taken.by_payer.entry(self.payer.clone()).or_default() += bytes;
        drop(taken);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.budget.lock();
        taken.in_all = taken.in_all.saturating_sub(self.bytes);
        let left = taken.by_payer.get(&self.payer).copied().unwrap_or_default().saturating_sub(self.bytes);
        if left == 0 {
            taken.by_payer.remove(&self.payer);
        } else if let Some(own) = taken.by_payer.get_mut(&self.payer) {
            *own = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_payer_takes_its_part_and_all_together_no_more_than_there_is() {
        let budget = Arc::new(BodyBudget::new(100, 60));
        let (mut first, mut second) = (budget.share("a"), budget.share("a"));
        assert_eq!((first.grow(50), second.grow(10), second.grow(1)), (Ok(()), Ok(()), Err(OverBudget::Own)));
        let mut other = budget.share("b");
        assert_eq!((other.grow(40), other.grow(1)), (Ok(()), Err(OverBudget::Everybody)));
        drop(first);
        assert_eq!((other.grow(20), second.grow(30)), (Ok(()), Ok(())));
        drop((second, other));
        let taken = budget.lock();
        assert_eq!((taken.in_all, taken.by_payer.len()), (0, 0), "nothing is kept of who has gone");
    }
}
