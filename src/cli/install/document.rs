//! A config file as text in which one entry is changed and every other byte stays: JSON with comments, or TOML.

use serde_json::Value;

use super::{json, toml};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON; comments and commas at the end are accepted and kept.
    Json,
    Toml,
}

impl Format {
    /// What the text says.
    ///
    /// # Errors
    /// Line, column and what is wrong there.
    pub(crate) fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Json => json::read(text),
            Self::Toml => toml::read(text),
        }
    }

    /// Writes a value at a path; the tables on the way are made.
    pub(crate) fn put(self, text: &str, path: &[&str], value: &Value) -> Result<String, String> {
        match self {
            Self::Json => json::put(text, path, value),
            Self::Toml => toml::put(text, path, value),
        }
    }

    /// The line on which the first of what is at a path is written, where that is known.
    pub(crate) fn line_of(self, text: &str, path: &[&str]) -> Option<usize> {
        match self {
            Self::Json => None,
            Self::Toml => toml::line_of(text, path),
        }
    }

    /// Takes what stands at a path out, with the object around it when that has become empty.
    pub(crate) fn remove(self, text: &str, path: &[&str]) -> Result<String, String> {
        match self {
            Self::Json => json::remove(text, path),
            Self::Toml => toml::remove(text, path),
        }
    }
}
