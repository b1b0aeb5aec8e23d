//! The statements. Each is one transaction by itself, so that they pass a pooler; what must not be done in another life or
//! timeline of the engine says so in its `WHERE`.

/// The timeline that the server writes now. A standby that takes over begins another.
const TIMELINE: &str = "left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// All statements, for one schema.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) schema: String,
    pub(super) create: String,
    pub(super) made: String,
    pub(super) check: String,
    pub(super) renew: String,
    pub(super) join: String,
    pub(super) beat: String,
    pub(super) events: String,
    pub(super) begin: String,
    pub(super) end: String,
    pub(super) unseen: String,
    pub(super) remove: String,
    pub(super) tidy: String,
    pub(super) members: String,
    pub(super) extend: String,
    pub(super) turn: String,
    pub(super) pause: String,
    pub(super) tidy_turns: String,
}

impl Statements {
    pub(super) fn of(schema: &str) -> Self {
        let fill = |text: &str| text.replace("{s}", schema).replace("{tl}", TIMELINE);
        Self {
            schema: schema.to_owned(),
            create: fill(CREATE),
            made: fill(MADE),
            check: fill(CHECK),
            renew: fill(RENEW),
            join: fill(JOIN),
            beat: fill(BEAT),
            events: fill(EVENTS),
            begin: fill(BEGIN),
            end: fill(END),
            unseen: fill(UNSEEN),
            remove: fill(REMOVE),
            tidy: fill(TIDY),
            members: fill(MEMBERS),
            extend: fill(EXTEND),
            turn: fill(TURN),
            pause: fill(PAUSE),
            tidy_turns: fill(TIDY_TURNS),
        }
    }
}

const CREATE: &str = "
BEGIN;
SET LOCAL lock_timeout = '2s';
SELECT pg_advisory_xact_lock(hashtext('{s}'));
CREATE SCHEMA IF NOT EXISTS {s};
CREATE TABLE IF NOT EXISTS {s}.clock (
    one bool PRIMARY KEY DEFAULT true CHECK (one), format int NOT NULL, key_check bytea NOT NULL,
    life uuid NOT NULL, timeline text NOT NULL, seq bigint NOT NULL, horizon bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE IF NOT EXISTS {s}.member (
    id uuid PRIMARY KEY, name text NOT NULL, version text NOT NULL, beat bigint NOT NULL, seen bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
CREATE TABLE IF NOT EXISTS {s}.event (
    seq bigint PRIMARY KEY, kind smallint NOT NULL, body bytea NOT NULL, origin uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS {s}.pending (
    write uuid PRIMARY KEY, member uuid NOT NULL REFERENCES {s}.member, body bytea NOT NULL
);
COMMIT;";

/// What was added to format 1. Earlier programs know nothing of it and need nothing of it: they go on beside it, each at a pace
/// of its own. It is logged nowhere: after a crash it is empty, and turns are counted from then on.
const EXTEND: &str = "
BEGIN;
SET LOCAL lock_timeout = '2s';
SELECT pg_advisory_xact_lock(hashtext('{s}'));
CREATE UNLOGGED TABLE IF NOT EXISTS {s}.pace (
    caller bytea PRIMARY KEY, tat bigint NOT NULL, pause bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMIT;";

/// The first row; whoever comes second finds it there.
const MADE: &str = "
INSERT INTO {s}.clock (format, key_check, life, timeline, seq, horizon)
VALUES (1, $1, gen_random_uuid(), {tl}, 0, 0) ON CONFLICT DO NOTHING";

const CHECK: &str = "SELECT format, key_check, to_regclass('{s}.pace') IS NOT NULL FROM {s}.clock";

const RENEW: &str = "
WITH c AS (UPDATE {s}.clock SET life = gen_random_uuid(), timeline = {tl}, seq = greatest(seq, $2) + 1000001
           WHERE timeline <> {tl} OR (life = $1 AND seq < $2) RETURNING seq)
INSERT INTO {s}.event (seq, kind, body, origin)
SELECT seq, 4, '', '00000000-0000-0000-0000-000000000000' FROM c";

/// The row is locked as events lock it: an event is either in the number that the new member reads, or told after its row is
/// there for all. Numbers of another life say nothing in this one.
const JOIN: &str = "
WITH c AS (SELECT life, seq, timeline = {tl} AS same FROM {s}.clock FOR SHARE),
     j AS (INSERT INTO {s}.member (id, name, version, beat, seen) SELECT $1, $3, $4, 0, CASE WHEN c.life = $6 THEN $2 ELSE 0 END FROM c RETURNING 1),
     p AS (UPDATE {s}.pending SET member = $1 WHERE member = $5 AND EXISTS (SELECT 1 FROM j)),
     d AS (DELETE FROM {s}.member WHERE id = $5 AND EXISTS (SELECT 1 FROM j))
SELECT c.life, c.seq, c.same, (SELECT count(*) FROM j) AS here, m.id, m.name, m.version, m.beat, m.seen
FROM c LEFT JOIN {s}.member m ON m.id IS DISTINCT FROM $5";

/// That a beat is lost with the server does no harm, so nobody waits for its disk.
const BEAT: &str = "
WITH o AS (SELECT set_config('synchronous_commit', 'off', true)),
     b AS (UPDATE {s}.member SET beat = beat + 1,
                                 seen = CASE WHEN k.life = $3 THEN greatest(member.seen, $2) ELSE member.seen END
           FROM {s}.clock k WHERE member.id = $1 RETURNING 1)
SELECT c.life, c.seq, c.timeline = {tl} AS same, (SELECT count(*) FROM b) AS here,
       m.id, m.name, m.version, m.beat, m.seen
FROM {s}.clock c CROSS JOIN o LEFT JOIN {s}.member m ON true";

const EVENTS: &str = "
SELECT c.life = $1 AND c.timeline = {tl} AND $2 >= c.horizon AS same, e.seq, e.kind, e.body, e.origin
FROM {s}.clock c LEFT JOIN {s}.event e ON e.seq > $2 ORDER BY e.seq LIMIT $3";

const BEGIN: &str = "
INSERT INTO {s}.pending (write, member, body)
SELECT $1, $2, $3 FROM {s}.clock
WHERE life = $4 AND timeline = {tl} AND EXISTS (SELECT 1 FROM {s}.member WHERE id = $2)
RETURNING 1";

const END: &str = "
WITH c AS (UPDATE {s}.clock SET seq = seq + $2 WHERE life = $1 AND timeline = {tl} RETURNING seq),
     e AS (INSERT INTO {s}.event (seq, kind, body, origin)
           SELECT c.seq - $2 + t.ord, t.kind, t.body, $3
           FROM c, unnest($4::int2[], $5::bytea[]) WITH ORDINALITY t(kind, body, ord)),
     p AS (DELETE FROM {s}.pending WHERE write = ANY($6) AND EXISTS (SELECT 1 FROM c))
SELECT seq FROM c";

const UNSEEN: &str = "
SELECT c.life = $1 AND c.timeline = {tl} AS same, m.id
FROM {s}.clock c LEFT JOIN {s}.member m ON m.seen < $2 AND m.id <> $3";

/// `clock` is locked first, as everywhere. A write that begins meanwhile keeps the member's row from going: then all of it
/// fails, and is tried again.
const REMOVE: &str = "
WITH k AS (SELECT 1 FROM {s}.clock WHERE timeline = {tl} FOR NO KEY UPDATE),
     m AS (SELECT member.id FROM k, {s}.member WHERE member.id = $1 AND ($2::bigint IS NULL OR member.beat = $2)
           FOR UPDATE OF member),
     p AS (DELETE FROM {s}.pending USING m WHERE pending.member = m.id RETURNING pending.body),
     d AS (DELETE FROM {s}.member USING m WHERE member.id = m.id),
     c AS (UPDATE {s}.clock SET seq = seq + (SELECT count(*) FROM p) WHERE EXISTS (SELECT 1 FROM p)
           RETURNING seq - (SELECT count(*) FROM p) AS before)
INSERT INTO {s}.event (seq, kind, body, origin)
SELECT c.before + row_number() OVER (), 1, p.body, '00000000-0000-0000-0000-000000000000' FROM c, p";

const TIDY: &str = "
WITH m AS (SELECT coalesce(min(seen), 0) AS seen FROM {s}.member),
     old AS (DELETE FROM {s}.event WHERE at < now() - interval '1 day' AND seq <= (SELECT seen FROM m) RETURNING seq)
UPDATE {s}.clock SET horizon = greatest(horizon, (SELECT max(seq) FROM old)) WHERE EXISTS (SELECT 1 FROM old)";

/// Times are microseconds of the server's. The row of nobody says since when turns are counted. What a clock that was set back
/// has left behind in the future counts for nothing.
const TURN: &str = "
WITH t AS (SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint AS now, set_config('synchronous_commit', 'off', true)),
     m AS (INSERT INTO {s}.pace (caller, tat, pause)
           SELECT ''::bytea, now, 0 FROM t WHERE $5 OR NOT EXISTS (SELECT 1 FROM {s}.pace WHERE caller = '')
           ON CONFLICT (caller) DO UPDATE SET tat = excluded.tat RETURNING tat),
     s AS (SELECT now, least(now, coalesce((SELECT tat FROM m), (SELECT tat FROM {s}.pace WHERE caller = ''), now)) AS since FROM t),
     w AS (INSERT INTO {s}.pace AS p (caller, tat, pause) SELECT $1, greatest(since, now - $3) + $2, 0 FROM s
           ON CONFLICT (caller) DO UPDATE
           SET tat = greatest(CASE WHEN p.tat < (SELECT now FROM s) + 600000000 THEN p.tat ELSE 0 END,
                              (SELECT greatest(since, now - $3) FROM s)) + $2
           WHERE NOT (p.pause > (SELECT now FROM s) AND p.pause < (SELECT now FROM s) + 3660000000)
             AND (p.tat <= (SELECT now FROM s) + $4 OR p.tat >= (SELECT now FROM s) + 600000000)
           RETURNING tat)
SELECT (SELECT greatest(w.tat - $2 - s.now, 0) FROM w), coalesce(p.tat - s.now, 0), coalesce(p.pause - s.now, 0)
FROM s LEFT JOIN {s}.pace p ON p.caller = $1";

const PAUSE: &str = "
INSERT INTO {s}.pace AS p (caller, tat, pause)
SELECT $1, 0, now + $2 FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint AS now) t
ON CONFLICT (caller) DO UPDATE SET pause = greatest(p.pause, excluded.pause)";

const TIDY_TURNS: &str = "
DELETE FROM {s}.pace WHERE caller <> ''
AND greatest(tat, pause) < (extract(epoch FROM clock_timestamp()) * 1e6)::bigint - 600000000";

const MEMBERS: &str = "
SELECT c.life, c.seq, c.timeline = {tl} AS same, 1::bigint AS here, m.id, m.name, m.version, m.beat, m.seen
FROM {s}.clock c LEFT JOIN {s}.member m ON true ORDER BY m.name, m.id";

pub(super) const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')";
