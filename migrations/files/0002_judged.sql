-- The MD5 of a file, in hexadecimal digits, once all of it was here.
ALTER TABLE files ADD COLUMN md5 TEXT;
-- What Alyx's record of its dataset said when both were found to agree, as JSON.
ALTER TABLE files ADD COLUMN record TEXT;
-- When all that is kept of it was last read and found as it was written.
ALTER TABLE files ADD COLUMN scrubbed_at INTEGER NOT NULL DEFAULT 0;

-- Files of the data server that are not what Alyx's records say of them.
CREATE TABLE differing (
    path TEXT PRIMARY KEY,
    length INTEGER NOT NULL,
    etag TEXT,
    last_modified TEXT,
    -- Of the file; none where its length says it already.
    md5 TEXT,
    -- What Alyx says, as JSON.
    record TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
