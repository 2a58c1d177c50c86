//! Dialects as pure functions: bytes in, bytes out, no I/O.
//!
//! A request that stays in its dialect passes through byte for byte, but for the few fields the gateway must set; so only the top level of a body
//! is ever taken apart ([`raw::RawObject`]).

pub mod anthropic;
pub mod bounds;
pub mod halves;
mod lowering;
pub mod media;
mod members;
pub mod mend;
pub mod openai;
pub mod raw;
mod rendering;
pub mod reply;
pub mod screening;
pub mod sse;

use serde::Deserialize;

pub use reply::{Seen, Service, is_object, value_at};

use raw::RawObject;

/// As much of a name is repeated to the caller.
const SHOWN_CHARS: usize = 64;

/// What is wrong with a request body; the text is meant for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not a JSON object.
    #[error("the body is not a JSON object: {0}")]
    NotJson(String),
    /// A field is missing or has the wrong type.
    #[error("{field}: {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What should stand there.
        expected: &'static str,
    },
    /// Something within a message is not clear.
    #[error("messages: {0}")]
    Member(String),
    /// A name that some readers take for another one, which decides about the cost.
    #[error("{name}: some providers read this as \"{meant}\"; write \"{meant}\", or leave it out")]
    LookAlike {
        /// The name, cut.
        name: String,
        /// The other one.
        meant: &'static str,
    },
    /// Something that runs at the provider at a price of its own, which the key does not allow.
    #[error("{field}: {what}, at a separate price; it is only sent for a key with \"hosted_tools\": true")]
    Hosted {
        /// The field it is in.
        field: &'static str,
        /// What it is, as the first part of a sentence.
        what: String,
    },
    /// A tool whose cost has no bound.
    #[error("tools: the cost of a tool of type \"{kind}\" has no upper bound; leave it out")]
    Tool {
        /// Its type, cut.
        kind: String,
    },
}

impl BadRequest {
    fn look_alike(name: &str, meant: &'static str) -> Self {
        Self::LookAlike { name: shown(name), meant }
    }

    fn unknown_tool(kind: &str) -> Self {
        Self::Tool { kind: shown(kind) }
    }
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARS).collect()
}

fn parse_object(bytes: &[u8]) -> Result<RawObject, BadRequest> {
    RawObject::parse(bytes).map_err(|error| BadRequest::NotJson(error.to_string()))
}

fn field<'a, T: Deserialize<'a>>(body: &'a RawObject, name: &'static str, expected: &'static str) -> Result<Option<T>, BadRequest> {
    body.read(name).map_err(|_| BadRequest::Field { field: name, expected })
}

fn needed<'a, T: Deserialize<'a>>(body: &'a RawObject, name: &'static str, expected: &'static str) -> Result<T, BadRequest> {
    field(body, name, expected)?.ok_or(BadRequest::Field { field: name, expected })
}
