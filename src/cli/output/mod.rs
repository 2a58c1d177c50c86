//! Printing: results on stdout, everything else on stderr. Whatever is printed comes through here.
//!
//! A terminal obeys escapes: they write the clipboard, set its title, hide what is there. So what goes to one is freed of everything that is not shown, whoever
//! wrote it. What goes to a file or a program stays as it is.

mod log;
mod printer;
mod spinner;
mod style;
mod table;

use std::{borrow::Cow, time::Duration};

use serde::Serialize;

use super::Failure;
use crate::domain::{
    invocation::in_text,
    text::{Pieces, has_hidden, judged, visible},
};
pub(super) use log::{Logger, start_log};
use printer::{STDERR, STDOUT};
pub(super) use spinner::while_waiting;
pub(super) use style::respect_terminal;
pub(super) use table::table;

/// How long one stream waits for the other, so that what a person sees is in order; and what a reader that takes nothing still gets at the end.
const MOMENT: Duration = Duration::from_millis(250);
/// How often it is looked whether everything is written.
const PAUSE: Duration = Duration::from_millis(5);

/// The text as a terminal may show it, or as it is.
fn clean(text: &str, for_terminal: bool) -> String {
    if for_terminal { visible(text) } else { text.to_owned() }
}

/// Prints a line on stdout.
pub(super) fn say(line: &str) {
    STDERR.flush(MOMENT);
    STDOUT.print((clean(line, STDOUT.is_terminal) + "\n").into_bytes());
}

/// Prints a line on stderr; commands it suggests are those that work here.
pub(super) fn complain(line: &str) {
    STDOUT.flush(MOMENT);
    let line = clean(&in_text(line), STDERR.is_terminal) + "\n";
    STDERR.print(if STDERR.has_colours { style::marked(&line) } else { line }.into_bytes());
}

/// Prints a question on stderr, without a line end: the answer is typed behind it.
pub(super) fn ask(question: &str) {
    STDOUT.flush(MOMENT);
    STDERR.print(clean(question, STDERR.is_terminal).into_bytes());
    STDERR.flush(MOMENT);
}

/// A text that is printed on stdout as it comes.
#[derive(Default)]
pub(super) struct Streamed {
    pieces: Pieces,
    /// The beginning of a character, of which the rest has not come.
    begun: Vec<u8>,
}

impl Streamed {
    /// Prints a piece, without a line end.
    pub(super) fn say(&mut self, piece: &str) {
        let piece = if STDOUT.is_terminal { self.pieces.push(piece) } else { piece.to_owned() };
        STDOUT.print(piece.into_bytes());
    }

    /// The same of what came over a network, wherever it was cut.
    pub(super) fn bytes(&mut self, piece: &[u8]) {
        if !STDOUT.is_terminal {
            return STDOUT.print(piece.to_owned());
        }
        self.begun.extend_from_slice(piece);
        // Not valid so far, but for what may still become a character.
        let cut = std::str::from_utf8(&self.begun).err().filter(|error| error.error_len().is_none()).map(|error| error.valid_up_to());
        let rest = cut.map(|cut| self.begun.split_off(cut)).unwrap_or_default();
        let whole = std::mem::replace(&mut self.begun, rest);
        self.say(&String::from_utf8_lossy(&whole));
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        let begun = std::mem::take(&mut self.begun);
        self.say(&String::from_utf8_lossy(&begun));
        STDOUT.print(self.pieces.finish().into_bytes());
    }
}

/// Writes bytes to stdout as they are, which is not a terminal.
pub(super) fn bytes(bytes: &[u8]) {
    STDOUT.print(bytes.to_owned());
}

/// Whether a person sees the results.
pub(super) fn is_terminal() -> bool {
    STDOUT.is_terminal
}

/// Prints JSON on stdout, indented for people who look at it. On a terminal, what is not shown is written as an escape of JSON, so that it stays the same JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Error(error.to_string()))?;
    say(&if STDOUT.is_terminal { escaped(&text) } else { Cow::Borrowed(text.as_str()) });
    Ok(())
}

/// Whether something was printed on stdout, which is then the command's result.
pub(super) fn has_result() -> bool {
    STDOUT.printed() > 0
}

/// Whether a person sees both streams.
pub(super) fn are_terminals() -> bool {
    STDOUT.is_terminal && STDERR.is_terminal
}

/// Text of JSON in which nothing is hidden. Outside of its strings there is nothing to hide.
fn escaped(json: &str) -> Cow<'_, str> {
    if !has_hidden(json) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len());
    for (c, is_hidden) in judged(json) {
        match is_hidden {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| shown.push_str(&format!("\\u{unit:04x}"))),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Waits until everything is written; once `stop` resolves, only a moment longer.
pub(super) async fn written(stop: impl Future<Output = ()>) {
    if is_written(MOMENT / 10) {
        return;
    }
    let written = async {
        while !is_written(Duration::ZERO) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::pin!(written);
    tokio::select! {
        () = &mut written => {}
        () = stop => drop(tokio::time::timeout(MOMENT, written).await),
    }
}

fn is_written(patience: Duration) -> bool {
    STDOUT.flush(patience) && STDERR.flush(patience)
}

/// Waits until everything is written, before any signal has a handler.
pub(super) fn to_the_end<T>(result: T) -> T {
    while !is_written(MOMENT) {}
    result
}

/// Waits a moment for the last words.
pub(super) fn finish() {
    is_written(MOMENT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_a_terminal_is_the_same_json() {
        let value = serde_json::json!({"a\u{202e}": "\u{1b}]0;x\u{7}\u{9b}\u{e0041}\u{200b}👩\u{200d}👩 \n\u{2028}"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = escaped(&text);
        assert!(!has_hidden(&shown) && shown.contains("\\u202e") && shown.contains("\\udb40\\udc41"), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
