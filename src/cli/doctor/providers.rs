//! Who can be bought from, by the gateway's own word, with the place each key comes from; and whether a provider takes its key.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::check::{Check, Outcome};
use crate::{
    catalog::Catalog,
    cli::{
        Failure,
        providers::{called, sources},
        serve::{inventory, provider_keys, provider_vault},
    },
    config::Settings,
    domain::{Secret, invocation::in_text, text::counted},
    gateway::{Inventory, KeyPlace, KeyTest, Kind, Stock},
    session::VaultError,
};

/// So many of those without a key are named.
const SHOWN: usize = 8;

/// What can be bought: a few words on the whole, and a row for each provider.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) checks: Vec<Check>,
    pub(super) rows: Vec<Row>,
}

/// One provider.
pub(super) struct Row {
    pub(super) provider: String,
    pub(super) result: Outcome,
    pub(super) detail: String,
    /// The same for programs.
    pub(super) facts: Value,
}

/// What the vault has for providers.
type Kept = Result<BTreeMap<String, Secret>, VaultError>;

pub(super) async fn look(settings: &Settings, quarantined: Vec<(String, String)>, online: bool) -> Result<Shelf, Failure> {
    let inventory = inventory(settings, quarantined)?;
    if settings.sandbox {
        let what = format!("no key is needed in the sandbox: the built-in model answers for {} models", inventory.models());
        let mut checks = vec![Check::ok("providers", what)];
        if online {
            checks.push(Check::note("online", "no key was tested: the sandbox sends nothing out of this machine"));
        }
        return Ok(Shelf { checks, rows: Vec::new() });
    }
    let stock = inventory.stock().await;
    let kind = provider_vault(settings).kind();
    // Looking into the vault can wake a keyring, so it is only done where something should be there.
    let is_kept = stock.iter().any(|one| matches!(one.key, Some(KeyPlace::Vault(_))));
    let kept = if is_kept { Some(provider_keys(settings).load().await) } else { None };
    let tests = if online { inventory.test_keys(&stock).await.into_iter().map(Some).collect() } else { vec![None; stock.len()] };
    let mut rows: Vec<Row> = stock.iter().zip(&tests).map(|(one, test)| row(settings, kind, one, kept.as_ref(), test.as_ref())).collect();
    rows.extend(others(settings, &stock));
    Ok(Shelf { checks: summary(settings, &inventory, &stock, &rows, online), rows })
}

fn summary(settings: &Settings, inventory: &Inventory, stock: &[Stock<'_>], rows: &[Row], online: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    let (failed, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.result == Outcome::Fail);
    let can_sell = others.iter().filter(|row| row.facts["available"] == true).count();
    checks.push(match can_sell {
        0 if !failed.is_empty() => Check::note("providers", "no provider can be bought from; their lines below say why"),
        0 => {
            Check::note("providers", "none can be bought from; set a variable such as OPENAI_API_KEY, or run `lava-mcp providers set NAME`")
        }
        _ if online => Check::ok("providers", format!("{can_sell} can be bought from")),
        _ => Check::ok("providers", format!("{can_sell} can be bought from; `lava-mcp doctor --online` tests each key with a free call")),
    });
    if let Some(allowed) = &settings.ceiling.allowed_providers {
        let allowed = if allowed.is_empty() { "nobody".to_owned() } else { allowed.join(", ") };
        checks.push(Check::note("session", format!("a session buys from {allowed} only (session.allowed_providers)")));
    }
    let missing = inventory.without_key();
    if !missing.is_empty() {
        let more = missing.len().saturating_sub(SHOWN);
        let named = missing[..missing.len().min(SHOWN)].join(", ");
        checks.push(Check::note("no key for", if more > 0 { format!("{named} and {more} more") } else { named }));
    }
    if !stock.iter().any(|one| one.kind() == Kind::Local) {
        let what = match settings.local_servers {
            true => "no model server found on the usual ports (11434, 1234, 8080, 8000)",
            false => "model servers of this machine are not looked for (local_servers = false)",
        };
        checks.push(Check::note("local", what));
    }
    checks
}

/// `kind` is that of the vault.
fn row(settings: &Settings, kind: &str, stock: &Stock<'_>, kept: Option<&Kept>, test: Option<&KeyTest>) -> Row {
    let vault = called(kind);
    let source = stock.key.map(|place| sources::at(settings, place));
    let key = match (&source, stock.kind()) {
        (Some(source), _) => Some(format!("key from {}", source.describe(vault))),
        (None, Kind::Local) => Some("on this machine, needs no key".to_owned()),
        (None, _) if stock.needs_key() => None,
        (None, _) => Some("needs no key".to_owned()),
    };
    let not_read = match (stock.key, kept) {
        (Some(KeyPlace::Vault(_)), Some(Err(error))) => Some(error.to_string()),
        (Some(KeyPlace::Vault(id)), Some(Ok(keys))) if !keys.contains_key(id) => {
            Some(format!("the {vault} has no key for it any more; run `lava-mcp providers set {id}`"))
        }
        _ => None,
    };
    let unavailable = not_read.clone().or_else(|| stock.unavailable.clone());
    let mut result = match (&not_read, &unavailable) {
        (Some(_), _) => Outcome::Fail,
        (None, Some(_)) => Outcome::Note,
        (None, None) => Outcome::Ok,
    };
    let models = || match stock.models {
        None => "any model".to_owned(),
        Some(count) => counted(count, "model"),
    };
    let mut parts: Vec<String> = match &unavailable {
        None => std::iter::once(models()).chain(key).collect(),
        Some(why) => key.into_iter().chain([format!("nothing can be bought: {why}")]).collect(),
    };
    // Where there is no key, that is said already.
    let test = test.filter(|_| not_read.is_none() && (stock.key.is_some() || !stock.needs_key()));
    if let Some((outcome, said)) = test.map(in_words) {
        result = result.max(outcome);
        parts.push(said);
    }
    let facts = json!({
        "provider": stock.provider, "kind": kind_name(stock.kind()), "result": result, "available": unavailable.is_none(),
        "unavailable_reason": unavailable.map(|why| in_text(&why).into_owned()),
        "models": if not_read.is_some() { Some(0) } else { stock.models },
        "needs_key": stock.needs_key(), "key_from": source.map(|source| source.to_json(settings, kind)), "online": test.map(facts_of),
    });
    Row { provider: stock.provider.to_owned(), result, detail: in_text(&parts.join("; ")).into_owned(), facts }
}

/// Keys that are expected or kept, and that no provider here is asked with.
fn others(settings: &Settings, stock: &[Stock<'_>]) -> Vec<Row> {
    let known: HashSet<&str> = stock.iter().map(|one| one.provider).collect();
    let names = provider_keys(settings).names();
    let all = sources::all(settings, &names);
    let stray = all.into_iter().filter(|key| !known.contains(key.provider.as_str())).filter_map(|key| {
        let is_unknown = Catalog::embedded().provider(&key.provider).is_none();
        let why = match &key.unset {
            Some(name) if key.sources.is_empty() => format!("no key: {name}, which the config file names, is not set"),
            _ if is_unknown => "a key is kept for it, and neither the catalog nor the config file has a provider of that name".to_owned(),
            _ => return None,
        };
        Some((key.provider, (!is_unknown).then_some("catalog"), why))
    });
    let row = |(provider, kind, why): (String, Option<&str>, String)| Row {
        facts: json!({
            "provider": provider, "kind": kind, "result": Outcome::Note, "available": false, "unavailable_reason": why, "models": 0,
            "needs_key": true, "key_from": Value::Null, "online": Value::Null,
        }),
        provider,
        result: Outcome::Note,
        detail: why,
    };
    stray.map(row).collect()
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Own => "own",
        Kind::Catalog => "catalog",
        Kind::Local => "local",
    }
}

fn in_words(test: &KeyTest) -> (Outcome, String) {
    let message = |message: &str| if message.is_empty() { "it gave no reason".to_owned() } else { message.to_owned() };
    match test {
        KeyTest::Accepted => (Outcome::Ok, "key accepted".to_owned()),
        KeyTest::Answers => (Outcome::Ok, "it answers".to_owned()),
        KeyTest::Refused { status, accepted_by: Some(other), .. } => {
            (Outcome::Note, format!("key refused ({status}); it is one of {other}"))
        }
        KeyTest::Refused { status, message: said, .. } => (Outcome::Fail, format!("key refused ({status}): {}", message(said))),
        KeyTest::Failed { status, message: said } => (Outcome::Fail, format!("it answered {status}: {}", message(said))),
        KeyTest::NotReached(why) => (Outcome::Fail, format!("it could not be asked: {why}")),
        KeyTest::NotTested(why) => (Outcome::Note, format!("not tested: {why}")),
    }
}

fn facts_of(test: &KeyTest) -> Value {
    match test {
        KeyTest::Accepted => json!({"result": "accepted"}),
        KeyTest::Answers => json!({"result": "answers"}),
        KeyTest::Refused { status, message, accepted_by } => {
            json!({"result": "refused", "status": status, "message": message, "accepted_by": accepted_by})
        }
        KeyTest::Failed { status, message } => json!({"result": "failed", "status": status, "message": message}),
        KeyTest::NotReached(why) => json!({"result": "not_reached", "message": why}),
        KeyTest::NotTested(why) => json!({"result": "not_tested", "message": why}),
    }
}
