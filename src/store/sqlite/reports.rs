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
SELECT kind, amount_n AS cost_n, 0 AS held_n, basis, usage_json, upstream_status, provider, model, endpoint, note, opened_at, seq, ending
FROM entry WHERE request_id = ?1
UNION ALL
SELECT 'open', 0, amount_n, NULL, NULL, NULL, provider, model, endpoint, NULL, opened_at, 9223372036854775807, NULL FROM hold WHERE request_id = ?1
ORDER BY opened_at, seq";

/// A request's place in the list: when its first attempt began, and its id.
type Place = (i64, String);

/// The first attempt of a request is the one before which there is no other; of two that began together either.
macro_rules! is_first {
    () => {
        "NOT EXISTS (SELECT 1 FROM entry earlier WHERE earlier.request_id = r.request_id AND earlier.opened_at < r.opened_at)"
    };
}

/// Requests that match a page, newest first: by the time at which they began. Their ids sort by the clock of the process that made them, which may have jumped,
/// and by whether they ran in the sandbox.
pub(super) fn requests(connection: &Connection, page: &RequestPage) -> rusqlite::Result<Vec<RequestRecord>> {
    // One view for all reads: a hold that becomes an entry in between would be seen twice, or never.
    let view = connection.unchecked_transaction()?;
    let before = match &page.before {
        None => None,
        Some(request) => match place(&view, request)? {
            Some(place) => Some(place),
            // A list goes on after something that is in it.
            None => return Ok(Vec::new()),
        },
    };
    let mut found = BTreeMap::new();
    for table in ["hold", "entry"] {
        found.extend(newest(&view, table, page, before.as_ref())?);
    }
    let mut records = Vec::new();
    for ((_, request), (key, test)) in found.into_iter().rev().take(page.limit) {
        let mut attempts = view.prepare_cached(ATTEMPTS)?;
        let mut attempts = attempts.query_map([&request], attempt)?;
        let Some(first) = attempts.next().transpose()? else { continue };
        let rest = attempts.collect::<rusqlite::Result<_>>()?;
        records.push(RequestRecord { request: RequestId::from_text(request), key: KeyId::from_text(key), test, first, rest });
    }
    Ok(records)
}

/// Where a request has its place; `None` when there is no such request.
fn place(connection: &Connection, request: &str) -> rusqlite::Result<Option<Place>> {
    let select = "SELECT min(opened_at) FROM (SELECT opened_at FROM entry WHERE request_id = ?1 UNION ALL SELECT opened_at FROM hold WHERE request_id = ?1)";
    let began: Option<i64> = connection.prepare_cached(select)?.query_row([request], |row| row.get(0))?;
    Ok(began.map(|began| (began, request.to_owned())))
}

/// The newest requests of one table with key and test flag. Only the conditions that are asked for stand in the query, so that it walks an index and stops early.
fn newest(
    connection: &Connection,
    table: &str,
    page: &RequestPage,
    before: Option<&Place>,
) -> rusqlite::Result<Vec<(Place, (String, bool))>> {
    let key = page.key.as_ref().map(KeyId::as_str);
    let (began, id) = before.map(|(began, id)| (began, id)).unzip();
    let conditions: [(Option<&dyn ToSql>, &str); 5] = [
        (page.only.as_ref().map(|only| only as &dyn ToSql), "r.request_id = ?"),
        (key.as_ref().map(|key| key as &dyn ToSql), "r.key_id = ?"),
        (began.map(|began| began as &dyn ToSql), "(r.opened_at, r.request_id) < (?"),
        (id.map(|id| id as &dyn ToSql), "?)"),
        (page.test.as_ref().map(|test| test as &dyn ToSql), "k.test = ?"),
    ];
    let mut sql = format!(
        "SELECT DISTINCT r.request_id, r.key_id, k.test, r.opened_at FROM {table} r CROSS JOIN spend_key k ON k.id = r.key_id WHERE {}",
        is_first!()
    );
    let mut values: Vec<&dyn ToSql> = Vec::new();
    for (value, condition) in conditions.into_iter().filter_map(|(value, condition)| Some((value?, condition))) {
        sql.push_str(if condition == "?)" { ", " } else { " AND " });
        sql.push_str(condition);
        values.push(value);
    }
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    values.push(&limit);
    sql.push_str(" ORDER BY r.opened_at DESC, r.request_id DESC LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(&values[..], |row| Ok(((row.get(3)?, row.get(0)?), (row.get(1)?, row.get(2)?))))?.collect()
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
        ending: row.get("ending")?,
        note: row.get("note")?,
        opened_at: timestamp(row.get("opened_at")?),
    })
}
