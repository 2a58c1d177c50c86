//! Texts that a regular expression matches, and whether it does.
//!
//! Schemas write the expressions of ECMA 262; those without look-around and back references mean the same here. Where the classes are those of ASCII, as there, they are
//! also small; an expression that needs Unicode's is read once more with those.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind, Repetition},
};

/// Memory that one compiled expression may take.
const SIZE_MAX: usize = 1 << 20;
/// Longest text that is made.
const LENGTH_MAX: usize = 100_000;
/// Characters of a class that are used.
const CLASS_MAX: usize = 64;

/// Expressions that were read already.
#[derive(Default)]
pub(super) struct Patterns(HashMap<String, Option<Pattern>>);

struct Pattern {
    regex: Regex,
    tree: Hir,
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        [false, true].into_iter().find_map(|unicode| {
            let regex = RegexBuilder::new(text).unicode(unicode).size_limit(SIZE_MAX).build().ok()?;
            let tree = ParserBuilder::new().unicode(unicode).utf8(false).build().parse(text).ok()?;
            Some(Self { regex, tree })
        })
    }
}

impl Patterns {
    fn get(&mut self, text: &str) -> Option<&Pattern> {
        self.0.entry(text.to_owned()).or_insert_with(|| Pattern::read(text)).as_ref()
    }

    /// Whether a text matches; nothing matches an expression that cannot be read.
    pub(super) fn is_match(&mut self, pattern: &str, text: &str) -> bool {
        self.get(pattern).is_some_and(|pattern| pattern.regex.is_match(text.as_bytes()))
    }

    /// The text of a number that matches, of at least a length where that can be.
    pub(super) fn text(&mut self, pattern: &str, least: usize, number: usize) -> Option<String> {
        let pattern = self.get(pattern)?;
        let written = |more: usize| {
            let mut writer = Writer { text: Vec::new(), more, number };
            writer.write(&pattern.tree)?;
            String::from_utf8(writer.text).ok()
        };
        let shortest = written(0)?;
        let missing = least.saturating_sub(shortest.chars().count());
        let text = if missing == 0 { shortest } else { written(missing)? };
        pattern.regex.is_match(text.as_bytes()).then_some(text)
    }
}

/// Writes one text.
struct Writer {
    text: Vec<u8>,
    /// Characters that are still missing.
    more: usize,
    /// Which of the possible texts: what it leaves over at one choice decides about the next.
    number: usize,
}

impl Writer {
    fn write(&mut self, tree: &Hir) -> Option<()> {
        if self.text.len() > LENGTH_MAX {
            return None;
        }
        match tree.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => self.text.extend_from_slice(&literal.0),
            HirKind::Class(class) => {
                let characters = characters(class);
                let character = characters.get(self.choose(characters.len())?)?;
                self.text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            HirKind::Repetition(repetition) => self.repeat(repetition)?,
            HirKind::Capture(capture) => self.write(&capture.sub)?,
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.write(part))?,
            HirKind::Alternation(options) => {
                let chosen = self.choose(options.len())?;
                self.write(options.get(chosen)?)?;
            }
        }
        Some(())
    }

    fn repeat(&mut self, repetition: &Repetition) -> Option<()> {
        (0..repetition.min).try_for_each(|_| self.write(&repetition.sub))?;
        let mut count = repetition.min;
        while self.more > 0 && repetition.max.is_none_or(|max| count < max) {
            let before = self.text.len();
            self.write(&repetition.sub)?;
            if self.text.len() == before {
                break;
            }
            self.more = self.more.saturating_sub(self.text.len() - before);
            count += 1;
        }
        Some(())
    }

    fn choose(&mut self, options: usize) -> Option<usize> {
        let chosen = self.number.checked_rem(options)?;
        self.number /= options;
        Some(chosen)
    }
}

/// Characters of a class, letters first.
fn characters(class: &Class) -> Vec<char> {
    let is_in = |character: char| match class {
        Class::Unicode(class) => class.iter().any(|range| (range.start()..=range.end()).contains(&character)),
        Class::Bytes(class) => {
            u8::try_from(character).is_ok_and(|byte| class.iter().any(|range| (range.start()..=range.end()).contains(&byte)))
        }
    };
    let usual = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(' '..='~').filter(|character| is_in(*character));
    let mut found: Vec<char> = Vec::new();
    for character in usual.take(2 * CLASS_MAX) {
        if !found.contains(&character) {
            found.push(character);
        }
    }
    if found.is_empty() {
        found.extend(match class {
            Class::Unicode(class) => class.iter().map(|range| range.start()).take(CLASS_MAX).collect::<Vec<_>>(),
            Class::Bytes(class) => class.iter().map(|range| range.start()).filter(u8::is_ascii).map(char::from).take(CLASS_MAX).collect(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_matches() {
        let mut patterns = Patterns::default();
        for (pattern, expected) in [
            ("^[a-z]{3}$", "aaa"),
            ("^\\d{4}-(0[1-9]|1[0-2])$", "0000-01"),
            ("^(?:foo|bar)\\/x?$", "foo/"),
            ("^[\\w.-]{1,256}$", "a"),
            ("^[^a-z]+$", "A"),
            ("^\\p{Lu}\\p{Ll}+$", "Aa"),
            ("[äöü]", "ä"),
            ("^#[0-9A-Fa-f]{6}$", "#aaaaaa"),
            ("^\\S+@\\S+\\.\\S+$", "a@a.a"),
            ("\\bword\\b", "word"),
        ] {
            assert_eq!(patterns.text(pattern, 0, 0).as_deref(), Some(expected), "{pattern}");
            let more: Vec<String> = (0..2).filter_map(|number| patterns.text(pattern, 0, number)).collect();
            assert!(more.iter().all(|text| patterns.is_match(pattern, text)), "{pattern} {more:?}");
        }
        assert_eq!(patterns.text("^[a-z]*$", 5, 0).as_deref(), Some("aaaaa"));
        assert_eq!(patterns.text("^[ab]{2}$", 0, 3).as_deref(), Some("bb"));
        for unread in ["(?=x)y", "(a)\\1", "[", "(a{900}){900}"] {
            assert_eq!(patterns.text(unread, 0, 0), None, "{unread}");
        }
    }
}
