-- What a power cut could take: results that were not synced yet, and by what they are known then.
ALTER TABLE result ADD COLUMN unsafe INTEGER; -- the round of syncing that it waits for, or NULL
CREATE INDEX result_unsafe ON result(unsafe) WHERE unsafe IS NOT NULL;

CREATE TABLE home (
    name TEXT PRIMARY KEY, -- "boot": of the machine, when the home was last driven; "older": the
                           -- last run that was there when that changed
    value TEXT NOT NULL
) WITHOUT ROWID;
