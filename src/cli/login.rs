//! `lava-mcp login` and `logout`: the session key of the command line.

use clap::Args;
use serde_json::json;

use super::{Failure, output, serve::App, status, web_login};
use crate::{
    config::Settings,
    domain::SpendLimit,
    session::{ForgottenLogin, LoggedOut, Narrowing, Payer, Session, SessionError},
};

/// The name under which the command line's key is kept.
const CLIENT_NAME: &str = "command line";

/// The command line as one that pays.
pub(super) fn command_line() -> Payer {
    Payer::Client(CLIENT_NAME.to_owned())
}

/// Makes sure that there is a key with which a command pays. At a gateway at an address, a person logs in for that; the embedded one makes it within the person's limit,
/// once `check` has found nothing wrong with what it is needed for.
pub(super) async fn ensure_key(session: &Session, check: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    match session.spend_key(&command_line()).await {
        Err(SessionError::NotLoggedIn) if session.info().url.is_none() => {}
        found => return Ok(found.map(drop)?),
    }
    check.await?;
    let made = Box::pin(session.login(&command_line(), &Narrowing::default(), false)).await?;
    let limit = made.key.and_then(|key| key.spend_limit?.to_limit());
    let limit = limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{} USD {}", limit.amount, limit.cycle.in_words()));
    output::complain(&format!("Made a spend key for the command line: {limit} (LAVA_SESSION_LIMIT or session.limit changes it)"));
    Ok(())
}

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// Spend at most this, such as 1.00/daily; within what LAVA_SESSION_LIMIT allows.
    #[arg(long, value_name = "AMOUNT/CYCLE", value_parser = SpendLimit::parse_short)]
    limit: Option<SpendLimit>,
    /// Replace the key's value with a new one; what it has spent still counts.
    #[arg(long)]
    force: bool,
    /// Do not open a browser: print the link, and read the address of the last page, which you paste, from stdin.
    #[arg(long)]
    no_browser: bool,
    /// Keep the secret key that is piped in, instead of logging in with a browser.
    #[arg(long, conflicts_with = "no_browser")]
    secret_key_stdin: bool,
}

pub(super) async fn login(settings: Settings, args: LoginArgs, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let work = async {
        if args.secret_key_stdin {
            web_login::secret_key_from_stdin(&app).await?;
        }
        let logged_in = web_login::login(&app.session, args.limit, args.force, args.no_browser).await?;
        status::show(&app.session, Some(&logged_in), json).await
    };
    let shown = app.until_interrupted(work).await;
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
    let forgotten = app.session.forget_login().await;
    app.close().await;
    let mut logged_out = logged_out?;
    let forgotten = forgotten?;
    logged_out.retain(|(_, outcome)| *outcome != LoggedOut::NothingToDo);
    if json {
        let names = logged_out.iter().map(|(name, outcome)| json!({"client": name, "revoked": *outcome == LoggedOut::Revoked}));
        return output::print_json(&json!({"logged_out": names.collect::<Vec<_>>(), "secret_key_forgotten": forgotten.is_some()}));
    }
    if logged_out.is_empty() && forgotten.is_none() {
        output::say("Not logged in; nothing was changed.");
    }
    for (name, outcome) in logged_out {
        let key = if outcome == LoggedOut::Revoked {
            "its key is revoked"
        } else {
            "its key is deleted here but not revoked, because that needs a secret key that the gateway accepts"
        };
        output::say(&format!("Logged out: {name}; {key}."));
    }
    if let Some(ForgottenLogin { secret_key_id }) = forgotten {
        let which = secret_key_id.map(|id| format!(" ({id})")).unwrap_or_default();
        output::say(&format!("The secret key{which} is deleted here. It still works: delete it in your account if nothing else uses it."));
    }
    Ok(())
}
