//! The process that is killed. The tests start this same test binary again, with only the test below; many tasks then hold and settle on one key of the
//! real store, and say on standard output what was acknowledged, each in a line of its own and only once it was.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use lava_mcp::{
    domain::{
        HoldId, KeyId, Money, RequestId,
        ledger::{Basis, Ending, Outcome, Reserve, Settle, Subject},
    },
    store::{Store, wall_clock},
};

const LEDGER: &str = "LAVA_CRASH_LEDGER";
const KEY: &str = "LAVA_CRASH_KEY";
/// Nobody waits for a worker whose parent has gone.
const LIFE_MAX: Duration = Duration::from_secs(60);
pub(super) const WORKERS: usize = 16;

/// Starts this binary as the worker.
pub(super) fn command(ledger: &Path, key: &KeyId) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::worker::works_until_it_is_killed", "--ignored", "--nocapture"]);
    command.env(LEDGER, ledger).env(KEY, key.as_str()).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that other tests start and kill"]
async fn works_until_it_is_killed() {
    let (Ok(ledger), Ok(key)) = (std::env::var(LEDGER), std::env::var(KEY)) else { return };
    let store = Store::open(Path::new(&ledger), wall_clock()).await.unwrap();
    // The test's own words may stand at the beginning of this line.
    say("\nready\n");
    let key = KeyId::from_text(key);
    let tasks: Vec<_> = (0..WORKERS).map(|nth| tokio::spawn(work(store.clone(), key.clone(), nth))).collect();
    // The first one that finds something wrong ends the process, which its parent does not expect.
    let _ = tokio::time::timeout(LIFE_MAX, futures_util::future::try_join_all(tasks)).await;
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).unwrap();
}

async fn work(store: Store, key: KeyId, nth: usize) {
    for seed in (0..i64::MAX).skip(nth).step_by(WORKERS) {
        let amount = 1_000 + seed * 7_919 % 9_000;
        // A quarter is voided; the others cost a third, two thirds, or all of the hold.
        let cost = amount * (seed / 16 % 4) / 3;
        let hold = HoldId::generate();
        let reserve = Reserve {
            test: false,
            hold: hold.clone(),
            request: RequestId::generate(false),
            key: key.clone(),
            generation: 1,
            amount: Money::from_nanos(amount),
            counted: true,
            subject: Subject::default(),
        };
        if !matches!(store.reserve(reserve).await, Ok(Ok(_))) {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        say(&format!("held {hold} {amount} {cost}\n"));
        if store.settle(settle(&hold, cost)).await.is_ok() {
            say(&format!("ended {hold}\n"));
        }
        if seed % 7 == 0 {
            // Ending a hold again is no mistake, and changes nothing.
            store.settle(settle(&hold, amount - cost)).await.unwrap();
        }
    }
}

fn settle(hold: &HoldId, cost: i64) -> Settle {
    let outcome = match cost {
        0 => Outcome::Void { dispatched: true },
        _ => Outcome::Charge { cost: Money::from_nanos(cost), basis: Basis::Measured, usage: None },
    };
    Settle { hold: hold.clone(), outcome, upstream_status: Some(200), ending: Ending::Complete }
}
