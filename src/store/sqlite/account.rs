//! The lid over all keys of the account. A hold is checked against it in the statement that checks the key's own limit.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{
    keys::window_start,
    ledger::{Windows, current, window_now},
    row,
    writer::Ledger,
};
use crate::domain::{Cycle, Money, SpendLimit, spend_key::Account};

/// Counts a hold that was admitted.
const HOLD: &str = concat!(
    "UPDATE account SET spent_n = ",
    current!("spent_n", "spend_cycle", "spend_window"),
    ", held_n = ",
    current!("held_n", "spend_cycle", "spend_window"),
    " + :amount, spend_window = max(spend_window, ",
    window_now!("spend_cycle"),
    "), latest = max(latest, :now) WHERE test = :test AND limit_n IS NOT NULL",
);

/// Counts a hold, and returns the window it is counted in; the statement that admitted it has checked that it fits.
pub(super) fn hold(ledger: &Ledger<'_>, test: bool, amount: Money) -> rusqlite::Result<i64> {
    let Windows { day, week, month } = Windows::at(ledger.now);
    ledger.connection.prepare_cached(HOLD)?.execute(named_params! {
        ":test": test, ":amount": amount.nanos(), ":now": ledger.now.as_microsecond(), ":day": day, ":week": week, ":month": month,
    })?;
    ledger.connection.prepare_cached("SELECT spend_window FROM account WHERE test = ?1")?.query_row([test], |row| row.get(0))
}

/// Turns a hold that is counted in `window` into what it cost.
pub(super) fn settle(ledger: &Ledger<'_>, key: &str, window: i64, held_n: i64, cost_n: i64) -> rusqlite::Result<()> {
    let update = "UPDATE account SET held_n = held_n - ?3, spent_n = spent_n + ?4
        WHERE test = (SELECT test FROM spend_key WHERE id = ?1) AND spend_window = ?2";
    ledger.connection.prepare_cached(update)?.execute(params![key, window, held_n, cost_n]).map(|_| ())
}

/// The account's state at `now`. Where there is no limit, and so nothing is counted, it is added up.
pub(super) fn read(connection: &Connection, test: bool, now: Timestamp) -> rusqlite::Result<Account> {
    let select = "SELECT limit_n, spend_cycle, spend_window, spent_n, held_n FROM account WHERE test = ?1";
    let account = connection.prepare_cached(select)?.query_row([test], |row| row::account(row, 0, now))?;
    if account.limit.is_some() {
        return Ok(account);
    }
    let select = "SELECT (SELECT coalesce(sum(b.total_spent_n), 0) FROM budget b JOIN spend_key k ON k.id = b.key_id WHERE k.test = ?1),
        (SELECT coalesce(sum(h.amount_n), 0) FROM hold h JOIN spend_key k ON k.id = h.key_id WHERE k.test = ?1)";
    connection
        .prepare_cached(select)?
        .query_row([test], |row| Ok(Account { limit: None, spent: Money::from_nanos(row.get(0)?), held: Money::from_nanos(row.get(1)?) }))
}

/// Sets or lifts the limit. What all keys have spent and set aside in the cycle counts, also what they did before there was a limit.
pub(super) fn set_limit(ledger: &Ledger<'_>, test: bool, limit: Option<SpendLimit>) -> rusqlite::Result<Account> {
    let cycle = limit.map_or(Cycle::Total, |limit| limit.cycle);
    let select = "SELECT limit_n IS NOT NULL AND spend_cycle = ?2, spend_window FROM account WHERE test = ?1";
    let (counts_already, window): (bool, i64) =
        ledger.connection.query_row(select, params![test, row::cycle_number(cycle)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // The account's own time is never behind that of a key, or a cycle that a key has begun could begin here again.
    let update = "UPDATE account SET limit_n = ?2, spend_cycle = ?3,
        latest = max(latest, ?4, (SELECT coalesce(max(b.latest), 0) FROM budget b JOIN spend_key k ON k.id = b.key_id WHERE k.test = ?1))
        WHERE test = ?1 RETURNING latest";
    let values = params![test, limit.map(|limit| limit.amount.nanos()), row::cycle_number(cycle), ledger.now.as_microsecond()];
    let latest = row::timestamp(ledger.connection.query_row(update, values, |row| row.get(0))?);
    if !counts_already || cycle.window(latest).0 > window {
        recount(ledger, test, cycle, latest)?;
    }
    read(ledger.connection, test, ledger.now)
}

/// Takes an amount back that was booked in `window`, or at `opened_at` before there was a lid.
pub(super) fn correct(ledger: &Ledger<'_>, test: bool, amount_n: i64, window: Option<i64>, opened_at: i64) -> rusqlite::Result<()> {
    let select = "SELECT spend_cycle, spend_window, latest FROM account WHERE test = ?1 AND limit_n IS NOT NULL";
    let counted: Option<(i64, i64, i64)> =
        ledger.connection.prepare_cached(select)?.query_row([test], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((cycle, spend_window, latest)) = counted else { return Ok(()) };
    if window == Some(spend_window) || opened_at >= window_start(row::cycle_from(cycle), row::timestamp(latest)) {
        ledger.connection.execute("UPDATE account SET spent_n = spent_n - ?2 WHERE test = ?1", params![test, amount_n])?;
    }
    Ok(())
}

fn recount(ledger: &Ledger<'_>, test: bool, cycle: Cycle, now: Timestamp) -> rusqlite::Result<()> {
    let (window, start) = (cycle.window(now).0, window_start(cycle, now));
    let update = "UPDATE hold SET account_window = CASE WHEN opened_at >= ?2 THEN ?3 ELSE ?3 - 1 END
        WHERE key_id IN (SELECT id FROM spend_key WHERE test = ?1)";
    ledger.connection.execute(update, params![test, start, window])?;
    ledger.connection.execute(
        "UPDATE account SET spend_window = ?3,
            spent_n = (SELECT coalesce(sum(amount_n), 0) FROM entry JOIN spend_key k ON k.id = key_id WHERE k.test = ?1 AND opened_at >= ?2),
            held_n = (SELECT coalesce(sum(amount_n), 0) FROM hold JOIN spend_key k ON k.id = key_id WHERE k.test = ?1 AND opened_at >= ?2)
         WHERE test = ?1",
        params![test, start, window],
    )?;
    Ok(())
}
