//! Whatever an agent asks for, in whatever order and at whatever moment: in no window of the ceiling is more spent than the ceiling.
//! The session is the real one, on the real gateway and ledger, under a clock that the test moves; the test keeps its own books by its own calendar.

use std::collections::HashMap;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use lava_mcp::{
    client::{Client, Transport},
    config::{Ceiling, SetBy},
    domain::{
        Cycle, HoldId, KeyId, Money, RequestId, Secret, SpendLimit,
        ledger::{Basis, Ending, Outcome, Reserve, Settle, Subject},
    },
    session::{GatewayInfo, Link, Narrowing, Parts, Payer, Session, SessionError, Vault},
    store::Store,
};
use proptest::prelude::*;
use std::sync::Arc;

use crate::harness::{Harness, Served};

const CYCLES: [Cycle; 4] = [Cycle::Daily, Cycle::Weekly, Cycle::Monthly, Cycle::Total];
/// Days before a boundary that several cycles do not share.
const STARTS: [&str; 4] = ["2026-11-30", "2028-02-29", "2026-12-31", "2027-01-30"];

fn limit(text: &str) -> SpendLimit {
    SpendLimit::parse_short(text).unwrap()
}

struct Wallet {
    harness: Harness,
    served: Served,
    session: Session,
    store: Store,
    folder: tempfile::TempDir,
    payer: Payer,
}

impl Wallet {
    async fn open(ceiling: SpendLimit, day: &str) -> Self {
        let harness = Harness::start().await;
        harness.clock.set(&format!("{day}T12:00:00Z"));
        let served = Served::start(harness.gateway.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let session = session(&harness, &served, &folder, ceiling);
        let store = Store::open(&harness.ledger_path(), harness.clock.clock()).await.unwrap();
        Self { harness, served, session, store, folder, payer: Payer::Client("agent".to_owned()) }
    }

    async fn login(&self, limit: Option<SpendLimit>) -> Result<(), SessionError> {
        let narrowing = Narrowing { spend_limit: limit, ..Narrowing::default() };
        self.session.login(&self.payer, &narrowing, false).await.map(|_| ())
    }

    fn now(&self) -> Timestamp {
        self.harness.clock.clock()()
    }

    fn wait(&self, days: i64) {
        let later = self.now() + SignedDuration::from_hours(24 * days);
        self.harness.clock.set(&later.to_string());
    }

    /// Spends pieces of this size until the ledger says no, or so many times.
    async fn spend(&self, piece: Money, most: usize) -> Money {
        let query = "SELECT b.key_id, b.generation FROM budget b JOIN spend_key k ON k.id = b.key_id WHERE k.name LIKE 'agent on %'";
        let Some((id, generation)) = self.harness.sql(query, |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).pop() else {
            return Money::ZERO;
        };
        let mut spent = Money::ZERO;
        for _ in 0..most {
            let hold = HoldId::generate();
            let reserve = Reserve {
                hold: hold.clone(),
                request: RequestId::generate(false),
                key: KeyId::from_text(&id),
                generation,
                amount: piece,
                counted: true,
                test: false,
                subject: Subject { provider: "fake".into(), model: "m".into(), endpoint: "POST https://fake/v1".into() },
            };
            if self.store.reserve(reserve).await.unwrap().is_err() {
                break;
            }
            let outcome = Outcome::Charge { cost: piece, basis: Basis::Measured, usage: None };
            self.store.settle(Settle { hold, outcome, upstream_status: None, ending: Ending::Complete }).await.unwrap();
            spent = spent.saturating_add(piece);
        }
        spent
    }

    async fn close(self) {
        self.store.close().await;
        self.served.stop().await;
        drop(self.folder);
    }
}

fn session(harness: &Harness, served: &Served, folder: &tempfile::TempDir, ceiling: SpendLimit) -> Session {
    let url: url::Url = served.url("").parse().unwrap();
    Session::new(Parts {
        connect: Arc::new(move || {
            let url = url.clone();
            async move { Ok(Link { client: Client::new(Transport::http(url)?), owner: None }) }.boxed()
        }),
        vault: Vault::File(folder.path().to_owned()),
        scope: "test".to_owned(),
        ceiling: Ceiling { limit: ceiling, set_by: SetBy::Setting, allowed_models: None, allowed_providers: None },
        spend_key: None,
        secret_key: Some(Secret::new(harness.secret.expose())),
        info: GatewayInfo { mode: "remote", url: None, sandbox: false },
        lock_file: folder.path().join("login.lock"),
        web: None,
        ask: false,
        forward_with_secret_key: false,
    })
}

/// The number of a window, by another calendar than the ledger's.
fn window(cycle: Cycle, at: Timestamp) -> (i16, i16) {
    let date: Date = TimeZone::UTC.to_datetime(at).date();
    match cycle {
        Cycle::Daily => (date.year(), date.day_of_year()),
        Cycle::Weekly => {
            let week = date.iso_week_date();
            (week.year(), i16::from(week.week()))
        }
        Cycle::Monthly => (date.year(), i16::from(date.month())),
        Cycle::Total => (0, 0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_does_not_lie_within_a_week() {
    let wallet = Wallet::open(limit("0.01/weekly"), "2026-11-30").await;
    let refused = wallet.login(Some(limit("0.01/monthly"))).await.unwrap_err().to_string();
    assert!(refused.contains("0.02 USD in one week") && refused.contains("0.005 USD (monthly)"), "{refused}");
    // Half of it does: in the last week of November, which is the first of December, both halves come to the whole.
    wallet.login(Some(limit("0.005/monthly"))).await.unwrap();
    assert_eq!(wallet.spend("0.001".parse().unwrap(), 30).await.to_string(), "0.005");
    wallet.wait(1);
    assert_eq!(wallet.spend("0.001".parse().unwrap(), 30).await.to_string(), "0.005");
    wallet.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cycle_that_begins_again_is_not_given_to_a_key_that_has_spent() {
    let wallet = Wallet::open(limit("0.01/weekly"), "2026-11-30").await;
    wallet.login(None).await.unwrap();
    wallet.login(Some(limit("0.005/monthly"))).await.unwrap();
    wallet.login(Some(limit("0.01/weekly"))).await.unwrap();
    assert_eq!(wallet.spend("0.001".parse().unwrap(), 30).await.to_string(), "0.01");
    wallet.wait(1);
    for forgetful in ["0.005/monthly", "0.001/daily"] {
        let refused = wallet.login(Some(limit(forgetful))).await.unwrap_err().to_string();
        assert!(refused.contains("has spent already") && refused.contains("weekly"), "{refused}");
    }
    wallet.login(Some(limit("0.01/total"))).await.unwrap();
    assert_eq!(wallet.spend("0.001".parse().unwrap(), 30).await, Money::ZERO);
    wallet.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_narrowed_is_brought_under_the_ceiling() {
    let wallet = Wallet::open(limit("0.01/monthly"), "2026-11-30").await;
    wallet.login(Some(limit("0.01/total"))).await.unwrap();
    wallet.login(Some(limit("0.01/monthly"))).await.unwrap();
    wallet.spend("0.001".parse().unwrap(), 30).await;
    // The same key under a ceiling within which its limit does not lie.
    let session = session(&wallet.harness, &wallet.served, &wallet.folder, limit("0.01/weekly"));
    wallet.wait(1);
    let key = session.login(&wallet.payer, &Narrowing::default(), false).await.unwrap().key.unwrap();
    assert_eq!(key.spend_limit.unwrap().to_limit(), Some(limit("0.01/weekly")));
    assert_eq!(wallet.spend("0.001".parse().unwrap(), 30).await, Money::ZERO);
    wallet.close().await;
}

#[derive(Clone, Debug)]
enum Step {
    /// Asks for this share of the ceiling, in percent, in this cycle.
    Login(i64, usize),
    Spend(usize),
    Wait(i64),
    /// Another session of the same client begins, and asks for nothing.
    Begin,
}

fn steps() -> impl Strategy<Value = (usize, usize, Vec<Step>)> {
    // The shares that just fit, and those that just do not.
    let share = prop_oneof![4 => Just(100), 4 => Just(50), 1 => Just(51), 1 => Just(16), 1 => Just(14), 1 => Just(3), 1 => 1..=100_i64];
    let step = prop_oneof![
        3 => (share, 0..4_usize).prop_map(|(share, cycle)| Step::Login(share, cycle)),
        4 => prop_oneof![4 => Just(100), 1 => 1..=100_usize].prop_map(Step::Spend),
        3 => prop_oneof![6 => Just(1_i64), 1 => 2..9_i64, 1 => 20..40_i64].prop_map(Step::Wait),
        1 => Just(Step::Begin),
    ];
    (prop_oneof![2 => 0..4_usize, 3 => Just(1)], 0..STARTS.len(), prop::collection::vec(step, 3..20))
}

#[test]
fn no_order_of_requests_spends_more_than_the_ceiling_in_any_of_its_windows() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 64, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((ceiling, start, steps) in steps())| {
        let ceiling = SpendLimit { amount: "0.0100".parse().unwrap(), cycle: CYCLES[ceiling] };
        let most = runtime.block_on(async {
            let mut wallet = Wallet::open(ceiling, STARTS[start]).await;
            wallet.login(None).await.unwrap();
            let mut spent: HashMap<(i16, i16), Money> = HashMap::new();
            for step in &steps {
                match step {
                    Step::Login(share, cycle) => {
                        let amount = Money::from_nanos(ceiling.amount.nanos() * share / 100);
                        let _ = wallet.login(Some(SpendLimit { amount, cycle: CYCLES[*cycle] })).await;
                    }
                    Step::Spend(pieces) => {
                        let window = spent.entry(window(ceiling.cycle, wallet.now())).or_default();
                        *window = window.saturating_add(wallet.spend("0.0001".parse().unwrap(), *pieces).await);
                    }
                    Step::Wait(days) => wallet.wait(*days),
                    Step::Begin => {
                        wallet.session = session(&wallet.harness, &wallet.served, &wallet.folder, ceiling);
                        wallet.login(None).await.unwrap();
                    }
                }
            }
            wallet.close().await;
            spent.into_values().max().unwrap_or_default()
        });
        prop_assert!(most <= ceiling.amount, "{most} of {ceiling}");
    });
}
