//! Who has a connection, and who makes room when places run short: first those that have not asked for anything, then those that have been idle longest. An honest
//! client is neither for long; one that answers nothing but pings is.
//!
//! A connection is idle while nothing is asked of us: between requests, and while its client takes nothing of an answer that is there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Peer;

/// A client that has asked is not sent away while it is only about to ask again.
const IDLE_MIN: Duration = Duration::from_secs(1);
/// A client that takes nothing of an answer is slow, until this long.
const SLOW_MAX: Duration = Duration::from_secs(30);

/// One connection, from its beginning to its end.
pub(super) struct Guest {
    /// Whose connections are counted with this one.
    peer: Option<Peer>,
    began: Instant,
    has_asked: AtomicBool,
    /// Requests whose answers have not ended.
    open: AtomicUsize,
    /// Those of them that wait for us, and not for the client.
    working: AtomicUsize,
    /// In milliseconds from the beginning.
    idle_since_ms: AtomicU64,
    is_dismissed: AtomicBool,
    leave: Notify,
}

impl Guest {
    fn new(peer: Option<Peer>) -> Self {
        Self {
            peer,
            began: Instant::now(),
            has_asked: AtomicBool::default(),
            open: AtomicUsize::default(),
            working: AtomicUsize::default(),
            idle_since_ms: AtomicU64::default(),
            is_dismissed: AtomicBool::default(),
            leave: Notify::default(),
        }
    }

    /// It asks for something.
    pub(super) fn asks(self: &Arc<Self>) -> Turn {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.working.fetch_add(1, Ordering::Relaxed);
        self.has_asked.store(true, Ordering::Relaxed);
        self.is_dismissed.store(false, Ordering::Relaxed);
        Turn { guest: self.clone(), is_ours: true }
    }

    /// Resolves when it has to go, unless it has asked for something in the meantime.
    pub(super) async fn dismissed(&self) {
        loop {
            self.leave.notified().await;
            if self.is_dismissed.load(Ordering::Relaxed) && self.working.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    fn idle_for(&self, now: Instant) -> Duration {
        let since = self.began + Duration::from_millis(self.idle_since_ms.load(Ordering::Relaxed));
        now.saturating_duration_since(since)
    }

    /// How soon it has to go: by its kind, then by how long it has been idle. `None` while it may stay.
    fn order(&self, now: Instant) -> Option<(u8, Instant)> {
        let idle = self.idle_for(now);
        let since = now.checked_sub(idle).unwrap_or(self.began);
        if self.is_dismissed.load(Ordering::Relaxed) || self.working.load(Ordering::Relaxed) > 0 {
            None
        } else if !self.has_asked.load(Ordering::Relaxed) {
            Some((0, since))
        } else if self.open.load(Ordering::Relaxed) == 0 {
            (idle >= IDLE_MIN).then_some((1, since))
        } else {
            (idle >= SLOW_MAX).then_some((2, since))
        }
    }
}

/// One request of a guest, and whose turn it is: ours while it is worked on, the client's while there is something for it to take.
pub(super) struct Turn {
    guest: Arc<Guest>,
    is_ours: bool,
}

impl Turn {
    pub(super) fn is_ours(&mut self, is_ours: bool) {
        if self.is_ours == is_ours {
            return;
        }
        self.is_ours = is_ours;
        if is_ours {
            self.guest.working.fetch_add(1, Ordering::Relaxed);
        } else {
            self.guest.is_idle_now();
            self.guest.working.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.is_ours(false);
        self.guest.is_idle_now();
        self.guest.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guest {
    fn is_idle_now(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle_since_ms.store(since, Ordering::Relaxed);
    }
}

/// All connections. Only the loop that accepts them has this.
#[derive(Default)]
pub(super) struct Places(Vec<Arc<Guest>>);

impl Places {
    /// Lets one in.
    pub(super) fn welcome(&mut self, peer: Option<Peer>) -> Arc<Guest> {
        self.forget_the_gone();
        let guest = Arc::new(Guest::new(peer));
        self.0.push(guest.clone());
        guest
    }

    /// How many connections a peer has that are not about to end.
    pub(super) fn count(&mut self, peer: Peer) -> usize {
        self.forget_the_gone();
        self.0.iter().filter(|guest| guest.peer == Some(peer) && !guest.is_dismissed.load(Ordering::Relaxed)).count()
    }

    /// Sends one away, of this peer if one is named. `false` when all of them are busy.
    pub(super) fn dismiss_one(&self, peer: Option<Peer>) -> bool {
        let now = Instant::now();
        let candidates = self.0.iter().filter(|guest| Arc::strong_count(guest) > 1 && (peer.is_none() || guest.peer == peer));
        let Some((_, first)) = candidates.filter_map(|guest| Some((guest.order(now)?, guest))).min_by_key(|(order, _)| *order) else {
            return false;
        };
        first.is_dismissed.store(true, Ordering::Relaxed);
        first.leave.notify_one();
        true
    }

    /// A connection that has ended holds no other half.
    fn forget_the_gone(&mut self) {
        self.0.retain(|guest| Arc::strong_count(guest) > 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn peer(text: &str) -> Option<Peer> {
        Peer::of(std::net::SocketAddr::new(text.parse().unwrap(), 1))
    }

    /// As if everything had happened that much earlier.
    fn age(guest: &mut Arc<Guest>, by: Duration) {
        Arc::get_mut(guest).unwrap().began -= by;
    }

    /// A guest of that age, after it has been told to somebody.
    fn old(places: &mut Places, from: Option<Peer>, by: Duration) -> Arc<Guest> {
        let mut guest = Arc::new(Guest::new(from));
        age(&mut guest, by);
        places.0.push(guest.clone());
        guest
    }

    fn has_to_go(guest: &Guest) -> bool {
        guest.dismissed().now_or_never().is_some()
    }

    #[test]
    fn who_has_not_asked_goes_before_who_is_idle_and_nobody_goes_whose_request_we_work_on() {
        let mut places = Places::default();
        let guests: Vec<_> = (0..5).map(|n| old(&mut places, None, Duration::from_secs(100 - n))).collect();
        let [working, idle, stalled, silent, next] = guests.as_slice() else { panic!() };
        let _turn = working.asks();
        // Both have had an answer long ago; one has taken it, the other has not.
        drop(idle.asks());
        let mut untaken = stalled.asks();
        untaken.is_ours(false);
        for guest in [idle, stalled] {
            guest.idle_since_ms.store(0, Ordering::Relaxed);
        }
        for expected in [silent, next, idle, stalled] {
            assert!(places.dismiss_one(None));
            assert!(has_to_go(expected));
        }
        assert!(!places.dismiss_one(None) && !has_to_go(working));
    }

    #[test]
    fn one_that_asks_in_the_moment_it_is_dismissed_stays() {
        let mut places = Places::default();
        let guest = places.welcome(None);
        assert!(places.dismiss_one(None));
        let turn = guest.asks();
        assert!(!has_to_go(&guest));
        drop(turn);
        assert!(!places.dismiss_one(None), "it has only just been served");
    }

    #[test]
    fn a_peer_makes_room_by_itself_and_the_gone_are_forgotten() {
        let mut places = Places::default();
        let (one, other) = (peer("198.51.100.7"), peer("198.51.100.8"));
        let (first, second, third) = (places.welcome(other), places.welcome(one), places.welcome(one));
        assert_eq!(places.count(one.unwrap()), 2);
        assert!(places.dismiss_one(one) && has_to_go(&second) && !has_to_go(&first));
        assert_eq!(places.count(one.unwrap()), 1);
        drop((second, third));
        assert!(!places.dismiss_one(one));
        for _ in 0..1_000 {
            drop(places.welcome(None).asks());
        }
        assert!(places.0.len() <= 2, "{}", places.0.len());
    }
}
