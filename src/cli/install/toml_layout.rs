//! Where things are in a TOML text: tables with a header, `key = value` pairs, and the pairs within inline tables, each with the whole path that it stands for. So
//! `[a] b.c = 1`, `[a.b] c = 1` and `a = { b = { c = 1 } }` are found by the same path.

use std::ops::Range;

use toml_parser::{
    ErrorSink, Raw, Source, Span,
    decoder::Encoding,
    parser::{EventReceiver, parse_document},
};

/// A table with a header of its own, or what comes before the first header.
#[derive(Default)]
pub(super) struct Block {
    pub(super) header: Vec<String>,
    /// One of several of the same name; nothing in there is a server.
    pub(super) is_array: bool,
    pub(super) start: usize,
    header_end: usize,
}

/// `key = value`, on a line or within an inline table.
pub(super) struct Pair {
    /// From the root of the file.
    pub(super) path: Vec<String>,
    /// Where its key begins.
    pub(super) start: usize,
    pub(super) value: Range<usize>,
    /// Whether the value is an inline table.
    pub(super) is_table: bool,
    /// The pair whose inline table it is in.
    pub(super) holder: Option<usize>,
    pub(super) block: usize,
}

/// The whole text.
pub(super) struct Layout<'t> {
    text: &'t str,
    pub(super) blocks: Vec<Block>,
    pub(super) pairs: Vec<Pair>,
    keys: Vec<String>,
    key_start: usize,
    /// What is open: an inline table with its pair, or something in whose keys nobody is interested.
    open: Vec<Option<usize>>,
}

impl<'t> Layout<'t> {
    /// The layout of a text that can be read.
    pub(super) fn of(text: &'t str) -> Self {
        let tokens = Source::new(text).lex().into_vec();
        let mut layout = Self { text, blocks: vec![Block::default()], pairs: Vec::new(), keys: Vec::new(), key_start: 0, open: Vec::new() };
        parse_document(&tokens, &mut layout, &mut ());
        layout
    }

    /// The table with this header.
    pub(super) fn block(&self, path: &[&str]) -> Option<usize> {
        self.blocks.iter().position(|block| !block.is_array && block.header == path)
    }

    /// The pairs at or below a path, in the order of the text.
    pub(super) fn below(&self, path: &[&str]) -> impl DoubleEndedIterator<Item = &Pair> {
        self.pairs.iter().filter(move |pair| !self.blocks[pair.block].is_array && is_below(&pair.path, path))
    }

    /// The members of an inline table.
    pub(super) fn members(&self, holder: usize) -> Vec<&Pair> {
        self.pairs.iter().filter(|pair| pair.holder == Some(holder)).collect()
    }

    /// The path of what a pair is written in: an inline table, or a table with a header.
    pub(super) fn home(&self, pair: &Pair) -> &[String] {
        pair.holder.map_or(&self.blocks[pair.block].header, |holder| &self.pairs[holder].path)
    }

    /// The end of a table's last line that says something; comments below may belong to what follows.
    pub(super) fn end_of(&self, block: usize) -> usize {
        let last = self.pairs.iter().rfind(|pair| pair.block == block && pair.holder.is_none());
        last.map_or(self.blocks[block].header_end, |pair| self.after_line(pair.value.end))
    }

    /// The lines of a pair that is not within another.
    pub(super) fn lines_of(&self, pair: &Pair) -> Range<usize> {
        let start = self.text[..pair.start].rfind('\n').map_or(0, |at| at + 1);
        start..self.after_line(pair.value.end)
    }

    /// The number of the first line that says something at or below a path.
    pub(super) fn line_of(&self, path: &[&str]) -> Option<usize> {
        let pair = self.below(path).next().map(|pair| pair.start);
        let header = self.blocks.iter().find(|block| is_below(&block.header, path)).map(|block| block.start);
        let at = [pair, header].into_iter().flatten().min()?;
        Some(self.text[..at].matches('\n').count() + 1)
    }

    fn after_line(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |end| at + end + 1)
    }

    /// Whether keys and values at this place say something about the file.
    fn is_told(&self) -> bool {
        self.open.iter().all(Option::is_some)
    }

    /// Begins a pair; returns its place in the list.
    fn begin(&mut self, span: Span, is_table: bool) -> usize {
        let holder = self.open.last().copied().flatten();
        let block = self.blocks.len().saturating_sub(1);
        let mut path = holder.map_or(&self.blocks[block].header, |holder| &self.pairs[holder].path).clone();
        path.append(&mut self.keys);
        self.pairs.push(Pair { path, start: self.key_start, value: span.start()..span.end(), is_table, holder, block });
        self.pairs.len() - 1
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

    fn open_value(&mut self, span: Span, is_table: bool) {
        let pair = self.is_told().then(|| self.begin(span, is_table));
        self.open.push(pair.filter(|_| is_table));
    }

    fn close_value(&mut self, span: Span) {
        let closed = self.open.pop().flatten();
        if !self.is_told() {
            return;
        }
        // An array has no pairs in it that are told, so its own is the last.
        let pair = closed.unwrap_or(self.pairs.len().saturating_sub(1));
        if let Some(pair) = self.pairs.get_mut(pair) {
            pair.value.end = span.end();
        }
    }
}

pub(super) fn is_below(path: &[String], top: &[&str]) -> bool {
    path.len() >= top.len() && path.iter().zip(top).all(|(a, b)| a == b)
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
        self.open_value(span, true);
        true
    }
    fn inline_table_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_value(span);
    }
    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span, false);
        true
    }
    fn array_close(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.close_value(span);
    }
    fn simple_key(&mut self, span: Span, kind: Option<Encoding>, _: &mut dyn ErrorSink) {
        if self.is_told() {
            if self.keys.is_empty() {
                self.key_start = span.start();
            }
            let mut name = String::new();
            Raw::new_unchecked(&self.text[span.start()..span.end()], kind, span).decode_key(&mut name, &mut ());
            self.keys.push(name);
        }
    }
    fn scalar(&mut self, span: Span, _: Option<Encoding>, _: &mut dyn ErrorSink) {
        if self.is_told() {
            self.begin(span, false);
        }
    }
}
