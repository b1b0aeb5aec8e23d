-- How far this proxy has followed the others of its cluster, and what it has written that they have yet to be told.
CREATE TABLE followed (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    life BLOB    NOT NULL,                  -- of the shared engine
    seq  INTEGER NOT NULL                   -- number of the last event that was applied
) STRICT;
CREATE TABLE untold (
    scope TEXT PRIMARY KEY                  -- as in `marks`
) STRICT, WITHOUT ROWID;
