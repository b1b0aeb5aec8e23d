//! Answers that somebody has had fetched for a journey (`alyx-proxy pack`): what others ask meanwhile does not push them out.
//!
//! Of all that may be stored each user has an eighth for that, and all together a half: of more, those that come are kept as
//! any other.

use rusqlite::Connection;

use super::disk::Disk;
use crate::{
    clock::Millis,
    storage::types::{CacheKey, TokenHash},
};

/// How long they are kept so.
pub(crate) const SPAN: Millis = 30 * 86_400_000;

/// Pins an answer that is stored, as far as there is room for that within `limit`, in bytes.
pub(super) fn pin(
    connection: &Connection,
    key: CacheKey,
    user: TokenHash,
    limit: u64,
    now: Millis,
) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM pinned WHERE until <= ?1")?.execute([now])?;
    // Of a few thousand at most.
    let sql = "SELECT coalesce(sum(size), 0), coalesce(sum(CASE WHEN user = ?1 THEN size ELSE 0 END), 0)
               FROM pinned JOIN responses USING (key) WHERE key <> ?2";
    let (all, own): (u64, u64) =
        connection.prepare_cached(sql)?.query_row((user.0, key), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = "INSERT INTO pinned (key, user, until) SELECT ?1, ?2, ?3 FROM responses
               WHERE key = ?1 AND size + ?4 <= ?5 AND size + ?6 <= ?7
               ON CONFLICT (key) DO UPDATE SET until = excluded.until";
    let until = now.saturating_add(SPAN);
    connection.prepare_cached(sql)?.execute((key, user.0, until, own, limit / 8, all, limit / 2)).map(drop)
}

impl Disk {
    /// Has an answer give way last, as this user is about to travel.
    pub(super) fn pin(&self, key: CacheKey, user: TokenHash) {
        let (limit, now) = (self.limit, self.clock.now());
        self.store.write("what is packed", 0, move |connection| pin(connection, key, user, limit, now));
    }
}

/// What is evicted first: what is not pinned, the least recently used first; the second, where nothing else is left.
pub(super) const VICTIMS: [&str; 2] = [
    "DELETE FROM responses WHERE id IN (SELECT id FROM responses
         WHERE NOT EXISTS (SELECT 1 FROM pinned WHERE pinned.key = responses.key AND until > ?1)
         ORDER BY used_at LIMIT 32) RETURNING size",
    "DELETE FROM responses WHERE id IN (SELECT id FROM responses WHERE ?1 ORDER BY used_at LIMIT 32)
         RETURNING size",
];

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Mutex};

    use super::super::eviction::{Totals, evict_lru};
    use super::*;

    const LIMIT: u64 = 80_000;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for sql in [
            include_str!("../../migrations/0001_first.sql"),
            include_str!("../../migrations/0004_pinned.sql"),
        ] {
            connection.execute_batch(sql).unwrap();
        }
        connection
    }

    fn key(n: u32) -> CacheKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&n.to_le_bytes());
        key
    }

    /// Stores an answer of a thousand bytes, as if it was asked at that time.
    fn store(connection: &Connection, n: u32, at: Millis) {
        let sql = "INSERT INTO responses (key, family, page_offset, path, query, status, headers, body, length, checksum,
                                          asked_at, received_at, used_at, size)
                   VALUES (?1, ?1, 0, '/x', '', 200, '[]', x'00', 1, x'00', ?2, ?2, ?2, 1000)";
        connection.execute(sql, (key(n), at)).unwrap();
    }

    fn stored(connection: &Connection) -> HashSet<CacheKey> {
        let mut statement = connection.prepare("SELECT key FROM responses").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn evict(connection: &Connection, now: Millis) {
        let totals = Totals::of(connection).unwrap();
        evict_lru(connection, &totals, LIMIT, &Mutex::default(), now).unwrap();
    }

    #[test]
    fn what_one_user_asks_pushes_out_nothing_that_another_has_packed() {
        let connection = database();
        let alice = TokenHash([1; 32]);
        for n in 0..8 {
            store(&connection, n, 10);
            pin(&connection, key(n), alice, LIMIT, 10).unwrap();
        }
        for n in 100..1_000 {
            store(&connection, n, 20 + Millis::from(n));
            evict(&connection, 20 + Millis::from(n));
        }
        let left = stored(&connection);
        assert!((0..8).all(|n| left.contains(&key(n))), "all that was packed is there");
        assert!(left.contains(&key(999)) && left.len() <= 80);
        // Its time is over.
        for n in 2_000..2_200 {
            store(&connection, n, SPAN + 11 + Millis::from(n));
            evict(&connection, SPAN + 11 + Millis::from(n));
        }
        assert!((0..8).all(|n| !stored(&connection).contains(&key(n))));
    }

    #[test]
    fn nobody_packs_so_much_that_nothing_else_has_room() {
        let connection = database();
        let pinned = |user: u8| {
            let sql = "SELECT count(*) FROM pinned WHERE user = ?1";
            connection.query_row(sql, [[user; 32]], |row| row.get::<_, u32>(0)).unwrap()
        };
        for user in 0..8_u8 {
            for n in 0..30 {
                let n = u32::from(user) * 100 + n;
                store(&connection, n, 10);
                pin(&connection, key(n), TokenHash([user; 32]), LIMIT, 10).unwrap();
            }
        }
        assert_eq!([0, 1, 2, 3, 4, 7].map(pinned), [10, 10, 10, 10, 0, 0]);
        // Where all that is left is pinned it gives way, too.
        connection.execute("DELETE FROM responses WHERE key NOT IN (SELECT key FROM pinned)", []).unwrap();
        let totals = Totals::of(&connection).unwrap();
        evict_lru(&connection, &totals, 20_000, &Mutex::default(), 20).unwrap();
        assert!(stored(&connection).len() <= 18);
    }
}
