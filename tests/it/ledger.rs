//! The ledger's rules, on the store itself: windows, processes that die, damage.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use lava_mcp::{
    domain::{
        Cycle, HoldId, KeyId, KeySettings, Money, NewSpendKey, PlainKey, RateLimit, RequestId, RequestLimit, SpendLimit, Status, Usage,
        key::{KeyKind, Pepper},
        ledger::{Basis, Ending, Outcome, Refusal, Reserve, Settle, Subject},
    },
    store::{NewSecretKey, Store, StoreError, wall_clock},
};

use crate::test_clock::TestClock;

struct Books {
    store: Store,
    key: KeyId,
}

async fn open(path: &Path, clock: &TestClock) -> Store {
    Store::open(path, clock.clock()).await.unwrap()
}

async fn books(path: &Path, clock: &TestClock, limit: &str) -> Books {
    let store = open(path, clock).await;
    let pepper = Pepper::from_bytes(&[1; 32]);
    let secret = PlainKey::generate(KeyKind::SecretLive).unwrap();
    let (hash, preview) = (secret.hash(&pepper), secret.preview());
    store.create_secret_key(NewSecretKey { id: "owner".into(), hash, preview, name: "n".into(), test: false }).await.unwrap();
    let plain = PlainKey::generate(KeyKind::Spend).unwrap();
    let settings = KeySettings { name: "k".into(), spend_limit: Some(SpendLimit::parse_short(limit).unwrap()), ..KeySettings::default() };
    let key = KeyId::generate();
    let (hash, preview) = (plain.hash(&pepper), plain.preview());
    store.create_spend_key(NewSpendKey { id: key.clone(), owner: "owner".into(), hash, preview, test: false, settings }).await.unwrap();
    Books { store, key }
}

impl Books {
    async fn hold(&self, dollars: i32) -> Result<HoldId, Refusal> {
        self.hold_counted(dollars, true).await
    }

    async fn hold_counted(&self, dollars: i32, counted: bool) -> Result<HoldId, Refusal> {
        let hold = HoldId::generate();
        let reserve = Reserve {
            test: false,
            hold: hold.clone(),
            request: RequestId::generate(false),
            key: self.key.clone(),
            generation: 1,
            amount: Money::from_dollars(dollars),
            counted,
            subject: Subject::default(),
        };
        self.store.reserve(reserve).await.unwrap().map(|_| hold)
    }

    async fn charge(&self, hold: HoldId, dollars: i32) {
        let outcome = Outcome::Charge { cost: Money::from_dollars(dollars), basis: Basis::Measured, usage: Some(Usage::text(1, 1)) };
        self.store.settle(Settle { hold, outcome, upstream_status: Some(200), ending: Ending::Complete }).await.unwrap();
    }

    fn state(&self) -> (Money, Money) {
        let key = self.store.spend_key(&self.key).unwrap().unwrap();
        (key.current_spend, key.held)
    }
}

fn dollars(spent: i32, held: i32) -> (Money, Money) {
    (Money::from_dollars(spent), Money::from_dollars(held))
}

/// Between the look at a key and its hold the key may change: the statement that opens the hold decides by itself.
#[tokio::test]
async fn the_hold_itself_is_refused_to_a_key_that_may_not_pay() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2026-11-24T12:00:00Z");
    let books = books(&folder.path().join("l.db"), &clock, "10.00/daily").await;
    let set = async |change: fn(&mut KeySettings)| drop(books.store.change_spend_key(books.key.clone(), Box::new(change)).await.unwrap());
    set(|settings| settings.expires_at = Some("2026-11-24T13:00:00Z".parse().unwrap())).await;
    clock.set("2026-11-24T12:59:59Z");
    books.hold(1).await.unwrap();
    clock.set("2026-11-24T13:00:00Z");
    assert!(matches!(books.hold(1).await, Err(Refusal::KeyExpired)));
    set(|settings| settings.expires_at = None).await;
    books.hold(1).await.unwrap();
    set(|settings| settings.status = Status::Paused).await;
    assert!(matches!(books.hold(1).await, Err(Refusal::KeyPaused)));
    set(|settings| settings.status = Status::Active).await;
    books.hold(1).await.unwrap();
    let fresh = PlainKey::generate(KeyKind::Spend).unwrap();
    let (hash, preview) = (fresh.hash(&Pepper::from_bytes(&[1; 32])), fresh.preview());
    books.store.rotate_spend_key(books.key.clone(), hash, preview).await.unwrap();
    assert!(matches!(books.hold(1).await, Err(Refusal::KeyGone)), "the old generation");
    books.store.revoke_spend_key(books.key.clone()).await.unwrap();
    assert!(matches!(books.hold(1).await, Err(Refusal::KeyGone)));
    // None of the refusals has held anything.
    let held: i64 = rusqlite::Connection::open(folder.path().join("l.db"))
        .unwrap()
        .query_row("SELECT held_n FROM budget WHERE key_id = ?1", [books.key.as_str()], |row| row.get(0))
        .unwrap();
    assert_eq!(held, 3 * 1_000_000_000);
}

#[tokio::test]
async fn held_money_counts_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let books = books(&folder.path().join("l.db"), &TestClock::at("2026-11-24T12:00:00Z"), "10.00/daily").await;
    let first = books.hold(6).await.unwrap();
    let Err(Refusal::SpendLimit(short)) = books.hold(5).await else { panic!("6 + 5 is more than 10") };
    assert!(short.is_only_held());
    let Err(Refusal::SpendLimit(too_much)) = books.hold(11).await else { panic!("11 is more than 10") };
    assert!(!too_much.is_only_held(), "it would not fit if all that is held came back");
    assert_eq!((short.available(), short.asked), dollars(4, 5));
    books.charge(first, 2).await;
    assert_eq!(books.state(), dollars(2, 0));
    let second = books.hold(8).await.unwrap();
    books
        .store
        .settle(Settle { hold: second, outcome: Outcome::Void { dispatched: false }, upstream_status: None, ending: Ending::NotSent })
        .await
        .unwrap();
    assert_eq!(books.state(), dollars(2, 0));
    assert_eq!(books.store.spend_key(&books.key).unwrap().unwrap().total_requests, 1, "what was never sent does not count");
}

#[tokio::test]
async fn a_hold_ends_once() {
    let folder = tempfile::tempdir().unwrap();
    let books = books(&folder.path().join("l.db"), &TestClock::at("2026-11-24T12:00:00Z"), "10.00/daily").await;
    let hold = books.hold(6).await.unwrap();
    let ends = (1..=20).map(|cost| books.charge(hold.clone(), cost));
    futures_util::future::join_all(ends).await;
    assert_eq!(books.state(), dollars(1, 0), "the first one counts");
}

#[tokio::test]
async fn a_rotation_between_check_and_hold_refuses_the_hold() {
    let folder = tempfile::tempdir().unwrap();
    let books = books(&folder.path().join("l.db"), &TestClock::at("2026-11-24T12:00:00Z"), "10.00/daily").await;
    assert!(books.hold(1).await.is_ok());
    let new = PlainKey::generate(KeyKind::Spend).unwrap();
    let pepper = Pepper::from_bytes(&[1; 32]);
    books.store.rotate_spend_key(books.key.clone(), new.hash(&pepper), new.preview()).await.unwrap();
    // The caller was authorised with the value of generation 1.
    assert_eq!(books.hold(1).await.unwrap_err(), Refusal::KeyGone);
}

#[tokio::test]
async fn what_costs_nothing_goes_on_when_the_limit_is_overspent() {
    let folder = tempfile::tempdir().unwrap();
    let books = books(&folder.path().join("l.db"), &TestClock::at("2026-11-24T12:00:00Z"), "10.00/daily").await;
    let hold = books.hold(6).await.unwrap();
    books.charge(hold, 15).await;
    assert_eq!(books.state(), dollars(15, 0), "more than the hold is booked in full");
    assert!(matches!(books.hold(1).await, Err(Refusal::SpendLimit(_))));
    assert!(books.hold(0).await.is_ok());
}

#[tokio::test]
async fn an_operation_that_cannot_be_applied_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let books = books(&folder.path().join("l.db"), &TestClock::at("2026-11-24T12:00:00Z"), "10.00/daily").await;
    let holds = [books.hold(1).await.unwrap(), books.hold(1).await.unwrap(), books.hold(1).await.unwrap()];
    let end = |hold: &HoldId, cost| {
        let outcome = Outcome::Charge { cost, basis: Basis::Measured, usage: None };
        books.store.settle(Settle { hold: hold.clone(), outcome, upstream_status: None, ending: Ending::NotSent })
    };
    // The second of two largest numbers does not fit a column; the third settlement is in the same batch.
    let ends = tokio::join!(end(&holds[0], Money::MAX), end(&holds[1], Money::MAX), end(&holds[2], Money::ZERO));
    assert!(ends.0.is_ok() && ends.1.is_err() && ends.2.is_ok(), "{ends:?}");
    assert_eq!(books.state().1, Money::from_dollars(1), "the hold stays, and counts");
    end(&holds[1], Money::ZERO).await.unwrap();
    assert_eq!(books.state(), (Money::MAX, Money::ZERO), "the ledger works on");
}

#[tokio::test]
async fn a_new_window_begins_empty_and_old_holds_belong_to_the_old_one() {
    for (limit, during, boundary) in [
        ("10.00/daily", "2026-11-24T23:59:59Z", "2026-11-25T00:00:00Z"),
        ("10.00/weekly", "2026-11-29T23:59:59Z", "2026-11-30T00:00:00Z"),
        ("10.00/monthly", "2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::at(during);
        let books = books(&folder.path().join("l.db"), &clock, limit).await;
        let old = books.hold(9).await.unwrap();
        assert!(books.hold(2).await.is_err(), "{limit}");
        clock.set(boundary);
        let new = books.hold(10).await.unwrap();
        assert_eq!(books.state(), dollars(0, 10), "{limit}");
        books.charge(old, 9).await;
        assert_eq!(books.state(), dollars(0, 10), "{limit}: the old hold neither frees nor fills the new window");
        books.charge(new, 10).await;
        assert_eq!(books.state(), dollars(10, 0), "{limit}");
        assert_eq!(books.store.spend_key(&books.key).unwrap().unwrap().total_spend, Money::from_dollars(19), "{limit}");
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2026-11-24T12:00:00Z");
    let books = books(&folder.path().join("l.db"), &clock, "10.00/total").await;
    let hold = books.hold(10).await.unwrap();
    books.charge(hold, 10).await;
    clock.set("2036-11-24T12:00:00Z");
    assert!(books.hold(1).await.is_err(), "total never resets");
}

#[tokio::test]
async fn a_clock_that_jumps_back_does_not_reopen_a_window() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2026-11-25T00:00:01Z");
    let books = books(&folder.path().join("l.db"), &clock, "10.00/daily").await;
    let hold = books.hold(10).await.unwrap();
    books.charge(hold, 10).await;
    clock.set("2026-11-24T23:00:00Z");
    assert!(books.hold(1).await.is_err());
}

#[tokio::test]
async fn changing_a_cycle_recounts_what_was_spent_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2026-11-23T12:00:00Z");
    let books = books(&folder.path().join("l.db"), &clock, "10.00/daily").await;
    let yesterday = books.hold(4).await.unwrap();
    books.charge(yesterday, 4).await;
    clock.set("2026-11-24T12:00:00Z");
    let today = books.hold(3).await.unwrap();
    books.charge(today, 3).await;
    let open = books.hold(1).await.unwrap();
    assert_eq!(books.state(), dollars(3, 1));
    let set = |limit: &'static str| {
        let limit = SpendLimit::parse_short(limit).unwrap();
        books.store.change_spend_key(books.key.clone(), Box::new(move |settings| settings.spend_limit = Some(limit)))
    };
    set("8.00/weekly").await.unwrap();
    assert_eq!(books.state(), dollars(7, 1), "Monday and Tuesday are one week");
    assert!(books.hold(1).await.is_err());
    set("8.00/daily").await.unwrap();
    assert_eq!(books.state(), dollars(3, 1));
    books.charge(open, 1).await;
    assert_eq!(books.state(), dollars(4, 0));
    let settings = books.store.spend_key(&books.key).unwrap().unwrap().settings;
    assert_eq!(settings.spend_limit.unwrap().cycle, Cycle::Daily);
}

#[tokio::test]
async fn the_holds_of_a_process_that_ended_are_charged_once_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let clock = TestClock::at("2026-11-24T12:00:00Z");
    let dying = books(&path, &clock, "10.00/daily").await;
    let key = dying.key.clone();
    dying.hold(4).await.unwrap();
    // Another process that lives keeps its hold.
    let living = Books { store: open(&path, &clock).await, key: key.clone() };
    living.hold(2).await.unwrap();
    drop(dying);
    // The thread of the dropped store ends a moment later, and only then lets go of its lock.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    for _ in 0..2 {
        let next = Books { store: open(&path, &clock).await, key: key.clone() };
        assert_eq!(next.state(), dollars(4, 2), "charged in full, once; the living hold stays");
        let suspects = next.store.requests(&lava_mcp::store::RequestPage { limit: 10, ..Default::default() }).unwrap();
        assert_eq!(suspects.iter().filter(|request| request.first.kind == "suspect").count(), 1);
    }
}

#[tokio::test]
async fn a_request_limit_and_a_rate_limit_refuse_what_counts_as_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::at("2026-11-24T12:00:00Z");
    let books = books(&folder.path().join("l.db"), &clock, "100.00/daily").await;
    let limit = RateLimit { rpm: 60, burst: Some(2) };
    let requests = RequestLimit { count: 3, cycle: Cycle::Daily };
    let change = move |settings: &mut KeySettings| (settings.rate_limit, settings.request_limit) = (Some(limit), Some(requests));
    books.store.change_spend_key(books.key.clone(), Box::new(change)).await.unwrap();
    let wait_ms = |refused: Result<HoldId, Refusal>| match refused {
        Err(Refusal::RateLimit { wait_ms, .. }) => wait_ms,
        other => panic!("{other:?}"),
    };

    let paid = books.hold(1).await.unwrap();
    books.hold(1).await.unwrap();
    assert_eq!(wait_ms(books.hold(1).await), 1_000, "one a second, after two at once");
    books.hold_counted(1, false).await.expect("a further attempt of a request is none");
    clock.set("2026-11-24T12:00:00.999Z");
    assert_eq!(wait_ms(books.hold(1).await), 1);
    clock.set("2026-11-24T12:00:01Z");
    books.hold(1).await.unwrap();
    clock.set("2026-11-24T12:00:09Z");
    let refused = books.hold(1).await;
    assert!(matches!(refused, Err(Refusal::RequestLimit { limit, .. }) if limit == requests), "{refused:?}");
    books.hold_counted(1, false).await.expect("it has been counted");

    // What is refused for want of money counts too, as long as there is room.
    let count = || books.store.count_refused(books.key.clone(), limit);
    assert_eq!((count().await.unwrap(), count().await.unwrap()), (None, None));
    let refused = count().await.unwrap();
    assert!(matches!(refused, Some(Refusal::RateLimit { wait_ms: 1_000, .. })), "{refused:?}");

    // A model that has billed too much is refused whatever the rate says, and the rate first where it counts.
    books.charge(paid, 5).await;
    let more = |settings: &mut KeySettings| settings.request_limit = None;
    books.store.change_spend_key(books.key.clone(), Box::new(more)).await.unwrap();
    assert_eq!(wait_ms(books.hold(1).await), 1_000);
    assert_eq!(books.hold_counted(1, false).await, Err(Refusal::Mispriced));
    clock.set("2026-11-24T12:01:00Z");
    assert_eq!(books.hold(1).await, Err(Refusal::Mispriced));
}

#[tokio::test]
async fn a_process_that_ends_well_leaves_nothing_and_one_that_holds_money_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let clock = TestClock::at("2026-11-24T12:00:00Z");
    let processes = || {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("SELECT count(*) FROM process", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let books = books(&path, &clock, "10.00/daily").await;
    assert_eq!(processes(), 1);
    let paid = books.hold(4).await.unwrap();
    books.charge(paid, 1).await;
    books.store.close().await;
    assert_eq!(processes(), 0);
    let books = Books { store: open(&path, &clock).await, ..books };
    books.hold(2).await.unwrap();
    books.store.close().await;
    assert_eq!(processes(), 1, "the next process finds what it held");
}

#[tokio::test]
async fn a_file_that_is_not_a_ledger_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let refuse = |path: std::path::PathBuf| async move { Store::open(&path, wall_clock()).await.err().unwrap() };

    std::fs::write(&path, vec![b'x'; 8_192]).unwrap();
    assert!(matches!(refuse(path.clone()).await, StoreError::NotALedger(_)));
    assert_eq!(std::fs::read(&path).unwrap(), vec![b'x'; 8_192]);

    std::fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(refuse(path.clone()).await, StoreError::NotALedger(_)));

    std::fs::remove_file(&path).unwrap();
    drop(Store::open(&path, wall_clock()).await.unwrap());
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = refuse(path.clone()).await;
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("update lava-mcp"));

    let error = refuse(folder.path().join("nowhere").join("l.db")).await;
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test]
async fn what_was_answered_is_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("l.db");
    let books = books(&path, &TestClock::at("2026-11-24T12:00:00Z"), "1000.00/daily").await;
    let books = Arc::new(books);
    let work = (0..50).map(|_| {
        let books = books.clone();
        tokio::spawn(async move {
            let hold = books.hold(3).await.unwrap();
            books.charge(hold, 2).await;
        })
    });
    futures_util::future::join_all(work).await;
    let reader = rusqlite::Connection::open(&path).unwrap();
    let sum: i64 = reader.query_row("SELECT sum(amount_n) FROM entry", [], |row| row.get(0)).unwrap();
    assert_eq!((Money::from_nanos(sum), books.state()), (Money::from_dollars(100), dollars(100, 0)));
    let settings: (String, i64) = reader.query_row("PRAGMA journal_mode", [], |row| Ok((row.get(0)?, 0))).unwrap();
    assert_eq!(settings.0, "wal");
    let _: Timestamp = books.store.spend_key(&books.key).unwrap().unwrap().last_used_at.unwrap();
}
