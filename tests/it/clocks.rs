//! Limits under a clock that somebody sets: random schedules of waiting, jumps, holds that stay open across boundaries, and settlements, on the real store.
//! The calendar of this test is its own, so that a mistake in the ledger's is seen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, civil::Weekday, tz::TimeZone};
use lava_mcp::{
    domain::{
        Cycle, HoldId, KeyId, KeySettings, Money, NewSpendKey, PlainKey, RequestId, RequestLimit, SpendLimit,
        key::{KeyKind, Pepper},
        ledger::{Basis, Ending, Outcome, Reserve, Settle, Subject},
    },
    store::{Clock, NewSecretKey, Store, guarded_clock},
};
use proptest::{prelude::*, test_runner::TestRunner};

const CYCLES: [Cycle; 4] = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total];
const LIMIT_N: i64 = 100;
const REQUESTS_MAX: u64 = 6;
const DAY_S: i64 = 86_400;

/// Moments at which calendars differ: a leap day, a year without one, a 53rd week, ends of years, months and weeks.
const STARTS: [&str; 8] = [
    "2028-02-28T23:00:00Z",
    "2028-02-29T12:00:00Z",
    "2100-02-28T23:59:00Z",
    "2026-12-27T22:00:00Z",
    "2026-12-31T23:59:58Z",
    "2021-01-03T23:00:00Z",
    "2026-11-29T23:59:59Z",
    "2027-01-31T20:00:00Z",
];

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        amount: i64,
        counted: bool,
    },
    /// Ends the hold that was opened so many holds ago with this share of its amount, in percent.
    Charge {
        back: usize,
        share: i64,
    },
    Void {
        back: usize,
        dispatched: bool,
    },
    /// Both clocks go on.
    Wait {
        seconds: i64,
    },
    /// The wall clock is set.
    Jump {
        seconds: i64,
    },
}

#[derive(Clone, Debug)]
struct Schedule {
    start: usize,
    spend: usize,
    requests: usize,
    steps: Vec<Step>,
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let jump = prop_oneof![
        3 => 1..=10_i64,
        3 => 10..=7_200_i64,
        3 => 7_200..=3 * DAY_S,
        3 => 3 * DAY_S..=40 * DAY_S,
    ];
    let step = prop_oneof![
        8 => (0..45_i64, prop::bool::weighted(0.7)).prop_map(|(amount, counted)| Step::Reserve { amount, counted }),
        4 => (0..5_usize, 0..=100_i64).prop_map(|(back, share)| Step::Charge { back, share }),
        1 => (0..5_usize, any::<bool>()).prop_map(|(back, dispatched)| Step::Void { back, dispatched }),
        2 => prop_oneof![1..60_i64, 60..=DAY_S, DAY_S..=9 * DAY_S].prop_map(|seconds| Step::Wait { seconds }),
        3 => (jump, any::<bool>()).prop_map(|(seconds, ahead)| Step::Jump { seconds: if ahead { seconds } else { -seconds } }),
    ];
    (0..STARTS.len(), 0..4_usize, 0..4_usize, prop::collection::vec(step, 1..40)).prop_map(|(start, spend, requests, steps)| Schedule {
        start,
        spend,
        requests,
        steps,
    })
}

/// A clock that is set, and one that only goes on. What the ledger sees of them is put in anew for each schedule.
#[derive(Clone)]
struct Clocks {
    times: Arc<Mutex<(Timestamp, Duration)>>,
    shown: Arc<Mutex<Clock>>,
}

impl Clocks {
    fn new() -> Self {
        let start: Timestamp = STARTS[0].parse().unwrap();
        Self { times: Arc::new(Mutex::new((start, Duration::from_secs(1)))), shown: Arc::new(Mutex::new(Arc::new(move || start))) }
    }

    fn begin(&self, start: Timestamp, is_guarded: bool) {
        self.set(start);
        let (wall, steady) = (self.clone(), self.clone());
        let clock: Clock = if is_guarded {
            guarded_clock(move || wall.wall(), move || steady.times.lock().unwrap().1)
        } else {
            Arc::new(move || wall.wall())
        };
        *self.shown.lock().unwrap() = clock;
    }

    fn wall(&self) -> Timestamp {
        self.times.lock().unwrap().0
    }

    fn set(&self, wall: Timestamp) {
        self.times.lock().unwrap().0 = wall;
    }

    fn wait(&self, seconds: i64) {
        let mut times = self.times.lock().unwrap();
        times.0 = after(times.0, seconds);
        times.1 += Duration::from_secs(seconds.unsigned_abs());
    }

    fn clock(&self) -> Clock {
        let shown = self.shown.clone();
        Arc::new(move || (shown.lock().unwrap())())
    }
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// The window of a cycle by the calendar: year with day, ISO week or month. Larger is later.
fn window(cycle: Cycle, time: Timestamp) -> (i16, i16) {
    let date = TimeZone::UTC.to_datetime(time).date();
    match cycle {
        Cycle::Daily => (date.year(), date.day_of_year()),
        Cycle::Weekly => (date.iso_week_date().year(), date.iso_week_date().week().into()),
        Cycle::Monthly => (date.year(), date.month().into()),
        Cycle::Total => (0, 0),
    }
}

/// How many boundaries of a cycle lie between two times, counted day by day.
fn boundaries(cycle: Cycle, from: Timestamp, to: Timestamp) -> usize {
    let (first, last) = (from.as_second().div_euclid(DAY_S), to.as_second().div_euclid(DAY_S));
    let days = (first + 1..=last).map(|day| TimeZone::UTC.to_datetime(Timestamp::from_second(day * DAY_S).unwrap()).date());
    days.filter(|date| match cycle {
        Cycle::Daily => true,
        Cycle::Weekly => date.weekday() == Weekday::Monday,
        Cycle::Monthly => date.day() == 1,
        Cycle::Total => false,
    })
    .count()
}

struct Held {
    id: HoldId,
    amount: i64,
    counted: bool,
    windows: [(i16, i16); 2],
    ended: Option<i64>,
    uncounted: bool,
}

/// A ledger that all schedules share, each with a key of its own. It lies in memory where the system has such a folder: this is about dates, not disks.
struct Books {
    _folder: tempfile::TempDir,
    store: Store,
    clocks: Clocks,
    rows: rusqlite::Connection,
    pepper: Pepper,
    runtime: tokio::runtime::Runtime,
}

impl Books {
    fn open() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = folder.path().join("ledger.db");
        let clocks = Clocks::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store = runtime.block_on(Store::open(&path, clocks.clock())).unwrap();
        let pepper = Pepper::from_bytes(&[1; 32]);
        let (hash, preview) = key(&pepper);
        let secret = NewSecretKey { id: "o".into(), hash, preview, name: "n".into(), test: false };
        runtime.block_on(store.create_secret_key(secret)).unwrap();
        Self { rows: rusqlite::Connection::open(&path).unwrap(), _folder: folder, store, clocks, pepper, runtime }
    }

    fn new_key(&self, spend: Cycle, requests: Cycle) -> KeyId {
        let id = KeyId::generate();
        let (hash, preview) = key(&self.pepper);
        let settings = KeySettings {
            name: "k".into(),
            spend_limit: Some(SpendLimit { amount: Money::from_nanos(LIMIT_N), cycle: spend }),
            request_limit: Some(RequestLimit { count: REQUESTS_MAX, cycle: requests }),
            ..KeySettings::default()
        };
        let new = NewSpendKey { id: id.clone(), owner: "o".into(), hash, preview, test: false, settings };
        self.wait(self.store.create_spend_key(new)).unwrap();
        id
    }

    fn windows(&self, key: &KeyId) -> [i64; 2] {
        let query = "SELECT spend_window, request_window FROM budget WHERE key_id = ?1";
        let mut statement = self.rows.prepare_cached(query).unwrap();
        statement.query_row([key.as_str()], |row| Ok([row.get(0)?, row.get(1)?])).unwrap()
    }

    /// Runs a schedule. `gain_max` is the largest jump ahead that is believed.
    fn run(&self, schedule: &Schedule, gain_max: Option<i64>) {
        let cycles = [CYCLES[schedule.spend], CYCLES[schedule.requests]];
        self.clocks.begin(STARTS[schedule.start].parse().unwrap(), gain_max.is_some());
        let key = self.new_key(cycles[0], cycles[1]);
        let mut believed = self.clocks.wall();
        let mut furthest = believed;
        let mut latest = [window(cycles[0], believed), window(cycles[1], believed)];
        let mut stored = self.windows(&key);
        // Windows that may be used: the first, each that waiting reaches, and one for each jump ahead.
        let mut allowed = [1, 1];
        let mut holds: Vec<Held> = Vec::new();
        for step in &schedule.steps {
            match *step {
                Step::Wait { seconds } => {
                    let before = believed;
                    self.clocks.wait(seconds);
                    (believed, furthest) = (after(believed, seconds), after(furthest, seconds));
                    for (allowed, cycle) in allowed.iter_mut().zip(cycles) {
                        *allowed += boundaries(cycle, before, believed);
                    }
                }
                Step::Jump { seconds } => {
                    let wall = after(self.clocks.wall(), seconds);
                    self.clocks.set(wall);
                    if gain_max.is_none_or(|most| wall.duration_since(furthest).as_secs() <= most) {
                        for (allowed, cycle) in allowed.iter_mut().zip(cycles) {
                            *allowed += usize::from(window(cycle, wall) > window(cycle, believed));
                        }
                        believed = wall;
                        furthest = furthest.max(wall);
                    }
                }
                Step::Reserve { amount, counted } => {
                    let now = [window(cycles[0], believed).max(latest[0]), window(cycles[1], believed).max(latest[1])];
                    let fits = amount == 0 || spent(&holds, now[0]) + amount <= LIMIT_N;
                    let counts = !counted || count(&holds, now[1]) < REQUESTS_MAX;
                    let id = HoldId::generate();
                    let reserve = Reserve {
                        test: false,
                        hold: id.clone(),
                        request: RequestId::generate(false),
                        key: key.clone(),
                        generation: 1,
                        amount: Money::from_nanos(amount),
                        counted,
                        subject: Subject::default(),
                    };
                    let admitted = self.wait(self.store.reserve(reserve)).unwrap();
                    assert_eq!(admitted.is_ok(), fits && counts, "{step:?} at {believed}: {admitted:?}");
                    if admitted.is_ok() {
                        latest = now;
                        holds.push(Held { id, amount, counted, windows: now, ended: None, uncounted: false });
                    }
                }
                Step::Charge { back, share } => {
                    let Some(at) = holds.len().checked_sub(back + 1) else { continue };
                    let cost = holds[at].amount * share / 100;
                    let outcome = Outcome::Charge { cost: Money::from_nanos(cost), basis: Basis::Measured, usage: None };
                    self.settle(&holds[at], outcome);
                    holds[at].ended.get_or_insert(cost);
                }
                Step::Void { back, dispatched } => {
                    let Some(at) = holds.len().checked_sub(back + 1) else { continue };
                    self.settle(&holds[at], Outcome::Void { dispatched });
                    holds[at].uncounted |= holds[at].ended.is_none() && !dispatched;
                    holds[at].ended.get_or_insert(0);
                }
            }
            let row = self.windows(&key);
            assert!(row[0] >= stored[0] && row[1] >= stored[1], "a window fell from {stored:?} to {row:?} at {step:?}");
            stored = row;
            let state = self.store.spend_key(&key).unwrap().unwrap();
            let now = [window(cycles[0], believed).max(latest[0]), window(cycles[1], believed).max(latest[1])];
            let shown = (state.current_spend.nanos() + state.held.nanos(), state.current_requests);
            assert_eq!(shown, (spent(&holds, now[0]), count(&holds, now[1])), "after {step:?} at {believed}");
        }
        let by_window = |of: usize| holds.iter().map(|hold| hold.windows[of]).collect::<std::collections::BTreeSet<_>>();
        for (of, allowed) in allowed.into_iter().enumerate() {
            let used = by_window(of);
            assert!(used.len() <= allowed, "{allowed} windows may be used, and {used:?} were");
        }
        assert!(by_window(0).into_iter().all(|window| spent(&holds, window) <= LIMIT_N));
        self.check_entries(&key);
        for hold in holds.iter().filter(|hold| hold.ended.is_none()) {
            self.settle(hold, Outcome::Void { dispatched: true });
        }
    }

    /// Entries and holds of each window by the ledger's own account.
    fn check_entries(&self, key: &KeyId) {
        let query = "SELECT spend_window, amount_n FROM entry WHERE key_id = ?1 UNION ALL SELECT spend_window, amount_n FROM hold WHERE key_id = ?1";
        let mut statement = self.rows.prepare_cached(query).unwrap();
        let mut sums: HashMap<i64, i64> = HashMap::new();
        let rows = statement.query_map([key.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).unwrap();
        for (window, amount) in rows.map(|row| row.unwrap()) {
            *sums.entry(window).or_default() += amount;
        }
        assert!(sums.values().all(|sum| *sum <= LIMIT_N), "{sums:?}");
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), work).await.expect("the ledger answers") })
    }

    fn settle(&self, hold: &Held, outcome: Outcome) {
        let settle = Settle { hold: hold.id.clone(), outcome, upstream_status: None, ending: Ending::NotSent };
        self.wait(self.store.settle(settle)).unwrap();
    }
}

fn key(pepper: &Pepper) -> (lava_mcp::domain::KeyHash, String) {
    let plain = PlainKey::generate(KeyKind::Spend).unwrap();
    (plain.hash(pepper), plain.preview())
}

fn spent(holds: &[Held], window: (i16, i16)) -> i64 {
    holds.iter().filter(|hold| hold.windows[0] == window).map(|hold| hold.ended.unwrap_or(hold.amount)).sum()
}

fn count(holds: &[Held], window: (i16, i16)) -> u64 {
    holds.iter().filter(|hold| hold.windows[1] == window && hold.counted && !hold.uncounted).count() as u64
}

/// How many schedules; `LAVA_CLOCKS` makes it more.
fn all_hold(gain_max: Option<i64>) {
    let cases = std::env::var("LAVA_CLOCKS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000) / 2;
    let books = Books::open();
    let config = ProptestConfig { cases, max_shrink_iters: 500, failure_persistence: None, ..ProptestConfig::default() };
    let run = |schedule| {
        books.run(&schedule, gain_max);
        Ok(())
    };
    // The error shows the smallest schedule that fails.
    TestRunner::new(config).run(&schedule(), run).unwrap_or_else(|error| panic!("{error}"));
    books.wait(books.store.close());
}

#[test]
fn no_clock_makes_a_window_fall_or_hold_more_than_its_limit() {
    all_hold(None);
}

#[test]
fn a_guarded_clock_opens_no_window_by_a_jump_of_more_than_a_day() {
    all_hold(Some(DAY_S));
}
