//! Reading what happened: requests with all their attempts.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, ToSql};

use super::row::timestamp;
use crate::domain::{
    KeyId, Money, RequestId,
    ledger::{Attempt, RequestRecord, Subject},
};

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RequestPage {
    /// Only those of the sandbox, or only the others.
    pub test: Option<bool>,
    /// Only those of this spend key.
    pub key: Option<KeyId>,
    /// Only this one.
    pub only: Option<String>,
    /// Only those older than this request.
    pub before: Option<String>,
    /// At most this many.
    pub limit: usize,
}

const ATTEMPTS: &str = "
SELECT kind, amount_n AS cost_n, 0 AS held_n, basis, usage_json, upstream_status, provider, model, endpoint, note, opened_at, seq
FROM entry WHERE request_id = ?1
UNION ALL
SELECT 'open', 0, amount_n, NULL, NULL, NULL, provider, model, endpoint, NULL, opened_at, 9223372036854775807 FROM hold WHERE request_id = ?1
ORDER BY opened_at, seq";

/// Requests that match a page, newest first. Request ids sort by time, so the newest are the largest.
pub(super) fn requests(connection: &Connection, page: &RequestPage) -> rusqlite::Result<Vec<RequestRecord>> {
    let mut found = BTreeMap::new();
    // Holds first: one that becomes an entry in between is then found there.
    for table in ["hold", "entry"] {
        found.extend(newest(connection, table, page)?);
    }
    let mut records = Vec::new();
    for (request, (key, test)) in found.into_iter().rev().take(page.limit) {
        let mut attempts = connection.prepare_cached(ATTEMPTS)?;
        let mut attempts = attempts.query_map([&request], attempt)?;
        // Between the two reads a hold may have become an entry, but it cannot have vanished.
        let Some(first) = attempts.next().transpose()? else { continue };
        let rest = attempts.collect::<rusqlite::Result<_>>()?;
        records.push(RequestRecord { request: RequestId::from_text(request), key: KeyId::from_text(key), test, first, rest });
    }
    Ok(records)
}

/// The newest requests of one table with key and test flag. Only the conditions that are asked for stand in the query, so that it walks an index and stops early.
fn newest(connection: &Connection, table: &str, page: &RequestPage) -> rusqlite::Result<Vec<(String, (String, bool))>> {
    let key = page.key.as_ref().map(KeyId::as_str);
    let conditions: [(Option<&dyn ToSql>, &str); 4] = [
        (page.only.as_ref().map(|only| only as &dyn ToSql), "r.request_id = "),
        (key.as_ref().map(|key| key as &dyn ToSql), "r.key_id = "),
        (page.before.as_ref().map(|before| before as &dyn ToSql), "r.request_id < "),
        (page.test.as_ref().map(|test| test as &dyn ToSql), "k.test = "),
    ];
    let mut sql = format!("SELECT DISTINCT r.request_id, r.key_id, k.test FROM {table} r JOIN spend_key k ON k.id = r.key_id WHERE true");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    for (value, condition) in conditions.into_iter().filter_map(|(value, condition)| Some((value?, condition))) {
        values.push(value);
        sql.push_str(&format!(" AND {condition}?{}", values.len()));
    }
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    values.push(&limit);
    sql.push_str(&format!(" ORDER BY r.request_id DESC LIMIT ?{}", values.len()));
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(&values[..], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?.collect()
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let usage: Option<String> = row.get("usage_json")?;
    Ok(Attempt {
        kind: row.get("kind")?,
        subject: Subject { provider: row.get("provider")?, model: row.get("model")?, endpoint: row.get("endpoint")? },
        cost: Money::from_nanos(row.get("cost_n")?),
        held: Money::from_nanos(row.get("held_n")?),
        basis: row.get("basis")?,
        usage: usage.and_then(|json| serde_json::from_str(&json).ok()),
        upstream_status: row.get("upstream_status")?,
        note: row.get("note")?,
        opened_at: timestamp(row.get("opened_at")?),
    })
}
