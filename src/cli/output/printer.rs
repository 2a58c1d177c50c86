//! Writes to stdout and stderr on threads of their own: a reader that takes nothing holds nobody up, neither a signal nor a call that is under way.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anstream::{AutoStream, ColorChoice};

use super::spinner;
use crate::domain::text::counted;

/// So much may wait for a reader of stderr; what comes then is dropped, and counted.
const STDERR_BYTES_MAX: usize = 256 << 10;

pub(super) static STDOUT: LazyLock<Printer> = LazyLock::new(|| Printer::new(Stream::Stdout));
pub(super) static STDERR: LazyLock<Printer> = LazyLock::new(|| Printer::new(Stream::Stderr));

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
        }
    }
}

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    texts: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: usize,
    is_writing: bool,
    is_started: bool,
    printed: usize,
}

/// One of the two streams.
pub(super) struct Printer {
    stream: Stream,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Whether a person looks at it, whose terminal obeys what is written.
    pub(super) is_terminal: bool,
    /// Whether that terminal shows colours, and the person has not turned them off.
    pub(super) has_colours: bool,
}

impl Printer {
    fn new(stream: Stream) -> Self {
        let (is_terminal, choice) = match stream {
            Stream::Stdout => (io::stdout().is_terminal(), AutoStream::choice(&io::stdout())),
            Stream::Stderr => (io::stderr().is_terminal(), AutoStream::choice(&io::stderr())),
        };
        // Consoles of Windows that take no escapes need another way to show colours; they do without.
        let has_colours = cfg!(unix) && is_terminal && choice != ColorChoice::Never;
        Self { stream, waiting: Mutex::default(), changed: Condvar::new(), is_terminal, has_colours }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes as soon as the reader lets it; never waits.
    pub(super) fn print(&'static self, text: Vec<u8>) {
        spinner::take_away();
        self.write_later(text, true);
    }

    /// The same with what is only shown for a moment, and is not part of what was said.
    pub(super) fn draw(&'static self, text: String) {
        self.write_later(text.into_bytes(), false);
    }

    fn write_later(&'static self, text: Vec<u8>, is_said: bool) {
        let mut waiting = self.lock();
        // What a command prints on stdout is its result, and bounded by what it holds in memory anyway.
        if matches!(self.stream, Stream::Stderr) && waiting.bytes + text.len() > STDERR_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += text.len();
        waiting.printed += usize::from(is_said && !text.is_empty());
        waiting.texts.push_back(text);
        if !waiting.is_started {
            waiting.is_started = std::thread::Builder::new().name("printer".to_owned()).spawn(|| self.write_on()).is_ok();
        }
        drop(waiting);
        self.changed.notify_all();
    }

    fn write_on(&self) {
        loop {
            let mut waiting = self.lock();
            while waiting.texts.is_empty() && waiting.dropped == 0 {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let text = match waiting.texts.pop_front() {
                Some(text) => text,
                None => {
                    let dropped = counted(std::mem::take(&mut waiting.dropped), "line");
                    format!("{dropped} dropped because nothing read the output\n").into_bytes()
                }
            };
            waiting.bytes = waiting.bytes.saturating_sub(text.len());
            waiting.is_writing = true;
            drop(waiting);
            // A reader that has gone away is no error.
            let _ = self.stream.write(&text);
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// How often there was something to write so far.
    pub(super) fn printed(&self) -> usize {
        self.lock().printed
    }

    /// Waits until everything is written, but not longer than `patience`; says whether it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut waiting = self.lock();
        loop {
            if waiting.texts.is_empty() && !waiting.is_writing {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !waiting.is_started {
                return false;
            }
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
