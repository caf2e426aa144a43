-- Digests of files that are known not to have changed.
CREATE TABLE file_digest (
    path TEXT PRIMARY KEY,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    digest BLOB NOT NULL
) WITHOUT ROWID;
