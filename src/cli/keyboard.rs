//! What is typed at the terminal: a key, which is not shown, and the answer to a question.

use std::io::{self, BufRead, IsTerminal};

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
    // Handlers first: a signal in between would leave the terminal hidden.
    let stop = asked_to_stop();
    tokio::pin!(stop);
    tokio::select! {
        biased;
        () = &mut stop => return Err(stopped()),
        () = std::future::ready(()) => {}
    }
    let cannot = |error: io::Error| Failure::Error(format!("the terminal cannot hide what is typed ({error}): pipe the key in instead"));
    let hidden = Hidden::begin().map_err(cannot)?;
    output::ask(question);
    let line = tokio::select! {
        line = tokio::task::spawn_blocking(Hidden::read_line) => line,
        () = stop => {
            drop(hidden);
            output::complain("");
            return Err(stopped());
        }
    };
    drop(hidden);
    let line =
        line.map_err(io::Error::other).and_then(|line| line).map_err(|error| Failure::Error(format!("stdin cannot be read: {error}")))?;
    // A terminal may mark what is pasted.
    Ok(line.replace("\u{1b}[200~", "").replace("\u{1b}[201~", ""))
}

fn stopped() -> Failure {
    Failure::Cancelled("stopped; nothing was kept".to_owned())
}

/// Asks a question that `y` or `yes` answers with yes, and everything else with no.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    output::ask(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::Error(format!("stdin cannot be read: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
