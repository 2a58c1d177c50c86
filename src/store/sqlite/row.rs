//! Reading spend keys: the one place that knows how their columns become a [`SpendKey`].

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::keys::KeyPage;
use crate::domain::{
    Cycle, KeyHash, KeyId, KeySettings, Money, RateLimit, RequestLimit, RequestShape, SpendKey, SpendLimit, Status, spend_key::Account,
};

/// [`read`] takes the columns by their place: looking for names costs as much as the rest of reading a row.
const SELECT: &str = "
SELECT k.id, k.owner, k.preview, k.name, k.test, k.shape, k.allowed_models, k.allowed_providers, k.created_at,
       b.generation, b.status, b.expires_at, b.limit_n, b.spend_cycle, b.spend_window, b.spent_n, b.held_n, b.max_requests,
       b.request_cycle, b.request_window, b.requests, b.rpm, b.burst, b.total_spent_n, b.total_requests, b.last_used_at,
       a.limit_n, a.spend_cycle, a.spend_window, a.spent_n, a.held_n, k.hosted_tools, k.lower_output_cap, k.revoked_at
FROM spend_key k JOIN budget b ON b.key_id = k.id JOIN account a ON a.test = k.test WHERE ";
/// Where revoked keys are not asked for, they are gone.
const ADMITTED: &str = "b.status <> 2 AND ";

/// Status of a revoked key, which is only read to be shown.
pub(super) const REVOKED: i64 = 2;

pub(super) fn key_by_hash(connection: &Connection, hash: &KeyHash, now: Timestamp) -> rusqlite::Result<Option<SpendKey>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT}{ADMITTED} k.hash = ?1"))?;
    statement.query_row([hash.as_bytes().as_slice()], |row| read(row, now)).optional()
}

pub(super) fn key_by_id(connection: &Connection, id: &KeyId, now: Timestamp) -> rusqlite::Result<Option<SpendKey>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT}{ADMITTED} k.id = ?1"))?;
    statement.query_row([id.as_str()], |row| read(row, now)).optional()
}

/// The same, if it was revoked too.
pub(super) fn key_or_revoked(connection: &Connection, id: &KeyId, now: Timestamp) -> rusqlite::Result<Option<SpendKey>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} k.id = ?1"))?;
    statement.query_row([id.as_str()], |row| read(row, now)).optional()
}

pub(super) fn keys(connection: &Connection, page: &KeyPage<'_>, now: Timestamp) -> rusqlite::Result<Vec<SpendKey>> {
    let which = if page.with_revoked { "" } else { ADMITTED };
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT}{which} k.test = ?1 AND k.id <> k.owner AND (?2 IS NULL OR k.id < ?2) ORDER BY k.id DESC LIMIT ?3"
    ))?;
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    statement.query_map(params![page.test, page.before, limit], |row| read(row, now))?.collect()
}

fn read(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<SpendKey> {
    let spend_cycle = cycle_from(row.get(13)?);
    let request_cycle = cycle_from(row.get(18)?);
    // A window that has passed is rolled over by the next hold; until then it is only read as empty.
    let spend_is_current = spend_cycle.window(now).0 <= row.get(14)?;
    let requests_are_current = request_cycle.window(now).0 <= row.get(19)?;
    let current = |value: i64, is_current: bool| if is_current { value } else { 0 };
    let limit: Option<i64> = row.get(12)?;
    let max_requests: Option<i64> = row.get(17)?;
    let rpm: Option<u32> = row.get(21)?;
    let burst: Option<u32> = row.get(22)?;
    Ok(SpendKey {
        account: account(row, 26, now)?,
        id: KeyId::from_text(row.get::<_, String>(0)?),
        owner: row.get(1)?,
        preview: row.get(2)?,
        test: row.get(4)?,
        generation: row.get(9)?,
        created_at: timestamp(row.get(8)?),
        last_used_at: row.get::<_, Option<i64>>(25)?.map(timestamp),
        is_revoked: row.get::<_, i64>(10)? == REVOKED,
        revoked_at: row.get::<_, Option<i64>>(33)?.map(timestamp),
        current_spend: Money::from_nanos(current(row.get(15)?, spend_is_current)),
        held: Money::from_nanos(current(row.get(16)?, spend_is_current)),
        total_spend: Money::from_nanos(row.get(23)?),
        current_requests: current(row.get(20)?, requests_are_current).unsigned_abs(),
        total_requests: row.get::<_, i64>(24)?.unsigned_abs(),
        settings: KeySettings {
            name: row.get(3)?,
            status: if row.get::<_, i64>(10)? == 0 { Status::Active } else { Status::Paused },
            shape: if row.get_ref(5)?.as_str()? == "anthropic" { RequestShape::Anthropic } else { RequestShape::Openai },
            allowed_models: list(row, 6)?,
            allowed_providers: list(row, 7)?,
            spend_limit: limit.map(|nanos| SpendLimit { amount: Money::from_nanos(nanos), cycle: spend_cycle }),
            request_limit: max_requests.map(|count| RequestLimit { count: count.unsigned_abs(), cycle: request_cycle }),
            rate_limit: rpm.map(|rpm| RateLimit { rpm, burst }),
            expires_at: row.get::<_, Option<i64>>(11)?.map(timestamp),
            hosted_tools: row.get(31)?,
            lower_output_cap: row.get(32)?,
        },
    })
}

/// Reads the lid over all keys from five columns, the first of which is at `first`.
pub(super) fn account(row: &Row<'_>, first: usize, now: Timestamp) -> rusqlite::Result<Account> {
    let cycle = cycle_from(row.get(first + 1)?);
    let is_current = cycle.window(now).0 <= row.get(first + 2)?;
    let limit: Option<i64> = row.get(first)?;
    // Without a limit nothing is counted, and what stands there is old.
    let current = |nanos: i64| Money::from_nanos(if is_current && limit.is_some() { nanos } else { 0 });
    Ok(Account {
        limit: limit.map(|nanos| SpendLimit { amount: Money::from_nanos(nanos), cycle }),
        spent: current(row.get(first + 3)?),
        held: current(row.get(first + 4)?),
    })
}

fn list(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Vec<String>>> {
    let text: Option<String> = row.get(column)?;
    // A list that cannot be read allows nothing: it must not open the key to every model.
    Ok(text.map(|json| serde_json::from_str(&json).unwrap_or_default()))
}

/// A stored time.
pub(super) fn timestamp(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The number a cycle is stored as.
pub(super) const fn cycle_number(cycle: Cycle) -> i64 {
    match cycle {
        Cycle::Daily => 0,
        Cycle::Weekly => 1,
        Cycle::Monthly => 2,
        Cycle::Total => 3,
    }
}

/// The cycle of a stored number.
pub(super) const fn cycle_from(number: i64) -> Cycle {
    match number {
        0 => Cycle::Daily,
        1 => Cycle::Weekly,
        2 => Cycle::Monthly,
        _ => Cycle::Total,
    }
}
