//! Where a setting was made, so that an error can name it: a variable, or file, line and column.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{ConfigError, Environment, usable::MadeIn};

/// A config file, as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// It may hold keys, and is never shown.
    text: SourceText,
}

#[derive(Clone, Default)]
struct SourceText(String);

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Source {
    pub(super) fn new(path: &Path, text: String) -> Self {
        Self { path: path.to_owned(), text: SourceText(text) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text.0
    }

    /// The place of a key, such as `config.toml, line 4, column 1: session.limit`; the file alone where the key is not in it.
    pub(super) fn place(&self, keys: &[&str]) -> String {
        let name = keys.join(".");
        match DeTable::parse(self.text()).ok().and_then(|table| span_of(table.get_ref(), keys)) {
            Some(span) => format!("{}: {name}", self.at(span.start)),
            None => format!("{}: {name}", self.path.display()),
        }
    }

    /// What the file says at this offset: its place, and the name of the setting there.
    pub(super) fn place_of(&self, offset: usize) -> String {
        let key = DeTable::parse(self.text()).ok().and_then(|table| key_at(table.get_ref(), offset));
        let place = self.at(offset);
        key.map_or_else(|| place.clone(), |key| format!("{place}: {key}"))
    }

    fn at(&self, offset: usize) -> String {
        let before = self.text().get(..offset).unwrap_or_else(|| self.text());
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        format!("{}, line {line}, column {column}", self.path.display())
    }
}

fn span_of(table: &DeTable<'_>, keys: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = keys.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    match value.get_ref() {
        DeValue::Table(table) if !rest.is_empty() => span_of(table, rest).or_else(|| Some(key.span())),
        _ => Some(key.span()),
    }
}

/// The setting whose name or value is at this offset.
fn key_at(table: &DeTable<'_>, offset: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let inner = if let DeValue::Table(table) = value.get_ref() { key_at(table, offset) } else { None };
        let is_here = || key.span().contains(&offset) || value.span().contains(&offset);
        match inner {
            Some(inner) => Some(format!("{}.{inner}", key.get_ref())),
            None => is_here().then(|| key.get_ref().to_string()),
        }
    })
}

/// A setting as somebody made it, and where.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    pub(super) text: &'a str,
    place: Place<'a>,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    Variable(&'a str),
    File(&'a Source, &'a [&'a str]),
}

impl<'a> Written<'a> {
    /// The variable, or else what the file says under these keys.
    pub(super) fn find(
        environment: &'a Environment,
        variable: &'a str,
        source: &'a Source,
        keys: &'a [&'a str],
        value: Option<&'a str>,
    ) -> Option<Self> {
        let of_variable = environment.get(variable).map(|text| Self { text, place: Place::Variable(variable) });
        of_variable.or_else(|| value.map(|text| Self { text, place: Place::File(source, keys) }))
    }

    /// Whether an environment variable says it, and not the config file.
    pub(super) const fn is_variable(&self) -> bool {
        matches!(self.place, Place::Variable(_))
    }

    /// This setting cannot be used, for this reason.
    pub(super) fn wrong(&self, reason: impl fmt::Display) -> ConfigError {
        match self.place {
            Place::Variable(name) => {
                ConfigError { text: format!("environment variable {name}: {reason}"), made_in: MadeIn::Variable(name.to_owned()) }
            }
            Place::File(source, keys) => ConfigError::in_file(format!("{}: {reason}", source.place(keys))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_wherever_it_is_written() {
        let text = "log = \"info\"\n[session]\n  limit = \"1\"\n[providers.\"a.b\"]\nbase_url = \"x\"\nprice = { input = \"1\" }\n";
        let source = Source::new(Path::new("c.toml"), text.to_owned());
        assert_eq!(source.place(&["log"]), "c.toml, line 1, column 1: log");
        assert_eq!(source.place(&["session", "limit"]), "c.toml, line 3, column 3: session.limit");
        assert_eq!(source.place(&["providers", "a.b"]), "c.toml, line 4, column 12: providers.a.b");
        assert_eq!(source.place(&["session", "absent"]), "c.toml, line 2, column 2: session.absent");
        assert_eq!(source.place(&["absent"]), "c.toml: absent");
        let at = |what: &str| source.place_of(text.find(what).unwrap());
        assert_eq!(at("\"x\""), "c.toml, line 5, column 12: providers.a.b.base_url");
        assert_eq!(at("\"1\" }"), "c.toml, line 6, column 19: providers.a.b.price.input");
        assert!(!format!("{source:?}").contains("info"));
    }
}
