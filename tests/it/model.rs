//! The ledger against a model of what it promises: random operations on the real store, and after each one the same question to both.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use lava_mcp::{
    domain::{
        Cycle, HoldId, KeyId, KeySettings, Money, NewSpendKey, PlainKey, RequestId, RequestLimit, SpendLimit, Status,
        key::{KeyKind, Pepper},
        ledger::{Basis, Ending, Outcome, Refusal, Reserve, Settle, Subject, WriteOff},
    },
    store::{NewSecretKey, Store},
};
use proptest::prelude::*;

use crate::test_clock::TestClock;

const CYCLES: [Cycle; 4] = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total];

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        amount: i64,
        counted: bool,
    },
    /// Ends the hold that was opened so many holds ago; it may have ended already.
    Charge {
        back: usize,
        cost: i64,
    },
    Void {
        back: usize,
        dispatched: bool,
    },
    Wait {
        hours: i64,
    },
    Limit {
        amount: i64,
        cycle: usize,
    },
    Pause(bool),
    /// Sets a lid over all keys, or lifts it.
    Lid(Option<(i64, usize)>),
    /// Takes the charge for the hold that was opened so many holds ago back, if it is suspect.
    WriteOff {
        back: usize,
    },
    /// Lets keys with a limit buy again what has cost more than it could.
    SellAgain,
    /// Closes the store with what is open, and opens it again: the holds become charges.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_i64, any::<bool>()).prop_map(|(amount, counted)| Step::Reserve { amount, counted }),
        5 => (0..6_usize, 0..60_i64).prop_map(|(back, cost)| Step::Charge { back, cost }),
        2 => (0..6_usize, any::<bool>()).prop_map(|(back, dispatched)| Step::Void { back, dispatched }),
        3 => (-30..200_i64).prop_map(|hours| Step::Wait { hours }),
        1 => (1..150_i64, 0..4_usize).prop_map(|(amount, cycle)| Step::Limit { amount, cycle }),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => prop_oneof![3 => (1..120_i64, 0..4_usize).prop_map(Some), 1 => Just(None)].prop_map(Step::Lid),
        1 => (0..6_usize).prop_map(|back| Step::WriteOff { back }),
        2 => Just(Step::SellAgain),
        1 => Just(Step::Crash),
    ]
}

/// What a hold is to the model: when it was opened, what for, how it ended.
#[derive(Clone, Debug)]
struct Held {
    opened: Timestamp,
    amount: i64,
    counted: bool,
    ended: Option<i64>,
    uncounted: bool,
    suspect: bool,
    is_written_off: bool,
    /// When it was opened, by the account's own time.
    on_account: Timestamp,
}

struct Model {
    holds: Vec<Held>,
    limit: SpendLimit,
    requests: RequestLimit,
    paused: bool,
    /// The key's own time: the latest at which it opened a hold or was changed. It never goes back.
    latest: Timestamp,
    lid: Option<SpendLimit>,
    account_latest: Timestamp,
    mispriced: bool,
}

impl Model {
    /// Holds of the window that counts at `now`.
    fn current(&self, cycle: Cycle, now: Timestamp) -> impl Iterator<Item = &Held> {
        let window = cycle.window(now.max(self.latest));
        self.holds.iter().filter(move |hold| cycle.window(hold.opened) == window)
    }

    fn spent(&self, now: Timestamp) -> i64 {
        self.current(self.limit.cycle, now).filter_map(|hold| hold.ended).sum()
    }

    fn held(&self, now: Timestamp) -> i64 {
        self.current(self.limit.cycle, now).filter(|hold| hold.ended.is_none()).map(|hold| hold.amount).sum()
    }

    fn count(&self, now: Timestamp) -> u64 {
        self.current(self.requests.cycle, now).filter(|hold| hold.counted && !hold.uncounted).count() as u64
    }

    /// Spent and held of all keys in the lid's cycle.
    fn on_account(&self, lid: SpendLimit, now: Timestamp) -> i64 {
        let window = lid.cycle.window(now.max(self.account_latest));
        self.holds.iter().filter(|hold| lid.cycle.window(hold.on_account) == window).map(|hold| hold.ended.unwrap_or(hold.amount)).sum()
    }

    fn recount_account(&mut self) {
        self.holds.iter_mut().for_each(|hold| hold.on_account = hold.opened);
    }

    fn admits(&self, amount: i64, counted: bool, now: Timestamp) -> bool {
        let fits = amount == 0
            || (self.spent(now) + self.held(now) + amount <= self.limit.amount.nanos()
                && self.lid.is_none_or(|lid| self.on_account(lid, now) + amount <= lid.amount.nanos())
                && !self.mispriced);
        !self.paused && fits && !(counted && self.count(now) >= self.requests.count)
    }
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let clock = TestClock::at("2026-11-24T12:00:00Z");
    let mut now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let mut store = Store::open(&path, clock.clock()).await.unwrap();
    let pepper = Pepper::from_bytes(&[1; 32]);
    let new = |kind| {
        let key = PlainKey::generate(kind).unwrap();
        (key.hash(&pepper), key.preview())
    };
    let (hash, preview) = new(KeyKind::SecretLive);
    store.create_secret_key(NewSecretKey { id: "o".into(), hash, preview, name: "n".into(), test: false }).await.unwrap();
    let (hash, preview) = new(KeyKind::Spend);
    let key = KeyId::generate();
    let limit = SpendLimit { amount: Money::from_nanos(100), cycle: Cycle::Daily };
    let requests = RequestLimit { count: 6, cycle: Cycle::Weekly };
    let settings = KeySettings { name: "k".into(), spend_limit: Some(limit), request_limit: Some(requests), ..KeySettings::default() };
    store.create_spend_key(NewSpendKey { id: key.clone(), owner: "o".into(), hash, preview, test: false, settings }).await.unwrap();
    let mut model =
        Model { holds: Vec::new(), limit, requests, paused: false, latest: now, lid: None, account_latest: now, mispriced: false };
    let mut ids: Vec<HoldId> = Vec::new();
    let mut place: HashMap<usize, usize> = HashMap::new();

    for step in steps {
        let nth = |back: usize| ids.len().checked_sub(back + 1).map(|at| (ids[at].clone(), place[&at]));
        match step.clone() {
            Step::Reserve { amount, counted } => {
                let hold = HoldId::generate();
                let reserve = Reserve {
                    test: false,
                    hold: hold.clone(),
                    request: RequestId::generate(false),
                    key: key.clone(),
                    generation: 1,
                    amount: Money::from_nanos(amount),
                    counted,
                    subject: Subject::default(),
                };
                let admitted = store.reserve(reserve).await.unwrap();
                assert_eq!(admitted.is_ok(), model.admits(amount, counted, now), "{step:?}: {admitted:?}");
                if let Err(refusal) = admitted {
                    assert_eq!(refusal == Refusal::KeyPaused, model.paused, "{refusal:?}");
                    continue;
                }
                // A hold belongs to the window that counts, even if the clock has gone back before it.
                let opened = now.max(model.latest);
                model.latest = opened;
                place.insert(ids.len(), model.holds.len());
                ids.push(hold);
                if model.lid.is_some() {
                    model.account_latest = model.account_latest.max(now);
                }
                let on_account = model.account_latest;
                model.holds.push(Held {
                    opened,
                    amount,
                    counted,
                    ended: None,
                    uncounted: false,
                    suspect: false,
                    is_written_off: false,
                    on_account,
                });
            }
            Step::Charge { back, cost } => {
                let Some((hold, at)) = nth(back) else { continue };
                let outcome = Outcome::Charge { cost: Money::from_nanos(cost), basis: Basis::Measured, usage: None };
                store.settle(Settle { hold, outcome, upstream_status: Some(200), ending: Ending::Complete }).await.unwrap();
                if model.holds[at].ended.is_none() {
                    model.holds[at].ended = Some(cost);
                    model.mispriced |= cost > model.holds[at].amount;
                }
            }
            Step::Void { back, dispatched } => {
                let Some((hold, at)) = nth(back) else { continue };
                store
                    .settle(Settle { hold, outcome: Outcome::Void { dispatched }, upstream_status: None, ending: Ending::NotSent })
                    .await
                    .unwrap();
                if model.holds[at].ended.is_none() {
                    model.holds[at].ended = Some(0);
                    model.holds[at].uncounted = !dispatched;
                }
            }
            Step::Wait { hours } => {
                now = now.checked_add(SignedDuration::from_hours(hours)).unwrap();
                clock.set(&now.to_string());
            }
            Step::Limit { amount, cycle } => {
                let limit = SpendLimit { amount: Money::from_nanos(amount), cycle: CYCLES[cycle] };
                store.change_spend_key(key.clone(), Box::new(move |settings| settings.spend_limit = Some(limit))).await.unwrap();
                model.latest = model.latest.max(now);
                model.limit = limit;
            }
            Step::Pause(paused) => {
                let status = if paused { Status::Paused } else { Status::Active };
                store.change_spend_key(key.clone(), Box::new(move |settings| settings.status = status)).await.unwrap();
                model.paused = paused;
                model.latest = model.latest.max(now);
            }
            Step::Crash => {
                store.close().await;
                store = Store::open(&path, clock.clock()).await.unwrap();
                for hold in model.holds.iter_mut().filter(|hold| hold.ended.is_none()) {
                    hold.ended = Some(hold.amount);
                    hold.suspect = true;
                }
            }
            Step::Lid(lid) => {
                let lid = lid.map(|(amount, cycle)| SpendLimit { amount: Money::from_nanos(amount), cycle: CYCLES[cycle] });
                store.limit_account(false, lid).await.unwrap();
                let latest = model.account_latest.max(now).max(model.latest);
                let counts_already = model
                    .lid
                    .zip(lid)
                    .is_some_and(|(old, new)| old.cycle == new.cycle && new.cycle.window(latest) == new.cycle.window(model.account_latest));
                model.lid = lid;
                model.account_latest = latest;
                if !counts_already {
                    model.recount_account();
                }
            }
            Step::WriteOff { back } => {
                let Some((hold, at)) = nth(back) else { continue };
                let written_off = store.write_off(false, hold, "not billed".to_owned()).await.unwrap();
                let hold = &mut model.holds[at];
                let expected = match (hold.suspect, hold.is_written_off) {
                    // A charge of nothing has nothing to give back.
                    (true, false) if hold.ended.unwrap_or_default() == 0 => WriteOff::NoSuch,
                    (true, false) => WriteOff::Done(Money::from_nanos(hold.ended.unwrap_or_default())),
                    (true, true) => WriteOff::Already,
                    (false, _) => WriteOff::NoSuch,
                };
                assert_eq!(written_off, expected);
                if matches!(written_off, WriteOff::Done(_)) {
                    (hold.ended, hold.is_written_off) = (Some(0), true);
                    model.latest = model.latest.max(now);
                }
            }
            Step::SellAgain => {
                assert_eq!(store.sell_again(String::new(), String::new()).await.unwrap(), model.mispriced);
                model.mispriced = false;
            }
        }
        let row = store.spend_key(&key).unwrap().unwrap();
        let state = (row.current_spend.nanos(), row.held.nanos(), row.current_requests);
        assert_eq!(state, (model.spent(now), model.held(now), model.count(now)), "after {step:?}");
        let account = store.account(false).unwrap();
        if let Some(lid) = model.lid {
            assert_eq!(account.spent.nanos() + account.held.nanos(), model.on_account(lid, now), "after {step:?}");
        }
        let all: i64 = model.holds.iter().filter_map(|hold| hold.ended).sum();
        assert_eq!(row.total_spend.nanos(), all, "after {step:?}");
    }
    store.close().await;
}

/// How many runs; `LAVA_MODEL_RUNS` makes it more.
fn cases() -> u32 {
    std::env::var("LAVA_MODEL_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_does_what_its_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
