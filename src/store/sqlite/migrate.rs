//! The formats of the ledger, and the way from each of them to the newest.
//!
//! A migration is added and never edited. Two were edited in their first days, so files that call themselves format 1 or 2 may lack a column; they get it here.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::{StoreError, open::describe};

/// Marks the file as ours ("lava" in ASCII), so that a wrong path is noticed before anything is written.
const APPLICATION_ID: i64 = 0x6c61_7661;

const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/sqlite/0001_ledger.sql"),
    include_str!("../migrations/sqlite/0002_account.sql"),
    include_str!("../migrations/sqlite/0003_endings.sql"),
    include_str!("../migrations/sqlite/0004_key_terms.sql"),
    include_str!("../migrations/sqlite/0005_revoked_at.sql"),
];

/// The format that this program reads and writes.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// Columns that were added to a migration after it had been used: the format, the table, the column and its type.
const ADDED_LATER: [(i64, &str, &str, &str); 2] =
    [(1, "budget", "latest", "INTEGER NOT NULL DEFAULT 0"), (2, "entry", "account_window", "INTEGER")];

/// Brings the file to the newest format, in one transaction.
pub(super) fn migrate(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let fail = |error: rusqlite::Error| describe(path, &error);
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(fail)?;
    let read = |pragma: &str| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (read("application_id").map_err(fail)?, read("user_version").map_err(fail)?);
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(StoreError::NotALedger(path.display().to_string()));
    }
    if version > FORMAT {
        return Err(too_new(path, version));
    }
    if version < FORMAT {
        upgrade(&transaction, version).map_err(fail)?;
    }
    transaction.commit().map_err(fail)
}

fn upgrade(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    for (_, table, column, kind) in ADDED_LATER.into_iter().filter(|(since, ..)| *since <= version) {
        let has = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
        if !transaction.query_row(has, [table, column], |row| row.get::<_, bool>(0))? {
            transaction.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}"))?;
        }
    }
    for migration in &MIGRATIONS[usize::try_from(version).unwrap_or(0)..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)
}

/// A newer version of this program has written the file.
pub(super) fn too_new(path: &Path, found: i64) -> StoreError {
    StoreError::TooNew { path: path.display().to_string(), found, known: FORMAT }
}
