//! Creating, changing, rotating and revoking keys. Each is one transaction in the writer, so its moment is the same for every process.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{row, writer::Ledger};
use crate::{
    domain::{Cycle, KeyHash, KeyId, KeySettings, NewSpendKey, SpendKey, Status},
    store::Change,
};

/// A secret key to be added.
#[derive(Clone, Debug)]
pub struct NewSecretKey {
    /// Its id.
    pub id: String,
    /// Digest of the key.
    pub hash: KeyHash,
    /// What may be shown of it.
    pub preview: String,
    /// What people call it.
    pub name: String,
    /// Whether its spend keys only reach the sandbox.
    pub test: bool,
}

/// A secret key as the ledger knows it.
#[derive(Clone, Debug)]
pub struct SecretKey {
    /// Its id.
    pub id: String,
    /// What may be shown of it.
    pub preview: String,
    /// What people call it.
    pub name: String,
    /// Whether its spend keys only reach the sandbox.
    pub test: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which spend keys are listed: newest first, older than `before`.
#[derive(Clone, Copy, Debug)]
pub struct KeyPage<'a> {
    /// Those of the sandbox, or the others.
    pub test: bool,
    /// The id of the last one of the page before.
    pub before: Option<&'a str>,
    /// How many at most.
    pub limit: usize,
    /// Whether revoked ones are listed too.
    pub with_revoked: bool,
}

/// Adds a secret key with the budget from which it pays what is asked with it directly.
pub(super) fn create_secret(ledger: &Ledger<'_>, key: &NewSecretKey) -> rusqlite::Result<()> {
    let insert = "INSERT INTO secret_key (id, hash, preview, name, test, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = params![key.id, key.hash.as_bytes().as_slice(), key.preview, key.name, key.test, ledger.now.as_microsecond()];
    ledger.connection.execute(insert, values)?;
    let insert = "INSERT INTO spend_key (id, owner, hash, preview, name, test, shape, created_at) \
                  SELECT id, id, hash, preview, name, test, 'openai', created_at FROM secret_key WHERE id = ?1";
    ledger.connection.execute(insert, [&key.id])?;
    ledger.connection.execute("INSERT INTO budget (key_id, status) VALUES (?1, 0)", [&key.id]).map(|_| ())
}

const SECRET: &str = "SELECT id, preview, name, test, created_at FROM secret_key WHERE deleted_at IS NULL";

pub(super) fn secret_by_hash(connection: &Connection, hash: &KeyHash) -> rusqlite::Result<Option<SecretKey>> {
    connection.prepare_cached(&format!("{SECRET} AND hash = ?1"))?.query_row([hash.as_bytes().as_slice()], read_secret).optional()
}

pub(super) fn secrets(connection: &Connection) -> rusqlite::Result<Vec<SecretKey>> {
    connection.prepare_cached(&format!("{SECRET} ORDER BY id"))?.query_map([], read_secret)?.collect()
}

pub(super) fn delete_secret(ledger: &Ledger<'_>, id: &str) -> rusqlite::Result<bool> {
    let update = "UPDATE secret_key SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
    let is_deleted = ledger.connection.execute(update, params![id, ledger.now.as_microsecond()])? == 1;
    if is_deleted {
        revoke(ledger, &KeyId::from_text(id))?;
    }
    Ok(is_deleted)
}

fn read_secret(row: &Row<'_>) -> rusqlite::Result<SecretKey> {
    Ok(SecretKey { id: row.get(0)?, preview: row.get(1)?, name: row.get(2)?, test: row.get(3)?, created_at: row::timestamp(row.get(4)?) })
}

pub(super) fn create(ledger: &Ledger<'_>, key: &NewSpendKey) -> rusqlite::Result<()> {
    let settings = &key.settings;
    ledger.connection.execute(
        "INSERT INTO spend_key (id, owner, hash, preview, name, test, shape, allowed_models, allowed_providers, created_at, hosted_tools, \
         lower_output_cap) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            key.id.as_str(),
            key.owner,
            key.hash.as_bytes().as_slice(),
            key.preview,
            settings.name,
            key.test,
            settings.shape.as_str(),
            json(settings.allowed_models.as_ref()),
            json(settings.allowed_providers.as_ref()),
            ledger.now.as_microsecond(),
            settings.hosted_tools,
            settings.lower_output_cap,
        ],
    )?;
    ledger.connection.execute("INSERT INTO budget (key_id, status) VALUES (?1, 0)", [key.id.as_str()])?;
    write_limits(ledger, &key.id, settings)
}

pub(super) fn change(ledger: &Ledger<'_>, id: &KeyId, change: &Change) -> rusqlite::Result<Option<SpendKey>> {
    let Some(before) = row::key_by_id(ledger.connection, id, ledger.now)? else { return Ok(None) };
    let mut settings = before.settings.clone();
    change(&mut settings);
    ledger.connection.execute(
        "UPDATE spend_key SET name = ?2, shape = ?3, allowed_models = ?4, allowed_providers = ?5, hosted_tools = ?6, lower_output_cap = ?7 \
         WHERE id = ?1",
        params![
            id.as_str(),
            settings.name,
            settings.shape.as_str(),
            json(settings.allowed_models.as_ref()),
            json(settings.allowed_providers.as_ref()),
            settings.hosted_tools,
            settings.lower_output_cap,
        ],
    )?;
    write_limits(ledger, id, &settings)?;
    row::key_by_id(ledger.connection, id, ledger.now)
}

pub(super) fn rotate(ledger: &Ledger<'_>, id: &KeyId, hash: &KeyHash, preview: &str) -> rusqlite::Result<Option<SpendKey>> {
    let update = "UPDATE budget SET generation = generation + 1 WHERE key_id = ?1 AND status <> ?2";
    if ledger.connection.execute(update, params![id.as_str(), row::REVOKED])? == 0 {
        return Ok(None);
    }
    let update = "UPDATE spend_key SET hash = ?2, preview = ?3 WHERE id = ?1";
    ledger.connection.execute(update, params![id.as_str(), hash.as_bytes().as_slice(), preview])?;
    row::key_by_id(ledger.connection, id, ledger.now)
}

pub(super) fn revoke(ledger: &Ledger<'_>, id: &KeyId) -> rusqlite::Result<bool> {
    let update = "UPDATE budget SET status = ?2, generation = generation + 1 WHERE key_id = ?1 AND status <> ?2";
    let is_revoked = ledger.connection.execute(update, params![id.as_str(), row::REVOKED])? == 1;
    if is_revoked {
        let update = "UPDATE spend_key SET revoked_at = ?2 WHERE id = ?1";
        ledger.connection.execute(update, params![id.as_str(), ledger.now.as_microsecond()])?;
    }
    Ok(is_revoked)
}

/// Writes the limits into the budget row. A limit whose cycle changed is re-counted from the entries and holds of its present window, so that changing a
/// cycle neither forgets what was spent in it nor charges what was spent before it.
fn write_limits(ledger: &Ledger<'_>, id: &KeyId, settings: &KeySettings) -> rusqlite::Result<()> {
    let spend_cycle = settings.spend_limit.map_or(Cycle::Total, |limit| limit.cycle);
    let request_cycle = settings.request_limit.map_or(Cycle::Total, |limit| limit.cycle);
    let before = "SELECT spend_cycle, spend_window, request_cycle, request_window, latest FROM budget WHERE key_id = ?1";
    let (old_spend, old_requests, latest): ((i64, i64), (i64, i64), i64) = ledger
        .connection
        .query_row(before, [id.as_str()], |row| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?), row.get(4)?)))?;
    let now = ledger.now.max(row::timestamp(latest));
    ledger.connection.execute(
        "UPDATE budget SET status = ?2, expires_at = ?3, limit_n = ?4, spend_cycle = ?5, max_requests = ?6, request_cycle = ?7, rpm = ?8, \
         burst = ?9, latest = ?10 WHERE key_id = ?1",
        params![
            id.as_str(),
            i64::from(settings.status == Status::Paused),
            settings.expires_at.map(Timestamp::as_microsecond),
            settings.spend_limit.map(|limit| limit.amount.nanos()),
            row::cycle_number(spend_cycle),
            settings.request_limit.map(|limit| i64::try_from(limit.count).unwrap_or(i64::MAX)),
            row::cycle_number(request_cycle),
            settings.rate_limit.map(|limit| limit.rpm),
            settings.rate_limit.and_then(|limit| limit.burst),
            now.as_microsecond(),
        ],
    )?;
    // A window that has passed is left behind here too, so that a clock that goes back afterwards does not return to it.
    let is_other = |old: (i64, i64), cycle: Cycle| old.0 != row::cycle_number(cycle) || cycle.window(now).0 > old.1;
    if is_other(old_spend, spend_cycle) {
        recount_spend(ledger, id, spend_cycle, now)?;
    }
    if is_other(old_requests, request_cycle) {
        recount_requests(ledger, id, request_cycle, now)?;
    }
    Ok(())
}

/// Holds and entries belong to the window in which they were opened, by the row's own time.
pub(super) fn recount_spend(ledger: &Ledger<'_>, id: &KeyId, cycle: Cycle, now: Timestamp) -> rusqlite::Result<()> {
    let (window, start) = (cycle.window(now).0, window_start(cycle, now));
    // Older holds get a window that is never the present one.
    let update = "UPDATE hold SET spend_window = CASE WHEN opened_at >= ?2 THEN ?3 ELSE ?3 - 1 END WHERE key_id = ?1";
    ledger.connection.execute(update, params![id.as_str(), start, window])?;
    ledger.connection.execute(
        "UPDATE budget SET spend_window = ?3,
            spent_n = (SELECT coalesce(sum(amount_n), 0) FROM entry WHERE key_id = ?1 AND opened_at >= ?2),
            held_n = (SELECT coalesce(sum(amount_n), 0) FROM hold WHERE key_id = ?1 AND opened_at >= ?2)
         WHERE key_id = ?1",
        params![id.as_str(), start, window],
    )?;
    Ok(())
}

fn recount_requests(ledger: &Ledger<'_>, id: &KeyId, cycle: Cycle, now: Timestamp) -> rusqlite::Result<()> {
    let (window, start) = (cycle.window(now).0, window_start(cycle, now));
    let update = "UPDATE hold SET request_window = CASE WHEN opened_at >= ?2 THEN ?3 ELSE ?3 - 1 END WHERE key_id = ?1";
    ledger.connection.execute(update, params![id.as_str(), start, window])?;
    // A request that never left the machine does not count; every other one counts once, however many attempts it took.
    ledger.connection.execute(
        "UPDATE budget SET request_window = ?3, requests = (SELECT count(DISTINCT request_id) FROM (
            SELECT request_id FROM entry WHERE key_id = ?1 AND opened_at >= ?2 AND NOT (kind = 'void' AND upstream_status IS NULL)
            UNION ALL SELECT request_id FROM hold WHERE key_id = ?1 AND opened_at >= ?2))
         WHERE key_id = ?1",
        params![id.as_str(), start, window],
    )?;
    Ok(())
}

/// When the window that contains `now` began, in microseconds since the epoch.
pub(super) fn window_start(cycle: Cycle, now: Timestamp) -> i64 {
    let mut day = now.as_second().div_euclid(86_400);
    let window = cycle.window(now);
    if cycle == Cycle::Total {
        return i64::MIN;
    }
    while let Ok(before) = Timestamp::from_second((day - 1) * 86_400)
        && cycle.window(before) == window
    {
        day -= 1;
    }
    day * 86_400 * 1_000_000
}

fn json(list: Option<&Vec<String>>) -> Option<String> {
    list.and_then(|list| serde_json::to_string(list).ok())
}
