//! Dialects as pure functions: bytes in, bytes out, no I/O.
//!
//! A request that stays in its dialect passes through byte for byte, but for the few fields the gateway must set; so only the top level of a body
//! is ever taken apart ([`raw::RawObject`]).

pub mod openai;
pub mod raw;
pub mod sse;
