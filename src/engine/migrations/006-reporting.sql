-- Where a run's progress is told, and what of it was accepted last. Times are ms since 1970.
CREATE TABLE reporting (
    run INTEGER PRIMARY KEY REFERENCES run(id) ON DELETE CASCADE,
    server TEXT,               -- NULL: the report is only a file
    dataset INTEGER NOT NULL,
    token_file TEXT,
    ca_file TEXT,
    progress INTEGER NOT NULL, -- a person agreed that percentages leave the site
    every INTEGER NOT NULL,    -- ms, or 0
    who TEXT NOT NULL,         -- said all this
    at INTEGER NOT NULL,
    sent TEXT,                 -- the body that was accepted last
    sent_ended INTEGER,        -- when the run had ended that it tells of, or NULL
    sent_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0, -- that failed since
    next INTEGER NOT NULL DEFAULT 0,  -- not before
    problem TEXT
);
