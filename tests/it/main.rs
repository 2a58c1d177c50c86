//! One test binary. Each module tests through a door that users use: the router, the ledger's methods, the MCP protocol, the command line.

mod catalog;
mod cli;
mod fake_upstream;
mod harness;
mod journey;
mod ledger;
mod manage;
mod mcp_stdio;
mod promises;
mod tidy;
