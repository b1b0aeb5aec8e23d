-- What each user asked lately, so that it can be had again before a journey (`alyx-proxy pack --from-log`).
CREATE TABLE history (
    user     BLOB    NOT NULL,              -- keyed hash of the token
    key      BLOB    NOT NULL,              -- canonical key of the question
    question TEXT    NOT NULL,              -- path and query, as they were asked
    at       INTEGER NOT NULL,              -- when it was asked last, within the hour
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX history_at ON history (at);
