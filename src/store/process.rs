//! Whether a process that shares the ledger still lives is a fact, not a guess: each holds a lock on a file of its own for as long as it lives, and the
//! operating system lets go of it when the process ends, however it ends.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::platform::private_file;

/// This process's mark of life. Dropping it lets others see the process as ended.
pub(super) struct Alive {
    id: String,
    path: PathBuf,
    _lock: File,
}

impl Alive {
    /// Makes and locks a new file in `folder`. Call this before the id becomes visible in the ledger, so that a visible id always has a lock.
    pub(super) fn claim(folder: &Path) -> io::Result<Self> {
        private_file::create_folder(folder)?;
        let id = ulid::Ulid::generate().to_string();
        let path = lock_path(folder, &id);
        let file = private_file::create_new(&path)?;
        // It is new, and nobody else opens it: there is nobody to wait for.
        file.try_lock()?;
        Ok(Self { id, path, _lock: file })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Removes the file; the caller has taken the id out of the ledger.
    pub(super) fn retire(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the process with this id has ended.
pub(super) fn has_ended(folder: &Path, id: &str) -> io::Result<bool> {
    let file = match private_file::open_existing(&lock_path(folder, id)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the file of a process that has ended.
pub(super) fn forget(folder: &Path, id: &str) {
    let _ = std::fs::remove_file(lock_path(folder, id));
}

fn lock_path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_once_its_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let alive = Alive::claim(folder.path()).unwrap();
        let id = alive.id().to_owned();
        assert!(!has_ended(folder.path(), &id).unwrap());
        drop(alive);
        assert!(has_ended(folder.path(), &id).unwrap());
        forget(folder.path(), &id);
        assert!(has_ended(folder.path(), &id).unwrap());
    }
}
