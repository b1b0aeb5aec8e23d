-- The lab's data files that are kept: their blocks lie beside this database, one file each.
CREATE TABLE files (
    -- Never used twice: blocks of one version are never taken for another's.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The path at the data server, as it was asked for.
    path TEXT NOT NULL UNIQUE,
    length INTEGER NOT NULL,
    etag TEXT,
    last_modified TEXT,
    content_type TEXT,
    -- When the data server last said that this is the file.
    checked_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    -- Room that its blocks take on disk.
    bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX files_used ON files (used_at);

CREATE TABLE blocks (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL,
    -- The checksums of its pieces, 16 bytes each.
    sums BLOB NOT NULL,
    PRIMARY KEY (file, number)
) STRICT;

-- To whom the data server gave a file, by keyed hash.
CREATE TABLE grants (
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    who BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (file, who)
) STRICT, WITHOUT ROWID;
