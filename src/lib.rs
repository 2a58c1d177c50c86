//! **lava-mcp** lets an AI agent buy AI models and APIs from one spend key, whose limit holds: an MCP server, and the gateway behind it.
//!
//! # From Rust
//!
//! [`Lava`] manages spend keys as Lava's official SDK does: `Lava::new(secret_key)?.spend_keys().create(..)`. `examples/manage_spend.rs` shows all of it.
//!
//! # Where to find what
//!
//! A call of an MCP tool travels from the top of this list to the bottom:
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the command line; [`cli`]'s `serve.rs` is the only place where parts are joined |
//! | [`mcp`] | the tools an agent sees, over stdio, Streamable HTTP and SSE |
//! | [`session`] | which key pays, and the vault that keeps it |
//! | [`client`] | a typed client of a gateway, over HTTP or in memory |
//! | [`gateway`] | the journey of a request: authorise, reserve, call, meter, settle |
//! | `listen` | sockets: connections, their limits, and who is calling |
//! | [`translate`] | dialects as pure functions |
//! | [`catalog`] | models, providers, prices, search |
//! | [`store`] | the ledger; the only SQL |
//! | [`domain`] | plain values: money, usage, keys, limits |
//! | [`config`] | every setting and environment variable |
//! | `platform` | private files, whose program calls from this machine, a process that nobody looks into |
//!
//! Who may import whom is checked by a test (`tests/it/tidy.rs`); why it is built this way is in `docs/ARCHITECTURE.md`.

pub mod catalog;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod gateway;
mod listen;
pub mod mcp;
mod platform;
pub mod session;
pub mod store;
pub mod translate;

pub use client::Lava;
