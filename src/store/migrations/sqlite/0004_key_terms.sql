-- What a spend key says about requests, beside its limits: whether hosted tools may be bought, and whether an output cap may be lowered.
ALTER TABLE spend_key ADD COLUMN hosted_tools INTEGER NOT NULL DEFAULT 0;
ALTER TABLE spend_key ADD COLUMN lower_output_cap INTEGER NOT NULL DEFAULT 0;
