-- When a spend key was revoked. Of those that were revoked before there was this column, nobody knows.
ALTER TABLE spend_key ADD COLUMN revoked_at INTEGER;
