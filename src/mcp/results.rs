//! Results that are too long or no text: kept whole in the data folder, to be read on from there for a day.
//!
//! A file's name is all there is: a random id, whose it is, and what it is. Whoever does not know both the id and its owner finds nothing.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::media;
use crate::{domain::id::hex, platform::private_file, session::Payer};

/// Where results are read.
pub(super) const ADDRESS: &str = "lava-mcp://results/";
/// How long a result is kept, unless room is needed.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Most results of one payer, and of all, with their bytes.
const OF_ONE: Room = Room { count: 100, bytes: 128 << 20 };
const OF_ALL: Room = Room { count: 2_000, bytes: 1 << 30 };
const ID_BYTES: usize = 16;

#[derive(Clone, Copy)]
struct Room {
    count: usize,
    bytes: u64,
}

impl Room {
    const fn is_over(&self, most: &Self) -> bool {
        self.count > most.count || self.bytes > most.bytes
    }
}

/// The folder of results. Cheap to clone.
#[derive(Clone)]
pub(super) struct Results {
    folder: Arc<Path>,
    swept: Arc<Once>,
}

/// A result that was kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Such as `lava-mcp://results/0123…`.
    pub(super) uri: String,
    /// Its file, for a client on the same machine.
    pub(super) file: Option<String>,
}

impl Results {
    /// Results in this folder, which need not exist yet.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder: folder.into(), swept: Arc::new(Once::new()) }
    }

    /// Removes what has grown old, once in a process: not at its start, which is to be quick, and whether or not another result will be kept.
    pub(super) fn sweep(&self) {
        self.swept.call_once(|| {
            let folder = self.folder.clone();
            tokio::task::spawn_blocking(move || young(&folder));
        });
    }

    /// Keeps a result for `payer`; `None` when that cannot be done, which is no reason to lose the rest of the answer.
    pub(super) async fn keep(&self, payer: &Payer, kind: &str, bytes: Bytes) -> Option<Kept> {
        let (folder, owner, extension) = (self.folder.clone(), owner(payer), media::extension(kind));
        let kept = tokio::task::spawn_blocking(move || {
            let id = random_id()?;
            let path = folder.join(format!("{id}-{owner}.{extension}"));
            write(&folder, &path, &bytes)?;
            clean(&folder, &path, &owner, &OF_ONE, &OF_ALL);
            Ok::<_, io::Error>((id, path))
        });
        match kept.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok((id, path)) => {
                // Who pays with a key of its own may sit at another machine, where the path means nothing and is nobody's business.
                let file = payer.client().map(|_| path.display().to_string());
                Some(Kept { uri: format!("{ADDRESS}{id}"), file })
            }
            Err(error) => {
                tracing::warn!(%error, "a result could not be kept");
                None
            }
        }
    }

    /// A result of `payer` with its media type.
    pub(super) async fn read(&self, payer: &Payer, id: &str) -> Option<(&'static str, Kept, Bytes)> {
        if id.len() != ID_BYTES * 2 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let (folder, beginning) = (self.folder.clone(), format!("{id}-{}.", owner(payer)));
        let found = tokio::task::spawn_blocking(move || {
            let path = young(&folder).into_iter().map(|file| file.path).find(|path| name_of(path).starts_with(&beginning))?;
            let kind = media::kind_of_file(path.extension()?.to_str()?)?;
            Some((kind, path.display().to_string(), Bytes::from(fs::read(&path).ok()?)))
        });
        let (kind, file, bytes) = found.await.ok().flatten()?;
        let file = payer.client().map(|_| file);
        Some((kind, Kept { uri: format!("{ADDRESS}{id}"), file }, bytes))
    }
}

/// An id that nobody can guess: 128 bits as hexadecimal digits.
pub(super) fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(hex(&bytes))
}

/// A payer's part of a file name.
fn owner(payer: &Payer) -> String {
    hex(&Sha256::digest(payer.scope())[..ID_BYTES])
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Answers can be private: nobody else on the machine may read them.
fn write(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    private_file::create_folder(folder)?;
    io::Write::write_all(&mut private_file::create_new(path)?, bytes)
}

struct File {
    path: PathBuf,
    modified: SystemTime,
    bytes: u64,
}

impl File {
    /// A payer's part of its name.
    fn owner(&self) -> &str {
        name_of(&self.path).split(['-', '.']).nth(1).unwrap_or_default()
    }

    /// By the system's clock, which also wrote the file's time. No limit or expiry hangs on it.
    fn is_old(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age > KEPT_FOR)
    }
}

/// The results in the folder; nothing else that may lie there.
fn files(folder: &Path) -> Vec<File> {
    let is_result = |path: &Path| {
        let Some((stem, _)) = name_of(path).rsplit_once('.') else { return false };
        stem.len() == ID_BYTES * 4 + 1 && stem.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    let read = |entry: fs::DirEntry| {
        let about = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some(File { path: entry.path(), modified: about.modified().ok()?, bytes: about.len() })
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(read).filter(|file| is_result(&file.path)).collect()
}

/// The results that are not old; the others are removed.
fn young(folder: &Path) -> Vec<File> {
    let (old, young): (Vec<File>, _) = files(folder).into_iter().partition(File::is_old);
    for file in old {
        let _ = fs::remove_file(&file.path);
    }
    young
}

/// Removes what is old, and where there is too much, the oldest results of whoever has the most: nobody's last result makes room for somebody's hundredth.
fn clean(folder: &Path, newest: &Path, owner: &str, of_one: &Room, of_all: &Room) {
    let mut files = young(folder);
    files.sort_unstable_by_key(|file| file.modified);
    let mut by_owner: HashMap<String, VecDeque<File>> = HashMap::new();
    for file in files {
        by_owner.entry(file.owner().to_owned()).or_default().push_back(file);
    }
    let room = |files: &VecDeque<File>| Room { count: files.len(), bytes: files.iter().map(|file| file.bytes).sum() };
    let mut rooms: HashMap<String, Room> = by_owner.iter().map(|(owner, files)| (owner.clone(), room(files))).collect();
    loop {
        let all = rooms
            .values()
            .fold(Room { count: 0, bytes: 0 }, |all, one| Room { count: all.count + one.count, bytes: all.bytes + one.bytes });
        let from = if rooms.get(owner).is_some_and(|mine| mine.is_over(of_one)) {
            owner.to_owned()
        } else if all.bytes > of_all.bytes {
            let Some((most, _)) = rooms.iter().max_by_key(|(_, room)| room.bytes) else { return };
            most.clone()
        } else if all.count > of_all.count {
            let Some((most, _)) = rooms.iter().max_by_key(|(_, room)| room.count) else { return };
            most.clone()
        } else {
            return;
        };
        let oldest = by_owner.get_mut(&from).and_then(VecDeque::pop_front).filter(|oldest| oldest.path != newest);
        let (Some(oldest), Some(room)) = (oldest, rooms.get_mut(&from)) else {
            // Only what was kept just now is left of it, however large.
            rooms.remove(&from);
            continue;
        };
        let _ = fs::remove_file(&oldest.path);
        (room.count, room.bytes) = (room.count - 1, room.bytes.saturating_sub(oldest.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    fn in_folder() -> (tempfile::TempDir, Results) {
        let folder = tempfile::tempdir().unwrap();
        let results = Results::new(folder.path().join("results"));
        (folder, results)
    }

    #[tokio::test]
    async fn only_its_payer_reads_a_result() {
        let (_folder, results) = in_folder();
        let (client, key) = (Payer::Client("a".into()), Payer::Key(Secret::new("lava_sk_a")));
        for (payer, other) in [(&client, &key), (&key, &client), (&client, &Payer::Client("b".into()))] {
            let kept = results.keep(payer, "application/json", Bytes::from_static(b"{}")).await.unwrap();
            let id = kept.uri.strip_prefix(ADDRESS).unwrap();
            let (kind, _, bytes) = results.read(payer, id).await.unwrap();
            assert_eq!((kind, &bytes[..]), ("application/json", &b"{}"[..]));
            assert!(results.read(other, id).await.is_none());
            assert_eq!(kept.file.is_some(), matches!(payer, Payer::Client(_)));
        }
        for id in ["", "../../etc/passwd", "0123456789abcdef0123456789abcdeF", &"0".repeat(32)] {
            assert!(results.read(&client, id).await.is_none(), "{id}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn nobody_else_on_the_machine_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, results) = in_folder();
        let kept = results.keep(&Payer::Client("a".into()), "image/png", Bytes::from_static(b"x")).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(Path::new(&kept.file.unwrap())), mode(&results.folder)), (0o600, 0o700));
    }

    #[tokio::test]
    async fn an_old_result_is_not_read_and_the_next_process_removes_it() {
        let (_folder, results) = in_folder();
        let payer = Payer::Client("a".into());
        let keep_old = async || {
            let kept = results.keep(&payer, "text/plain", Bytes::from_static(b"x")).await.unwrap();
            let file = PathBuf::from(kept.file.unwrap());
            let old = fs::metadata(&file).unwrap().modified().unwrap() - KEPT_FOR - Duration::from_secs(60);
            fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
            (kept.uri, file)
        };
        let (uri, file) = keep_old().await;
        assert!(results.read(&payer, uri.strip_prefix(ADDRESS).unwrap()).await.is_none());
        assert!(!file.exists());
        let (_, file) = keep_old().await;
        Results::new(results.folder.to_path_buf()).sweep();
        for _ in 0..500 {
            if !file.exists() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is still there");
    }

    #[tokio::test]
    async fn old_results_and_too_many_make_room() {
        let (_folder, results) = in_folder();
        let payer = Payer::Client("a".into());
        let keep = async || results.keep(&payer, "text/plain", Bytes::from_static(b"x")).await.unwrap().file.unwrap();
        let (old, other) = (keep().await, results.folder.join("notes.txt"));
        fs::write(&other, "not a result").unwrap();
        let set = |path: &str, age: Duration| {
            let now = fs::metadata(path).unwrap().modified().unwrap();
            fs::File::options().write(true).open(path).unwrap().set_modified(now - age).unwrap();
        };
        set(&old, KEPT_FOR + Duration::from_secs(60));
        let first = keep().await;
        assert!(!Path::new(&old).exists() && Path::new(&first).exists());
        set(&first, Duration::from_secs(60));
        for _ in 0..OF_ONE.count {
            keep().await;
        }
        assert!(!Path::new(&first).exists(), "the oldest makes room");
        assert_eq!(files(&results.folder).len(), OF_ONE.count);
        assert!(other.exists());
    }

    #[test]
    fn whoever_has_the_most_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let name = |n: u32, owner: char| folder.path().join(format!("{n:032x}-{}.txt", owner.to_string().repeat(32)));
        let put = |n: u32, owner: char, bytes: usize| {
            fs::write(name(n, owner), vec![b'x'; bytes]).unwrap();
            let of_all = Room { count: 10, bytes: 1_000 };
            clean(folder.path(), &name(n, owner), &owner.to_string().repeat(32), &Room { count: 8, bytes: 800 }, &of_all);
            std::thread::sleep(Duration::from_millis(5));
        };
        put(0, 'a', 10);
        (1..12).for_each(|n| put(n, 'b', 10));
        assert!(name(0, 'a').exists() && !name(3, 'b').exists() && name(4, 'b').exists(), "eight of b are left");
        put(12, 'c', 10);
        put(13, 'c', 10);
        assert!(name(0, 'a').exists() && name(12, 'c').exists() && !name(4, 'b').exists());
        put(14, 'c', 900);
        assert!(name(0, 'a').exists() && name(14, 'c').exists() && !name(13, 'c').exists(), "the newest is kept, however large");
    }
}
