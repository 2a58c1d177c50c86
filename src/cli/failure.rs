//! How a command ends that did not do what it was asked: the exit code, a sentence for people, and the same as JSON for scripts.

use serde_json::{Value, json};

use super::output;
use crate::{client::ClientError, config::ConfigError, domain::invocation};

/// Between what is wrong and what to do about it, in the text of a failure.
const HINT: &str = "\nhint: ";

/// Why a command failed. The variants are the exit codes: those of GitHub's `gh`, and for a signal the one that shells give.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong (1). The text says what, and what to do.
    Error(String),
    /// The same, with a code that scripts can decide by.
    Coded {
        /// Such as `budget_exceeded`.
        code: String,
        /// What went wrong, and what to do.
        text: String,
        /// The request that was refused.
        request_id: Option<String>,
    },
    /// The person at the keyboard answered a question with no (2). The text says what was not done.
    Cancelled(String),
    /// Ctrl-C, or another signal, stopped it (130, as shells say it). The text says what was booked.
    Stopped(String),
    /// Somebody has to log in first (4).
    NotLoggedIn(String),
}

impl Failure {
    /// An error with a code.
    pub(super) fn coded(code: &str, text: impl Into<String>) -> Self {
        Self::Coded { code: code.to_owned(), text: text.into(), request_id: None }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Error(_) | Self::Coded { .. } => 1,
            Self::Cancelled(_) => 2,
            Self::Stopped(_) => 130,
            Self::NotLoggedIn(_) => 4,
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Error(_) => "failed",
            Self::Coded { code, .. } => code,
            Self::Cancelled(_) | Self::Stopped(_) => "cancelled",
            Self::NotLoggedIn(_) => "not_logged_in",
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Error(text) | Self::Coded { text, .. } | Self::NotLoggedIn(text) | Self::Cancelled(text) | Self::Stopped(text) => text,
        }
    }

    fn json(&self) -> Value {
        // What is printed on stderr gets the flags there.
        let text = invocation::in_text(self.text());
        // Behind an empty line is the help of the command.
        let text = text.split("\n\n").next().unwrap_or_default();
        let mut parts = text.split(HINT);
        let message = parts.next().unwrap_or_default();
        let hints: Vec<&str> = parts.collect();
        let mut error = json!({"code": self.code(), "message": message, "exit_code": self.exit_code()});
        if !hints.is_empty() {
            error["hint"] = hints.join("\n").into();
        }
        if let Self::Coded { request_id: Some(id), .. } = self {
            error["request_id"] = id.as_str().into();
        }
        json!({"error": error})
    }

    /// Says it: to people on stderr, and to scripts on stdout, where they read the result otherwise. A result that was printed already stays the only thing there, and
    /// whoever looks at both reads it once.
    pub(super) fn report(&self, as_json: bool) {
        let is_printed = as_json && !output::has_result() && output::print_json(&self.json()).is_ok();
        if !is_printed || !output::are_terminals() {
            output::complain(&format!("error: {}", self.text()));
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Error(text)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::coded("bad_setting", error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::Refused { code, request_id, .. } => Self::Coded { code, text, request_id },
            ClientError::Unreachable(_) => Self::coded("gateway_unreachable", text),
            ClientError::BadAnswer(_) => Self::coded("bad_answer", text),
            ClientError::BadKey | ClientError::BadAddress(_) => Self::coded("bad_setting", text),
        }
    }
}

/// What clap says about arguments that cannot be used. It quotes them, so it goes the way of all texts, without colours of its own.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.trim();
        let Some(said) = text.strip_prefix("error: ") else {
            // A command that only has commands of its own shows its help instead.
            return Self::coded("usage", format!("give a command\n\n{text}"));
        };
        let mut parts = said.splitn(2, "\n\n").map(str::trim);
        let (message, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Self::coded(
            "usage",
            match rest.strip_prefix("tip: ") {
                Some(rest) => format!("{message}{HINT}{rest}"),
                None => format!("{message}\n\n{rest}"),
            },
        )
    }
}
