//! The ledger after a crash, held against what was acknowledged before it.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::Command,
};

use lava_mcp::{
    domain::{
        Cycle, KeyId, KeySettings, Money, NewSpendKey, PlainKey, SpendLimit,
        key::{KeyKind, Pepper},
    },
    store::{NewSecretKey, Store, wall_clock},
};
use rusqlite::{Connection, config::DbConfig};

use super::{life::Acks, worker};

/// A ledger with one key.
pub(super) struct Books {
    path: PathBuf,
    key: KeyId,
    /// The last entry that has been looked at.
    seen: i64,
}

/// What an audit found.
pub(super) struct Audit {
    /// Acknowledged, and not in the books.
    pub(super) lost: Vec<String>,
    /// Open holds of the dead process, each of which became a charge.
    pub(super) suspects: usize,
    /// Holds that are in the books and were not heard of: the process died before it could say so.
    pub(super) unheard: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: String,
    basis: String,
    amount_n: i64,
    held_n: i64,
}

/// The whole state that counts, read from the file.
#[derive(PartialEq, Eq)]
struct State {
    holds: BTreeMap<String, i64>,
    /// New ones only.
    entries: HashMap<String, Entry>,
    count: i64,
    sum: i64,
    limit: i64,
    spent: i64,
    held: i64,
    total: i64,
    processes: i64,
}

impl Audit {
    /// Nothing that was acknowledged may be lost.
    pub(super) fn must_be_complete(&self, when: &str) {
        assert!(self.lost.is_empty(), "{when}: {} acknowledged operations are not in the books, one is {}", self.lost.len(), self.lost[0]);
    }
}

impl Books {
    /// A new ledger in this folder, in a folder of its own.
    pub(super) async fn create(folder: &Path, number: u64) -> Self {
        let folder = folder.join(number.to_string());
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("ledger.db");
        let store = Store::open(&path, wall_clock()).await.unwrap();
        let pepper = Pepper::from_bytes(&[1; 32]);
        let new = |kind| {
            let key = PlainKey::generate(kind).unwrap();
            (key.hash(&pepper), key.preview())
        };
        let (hash, preview) = new(KeyKind::SecretLive);
        let owner = NewSecretKey { id: "owner".into(), hash, preview, name: "n".into(), test: false };
        store.create_secret_key(owner).await.unwrap();
        let (hash, preview) = new(KeyKind::Spend);
        let key = KeyId::generate();
        let settings = KeySettings { name: "k".into(), ..KeySettings::default() };
        let spend_key = NewSpendKey { id: key.clone(), owner: "owner".into(), hash, preview, test: false, settings };
        store.create_spend_key(spend_key).await.unwrap();
        store.close().await;
        Self { path, key, seen: 0 }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn worker(&self) -> Command {
        worker::command(&self.path, &self.key)
    }

    /// Sets the limit to what has been spent and this much more.
    pub(super) async fn allow(&self, nanos: i64) {
        let store = Store::open(&self.path, wall_clock()).await.unwrap();
        let spent = store.spend_key(&self.key).unwrap().unwrap().total_spend.nanos();
        let limit = SpendLimit { amount: Money::from_nanos(spent + nanos), cycle: Cycle::Total };
        store.change_spend_key(self.key.clone(), Box::new(move |settings| settings.spend_limit = Some(limit))).await.unwrap();
        store.close().await;
    }

    /// Compares the file with what was acknowledged, lets the next process recover it, and looks again.
    pub(super) async fn audit(&mut self, acks: &Acks) -> Audit {
        let before = self.state();
        before.adds_up();
        let lost = missing(acks, &before);
        let after = self.recovered().await;
        after.adds_up();
        assert_eq!((after.holds.len(), after.held, after.processes), (0, 0, 0), "nothing is left open");
        // Every open hold has become one suspect charge in full, and nothing else has changed.
        let mut expected = before.entries.clone();
        for (hold, amount) in &before.holds {
            let charge = Entry { kind: "suspect".into(), basis: "crash".into(), amount_n: *amount, held_n: *amount };
            expected.insert(hold.clone(), charge);
        }
        for (hold, entry) in &after.entries {
            assert_eq!(Some(entry), expected.get(hold), "{hold}, after the recovery");
        }
        assert_eq!(after.entries.len(), expected.len());
        assert_eq!(after.count, before.count + i64::try_from(before.holds.len()).unwrap());
        for (hold, entry) in &after.entries {
            self.is_as_planned(acks, hold, entry);
        }
        assert!(self.recovered().await == after, "a second recovery changes something");
        self.seen = after.count;
        let unheard = after.entries.keys().filter(|hold| !acks.held.contains_key(*hold)).count();
        Audit { lost, suspects: before.holds.len(), unheard }
    }

    /// A hold ends as its worker meant it to, or as that of a process that died.
    fn is_as_planned(&self, acks: &Acks, hold: &str, entry: &Entry) {
        let Some((amount, cost)) = acks.held.get(hold) else {
            // Nobody was told of this hold, so nothing was bought with it: a void, or all of it.
            let is_safe = matches!(entry.kind.as_str(), "suspect" | "void");
            return assert!(is_safe, "{hold}: nobody was told of it, and it ended as {entry:?} in {}", self.path.display());
        };
        assert_eq!(entry.held_n, *amount, "{hold}: {entry:?}");
        if entry.kind != "suspect" {
            let kind = if *cost == 0 { "void" } else { "charge" };
            assert_eq!((entry.kind.as_str(), entry.amount_n), (kind, *cost), "{hold} was to cost {cost}");
        }
    }

    /// Opens and closes the ledger as the next process would, and reads it.
    async fn recovered(&self) -> State {
        Store::open(&self.path, wall_clock()).await.unwrap().close().await;
        self.state()
    }

    /// Reads the file, without folding its WAL back when done: that is for the process that recovers.
    fn state(&self) -> State {
        let ledger = Connection::open(&self.path).unwrap();
        ledger.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
        let count = |query: &str| ledger.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0, "the file is damaged");
        assert_eq!(count("SELECT count(*) - count(DISTINCT hold_id) FROM entry"), 0, "every hold ends once");
        assert_eq!(count("SELECT count(*) FROM hold WHERE id IN (SELECT hold_id FROM entry)"), 0, "what has ended is not open");
        let holds = ledger.prepare("SELECT id, amount_n FROM hold").unwrap();
        let entries = ledger.prepare("SELECT hold_id, kind, basis, amount_n, held_n FROM entry WHERE seq > ?1").unwrap();
        State {
            holds: collect(holds, [], |row| Ok((row.get(0)?, row.get(1)?))).into_iter().collect(),
            entries: collect(entries, [self.seen], |row| {
                Ok((row.get(0)?, Entry { kind: row.get(1)?, basis: row.get(2)?, amount_n: row.get(3)?, held_n: row.get(4)? }))
            })
            .into_iter()
            .collect(),
            count: count("SELECT count(*) FROM entry"),
            sum: count("SELECT coalesce(sum(amount_n), 0) FROM entry"),
            limit: count("SELECT coalesce(limit_n, 0) FROM budget WHERE key_id LIKE 'spk_%'"),
            spent: count("SELECT spent_n FROM budget WHERE key_id LIKE 'spk_%'"),
            held: count("SELECT held_n FROM budget WHERE key_id LIKE 'spk_%'"),
            total: count("SELECT total_spent_n FROM budget WHERE key_id LIKE 'spk_%'"),
            processes: count("SELECT count(*) FROM process"),
        }
    }
}

impl State {
    /// The budget's row is the sum of what it stands for, and within its limit.
    fn adds_up(&self) {
        assert_eq!((self.spent, self.total), (self.sum, self.sum), "spent is the sum of the entries");
        assert_eq!(self.held, self.holds.values().sum::<i64>(), "held is the sum of the open holds");
        assert!(self.spent + self.held <= self.limit, "{} and {} is more than {}", self.spent, self.held, self.limit);
    }
}

fn missing(acks: &Acks, state: &State) -> Vec<String> {
    let holds = acks.held.keys().filter(|hold| !state.holds.contains_key(*hold) && !state.entries.contains_key(*hold));
    let ends = acks.ended.iter().filter(|hold| !state.entries.contains_key(*hold));
    holds.map(|hold| format!("held {hold}")).chain(ends.map(|hold| format!("ended {hold}"))).collect()
}

fn collect<T, P: rusqlite::Params>(
    mut statement: rusqlite::Statement<'_>,
    parameters: P,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    statement.query_map(parameters, read).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}
