//! How much the requests of a key to a model usually write. It decides how much is set aside for a request without an output cap when money is short.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
};

use crate::domain::KeyId;

/// Answers that are remembered of each key and model.
const REMEMBERED: usize = 64;
/// Fewer answers say nothing yet.
const ENOUGH: usize = 4;
/// Keys and models that are remembered; beyond that all is forgotten, and learnt anew.
const PAIRS_MAX: usize = 4_096;

/// Output lengths of late, in tokens. Only in memory: a program that starts anew learns anew.
#[derive(Default)]
pub(super) struct Habits {
    hasher: RandomState,
    /// By a hash of key and model; two that collide share their habits, which costs nobody money.
    recent: Mutex<HashMap<u64, Recent>>,
}

struct Recent {
    outputs: [u32; REMEMBERED],
    count: usize,
}

impl Habits {
    /// Remembers what an answer used.
    pub(super) fn learn(&self, key: &KeyId, model: &str, output_tokens: u64) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= PAIRS_MAX {
            recent.clear();
        }
        let recent = recent.entry(self.hasher.hash_one((key, model))).or_insert(Recent { outputs: [0; REMEMBERED], count: 0 });
        recent.outputs[recent.count % REMEMBERED] = u32::try_from(output_tokens).unwrap_or(u32::MAX);
        recent.count += 1;
    }

    /// The length that 95 of 100 answers do not exceed, once there are enough of them.
    pub(super) fn p95(&self, key: &KeyId, model: &str) -> Option<u64> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = recent.get(&self.hasher.hash_one((key, model))).filter(|recent| recent.count >= ENOUGH)?;
        let mut outputs = recent.outputs[..recent.count.min(REMEMBERED)].to_vec();
        outputs.sort_unstable();
        Some(u64::from(outputs[(outputs.len() * 95).div_ceil(100) - 1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answers_of_a_pair_count() {
        let (habits, key) = (Habits::default(), KeyId::from_text("k"));
        for output in [10, 20, 30] {
            habits.learn(&key, "m", output);
        }
        assert_eq!(habits.p95(&key, "m"), None, "three answers say nothing");
        habits.learn(&key, "m", 40);
        assert_eq!(habits.p95(&key, "m"), Some(40));
        assert_eq!(habits.p95(&key, "other"), None);
        (1..=100).for_each(|output| habits.learn(&key, "m", output));
        assert_eq!(habits.p95(&key, "m"), Some(97), "the last 64 are 37 to 100");
    }
}
