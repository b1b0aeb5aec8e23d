//! What each user asked lately. It is kept for nobody but that user, who may want it again before a journey; for as
//! long as `access.query_history` says.
//!
//! A question that is asked over and over is written down once an hour, so it costs a look into memory.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    cache::Question,
    clock::{Millis, SharedClock},
    storage::types::TokenHash,
    store::{Store, StoreError},
};

/// How exactly times are known.
const HOUR: Duration = Duration::from_hours(1);

/// Questions whose last time is known in memory.
const REMEMBERED: u64 = 50_000;

/// Questions that are kept on disk; the oldest go. At some 150 bytes each that is 15 MB.
const KEPT: u32 = 100_000;

/// A longer question is not kept, in bytes: nobody types it a second time, and disks are not for it.
const LONGEST: usize = 8 << 10;

/// After so many new ones the old ones are looked for.
const TIDY_EVERY: u32 = 1_000;

/// Recorder of what is asked.
#[derive(Debug)]
pub(crate) struct History {
    noted: moka::sync::Cache<([u8; 32], [u8; 32]), ()>,
    since_tidying: AtomicU32,
    clock: SharedClock,
}

/// A question that somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryEntry {
    /// Path and query.
    pub(crate) question: String,
    /// When it was asked last, within the hour.
    pub(crate) at: Millis,
}

impl History {
    /// A recorder by this clock.
    pub(crate) fn new(clock: SharedClock) -> Self {
        let noted = moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_live(HOUR).build();
        // What is too old by the time of the start goes with the first new question.
        Self { noted, since_tidying: AtomicU32::new(TIDY_EVERY), clock }
    }

    /// The holder of this token has had an answer to this question. Kept for `keep`; not at all where that is zero.
    pub(crate) fn note(&self, token: TokenHash, question: &Question, keep: Duration, store: &Store) {
        let name = (token.0, question.key);
        let too_long = question.path_and_query.len() > LONGEST;
        if keep.is_zero() || too_long || self.noted.contains_key(&name) {
            return;
        }
        self.noted.insert(name, ());
        let tidy = self.since_tidying.fetch_add(1, Ordering::Relaxed) >= TIDY_EVERY;
        if tidy {
            self.since_tidying.store(0, Ordering::Relaxed);
        }
        let (key, text, now) = (question.key, question.path_and_query.clone(), self.clock.now());
        store.write("what was asked", text.len(), move |connection| {
            let sql = "INSERT INTO history (user, key, question, at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (user, key) DO UPDATE SET at = ?4";
            connection.prepare_cached(sql)?.execute((token.0, key, text, now))?;
            let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            if tidy { forget(connection, now.saturating_sub(keep)) } else { Ok(()) }
        });
    }

    /// What the holder of this token asked since then, the last first.
    pub(crate) async fn since(
        &self,
        token: TokenHash,
        since: Millis,
        store: &Store,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let look = move |connection: &Connection| {
            let sql =
                "SELECT question, at FROM history WHERE user = ?1 AND at >= ?2 ORDER BY at DESC, question";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map((token.0, since), |row| {
                Ok(HistoryEntry { question: row.get(0)?, at: row.get(1)? })
            })?;
            rows.collect()
        };
        store.written().await?;
        store.read(look).await
    }
}

/// What is older than that goes, and what is more than is kept.
fn forget(connection: &Connection, before: Millis) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM history WHERE at < ?1", [before])?;
    let too_many = "DELETE FROM history WHERE at <
                    (SELECT at FROM history ORDER BY at DESC LIMIT 1 OFFSET ?1)";
    connection.execute(too_many, [KEPT]).map(drop)
}
