//! Reading what happened: requests with all their attempts.

use rusqlite::{Connection, Row, params};

use super::row::timestamp;
use crate::domain::{
    KeyId, Money, RequestId,
    ledger::{Attempt, RequestRecord, Subject},
};

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RequestPage {
    /// Only those of the keys this secret key made.
    pub owner: Option<String>,
    /// Only those of this spend key.
    pub key: Option<KeyId>,
    /// Only this one.
    pub only: Option<String>,
    /// Only those older than this request.
    pub before: Option<String>,
    /// At most this many.
    pub limit: usize,
}

/// Request ids sort by time, so the newest are the largest.
const NEWEST: &str = "
SELECT r.request_id, r.key_id, k.test FROM (
    SELECT request_id, key_id FROM entry WHERE (?1 IS NULL OR key_id = ?1) AND (?2 IS NULL OR request_id < ?2) AND (?3 IS NULL OR request_id = ?3)
    UNION
    SELECT request_id, key_id FROM hold WHERE (?1 IS NULL OR key_id = ?1) AND (?2 IS NULL OR request_id < ?2) AND (?3 IS NULL OR request_id = ?3)
) r JOIN spend_key k ON k.id = r.key_id WHERE (?4 IS NULL OR k.owner = ?4) ORDER BY r.request_id DESC LIMIT ?5";

const ATTEMPTS: &str = "
SELECT kind, amount_n AS cost_n, 0 AS held_n, basis, usage_json, upstream_status, provider, model, endpoint, opened_at, hold_id AS id
FROM entry WHERE request_id = ?1
UNION ALL
SELECT 'open', 0, amount_n, NULL, NULL, NULL, provider, model, endpoint, opened_at, id FROM hold WHERE request_id = ?1
ORDER BY id";

pub(super) fn requests(connection: &Connection, page: &RequestPage) -> rusqlite::Result<Vec<RequestRecord>> {
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let key = page.key.as_ref().map(KeyId::as_str);
    let mut newest = connection.prepare_cached(NEWEST)?;
    let ids: Vec<(String, String, bool)> = newest
        .query_map(params![key, page.before, page.only, page.owner, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut records = Vec::with_capacity(ids.len());
    for (request, key, test) in ids {
        let mut attempts = connection.prepare_cached(ATTEMPTS)?;
        let mut attempts = attempts.query_map([&request], attempt)?;
        // Between the two reads a hold may have become an entry, but it cannot have vanished.
        let Some(first) = attempts.next().transpose()? else { continue };
        let rest = attempts.collect::<rusqlite::Result<_>>()?;
        records.push(RequestRecord { request: RequestId::from_text(request), key: KeyId::from_text(key), test, first, rest });
    }
    Ok(records)
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
        opened_at: timestamp(row.get("opened_at")?),
    })
}
