//! Connections that have not asked for anything yet. When every place is taken the oldest of them makes room, so that clients which never finish their
//! first request cannot keep others out: an honest one has asked a moment after it was let in.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

/// A connection from its beginning to its first request.
#[derive(Default)]
pub(super) struct Newcomer {
    has_asked: AtomicBool,
    leave: Notify,
}

impl Newcomer {
    /// From now on it is a client like any other.
    pub(super) fn has_asked(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// Resolves when it has to go, unless it has asked for something.
    pub(super) async fn dismissed(&self) {
        self.leave.notified().await;
        if self.has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

/// The newcomers, oldest first. Only the loop that accepts connections has them.
#[derive(Default)]
pub(super) struct Newcomers(VecDeque<Arc<Newcomer>>);

impl Newcomers {
    /// Lets one in.
    pub(super) fn welcome(&mut self) -> Arc<Newcomer> {
        while self.0.front().is_some_and(|oldest| !is_waited_for(oldest)) {
            self.0.pop_front();
        }
        let newcomer = Arc::new(Newcomer::default());
        self.0.push_back(newcomer.clone());
        newcomer
    }

    /// Sends the one away that has been here longest without asking for anything.
    pub(super) fn dismiss_the_oldest(&mut self) {
        while let Some(oldest) = self.0.pop_front() {
            if is_waited_for(&oldest) {
                return oldest.leave.notify_one();
            }
        }
    }
}

/// Whether it is still there and has not asked for anything: its connection has the other half.
fn is_waited_for(newcomer: &Arc<Newcomer>) -> bool {
    Arc::strong_count(newcomer) > 1 && !newcomer.has_asked.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_that_has_not_asked_makes_room() {
        let mut newcomers = Newcomers::default();
        let (asked, left, oldest, next) = (newcomers.welcome(), newcomers.welcome(), newcomers.welcome(), newcomers.welcome());
        asked.has_asked();
        drop(left);
        newcomers.dismiss_the_oldest();
        assert!(oldest.dismissed().now_or_never().is_some());
        assert!(asked.dismissed().now_or_never().is_none() && next.dismissed().now_or_never().is_none());
        // One that asks in the moment it is dismissed stays.
        newcomers.dismiss_the_oldest();
        next.has_asked();
        assert!(next.dismissed().now_or_never().is_none());
        newcomers.dismiss_the_oldest();
    }

    #[test]
    fn those_who_have_asked_or_left_are_forgotten() {
        let mut newcomers = Newcomers::default();
        for _ in 0..1_000 {
            newcomers.welcome().has_asked();
            drop(newcomers.welcome());
        }
        assert!(newcomers.0.len() <= 2, "{}", newcomers.0.len());
    }
}
