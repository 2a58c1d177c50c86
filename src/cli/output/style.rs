//! Colours, for a person at a terminal who has not turned them off.

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

use crate::config::Environment;

/// How lines on stderr begin that a person should not overlook.
const MARKS: [(&str, Style); 4] = [
    ("error:", AnsiColor::Red.on_default().bold()),
    ("warning:", AnsiColor::Yellow.on_default().bold()),
    ("hint:", AnsiColor::Cyan.on_default().bold()),
    ("Usage:", Style::new().bold()),
];

/// Turns colours off everywhere, in the help too, where `NO_COLOR` is set or the terminal knows no escapes; also in CI, whose terminals often claim to be dumb.
pub(in crate::cli) fn respect_terminal(environment: &Environment) {
    if environment.get("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb") {
        ColorChoice::Never.write_global();
    }
}

/// The text with its marks in colour.
pub(super) fn marked(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match MARKS.iter().find_map(|(mark, style)| Some((mark, style, line.strip_prefix(mark)?))) {
            Some((mark, style, rest)) => format!("{style}{mark}{style:#}{rest}"),
            None => line.to_owned(),
        })
        .collect()
}

/// A heading.
pub(super) fn heading(text: &str) -> String {
    let bold = Style::new().bold();
    format!("{bold}{text}{bold:#}")
}
