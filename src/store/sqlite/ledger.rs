//! Holds: the statement that decides, the settlement, and what happens to the holds of a process that died.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::{account, row, writer::Ledger};
use crate::{
    domain::{
        Cycle, KeyId, RateLimit, Usage,
        ledger::{Admitted, Basis, Ending, Outcome, RateState, Refusal, Reserve, Settle},
    },
    store::process,
};

/// The window of a limit's cycle at the time of the statement.
macro_rules! window_now {
    ($cycle:literal) => {
        concat!("CASE ", $cycle, " WHEN 0 THEN :day WHEN 1 THEN :week WHEN 2 THEN :month ELSE 0 END")
    };
}

pub(super) use window_now;

/// A counter of a window: zero once that window has passed.
macro_rules! current {
    ($counter:literal, $cycle:literal, $window:literal) => {
        concat!("CASE WHEN ", window_now!($cycle), " > ", $window, " THEN 0 ELSE ", $counter, " END")
    };
}

pub(super) use current;

/// The theoretical arrival time of the rate limit. It is never further ahead than a whole burst: what is beyond was left by a clock that was ahead, or by other limits.
macro_rules! tat {
    () => {
        "min(tat, :now + (60000000 / rpm) * coalesce(burst, rpm))"
    };
}

/// The whole decision. It changes the row, or nothing. On the right are the values from before.
///
/// A window only ever moves forward: a clock that jumps back keeps the stored one. Sums are compared by subtraction, so they cannot overflow.
const RESERVE: &str = concat!(
    "UPDATE budget SET spent_n = ",
    current!("spent_n", "spend_cycle", "spend_window"),
    ", held_n = ",
    current!("held_n", "spend_cycle", "spend_window"),
    " + :amount, spend_window = max(spend_window, ",
    window_now!("spend_cycle"),
    "), requests = ",
    current!("requests", "request_cycle", "request_window"),
    " + :counted, request_window = max(request_window, ",
    window_now!("request_cycle"),
    "), tat = CASE WHEN rpm IS NULL OR :counted = 0 THEN tat ELSE max(",
    tat!(),
    ", :now) + 60000000 / rpm END,
    total_requests = total_requests + :counted, last_used_at = :now, latest = max(latest, :now)
WHERE key_id = :key AND generation = :generation AND status = 0 AND (expires_at IS NULL OR :now < expires_at)
  AND (rpm IS NULL OR :counted = 0 OR ",
    tat!(),
    " - (60000000 / rpm) * (coalesce(burst, rpm) - 1) <= :now)
  AND (max_requests IS NULL OR :counted = 0 OR ",
    current!("requests", "request_cycle", "request_window"),
    " < max_requests) AND (limit_n IS NULL OR :amount = 0 OR ",
    current!("spent_n + held_n", "spend_cycle", "spend_window"),
    " <= limit_n - :amount) AND (:amount = 0 OR NOT EXISTS (SELECT 1 FROM account WHERE test = :test AND limit_n IS NOT NULL AND ",
    current!("spent_n + held_n", "spend_cycle", "spend_window"),
    " > limit_n - :amount))
  AND (:amount = 0 OR :test OR NOT EXISTS (SELECT 1 FROM mispriced WHERE provider = :provider AND model = :model
    AND (budget.limit_n IS NOT NULL OR EXISTS (SELECT 1 FROM account WHERE test = :test AND limit_n IS NOT NULL))))",
);

/// The row as [`RESERVE`] has left it. `RETURNING` says the same at twice the cost: SQLite builds a temporary table for it.
const OPENED: &str =
    "SELECT spend_window, request_window, latest, rpm, burst, tat, EXISTS (SELECT 1 FROM account WHERE test = ?2 AND limit_n IS NOT NULL)
    FROM budget WHERE key_id = ?1";

/// The windows of all cycles at one time.
pub(super) struct Windows {
    pub(super) day: i64,
    pub(super) week: i64,
    pub(super) month: i64,
}

impl Windows {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { day: Cycle::Daily.window(now).0, week: Cycle::Weekly.window(now).0, month: Cycle::Monthly.window(now).0 }
    }
}

/// What is read of the row once a hold is admitted.
struct Opened {
    spend_window: i64,
    request_window: i64,
    /// The row's own time.
    at: i64,
    rate: Option<RateState>,
    has_account_limit: bool,
}

/// Opens a hold, or says why not.
pub(super) fn reserve(ledger: &Ledger<'_>, reserve: &Reserve) -> rusqlite::Result<Result<Admitted, Refusal>> {
    let now = ledger.now;
    let counted = i64::from(reserve.counted);
    let Windows { day, week, month } = Windows::at(now);
    let changed = ledger.connection.prepare_cached(RESERVE)?.execute(named_params! {
        ":key": reserve.key.as_str(), ":generation": reserve.generation, ":amount": reserve.amount.nanos(), ":counted": counted,
        ":now": now.as_microsecond(), ":day": day, ":week": week, ":month": month, ":test": reserve.test,
        ":provider": reserve.subject.provider, ":model": reserve.subject.model,
    })?;
    if changed == 0 {
        return refusal(ledger.connection, reserve, now).map(Err);
    }
    // The time only moves forward, as the windows do: a hold of a clock that has gone back belongs to the window that counts.
    let opened = ledger.connection.prepare_cached(OPENED)?.query_row(params![reserve.key.as_str(), reserve.test], |row| {
        let limit = row.get::<_, Option<u32>>(3)?.map(|rpm| Ok::<_, rusqlite::Error>(RateLimit { rpm, burst: row.get(4)? }));
        let tat = row.get(5)?;
        Ok(Opened {
            spend_window: row.get(0)?,
            request_window: row.get(1)?,
            at: row.get(2)?,
            rate: limit.transpose()?.map(|limit| RateState::new(limit, tat, now)),
            has_account_limit: row.get(6)?,
        })
    })?;
    let account_window = if opened.has_account_limit { Some(account::hold(ledger, reserve.test, reserve.amount)?) } else { None };
    ledger
        .connection
        .prepare_cached(
            "INSERT INTO hold (id, key_id, request_id, process_id, spend_window, request_window, counted, amount_n, provider, model, endpoint, \
             opened_at, account_window) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            reserve.hold.as_str(),
            reserve.key.as_str(),
            reserve.request.as_str(),
            ledger.process,
            opened.spend_window,
            opened.request_window,
            counted,
            reserve.amount.nanos(),
            reserve.subject.provider,
            reserve.subject.model,
            reserve.subject.endpoint,
            opened.at,
            account_window,
        ])?;
    Ok(Ok(Admitted { rate: opened.rate }))
}

/// Which condition of [`RESERVE`] was not met; the order is the order in which a caller should learn of it.
fn refusal(connection: &Connection, reserve: &Reserve, now: Timestamp) -> rusqlite::Result<Refusal> {
    let Some(key) = row::key_by_id(connection, &reserve.key, now)? else { return Ok(Refusal::KeyGone) };
    if key.generation != reserve.generation {
        return Ok(Refusal::KeyGone);
    }
    let settings = &key.settings;
    if settings.status == crate::domain::Status::Paused {
        return Ok(Refusal::KeyPaused);
    }
    if settings.expires_at.is_some_and(|expiry| expiry <= now) {
        return Ok(Refusal::KeyExpired);
    }
    if let Some(limit) = settings.request_limit
        && reserve.counted
        && key.current_requests >= limit.count
    {
        return Ok(Refusal::RequestLimit { limit, resets_at: limit.cycle.resets_at(now) });
    }
    if let Some(shortfall) = key.shortfall(reserve.amount, now) {
        return Ok(Refusal::SpendLimit(shortfall));
    }
    Ok(match settings.rate_limit.map(|limit| rate(connection, &reserve.key, limit, now)).transpose()?.flatten() {
        Some(refusal) if reserve.counted => refusal,
        _ => Refusal::Mispriced,
    })
}

/// The refusal of a key's rate limit, if it has no request left.
fn rate(connection: &Connection, key: &KeyId, limit: RateLimit, now: Timestamp) -> rusqlite::Result<Option<Refusal>> {
    const SELECT: &str = concat!(
        "SELECT ",
        tat!(),
        ", ",
        tat!(),
        " - (60000000 / rpm) * (coalesce(burst, rpm) - 1) FROM budget WHERE key_id = :key AND rpm IS NOT NULL"
    );
    let values = named_params! { ":key": key.as_str(), ":now": now.as_microsecond() };
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    // The limit may have been lifted meanwhile.
    let Some((tat, free_at)): Option<(i64, i64)> = connection.prepare_cached(SELECT)?.query_row(values, read).optional()? else {
        return Ok(None);
    };
    let wait_ms = u64::try_from(free_at - now.as_microsecond()).unwrap_or(0).div_ceil(1_000);
    Ok((wait_ms > 0).then(|| Refusal::RateLimit { wait_ms, state: RateState::new(limit, tat, now) }))
}

/// Counts a request that is refused for another reason against the rate limit, so that a storm of refusals is one too.
pub(super) fn count_refused(ledger: &Ledger<'_>, key: &KeyId, limit: RateLimit) -> rusqlite::Result<Option<Refusal>> {
    let refusal = rate(ledger.connection, key, limit, ledger.now)?;
    if refusal.is_none() {
        const UPDATE: &str =
            concat!("UPDATE budget SET tat = max(", tat!(), ", :now) + 60000000 / rpm WHERE key_id = :key AND rpm IS NOT NULL");
        let values = named_params! { ":key": key.as_str(), ":now": ledger.now.as_microsecond() };
        ledger.connection.prepare_cached(UPDATE)?.execute(values)?;
    }
    Ok(refusal)
}

/// Ends a hold; ending it again changes nothing.
pub(super) fn settle(ledger: &Ledger<'_>, settle: &Settle) -> rusqlite::Result<()> {
    let (kind, end) = match &settle.outcome {
        Outcome::Charge { cost, basis, usage } => ("charge", End { cost_n: cost.nanos(), basis: *basis, usage: *usage, uncount: false }),
        Outcome::Void { dispatched } => ("void", End { cost_n: 0, basis: Basis::Void, usage: None, uncount: !dispatched }),
    };
    end_hold(ledger, settle.hold.as_str(), kind, &end, settle.upstream_status, settle.ending)
}

struct End {
    cost_n: i64,
    basis: Basis,
    usage: Option<Usage>,
    /// Whether the request count is given back.
    uncount: bool,
}

/// An open hold, taken out of its table.
struct Taken {
    key: String,
    request: String,
    amount_n: i64,
    spend_window: i64,
    request_window: i64,
    counted: i64,
    provider: String,
    model: String,
    endpoint: String,
    opened_at: i64,
    account_window: Option<i64>,
}

impl Taken {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            request: row.get(1)?,
            amount_n: row.get(2)?,
            spend_window: row.get(3)?,
            request_window: row.get(4)?,
            counted: row.get(5)?,
            provider: row.get(6)?,
            model: row.get(7)?,
            endpoint: row.get(8)?,
            opened_at: row.get(9)?,
            account_window: row.get(10)?,
        })
    }
}

fn end_hold(ledger: &Ledger<'_>, hold: &str, kind: &str, end: &End, upstream_status: Option<u16>, ending: Ending) -> rusqlite::Result<()> {
    let usage = end.usage.and_then(|usage| serde_json::to_string(&usage).ok());
    let select =
        "SELECT key_id, request_id, amount_n, spend_window, request_window, counted, provider, model, endpoint, opened_at, account_window
        FROM hold WHERE id = ?1";
    let taken = ledger.connection.prepare_cached(select)?.query_row([hold], Taken::read).optional()?;
    // A hold that is not there has ended before: once is enough.
    let Some(taken) = taken else { return Ok(()) };
    ledger.connection.prepare_cached("DELETE FROM hold WHERE id = ?1")?.execute([hold])?;
    ledger
        .connection
        .prepare_cached(
            "INSERT INTO entry (hold_id, key_id, request_id, kind, amount_n, basis, usage_json, held_n, spend_window, upstream_status, \
             provider, model, endpoint, opened_at, at, account_window, ending) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            hold,
            taken.key,
            taken.request,
            kind,
            end.cost_n,
            end.basis.as_str(),
            usage,
            taken.amount_n,
            taken.spend_window,
            upstream_status,
            taken.provider,
            taken.model,
            taken.endpoint,
            taken.opened_at,
            ledger.now.as_microsecond(),
            taken.account_window,
            ending.as_str(),
        ])?;
    // A hold admitted under an earlier window belongs to that window: it neither frees nor fills the present one.
    ledger
        .connection
        .prepare_cached(
            "UPDATE budget SET
                held_n = held_n - CASE WHEN spend_window = ?4 THEN ?3 ELSE 0 END,
                spent_n = spent_n + CASE WHEN spend_window = ?4 THEN ?2 ELSE 0 END,
                requests = requests - CASE WHEN ?7 AND request_window = ?5 THEN ?6 ELSE 0 END,
                total_requests = total_requests - CASE WHEN ?7 THEN ?6 ELSE 0 END,
                tat = CASE WHEN ?7 AND ?6 = 1 AND rpm IS NOT NULL THEN tat - 60000000 / rpm ELSE tat END,
                total_spent_n = total_spent_n + ?2
             WHERE key_id = ?1",
        )?
        .execute(params![taken.key, end.cost_n, taken.amount_n, taken.spend_window, taken.request_window, taken.counted, end.uncount])?;
    if let Some(window) = taken.account_window {
        account::settle(ledger, &taken.key, window, taken.amount_n, end.cost_n)?;
    }
    if end.cost_n > taken.amount_n {
        // What the sandbox says of a model says nothing about those who sell it.
        let insert = "INSERT OR IGNORE INTO mispriced (provider, model, request_id, held_n, billed_n, at)
                      SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM spend_key WHERE id = ?7 AND test = 0";
        let now = ledger.now.as_microsecond();
        let values = params![taken.provider, taken.model, taken.request, taken.amount_n, end.cost_n, now, taken.key];
        ledger.connection.prepare_cached(insert)?.execute(values)?;
    }
    Ok(())
}

/// Notes in the ledger that this process is alive; its lock file exists already.
pub(super) fn register_process(ledger: &Ledger<'_>) -> rusqlite::Result<()> {
    let insert = "INSERT INTO process (id, started_at) VALUES (?1, ?2)";
    ledger.connection.execute(insert, params![ledger.process, ledger.now.as_microsecond()]).map(|_| ())
}

/// Takes this process out of the ledger, unless it still holds money.
pub(super) fn unregister_process(ledger: &Ledger<'_>) -> rusqlite::Result<()> {
    let delete = "DELETE FROM process WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM hold WHERE process_id = ?1)";
    ledger.connection.execute(delete, [ledger.process]).map(|_| ())
}

/// Charges the holds of every process that has ended, in full: their upstream calls may have been billed. They are marked suspect, never refunded.
/// Returns how many there were.
pub(super) fn recover(ledger: &Ledger<'_>, lock_folder: &Path) -> rusqlite::Result<u64> {
    // A hold can outlive the row of its process, if the process was taken for dead while it lived.
    let others: Vec<String> = ledger
        .connection
        .prepare_cached("SELECT id FROM process WHERE id <> ?1 UNION SELECT process_id FROM hold WHERE process_id <> ?1")?
        .query_map([ledger.process], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut charged = 0;
    for process in others {
        // When the lock cannot be tested the process counts as alive: a hold kept too long is safe, a hold charged twice is not.
        if !process::has_ended(lock_folder, &process).unwrap_or(false) {
            continue;
        }
        let holds: Vec<(String, i64)> = ledger
            .connection
            .prepare_cached("SELECT id, amount_n FROM hold WHERE process_id = ?1")?
            .query_map([&process], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (hold, amount_n) in &holds {
            let end = End { cost_n: *amount_n, basis: Basis::Crash, usage: None, uncount: false };
            end_hold(ledger, hold, "suspect", &end, None, Ending::Stopped)?;
        }
        if !holds.is_empty() {
            tracing::warn!(holds = holds.len(), "a process ended with money set aside; it was charged, unverified");
        }
        charged += holds.len() as u64;
        ledger.connection.execute("DELETE FROM process WHERE id = ?1", [&process])?;
        process::forget(lock_folder, &process);
    }
    Ok(charged)
}
