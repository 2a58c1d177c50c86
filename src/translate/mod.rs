//! Dialects as pure functions: bytes in, bytes out, no I/O.
//!
//! A request that stays in its dialect passes through byte for byte, but for the few fields the gateway must set; so only the top level of a body
//! is ever taken apart ([`raw::RawObject`]).

pub mod anthropic;
pub mod openai;
pub mod raw;
pub mod reply;
pub mod sse;

use serde::Deserialize;

pub use reply::{Seen, value_at};

use raw::RawObject;

/// Tokens added by the chat template around one message.
const TOKENS_PER_MESSAGE: u64 = 16;
/// Tokens added by the chat template around the whole request, the instructions for using tools included.
const TOKENS_PER_REQUEST: u64 = 1_024;
/// Most tokens one image may cost. The dearest rule known is that of gpt-4o-mini in high detail: 2,833 tokens and 5,667 for each of at most eight tiles.
const TOKENS_PER_IMAGE: u64 = 50_000;

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
