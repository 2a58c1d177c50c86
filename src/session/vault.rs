//! Where keys are kept: the operating system's keyring, or, only when asked for, a file that nobody but its owner may read.
//!
//! A keyring can be missing, locked, or waiting for somebody to type a password. So it is touched only when a key is needed, off the async threads, and with
//! a limit on the wait. One that did not answer is left alone for a while, so that not every call has to wait for it: until it answers, or a minute has passed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::VaultError;
use crate::{
    domain::{Secret, text::counted},
    platform::private_file,
};

/// The name under which the keyring lists our entries.
const SERVICE: &str = "lava-mcp";
/// A locked keyring on a desktop waits for its owner; we do not wait that long.
const KEYRING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a keyring that did not answer is not asked again.
const PAUSE: Duration = Duration::from_secs(60);
/// Longer than any change of the file takes.
const LOCK_TIMEOUT: Duration = Duration::from_secs(15);
/// The file, in the data folder.
const FILE_NAME: &str = "keys.json";

/// The same of the sandbox, where nobody chose a place and there is no keyring: its keys stand for no money.
const SANDBOX_FILE_NAME: &str = "sandbox-keys.json";
/// Remembers, in the data folder, that a person chose the file.
const CHOICE_NAME: &str = "credential-store";

/// A place for keys.
#[derive(Clone, Debug)]
pub enum Vault {
    /// The operating system's keyring.
    Keyring,
    /// A file in this folder.
    File(PathBuf),
    /// The settings do not say: the keyring, unless a person said once that the file in this folder is to be used.
    Unset {
        /// The data folder.
        folder: PathBuf,
        /// Whether the keys stand for no money: then a missing keyring needs nobody's word.
        for_sandbox: bool,
    },
}

/// Where something is kept.
enum Place {
    Keyring,
    File(PathBuf),
}

impl Vault {
    /// Remembers in a data folder, for all later runs, whether a person chose the file.
    ///
    /// # Errors
    /// [`VaultError`] when the folder cannot be written.
    pub fn choose(folder: &Path, is_file: bool) -> Result<(), VaultError> {
        let path = folder.join(CHOICE_NAME);
        let written = match is_file {
            _ if is_file == path.exists() => Ok(()),
            true => private_file::create_folder(folder).and_then(|_| private_file::write_new(&path, b"file\n")),
            false => std::fs::remove_file(&path),
        };
        written.map_err(|error| VaultError::unavailable("file", format!("{}: {error}", path.display())))
    }

    /// The file in a data folder.
    pub fn file_in(folder: &Path) -> PathBuf {
        folder.join(FILE_NAME)
    }

    /// The file, where it has been decided that it is one.
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Keyring => None,
            Self::File(folder) => Some(folder.join(FILE_NAME)),
            Self::Unset { folder, .. } if folder.join(CHOICE_NAME).exists() => Some(folder.join(FILE_NAME)),
            Self::Unset { folder, for_sandbox } => for_sandbox.then(|| folder.join(SANDBOX_FILE_NAME)).filter(|path| path.exists()),
        }
    }

    async fn place(&self) -> Place {
        match (self.file(), self) {
            (Some(path), _) => Place::File(path),
            (None, Self::Unset { folder, for_sandbox: true }) if !KEYRING.is_there().await => Place::File(folder.join(SANDBOX_FILE_NAME)),
            _ => Place::Keyring,
        }
    }

    /// Whether keys would go into a keyring, and there is none.
    pub async fn is_missing(&self) -> bool {
        matches!(self.place().await, Place::Keyring) && !KEYRING.is_there().await
    }

    /// Asks a keyring that did not answer again at once, when it is needed next.
    pub fn ask_again(&self) {
        KEYRING.wake();
    }

    /// `keyring` or `file`.
    pub fn kind(&self) -> &'static str {
        if self.file().is_some() { "file" } else { "keyring" }
    }

    /// What is kept for an account; `None` if nothing is.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be read.
    pub async fn load(&self, account: &str) -> Result<Option<Secret>, VaultError> {
        let account = account.to_owned();
        match self.place().await {
            Place::Keyring => {
                KEYRING
                    .run(move || match entry(&account)?.get_password() {
                        Ok(text) => Ok(Some(Secret::new(text))),
                        Err(keyring::Error::NoEntry) => Ok(None),
                        Err(error) => Err(error),
                    })
                    .await
            }
            Place::File(path) => in_file(path, move |keys| keys.get(&account).map(|text| Secret::new(text.clone()))).await,
        }
    }

    /// Keeps something for an account, in place of what was kept.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be written.
    pub async fn store(&self, account: &str, secret: &Secret) -> Result<(), VaultError> {
        let (account, secret) = (account.to_owned(), secret.clone());
        match self.place().await {
            Place::Keyring => KEYRING.run(move || entry(&account)?.set_password(secret.expose())).await,
            Place::File(path) => change_file(path, move |keys| drop(keys.insert(account, secret.expose().to_owned()))).await,
        }
    }

    /// Forgets what is kept for an account.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be written.
    pub async fn remove(&self, account: &str) -> Result<(), VaultError> {
        let account = account.to_owned();
        match self.place().await {
            Place::Keyring => {
                KEYRING
                    .run(move || match entry(&account)?.delete_credential() {
                        Ok(()) | Err(keyring::Error::NoEntry) => Ok(()),
                        Err(error) => Err(error),
                    })
                    .await
            }
            Place::File(path) => change_file(path, move |keys| drop(keys.remove(&account))).await,
        }
    }

    /// Whether the vault can keep something: stores a word, reads it and forgets it.
    ///
    /// # Errors
    /// [`VaultError`] when it cannot.
    pub async fn check(&self) -> Result<(), VaultError> {
        const ACCOUNT: &str = "check";
        self.store(ACCOUNT, &Secret::new("check")).await?;
        let read = self.load(ACCOUNT).await?;
        self.remove(ACCOUNT).await?;
        read.map(|_| ()).ok_or_else(|| VaultError::unavailable(self.kind(), "what was stored could not be read back"))
    }
}

fn entry(account: &str) -> keyring::Result<keyring::Entry> {
    keyring::Entry::new(SERVICE, account)
}

/// The user has one keyring, whoever in this process asks it.
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring { timeout: KEYRING_TIMEOUT, pause: PAUSE, silent_until: Arc::default() });

/// The keyring, and until when it is left alone.
struct Keyring {
    timeout: Duration,
    pause: Duration,
    /// Set when it did not answer.
    silent_until: Arc<Mutex<Option<Instant>>>,
}

impl Keyring {
    /// Whether there is one. One that does not answer is there.
    async fn is_there(&self) -> bool {
        self.run(|| Ok(keyring::Entry::store_status().is_ok())).await.unwrap_or(true)
    }

    fn wake(&self) {
        set(&self.silent_until, None);
    }

    /// Runs a call of the keyring on a thread that may block.
    async fn run<T: Send + 'static>(&self, call: impl FnOnce() -> keyring::Result<T> + Send + 'static) -> Result<T, VaultError> {
        let fail = |reason: String| VaultError::unavailable("keyring", reason);
        let silent_until = *self.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = silent_until.and_then(|until| until.checked_duration_since(Instant::now())) {
            return Err(fail(format!(
                "it did not answer a moment ago, and is asked again in {}, or at once by login with force",
                counted(left.as_secs() + 1, "second")
            )));
        }
        let silent_until = self.silent_until.clone();
        // The thread stays until the keyring answers; then it may be asked again.
        let call = move || {
            let answer = call();
            set(&silent_until, None);
            answer
        };
        match tokio::time::timeout(self.timeout, tokio::task::spawn_blocking(call)).await {
            Err(_) => {
                set(&self.silent_until, Some(Instant::now() + self.pause));
                Err(fail(format!(
                    "it did not answer within {} seconds; it may be locked and waiting for its password. It is asked again in {} seconds, or at once by \
                     login with force",
                    self.timeout.as_secs(),
                    self.pause.as_secs()
                )))
            }
            Ok(Err(_)) => Err(fail("its driver failed".to_owned())),
            Ok(Ok(Err(error))) => Err(VaultError::of_keyring(describe(&error), matches!(error, keyring::Error::NoDefaultStore))),
            Ok(Ok(Ok(value))) => Ok(value),
        }
    }
}

fn set(silent_until: &Mutex<Option<Instant>>, until: Option<Instant>) {
    *silent_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
}

fn describe(error: &keyring::Error) -> String {
    match error {
        keyring::Error::NoStorageAccess(detail) => format!("it is locked, was never set up, or access was denied ({detail})"),
        keyring::Error::NoDefaultStore | keyring::Error::PlatformFailure(_) => match keyring::Entry::store_status() {
            Err(status) => {
                tracing::debug!(%status, "no keyring answers");
                "there is none on this system, or it is not running".to_owned()
            }
            Ok(()) => error.to_string(),
        },
        other => other.to_string(),
    }
}

type Keys = BTreeMap<String, String>;

async fn in_file<T: Send + 'static>(path: PathBuf, read: impl FnOnce(&Keys) -> T + Send + 'static) -> Result<T, VaultError> {
    blocking(path, move |path| read_keys(path).map(|keys| read(&keys))).await
}

/// Writes the whole file anew beside the old one and moves it into place, so that no moment shows half a file. A lock keeps two processes apart.
async fn change_file(path: PathBuf, change: impl FnOnce(&mut Keys) + Send + 'static) -> Result<(), VaultError> {
    blocking(path, move |path| {
        private_file::create_folder(path.parent().unwrap_or(Path::new(".")))?;
        let _lock = private_file::lock(&path.with_extension("json.lock"), LOCK_TIMEOUT)?;
        let mut keys = read_keys(path)?;
        change(&mut keys);
        let fresh = path.with_extension("json.new");
        let _ = std::fs::remove_file(&fresh);
        private_file::write_new(&fresh, serde_json::to_string_pretty(&keys)?.as_bytes())?;
        std::fs::rename(&fresh, path)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, VaultError> {
    let shown = path.display().to_string();
    let fail = |reason: String| VaultError::unavailable("file", format!("{shown}: {reason}"));
    let work = move || work(&path);
    tokio::task::spawn_blocking(work).await.map_err(|error| fail(error.to_string()))?.map_err(|error| fail(error.to_string()))
}

fn read_keys(path: &Path) -> std::io::Result<Keys> {
    match private_file::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| std::io::Error::other("it is damaged; move it away and log in again")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Keys::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_keeps_keys_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::File(folder.path().join("deep"));
        assert!(vault.load("a").await.unwrap().is_none());
        vault.store("a", &Secret::new("one")).await.unwrap();
        vault.store("b", &Secret::new("two")).await.unwrap();
        vault.remove("a").await.unwrap();
        assert!(vault.load("a").await.unwrap().is_none());
        assert_eq!(vault.load("b").await.unwrap().unwrap().expose(), "two");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.path().join("deep").join(FILE_NAME)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    /// What a keyring says after this time.
    fn after(ms: u64) -> impl FnOnce() -> keyring::Result<u64> + Send + 'static {
        move || {
            std::thread::sleep(Duration::from_millis(ms));
            Ok(ms)
        }
    }

    fn silent_for(pause_ms: u64) -> Keyring {
        Keyring { timeout: Duration::from_millis(50), pause: Duration::from_millis(pause_ms), silent_until: Arc::default() }
    }

    #[tokio::test]
    async fn a_keyring_that_did_not_answer_is_left_alone_for_a_while() {
        let keyring = silent_for(60_000);
        assert!(keyring.run(after(1_000)).await.unwrap_err().to_string().contains("did not answer within"));
        let began = Instant::now();
        for _ in 0..10 {
            let error = keyring.run(after(0)).await.unwrap_err().to_string();
            assert!(error.contains("asked again in 60 seconds") && error.contains("login with force"), "{error}");
        }
        assert!(began.elapsed() < Duration::from_millis(50), "nobody waits");
        keyring.wake();
        assert_eq!(keyring.run(after(1)).await.unwrap(), 1, "asked at once");
        assert_eq!(keyring.run(after(2)).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_keyring_is_asked_again_after_the_pause_or_when_it_has_answered() {
        let keyring = silent_for(100);
        assert!(keyring.run(after(1_000)).await.is_err() && keyring.run(after(0)).await.is_err());
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(keyring.run(after(1)).await.unwrap(), 1);
        let keyring = silent_for(60_000);
        assert!(keyring.run(after(200)).await.is_err() && keyring.run(after(0)).await.is_err());
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(keyring.run(after(1)).await.unwrap(), 1, "somebody has unlocked it meanwhile");
    }

    #[tokio::test]
    async fn a_damaged_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), "{").unwrap();
        let vault = Vault::File(folder.path().to_owned());
        assert!(vault.store("a", &Secret::new("x")).await.unwrap_err().to_string().contains("damaged"));
        assert_eq!(std::fs::read_to_string(folder.path().join(FILE_NAME)).unwrap(), "{");
    }
}
