//! The writer thread: the only place that commits.
//!
//! It takes one operation, drains what else has queued up, applies all of it in one transaction and answers after the commit. The flush of one batch is the
//! waiting time in which the next one gathers, so an idle ledger pays one flush and a busy one shares it. Settlements run before everything else in a
//! batch, because they free money, and they are never refused: what a failed batch could not write is tried again until it is on disk.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Clock, StoreError,
    fault::Fault,
    identity::{Identity, gone},
    ledger,
    migrate::{FORMAT, too_new},
    open,
    queue::{Batch, Closing, Message, gather},
};
use crate::{
    domain::ledger::Basis,
    store::{Counters, process::Alive},
};

/// How often an idle writer looks for processes that died and folds the WAL back into the file.
const SWEEP_EVERY: Duration = Duration::from_secs(20);
/// After this many operations the WAL (about three pages of 4 KiB each) is folded back into the file, between batches.
const CHECKPOINT_AFTER: usize = 512;
/// Pause before a failed ledger is opened again.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// How long a closing ledger tries to write what is left.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// What an operation may use: the transaction it runs in, who runs it, and when.
pub(super) struct Ledger<'a> {
    pub(super) connection: &'a Connection,
    pub(super) process: &'a str,
    pub(super) now: Timestamp,
}

pub(super) struct Thread {
    path: PathBuf,
    clock: Clock,
    counters: Arc<Counters>,
    alive: Alive,
    /// `None` after an I/O error: what a page holds is then unknown, so the file is opened anew before anything else is believed.
    connection: Option<Connection>,
    /// The files that are open.
    identity: Identity,
    swept: Instant,
    /// Whether the last attempt to write failed; what happens once is said once.
    is_failing: bool,
    /// Operations committed since the WAL was last folded back.
    unfolded: usize,
}

impl Thread {
    pub(super) fn open(path: &Path, clock: Clock, counters: Arc<Counters>) -> Result<Self, StoreError> {
        let connection = open::writer(path)?;
        let identity = Identity::of(path)?;
        let alive = Alive::claim(&processes(path)).map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
        let mut thread = Self {
            path: path.to_owned(),
            clock,
            counters,
            alive,
            connection: Some(connection),
            identity,
            swept: Instant::now(),
            is_failing: false,
            unfolded: 0,
        };
        if let Err(fault) = thread.within(ledger::register_process) {
            thread.alive.retire();
            return Err(fault.into());
        }
        thread.swept = Instant::now();
        Ok(thread)
    }

    /// Works until the queue is closed.
    pub(super) fn run(mut self, messages: &mpsc::Receiver<Message>) {
        let mut batch = Batch::default();
        loop {
            // Settlements that a failed batch could not write are still in here.
            let wait = if batch.len() == 0 { SWEEP_EVERY } else { REOPEN_AFTER };
            let closing = match messages.recv_timeout(wait) {
                Ok(message) => {
                    // Where the callers share a core with this thread, the rest of them come to the queue first.
                    std::thread::yield_now();
                    gather(message, messages, &mut batch)
                }
                Err(RecvTimeoutError::Timeout) => Closing::No,
                Err(RecvTimeoutError::Disconnected) => Closing::Yes(None),
            };
            self.commit(&mut batch);
            if let Closing::Yes(reply) = closing {
                self.write_the_last(&mut batch);
                self.close();
                if let Some(reply) = reply {
                    let _ = reply.send(());
                }
                return;
            }
            self.tidy();
        }
    }

    /// Writes a batch and answers it. Settlements that could not be written stay in the batch.
    fn commit(&mut self, batch: &mut Batch) {
        if batch.len() == 0 {
            return;
        }
        let has_new = !batch.others.is_empty();
        match if self.connection.is_some() { self.write(batch) } else { self.write_anew(batch) } {
            // That a settlement could be written may only mean that there was nothing to write.
            Ok(()) => self.is_failing &= !has_new,
            Err(error) => self.fail(batch, &error),
        }
    }

    /// Opens the file anew and writes what is owed, by itself. Only then is anything else tried: what was never tried is never in doubt.
    fn write_anew(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        // An empty ledger that is made here, or another one that was put here, would forget what was spent.
        let connection = open::writer_again(&self.path)?;
        let identity = Identity::of(&self.path)?;
        if !identity.is_same_ledger(&self.identity) {
            return Err(gone(&self.path, "replaced"));
        }
        (self.connection, self.identity) = (Some(connection), identity);
        let mut owed = Batch { settlements: std::mem::take(&mut batch.settlements), others: Vec::new() };
        let written = self.write(&mut owed);
        batch.settlements = owed.settlements;
        written.map_err(|error| match error {
            StoreError::Doubtful(detail) => StoreError::Unavailable(detail),
            other => other,
        })?;
        self.write(batch)
    }

    /// Applies a batch in one transaction and answers it, or leaves it as it is.
    fn write(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        if batch.len() == 0 {
            return Ok(());
        }
        let all =
            |ledger: &Ledger<'_>| batch.settlements.iter_mut().chain(&mut batch.others).try_for_each(|operation| operation.apply(ledger));
        match self.within(all) {
            Ok(()) => {
                self.unfolded += batch.len();
                self.counters.batch.observe(batch.len() as u64);
                batch.settlements.drain(..).chain(batch.others.drain(..)).for_each(|operation| operation.answer(Ok(())));
                Ok(())
            }
            Err(error) if error.is_of_one_operation() => self.write_one_by_one(batch),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies each operation of a batch in a transaction of its own: one of them cannot be applied, and must not take the others with it.
    fn write_one_by_one(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let operations: Vec<_> = std::mem::take(&mut batch.settlements).into_iter().map(|one| (one, true)).collect();
        let others: Vec<_> = std::mem::take(&mut batch.others).into_iter().map(|one| (one, false)).collect();
        let mut rest = operations.into_iter().chain(others);
        while let Some((mut operation, is_settlement)) = rest.next() {
            match self.within(|ledger| operation.apply(ledger)) {
                Ok(()) => {
                    self.unfolded += 1;
                    self.counters.batch.observe(1);
                    operation.answer(Ok(()));
                }
                Err(error) if error.is_of_one_operation() => operation.answer(Err(error.into())),
                Err(error) => {
                    // The file failed: nothing that follows may be believed to be written.
                    for (operation, is_settlement) in std::iter::once((operation, is_settlement)).chain(rest) {
                        if is_settlement { batch.settlements.push(operation) } else { batch.others.push(operation) }
                    }
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, batch: &mut Batch, error: &StoreError) {
        self.counters.failures.add(1);
        if !matches!(error, StoreError::Busy(_)) {
            // A file that was taken away stays open, and is used again if it is put back.
            if self.identity.check().is_ok() && !matches!(error, StoreError::TooNew { .. }) {
                self.connection = None;
            }
            if !std::mem::replace(&mut self.is_failing, true) {
                tracing::error!(%error, "the ledger failed; nothing is admitted until it works again");
            }
        }
        batch.others.drain(..).for_each(|operation| operation.answer(Err(error.clone())));
    }

    /// Runs `work` in a transaction of its own.
    fn within(&self, work: impl FnOnce(&Ledger<'_>) -> rusqlite::Result<()>) -> Result<(), Fault> {
        let connection = self.connection.as_ref().ok_or(Fault::NotOpen)?;
        connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute([])).map_err(Fault::Sqlite)?;
        let run = || {
            // The time is that of the transaction: waiting for another process's may have taken a while.
            work(&Ledger { connection, process: self.alive.id(), now: (self.clock)() })
        };
        let commit = || {
            let began = Instant::now();
            connection.prepare_cached("COMMIT")?.execute([])?;
            self.counters.commit_us.observe(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            Ok(())
        };
        self.check_file(connection).and_then(|()| run().map_err(Fault::Sqlite)).and_then(|()| commit().map_err(Fault::Commit)).inspect_err(
            |_| {
                let _ = connection.execute_batch("ROLLBACK");
            },
        )
    }

    /// Whether the file may be written: it is the one that was opened, and no newer version of this program has changed its format meanwhile.
    fn check_file(&self, connection: &Connection) -> Result<(), Fault> {
        self.identity.check().map_err(Fault::Refused)?;
        let format = |row: &rusqlite::Row<'_>| row.get(0);
        let found: i64 =
            connection.prepare_cached("PRAGMA user_version").and_then(|mut read| read.query_row([], format)).map_err(Fault::Sqlite)?;
        if found > FORMAT { Err(Fault::Refused(too_new(&self.path, found))) } else { Ok(()) }
    }

    /// Turns the holds of processes that died into suspect charges.
    pub(super) fn sweep(&mut self) -> Result<(), StoreError> {
        self.swept = Instant::now();
        let folder = processes(&self.path);
        let mut charged = 0;
        self.within(|ledger| {
            charged = ledger::recover(ledger, &folder)?;
            Ok(())
        })?;
        self.counters.add_entries(Basis::Crash, charged);
        Ok(())
    }

    fn tidy(&mut self) {
        let Some(connection) = &self.connection else { return };
        let idle = self.swept.elapsed() >= SWEEP_EVERY;
        if self.unfolded > CHECKPOINT_AFTER || (idle && self.unfolded > 0) {
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            self.unfolded = 0;
        }
        if idle && let Err(error) = self.sweep() {
            tracing::warn!(%error, "could not look for processes that ended");
        }
    }

    /// Tries for a while to write settlements that a failing ledger did not take. What stays unwritten is charged in full by the next process.
    fn write_the_last(&mut self, batch: &mut Batch) {
        let deadline = Instant::now() + LAST_TRIES;
        while batch.len() > 0 && Instant::now() < deadline {
            std::thread::sleep(REOPEN_AFTER);
            self.commit(batch);
        }
    }

    fn close(&mut self) {
        if self.within(ledger::unregister_process).is_ok() {
            self.alive.retire();
        }
        self.connection = None;
    }
}

fn processes(path: &Path) -> PathBuf {
    path.with_file_name("processes")
}
