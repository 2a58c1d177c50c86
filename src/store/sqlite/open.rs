//! Opening the file, with the settings that make a commit durable.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, ffi};

use super::{StoreError, migrate::migrate};
use crate::platform::private_file;

/// How long to wait for another process's commit.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon it is tried again where SQLite does not wait.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// SQLite before 3.51.3 can corrupt a WAL that one connection resets while another commits.
const SQLITE_OLDEST: i32 = 3_051_003;

/// The one connection that writes. A file that is not there is made.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    connect(path, OpenFlags::default())
}

/// The same for a file that was open before: a new one in its place would be an empty ledger, in which nothing is spent.
pub(super) fn writer_again(path: &Path) -> Result<Connection, StoreError> {
    connect(path, OpenFlags::default().difference(OpenFlags::SQLITE_OPEN_CREATE))
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < SQLITE_OLDEST {
        return Err(StoreError::Unavailable(format!("SQLite {} is too old: 3.51.3 is needed", rusqlite::version())));
    }
    let fail = |error: rusqlite::Error| describe(path, &error);
    restrict(path, flags.contains(OpenFlags::SQLITE_OPEN_CREATE))?;
    let mut connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    configure(&connection).map_err(fail)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let fail = |error: rusqlite::Error| describe(path, &error);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(fail)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(fail)?;
    keep_plans(&connection).map_err(fail)?;
    connection.pragma_update(None, "query_only", true).map_err(fail)?;
    Ok(connection)
}

/// Without this a statement whose parameter could change its plan is compiled anew each time another value is bound.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(connection)?;
    use_wal(connection)?;
    // FULL: an answered commit survives power loss. With NORMAL it would survive only a crash of the process.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The writer checkpoints by itself, between batches.
    connection.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    if cfg!(target_os = "macos") {
        // A plain fsync on macOS does not flush the drive.
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    }
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Several processes may open a new file at once. The one that makes it a WAL holds all of it for a moment, and SQLite does not wait for that by itself.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && began.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(BUSY_PAUSE);
            }
            done => return done,
        }
    }
}

/// The ledger names models and amounts: nobody else's business on a shared machine. SQLite gives the files that it puts beside it the same permissions; those that are
/// there already may be of an earlier version.
fn restrict(path: &Path, makes_it: bool) -> Result<(), StoreError> {
    let fail = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    if makes_it {
        match private_file::create_new(path) {
            // Nothing is opened that is there: closing it would let go of the locks that this process's connections hold.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => drop(created.map_err(fail)?),
        }
    }
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        match private_file::close_existing(Path::new(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
    }
    Ok(())
}

/// What an error at opening means.
pub(super) fn describe(path: &Path, error: &rusqlite::Error) -> StoreError {
    if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        return StoreError::NotALedger(path.display().to_string());
    }
    match store_error(error) {
        StoreError::Unavailable(detail) => StoreError::Unavailable(format!("{}: {detail}", path.display())),
        other => other,
    }
}

/// What an SQLite error means for the caller.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy("another process holds it".to_owned()),
        Some(ErrorCode::DiskFull) => StoreError::Unavailable("the disk is full".to_owned()),
        Some(ErrorCode::ReadOnly) => StoreError::Unavailable("the file or its folder is read-only".to_owned()),
        Some(ErrorCode::CannotOpen) => StoreError::Unavailable("the file cannot be opened".to_owned()),
        _ => match error {
            rusqlite::Error::SqliteFailure(ffi::Error { extended_code, .. }, _) => {
                StoreError::Unavailable(format!("{error} (SQLite code {extended_code})"))
            }
            _ => StoreError::Unavailable(error.to_string()),
        },
    }
}
