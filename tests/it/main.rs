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
mod call_cli;
#[cfg(unix)]
mod canary;
mod catalog;
mod cli;
mod clocks;
mod connect;
#[cfg(unix)]
mod crash;
#[cfg(unix)]
mod doctor;
mod documents;
mod doors;
mod endings;
mod fake_anthropic;
mod fake_lava;
mod fake_upstream;
mod first_key;
#[cfg(unix)]
mod first_look;
mod formats;
mod harness;
#[cfg(unix)]
mod hints;
mod hostile;
mod http_limits;
mod install;
mod journey;
#[cfg(unix)]
mod json_everywhere;
#[cfg(target_os = "linux")]
mod keyboard;
mod keys_cli;
mod keys_names;
#[cfg(unix)]
mod kill;
mod lava_client;
mod ledger;
mod ledger_file;
mod limits_as_typed;
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
mod no_connection;
#[cfg(target_os = "linux")]
mod no_keyring;
mod not_an_answer;
mod owner;
mod owner_cli;
#[cfg(target_os = "linux")]
mod private_files;
mod promises;
mod prompt_cli;
mod provider_keys;
#[cfg(unix)]
mod raw_provider;
mod read_after_write;
mod readme;
mod remote;
#[cfg(unix)]
mod request_log;
mod request_records;
mod screening;
mod search_notes;
mod server;
mod session_limits;
mod setting_places;
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
#[cfg(target_os = "linux")]
mod typed;
#[cfg(target_os = "linux")]
mod typed_prompt;
mod upstream_errors;
mod usage;
mod vault;
mod waiting;
mod what_a_key_allows;
