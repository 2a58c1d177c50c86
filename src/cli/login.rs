//! `lava-mcp login` and `logout`: the session key of the command line.

use clap::Args;
use serde_json::json;

use super::{Failure, output, serve::App, status};
use crate::{
    config::Settings,
    domain::SpendLimit,
    session::{LoggedOut, Narrowing, Payer},
};

/// The name under which the command line's key is kept.
const CLIENT_NAME: &str = "command line";

/// The command line as one that pays.
pub(super) fn command_line() -> Payer {
    Payer::Client(CLIENT_NAME.to_owned())
}

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
    let logged_in = app.session.login(&command_line(), &narrowing, args.force).await;
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
        false => app.session.logout(CLIENT_NAME).await.map(|outcome| vec![(CLIENT_NAME.to_owned(), outcome)]),
    };
    app.close().await;
    let mut logged_out = logged_out?;
    logged_out.retain(|(_, outcome)| *outcome != LoggedOut::NothingToDo);
    if json {
        let names = logged_out.iter().map(|(name, outcome)| json!({"client": name, "revoked": *outcome == LoggedOut::Revoked}));
        return output::print_json(&json!({"logged_out": names.collect::<Vec<_>>()}));
    }
    if logged_out.is_empty() {
        output::say("Nobody was logged in.");
    }
    for (name, outcome) in logged_out {
        let key = if outcome == LoggedOut::Revoked {
            "its key is revoked"
        } else {
            "its key is forgotten here, but not revoked: there is no secret key to do that with"
        };
        output::say(&format!("Logged out {name}; {key}."));
    }
    Ok(())
}
