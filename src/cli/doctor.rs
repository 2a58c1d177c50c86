//! `lava-mcp doctor`: what works here and what does not, in a few lines.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Failure,
    login::command_line,
    output,
    serve::{App, vault_of},
    status::secret_key_in,
};
use crate::{
    catalog::{Auth, Catalog, Dialect},
    config::{Mode, Settings},
    domain::invocation::in_text,
    gateway::ToReview,
    session::SessionError,
};

/// One line of the report.
#[derive(Serialize)]
struct Check {
    what: &'static str,
    /// `ok`, `note` or `fail`.
    result: &'static str,
    detail: String,
}

impl Check {
    fn new(what: &'static str, result: &'static str, detail: impl Into<String>) -> Self {
        Self { what, result, detail: in_text(&detail.into()).into_owned() }
    }

    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, "ok", detail)
    }

    fn note(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, "note", detail)
    }

    fn fail(what: &'static str, detail: impl Into<String>) -> Self {
        Self::new(what, "fail", detail)
    }
}

pub(super) async fn doctor(settings: Settings, json: bool) -> Result<(), Failure> {
    let mut checks = vec![Check::ok("version", format!("lava-mcp {}", env!("CARGO_PKG_VERSION")))];
    checks.push(match &settings.config_file {
        Some(file) => Check::ok("config", file.display().to_string()),
        None => Check::note("config", "no config file; defaults and environment are used"),
    });
    let vault = vault_of(&settings);
    checks.push(match vault.check().await {
        Ok(()) => Check::ok("vault", format!("the {} can keep keys", vault.kind())),
        // Nothing is wrong before there is a key to keep.
        Err(error) if error.is_missing() => Check::note("vault", format!("{error}. {}", error.hint())),
        Err(error) => Check::fail("vault", format!("{error}. {}", error.hint())),
    });
    checks.push(Check::note("data", settings.data_dir.display().to_string()));
    let is_embedded = settings.mode == Mode::Embedded;
    let app = App::new(settings)?;
    match app.session.client().await {
        Ok(client) if is_embedded => {
            checks.push(Check::ok("ledger", "opened, and can be written"));
            checks.extend(offers(&client.reachable().await.unwrap_or_default()));
            checks.extend(to_review(&app).await);
        }
        Ok(client) => checks.push(match client.reachable().await {
            Ok(_) => Check::ok("gateway", app.session.info().url.clone().unwrap_or_default()),
            Err(error) => Check::fail("gateway", error.to_string()),
        }),
        Err(error) => checks.push(Check::fail("ledger", error.to_string())),
    }
    checks.push(match app.session.status(&command_line()).await {
        Ok(_) => Check::ok("login", "the command line has a valid key"),
        Err(SessionError::NotLoggedIn) => Check::note("login", "not logged in on the command line; MCP clients log in by themselves"),
        Err(error) => Check::fail("login", error.to_string()),
    });
    match secret_key_in(&app.session).await {
        Ok(Some(place)) if !is_embedded => checks.push(Check::ok("secret key", format!("from {place}"))),
        Ok(None) if app.session.web().is_some() => checks.push(Check::note("secret key", "none; login asks for it in a browser")),
        // The embedded gateway makes its own, a given spend key needs none, and that the vault cannot be read is said above.
        _ => {}
    }
    app.close().await;

    let failed = checks.iter().filter(|check| check.result == "fail").count();
    if json {
        output::print_json(&json!({"ok": failed == 0, "checks": checks}))?;
    } else {
        let mark = |result: &str| if result == "fail" { "FAIL" } else { result }.to_owned();
        output::table(
            &checks.iter().map(|check| vec![mark(check.result), check.what.to_owned(), check.detail.clone()]).collect::<Vec<_>>(),
        );
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Error(format!("{failed} of {} checks failed", checks.len()))) }
}

/// What waits for a person's decision, if anything does.
async fn to_review(app: &App) -> Vec<Check> {
    let found = match app.gateway().await {
        Ok(gateway) => gateway.to_review().map_err(|error| error.to_string()),
        Err(failure) => Err(failure.text().to_owned()),
    };
    let ToReview { unverified, unverified_sum, mispriced } = match found {
        Ok(found) => found,
        Err(error) => return vec![Check::fail("ledger", error)],
    };
    let mut checks = Vec::new();
    if unverified > 0 {
        let charges = if unverified == 1 { "charge" } else { "charges" };
        checks.push(Check::note(
            "unverified",
            format!(
                "{unverified} {charges} of {unverified_sum} USD that the provider may not have billed; `lava-mcp keys holds` shows them"
            ),
        ));
    }
    if !mispriced.is_empty() {
        checks.push(Check::note(
            "mispriced",
            format!("{} billed more than the prices allow; `lava-mcp quarantined` shows what happened", mispriced.join(", ")),
        ));
    }
    checks
}

/// The best known of those who would sell if they had a key.
fn without_credentials(is_ready: impl Fn(&str) -> bool) -> Check {
    const SHOWN: usize = 8;
    let missing: Vec<&str> = Catalog::embedded()
        .providers()
        .iter()
        .filter(|provider| provider.dialect == Dialect::Openai && provider.auth != Auth::None && !is_ready(&provider.id))
        .map(|provider| &*provider.id)
        .collect();
    let more = missing.len().saturating_sub(SHOWN);
    Check::note("no key for", format!("{} and {more} more", missing[..missing.len().min(SHOWN)].join(", ")))
}

/// Who can be bought from right now, by the list of models: providers with credentials, local servers.
fn offers(models: &Value) -> Vec<Check> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for model in models.get("data").and_then(Value::as_array).into_iter().flatten() {
        *counts.entry(model.get("owned_by").and_then(Value::as_str).unwrap_or_default().to_owned()).or_default() += 1;
    }
    let (local, others): (Vec<_>, Vec<_>) = counts.iter().partition(|(id, _)| crate::gateway::LOCAL_SERVERS.contains(&id.as_str()));
    let list = |some: &[(&String, &usize)]| some.iter().map(|(id, count)| format!("{id} ({count} models)")).collect::<Vec<_>>().join(", ");
    vec![
        match others.is_empty() {
            true => Check::note(
                "providers",
                "none with credentials; set a variable such as OPENAI_API_KEY, or run `lava-mcp providers set NAME`",
            ),
            false => Check::ok("providers", list(&others)),
        },
        without_credentials(|id| counts.contains_key(id)),
        match local.is_empty() {
            true => Check::note("local", "no model server found on the usual ports (11434, 1234, 8080, 8000)"),
            false => Check::ok("local", list(&local)),
        },
    ]
}
