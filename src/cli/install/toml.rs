//! TOML, changed in place: the parser says where tables and keys are, and only those bytes are replaced.

use std::ops::Range;

use super::toml_layout::{Layout, is_below};
use serde_json::{Map, Value};

pub(super) fn read(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line = before.rsplit('\n').next().unwrap_or_default();
        format!("line {}, column {}: {}", before.matches('\n').count() + 1, line.chars().count() + 1, error.message())
    })?;
    serde_json::to_value(table).map_err(|error| error.to_string())
}

/// Writes a value at a path, in the form in which its table is written there: with a header, as dotted keys, or within an inline table.
pub(super) fn put(text: &str, path: &[&str], value: &Value) -> Result<String, String> {
    read(text)?;
    if let Value::Object(fields) = value {
        let without = remove(text, path)?;
        let layout = Layout::of(&without);
        let (parents, name) = split(path)?;
        let inline = layout.pairs.iter().position(|pair| pair.is_table && pair.path == parents);
        return Ok(match inline {
            Some(holder) => insert_member(&without, &layout, holder, &format!("{} = {}", key(name), render(value))),
            None => append(&without, path, fields),
        });
    }
    let layout = Layout::of(text);
    if let Some(pair) = layout.below(path).find(|pair| pair.path == path) {
        return Ok(splice(text, pair.value.clone(), &render(value)));
    }
    // Into the innermost table on the way that is there; those that are missing are written within the line.
    for depth in (1..path.len()).rev() {
        let (above, below) = path.split_at(depth);
        let (name, deeper) = below.split_first().ok_or("expected a key")?;
        let wrapped = deeper.iter().rev().fold(value.clone(), |value, name| Value::Object(Map::from_iter([((*name).to_owned(), value)])));
        let pair = format!("{} = {}", key(name), render(&wrapped));
        if let Some(holder) = layout.pairs.iter().position(|pair| pair.is_table && pair.path == above) {
            return Ok(insert_member(text, &layout, holder, &pair));
        }
        if let Some(block) = layout.block(above) {
            return Ok(insert_line(text, layout.end_of(block), &pair));
        }
        // Dotted keys: the new one goes behind its neighbours, from where they are written.
        if let Some(neighbour) = layout.below(above).rfind(|pair| layout.home(pair).len() < depth) {
            let dotted = above[layout.home(neighbour).len()..].iter().map(|name| key(name)).collect::<Vec<_>>().join(".");
            let pair = format!("{dotted}.{pair}");
            return Ok(match neighbour.holder {
                Some(holder) => insert_member(text, &layout, holder, &pair),
                None => insert_line(text, layout.lines_of(neighbour).end, &pair),
            });
        }
    }
    Err(format!("there is no table to put {} into", path.join(".")))
}

/// Takes what is at this path out, with all that is below it, in whatever form it is written.
pub(super) fn remove(text: &str, path: &[&str]) -> Result<String, String> {
    read(text)?;
    let mut text = text.to_owned();
    while let Some(without) = remove_one(&text, path) {
        text = without;
    }
    Ok(text)
}

/// Without the last table, line or member at or below a path; `None` when there is none.
fn remove_one(text: &str, path: &[&str]) -> Option<String> {
    let layout = Layout::of(text);
    let is_ours = |block: usize| is_below(&layout.blocks[block].header, path);
    if let Some(block) = (0..layout.blocks.len()).rev().find(|block| is_ours(*block)) {
        return Some(cut_block(text, layout.blocks[block].start..layout.end_of(block)));
    }
    let mut pair = layout.below(path).rfind(|pair| !is_below(layout.home(pair), path))?;
    // An inline table that had nothing else goes as a whole.
    while let Some(holder) = pair.holder
        && layout.members(holder).len() == 1
    {
        pair = &layout.pairs[holder];
    }
    let Some(holder) = pair.holder else { return Some(cut_lines(text, layout.lines_of(pair))) };
    let members = layout.members(holder);
    let at = members.iter().position(|member| member.start == pair.start)?;
    let cut = match (members.get(at + 1), at.checked_sub(1).and_then(|before| members.get(before))) {
        (Some(next), _) => pair.start..next.start,
        (None, Some(before)) => before.value.end..pair.value.end,
        (None, None) => pair.start..pair.value.end,
    };
    Some(splice(text, cut, ""))
}

/// Without a table and the blank line that set it apart, unless that sets something else apart then. In a file without a line end at its end, the line end before that goes as well.
fn cut_block(text: &str, block: Range<usize>) -> String {
    let (before, after) = (&text[..block.start], &text[block.end..]);
    let is_apart = after.is_empty() || after.starts_with(['\r', '\n']);
    let before = match strip_line_end(before).filter(|_| is_apart) {
        Some(line) if after.is_empty() && !text.ends_with('\n') => strip_line_end(line).unwrap_or(line),
        Some(line) if line.is_empty() || line.ends_with('\n') => line,
        _ => before,
    };
    let after = if before.is_empty() { after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n')).unwrap_or(after) } else { after };
    [before, after].concat()
}

fn cut_lines(text: &str, lines: Range<usize>) -> String {
    let (before, after) = (&text[..lines.start], &text[lines.end..]);
    let before = if after.is_empty() && !text.ends_with('\n') { strip_line_end(before).unwrap_or(before) } else { before };
    [before, after].concat()
}

/// The line on which the first of what is at this path is written.
pub(super) fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    Layout::of(text).line_of(path)
}

fn split<'p, 'n>(path: &'p [&'n str]) -> Result<(&'p [&'n str], &'n str), String> {
    path.split_last().map(|(name, parents)| (parents, *name)).ok_or_else(|| "expected a key".to_owned())
}

/// Adds a pair to an inline table, behind its last one.
fn insert_member(text: &str, layout: &Layout<'_>, holder: usize, pair: &str) -> String {
    match layout.members(holder).last() {
        Some(last) => splice(text, last.value.end..last.value.end, &format!(", {pair}")),
        None => splice(text, layout.pairs[holder].value.clone(), &format!("{{ {pair} }}")),
    }
}

fn strip_line_end(text: &str) -> Option<&str> {
    text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line))
}

/// A new table at the end, set apart by a blank line; a file without a line end at its end stays one.
fn append(text: &str, path: &[&str], fields: &Map<String, Value>) -> String {
    let line_end = line_end(text);
    let header = format!("[{}]", path.iter().map(|name| key(name)).collect::<Vec<_>>().join("."));
    let pairs = fields.iter().map(|(name, value)| format!("{} = {}", key(name), render(value)));
    let block = std::iter::once(header).chain(pairs).collect::<Vec<_>>().join(line_end);
    match text {
        "" => format!("{block}{line_end}"),
        _ if text.ends_with('\n') => format!("{text}{line_end}{block}{line_end}"),
        _ => format!("{text}{line_end}{line_end}{block}"),
    }
}

fn splice(text: &str, range: Range<usize>, with: &str) -> String {
    format!("{}{with}{}", &text[..range.start], &text[range.end..])
}

fn insert_line(text: &str, at: usize, line: &str) -> String {
    let line_end = line_end(text);
    if text[..at].ends_with('\n') {
        splice(text, at..at, &format!("{line}{line_end}"))
    } else {
        splice(text, at..at, &format!("{line_end}{line}"))
    }
}

fn line_end(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_bare { name.to_owned() } else { render(&Value::String(name.to_owned())) }
}

/// A value in one line. The escapes of JSON strings are those of TOML, but for DEL, which JSON leaves as it is.
fn render(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(render).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{} = {}", key(name), render(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().replace('\u{7f}', "\\u007F"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PATH: [&str; 2] = ["mcp_servers", "lava"];

    #[test]
    fn what_was_put_in_and_taken_out_leaves_the_same_bytes() {
        for text in [
            "",
            "model = \"o\" # why\n",
            "model = \"o\"",
            "model = \"o\"\r\n\r\n[mcp_servers.x]\r\ncommand = 'y'\r\n",
            "model = \"\"\"\n[mcp_servers.lava]\n\"\"\"\n\n# the end\n\n",
            "[mcp_servers]\n[mcp_servers.x]\nargs = [\n  \"a\", # one\n]\n",
            "[[things]]\na.b = { c = 1 }",
        ] {
            let entry = json!({"command": "C:\\p \"q\"", "env": {"A": "b"}, "env_vars": ["X"]});
            let with = put(text, &PATH, &entry).unwrap();
            assert_eq!(read(&with).unwrap()["mcp_servers"]["lava"], entry, "{with}");
            assert_eq!(remove(&with, &PATH).unwrap(), text, "{with:?}");
        }
    }

    #[test]
    fn a_key_is_replaced_or_added_where_its_table_stands() {
        let text = "[mcp_servers.lava] # ours\ncommand = \"old\" # path\nenv = { A = \"1\" }\n# a comment\n\n[tui]\nx = 1\n";
        let with = put(text, &["mcp_servers", "lava", "command"], &json!("new")).unwrap();
        assert_eq!(with, text.replace("\"old\"", "\"new\""));
        let with = put(text, &["mcp_servers", "lava", "env", "B"], &json!("2")).unwrap();
        assert_eq!(with, text.replace("{ A = \"1\" }", "{ A = \"1\", B = \"2\" }"));
        let with = put(text, &["mcp_servers", "lava", "cwd"], &json!("/")).unwrap();
        assert_eq!(with, text.replace("\"1\" }\n", "\"1\" }\ncwd = \"/\"\n"));
        let own = "[mcp_servers.lava]\ncommand = \"p\"\n[mcp_servers.lava.env]\nA = \"1\"";
        let with = put(own, &["mcp_servers", "lava", "env", "B"], &json!("2")).unwrap();
        assert_eq!(with, format!("{own}\nB = \"2\""));
        assert_eq!(remove(own, &PATH).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let error = read("a = 1\nb = = 2\n").unwrap_err();
        assert!(error.contains("line 2, column"), "{error}");
    }
}
