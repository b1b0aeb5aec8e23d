//! What writes have made stale: for each scope, the time before which answers no longer count.
//!
//! Marking costs the same however many answers it strikes. A write's scopes are on disk as pending
//! before it is passed on and become marks when it has ended; if the program is killed in between,
//! they become marks at its next start. So a crash can't bring an old answer back, and a write that
//! Alyx refused costs nothing.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use rusqlite::Connection;

use super::{
    Marked,
    last_written::{by_endpoint, last_by_endpoint},
    mark_bound::{self, MergedMarks},
};
use crate::{
    alyx::invalidates::{DOUBTED, Scope, is_denied, is_of_a_token},
    clock::{Clock, Millis, SharedClock},
    store::{Store, StoreError},
};

#[derive(Debug)]
pub(super) struct Invalidations {
    at: RwLock<HashMap<String, Millis>>,
    /// When a write last touched an endpoint's records, made from `at` when that changes.
    endpoints: RwLock<HashMap<&'static str, Millis>>,
    next_write: AtomicI64,
    changes: AtomicU64,
    clock: SharedClock,
    /// Whether Alyx has ever refused anything to a holder of a token that it accepts: as a rule it hasn't.
    any_denied: AtomicBool,
}

/// A write under way: what it may change.
#[derive(Debug)]
pub struct PendingWrite {
    write: i64,
    scopes: Vec<String>,
}

const DAY: Millis = 86_400_000;
/// No answer counts as fresh for longer; marks from before have done their work.
const LONGEST: Millis = 400 * DAY;

const MARK: &str = "INSERT INTO marks (scope, at) VALUES (?1, ?2)
                    ON CONFLICT (scope) DO UPDATE SET at = max(at, ?2)";

impl Invalidations {
    pub(super) async fn load(store: &Store, clock: SharedClock) -> Result<Self, StoreError> {
        let earlier = believed(store.read(marks).await?, store, &*clock);
        clock.stamps_continue_after(earlier.values().copied().max().unwrap_or(Millis::MIN));
        let now = clock.stamp();
        let left = store.read(|connection| {
            let mut statement = connection.prepare("SELECT DISTINCT scope FROM pending")?;
            let scopes =
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
            let last = "SELECT coalesce(max(write), 0) FROM pending";
            Ok((scopes, connection.query_row(last, [], |row| row.get::<_, i64>(0))?))
        });
        let (cut_off, last) = left.await?;
        let mut rows = earlier;
        drop_dated(&mut rows, store, &*clock).await;
        if !cut_off.is_empty() {
            let adopt = move |connection: &Connection| {
                let sql = "INSERT INTO marks (scope, at) SELECT DISTINCT scope, ?1 FROM pending WHERE true
                           ON CONFLICT (scope) DO UPDATE SET at = max(at, ?1)";
                connection.execute(sql, [now])?;
                connection.execute("DELETE FROM pending", []).map(drop)
            };
            // Where the disk is full they count all the same, and stay there for the next start.
            if let Err(error) = store.commit("writes that were cut off", adopt).await {
                tracing::warn!(%error, "what writes were cut off is not noted");
            }
            rows.extend(cut_off.into_iter().map(|scope| (scope, now)));
        }
        let endpoints = RwLock::new(by_endpoint(&rows));
        let any_denied = AtomicBool::new(rows.keys().any(|scope| is_denied(scope)));
        Ok(Self {
            any_denied,
            at: RwLock::new(rows),
            endpoints,
            // No write of this run has the number of one that may still lie there: its end would end both.
            next_write: AtomicI64::new(last + 1),
            changes: AtomicU64::new(0),
            clock,
        })
    }

    /// The latest time at which one of these scopes was marked.
    pub(super) fn since<'s>(&self, scopes: impl IntoIterator<Item = &'s str>) -> Millis {
        let at = self.at.read().unwrap_or_else(PoisonError::into_inner);
        scopes.into_iter().filter_map(|scope| at.get(scope)).copied().max().unwrap_or(Millis::MIN)
    }

    /// Whether any scope says what Alyx refuses to the holder of a token.
    pub(super) fn any_denied(&self) -> bool {
        self.any_denied.load(Ordering::Acquire)
    }

    /// A number that is another after each mark.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// When a write last touched records of an endpoint, for those that were touched.
    pub(super) fn by_endpoint(&self) -> HashMap<&'static str, Millis> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same of what was surely written, and is not only in doubt.
    pub(super) fn surely_by_endpoint(&self) -> HashMap<&'static str, Millis> {
        let at = self.at.read().unwrap_or_else(PoisonError::into_inner);
        let doubted = at.get(DOUBTED).copied();
        if doubted.is_none() {
            drop(at);
            return self.by_endpoint();
        }
        last_by_endpoint(&at, &[Scope::Everything])
    }

    /// A write is about to be passed on; returns when that is on disk.
    pub(super) async fn begin(&self, scopes: &[Scope], store: &Store) -> Result<PendingWrite, StoreError> {
        let write = self.next_write.fetch_add(1, Ordering::Relaxed);
        let scopes: Vec<String> = scopes.iter().map(Scope::name).collect();
        let names = scopes.clone();
        if !scopes.is_empty() {
            let insert = move |connection: &Connection| {
                let sql = "INSERT OR IGNORE INTO pending (write, scope) VALUES (?1, ?2)";
                let mut statement = connection.prepare_cached(sql)?;
                names.iter().try_for_each(|name| statement.execute((write, name)).map(drop))
            };
            store.commit("what a write may change", insert).await?;
        }
        Ok(PendingWrite { write, scopes })
    }

    /// A write has ended; `changed` unless Alyx surely did nothing. Returns when that is on disk, with what it has marked.
    pub(super) async fn end(
        &self,
        pending: PendingWrite,
        changed: bool,
        store: &Store,
    ) -> Result<Marked, StoreError> {
        let PendingWrite { write, scopes } = pending;
        if scopes.is_empty() {
            return Ok(Marked { at: self.clock.stamp(), endpoints: Vec::new() });
        }
        let (marked, merged) = if changed {
            self.strike(&scopes)
        } else {
            (Marked { at: self.clock.stamp(), endpoints: Vec::new() }, MergedMarks::default())
        };
        let now = marked.at;
        let settle = move |connection: &Connection| {
            if changed {
                note(connection, &scopes, now, &merged)?;
            }
            connection.prepare_cached("DELETE FROM pending WHERE write = ?1")?.execute([write]).map(drop)
        };
        store.commit("what a write changed", settle).await.map(|()| marked)
    }

    /// Something was written elsewhere, or may have been: from now on nothing counts that was asked for before. That is on its
    /// way to the disk then.
    pub(super) fn mark(&self, scopes: Vec<String>, store: &Store) -> Marked {
        let (marked, merged) = self.strike(&scopes);
        let now = marked.at;
        store.write("what was written elsewhere", 0, move |connection| {
            note(connection, &scopes, now, &merged)
        });
        marked
    }

    /// Marks scopes in memory.
    fn strike(&self, scopes: &[String]) -> (Marked, MergedMarks) {
        let now = self.clock.stamp();
        let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
        at.extend(scopes.iter().map(|scope| (scope.clone(), now)));
        let merged = mark_bound::merge(&at, mark_bound::MOST).unwrap_or_default();
        at.retain(|scope, _| !merged.gone.contains(scope));
        at.extend(merged.wider.clone());
        let after = by_endpoint(&at);
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        let before = |endpoint: &str| endpoints.get(endpoint).copied().unwrap_or(Millis::MIN);
        let own = after.iter().filter(|(_, at)| **at == now);
        let endpoints_before = own.map(|(endpoint, _)| (*endpoint, before(endpoint))).collect();
        *endpoints = after;
        drop(endpoints);
        drop(at);
        if scopes.iter().any(|scope| is_denied(scope)) {
            self.any_denied.store(true, Ordering::Release);
        }
        self.changes.fetch_add(1, Ordering::Release);
        (Marked { at: now, endpoints: endpoints_before }, merged)
    }

    /// Another database has taken the place of a damaged or deleted one: its marks count too, and it gets those
    /// that are known here.
    pub(super) fn on_database_replaced(&self, connection: &Connection) {
        let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
        let (believed, now) = (self.clock.latest_believed(), self.clock.stamp());
        let exchanged = marks(connection).and_then(|rows| {
            for (scope, marked) in rows {
                let marked = if marked > believed { now } else { marked };
                let known = at.entry(scope).or_insert(marked);
                *known = (*known).max(marked);
            }
            let mut mark = connection.prepare_cached(MARK)?;
            at.iter().try_for_each(|(scope, at)| mark.execute((scope, at)).map(drop))
        });
        if let Err(error) = exchanged {
            tracing::error!(%error, "what writes have made stale was not written anew");
        }
        *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = by_endpoint(&at);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Takes over marks of another proxy, and marks these endpoints now; returns when that is on disk.
    pub(super) async fn take(
        &self,
        mut marks: Vec<(String, Millis)>,
        endpoints: &[&'static str],
        store: &Store,
    ) -> Result<(), StoreError> {
        // What is asked from now on is newer than all of them.
        self.clock.stamps_continue_after(marks.iter().map(|(_, at)| *at).max().unwrap_or(Millis::MIN));
        let now = self.clock.stamp();
        let scopes = endpoints.iter().flat_map(|name| [Scope::Lists(name), Scope::Details(name)]);
        marks.extend(scopes.map(|scope| (scope.name(), now)));
        {
            let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
            for (scope, marked) in &marks {
                let known = at.entry(scope.clone()).or_insert(*marked);
                *known = (*known).max(*marked);
            }
            *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = by_endpoint(&at);
        }
        self.changes.fetch_add(1, Ordering::Release);
        let take = move |connection: &Connection| {
            let mut mark = connection.prepare_cached(MARK)?;
            marks.iter().try_for_each(|(scope, at)| mark.execute((scope, at)).map(drop))
        };
        store.commit("marks of a snapshot", take).await
    }
}

/// Writes marks to the disk.
fn note(
    connection: &Connection,
    scopes: &[String],
    now: Millis,
    merged: &MergedMarks,
) -> rusqlite::Result<()> {
    let mut mark = connection.prepare_cached(MARK)?;
    scopes.iter().try_for_each(|scope| mark.execute((scope, now)).map(drop))?;
    merged.wider.iter().try_for_each(|(scope, at)| mark.execute((scope, at)).map(drop))?;
    let mut gone = connection.prepare_cached("DELETE FROM marks WHERE scope = ?1")?;
    merged.gone.iter().try_for_each(|scope| gone.execute([scope]).map(drop))
}

/// Marks whose times can be: one of the far future, which a snapshot or a clock that was years ahead has left, would strike
/// all that is ever asked. It counts as of now instead.
fn believed(mut marks: HashMap<String, Millis>, store: &Store, clock: &dyn Clock) -> HashMap<String, Millis> {
    let (believed, now) = (clock.latest_believed(), clock.now());
    let mut changed = 0;
    for at in marks.values_mut().filter(|at| **at > believed) {
        *at = now;
        changed += 1;
    }
    if changed > 0 {
        tracing::warn!(marks = changed, "marks of the far future count as of now");
        store.write("marks of the future", 0, move |connection| {
            connection.execute("UPDATE marks SET at = ?1 WHERE at > ?2", [now, believed]).map(drop)
        });
    }
    marks
}

/// Marks of single records that have done their work: older than any answer can be fresh, and than any answer that is
/// stored. By the clock alone that can't be said: one that is years ahead for a moment would drop all of them.
fn dated(
    connection: &Connection,
    marks: &HashMap<String, Millis>,
    now: Millis,
) -> rusqlite::Result<Vec<String>> {
    let before = now - LONGEST;
    let dated: Vec<_> = marks.iter().filter(|(scope, at)| **at < before && !lasts(scope)).collect();
    if dated.is_empty() {
        return Ok(Vec::new());
    }
    // An answer was asked for within a day before it was here.
    let oldest: Option<Millis> =
        connection.query_row("SELECT min(received_at) FROM responses", [], |row| row.get(0))?;
    let before = oldest.map_or(before, |oldest| oldest.saturating_sub(DAY));
    Ok(dated.into_iter().filter(|(_, at)| **at < before).map(|(scope, _)| scope.clone()).collect())
}

/// Whether a scope is one of the few that are not of a single record or user: the mirror goes by them, too.
fn lasts(scope: &str) -> bool {
    !scope.starts_with("record ") && !is_of_a_token(scope)
}

/// Drops marks that have done their work. Only at the start: nothing is in memory then that they may strike.
async fn drop_dated(marks: &mut HashMap<String, Millis>, store: &Store, clock: &dyn Clock) {
    let (known, now) = (marks.clone(), clock.now());
    let dated = match store.read(move |connection| dated(connection, &known, now)).await {
        Ok(dated) if !dated.is_empty() => dated,
        Ok(_) => return,
        Err(error) => return tracing::warn!(%error, "old marks are not dropped"),
    };
    marks.retain(|scope, _| !dated.contains(scope));
    store.write("old marks", 0, move |connection| {
        let mut delete = connection.prepare_cached("DELETE FROM marks WHERE scope = ?1")?;
        dated.iter().try_for_each(|scope| delete.execute([scope]).map(drop))
    });
}

fn marks(connection: &Connection) -> rusqlite::Result<HashMap<String, Millis>> {
    let mut statement = connection.prepare("SELECT scope, at FROM marks")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests;
