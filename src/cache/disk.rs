//! Answers on disk, within a limit; the least recently used ones go first.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, OptionalExtension};

use super::{
    Arrived, Entry, Purge, Question,
    eviction::{Totals, evict_lru, write_used},
    row::{NewRow, Raw, entry_of, select},
};
use crate::{
    alyx::links::Base,
    clock::{Millis, SharedClock},
    settings::value::Size,
    storage::{seal::SecretSeal, types::CacheKey},
    store::{Store, StoreError},
};

/// Bodies up to so many bytes are unpacked by the thread that has read them.
const SMALL: usize = 256 << 10;
/// How many stored neighbours a refusal names.
const NEAR: usize = 3;

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUsage {
    /// Answers.
    pub responses: u64,
    /// Bytes that they are charged with.
    pub bytes: u64,
    /// The limit of these bytes.
    pub limit: u64,
}

/// A stored answer that comes near a question.
#[derive(Debug, Clone)]
pub struct Similar {
    /// The query that it answers.
    pub query: String,
    /// When it was received.
    pub received_at: Millis,
}

/// What is stored of a page and of its list before the page is asked anew.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Elders {
    /// When the page was asked that is stored.
    pub(super) page: Option<Millis>,
    /// The count that the newest stored page of the list says.
    pub(super) count: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) store: Arc<Store>,
    pub(super) limit: u64,
    totals: Arc<Totals>,
    /// Keys that were used since this was last written down.
    used: Arc<Mutex<HashSet<CacheKey>>>,
    pub(super) clock: SharedClock,
    seal: Arc<SecretSeal>,
}

/// What was read of a stored answer.
enum DiskRead {
    /// The entry; none where it is damaged.
    Entry(Option<Entry>),
    /// One that is yet to be unpacked.
    Large(Raw),
}

impl Disk {
    pub(super) async fn open(
        store: Arc<Store>,
        limit: Size,
        clock: SharedClock,
        seal: Arc<SecretSeal>,
    ) -> Result<Self, StoreError> {
        let totals = Arc::new(store.read(Totals::of).await?);
        // What could not be committed is not stored.
        let undone = totals.clone();
        store.on_rollback(move |connection| undone.count_anew(connection));
        let latest = store.read(latest).await?;
        let believed = clock.latest_believed();
        if latest > believed {
            drop_from_the_future(&store, &totals, believed).await;
        }
        clock.stamps_continue_after(latest.min(believed));
        Ok(Self { store, limit: limit.0, totals, used: Arc::default(), clock, seal })
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn stored(&self) -> CacheUsage {
        let (responses, bytes) = self.totals.now();
        CacheUsage { responses, bytes, limit: self.limit }
    }

    /// The stored entry of this key. One whose checksum is wrong is dropped: never a wrong answer.
    pub(super) async fn get(&self, key: CacheKey, base: &Base) -> Result<Option<Entry>, StoreError> {
        let (own, seal) = (base.clone(), self.seal.clone());
        let read = move |connection: &Connection| {
            let raw = select(connection, &key)?;
            // To wake another thread takes longer than to unpack a small body.
            let small = |raw: &Raw| raw.length <= SMALL;
            Ok(raw.map(|raw| {
                if small(&raw) {
                    DiskRead::Entry(entry_of(&key, raw, &own, &seal))
                } else {
                    DiskRead::Large(raw)
                }
            }))
        };
        let entry = match self.store.read(read).await? {
            None => return Ok(None),
            Some(DiskRead::Entry(entry)) => entry,
            Some(DiskRead::Large(raw)) => {
                let (base, seal) = (base.clone(), self.seal.clone());
                tokio::task::spawn_blocking(move || entry_of(&key, raw, &base, &seal))
                    .await
                    .unwrap_or_default()
            }
        };
        if entry.is_none() {
            tracing::error!("a stored answer is damaged and is dropped");
            self.drop_one(key);
        }
        Ok(entry)
    }

    fn drop_one(&self, key: CacheKey) {
        let totals = self.totals.clone();
        self.store.write("a damaged answer", 0, move |connection| {
            let sql = "DELETE FROM responses WHERE key = ?1 RETURNING size";
            let size: Option<u64> = connection.query_row(sql, [key], |row| row.get(0)).optional()?;
            totals.removed(size);
            Ok(())
        });
    }

    /// Another database has taken the place of a damaged one.
    pub(super) fn on_database_replaced(&self, connection: &Connection) {
        self.totals.count_anew(connection);
    }

    /// Stores an entry soon, and makes room for it; waits where the disk does not keep up.
    pub(super) async fn put(&self, question: &Question, entry: Arc<Entry>) {
        let (totals, limit, weight) = (self.totals.clone(), self.limit, entry.weight());
        let (used, now, latest) = (self.used.clone(), self.clock.now(), self.clock.latest_stamp());
        let row = NewRow::of(question, entry, &self.seal);
        let change = move |connection: &Connection| {
            row.insert(connection, &totals, latest)?;
            evict_lru(connection, &totals, limit, &used, now)
        };
        self.store.write_with_backpressure("an answer", weight, change).await;
    }

    /// Stores answers that came with a snapshot, and makes room for them; how many of them were newer than what
    /// was here.
    pub(super) async fn import(&self, answers: Vec<Arrived>) -> Result<u64, StoreError> {
        let (totals, limit, used) = (self.totals.clone(), self.limit, self.used.clone());
        let seal = self.seal.clone();
        let (count, now) = (Arc::new(AtomicU64::new(0)), self.clock.now());
        let counted = count.clone();
        // Whatever Alyx says from now on is newer.
        let times = answers.iter().map(|Arrived { entry, .. }| entry.asked_at.max(entry.received_at));
        self.clock.stamps_continue_after(times.max().unwrap_or(Millis::MIN));
        let latest = self.clock.latest_stamp();
        let change = move |connection: &Connection| {
            let sql = "SELECT EXISTS(SELECT 1 FROM responses WHERE key = ?1 AND asked_at BETWEEN ?2 AND ?3)";
            let mut known = connection.prepare_cached(sql)?;
            for Arrived { question, entry, .. } in answers {
                if known.query_row((question.key, entry.asked_at, latest), |row| row.get(0))? {
                    continue;
                }
                let kept = NewRow::of(&question, entry, &seal).insert(connection, &totals, latest)?;
                counted.fetch_add(kept.into(), Ordering::Relaxed);
            }
            evict_lru(connection, &totals, limit, &used, now)
        };
        self.store.commit("answers of a snapshot", change).await?;
        Ok(count.load(Ordering::Relaxed))
    }

    /// Removes what was stored before `at` for a question and other pages of its list, if there is any or it is `known` that
    /// there will be; the keys of it.
    pub(super) async fn strike(
        &self,
        question: &Question,
        at: Millis,
        known: bool,
    ) -> Result<Vec<CacheKey>, StoreError> {
        let (key, family) = (question.key, question.family);
        let look = "SELECT EXISTS(SELECT 1 FROM responses WHERE (key = ?1 OR family = ?2) AND asked_at < ?3)";
        let stored = self.store.read(move |connection| {
            connection.prepare_cached(look)?.query_row((key, family, at), |row| row.get(0))
        });
        if !known && !stored.await? {
            return Ok(Vec::new());
        }
        let (totals, struck) = (self.totals.clone(), Arc::new(Mutex::new(Vec::new())));
        let keys = struck.clone();
        let change = move |connection: &Connection| {
            let sql =
                "DELETE FROM responses WHERE (key = ?1 OR family = ?2) AND asked_at < ?3 RETURNING key, size";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map((key, family, at), |row| Ok((row.get(0)?, row.get(1)?)))?;
            for row in rows {
                let (key, size) = row?;
                totals.removed(Some(size));
                keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
            }
            Ok(())
        };
        self.store.commit("what Alyx has taken back", change).await?;
        let struck = std::mem::take(&mut *struck.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(struck)
    }

    /// Removes answers; how many there were.
    pub(super) async fn purge(&self, what: Purge) -> Result<u64, StoreError> {
        let (totals, count) = (self.totals.clone(), Arc::new(AtomicU64::new(0)));
        let counted = count.clone();
        let change = move |connection: &Connection| {
            for size in what.remove(connection)? {
                totals.removed(Some(size));
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        self.store.commit("a purge", change).await?;
        Ok(count.load(Ordering::Relaxed))
    }

    /// An entry was used.
    pub(super) fn used(&self, key: CacheKey) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Writes down what was used.
    pub(super) fn flush_used(&self) {
        let (used, now) = (self.used.clone(), self.clock.now());
        self.store.write("what was used", 0, move |connection| write_used(connection, &used, now));
    }

    /// Stored answers of the same path, the newest first; of another user's never.
    pub(super) async fn similar(&self, question: &Question) -> Result<Vec<Similar>, StoreError> {
        let (path, owner) = (question.path.clone(), question.owner.map(|owner| owner.0));
        let look = move |connection: &Connection| {
            let sql = "SELECT query, received_at FROM responses
                       WHERE path = ?1 AND owner IS ?2 ORDER BY received_at DESC LIMIT ?3";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map((path, owner, NEAR), |row| {
                Ok(Similar { query: row.get(0)?, received_at: row.get(1)? })
            })?;
            rows.collect()
        };
        self.store.read(look).await
    }

    pub(super) async fn family_since(&self, family: CacheKey) -> Option<Millis> {
        let sql = "SELECT since FROM families WHERE family = ?1";
        let look = move |connection: &Connection| {
            connection.prepare_cached(sql)?.query_row([family], |row| row.get(0)).optional()
        };
        self.store.read(look).await.ok().flatten()
    }

    /// What is stored of a page and its list.
    pub(super) async fn elders(&self, question: &Question) -> Result<Elders, StoreError> {
        let (key, family) = (question.key, question.family);
        let look = move |connection: &Connection| {
            let page = "SELECT asked_at FROM responses WHERE key = ?1";
            let list = "SELECT count FROM responses WHERE family = ?1 ORDER BY asked_at DESC LIMIT 1";
            let page = connection.prepare_cached(page)?.query_row([key], |row| row.get(0)).optional()?;
            let count = connection.prepare_cached(list)?.query_row([family], |row| row.get(0)).optional()?;
            Ok(Elders { page, count: count.flatten() })
        };
        self.store.read(look).await
    }

    pub(super) fn put_family(&self, family: CacheKey, since: Millis) {
        self.store.write("a list's generation", 0, move |connection| {
            let sql = "INSERT INTO families (family, since) VALUES (?1, ?2)
                       ON CONFLICT (family) DO UPDATE SET since = max(since, ?2)";
            connection.prepare_cached(sql)?.execute((family, since)).map(drop)
        });
    }
}

/// The latest time that lies there. An answer was used when it came, at the earliest.
fn latest(connection: &Connection) -> rusqlite::Result<Millis> {
    let sql = "SELECT max((SELECT coalesce(max(used_at), 0) FROM responses),
                          (SELECT coalesce(max(since), 0) FROM families))";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Drops what says to be of a time that no clock has shown. When it came nobody knows, and nothing newer would ever take its
/// place.
async fn drop_from_the_future(store: &Store, totals: &Arc<Totals>, believed: Millis) {
    let totals = totals.clone();
    let drop = move |connection: &Connection| {
        let dropped = connection.execute("DELETE FROM responses WHERE used_at > ?1", [believed])?;
        connection.execute("DELETE FROM families WHERE since > ?1", [believed])?;
        totals.count_anew(connection);
        tracing::warn!(answers = dropped, "stored answers of the far future were dropped");
        Ok(())
    };
    if let Err(error) = store.commit("answers of the future", drop).await {
        tracing::error!(%error, "stored answers of the far future were not dropped");
    }
}

#[cfg(test)]
mod tests {
    use super::super::ExportedEntry;
    use super::*;
    use crate::clock::{Clock, ManualClock, SystemClock};

    #[tokio::test]
    async fn a_length_that_a_disk_got_wrong_costs_one_answer_and_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let disk = Disk::open(store.clone(), Size(1 << 20), Arc::new(SystemClock), SecretSeal::of_tests())
            .await
            .unwrap();
        let base = Base::new("http://alyx");
        let Arrived { question, entry, .. } = ExportedEntry::some().import(&base).unwrap();
        for length in [1_i64 << 62, 1 << 40, 3, 0, -1] {
            disk.put(&question, entry.clone()).await;
            store.written().await.unwrap();
            assert!(disk.get(question.key, &base).await.unwrap().is_some(), "it is there");
            let damage = move |connection: &Connection| {
                connection.execute("UPDATE responses SET length = ?1", [length]).map(drop)
            };
            store.commit("a damage", damage).await.unwrap();
            assert!(disk.get(question.key, &base).await.unwrap().is_none(), "{length}");
            store.written().await.unwrap();
            assert_eq!(disk.stored().responses, 0, "{length}: it is dropped");
        }
        store.close();
    }

    #[tokio::test]
    async fn an_answer_of_the_future_gives_way_to_what_comes() {
        let base = Base::new("http://alyx");
        let answer = |asked_at: Millis| {
            let carried = ExportedEntry { asked_at, received_at: asked_at, ..ExportedEntry::some() };
            carried.import(&base).unwrap()
        };
        let clock = ManualClock::at(1_780_000_000_000);
        let now = clock.now();
        for future in [now + 10_000_000, 4_102_444_800_000, 9_000_000_000_000_000_000, Millis::MAX] {
            let folder = tempfile::tempdir().unwrap();
            let store = Arc::new(Store::open(folder.path()).unwrap());
            let Arrived { question, entry, .. } = answer(future);
            let earlier = ManualClock::at(now);
            let disk =
                Disk::open(store.clone(), Size(1 << 20), earlier, SecretSeal::of_tests()).await.unwrap();
            // As an earlier revision stored it.
            disk.put(&question, entry).await;
            store.written().await.unwrap();
            let asked_at =
                async |disk: &Disk| disk.get(question.key, &base).await.unwrap().map(|it| it.asked_at);
            assert_eq!(asked_at(&disk).await, Some(future));
            let newer = answer(now + 1).entry;
            disk.put(&question, newer.clone()).await;
            store.written().await.unwrap();
            assert_eq!(asked_at(&disk).await, Some(now + 1), "{future}: while it runs");
            disk.put(&question, answer(future).entry).await;
            store.written().await.unwrap();
            let disk = Disk::open(store.clone(), Size(1 << 20), clock.clone(), SecretSeal::of_tests())
                .await
                .unwrap();
            let stamp = clock.stamp();
            assert!(stamp < Millis::MAX / 2, "{future}: {stamp}");
            disk.put(&question, answer(stamp).entry).await;
            store.written().await.unwrap();
            assert_eq!(asked_at(&disk).await, Some(stamp), "{future}: after a restart");
            store.close();
        }
    }
}
