//! The catalog seen from outside: every price against an independent calculator, every bound against every cost, the search against a list
//! of questions a person answered, and the data against what everybody knows.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod data;
mod not_sold;
mod prices;
mod search;

use lava_mcp::catalog::Catalog;

fn catalog() -> &'static Catalog {
    Catalog::embedded()
}
