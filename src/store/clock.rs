//! The time that windows, expiry and entries go by: the wall clock, as long as it can be believed.
//!
//! Each time a wall clock is set ahead, limits start anew before their time. A second clock, which nobody sets and which goes on while the machine sleeps,
//! tells such a jump from time that has passed. A clock that goes back needs no guard: the ledger's rows never do.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

/// Where the ledger takes the time from. The gateway shares it, so a test can move it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A wall clock that has gained more than this is not believed. A person or a time server that sets it right stays below.
const GAIN_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The wall clock, guarded where the system has a steady clock that counts sleep: on Linux and Android.
pub fn wall_clock() -> Clock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return guarded_clock(Timestamp::now, since_boot);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    Arc::new(Timestamp::now)
}

/// A wall clock that is not believed when it jumps ahead by more than a day of what the steady clock says. Time then goes on by the steady clock, until the
/// wall clock agrees again or the process starts anew.
pub fn guarded_clock(wall: impl Fn() -> Timestamp + Send + Sync + 'static, steady: impl Fn() -> Duration + Send + Sync + 'static) -> Clock {
    let guard = Mutex::new(Guard::new(wall(), steady()));
    Arc::new(move || {
        // Both clocks are read under the lock: readings that overtake each other would look like jumps.
        let mut guard = guard.lock().unwrap_or_else(PoisonError::into_inner);
        guard.read(wall(), steady())
    })
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What both clocks said at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: Timestamp,
    steady: Duration,
}

impl Reading {
    /// The time that it is now, if the wall clock was not set since.
    fn carried_to(self, steady: Duration) -> Timestamp {
        let passed = SignedDuration::try_from(steady.saturating_sub(self.steady)).unwrap_or(SignedDuration::MAX);
        self.wall.checked_add(passed).unwrap_or(Timestamp::MAX)
    }
}

struct Guard {
    /// The last reading that was believed.
    last: Reading,
    /// The one that is furthest ahead. A clock that was set back may return to it: those windows are open already.
    furthest: Reading,
    is_alarmed: bool,
}

impl Guard {
    const fn new(wall: Timestamp, steady: Duration) -> Self {
        let first = Reading { wall, steady };
        Self { last: first, furthest: first, is_alarmed: false }
    }

    fn read(&mut self, wall: Timestamp, steady: Duration) -> Timestamp {
        let gain = wall.duration_since(self.furthest.carried_to(steady));
        if gain > GAIN_MAX {
            let used = self.last.carried_to(steady);
            if !std::mem::replace(&mut self.is_alarmed, true) {
                tracing::error!(%wall, %used, "the clock jumped ahead and is not believed; if it is right, restart lava-mcp");
            }
            return used;
        }
        self.is_alarmed = false;
        self.last = Reading { wall, steady };
        if gain >= SignedDuration::ZERO {
            self.furthest = self.last;
        }
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    /// Reads a guard at (steady, wall) seconds since its start; gives what it says in the same seconds.
    fn read(readings: &[(u64, i64)]) -> Vec<i64> {
        let start: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let mut guard = Guard::new(start, Duration::from_secs(1_000));
        let one = |&(steady, wall): &(u64, i64)| {
            let wall = start.checked_add(SignedDuration::from_secs(wall)).unwrap();
            guard.read(wall, Duration::from_secs(1_000 + steady)).duration_since(start).as_secs()
        };
        readings.iter().map(one).collect()
    }

    #[test]
    fn time_that_passed_is_believed_however_long_the_machine_slept() {
        let year = 365 * DAY_S;
        assert_eq!(read(&[(1, 1), (year.unsigned_abs(), year)]), [1, year]);
    }

    #[test]
    fn a_clock_that_is_set_right_is_believed() {
        assert_eq!(read(&[(1, 3_601), (2, DAY_S + 3_601), (3, 3)]), [3_601, DAY_S + 3_601, 3]);
    }

    #[test]
    fn a_jump_ahead_is_not_believed_and_time_goes_on() {
        let far = 40 * DAY_S;
        assert_eq!(read(&[(10, 10), (20, far), (3_620, far + 3_600), (3_630, 3_630), (3_640, far)]), [10, 20, 3_620, 3_630, 3_640]);
        assert_eq!(read(&[(1, DAY_S + 2)]), [1], "one second more than a day");
    }

    #[test]
    fn a_clock_that_was_set_back_may_return() {
        let back = -40 * DAY_S;
        assert_eq!(read(&[(1, back), (2, back + 1), (3, 3), (4, back), (5, 30 * DAY_S)]), [back, back + 1, 3, back, back + 1]);
    }

    #[test]
    fn the_wall_clock_of_this_machine_is_believed() {
        let clock = wall_clock();
        let (before, read, after) = (Timestamp::now(), clock(), Timestamp::now());
        assert!(before <= read && read <= after);
    }
}
