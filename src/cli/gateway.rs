//! `lava-mcp gateway`: serves the gateway over a socket, to other programs.

use std::net::{IpAddr, SocketAddr};

use clap::Args;

use super::{Failure, listen_address, output, serve::App};
use crate::{config::Settings, gateway::server, listen, mcp::transport};

/// How to begin, below the help.
const EXAMPLES: &str = "\
Examples:
  lava-mcp keys create my-app --spend-limit 5.00/daily   Make a key for a program
  lava-mcp gateway                                       Serve it at http://127.0.0.1:4040/v1
  lava-mcp gateway --listen 8080                         Use another port
  LAVA_LOG=warn lava-mcp gateway                         Do not log a line for each request";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GatewayArgs {
    /// Where to listen, such as 4040, :4040, localhost:4040 or 127.0.0.1:4040. Port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4040", value_parser = listen_address::parse)]
    listen: SocketAddr,
    /// Allow an address that other machines can reach. Traffic is not encrypted: put a TLS proxy in front.
    #[arg(long)]
    allow_remote: bool,
    /// Address of a proxy in front of many clients, which may open more connections than other addresses. Can be repeated.
    #[arg(long, value_name = "ADDRESS")]
    trusted_proxy: Vec<IpAddr>,
    /// A name under which a proxy on this machine passes requests on, such as lava.lan. Can be repeated.
    #[arg(long, value_name = "NAME", value_parser = listen_address::host_name)]
    host: Vec<String>,
}

pub(super) async fn gateway(settings: Settings, args: GatewayArgs, json: bool) -> Result<(), Failure> {
    listen_address::check_remote(args.listen, args.allow_remote)?;
    let proxies = [settings.trusted_proxies.clone(), args.trusted_proxy].concat();
    let found = super::in_words(&settings);
    let app = App::new(settings)?;
    let gateway = app.gateway().await?;
    let (address, listener) = listen::bind(args.listen).await.map_err(|reason| Failure::coded("cannot_listen", reason))?;
    let url = format!("http://{}/v1", listen_address::to_call(address));
    output::complain(&format!("Listening on {url}"));
    tracing::debug!("{found}");
    if json {
        output::print_json(&serde_json::json!({"url": url, "listening": address}))?;
    }
    if !gateway.has_spend_keys().map_err(|error| Failure::Error(error.to_string()))? {
        output::complain("Programs need a spend key: `lava-mcp keys create NAME --spend-limit 5/day` makes one.");
    }
    let stop = async {
        transport::asked_to_stop().await;
        output::complain("Shutting down: requests in flight are settled, new ones are refused.");
    };
    server::serve(gateway, listener, &proxies, args.host, stop).await.map_err(|error| Failure::Error(error.to_string()))
}
