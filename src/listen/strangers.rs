//! Peers that try keys: after some that are well-formed and unknown, a peer's keys are not looked up for the rest of the minute.
//!
//! A key cannot be guessed, so this protects the ledger's reader from the work, not the keys. Programs of this machine share one address and are exempt.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::Peer;

/// As many unknown keys are looked up for a peer.
const TRIES_MAX: u32 = 10;
/// Counted from the first of them.
const WINDOW: Duration = Duration::from_secs(60);
/// Most peers that are remembered; the one that began longest ago makes room.
const PEERS_MAX: usize = 4_096;

struct Tries {
    since: Instant,
    count: u32,
}

/// The peers that tried unknown keys of late.
#[derive(Default)]
pub(crate) struct Strangers {
    peers: Mutex<HashMap<Peer, Tries>>,
    /// Whether there are any, so that as a rule no request waits for the lock.
    has_any: AtomicBool,
}

impl Strangers {
    /// How long a peer's keys are not looked up any more, if they are not.
    pub(crate) fn wait(&self, peer: Peer, now: Instant) -> Option<Duration> {
        if !self.has_any.load(Ordering::Relaxed) {
            return None;
        }
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = peers.get(&peer).filter(|tries| tries.count >= TRIES_MAX)?;
        WINDOW.checked_sub(now.saturating_duration_since(tries.since)).filter(|left| !left.is_zero())
    }

    /// Counts a key that was looked up in vain.
    pub(crate) fn count(&self, peer: Peer, now: Instant) {
        let is_over = |tries: &Tries| now.saturating_duration_since(tries.since) >= WINDOW;
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX && !peers.contains_key(&peer) {
            peers.retain(|_, tries| !is_over(tries));
            let oldest = peers.iter().min_by_key(|(_, tries)| tries.since).map(|(peer, _)| *peer);
            oldest.filter(|_| peers.len() >= PEERS_MAX).and_then(|oldest| peers.remove(&oldest));
        }
        let tries = peers.entry(peer).or_insert(Tries { since: now, count: 0 });
        if is_over(tries) {
            *tries = Tries { since: now, count: 0 };
        }
        tries.count = tries.count.saturating_add(1);
        self.has_any.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::of(std::net::SocketAddr::new(text.parse().unwrap(), 1)).unwrap()
    }

    #[test]
    fn the_eleventh_unknown_key_of_a_minute_is_not_looked_up() {
        let (strangers, began) = (Strangers::default(), Instant::now());
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let (one, other) = (peer("198.51.100.7"), peer("198.51.100.8"));
        for second in 0..10 {
            assert_eq!(strangers.wait(one, at(second)), None);
            strangers.count(one, at(second));
        }
        assert_eq!(strangers.wait(one, at(9)), Some(Duration::from_secs(51)));
        assert_eq!(strangers.wait(one, at(59)), Some(Duration::from_secs(1)));
        assert_eq!(strangers.wait(other, at(9)), None);
        // A minute after the first one it begins anew.
        assert_eq!(strangers.wait(one, at(60)), None);
        (0..9).for_each(|_| strangers.count(one, at(61)));
        assert_eq!(strangers.wait(one, at(62)), None);
        strangers.count(one, at(62));
        assert_eq!(strangers.wait(one, at(62)), Some(Duration::from_secs(59)));
    }

    #[test]
    fn memory_is_bounded_and_who_is_stopped_stays_so_while_there_is_room() {
        let (strangers, began) = (Strangers::default(), Instant::now());
        let last = peer("203.0.113.9");
        for n in 0..6_000_u32 {
            strangers.count(peer(&std::net::Ipv4Addr::from(n).to_string()), began + Duration::from_millis(n.into()));
        }
        let now = began + Duration::from_secs(6);
        (0..10).for_each(|_| strangers.count(last, now));
        assert_eq!(strangers.peers.lock().unwrap().len(), PEERS_MAX);
        assert!(strangers.wait(last, now).is_some());
        strangers.count(peer("203.0.113.10"), now + WINDOW);
        assert_eq!(strangers.peers.lock().unwrap().len(), 1, "what is over makes room first");
    }
}
