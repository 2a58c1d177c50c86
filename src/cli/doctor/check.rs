//! One thing that was looked at, and how it is.

use serde::Serialize;

use crate::domain::invocation::in_text;

/// How it is; the worse one is the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Ok,
    /// Nothing is broken, and somebody may want to know.
    Note,
    Fail,
}

/// One line of the report.
#[derive(Serialize)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) result: Outcome,
    pub(super) detail: String,
}

impl Outcome {
    /// For people.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fail => "FAIL",
        }
    }
}

impl Check {
    fn new(what: &'static str, result: Outcome, detail: impl Into<String>) -> Self {
        Self { what, result, detail: in_text(&detail.into()).into_owned() }
    }

    pub(super) fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::Ok, detail)
    }

    pub(super) fn note(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::Note, detail)
    }

    pub(super) fn fail(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, Outcome::Fail, detail)
    }
}
