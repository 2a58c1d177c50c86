//! The gateway and the keys with which the command line pays.

use super::check::Check;
use crate::{
    cli::{login::command_line, serve::App, status::secret_key_in},
    client::{Client, ClientError},
    domain::text::counted,
    gateway::ToReview,
    session::{LoggedIn, SessionError},
};

const ACCEPTED: &str = "accepted by the gateway";

/// What was found.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) checks: Vec<Check>,
    /// Models that keys with a limit cannot buy, as (provider, model).
    pub(super) quarantined: Vec<(String, String)>,
}

/// What the embedded gateway has, or whether the one at an address answers, and then whether there is a key for it. `online` tests the keys at an address.
pub(super) async fn look(app: &App, is_embedded: bool, online: bool) -> Seen {
    let only = |check| Seen { checks: vec![check], quarantined: Vec::new() };
    let client = match app.session.client().await {
        Ok(client) => client,
        Err(error) => return only(Check::fail(if is_embedded { "ledger" } else { "gateway" }, error.to_string())),
    };
    let Seen { mut checks, quarantined } = if is_embedded {
        ledger(app).await
    } else {
        match gateway(app, &client).await {
            // Whatever is asked next fails for the same reason.
            Err(unreachable) => return only(unreachable),
            Ok(check) => only(check),
        }
    };
    let logged_in = app.session.status(&command_line()).await;
    if online && let (false, Ok(logged_in)) = (is_embedded, &logged_in) {
        checks.push(spend_key(logged_in));
    }
    checks.push(match logged_in {
        Ok(_) => Check::ok("login", "the command line has a valid key"),
        Err(SessionError::NotLoggedIn) if is_embedded => {
            Check::note("login", "no spend key yet; the command line and MCP clients make theirs when they need one")
        }
        Err(SessionError::NotLoggedIn) => Check::note("login", "not logged in on the command line; MCP clients log in by themselves"),
        // Why is said of the vault itself.
        Err(SessionError::Vault(error)) => Check::note("login", format!("not known, because the {} cannot be read", error.kind())),
        Err(error) => Check::fail("login", error.to_string()),
    });
    // The embedded gateway makes its own.
    if !is_embedded {
        checks.extend(secret_key(app, online).await);
    }
    Seen { checks, quarantined }
}

/// `Err` where nobody is there.
async fn gateway(app: &App, client: &Client) -> Result<Check, Check> {
    let url = app.session.info().url.clone().unwrap_or_default();
    match client.reachable().await {
        Ok(_) => Ok(Check::ok("gateway", url)),
        Err(ClientError::Unreachable(why)) => Err(Check::fail("gateway", ClientError::Unreachable(why).to_string())),
        Err(error) => Ok(Check::fail("gateway", format!("{url}: {error}"))),
    }
}

/// A gateway that shows a spend key what it may spend has looked at it.
fn spend_key(logged_in: &LoggedIn) -> Check {
    match logged_in.key {
        Some(_) => Check::ok("spend key", ACCEPTED),
        None => Check::note("spend key", "not tested: no free call is known at this gateway"),
    }
}

async fn secret_key(app: &App, online: bool) -> Option<Check> {
    let place = match secret_key_in(&app.session).await {
        Ok(Some(place)) => place,
        Ok(None) if app.session.web().is_some() => return Some(Check::note("secret key", "none; login asks for it in a browser")),
        // A given spend key needs none, and that the vault cannot be read is said of the vault.
        _ => return None,
    };
    if !online {
        return Some(Check::ok("secret key", format!("from {place}")));
    }
    Some(match app.session.owner_key().await {
        Ok(_) => Check::ok("secret key", format!("from {place}; {ACCEPTED}")),
        Err(error) => Check::fail("secret key", format!("from {place}; {error}")),
    })
}

/// Whether the ledger can be used, and what waits in it for a person's decision.
async fn ledger(app: &App) -> Seen {
    let found = match app.gateway().await {
        Ok(gateway) => gateway.to_review().map_err(|error| error.to_string()),
        Err(failure) => Err(failure.text().to_owned()),
    };
    let ToReview { unverified, unverified_sum, quarantined } = match found {
        Ok(found) => found,
        Err(error) => return Seen { checks: vec![Check::fail("ledger", error)], ..Seen::default() },
    };
    let mut checks = vec![Check::ok("ledger", "opened, and can be written")];
    if unverified > 0 {
        let charges = counted(unverified, "charge");
        checks.push(Check::note(
            "unverified",
            format!("{charges} of {unverified_sum} USD that the provider may not have billed; `lava-mcp keys holds` shows them"),
        ));
    }
    if !quarantined.is_empty() {
        let models: Vec<String> = quarantined.iter().map(|(provider, model)| format!("{provider}/{model}")).collect();
        checks.push(Check::note(
            "quarantined",
            format!("{} billed more than the prices allow; `lava-mcp quarantined` shows what happened", models.join(", ")),
        ));
    }
    Seen { checks, quarantined }
}
