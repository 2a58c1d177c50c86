//! `lava-mcp status`: which gateway, which key, from where, how much is left.

use serde_json::json;

use super::{Failure, login::command_line, output, serve::App};
use crate::{
    client::SpendKeyObject,
    config::Settings,
    domain::{invocation::in_text, text::counted},
    session::{KeySource, LoggedIn, Session, SessionError, SetBy},
};

pub(super) async fn status(settings: Settings, json: bool) -> Result<(), Failure> {
    let app = App::new(settings)?;
    let found = app.session.status(&command_line()).await;
    let shown = match found {
        Ok(logged_in) => show(&app.session, Some(&logged_in), json).await,
        // The embedded gateway makes a key when one is needed, so nobody has to do anything first.
        Err(SessionError::NotLoggedIn) if app.session.info().url.is_none() => show(&app.session, None, json).await,
        Err(SessionError::NotLoggedIn) => show(&app.session, None, json).await.and(Err(SessionError::NotLoggedIn.into())),
        Err(error) => Err(error.into()),
    };
    app.close().await;
    shown
}

/// Prints a session.
pub(super) async fn show(session: &Session, logged_in: Option<&LoggedIn>, json: bool) -> Result<(), Failure> {
    let key = logged_in.and_then(|logged_in| logged_in.key.as_ref());
    let remaining = key.and_then(SpendKeyObject::remaining);
    let info = session.info();
    let secret_key_in = if info.url.is_some() { secret_key_in(session).await? } else { None };
    if json {
        return output::print_json(&json!({
            "gateway": info, "logged_in": logged_in.is_some(), "spend_key": key, "remaining": remaining,
            "limit_set_by": logged_in.and_then(|logged_in| logged_in.limit_set_by).map(SetBy::as_str),
            "stored_in": logged_in.map(|logged_in| logged_in.stored_in), "secret_key_in": secret_key_in,
        }));
    }
    let gateway = match (&info.url, info.sandbox) {
        (Some(url), _) => url.clone(),
        (None, true) => "embedded, sandbox (nothing leaves this machine)".to_owned(),
        (None, false) => "embedded".to_owned(),
    };
    let mut rows = vec![vec!["Gateway".to_owned(), gateway]];
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    match logged_in {
        Some(logged_in) => row("Key kept in", logged_in.stored_in.to_owned()),
        None if info.url.is_none() => {
            let (limit, _) = session.offer(true);
            let limit = format!("{} USD {}", limit.amount, limit.cycle.in_words());
            row("Spend key", in_text(&format!("none yet: `lava-mcp prompt` makes one, for {limit}")).into_owned());
        }
        None => {}
    }
    if let Some(place) = secret_key_in {
        row("Secret key in", place.to_owned());
    }
    if let Some(key) = key {
        row("Spend key", format!("{} ({})", key.key_preview, key.name));
        let limit = key.spend_limit.as_ref();
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| format!("{} USD {}", limit.amount, limit.cycle.in_words()));
        let set_by = logged_in.and_then(|logged_in| logged_in.limit_set_by);
        row("Limit", set_by.map_or_else(|| limit.clone(), |by| format!("{limit} ({})", in_text(by.in_words()))));
        row("Spent", format!("{} USD this cycle, {}", trimmed(&key.current_spend), counted(key.current_requests, "request")));
        if let Some(unverified) = key.unverified() {
            row("Unverified", in_text(&format!("{unverified} USD of unverified charges; `lava-mcp keys holds` shows them")).into_owned());
        }
        row("Left", remaining.map_or_else(|| "unlimited".to_owned(), |left| format!("{left} USD")));
        if let Some(at) = key.extras.as_ref().and_then(|extras| extras.resets_at.clone()) {
            row("Resets", at);
        }
    }
    output::table(&rows);
    Ok(())
}

/// Where the key that manages spend keys comes from.
pub(super) async fn secret_key_in(session: &Session) -> Result<Option<&'static str>, SessionError> {
    Ok(session.secret_key_source().await?.map(|source| match source {
        KeySource::Environment => "LAVA_SECRET_KEY",
        KeySource::Vault => session.vault_kind(),
    }))
}

fn trimmed(amount: &str) -> String {
    amount.parse::<crate::domain::Money>().map_or_else(|_| amount.to_owned(), |money| money.to_string())
}
