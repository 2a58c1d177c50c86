//! `lava-mcp doctor`: what works here and what does not, in a few lines. Each check is made whatever came of the others.

mod check;
mod providers;
mod session;
mod settings;

use clap::Args;
use serde_json::json;

use super::{
    Failure, output,
    serve::{App, vault_of},
};
use crate::config::Mode;
use check::{Check, Outcome};
use providers::Shelf;
pub(super) use settings::Found;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Test each provider's key with a call that costs nothing, such as its list of models.
    #[arg(long)]
    online: bool,
}

pub(super) async fn doctor(found: Found, args: &DoctorArgs, json: bool) -> Result<(), Failure> {
    let mut checks = vec![Check::ok("version", format!("lava-mcp {}", env!("CARGO_PKG_VERSION")))];
    checks.extend(found.checks());
    // With a setting left out, a key could go to another address than the one that was meant, and the ledger be another one.
    let is_whole = found.wrong.is_empty();
    let settings = found.settings;
    let can_write = is_whole && {
        let data = settings::data_folder(&settings.data_dir);
        let can_write = data.result == Outcome::Ok;
        checks.push(data);
        can_write
    };
    let is_online = args.online && is_whole;
    if args.online && !is_whole {
        checks.push(Check::note("online", "no key was tested, because a setting is wrong"));
    }
    let is_file = vault_of(&settings).kind() == "file";
    if can_write || !is_file {
        checks.push(settings::vault(&settings).await);
    }
    let is_embedded = settings.mode == Mode::Embedded;
    let mut quarantined = Vec::new();
    if is_whole && (can_write || !is_embedded) {
        let app = App::new(settings.clone())?;
        let seen = session::look(&app, is_embedded, is_online).await;
        checks.extend(seen.checks);
        quarantined = seen.quarantined;
        app.close().await;
    } else if !is_whole {
        checks.push(Check::note("ledger", "not checked, because a setting is wrong"));
    } else {
        checks.push(Check::note("ledger", "not checked, because the data folder cannot be written"));
    }
    let shelf = if is_embedded { providers::look(&settings, quarantined, is_online).await? } else { Shelf::default() };
    checks.extend(shelf.checks);

    let results = checks.iter().map(|check| check.result).chain(shelf.rows.iter().map(|row| row.result));
    let (all, failed) = (results.clone().count(), results.filter(|result| *result == Outcome::Fail).count());
    if json {
        let providers: Vec<_> = shelf.rows.iter().map(|row| &row.facts).collect();
        output::print_json(&json!({"ok": failed == 0, "checks": checks, "providers": providers}))?;
    } else {
        let line = |result: Outcome, what: &str, detail: &str| vec![result.mark().to_owned(), what.to_owned(), detail.to_owned()];
        let general = checks.iter().map(|check| line(check.result, check.what, &check.detail));
        let rows = shelf.rows.iter().map(|row| line(row.result, &row.provider, &row.detail));
        output::table(&general.chain(rows).collect::<Vec<_>>());
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Error(format!("{failed} of {all} checks failed"))) }
}
