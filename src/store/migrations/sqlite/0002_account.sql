-- A secret key pays for what is asked with it directly. It has a budget of its own, as a spend key has, under its own id (id = owner).
INSERT INTO spend_key (id, owner, hash, preview, name, test, shape, created_at)
    SELECT id, id, hash, preview, name, test, 'openai', created_at FROM secret_key;
INSERT INTO budget (key_id, status) SELECT id, CASE WHEN deleted_at IS NULL THEN 0 ELSE 2 END FROM secret_key;

-- A lid over all keys: one row for the live ones, one for those of the sandbox. Without a limit nothing is counted here.
CREATE TABLE account (
    test          INTEGER PRIMARY KEY,
    limit_n       INTEGER,
    spend_cycle   INTEGER NOT NULL DEFAULT 3,
    spend_window  INTEGER NOT NULL DEFAULT 0,
    spent_n       INTEGER NOT NULL DEFAULT 0,
    held_n        INTEGER NOT NULL DEFAULT 0,
    latest        INTEGER NOT NULL DEFAULT 0   -- as in budget
) STRICT;
INSERT INTO account (test) VALUES (0), (1);

-- The account's window in which a hold is counted, and its entry after it; NULL where they are counted in none.
ALTER TABLE hold ADD COLUMN account_window INTEGER;
ALTER TABLE entry ADD COLUMN account_window INTEGER;

-- Models that billed more than the hold, which was the most their prices allow. Keys with a limit do not buy there until somebody has reviewed the prices.
CREATE TABLE mispriced (
    provider    TEXT NOT NULL,
    model       TEXT NOT NULL,
    request_id  TEXT NOT NULL,
    held_n      INTEGER NOT NULL,
    billed_n    INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_suspect ON entry (key_id) WHERE kind = 'suspect';
CREATE INDEX entry_correction ON entry (hold_id) WHERE kind = 'correction';
