//! `lava-mcp login` and `logout`: the session key of the command line.

use clap::Args;
use serde_json::json;

use super::{Failure, output, serve::App, status};
use crate::{config::Settings, domain::SpendLimit, session::Narrowing};

/// The name under which the command line's key is kept.
pub(super) const CLIENT_NAME: &str = "command line";

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// Spend at most this, such as 1.00/daily; within what LAVA_SESSION_LIMIT allows.
    #[arg(long, value_name = "AMOUNT/CYCLE", value_parser = SpendLimit::parse_short)]
    limit: Option<SpendLimit>,
    /// Replace the key's value by a new one; what it has spent stays.
    #[arg(long)]
    force: bool,
}

pub(super) async fn login(settings: Settings, args: LoginArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let narrowing = Narrowing { spend_limit: args.limit, ..Narrowing::default() };
    let logged_in = app.session.login(CLIENT_NAME, &narrowing, args.force).await;
    let shown = logged_in.map_err(Failure::from).and_then(|logged_in| status::show(&app.session, Some(&logged_in), json));
    app.close().await;
    shown
}

#[derive(Debug, Args)]
pub(super) struct LogoutArgs {
    /// Log out every MCP client on this machine too.
    #[arg(long)]
    all: bool,
}

pub(super) async fn logout(settings: Settings, args: LogoutArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let logged_out = match args.all {
        true => app.session.logout_all().await,
        false => app.session.logout(CLIENT_NAME).await.map(|was| if was { vec![CLIENT_NAME.to_owned()] } else { Vec::new() }),
    };
    app.close().await;
    let logged_out = logged_out?;
    if json {
        return output::print_json(&json!({"logged_out": logged_out}));
    }
    if logged_out.is_empty() {
        output::say("Nobody was logged in.");
    }
    logged_out.iter().for_each(|name| output::say(&format!("Logged out {name}; its key is revoked.")));
    Ok(())
}
