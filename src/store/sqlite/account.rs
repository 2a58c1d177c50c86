//! The lid over all keys of the account. A hold is checked against it in the statement that checks the key's own limit.

use jiff::Timestamp;
use rusqlite::{Connection, named_params, params};

use super::{
    keys::window_start,
    ledger::{Windows, current, window_now},
    row,
    writer::Ledger,
};
use crate::domain::{Cycle, Money, SpendLimit, spend_key::Account};

/// Counts a hold that was admitted; returns the window it is counted in.
const HOLD: &str = concat!(
    "UPDATE account SET spent_n = ",
    current!("spent_n", "spend_cycle", "spend_window"),
    ", held_n = ",
    current!("held_n", "spend_cycle", "spend_window"),
    " + :amount, spend_window = max(spend_window, ",
    window_now!("spend_cycle"),
    "), latest = max(latest, :now) WHERE test = :test AND limit_n IS NOT NULL RETURNING spend_window",
);

/// Counts a hold; the statement that admitted it has checked that it fits.
pub(super) fn hold(ledger: &Ledger<'_>, test: bool, amount: Money) -> rusqlite::Result<i64> {
    let Windows { day, week, month } = Windows::at(ledger.now);
    ledger.connection.prepare_cached(HOLD)?.query_row(
        named_params! {
            ":test": test, ":amount": amount.nanos(), ":now": ledger.now.as_microsecond(), ":day": day, ":week": week, ":month": month,
        },
        |row| row.get(0),
    )
}

/// Turns a hold that is counted in `window` into what it cost.
pub(super) fn settle(ledger: &Ledger<'_>, key: &str, window: i64, held_n: i64, cost_n: i64) -> rusqlite::Result<()> {
    let update = "UPDATE account SET held_n = held_n - ?3, spent_n = spent_n + ?4
        WHERE test = (SELECT test FROM spend_key WHERE id = ?1) AND spend_window = ?2";
    ledger.connection.prepare_cached(update)?.execute(params![key, window, held_n, cost_n]).map(|_| ())
}

/// The account's state at `now`.
pub(super) fn read(connection: &Connection, test: bool, now: Timestamp) -> rusqlite::Result<Account> {
    let select = "SELECT limit_n, spend_cycle, spend_window, spent_n, held_n FROM account WHERE test = ?1";
    connection.prepare_cached(select)?.query_row([test], |row| row::account(row, 0, now))
}

/// Sets or lifts the limit. What all keys have spent and set aside in the cycle counts, also what they did before there was a limit.
pub(super) fn set_limit(ledger: &Ledger<'_>, test: bool, limit: Option<SpendLimit>) -> rusqlite::Result<Account> {
    let cycle = limit.map_or(Cycle::Total, |limit| limit.cycle);
    // The account's own time is never behind that of a key, or a cycle that a key has begun could begin here again.
    let update = "UPDATE account SET limit_n = ?2, spend_cycle = ?3,
        latest = max(latest, ?4, (SELECT coalesce(max(b.latest), 0) FROM budget b JOIN spend_key k ON k.id = b.key_id WHERE k.test = ?1))
        WHERE test = ?1 RETURNING latest";
    let values = params![test, limit.map(|limit| limit.amount.nanos()), row::cycle_number(cycle), ledger.now.as_microsecond()];
    let latest: i64 = ledger.connection.query_row(update, values, |row| row.get(0))?;
    recount(ledger, test, cycle, row::timestamp(latest))?;
    read(ledger.connection, test, ledger.now)
}

/// Counts anew after an entry was corrected.
pub(super) fn recount_after_correction(ledger: &Ledger<'_>, test: bool) -> rusqlite::Result<()> {
    let select = "SELECT spend_cycle, latest FROM account WHERE test = ?1 AND limit_n IS NOT NULL";
    let counted: Vec<(i64, i64)> = ledger
        .connection
        .prepare_cached(select)?
        .query_map([test], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    counted
        .into_iter()
        .try_for_each(|(cycle, latest)| recount(ledger, test, row::cycle_from(cycle), row::timestamp(latest).max(ledger.now)))
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
