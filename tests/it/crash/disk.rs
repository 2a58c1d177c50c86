//! A disk that can lose power and can fail: the library of `shim/disk.c`, loaded into the program under test. Linux only.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::life::Dice;

/// What a disk surely writes as a whole.
const SECTOR: usize = 512;

/// What fails, from the moment at which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Every write says that the disk is full.
    WritesFail,
    /// The disk takes so many bytes more; the write that goes beyond is cut short, the next ones fail.
    FullAfter(u64),
    /// Writes over what is there work, files cannot grow.
    GrowthFails,
    /// Every sync fails, and what was to be synced is gone.
    SyncsFail,
    /// A sync does not return before the trouble is over; then it is done.
    SyncsHang,
}

/// What is left of writes that were not synced when the power went.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// Nothing.
    Everything,
    /// Some sectors of them, and not others.
    SomeSectors,
}

pub(super) struct Disk {
    folder: tempfile::TempDir,
    ledger: PathBuf,
    control: File,
    is_lazy: bool,
    flush_us: u32,
}

impl Disk {
    /// The disk under this ledger.
    pub(super) fn new(ledger: &Path) -> Self {
        let folder = super::folder();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/shim/disk.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([folder.path().join("disk.so"), source])
            .args(["-ldl", "-lpthread"])
            .output()
            .expect("a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let control = folder.path().join("control");
        std::fs::write(&control, [0; 64]).unwrap();
        let control = File::options().read(true).write(true).open(control).unwrap();
        std::fs::create_dir(folder.path().join("durable")).unwrap();
        Self { folder, ledger: ledger.to_owned(), control, is_lazy: false, flush_us: 0 }
    }

    /// A sync takes this long.
    pub(super) fn with_flush(mut self, us: u32) -> Self {
        self.flush_us = us;
        self
    }

    /// The sync of a commit is not done, as with `synchronous=NORMAL`.
    pub(super) fn that_is_lazy(mut self) -> Self {
        self.is_lazy = true;
        self
    }

    /// Lets the program run on this disk.
    pub(super) fn under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let at = |name: &str| self.folder.path().join(name);
        command.env("LD_PRELOAD", at("disk.so")).env("LAVA_DISK_LEDGER", &self.ledger).env("LAVA_DISK_CONTROL", at("control"));
        command.env("LAVA_DISK_FLUSH_US", self.flush_us.to_string());
        if self.is_lazy {
            command.env("LAVA_DISK_LAZY", "1");
        }
        command
    }

    /// As `under`, and keeps what a loss of power would leave.
    pub(super) fn with_power_under<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.under(command).env("LAVA_DISK_DURABLE", self.folder.path().join("durable"))
    }

    pub(super) fn begin(&self, trouble: Trouble) {
        let code = match trouble {
            Trouble::WritesFail => 1,
            Trouble::FullAfter(bytes) => {
                self.set(1, bytes);
                2
            }
            Trouble::GrowthFails => 3,
            Trouble::SyncsFail => 4,
            Trouble::SyncsHang => 5,
        };
        self.set(0, code);
    }

    pub(super) fn end(&self) {
        self.set(0, 0);
    }

    /// How many calls have failed so far.
    pub(super) fn failed(&self) -> u64 {
        self.word(2)
    }

    /// How many syncs were done so far.
    pub(super) fn synced(&self) -> u64 {
        self.word(3)
    }

    fn set(&self, word: u64, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();
    }

    fn word(&self, word: u64) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, word * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// The power goes. The program is dead; its files become what was durable, and what of the rest happened to be written.
    pub(super) fn cut(&self, loss: Loss, dice: &mut Dice) {
        for suffix in ["", "-wal", "-shm"] {
            let file = sibling(&self.ledger, suffix);
            let durable = self.folder.path().join("durable").join(file.file_name().unwrap());
            let _ = match std::fs::read(&durable) {
                Ok(durable) => {
                    let written = std::fs::read(&file).unwrap_or_default();
                    std::fs::write(&file, remains(durable, &written, loss, dice))
                }
                // Never synced, or rebuilt after a start anyway (the -shm).
                Err(_) => std::fs::remove_file(&file),
            };
            let _ = std::fs::remove_file(durable);
        }
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// What a file holds after the loss: what was durable, and perhaps some sectors of what was not.
fn remains(durable: Vec<u8>, written: &[u8], loss: Loss, dice: &mut Dice) -> Vec<u8> {
    let mut left = durable;
    if matches!(loss, Loss::Everything) {
        return left;
    }
    for (at, sector) in written.chunks(SECTOR).enumerate() {
        let from = at * SECTOR;
        let to = from + sector.len();
        if left.get(from..to) != Some(sector) && dice.below(2) == 0 {
            left.resize(left.len().max(to), 0);
            left[from..to].copy_from_slice(sector);
        }
    }
    left
}

#[test]
fn what_was_not_synced_is_lost_whole_or_in_sectors() {
    let durable = vec![1; 3 * SECTOR];
    let written = vec![2; 40 * SECTOR + 7];
    assert_eq!(remains(durable.clone(), &written, Loss::Everything, &mut Dice::new(1)), durable);
    let left = remains(durable.clone(), &written, Loss::SomeSectors, &mut Dice::new(1));
    assert!(left.contains(&2) && left[..durable.len()].contains(&1) && left.len() >= durable.len());
    assert!(left.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])), "a sector is old or new");
}
