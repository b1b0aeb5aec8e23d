//! What each user asked lately. It is kept for nobody but that user, who may want it again before a journey; for as
//! long as `access.query_history` says.
//!
//! A question that is asked over and over is written down once an hour, so it costs a look into memory. Of a question what Alyx
//! disregards is left out. What is kept of one user is bounded, so that nobody's questions push out another's.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rusqlite::Connection;

use crate::{
    alyx::{Route, query_string},
    cache::Question,
    clock::{Millis, SharedClock},
    storage::types::TokenHash,
    store::{ReadRequest, Store, StoreError, budget::Budget, reader_pool::Owner},
};

/// How exactly times are known.
const HOUR: Duration = Duration::from_hours(1);

/// Questions whose last time is known in memory.
const REMEMBERED: u64 = 50_000;

/// Questions that are kept of one user; the oldest go.
const KEPT: u32 = 10_000;
/// What they, and those of all users together, may be long, in bytes; of all users each has as much.
const KEPT_BYTES: i64 = 2 << 20;
const ALL_BYTES: i64 = 64 << 20;

/// A longer question is not kept, in bytes: nobody types it a second time, and disks are not for it. One for a hundred
/// datasets by their ids is as long.
const LONGEST: usize = 4 << 10;

/// A look into it may cost so much; it takes milliseconds.
const BUDGET: Budget = Budget { time: Duration::from_secs(10), steps: 10_000_000 };

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

/// So many questions, after so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HistoryPage {
    pub(crate) limit: u32,
    pub(crate) offset: u32,
}

impl Default for HistoryPage {
    /// All that are kept.
    fn default() -> Self {
        Self { limit: KEPT, offset: 0 }
    }
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
        if keep.is_zero() || self.noted.contains_key(&name) {
            return;
        }
        self.noted.insert(name, ());
        let Some((key, text)) = as_read(question).filter(|(_, text)| text.len() <= LONGEST) else { return };
        if self.noted.contains_key(&(token.0, key)) && key != question.key {
            return;
        }
        self.noted.insert((token.0, key), ());
        let tidy = self.since_tidying.fetch_add(1, Ordering::Relaxed) >= TIDY_EVERY;
        if tidy {
            self.since_tidying.store(0, Ordering::Relaxed);
        }
        let now = self.clock.now();
        store.write("what was asked", text.len(), move |connection| {
            let sql = "INSERT INTO history (user, key, question, at) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT (user, key) DO UPDATE SET at = ?4";
            connection.prepare_cached(sql)?.execute((token.0, key, text, now))?;
            let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            if tidy { forget(connection, now.saturating_sub(keep)) } else { Ok(()) }
        });
    }

    /// What the holder of this token asked since then, the last first: so many after so many, and how many there are.
    pub(crate) async fn since(
        &self,
        token: TokenHash,
        since: Millis,
        page: HistoryPage,
        store: &Store,
    ) -> Result<(u64, Vec<HistoryEntry>), StoreError> {
        let look = move |connection: &Connection| {
            let sql = "SELECT count(*) FROM history WHERE user = ?1 AND at >= ?2";
            let count = connection.prepare_cached(sql)?.query_row((token.0, since), |row| row.get(0))?;
            let sql = "SELECT question, at FROM history WHERE user = ?1 AND at >= ?2
                       ORDER BY at DESC, question LIMIT ?3 OFFSET ?4";
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map((token.0, since, page.limit, page.offset), |row| {
                Ok(HistoryEntry { question: row.get(0)?, at: row.get(1)? })
            })?;
            Ok((count, rows.collect::<rusqlite::Result<_>>()?))
        };
        store.written().await?;
        let request =
            ReadRequest { owner: Owner::User(token.0), what: "/-/history".to_owned(), budget: BUDGET };
        store.read_within(request, look).await
    }
}

/// The question without the parameters that Alyx disregards, and its key; none where that is no path.
fn as_read(question: &Question) -> Option<([u8; 32], String)> {
    let known = |name: &str| match &question.route {
        Route::List(endpoint) => {
            ["limit", "offset", "format"].contains(&name) || endpoint.filter(name).is_some()
        }
        Route::Detail(..) => name == "format",
        Route::Service(_) | Route::Other => true,
    };
    let is_known =
        |pair: &&str| query_string::parse(pair).first().is_some_and(|(name, _)| known(name.as_str()));
    let kept: Vec<&str> = question.query().split('&').filter(is_known).collect();
    if kept.len() == question.query().split('&').count() || question.query().is_empty() {
        return Some((question.key, question.path_and_query.clone()));
    }
    let path = question.path_and_query.split('?').next().unwrap_or_default();
    let text = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let uri = text.parse().ok()?;
    let read = Question::new(question.route.clone(), question.class, &uri, &question.media, question.owner);
    Some((read.key, text))
}

/// What is older than that goes, and what is more than is kept of a user.
fn forget(connection: &Connection, before: Millis) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM history WHERE at < ?1", [before])?;
    let sql = "SELECT count(DISTINCT user), coalesce(sum(length(question)), 0) FROM history";
    let (users, bytes): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let each = if bytes > ALL_BYTES { ALL_BYTES / users.max(1) } else { KEPT_BYTES };
    let too_many = "DELETE FROM history WHERE (user, key) IN (
                    SELECT user, key FROM (SELECT user, key, row_number() OVER last AS number,
                        sum(length(question)) OVER last AS bytes FROM history
                        WINDOW last AS (PARTITION BY user ORDER BY at DESC, key))
                    WHERE number > ?1 OR bytes > ?2)";
    connection.execute(too_many, (KEPT, each.min(KEPT_BYTES))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_users_questions_push_out_nobody_elses() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../migrations/0003_history.sql")).unwrap();
        let note = |user: u8, n: u32, length: usize, at: Millis| {
            let (user, key, text) = ([user; 32], n.to_le_bytes(), "x".repeat(length));
            let sql = "INSERT INTO history (user, key, question, at) VALUES (?1, ?2, ?3, ?4)";
            connection.execute(sql, (user, key, text, at)).unwrap();
        };
        let count = |user: u8| {
            let sql = "SELECT count(*) FROM history WHERE user = ?1";
            connection.query_row(sql, [[user; 32]], |row| row.get::<_, u32>(0)).unwrap()
        };
        connection.execute_batch("BEGIN").unwrap();
        (0..KEPT + 500).for_each(|n| note(1, n, 20, 100 + i64::from(n)));
        (0..3_000).for_each(|n| note(2, n, 1_000, 1_000_000 + i64::from(n)));
        (0..7).for_each(|n| note(3, n, 20, 50));
        forget(&connection, 50).unwrap();
        assert_eq!((count(1), count(3)), (KEPT, 7));
        assert_eq!(i64::from(count(2)), KEPT_BYTES / 1_000);
        forget(&connection, 51).unwrap();
        assert_eq!(count(3), 0, "too old");
        let oldest = "SELECT min(at) FROM history WHERE user = ?1";
        let oldest: Millis = connection.query_row(oldest, [[1_u8; 32]], |row| row.get(0)).unwrap();
        assert_eq!(oldest, 600, "the oldest went");
    }
}
