//! `lava-mcp login` at a gateway at an address, where a person agrees in a browser; or brings a secret key by hand.

use std::{
    io::{self, IsTerminal, Read},
    sync::Arc,
};

use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Failure, login::command_line, output, serve::App};
use crate::{
    domain::{Secret, SpendLimit},
    session::{KeySource, LoggedIn, Narrowing, Payer, PendingLogin, Session, SessionError},
};

/// No secret key is longer.
const KEY_BYTES_MAX: u64 = 4 << 10;

/// Logs in; where that takes a secret key that is not there, a person is asked for it in a browser.
pub(super) async fn login(session: &Arc<Session>, limit: Option<SpendLimit>, force: bool, no_browser: bool) -> Result<LoggedIn, Failure> {
    let log_in = async || match limit {
        Some(limit) => session.login_with_limit(&command_line(), limit, force).await,
        None => session.login(&command_line(), &Narrowing::default(), force).await,
    };
    match log_in().await {
        Err(SessionError::NoSecretKey) if session.web().is_some() => {}
        logged_in => return Ok(logged_in?),
    }
    in_browser(session, no_browser).await?;
    Ok(log_in().await?)
}

async fn in_browser(session: &Arc<Session>, no_browser: bool) -> Result<(), Failure> {
    let web = session.web().ok_or(SessionError::NoSecretKey)?;
    let Payer::Client(name) = command_line() else { return Err(SessionError::NoSecretKey.into()) };
    let pending = session.begin_web_login(&name).await?;
    // On stderr: stdout is for results.
    if !no_browser && web.browser.open(pending.start()).await {
        output::complain(&format!("A page has opened in your browser. If it has not, open it yourself:\n\n  {}\n", pending.url()));
    } else {
        output::complain(&format!("Open this page in a browser:\n\n  {}\n", pending.url()));
    }
    let ended = session.await_web_login(&pending, web.timeout);
    if !no_browser {
        output::while_waiting("Waiting for you to log in in the browser", ended).await?;
        return Ok(());
    }
    output::complain(
        "If that browser is on another machine, it will end on a page that does not open. Copy the whole address of that page (or only the code in it), and \
         paste it here within a minute:",
    );
    tokio::select! {
        ended = ended => drop(ended?),
        // Ends only when there is nothing more to read; the browser may still come back by itself.
        () = read_pasted(&pending) => drop(session.await_web_login(&pending, web.timeout).await?),
    }
    Ok(())
}

async fn read_pasted(pending: &PendingLogin) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim().is_empty() {
            continue;
        }
        match pending.paste(&line) {
            Ok(()) => return,
            Err(wrong) => output::complain(wrong),
        }
    }
}

/// Keeps the secret key that is piped in. It is never an argument: those can be read by every program of the machine.
pub(super) async fn secret_key_from_stdin(app: &App) -> Result<(), Failure> {
    let session = &app.session;
    if session.info().url.is_none() {
        return Err(Failure::Error(
            "the embedded gateway makes its own secret key; set LAVA_API_URL to the gateway whose key this is".to_owned(),
        ));
    }
    if session.secret_key_source().await? == Some(KeySource::Environment) {
        return Err(Failure::Error("LAVA_SECRET_KEY is set, and would be used instead of this key; unset it first".to_owned()));
    }
    if io::stdin().is_terminal() {
        return Err(Failure::Error("pipe the key in, so that it is not shown: `lava-mcp login --secret-key-stdin < FILE`".to_owned()));
    }
    let mut text = String::new();
    io::stdin().take(KEY_BYTES_MAX).read_to_string(&mut text).map_err(|error| Failure::Error(format!("stdin: {error}")))?;
    if text.trim().is_empty() {
        return Err(Failure::Error("there was no key on stdin".to_owned()));
    }
    Ok(session.bring_secret_key(Secret::new(text.trim())).await?)
}
