//! Tables: aligned columns, and on a terminal no wider than it is. Texts wrap between words; a word is never cut, because it may be an id that somebody wants to copy.

use unicode_width::UnicodeWidthStr;

use super::{STDERR, STDOUT, style};
use crate::{config::Environment, domain::text::visible};

/// Between two columns.
const GAP: usize = 2;
/// A column of texts is not squeezed below this; where there is no room for it, each row becomes a block of lines.
const TEXT_WIDTH_MIN: usize = 20;
/// How wide a terminal is taken to be that does not say so.
const WIDTH_DEFAULT: usize = 80;

/// Prints a table. A first row in capitals is its heading.
pub(in crate::cli) fn table(rows: &[Vec<String>]) {
    // On a terminal a cell is one line: a name must not write rows of its own.
    let cell = |cell: &String| match STDOUT.is_terminal {
        true => visible(cell).replace(['\n', '\t'], " "),
        false => cell.clone(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    STDERR.flush(super::MOMENT);
    for line in lay_out(&rows, STDOUT.is_terminal.then(terminal_width)) {
        let text = if line.is_heading && STDOUT.has_colours { style::heading(&line.text) } else { line.text };
        STDOUT.print((text + "\n").into_bytes());
    }
}

/// How many columns the terminal has.
pub(super) fn terminal_width() -> usize {
    let said = Environment::of_process().get("COLUMNS").and_then(|columns| columns.trim().parse().ok()).filter(|columns| *columns > 0);
    let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    said.or_else(measured).unwrap_or(WIDTH_DEFAULT)
}

/// A line of the table as it is printed.
struct Line {
    text: String,
    is_heading: bool,
}

/// The lines of a table, at most `width` columns wide where there is such a limit and no word is longer.
fn lay_out(rows: &[Vec<String>], width: Option<usize>) -> Vec<Line> {
    let has_heading = rows.len() > 1 && rows[0].iter().all(|cell| !cell.contains(char::is_lowercase));
    let widest = |measure: fn(&str) -> usize| -> Vec<usize> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        (0..columns).map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| measure(cell)).max().unwrap_or(0)).collect()
    };
    let natural = widest(UnicodeWidthStr::width);
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(GAP * natural.len().saturating_sub(1)));
    let Some(widths) = squeeze(&natural, &widest(longest_word), room) else {
        return blocks(rows, has_heading, width.unwrap_or(usize::MAX));
    };
    let lines_of = |(number, row): (usize, &Vec<String>)| {
        let cells: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let line = |at: usize| {
            let pieces = cells.iter().zip(&widths).map(|(lines, width)| padded(lines.get(at).map_or("", String::as_str), *width));
            let text = pieces.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned();
            Line { text, is_heading: has_heading && number == 0 }
        };
        (0..height).map(line).collect::<Vec<_>>()
    };
    rows.iter().enumerate().flat_map(lines_of).collect()
}

/// The widths of the columns, so that they fit: the widest of those that hold texts give way first. `None` when there is no room for all of them.
fn squeeze(natural: &[usize], words: &[usize], room: usize) -> Option<Vec<usize>> {
    let mut widths = natural.to_vec();
    let least: Vec<usize> = natural.iter().zip(words).map(|(natural, word)| (*word).max(TEXT_WIDTH_MIN.min(*natural))).collect();
    while widths.iter().sum::<usize>() > room {
        let (widest, _) = widths.iter().enumerate().filter(|(column, width)| **width > least[*column]).max_by_key(|(_, width)| **width)?;
        widths[widest] -= 1;
    }
    Some(widths)
}

/// Each row as a block: a line for each cell, behind its heading; or the cells one after the other.
fn blocks(rows: &[Vec<String>], has_heading: bool, width: usize) -> Vec<Line> {
    let plain = |text: String| Line { text, is_heading: false };
    let Some((heading, rest)) = rows.split_first().filter(|_| has_heading) else {
        let indented = |(at, line): (usize, String)| plain(format!("{}{line}", if at == 0 { "" } else { "  " }));
        let joined = |row: &Vec<String>| wrap(&row.join("  "), width.saturating_sub(GAP)).into_iter().enumerate().map(indented).collect();
        return rows.iter().flat_map(|row| -> Vec<Line> { joined(row) }).collect();
    };
    let names = heading.iter().map(|name| name.width()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (number, row) in rest.iter().enumerate() {
        if number > 0 {
            lines.push(plain(String::new()));
        }
        for (column, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
            let name = heading.get(column).map_or("", String::as_str);
            for (at, line) in wrap(cell, width.saturating_sub(names + GAP)).iter().enumerate() {
                let name = padded(if at == 0 { name } else { "" }, names + GAP);
                lines.push(plain(format!("{name}{line}")));
            }
        }
    }
    lines
}

fn longest_word(text: &str) -> usize {
    text.split_whitespace().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// The text in lines of at most this width, unless a single word is longer.
fn wrap(text: &str, width: usize) -> Vec<String> {
    if text.width() <= width {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(rows: &[&[&str]], width: usize) -> Vec<String> {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        lay_out(&rows, Some(width)).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_table_takes_the_room_that_there_is() {
        let rows: &[&[&str]] = &[&["ID", "ABOUT"], &["sk_01ABCDEF", "a key for the team that builds the search page"], &["sk_2", "日本語"]];
        assert_eq!(texts(rows, 80)[2], "sk_2         日本語");
        assert_eq!(
            texts(rows, 40),
            ["ID           ABOUT", "sk_01ABCDEF  a key for the team that", "             builds the search page", "sk_2         日本語"]
        );
        assert_eq!(
            texts(rows, 26),
            [
                "ID     sk_01ABCDEF",
                "ABOUT  a key for the team",
                "       that builds the",
                "       search page",
                "",
                "ID     sk_2",
                "ABOUT  日本語"
            ]
        );
        assert_eq!(texts(&[&["ok", "data", "/a/very/long/path"], &["x"]], 12), ["ok data", "  /a/very/long/path", "x"]);
    }

    proptest! {
        /// Whatever is in it: nothing is lost, no word is cut, and only a word that is too long by itself goes beyond the edge.
        #[test]
        fn nothing_is_cut(rows in prop::collection::vec(prop::collection::vec("[a-zA-Z日é_0-9 ]{0,40}", 1..5), 1..5), width in 1_usize..120) {
            let lines = lay_out(&rows, Some(width));
            let shown: Vec<&str> = lines.iter().flat_map(|line| line.text.split_whitespace()).collect();
                // In blocks, the name of a column that no row has is not shown.
            for word in rows.iter().skip(1).flatten().flat_map(|cell| cell.split_whitespace()) {
                prop_assert!(shown.contains(&word), "{word}");
            }
            let word = rows.iter().flatten().map(|cell| longest_word(cell)).max().unwrap_or(0);
            // In blocks, the name of a column is in front of it.
            let name = rows[0].iter().map(|cell| cell.width()).max().unwrap_or(0);
            for line in lines {
                prop_assert!(line.text.width() <= width.max(word + name + GAP), "{}", line.text);
            }
        }
    }
}
