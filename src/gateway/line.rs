//! Where requests wait for money of their key that is only set aside: one line a key, first come, first served, for a short while.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::domain::KeyId;

/// How long a request waits.
pub(super) const WAIT: Duration = Duration::from_secs(2);
/// How many may wait for one key; one more is refused at once, so that nobody is overtaken.
const WAITING_MAX: usize = 32;

/// The lines of all keys. A key that nobody waits for has none.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<KeyId, Arc<Line>>>);

#[derive(Default)]
struct Line {
    /// Held by the request at the head; it is handed on in the order in which requests came.
    head: tokio::sync::Mutex<()>,
    settled: Notify,
    waiting: Mutex<usize>,
}

/// A request's place in a line; given up when it is dropped.
pub(super) struct Place<'a> {
    lines: &'a Lines,
    key: KeyId,
    line: Arc<Line>,
}

/// The head of a line.
pub(super) struct Turn<'a> {
    line: &'a Line,
    _head: tokio::sync::MutexGuard<'a, ()>,
}

impl Lines {
    /// Whether somebody waits for money of this key. Nobody overtakes them.
    pub(super) fn has(&self, key: &KeyId) -> bool {
        self.lock().contains_key(key)
    }

    /// Tells the head of the key's line that money has come back.
    pub(super) fn money_is_back(&self, key: &KeyId) {
        if let Some(line) = self.lock().get(key) {
            line.settled.notify_one();
        }
    }

    /// Takes the last place in the key's line; `None` when the line is full.
    pub(super) fn join(&self, key: &KeyId) -> Option<Place<'_>> {
        let mut lines = self.lock();
        let line = lines.entry(key.clone()).or_default().clone();
        let mut waiting = line.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if *waiting >= WAITING_MAX {
            return None;
        }
        *waiting += 1;
        drop(waiting);
        Some(Place { lines: self, key: key.clone(), line })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<KeyId, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Resolves when all who came before have left.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn { line: &self.line, _head: self.line.head.lock().await }
    }
}

impl Turn<'_> {
    /// Resolves when money has come back since the last time this was asked.
    pub(super) async fn money(&self) {
        self.line.settled.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        let mut waiting = self.line.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting -= 1;
        if *waiting == 0 {
            lines.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_served_in_order_and_vanishes() {
        let (lines, key) = (Lines::default(), KeyId::from_text("k"));
        let (one, two) = (lines.join(&key).unwrap(), lines.join(&key).unwrap());
        let first = one.turn().await;
        assert!(tokio::time::timeout(Duration::from_millis(20), two.turn()).await.is_err(), "the first has not left");
        lines.money_is_back(&key);
        first.money().await;
        drop(first);
        drop(one);
        drop(two.turn().await);
        assert!(lines.has(&key));
        drop(two);
        assert!(!lines.has(&key));
    }

    #[test]
    fn a_full_line_takes_nobody() {
        let (lines, key) = (Lines::default(), KeyId::from_text("k"));
        let places: Vec<_> = std::iter::from_fn(|| lines.join(&key)).collect();
        assert_eq!(places.len(), WAITING_MAX);
        drop(places);
        assert!(lines.join(&key).is_some());
    }
}
