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

mod addresses;
mod anthropic;
mod billing_upstream;
mod bounds;
mod breaker;
mod browser_login;
#[cfg(unix)]
mod canary;
mod catalog;
mod cli;
mod clocks;
mod connect;
#[cfg(unix)]
mod crash;
mod documents;
mod doors;
mod endings;
mod fake_anthropic;
mod fake_lava;
mod fake_upstream;
mod formats;
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
mod ledger_file;
#[cfg(unix)]
mod log_levels;
mod login_tool;
mod manage;
mod manifest;
mod mcp_arguments;
mod mcp_confirm;
mod mcp_http;
mod mcp_paid;
mod mcp_protocol;
mod mcp_resources;
mod mcp_results;
mod mcp_stdio;
mod metrics;
mod model;
mod models;
mod narrowing;
mod not_an_answer;
mod owner;
mod owner_cli;
#[cfg(target_os = "linux")]
mod private_files;
mod promises;
#[cfg(unix)]
mod raw_provider;
mod read_after_write;
mod remote;
mod request_records;
mod screening;
mod server;
mod slow_reader;
mod small_budgets;
#[cfg(unix)]
mod stops;
mod storm;
mod strangers;
#[cfg(unix)]
mod streams;
#[cfg(unix)]
mod terminal;
mod test_clock;
mod tidy;
mod told_on_errors;
mod tricks;
mod upstream_errors;
mod usage;
mod vault;
mod waiting;
