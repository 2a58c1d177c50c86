-- Times are microseconds since the epoch (UTC), money is nano-dollars (column names end in _n), cycles are 0 daily, 1 weekly, 2 monthly, 3 total.

CREATE TABLE process (
    id          TEXT PRIMARY KEY,              -- names the lock file that the process holds while it lives
    started_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE secret_key (
    id          TEXT PRIMARY KEY,
    hash        BLOB NOT NULL UNIQUE,
    preview     TEXT NOT NULL,
    name        TEXT NOT NULL,
    test        INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER
) STRICT;

-- What seldom changes about a spend key.
CREATE TABLE spend_key (
    id                 TEXT PRIMARY KEY,
    owner              TEXT NOT NULL REFERENCES secret_key (id),
    hash               BLOB NOT NULL UNIQUE,
    preview            TEXT NOT NULL,
    name               TEXT NOT NULL,
    test               INTEGER NOT NULL,
    shape              TEXT NOT NULL,
    allowed_models     TEXT,                   -- JSON array, NULL for all
    allowed_providers  TEXT,                   -- JSON array, NULL for all
    created_at         INTEGER NOT NULL
) STRICT;

-- What every request reads and writes: the row on which a hold is decided.
CREATE TABLE budget (
    key_id          TEXT PRIMARY KEY REFERENCES spend_key (id),
    generation      INTEGER NOT NULL DEFAULT 1,
    status          INTEGER NOT NULL,          -- 0 active, 1 paused, 2 revoked
    expires_at      INTEGER,
    limit_n         INTEGER,
    spend_cycle     INTEGER NOT NULL DEFAULT 3,
    spend_window    INTEGER NOT NULL DEFAULT 0,
    spent_n         INTEGER NOT NULL DEFAULT 0,
    held_n          INTEGER NOT NULL DEFAULT 0,
    max_requests    INTEGER,
    request_cycle   INTEGER NOT NULL DEFAULT 3,
    request_window  INTEGER NOT NULL DEFAULT 0,
    requests        INTEGER NOT NULL DEFAULT 0,
    rpm             INTEGER,
    burst           INTEGER,
    tat             INTEGER NOT NULL DEFAULT 0, -- theoretical arrival time of the rate limit (GCRA)
    total_spent_n   INTEGER NOT NULL DEFAULT 0,
    total_requests  INTEGER NOT NULL DEFAULT 0,
    last_used_at    INTEGER,
    latest          INTEGER NOT NULL DEFAULT 0 -- the row's own time: it never goes back, whatever the clock does
) STRICT, WITHOUT ROWID;

-- Money set aside by calls in flight. A row leaves only together with its entry.
CREATE TABLE hold (
    id              TEXT PRIMARY KEY,
    key_id          TEXT NOT NULL,
    request_id      TEXT NOT NULL,
    process_id      TEXT NOT NULL,
    spend_window    INTEGER NOT NULL,
    request_window  INTEGER NOT NULL,
    counted         INTEGER NOT NULL,
    amount_n        INTEGER NOT NULL,
    provider        TEXT NOT NULL,
    model           TEXT NOT NULL,
    endpoint        TEXT NOT NULL,
    opened_at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How every hold ended. Rows are only ever added.
CREATE TABLE entry (
    seq              INTEGER PRIMARY KEY,       -- rising, because rows are never deleted
    hold_id          TEXT NOT NULL,
    key_id           TEXT NOT NULL,
    request_id       TEXT NOT NULL,
    kind             TEXT NOT NULL,            -- charge, void, suspect (a charge after a crash), correction
    amount_n         INTEGER NOT NULL,
    basis            TEXT NOT NULL,
    usage_json       TEXT,
    held_n           INTEGER NOT NULL,
    spend_window     INTEGER NOT NULL,
    upstream_status  INTEGER,
    provider         TEXT NOT NULL,
    model            TEXT NOT NULL,
    endpoint         TEXT NOT NULL,
    note             TEXT,
    opened_at        INTEGER NOT NULL,
    at               INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX entry_ends_a_hold_once ON entry (hold_id) WHERE kind <> 'correction';
CREATE INDEX entry_by_key ON entry (key_id, request_id);
CREATE INDEX entry_by_request ON entry (request_id);
