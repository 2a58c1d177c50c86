//! TOML, changed in place: the parser tells where tables and keys stand, and only those bytes are replaced.

use std::ops::Range;

use serde_json::{Map, Value};
use toml_parser::{
    ErrorSink, Raw, Source, Span,
    decoder::Encoding,
    parser::{EventReceiver, parse_document},
};

pub(super) fn read(text: &str) -> Result<Value, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = &text[..error.span().map_or(0, |span| span.start).min(text.len())];
        let line = before.rsplit('\n').next().unwrap_or_default();
        format!("line {}, column {}: {}", before.matches('\n').count() + 1, line.chars().count() + 1, error.message())
    })?;
    serde_json::to_value(table).map_err(|error| error.to_string())
}

pub(super) fn put(text: &str, path: &[&str], value: &Value) -> Result<String, String> {
    read(text)?;
    let ([parents @ .., name], Some(_)) = (path, path.first()) else { return Err("a key is needed".to_owned()) };
    if let Value::Object(fields) = value {
        let without = remove(text, path)?;
        return Ok(append(&without, path, fields));
    }
    let blocks = blocks(text);
    if let Some(block) = block_at(&blocks, parents) {
        return Ok(match block.pair(name) {
            Some(pair) => splice(text, pair.value.clone(), &render(value)),
            None => insert_line(text, block.end(), &format!("{} = {}", key(name), render(value))),
        });
    }
    // A table inside a line, such as env = { A = "b" }.
    let inline = parents.split_last().and_then(|(table, outer)| Some((block_at(&blocks, outer)?, *table)));
    let Some((block, table)) = inline else {
        return Err(format!("[{}] is not written as a table of its own, so it cannot be changed safely", parents.join(".")));
    };
    let mut fields = Map::from_iter([((*name).to_owned(), value.clone())]);
    let Some(pair) = block.pair(table) else {
        return Ok(insert_line(text, block.end(), &format!("{} = {}", key(table), render(&Value::Object(fields)))));
    };
    let old = read(&format!("it = {}", &text[pair.value.clone()]))?;
    let Some(old) = old["it"].as_object() else { return Err(format!("{table} is not a table")) };
    let mut merged = old.clone();
    merged.append(&mut fields);
    Ok(splice(text, pair.value.clone(), &render(&Value::Object(merged))))
}

/// Takes the table at this path out, with those below it.
pub(super) fn remove(text: &str, path: &[&str]) -> Result<String, String> {
    read(text)?;
    let mut text = text.to_owned();
    let ours: Vec<Block> = blocks(&text)
        .into_iter()
        .filter(|block| block.header.len() >= path.len() && block.header.iter().zip(path).all(|(a, b)| a == b))
        .collect();
    for block in ours.into_iter().rev() {
        // A table below may have taken our last line end with it.
        let (before, after) = (&text[..block.start], &text[block.end().min(text.len())..]);
        // The blank line that set it apart goes too. In a file without a line end at its end, the line end before that goes as well.
        let before = match strip_line_end(before) {
            Some(line) if after.is_empty() && !text.ends_with('\n') => strip_line_end(line).unwrap_or(line),
            Some(line) if line.is_empty() || line.ends_with('\n') => line,
            _ => before,
        };
        let after =
            if before.is_empty() { after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n')).unwrap_or(after) } else { after };
        text = [before, after].concat();
    }
    Ok(text)
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

/// A table with a header of its own, or what stands before the first header.
#[derive(Default)]
struct Block {
    header: Vec<String>,
    is_array: bool,
    start: usize,
    header_end: usize,
    pairs: Vec<Pair>,
}

/// `key = value`.
struct Pair {
    name: Vec<String>,
    value: Range<usize>,
    line_end: usize,
}

impl Block {
    fn pair(&self, name: &str) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.name.len() == 1 && pair.name[0] == name)
    }

    /// The end of its last line that says something; comments below may belong to what follows.
    fn end(&self) -> usize {
        self.pairs.last().map_or(self.header_end, |pair| pair.line_end)
    }
}

fn block_at<'a>(blocks: &'a [Block], path: &[&str]) -> Option<&'a Block> {
    blocks.iter().find(|block| !block.is_array && block.header == path)
}

fn blocks(text: &str) -> Vec<Block> {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut layout = Layout { text, blocks: vec![Block::default()], keys: Vec::new(), depth: 0, value_start: 0 };
    parse_document(&tokens, &mut layout, &mut ());
    layout.blocks
}

/// Collects where tables and keys stand while the parser goes through the text.
struct Layout<'t> {
    text: &'t str,
    blocks: Vec<Block>,
    keys: Vec<String>,
    /// How many arrays and inline tables are open; keys in there are no concern of ours.
    depth: usize,
    value_start: usize,
}

impl Layout<'_> {
    fn after_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    fn open_table(&mut self, span: Span, is_array: bool) {
        let start = self.text[..span.start()].rfind('\n').map_or(0, |at| at + 1);
        self.keys.clear();
        self.blocks.push(Block { is_array, start, ..Block::default() });
    }

    fn close_table(&mut self, span: Span) {
        let end = self.after_line(span.end());
        if let Some(block) = self.blocks.last_mut() {
            block.header = std::mem::take(&mut self.keys);
            block.header_end = end;
        }
    }

    fn open_value(&mut self, span: Span) {
        if self.depth == 0 {
            self.value_start = span.start();
        }
        self.depth += 1;
    }

    fn close_value(&mut self, span: Span) {
        self.depth = self.depth.saturating_sub(1);
        self.end_value(self.value_start, span.end());
    }

    fn end_value(&mut self, start: usize, end: usize) {
        if self.depth > 0 {
            return;
        }
        let pair = Pair { name: std::mem::take(&mut self.keys), value: start..end, line_end: self.after_line(end) };
        if let Some(block) = self.blocks.last_mut() {
            block.pairs.push(pair);
        }
    }
}

impl EventReceiver for Layout<'_> {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.open_table(span, false);
    }
    fn std_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_table(span);
    }
    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.open_table(span, true);
    }
    fn array_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_table(span);
    }
    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span);
        true
    }
    fn inline_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_value(span);
    }
    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span);
        true
    }
    fn array_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_value(span);
    }
    fn simple_key(&mut self, span: Span, kind: Option<Encoding>, _: &mut dyn ErrorSink) {
        if self.depth == 0 {
            let mut name = String::new();
            Raw::new_unchecked(&self.text[span.start()..span.end()], kind, span).decode_key(&mut name, &mut ());
            self.keys.push(name);
        }
    }
    fn scalar(&mut self, span: Span, _: Option<Encoding>, _: &mut dyn ErrorSink) {
        self.end_value(span.start(), span.end());
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
