//! Whether the files that are open are still those at their path.
//!
//! A file that was deleted, moved away or replaced can be written to for as long as it is open, and everything written is lost. So the files are compared with
//! their names before each commit: three calls of `stat`, a few microseconds beside a flush.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::StoreError;

/// The ledger itself, and the two files beside it in which SQLite keeps what is committed, and who reads it.
const ENDINGS: [&str; 3] = ["", "-wal", "-shm"];

/// The files of an open ledger.
pub(super) struct Identity {
    files: [(PathBuf, Option<Inode>); 3],
}

/// Which file a name leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
}

impl Identity {
    /// Takes note of the files at this path; the ledger has just been opened there.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let mut files = ENDINGS.map(|ending| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            (PathBuf::from(name), None)
        });
        for (file, inode) in &mut files {
            *inode = inode_of(file).map_err(|error| StoreError::Unavailable(format!("{}: {error}", file.display())))?;
        }
        Ok(Self { files })
    }

    /// Whether the ledger itself, opened again, is the file that it was.
    pub(super) fn is_same_ledger(&self, other: &Self) -> bool {
        self.files[0].1 == other.files[0].1
    }

    /// Checks that every name still leads to the file that is open.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (file, opened) in &self.files {
            match inode_of(file) {
                Ok(now) if now == *opened => {}
                Ok(None) => return Err(gone(file, "removed")),
                Ok(Some(_)) => return Err(gone(file, "replaced")),
                Err(error) => return Err(StoreError::Unavailable(format!("{}: {error}", file.display()))),
            }
        }
        Ok(())
    }
}

/// What to say when the file is no longer there.
pub(super) fn gone(file: &Path, how: &str) -> StoreError {
    StoreError::Unavailable(format!(
        "{} was {how} while it was open; put the file back, or restart every lava-mcp that uses it",
        file.display()
    ))
}

/// `None` when there is no such file.
#[cfg(unix)]
fn inode_of(path: &Path) -> io::Result<Option<Inode>> {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(Inode { device: found.dev(), number: found.ino() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file cannot be deleted or replaced; that it is there is enough.
#[cfg(not(unix))]
fn inode_of(path: &Path) -> io::Result<Option<Inode>> {
    Ok(path.try_exists()?.then_some(Inode { device: 0, number: 0 }))
}
