//! The power goes while the ledger works. Its files are set back to what a completed sync had made durable, checkpoints included, with nothing or a random
//! part of what was not; then everything that was acknowledged must still be there. A disk that is lazy about the sync at commit is found out, which
//! shows that this test can tell.

use std::time::Duration;

use super::{
    books::Books,
    disk::{Disk, Loss, Trouble},
    folder,
    life::{self, Dice},
    lifetime, times,
    worker::WORKERS,
};

/// Cuts of the power; `LAVA_POWER_CUTS` makes it more.
const CUTS: u64 = 10;
/// How long a sync takes: as on a fast disk, and long enough for many kills to fall into one.
const FLUSH_US: u32 = 200;
const ROOMY: i64 = 1_000_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = times("LAVA_POWER_CUTS", CUTS);
    let folder = folder();
    let mut books = Books::create(folder.path(), 0).await;
    let disk = Disk::new(books.path()).with_flush(FLUSH_US);
    let mut dice = Dice::new(cuts);
    let (mut operations, mut suspects, mut failures) = (0, 0, 0);
    for cut in 0..cuts {
        books.allow(ROOMY).await;
        let loss = if cut % 2 == 0 { Loss::Everything } else { Loss::SomeSectors };
        // In every third life some syncs fail before the power goes, and take with them what was to be synced.
        let is_failing = cut % 3 == 2;
        let failed_before = disk.failed();
        let acks = life::lived(disk.with_power_under(&mut books.worker()), lifetime(&mut dice), || {
            if is_failing {
                disk.begin(Trouble::SyncsFail);
                std::thread::sleep(Duration::from_millis(20));
                disk.end();
                // Long enough for the ledger to be opened anew and to go on.
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        disk.cut(loss, &mut dice);
        let audit = books.audit(&acks).await;
        audit.must_be_complete(&format!("cut {cut}, {loss:?}"));
        let failed = disk.failed() - failed_before;
        assert_eq!(failed > 0, is_failing, "cut {cut}: {failed} calls failed");
        assert!(is_failing || audit.unheard <= WORKERS, "cut {cut}: {} holds are unknown", audit.unheard);
        operations += acks.operations();
        suspects += audit.suspects;
        failures += failed;
    }
    let synced = disk.synced();
    eprintln!(
        "{cuts} power cuts, {operations} acknowledged operations, 0 lost, {suspects} suspects, {synced} syncs, {failures} failed ones"
    );
    assert!(operations > 0 && suspects > 0 && synced > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_skips_the_sync_at_commit_is_found_out() {
    let folder = folder();
    let mut books = Books::create(folder.path(), 0).await;
    let disk = Disk::new(books.path()).with_flush(FLUSH_US).that_is_lazy();
    let mut dice = Dice::new(1);
    let (mut operations, mut lost) = (0, 0);
    for _ in 0..3 {
        books.allow(ROOMY).await;
        let acks = life::lived(disk.with_power_under(&mut books.worker()), lifetime(&mut dice), || ());
        disk.cut(Loss::Everything, &mut dice);
        operations += acks.operations();
        // Even then the books are in order, they are only of an earlier moment.
        lost += books.audit(&acks).await.lost.len();
    }
    eprintln!("without the sync at commit: {lost} of {operations} acknowledged operations lost in 3 power cuts");
    assert!(lost > 0, "all of {operations} operations are there: this test cannot tell a lazy disk from an honest one");
}
