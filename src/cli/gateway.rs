//! `lava-mcp gateway`: serves the gateway over a socket, for every tool that takes an OpenAI key.

use std::net::{IpAddr, SocketAddr};

use clap::Args;

use super::{Failure, output, serve::App};
use crate::{config::Settings, gateway::server, listen, mcp::transport};

#[derive(Debug, Args)]
pub(super) struct GatewayArgs {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4040")]
    listen: SocketAddr,
    /// Allow an address that other machines can reach. Traffic is not encrypted: put a TLS proxy in front.
    #[arg(long)]
    allow_remote: bool,
    /// Address of a proxy that brings many clients: the bound on the connections of one address does not hold for it. Can be given several times.
    #[arg(long, value_name = "ADDRESS")]
    trusted_proxy: Vec<IpAddr>,
}

pub(super) async fn gateway(settings: Settings, args: GatewayArgs) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() && !args.allow_remote {
        return Err(Failure::Error(format!(
            "{} can be reached by other machines, and traffic is not encrypted. Listen on 127.0.0.1, or pass --allow-remote and put a TLS proxy in front",
            args.listen
        )));
    }
    let proxies = [settings.trusted_proxies.clone(), args.trusted_proxy].concat();
    let app = App::new(settings)?;
    let gateway = app.gateway().await?;
    let (address, listener) = listen::bind(args.listen).await?;
    output::complain(&format!("Listening on http://{address}/v1"));
    if gateway.secret_keys().map_err(|error| Failure::Error(error.to_string()))?.is_empty() {
        output::complain("There is no secret key yet. Make one with `lava-mcp secret-keys create`; it manages spend keys.");
    }
    let stop = async {
        transport::asked_to_stop().await;
        output::complain("Ending: no new requests, those in flight are settled.");
    };
    server::serve(gateway, listener, &proxies, stop).await.map_err(|error| Failure::Error(error.to_string()))
}
