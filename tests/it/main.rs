//! One test binary. Each module tests through a door that users use: the router, the ledger's methods, the MCP protocol, the command line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_arithmetic,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    reason = "a test stops at what it did not expect"
)]

mod anthropic;
mod billing_upstream;
mod browser_login;
#[cfg(unix)]
mod canary;
mod catalog;
mod cli;
mod clocks;
mod connect;
#[cfg(unix)]
mod crash;
mod endings;
mod fake_anthropic;
mod fake_lava;
mod fake_upstream;
mod harness;
mod hostile;
mod http_limits;
mod install;
mod journey;
mod keys_cli;
#[cfg(unix)]
mod kill;
mod lava_client;
mod ledger;
#[cfg(unix)]
mod log_levels;
mod login_tool;
mod manage;
mod manifest;
mod mcp_confirm;
mod mcp_http;
mod mcp_paid;
mod mcp_resources;
mod mcp_results;
mod mcp_stdio;
mod metrics;
mod model;
mod models;
mod narrowing;
mod owner;
mod owner_cli;
#[cfg(target_os = "linux")]
mod private_files;
mod promises;
#[cfg(unix)]
mod raw_provider;
mod remote;
mod server;
#[cfg(unix)]
mod stops;
mod storm;
mod strangers;
#[cfg(unix)]
mod terminal;
mod tidy;
