//! Reading spend keys: the one place that knows how their columns become a [`SpendKey`].

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::domain::{Cycle, KeyHash, KeyId, KeySettings, Money, RateLimit, RequestLimit, RequestShape, SpendKey, SpendLimit, Status};

const SELECT: &str = "
SELECT k.id, k.owner, k.preview, k.name, k.test, k.shape, k.allowed_models, k.allowed_providers, k.created_at,
       b.generation, b.status, b.expires_at, b.limit_n, b.spend_cycle, b.spend_window, b.spent_n, b.held_n, b.max_requests,
       b.request_cycle, b.request_window, b.requests, b.rpm, b.burst, b.total_spent_n, b.total_requests, b.last_used_at
FROM spend_key k JOIN budget b ON b.key_id = k.id WHERE b.status <> 2 AND ";

/// Status of a revoked key, which is never read again.
pub(super) const REVOKED: i64 = 2;

pub(super) fn key_by_hash(connection: &Connection, hash: &KeyHash, now: Timestamp) -> rusqlite::Result<Option<SpendKey>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} k.hash = ?1"))?;
    statement.query_row([hash.as_bytes().as_slice()], |row| read(row, now)).optional()
}

pub(super) fn key_by_id(connection: &Connection, id: &KeyId, now: Timestamp) -> rusqlite::Result<Option<SpendKey>> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} k.id = ?1"))?;
    statement.query_row([id.as_str()], |row| read(row, now)).optional()
}

pub(super) fn keys(
    connection: &Connection,
    test: bool,
    before: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Vec<SpendKey>> {
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} k.test = ?1 AND (?2 IS NULL OR k.id < ?2) ORDER BY k.id DESC LIMIT ?3"))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement.query_map(params![test, before, limit], |row| read(row, now))?.collect()
}

fn read(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<SpendKey> {
    let spend_cycle = cycle_from(row.get("spend_cycle")?);
    let request_cycle = cycle_from(row.get("request_cycle")?);
    // A window that has passed is rolled over by the next hold; until then it is only read as empty.
    let spend_is_current = spend_cycle.window(now).0 <= row.get("spend_window")?;
    let requests_are_current = request_cycle.window(now).0 <= row.get("request_window")?;
    let current = |value: i64, is_current: bool| if is_current { value } else { 0 };
    let limit: Option<i64> = row.get("limit_n")?;
    let max_requests: Option<i64> = row.get("max_requests")?;
    let rpm: Option<u32> = row.get("rpm")?;
    let burst: Option<u32> = row.get("burst")?;
    Ok(SpendKey {
        id: KeyId::from_text(row.get::<_, String>("id")?),
        owner: row.get("owner")?,
        preview: row.get("preview")?,
        test: row.get("test")?,
        generation: row.get("generation")?,
        created_at: timestamp(row.get("created_at")?),
        last_used_at: row.get::<_, Option<i64>>("last_used_at")?.map(timestamp),
        current_spend: Money::from_nanos(current(row.get("spent_n")?, spend_is_current)),
        held: Money::from_nanos(current(row.get("held_n")?, spend_is_current)),
        total_spend: Money::from_nanos(row.get("total_spent_n")?),
        current_requests: current(row.get("requests")?, requests_are_current).unsigned_abs(),
        total_requests: row.get::<_, i64>("total_requests")?.unsigned_abs(),
        settings: KeySettings {
            name: row.get("name")?,
            status: if row.get::<_, i64>("status")? == 0 { Status::Active } else { Status::Paused },
            shape: if row.get_ref("shape")?.as_str()? == "anthropic" { RequestShape::Anthropic } else { RequestShape::Openai },
            allowed_models: list(row, "allowed_models")?,
            allowed_providers: list(row, "allowed_providers")?,
            spend_limit: limit.map(|nanos| SpendLimit { amount: Money::from_nanos(nanos), cycle: spend_cycle }),
            request_limit: max_requests.map(|count| RequestLimit { count: count.unsigned_abs(), cycle: request_cycle }),
            rate_limit: rpm.map(|rpm| RateLimit { rpm, burst }),
            expires_at: row.get::<_, Option<i64>>("expires_at")?.map(timestamp),
        },
    })
}

fn list(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Vec<String>>> {
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

const fn cycle_from(number: i64) -> Cycle {
    match number {
        0 => Cycle::Daily,
        1 => Cycle::Weekly,
        2 => Cycle::Monthly,
        _ => Cycle::Total,
    }
}
