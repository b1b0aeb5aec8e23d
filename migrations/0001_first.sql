-- Answers of Alyx, whole, under the canonical key of their question.
CREATE TABLE responses (
    id           INTEGER PRIMARY KEY,
    key          BLOB    NOT NULL UNIQUE,
    family       BLOB    NOT NULL,          -- the question without limit and offset
    page_offset  INTEGER NOT NULL,          -- records before this page; 0 for whatever is no later page
    count        INTEGER,                   -- records in the whole list, where this is a page of one
    owner        BLOB,                      -- keyed hash of the token where answers are kept apart for each user
    path         TEXT    NOT NULL,          -- canonical path, and
    query        TEXT    NOT NULL,          -- the query as it was first asked
    status       INTEGER NOT NULL,
    headers      TEXT    NOT NULL,          -- JSON: [[name, value], …]
    body         BLOB    NOT NULL,          -- zstd
    length       INTEGER NOT NULL,          -- bytes of the body, unpacked
    checksum     BLOB    NOT NULL,          -- BLAKE3 of key, status, headers, query, times and body
    asked_at     INTEGER NOT NULL,          -- milliseconds since 1970 UTC, as all times here
    received_at  INTEGER NOT NULL,
    used_at      INTEGER NOT NULL,
    size         INTEGER NOT NULL           -- bytes that this row is charged with
) STRICT;
CREATE INDEX responses_family ON responses (family);
CREATE INDEX responses_path ON responses (path, received_at);
CREATE INDEX responses_used ON responses (used_at, size);

-- Pages of one query that were asked before `since` belong to an older generation.
CREATE TABLE families (
    family BLOB    PRIMARY KEY,
    since  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What writes have made stale: answers within the scope that were asked before `at`.
CREATE TABLE marks (
    scope TEXT    PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Scopes of writes that are under way. Found at the start, they become marks: nobody saw their end.
CREATE TABLE pending (
    write INTEGER NOT NULL,
    scope TEXT    NOT NULL,
    PRIMARY KEY (write, scope)
) STRICT, WITHOUT ROWID;

-- Tokens that Alyx has accepted, as keyed hashes.
CREATE TABLE tokens (
    hash       BLOB    PRIMARY KEY,
    vouched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Log-ins that Alyx has accepted. The token is sealed with a key derived from the password.
CREATE TABLE logins (
    user       BLOB    PRIMARY KEY,         -- keyed hash of the user name
    salt       BLOB    NOT NULL,
    nonce      BLOB    NOT NULL,
    sealed     BLOB    NOT NULL,
    vouched_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ONE's cache tables (`cache.zip`), kept as files beside the database.
CREATE TABLE tables (
    tag         TEXT    PRIMARY KEY,        -- the database tag that they are of; '' for all data
    name        TEXT    NOT NULL,           -- within the folder `files`; also the entity tag
    headers     TEXT    NOT NULL,           -- JSON: [[name, value], …]
    length      INTEGER NOT NULL,
    info        BLOB,                       -- BLAKE3 of the `cache/info` that was known then
    asked_at    INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
