//! Printing: results on stdout, everything else on stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::Failure;

/// What is logged when nothing is set.
const LOG_DEFAULT: &str = "warn";

/// Prints a line on stdout. A reader that has gone away is no error.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Prints text on stdout as it comes, without a line end.
pub(super) fn say_piece(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Prints a line on stderr.
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints JSON on stdout, indented for people who look at it.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Error(error.to_string()))?;
    say(&text);
    Ok(())
}

/// Starts logging on stderr: levels by target, such as `info` or `lava_mcp=debug`.
pub(super) fn start_log(setting: Option<&str>) -> Result<(), Failure> {
    let setting = setting.unwrap_or(LOG_DEFAULT);
    let expected =
        || Failure::Error(format!("LAVA_LOG is \"{setting}\": a level (error, warn, info, debug, trace, off), or target=level, is needed"));
    let targets: Targets = setting.parse().map_err(|_| expected())?;
    // Below info these libraries log whole messages: prompts, answers and headers have no place in a log.
    let most = targets.default_level().unwrap_or(LevelFilter::OFF).min(LevelFilter::INFO);
    let targets = ["rmcp", "hyper", "hyper_util", "h2", "reqwest", "rustls", "zbus", "tower", "axum"]
        .iter()
        .fold(targets, |targets, name| targets.with_target(*name, most));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
    Ok(())
}

/// A table with aligned columns.
pub(super) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
