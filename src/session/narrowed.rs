//! What agents asked for less of, each for its own session and no longer.
//!
//! Several sessions of one client can share a key: two windows of a program, or all that call over HTTP. Each asks for what it needs; before a session pays, the key is
//! brought to what that session asked for. What was spent counts for all of them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Narrowing, Payer};

/// After so long without a call, a session that came over HTTP has ended: many clients never say so.
const IDLE_MAX: Duration = Duration::from_secs(3_600);

/// The sessions of this process that asked for less.
#[derive(Default)]
pub(super) struct Narrowed(Mutex<HashMap<String, Entry>>);

struct Entry {
    narrowing: Narrowing,
    /// Until when it holds without a call; `None` for as long as the process lives.
    until: Option<Instant>,
}

impl Narrowed {
    /// What this session asked for.
    pub(super) fn of(&self, payer: &Payer) -> Narrowing {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|_, entry| entry.until.is_none_or(|until| now < until));
        let Some(entry) = sessions.get_mut(&payer.session()) else { return Narrowing::default() };
        entry.until = until(payer, now);
        entry.narrowing.clone()
    }

    /// Remembers what it asks for from now on.
    pub(super) fn set(&self, payer: &Payer, narrowing: Narrowing) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match narrowing.is_empty() {
            true => drop(sessions.remove(&payer.session())),
            false => drop(sessions.insert(payer.session(), Entry { narrowing, until: until(payer, Instant::now()) })),
        }
    }
}

fn until(payer: &Payer, now: Instant) -> Option<Instant> {
    matches!(payer, Payer::Member { .. }).then(|| now + IDLE_MAX)
}
