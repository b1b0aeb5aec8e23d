-- Answers that `alyx-proxy pack` has had fetched for a journey: they give way last.
CREATE TABLE pinned (
    key   BLOB    PRIMARY KEY,              -- canonical key of the question
    user  BLOB    NOT NULL,                 -- keyed hash of the token
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pinned_user ON pinned (user);
