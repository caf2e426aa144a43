-- Files that runs put into folders for outputs, as they were then: a later run of the same pipeline
-- on the same inputs removes those that are not among its outputs any more.
CREATE TABLE delivery (
    folder TEXT NOT NULL,
    path TEXT NOT NULL, -- below the folder
    run INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL, -- ns since 1970
    changed INTEGER NOT NULL,  -- the same, of the inode
    PRIMARY KEY (folder, path)
) WITHOUT ROWID;
CREATE INDEX delivery_of_run ON delivery(run);
