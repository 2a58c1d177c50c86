//! Files and folders that nobody else on the machine reads, holds or plants, whatever the umask: the ledger, keys, results, and the locks around them.
//!
//! Who can open a file for reading can lock it, and so keep everybody waiting; who can write to a folder can put a pipe where a file is expected. So what is opened
//! here is a file of this user's own, made private if it was not, and a lock is waited for only so long.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::{Duration, Instant},
};

/// How often a lock is tried.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes a folder and those above it that are missing. One that is there already becomes private, unless it is shared by its nature, such as `/tmp`; says whether it was
/// open until now.
pub(crate) fn create_folder(path: &Path) -> io::Result<bool> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    return unix::close_folder(path);
    #[cfg(not(unix))]
    Ok(false)
}

/// Makes what an earlier version left open in its data folder private: the files of these names, and these folders with all that is in them. What is no file of ours
/// is left to whoever opens it.
pub(crate) fn close_what_is_there(folder: &Path, files: &[&str], folders: &[&str]) {
    for name in files {
        let _ = close_existing(&folder.join(name));
    }
    for below in folders.iter().map(|name| folder.join(name)).filter(|below| below.is_dir()) {
        // Behind a closed door the files can be as they are; there may be thousands.
        if !create_folder(&below).unwrap_or(false) {
            continue;
        }
        for entry in fs::read_dir(&below).into_iter().flatten().flatten() {
            let _ = close_existing(&entry.path());
        }
    }
}

/// Creates a file for writing; an error if there is something in its place.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    unix::close_file(path, &file)?;
    Ok(file)
}

/// Makes a file private that is there, without opening it.
pub(crate) fn close_existing(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    if unix::is_open_to_others(path, &metadata)? {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    #[cfg(not(unix))]
    let _ = metadata;
    Ok(())
}

/// Writes a new file and has it on disk.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_new(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// Opens a file for reading and writing, and creates it if it is missing.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    unix::wait_for_nobody(&mut options, true);
    let file = options.open(path)?;
    #[cfg(unix)]
    unix::close_file(path, &file)?;
    Ok(file)
}

/// Opens a file that is there, for reading.
pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    unix::wait_for_nobody(&mut options, false);
    let file = options.open(path)?;
    #[cfg(unix)]
    unix::close_file(path, &file)?;
    Ok(file)
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut open_existing(path)?, &mut bytes)?;
    Ok(bytes)
}

/// Opens a lock file and locks it; the lock ends when the file is dropped.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when somebody else held it for as long as `patience`.
pub(crate) fn lock(path: &Path, patience: Duration) -> io::Result<File> {
    let file = open(path)?;
    let until = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another process has held {} for {} seconds", path.display(), patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        fs::{File, Metadata, OpenOptions, Permissions},
        io,
        os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
        path::Path,
    };

    use rustix::{fs::OFlags, process::geteuid};

    /// Everything that others could do.
    const OTHERS: u32 = 0o077;
    /// Others may put files there, but not take them away: a folder of the system's.
    const STICKY: u32 = 0o1000;

    /// The opening waits neither for the other end of a pipe nor for a device.
    pub(super) fn wait_for_nobody(options: &mut OpenOptions, creates: bool) {
        let mut flags = OFlags::NONBLOCK;
        if creates {
            options.mode(0o600);
            flags |= OFlags::NOFOLLOW;
        }
        options.custom_flags(flags.bits().cast_signed());
    }

    fn is_ours(metadata: &Metadata) -> bool {
        metadata.uid() == geteuid().as_raw()
    }

    /// Takes a file only if it is one, and of this user or of the system; makes it private.
    pub(super) fn close_file(path: &Path, file: &File) -> io::Result<()> {
        if is_open_to_others(path, &file.metadata()?)? {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Ok(())
    }

    pub(super) fn is_open_to_others(path: &Path, metadata: &Metadata) -> io::Result<bool> {
        if !metadata.is_file() {
            return Err(io::Error::other(format!("{} is not a file", path.display())));
        }
        if !is_ours(metadata) && metadata.uid() != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} belongs to another user", path.display())));
        }
        Ok(is_ours(metadata) && metadata.mode() & 0o777 != 0o600)
    }

    pub(super) fn close_folder(path: &Path) -> io::Result<bool> {
        let metadata = path.metadata()?;
        let is_open = metadata.mode() & OTHERS != 0;
        if is_ours(&metadata) && metadata.mode() & STICKY == 0 && (is_open || metadata.mode() & 0o700 != 0o700) {
            std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
        }
        Ok(is_open)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn what_was_too_open_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (deep, shared, file) = (folder.path().join("a/b"), folder.path().join("shared"), folder.path().join("file"));
        create_folder(&deep).unwrap();
        assert_eq!((mode(&folder.path().join("a")), mode(&deep)), (0o700, 0o700));
        fs::set_permissions(&deep, fs::Permissions::from_mode(0o777)).unwrap();
        create_folder(&deep).unwrap();
        assert_eq!(mode(&deep), 0o700);
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        create_folder(&shared).unwrap();
        assert_eq!(mode(&shared), 0o1777, "everybody's folder stays everybody's");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(read(&file).unwrap(), b"old");
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        drop(open(&file).unwrap());
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, b"old".to_vec()));
        assert!(create_new(&file).is_err());
    }

    #[test]
    fn nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link, lock_file) = (folder.path().join("pipe"), folder.path().join("link"), folder.path().join("lock"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(open(&pipe).unwrap_err().to_string().contains("is not a file"));
        assert!(read(&pipe).unwrap_err().to_string().contains("is not a file"));
        symlink(&lock_file, &link).unwrap();
        assert!(open(&link).is_err() && !lock_file.exists(), "a link is not followed to where it makes a file");
        let held = lock(&lock_file, Duration::ZERO).unwrap();
        let began = Instant::now();
        let error = lock(&lock_file, Duration::from_millis(100)).unwrap_err();
        assert!(error.kind() == io::ErrorKind::TimedOut && error.to_string().contains("another process has held"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(held);
        drop(lock(&lock_file, Duration::ZERO).unwrap());
    }
}
