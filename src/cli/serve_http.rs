//! `lava-mcp serve`: MCP over HTTP, for clients that connect to an address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use clap::Args;
use futures_util::FutureExt;

use super::{
    Failure, listen_address, output,
    serve::{self, App},
};
use crate::{
    config::Settings,
    listen,
    mcp::{
        LavaMcp,
        transport::{self, Guard, KnowsKey, http},
    },
};

/// How to begin, below the help.
const EXAMPLES: &str = "\
Examples:
  lava-mcp serve                 Serve MCP at http://127.0.0.1:8484/mcp
  lava-mcp serve --listen 9000   Use another port";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// Where to listen, such as 8484, :8484, localhost:8484 or 127.0.0.1:8484. Port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8484", value_parser = listen_address::parse)]
    listen: SocketAddr,
    /// Allow an address that other machines can reach. Each request then needs a spend key. Traffic is not encrypted: put a TLS proxy in front.
    #[arg(long)]
    allow_remote: bool,
    /// Address of a proxy in front of many clients, which may open more connections than other addresses. Can be repeated.
    #[arg(long, value_name = "ADDRESS")]
    trusted_proxy: Vec<IpAddr>,
    /// A name under which the server is reached through a proxy; can be repeated. Each request then needs a spend key.
    #[arg(long, value_name = "NAME", value_parser = listen_address::host_name)]
    host: Vec<String>,
    /// Leave out the legacy HTTP+SSE transport (/sse and /messages).
    #[arg(long)]
    no_sse: bool,
}

pub(super) async fn serve(settings: Settings, args: ServeArgs, json: bool) -> Result<(), Failure> {
    listen_address::check_remote(args.listen, args.allow_remote)?;
    let options = serve::mcp_options(&settings);
    let proxies = [settings.trusted_proxies.clone(), args.trusted_proxy].concat();
    let found = super::in_words(&settings);
    let app = App::new(settings)?;
    let (address, listener) = listen::bind(args.listen).await.map_err(|reason| Failure::coded("cannot_listen", reason))?;
    let session = app.session.clone();
    let knows_key: KnowsKey = Arc::new(move |key| {
        let session = session.clone();
        async move { session.knows(&key).await.map_err(|error| error.to_string()) }.boxed()
    });
    let guard = Guard::new(address, args.host, knows_key);
    let base = format!("http://{}", listen_address::to_call(address));
    output::complain(&format!("Serving MCP at {base}/mcp"));
    tracing::debug!("{found}");
    if !args.no_sse {
        output::complain(&format!("and for older clients at {base}/sse"));
    }
    if json {
        let sse = (!args.no_sse).then(|| format!("{base}/sse"));
        output::print_json(&serde_json::json!({"url": format!("{base}/mcp"), "sse_url": sse, "listening": address}))?;
    }
    let server = LavaMcp::new(app.session.clone(), options);
    http::serve(server, guard, !args.no_sse, listener, &proxies, transport::asked_to_stop()).await;
    app.close().await;
    Ok(())
}
