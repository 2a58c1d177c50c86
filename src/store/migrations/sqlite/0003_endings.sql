-- How the answer ended, as domain::ledger::Ending has it. NULL in what earlier versions wrote.
ALTER TABLE entry ADD COLUMN ending TEXT;

-- Charges of a whole hold, because nobody knows what was billed: after a crash, and after an answer that never came.
DROP INDEX entry_suspect;
CREATE INDEX entry_unverified ON entry (key_id) WHERE basis IN ('hold', 'crash') AND amount_n > 0;

-- Requests are listed by the time at which they began.
DROP INDEX entry_by_key;
CREATE INDEX entry_by_key ON entry (key_id, opened_at, request_id);
CREATE INDEX entry_by_time ON entry (opened_at, request_id);
