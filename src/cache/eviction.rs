//! How much is stored, and room for more within the limit: the least recently used answers go first.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::Connection;

use super::pinned::VICTIMS;
use crate::{clock::Millis, storage::types::CacheKey};

/// How much is stored. Only the thread that writes changes it, along with the table and so before that is committed:
/// where it is undone, it is counted anew.
#[derive(Debug, Default)]
pub(super) struct Totals {
    responses: AtomicU64,
    bytes: AtomicU64,
}

impl Totals {
    /// What the table says.
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let (responses, bytes) = counted(connection)?;
        Ok(Self { responses: responses.into(), bytes: bytes.into() })
    }

    /// Says what the table says. Where that can't be read, nothing changes.
    pub(super) fn count_anew(&self, connection: &Connection) {
        match counted(connection) {
            Ok((responses, bytes)) => {
                self.responses.store(responses, Ordering::Relaxed);
                self.bytes.store(bytes, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "how much is stored can't be counted"),
        }
    }

    /// Answers, and the bytes that they are charged with.
    pub(super) fn now(&self) -> (u64, u64) {
        (self.responses.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// A row was added.
    pub(super) fn added(&self, size: u64) {
        self.responses.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
    }

    /// A row of this size was removed, if there was one.
    pub(super) fn removed(&self, size: Option<u64>) {
        if let Some(size) = size {
            // Fewer than none there are not, whatever went wrong: from below zero they would seem to be beyond any limit.
            for (total, less) in [(&self.responses, 1), (&self.bytes, size)] {
                total.store(total.load(Ordering::Relaxed).saturating_sub(less), Ordering::Relaxed);
            }
        }
    }
}

fn counted(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql = "SELECT count(*), coalesce(sum(max(size, 0)), 0) FROM responses";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Drops the least recently used answers until there is a little room.
pub(super) fn evict_lru(
    connection: &Connection,
    totals: &Totals,
    limit: u64,
    used: &Mutex<HashSet<CacheKey>>,
    now: Millis,
) -> rusqlite::Result<()> {
    let is_beyond = |limit: u64| totals.now().1 > limit;
    if !is_beyond(limit) {
        return Ok(());
    }
    // Nothing is dropped for a figure that is wrong.
    totals.count_anew(connection);
    if !is_beyond(limit) {
        return Ok(());
    }
    write_used(connection, used, now)?;
    let mut victims = VICTIMS.iter();
    let mut sql = victims.next();
    while let (true, Some(first)) = (is_beyond(limit / 10 * 9), sql) {
        let mut statement = connection.prepare_cached(first)?;
        // The second form takes any: a time is no condition there.
        let sizes =
            statement.query_map([now.max(1)], |row| row.get(0))?.collect::<rusqlite::Result<Vec<u64>>>()?;
        if sizes.is_empty() {
            sql = victims.next();
            continue;
        }
        metrics::counter!("alyx_proxy_cache_evictions_total").increment(sizes.len() as u64);
        for size in sizes {
            totals.removed(Some(size));
        }
    }
    connection
        .execute("DELETE FROM families WHERE family NOT IN (SELECT family FROM responses)", [])
        .and_then(|_| {
            connection.execute("DELETE FROM pinned WHERE key NOT IN (SELECT key FROM responses)", [])
        })
        .map(drop)
}

/// Notes when answers were used.
pub(super) fn write_used(
    connection: &Connection,
    used: &Mutex<HashSet<CacheKey>>,
    now: Millis,
) -> rusqlite::Result<()> {
    let used = std::mem::take(&mut *used.lock().unwrap_or_else(PoisonError::into_inner));
    let mut update =
        connection.prepare_cached("UPDATE responses SET used_at = max(used_at, ?2) WHERE key = ?1")?;
    used.iter().try_for_each(|key| update.execute((key, now)).map(drop))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Arrived, ExportedEntry, disk::Disk};
    use super::*;
    use crate::storage::seal::SecretSeal;
    use crate::{alyx::links::Base, clock::SystemClock, settings::value::Size, store::Store};

    /// An answer with a body of so many bytes that no compressor makes smaller.
    fn answer(number: usize, asked_at: i64, length: usize) -> Arrived {
        let noise = (0..length / 36).map(|_| uuid::Uuid::new_v4().to_string()).collect::<Vec<_>>().concat();
        let (query, body) = (format!("lab={number}"), format!("[\"{noise}\"]"));
        let carried =
            ExportedEntry { query, body, asked_at, received_at: asked_at + 1, ..ExportedEntry::some() };
        carried.import(&Base::new("http://alyx")).unwrap()
    }

    #[tokio::test]
    async fn what_a_full_disk_refuses_is_not_counted_and_drops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let disk = Disk::open(store.clone(), Size(1 << 20), Arc::new(SystemClock), SecretSeal::of_tests())
            .await
            .unwrap();
        let put = async |Arrived { question, entry, .. }: Arrived| {
            disk.put(&question, entry).await;
            // Told of the failure where it comes in one batch with what fails.
            let _ = store.written().await;
        };
        // The file may grow to so many pages, as on a disk of that size.
        let pages = async |most: Option<i64>| {
            let limit = move |connection: &Connection| {
                let now = connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0))?;
                let pragma = format!("PRAGMA max_page_count = {}", most.unwrap_or(now));
                connection.query_row(&pragma, [], |_| Ok(()))
            };
            store.commit("a limit", limit).await.unwrap();
        };
        let table = async || store.read(counted).await.unwrap();
        let stored = || (disk.stored().responses, disk.stored().bytes);
        for number in 0..5 {
            put(answer(number, 1, 100)).await;
        }
        let before = table().await;
        assert_eq!((before.0, stored()), (5, before));
        pages(None).await;
        for round in 0..8 {
            // The old one is deleted, and the new one does not fit: both are undone.
            put(answer(0, 2 + round, 400_000)).await;
            assert_eq!((table().await, stored()), (before, before), "round {round}");
        }
        pages(Some(1 << 30)).await;
        put(answer(5, 1, 100)).await;
        let after = table().await;
        assert_eq!((after.0, stored()), (6, after), "nothing was dropped");
        store.close();
    }

    #[tokio::test]
    async fn nothing_is_dropped_for_a_figure_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let connection = store.connection().await.unwrap();
        let totals = Totals::of(&connection).unwrap();
        totals.removed(Some(7));
        assert_eq!(totals.now(), (0, 0));
        totals.added(1 << 40);
        evict_lru(&connection, &totals, 1 << 20, &Mutex::default(), 0).unwrap();
        assert_eq!(totals.now(), (0, 0), "as the table says");
        store.close();
    }
}
