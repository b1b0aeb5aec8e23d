-- The form of JSON that was asked for, which the key holds as a hash only: a snapshot must be able to name it.
-- Empty for answers from before; most of those are plain JSON.
ALTER TABLE responses ADD COLUMN media TEXT NOT NULL DEFAULT '';
