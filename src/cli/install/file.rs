//! The client's file on disk: read as text, kept beside itself before it is changed, and replaced in one step, so that no moment shows half of it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// What is added to a file's name for the copy from before the change.
const BACKUP: &str = ".lava-mcp-backup";
/// A file longer than this is no settings file.
const BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A file as it was read. A mark of byte order is kept apart, since it is no part of the text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Original {
    bytes: Vec<u8>,
}

const MARK: &str = "\u{feff}";

impl Original {
    pub(super) fn text(&self) -> Result<&str, String> {
        let text = str::from_utf8(&self.bytes).map_err(|error| format!("it is not UTF-8 text (byte {})", error.valid_up_to()))?;
        Ok(text.strip_prefix(MARK).unwrap_or(text))
    }

    /// The changed text as the bytes to write.
    fn with(&self, text: &str) -> Vec<u8> {
        let mark = if self.bytes.starts_with(MARK.as_bytes()) { MARK } else { "" };
        [mark, text].concat().into_bytes()
    }
}

/// The file that is meant: where a link leads, since the link itself has to stay.
pub(super) fn behind_links(path: &Path) -> Result<PathBuf, String> {
    match fs::symlink_metadata(path) {
        Ok(entry) if entry.is_symlink() => {
            fs::canonicalize(path).map_err(|error| format!("{} is a broken link ({error}). Repair or delete it.", path.display()))
        }
        _ => Ok(path.to_owned()),
    }
}

/// The file of a project that is meant. A project can come from anybody, so no link in it leads out of it, neither the file nor a folder on the way to it.
pub(super) fn within(project: &Path, path: &Path) -> Result<PathBuf, String> {
    let real = |path: &Path| {
        fs::canonicalize(path).map_err(|error| format!("{} is a broken link ({error}). Repair or delete it.", path.display()))
    };
    let project = real(project)?;
    // What is missing is made, and is no link then.
    let there = path.ancestors().find(|part| fs::symlink_metadata(part).is_ok()).unwrap_or(path);
    let found = real(there)?;
    if !found.starts_with(&project) {
        return Err(format!(
            "{} is a link out of the project, to {}. Replace the link with a file or folder.",
            there.display(),
            found.display()
        ));
    }
    let missing = path.strip_prefix(there).unwrap_or(Path::new(""));
    Ok(if missing.as_os_str().is_empty() { found } else { found.join(missing) })
}

/// Reads the file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Original>, String> {
    let fail = |error: io::Error| format!("{} cannot be read: {error}.", path.display());
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail(error)),
        Ok(entry) if !entry.is_file() => Err(format!("{} is not a file.", path.display())),
        Ok(entry) if entry.len() > BYTES_MAX => Err(format!("{} is too long for a settings file.", path.display())),
        Ok(_) => Ok(Some(Original { bytes: fs::read(path).map_err(fail)? })),
    }
}

/// Writes the new text in place of the old. `Ok(None)` if somebody else changed the file meanwhile: it then has to be read anew.
///
/// Gives back the path of the copy of the old file, if there was one.
pub(super) fn replace(path: &Path, old: Option<&Original>, text: &str, is_private: bool) -> Result<Option<Option<PathBuf>>, String> {
    let fail = |error: io::Error| format!("{} cannot be written: {error}. Nothing was changed.", path.display());
    let folder = path.parent().ok_or_else(|| format!("{} is not a file.", path.display()))?;
    fs::create_dir_all(folder).map_err(fail)?;
    let bytes = old.map_or_else(|| text.as_bytes().to_vec(), |old| old.with(text));
    let fresh = beside(path, &format!(".lava-mcp-{}", std::process::id()));
    // One of this name is what a process that was killed left behind.
    let _ = fs::remove_file(&fresh);
    let written = (|| {
        let mut file = create(&fresh, is_private)?;
        if old.is_some() {
            file.set_permissions(fs::metadata(path)?.permissions())?;
        }
        file.write_all(&bytes)?;
        file.sync_all()
    })();
    let backup = written.and_then(|()| old.map(|old| back_up(path, old)).transpose());
    let moved = match backup {
        Ok(backup) if read(path).is_ok_and(|now| now.as_ref() == old) => fs::rename(&fresh, path).map(|()| Some(backup)),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    };
    if !matches!(moved, Ok(Some(_))) {
        let _ = fs::remove_file(&fresh);
    }
    // The rename itself is on disk only with its folder; where that cannot be asked for, the system does it in its own time.
    #[cfg(unix)]
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    moved.map_err(fail)
}

/// Keeps the old bytes beside the file. A copy that is there already is used if it says the same, and never overwritten.
fn back_up(path: &Path, old: &Original) -> io::Result<PathBuf> {
    let permissions = fs::metadata(path)?.permissions();
    for number in 0..1_000 {
        let backup = beside(path, &if number == 0 { BACKUP.to_owned() } else { format!("{BACKUP}.{number}") });
        match create(&backup, true) {
            Ok(mut file) => {
                file.write_all(&old.bytes)?;
                file.set_permissions(permissions)?;
                file.sync_all()?;
                return Ok(backup);
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Err(_) if fs::read(&backup).is_ok_and(|kept| kept == old.bytes) => return Ok(backup),
            Err(_) => {}
        }
    }
    Err(io::Error::other("there are a thousand backups already; delete some"))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// A new file; entries can hold keys, so a private one is its owner's alone from its first moment.
fn create(path: &Path, is_private: bool) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if is_private {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = is_private;
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_meanwhile_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.json");
        fs::write(&path, "{}").unwrap();
        let old = read(&path).unwrap();
        fs::write(&path, "{\"theirs\": 1}").unwrap();
        assert_eq!(replace(&path, old.as_ref(), "ours", true), Ok(None));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"theirs\": 1}");
        assert_eq!(replace(&path, None, "ours", true), Ok(None), "a file that was not there when we looked");
        let old = read(&path).unwrap();
        assert!(replace(&path, old.as_ref(), "ours", true).unwrap().is_some());
        assert_eq!(fs::read_to_string(&path).unwrap(), "ours");
        let names = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        assert!(names.filter(|name| !name.contains(BACKUP)).eq(["mcp.json"]), "nothing half-written is left");
    }
}
