//! What is typed at the terminal: a key, which is not shown, and the answer to a question.

use std::io::{self, BufRead, IsTerminal};

use futures_util::{FutureExt, future::BoxFuture};

use super::{Failure, output};
use crate::{mcp::transport::asked_to_stop, platform::Hidden};

/// Whether somebody sits at a keyboard who sees a question and can answer it.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line from stdin. At a terminal it is asked for, and hidden while it is typed or pasted; a pipe is read as it is.
pub(super) async fn secret_line(question: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|error| Failure::Error(format!("stdin cannot be read: {error}")))?;
        return Ok(line);
    }
    let stop = listened_for().await?;
    let cannot = |error: io::Error| Failure::Error(format!("the terminal cannot hide what is typed ({error}): pipe the key in instead"));
    let hidden = Hidden::begin().map_err(cannot)?;
    output::ask(question);
    let line = read(Hidden::read_line, stop).await;
    drop(hidden);
    let line = line?;
    // A terminal may mark what is pasted.
    Ok(line.replace("\u{1b}[200~", "").replace("\u{1b}[201~", ""))
}

/// Asks a question that `y` or `yes` answers with yes, and everything else with no.
pub(super) async fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = line(&format!("{question} [y/N] ")).await?.unwrap_or_default();
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The line that answers a question; `None` where the input ends instead.
pub(super) async fn line(question: &str) -> Result<Option<String>, Failure> {
    let stop = listened_for().await?;
    output::ask(question);
    let read_line = || {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|bytes| (bytes > 0).then_some(line))
    };
    read(read_line, stop).await
}

/// What is typed up to Ctrl-D, once it is said how.
pub(super) async fn text(how: &str) -> Result<String, Failure> {
    let stop = listened_for().await?;
    output::complain(how);
    read(|| io::read_to_string(io::stdin()), stop).await
}

/// Listens for a stop before anything is asked: a signal in between would leave the terminal hidden, or end the process without a word.
async fn listened_for() -> Result<BoxFuture<'static, ()>, Failure> {
    let mut stop = asked_to_stop().boxed();
    tokio::select! {
        biased;
        () = &mut stop => Err(stopped()),
        () = std::future::ready(()) => Ok(stop),
    }
}

/// Reads on a thread that may block, until `stop` resolves.
async fn read<T: Send + 'static>(
    reading: impl FnOnce() -> io::Result<T> + Send + 'static,
    stop: impl Future<Output = ()>,
) -> Result<T, Failure> {
    let read = tokio::select! {
        read = tokio::task::spawn_blocking(reading) => read,
        () = stop => {
            // Behind what was typed.
            output::complain("");
            return Err(stopped());
        }
    };
    read.map_err(io::Error::other).and_then(|read| read).map_err(|error| Failure::Error(format!("stdin cannot be read: {error}")))
}

fn stopped() -> Failure {
    Failure::Stopped("stopped; nothing was changed".to_owned())
}
