//! What an owner looks at and decides: open holds, charges nobody can prove, and models whose prices were wrong.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    account, keys,
    row::{cycle_from, timestamp},
    writer::Ledger,
};
use crate::domain::{
    Cycle, HoldId, KeyId, Money, RequestId,
    ledger::{Mispriced, OpenHold, Subject, Unverified, Whose, WriteOff},
};

const OPEN: &str = "SELECT h.id, h.key_id, h.request_id, h.amount_n, h.provider, h.model, h.endpoint, h.opened_at
    FROM hold h JOIN spend_key k ON k.id = h.key_id WHERE k.test = ?1 AND (?2 IS NULL OR h.key_id = ?2) ORDER BY h.opened_at";
/// The columns of an unverified charge that was not written off. The index is named, or all entries would be read in the order of their age.
macro_rules! unverified {
    ($columns:literal, $conditions:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM entry e INDEXED BY entry_unverified JOIN spend_key k ON k.id = e.key_id WHERE e.basis IN ('hold', 'crash') AND e.amount_n > 0
            AND NOT EXISTS (SELECT 1 FROM entry c WHERE c.hold_id = e.hold_id AND c.kind = 'correction') AND ",
            $conditions
        )
    };
}

const UNVERIFIED: &str = unverified!(
    "e.hold_id, e.key_id, e.request_id, e.amount_n, e.provider, e.model, e.endpoint, e.opened_at, e.basis = 'crash'",
    "k.test = ?1 AND (?2 IS NULL OR e.key_id = ?2) ORDER BY e.seq"
);

/// Money set aside right now.
pub(super) fn open_holds(connection: &Connection, test: bool, key: Option<&KeyId>) -> rusqlite::Result<Vec<OpenHold>> {
    connection.prepare_cached(OPEN)?.query_map(params![test, key.map(KeyId::as_str)], read)?.collect()
}

/// Charges of a whole hold that nobody can prove, unless they were written off.
pub(super) fn unverified(connection: &Connection, test: bool, key: Option<&KeyId>) -> rusqlite::Result<Vec<Unverified>> {
    let charge = |row: &Row<'_>| Ok(Unverified { charge: read(row)?, is_crash: row.get(8)? });
    connection.prepare_cached(UNVERIFIED)?.query_map(params![test, key.map(KeyId::as_str)], charge)?.collect()
}

/// What those charges of one key come to: all of them, and those after a crash.
pub(super) fn unverified_sums(connection: &Connection, key: &KeyId) -> rusqlite::Result<(Money, Money)> {
    let select = unverified!(
        "coalesce(sum(e.amount_n), 0), coalesce(sum(CASE WHEN e.basis = 'crash' THEN e.amount_n ELSE 0 END), 0)",
        "e.key_id = ?1"
    );
    let money = |row: &Row<'_>, column| row.get(column).map(Money::from_nanos);
    connection.prepare_cached(select)?.query_row([key.as_str()], |row| Ok((money(row, 0)?, money(row, 1)?)))
}

/// How much of what counts against a limit in its present cycle is unverified.
pub(super) fn unverified_in(connection: &Connection, key: &KeyId, whose: Whose, cycle: Cycle, now: Timestamp) -> rusqlite::Result<Money> {
    let (latest, select) = match whose {
        Whose::Key => (
            "SELECT latest FROM budget WHERE key_id = ?1",
            unverified!("coalesce(sum(e.amount_n), 0)", "e.key_id = ?1 AND e.opened_at >= ?2"),
        ),
        Whose::Account => (
            "SELECT a.latest FROM account a JOIN spend_key k ON k.test = a.test WHERE k.id = ?1",
            unverified!("coalesce(sum(e.amount_n), 0)", "k.test = (SELECT test FROM spend_key WHERE id = ?1) AND e.opened_at >= ?2"),
        ),
    };
    let latest: i64 = connection.prepare_cached(latest)?.query_row([key.as_str()], |row| row.get(0))?;
    let start = keys::window_start(cycle, now.max(timestamp(latest)));
    connection.prepare_cached(select)?.query_row(params![key.as_str(), start], |row| row.get(0)).map(Money::from_nanos)
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

/// Takes an unverified charge back, with a reason. The charge stays in the books; a second entry corrects it.
pub(super) fn write_off(ledger: &Ledger<'_>, test: bool, hold: &HoldId, reason: &str) -> rusqlite::Result<WriteOff> {
    let corrected = "SELECT EXISTS (SELECT 1 FROM entry e JOIN spend_key k ON k.id = e.key_id WHERE e.hold_id = ?1 AND e.kind = 'correction' AND k.test = ?2)";
    if ledger.connection.prepare_cached(corrected)?.query_row(params![hold.as_str(), test], |row| row.get(0))? {
        return Ok(WriteOff::Already);
    }
    let insert = "INSERT INTO entry (hold_id, key_id, request_id, kind, amount_n, basis, held_n, spend_window, provider, model, endpoint, note, opened_at, at, account_window)
        SELECT e.hold_id, e.key_id, e.request_id, 'correction', -e.amount_n, 'admin', e.held_n, e.spend_window, e.provider, e.model, e.endpoint, ?3, e.opened_at, ?4, e.account_window
        FROM entry e JOIN spend_key k ON k.id = e.key_id WHERE e.hold_id = ?1 AND e.basis IN ('hold', 'crash') AND e.amount_n > 0 AND k.test = ?2
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
