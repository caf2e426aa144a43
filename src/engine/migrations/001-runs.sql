-- States are the numbers of enum run_state and enum task_state; times are ms since 1970.
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    pipeline TEXT NOT NULL,
    version TEXT,
    path TEXT NOT NULL,           -- of the pipeline's file, when the run was made
    document TEXT NOT NULL,       -- the resolved pipeline
    parameters TEXT NOT NULL,
    inputs TEXT NOT NULL,
    digests TEXT,                 -- of inputs and file parameters, once known
    selection TEXT NOT NULL,      -- {"from", "only", "no_reuse"}
    output TEXT NOT NULL,         -- folder for the pipeline's outputs
    state INTEGER NOT NULL,
    note TEXT,                    -- why it is in this state, for people
    who TEXT NOT NULL,
    created INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER
);

CREATE TABLE task (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,        -- index in the run's pipeline
    partition TEXT NOT NULL,      -- full key, "" when not partitioned
    parent TEXT,                  -- key one level up; tasks of a step that fans out only
    path TEXT,                    -- of the item, relative to what was listed
    item TEXT,                    -- JSON, for expressions
    files TEXT,                   -- JSON array: the files of a DICOM group
    state INTEGER NOT NULL,
    skip INTEGER NOT NULL DEFAULT 0,
    cause INTEGER NOT NULL DEFAULT 0,
    exit INTEGER NOT NULL DEFAULT -1,
    attempts INTEGER NOT NULL DEFAULT 0, -- launches in all
    tries INTEGER NOT NULL DEFAULT 0,    -- launches since it last became ready by other means
    fresh INTEGER NOT NULL DEFAULT 0,    -- must not be reused
    fired INTEGER NOT NULL DEFAULT 0,
    chosen INTEGER NOT NULL DEFAULT 0,   -- branch of `next` + 1, or 65535 while none holds
    key BLOB,                     -- digest of its recipe
    output BLOB,                  -- digest of what it left
    result TEXT,                  -- result.json
    reason TEXT,
    started INTEGER,
    ended INTEGER,
    wake INTEGER,                 -- sleeping until
    UNIQUE (run, step, partition)
);
CREATE INDEX task_state ON task(run, state, step);

-- A fan that was made: how many partitions it has below a parent.
CREATE TABLE expansion (
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    parent TEXT NOT NULL,
    outcome INTEGER NOT NULL,     -- 0: made; else the skip reason that stands for its tasks
    count INTEGER NOT NULL,
    PRIMARY KEY (run, step, parent)
) WITHOUT ROWID;

CREATE TABLE attempt (
    task INTEGER NOT NULL REFERENCES task(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    job TEXT NOT NULL,            -- the name the driver knows it by
    driver TEXT NOT NULL,
    recipe TEXT NOT NULL,         -- JSON: command, environment, digests of what it reads
    cacheable INTEGER NOT NULL,
    box TEXT NOT NULL,            -- JSON: what it was allowed
    log TEXT NOT NULL,            -- relative to the home
    launched INTEGER NOT NULL,
    started INTEGER,
    ended INTEGER,
    cause INTEGER,
    exit INTEGER,
    signal INTEGER,
    peak_memory INTEGER,
    cpu_user INTEGER,
    cpu_system INTEGER,
    detail TEXT,
    sandbox TEXT,                 -- the box as it really was, in the driver's words
    PRIMARY KEY (task, number)
) WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    task INTEGER,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT
);
CREATE INDEX event_run ON event(run, id);
-- Few events are not changes of a task's state; queries for them say so to use this.
CREATE INDEX event_kind ON event(run, kind, id) WHERE kind <> 'state';

CREATE TABLE command (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    verb TEXT NOT NULL,
    arguments TEXT NOT NULL,
    who TEXT NOT NULL,
    at INTEGER NOT NULL,
    applied INTEGER,
    problem TEXT                  -- why it could not be applied
);
CREATE INDEX command_open ON command(run) WHERE applied IS NULL;

-- What is known under a recipe's digest. The bytes may be dropped, the knowledge stays.
CREATE TABLE result (
    key BLOB PRIMARY KEY,
    recipe TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    step TEXT NOT NULL,
    partition TEXT NOT NULL,
    output BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    result TEXT,
    run TEXT NOT NULL,
    created INTEGER NOT NULL,
    used INTEGER NOT NULL,
    dropped INTEGER
) WITHOUT ROWID;
CREATE INDEX result_of ON result(pipeline, step, partition, created);
