//! The server that the official conformance suite wants to see: tools, prompts and resources of fixed names, on the very routes of the product.
//!
//! The suite asks for fixtures that no real server has (`test_simple_text`, `test://static-text`, and so on). Its scenarios are about the protocol and the
//! transport, though, and those are the product's own here: `mcp::transport::http`, with every layer and setting. `tests/conformance/run` starts this.
//!
//! ```sh
//! cargo run --example conformance_fixture -- 127.0.0.1:0
//! ```

#![allow(clippy::print_stderr, reason = "it tells its address")]

mod answers;
mod fixture;
mod jobs;
mod lists;
mod rounds;

use std::sync::Arc;

use lava_mcp::mcp::transport::{Guard, asked_to_stop, http};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let address = listener.local_addr()?;
    let guard = Guard::new(address, Vec::new(), Arc::new(|_| Box::pin(async { Ok(false) })));
    eprintln!("the conformance fixture listens on http://{address}/mcp");
    http::serve(fixture::Fixture::new()?, guard, true, listener, &[], asked_to_stop()).await;
    Ok(())
}
