//! A sign on a terminal that something is still awaited, after a second in which nothing was printed. It is gone before anything else appears.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{STDERR, STDOUT, table::terminal_width};

/// Nobody wonders before that.
const SILENCE: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(100);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Narrower terminals would break the line, and a broken line cannot be taken back.
const WIDTH_MIN: usize = 48;
/// Back to the beginning of the line, and nothing on it.
const NOTHING: &str = "\r\u{1b}[2K";

static IS_SHOWN: AtomicBool = AtomicBool::new(false);

/// Does some work, and shows what it waits for while it says nothing itself. Once it has printed something, it speaks for itself.
pub(in crate::cli) async fn while_waiting<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    if !STDERR.has_colours || terminal_width() < WIDTH_MIN {
        return work.await;
    }
    let (before, began, mut pause) = (printed(), Instant::now(), SILENCE);
    for frame in FRAMES.iter().cycle() {
        tokio::select! {
            biased;
            done = &mut work => {
                take_away();
                return done;
            }
            () = sleep(pause) => {}
        }
        if printed() != before {
            break;
        }
        IS_SHOWN.store(true, Ordering::Relaxed);
        STDERR.draw(format!("{NOTHING}{frame} {what} ({} s)", began.elapsed().as_secs()));
        pause = FRAME;
    }
    work.await
}

/// How often something was printed so far.
fn printed() -> usize {
    STDOUT.printed() + STDERR.printed()
}

/// Makes room for what is printed next.
pub(super) fn take_away() {
    if IS_SHOWN.swap(false, Ordering::Relaxed) {
        STDERR.draw(NOTHING.to_owned());
        STDERR.flush(super::MOMENT);
    }
}
