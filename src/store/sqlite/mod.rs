//! The ledger in SQLite: how the file is opened, and the methods behind [`super::Store`].

mod account;
mod fault;
mod identity;
mod keys;
mod ledger;
mod migrate;
mod open;
mod queue;
mod reports;
mod review;
mod row;
mod writer;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

pub use keys::{KeyPage, NewSecretKey, SecretKey};
pub use reports::RequestPage;

use super::{Change, Clock, Counters, StoreError};
use crate::domain::{
    Cycle, HoldId, KeyHash, KeyId, Money, NewSpendKey, RateLimit, SpendKey, SpendLimit,
    ledger::{Admitted, Ending, Mispriced, OpenHold, Outcome, Refusal, RequestRecord, Reserve, Settle, Unverified, Whose, WriteOff},
    spend_key::Account,
};
use queue::Writer;

/// Nobody waits longer for a hold: a ledger that does not answer is refused like one that fails, so that the caller knows within a second.
const ANSWER_WITHIN: Duration = Duration::from_millis(600);

#[derive(Clone)]
pub(super) struct Sqlite {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Writer,
    /// Point reads and reports; a reader never waits for the writer (WAL).
    reader: Mutex<Connection>,
    clock: Clock,
    counters: Arc<Counters>,
}

impl Sqlite {
    pub(super) fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let counters = Arc::new(Counters::default());
        let writer = Writer::start(path, clock.clone(), counters.clone())?;
        let reader = Mutex::new(open::reader(path)?);
        Ok(Self { shared: Arc::new(Shared { writer, reader, clock, counters }) })
    }

    pub(super) async fn reserve(&self, reserve: Reserve) -> Result<Result<Admitted, Refusal>, StoreError> {
        let mut orphan = Orphan { sqlite: self, hold: Some(reserve.hold.clone()) };
        let reserved = within_a_second(self.shared.writer.submit(move |ledger| ledger::reserve(ledger, &reserve))).await;
        if !matches!(reserved, Err(StoreError::Doubtful(_))) {
            orphan.hold = None;
        }
        reserved
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub(super) fn settle(&self, settle: Settle) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        self.shared.counters.ended(&settle.outcome);
        self.end(settle)
    }

    fn end(&self, settle: Settle) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        self.shared.writer.submit_settle(move |ledger| ledger::settle(ledger, &settle))
    }

    pub(super) async fn create_secret_key(&self, key: NewSecretKey) -> Result<(), StoreError> {
        self.shared.writer.submit(move |ledger| keys::create_secret(ledger, &key)).await
    }

    pub(super) fn secret_key_by_hash(&self, hash: &KeyHash) -> Result<Option<SecretKey>, StoreError> {
        self.read(|connection| keys::secret_by_hash(connection, hash))
    }

    pub(super) async fn create_spend_key(&self, key: NewSpendKey) -> Result<(), StoreError> {
        self.shared.writer.submit(move |ledger| keys::create(ledger, &key)).await
    }

    pub(super) fn spend_key_by_hash(&self, hash: &KeyHash) -> Result<Option<SpendKey>, StoreError> {
        let now = (self.shared.clock)();
        self.read(|connection| row::key_by_hash(connection, hash, now))
    }

    pub(super) fn spend_key(&self, id: &KeyId) -> Result<Option<SpendKey>, StoreError> {
        let now = (self.shared.clock)();
        self.read(|connection| row::key_by_id(connection, id, now))
    }

    pub(super) fn spend_key_or_revoked(&self, id: &KeyId) -> Result<Option<SpendKey>, StoreError> {
        let now = (self.shared.clock)();
        self.read(|connection| row::key_or_revoked(connection, id, now))
    }

    pub(super) fn spend_keys(&self, page: &KeyPage<'_>) -> Result<Vec<SpendKey>, StoreError> {
        let now = (self.shared.clock)();
        self.read(|connection| row::keys(connection, page, now))
    }

    pub(super) fn secret_keys(&self) -> Result<Vec<SecretKey>, StoreError> {
        self.read(keys::secrets)
    }

    pub(super) async fn delete_secret_key(&self, id: String) -> Result<bool, StoreError> {
        self.shared.writer.submit(move |ledger| keys::delete_secret(ledger, &id)).await
    }

    pub(super) async fn once_booked(&self) {
        if self.shared.writer.owes() {
            // What stands behind them in the queue is answered after them. A ledger in trouble is read as it is.
            let _ = within_a_second(self.shared.writer.barrier()).await;
        }
    }

    pub(super) async fn check(&self) -> Result<(), StoreError> {
        within_a_second(self.shared.writer.submit(|_| Ok(()))).await
    }

    pub(super) async fn change_spend_key(&self, id: KeyId, change: Change) -> Result<Option<SpendKey>, StoreError> {
        self.shared.writer.submit(move |ledger| keys::change(ledger, &id, &change)).await
    }

    pub(super) async fn rotate_spend_key(&self, id: KeyId, hash: KeyHash, preview: String) -> Result<Option<SpendKey>, StoreError> {
        self.shared.writer.submit(move |ledger| keys::rotate(ledger, &id, &hash, &preview)).await
    }

    pub(super) async fn revoke_spend_key(&self, id: KeyId) -> Result<bool, StoreError> {
        self.shared.writer.submit(move |ledger| keys::revoke(ledger, &id)).await
    }

    pub(super) fn requests(&self, page: &RequestPage) -> Result<Vec<RequestRecord>, StoreError> {
        self.read(|connection| reports::requests(connection, page))
    }

    pub(super) async fn count_refused(&self, key: KeyId, limit: RateLimit) -> Result<Option<Refusal>, StoreError> {
        within_a_second(self.shared.writer.submit(move |ledger| ledger::count_refused(ledger, &key, limit))).await
    }

    pub(super) fn account(&self, test: bool) -> Result<Account, StoreError> {
        let now = (self.shared.clock)();
        self.read(|connection| account::read(connection, test, now))
    }

    pub(super) async fn limit_account(&self, test: bool, limit: Option<SpendLimit>) -> Result<Account, StoreError> {
        self.shared.writer.submit(move |ledger| account::set_limit(ledger, test, limit)).await
    }

    pub(super) fn open_holds(&self, test: bool, key: Option<&KeyId>) -> Result<Vec<OpenHold>, StoreError> {
        self.read(|connection| review::open_holds(connection, test, key))
    }

    pub(super) fn unverified(&self, test: bool, key: Option<&KeyId>) -> Result<Vec<Unverified>, StoreError> {
        self.read(|connection| review::unverified(connection, test, key))
    }

    pub(super) fn unverified_sums(&self, key: &KeyId) -> Result<(Money, Money), StoreError> {
        self.read(|connection| review::unverified_sums(connection, key))
    }

    pub(super) fn unverified_in(&self, key: &KeyId, whose: Whose, cycle: Cycle) -> Result<Money, StoreError> {
        let now = (self.shared.clock)();
        self.read(|connection| review::unverified_in(connection, key, whose, cycle, now))
    }

    pub(super) fn has_had(&self, test: bool, key: &KeyId) -> Result<bool, StoreError> {
        self.read(|connection| review::has_had(connection, test, key))
    }

    pub(super) async fn write_off(&self, test: bool, hold: HoldId, reason: String) -> Result<WriteOff, StoreError> {
        self.shared.writer.submit(move |ledger| review::write_off(ledger, test, &hold, &reason)).await
    }

    pub(super) fn mispriced(&self) -> Result<Vec<Mispriced>, StoreError> {
        self.read(review::mispriced)
    }

    pub(super) async fn sell_again(&self, provider: String, model: String) -> Result<bool, StoreError> {
        self.shared.writer.submit(move |ledger| review::sell_again(ledger, &provider, &model)).await
    }

    pub(super) async fn close(&self) {
        self.shared.writer.close().await;
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
        query(&reader).map_err(|error| open::store_error(&error))
    }
}

async fn within_a_second<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let answered = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    answered.unwrap_or_else(|_| Err(StoreError::Doubtful("it does not answer in time".to_owned())))
}

/// A hold that may be on disk although nobody was told: the commit is in doubt, or whoever asked for it has left. It is voided when this is dropped, which is after the
/// way for the answer is closed; so either the writer leaves the hold out, or it finds the void behind it.
struct Orphan<'a> {
    sqlite: &'a Sqlite,
    hold: Option<HoldId>,
}

impl Drop for Orphan<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let outcome = Outcome::Void { dispatched: false };
            drop(self.sqlite.settle(Settle { hold, outcome, upstream_status: None, ending: Ending::NotSent }));
        }
    }
}
