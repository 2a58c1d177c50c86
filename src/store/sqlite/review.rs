//! What an owner looks at and decides: open holds, charges nobody can prove, and models whose prices were wrong.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    account, keys,
    row::{cycle_from, timestamp},
    writer::Ledger,
};
use crate::domain::{
    HoldId, KeyId, Money, RequestId,
    ledger::{Mispriced, OpenHold, Subject, Suspect, WriteOff},
};

const OPEN: &str = "SELECT h.id, h.key_id, h.request_id, h.amount_n, h.provider, h.model, h.endpoint, h.opened_at
    FROM hold h JOIN spend_key k ON k.id = h.key_id WHERE k.test = ?1 AND (?2 IS NULL OR h.key_id = ?2) ORDER BY h.opened_at";
/// The index is named, or all entries would be read in the order of their age.
const SUSPECT: &str = "SELECT e.hold_id, e.key_id, e.request_id, e.amount_n, e.provider, e.model, e.endpoint, e.opened_at
    FROM entry e INDEXED BY entry_suspect JOIN spend_key k ON k.id = e.key_id WHERE e.kind = 'suspect' AND k.test = ?1 AND (?2 IS NULL OR e.key_id = ?2)
    AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.hold_id = e.hold_id AND c.kind = 'correction') ORDER BY e.seq";

/// Money set aside right now.
pub(super) fn open_holds(connection: &Connection, test: bool, key: Option<&KeyId>) -> rusqlite::Result<Vec<OpenHold>> {
    connection.prepare_cached(OPEN)?.query_map(params![test, key.map(KeyId::as_str)], read)?.collect()
}

/// Charges for calls of processes that died, unless they were written off.
pub(super) fn suspects(connection: &Connection, test: bool, key: Option<&KeyId>) -> rusqlite::Result<Vec<Suspect>> {
    let found =
        connection.prepare_cached(SUSPECT)?.query_map(params![test, key.map(KeyId::as_str)], read)?.collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().map(Suspect).collect())
}

/// What those charges of one key come to.
pub(super) fn suspect_sum(connection: &Connection, key: &KeyId) -> rusqlite::Result<Money> {
    let select = "SELECT coalesce(sum(e.amount_n), 0) FROM entry e INDEXED BY entry_suspect WHERE e.kind = 'suspect' AND e.key_id = ?1
        AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.hold_id = e.hold_id AND c.kind = 'correction')";
    connection.prepare_cached(select)?.query_row([key.as_str()], |row| row.get(0)).map(Money::from_nanos)
}

/// Whether there is or was such a key: what a revoked one has left is still looked at.
pub(super) fn has_had(connection: &Connection, test: bool, key: &KeyId) -> rusqlite::Result<bool> {
    let select = "SELECT EXISTS (SELECT 1 FROM spend_key WHERE id = ?1 AND test = ?2)";
    connection.prepare_cached(select)?.query_row(params![key.as_str(), test], |row| row.get(0))
}

fn read(row: &Row<'_>) -> rusqlite::Result<OpenHold> {
    Ok(OpenHold {
        hold: HoldId::from_text(row.get::<_, String>(0)?),
        key: KeyId::from_text(row.get::<_, String>(1)?),
        request: RequestId::from_text(row.get::<_, String>(2)?),
        amount: Money::from_nanos(row.get(3)?),
        subject: Subject { provider: row.get(4)?, model: row.get(5)?, endpoint: row.get(6)? },
        opened_at: timestamp(row.get(7)?),
    })
}

/// Takes a suspect charge back, with a reason. The charge stays in the books; a second entry corrects it.
pub(super) fn write_off(ledger: &Ledger<'_>, test: bool, hold: &HoldId, reason: &str) -> rusqlite::Result<WriteOff> {
    let corrected = "SELECT EXISTS (SELECT 1 FROM entry e JOIN spend_key k ON k.id = e.key_id WHERE e.hold_id = ?1 AND e.kind = 'correction' AND k.test = ?2)";
    if ledger.connection.prepare_cached(corrected)?.query_row(params![hold.as_str(), test], |row| row.get(0))? {
        return Ok(WriteOff::Already);
    }
    let insert = "INSERT INTO entry (hold_id, key_id, request_id, kind, amount_n, basis, held_n, spend_window, provider, model, endpoint, note, opened_at, at, account_window)
        SELECT e.hold_id, e.key_id, e.request_id, 'correction', -e.amount_n, 'admin', e.held_n, e.spend_window, e.provider, e.model, e.endpoint, ?3, e.opened_at, ?4, e.account_window
        FROM entry e JOIN spend_key k ON k.id = e.key_id WHERE e.hold_id = ?1 AND e.kind = 'suspect' AND k.test = ?2
        RETURNING key_id, -amount_n, account_window, opened_at";
    let taken: Option<(String, i64, Option<i64>, i64)> = ledger
        .connection
        .query_row(insert, params![hold.as_str(), test, reason, ledger.now.as_microsecond()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((key, amount_n, window, opened_at)) = taken else { return Ok(WriteOff::NoSuch) };
    let update =
        "UPDATE budget SET total_spent_n = total_spent_n - ?2, latest = max(latest, ?3) WHERE key_id = ?1 RETURNING spend_cycle, latest";
    let (cycle, latest): (i64, i64) =
        ledger.connection.query_row(update, params![key, amount_n, ledger.now.as_microsecond()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    keys::recount_spend(ledger, &KeyId::from_text(key), cycle_from(cycle), ledger.now.max(timestamp(latest)))?;
    account::correct(ledger, test, amount_n, window, opened_at)?;
    Ok(WriteOff::Done(Money::from_nanos(amount_n)))
}

/// Models that keys with a limit do not buy, because they billed more than their prices allow.
pub(super) fn mispriced(connection: &Connection) -> rusqlite::Result<Vec<Mispriced>> {
    let select = "SELECT provider, model, request_id, held_n, billed_n, at FROM mispriced ORDER BY provider, model";
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement.query_map([], |row| {
        Ok(Mispriced {
            provider: row.get(0)?,
            model: row.get(1)?,
            request: RequestId::from_text(row.get::<_, String>(2)?),
            held: Money::from_nanos(row.get(3)?),
            billed: Money::from_nanos(row.get(4)?),
            at: timestamp(row.get(5)?),
        })
    })?;
    rows.collect()
}

/// Sells a model again: somebody has looked at its prices.
pub(super) fn sell_again(ledger: &Ledger<'_>, provider: &str, model: &str) -> rusqlite::Result<bool> {
    Ok(ledger.connection.execute("DELETE FROM mispriced WHERE provider = ?1 AND model = ?2", [provider, model])? == 1)
}
