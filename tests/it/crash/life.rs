//! A worker's life as its parent sees it: started, listened to, killed.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, ExitStatus},
    sync::mpsc,
    time::{Duration, Instant},
};

/// How long a worker may take until it is ready, and until it has ended after the kill.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the worker said was acknowledged.
#[derive(Default)]
pub(super) struct Acks {
    /// Holds: the amount, and what the hold was going to cost.
    pub(super) held: HashMap<String, (i64, i64)>,
    /// Holds whose settlement was acknowledged.
    pub(super) ended: HashSet<String>,
}

impl Acks {
    pub(super) fn operations(&self) -> usize {
        self.held.len() + self.ended.len()
    }

    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["held", hold, amount, cost] => {
                self.held.insert(hold.to_owned(), (amount.parse().unwrap(), cost.parse().unwrap()));
            }
            ["ended", hold] => {
                self.ended.insert(hold.to_owned());
            }
            // The words of the test runner.
            _ => {}
        }
    }
}

/// Runs the worker, lets it live for a while after it is ready, kills it with SIGKILL, and returns everything that it was able to say. `meanwhile` runs
/// in the middle of its life.
pub(super) fn lived(worker: &mut Command, lifetime: Duration, meanwhile: impl FnOnce()) -> Acks {
    let mut child = worker.spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let (is_ready, ready) = mpsc::channel();
    let listener = std::thread::spawn(move || listen(stdout, &is_ready));
    let heard = ready.recv_timeout(PATIENCE);
    if heard.is_ok() {
        std::thread::sleep(lifetime / 2);
        meanwhile();
        std::thread::sleep(lifetime / 2);
    }
    child.kill().unwrap();
    let status = ended(&mut child, PATIENCE).expect("a killed process ends");
    assert!(heard.is_ok(), "the worker was not ready: {status}");
    assert_eq!(status.code(), None, "the worker ended by itself");
    listener.join().unwrap()
}

/// Reads up to the end. The last line may have been cut off; then it does not count.
fn listen(stdout: ChildStdout, is_ready: &mpsc::Sender<()>) -> Acks {
    let mut acks = Acks::default();
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if let Some(whole) = line.strip_suffix('\n') {
            if whole == "ready" {
                let _ = is_ready.send(());
            }
            acks.hear(whole);
        }
        line.clear();
    }
    acks
}

/// Waits for a process; `None` if it still runs when the time is over.
pub(super) fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Numbers that look random and are the same in every run (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
