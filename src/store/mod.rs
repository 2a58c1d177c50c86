//! The ledger's storage, behind one door. This is the only module that speaks SQL.
//!
//! All writing goes through one thread per process (`sqlite::writer`), which commits queued operations in groups; several processes share the file
//! safely because every decision is a conditional statement on the row itself, never a number remembered in memory.

mod clock;
mod counters;
mod process;
mod sqlite;

use std::path::Path;

pub use clock::{Clock, guarded_clock, wall_clock};
pub use counters::Counters;
pub use sqlite::{KeyPage, NewSecretKey, RequestPage, SecretKey};

use crate::domain::{
    Cycle, HoldId, KeyHash, KeyId, KeySettings, Money, NewSpendKey, RateLimit, SpendKey, SpendLimit,
    ledger::{Admitted, Mispriced, OpenHold, Refusal, RequestRecord, Reserve, Settle, Unverified, Whose, WriteOff},
    spend_key::Account,
};

/// Why the ledger did not do what it was asked. In every case no money may be spent; nothing was changed, unless that is in doubt.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened, read or written: wrong rights, full disk, damage.
    #[error("the ledger is not available: {0}")]
    Unavailable(String),
    /// The file failed in the middle of a commit: whether it is on disk will be known when the file is opened anew.
    #[error("the ledger is not available: {0}")]
    Doubtful(String),
    /// Another process kept the ledger locked for too long, or too many operations are queued. Trying again may help.
    #[error("the ledger is busy: {0}")]
    Busy(String),
    /// The file was written by a newer version of this program.
    #[error("the ledger {path} has format {found}, this version of lava-mcp reads up to format {known}: update lava-mcp")]
    TooNew {
        /// The file.
        path: String,
        /// Its format.
        found: i64,
        /// The newest format this program knows.
        known: i64,
    },
    /// The file is something else.
    #[error("{0} is not a lava-mcp ledger; move it away or choose another data folder")]
    NotALedger(String),
}

/// A change to a key's settings together with what it is applied to.
pub type Change = Box<dyn Fn(&mut KeySettings) + Send>;

/// The ledger. Cheap to clone; all clones share one writer.
#[derive(Clone)]
pub struct Store {
    sqlite: sqlite::Sqlite,
}

impl Store {
    /// Opens or creates the ledger at `path`, migrates it, and turns the holds of processes that died into suspect charges.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be used; nothing may be spent then.
    pub async fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || sqlite::Sqlite::open(&path, clock)).await;
        opened.map_err(|e| StoreError::Unavailable(e.to_string()))?.map(|sqlite| Self { sqlite })
    }

    /// Sets money aside, or says why not. When this returns a hold, the hold is on disk.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn reserve(&self, reserve: Reserve) -> Result<Result<Admitted, Refusal>, StoreError> {
        self.sqlite.reserve(reserve).await
    }

    /// Ends a hold. It is queued at once and never refused; await the answer only to know when it is on disk.
    pub fn settle(&self, settle: Settle) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        self.sqlite.settle(settle)
    }

    /// Adds a secret key.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn create_secret_key(&self, key: NewSecretKey) -> Result<(), StoreError> {
        self.sqlite.create_secret_key(key).await
    }

    /// The secret key with this digest, unless it was deleted.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn secret_key_by_hash(&self, hash: &KeyHash) -> Result<Option<SecretKey>, StoreError> {
        self.sqlite.secret_key_by_hash(hash)
    }

    /// Adds a spend key.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn create_spend_key(&self, key: NewSpendKey) -> Result<(), StoreError> {
        self.sqlite.create_spend_key(key).await
    }

    /// The spend key with this digest; revoked keys are gone. A point read on the calling thread.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn spend_key_by_hash(&self, hash: &KeyHash) -> Result<Option<SpendKey>, StoreError> {
        self.sqlite.spend_key_by_hash(hash)
    }

    /// The spend key with this id; revoked keys are gone.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn spend_key(&self, id: &KeyId) -> Result<Option<SpendKey>, StoreError> {
        self.sqlite.spend_key(id)
    }

    /// The spend key with this id, if it was revoked too; for showing it.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn spend_key_or_revoked(&self, id: &KeyId) -> Result<Option<SpendKey>, StoreError> {
        self.sqlite.spend_key_or_revoked(id)
    }

    /// A page of spend keys, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn spend_keys(&self, page: &KeyPage<'_>) -> Result<Vec<SpendKey>, StoreError> {
        self.sqlite.spend_keys(page)
    }

    /// All secret keys that were not deleted, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn secret_keys(&self) -> Result<Vec<SecretKey>, StoreError> {
        self.sqlite.secret_keys()
    }

    /// Ends a secret key for good; spend keys that were made with it go on. `false` when there is no such key.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn delete_secret_key(&self, id: String) -> Result<bool, StoreError> {
        self.sqlite.delete_secret_key(id).await
    }

    /// Resolves when every settlement that this process has queued so far can be read; or soon, where the ledger cannot be written.
    pub async fn once_booked(&self) {
        self.sqlite.once_booked().await;
    }

    /// Whether the ledger can be written right now.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.sqlite.check().await
    }

    /// Changes a key's settings; `None` when there is no such key. What is spent stays spent.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn change_spend_key(&self, id: KeyId, change: Change) -> Result<Option<SpendKey>, StoreError> {
        self.sqlite.change_spend_key(id, change).await
    }

    /// Gives a key a new value. Once this has returned no process admits the old one. `None` when there is no such key.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn rotate_spend_key(&self, id: KeyId, hash: KeyHash, preview: String) -> Result<Option<SpendKey>, StoreError> {
        self.sqlite.rotate_spend_key(id, hash, preview).await
    }

    /// Ends a key for good. Once this has returned no process admits it. `false` when there is no such key.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn revoke_spend_key(&self, id: KeyId) -> Result<bool, StoreError> {
        self.sqlite.revoke_spend_key(id).await
    }

    /// Requests, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn requests(&self, page: &RequestPage) -> Result<Vec<RequestRecord>, StoreError> {
        self.sqlite.requests(page)
    }

    /// Counts a request that was refused for another reason against its key's rate limit. Returns the refusal of that limit, if it has no request left.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn count_refused(&self, key: KeyId, limit: RateLimit) -> Result<Option<Refusal>, StoreError> {
        self.sqlite.count_refused(key, limit).await
    }

    /// The lid over all keys, of the sandbox or not. Without one it tells what they have spent in all.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn account(&self, test: bool) -> Result<Account, StoreError> {
        self.sqlite.account(test)
    }

    /// Sets or lifts the lid over all keys. What they have spent in its cycle counts from the start.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn limit_account(&self, test: bool, limit: Option<SpendLimit>) -> Result<Account, StoreError> {
        self.sqlite.limit_account(test, limit).await
    }

    /// Money set aside right now, by all keys or by one.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn open_holds(&self, test: bool, key: Option<&KeyId>) -> Result<Vec<OpenHold>, StoreError> {
        self.sqlite.open_holds(test, key)
    }

    /// Charges of a whole hold that nobody can prove, but for those that were written off.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn unverified(&self, test: bool, key: Option<&KeyId>) -> Result<Vec<Unverified>, StoreError> {
        self.sqlite.unverified(test, key)
    }

    /// What the unverified charges of a key come to, and how much of that is for calls of processes that died. A point read on the calling thread.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn unverified_sums(&self, key: &KeyId) -> Result<(Money, Money), StoreError> {
        self.sqlite.unverified_sums(key)
    }

    /// How much of what counts against a limit in its present cycle is unverified: the key's own limit, or that of its account.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn unverified_in(&self, key: &KeyId, whose: Whose, cycle: Cycle) -> Result<Money, StoreError> {
        self.sqlite.unverified_in(key, whose, cycle)
    }

    /// Whether there is such a key, or was: a revoked one leaves its charges behind.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn has_had(&self, test: bool, key: &KeyId) -> Result<bool, StoreError> {
        self.sqlite.has_had(test, key)
    }

    /// Takes an unverified charge back. The reason is kept in the books.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn write_off(&self, test: bool, hold: HoldId, reason: String) -> Result<WriteOff, StoreError> {
        self.sqlite.write_off(test, hold, reason).await
    }

    /// Models that billed more than their prices allow; keys with a limit do not buy them.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn mispriced(&self) -> Result<Vec<Mispriced>, StoreError> {
        self.sqlite.mispriced()
    }

    /// Sells such a model again. `false` when it was not one.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be written.
    pub async fn sell_again(&self, provider: String, model: String) -> Result<bool, StoreError> {
        self.sqlite.sell_again(provider, model).await
    }

    /// What this process has done with the ledger so far.
    pub fn counters(&self) -> &Counters {
        self.sqlite.counters()
    }

    /// Waits until everything queued so far is on disk, then lets go of the file.
    pub async fn close(&self) {
        self.sqlite.close().await;
    }
}
