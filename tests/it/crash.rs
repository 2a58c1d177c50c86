//! The ledger under a process that dies, a disk that loses power, and a disk that fails. Whatever was acknowledged must be in the books afterwards, and
//! what a dead process had set aside is charged in full, once.

mod books;
#[cfg(target_os = "linux")]
mod disk;
mod life;
#[cfg(target_os = "linux")]
mod power;
#[cfg(target_os = "linux")]
mod trouble;
mod worker;

use std::time::Duration;

use books::Books;
use life::Dice;

/// Lives of the worker; `LAVA_STORE_KILLS` makes it more.
const KILLS: u64 = 50;

/// After so many lives a new ledger is begun; every look at a ledger reads all of it.
const LIVES_OF_A_LEDGER: u64 = 10;

/// How often something is done in a test: as an environment variable says, or else the usual number.
fn times(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A temporary folder, in memory where the system has such a place.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// How long a worker lives from the moment at which it is ready.
fn lifetime(dice: &mut Dice) -> Duration {
    Duration::from_millis(20 + dice.below(281))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_nine() {
    let kills = times("LAVA_STORE_KILLS", KILLS);
    let folder = folder();
    let mut books = Books::create(folder.path(), kills).await;
    let mut dice = Dice::new(kills);
    let (mut operations, mut suspects) = (0, 0);
    for life in 0..kills {
        if life % LIVES_OF_A_LEDGER == 0 {
            books = Books::create(folder.path(), life).await;
        }
        // Every fifth life soon meets its limit.
        books.allow(if life % 5 == 4 { 1_000_000 } else { 1_000_000_000_000 }).await;
        let acks = life::lived(&mut books.worker(), lifetime(&mut dice), || ());
        let audit = books.audit(&acks).await;
        audit.must_be_complete(&format!("life {life}"));
        assert!(audit.unheard <= worker::WORKERS, "life {life}: each worker was doing one thing, and {} holds are unknown", audit.unheard);
        operations += acks.operations();
        suspects += audit.suspects;
    }
    eprintln!("{kills} kills, {operations} acknowledged operations, 0 lost, {suspects} open holds charged as suspect");
    assert!(operations > 0 && suspects > 0, "the worker worked, and was killed at work");
}
