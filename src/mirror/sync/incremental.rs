//! What has changed since the last time, asked for by change time where records say when they changed (ALYX.md 6.1 to
//! 6.3).
//!
//! Alyx leaves no trace of a deletion. So its count is compared with the count here, and where they differ
//! the ranges of keys that differ are listed.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    SyncError, Synchroniser,
    apply::{self, DetailUpdate},
    budget::Purpose,
    cursor::{self, Cursor, Latest},
    holes::Ranged,
    source,
};
use crate::{
    alyx::change_tracking::Changes,
    clock::Millis,
    mirror::{
        database::MirrorError,
        generation::{self, TableScope},
        schema::{EndpointTables, Schema},
        state::States,
    },
};

/// Changed records that are kept at once: what a run has fetched is kept, whatever becomes of the rest.
const BATCH: usize = 200;

impl Synchroniser {
    /// Asks for what has changed in a table whose records say when they did; where `counts`, also whether some have gone: only
    /// then the table is as of now.
    pub(super) async fn increment(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        counts: bool,
    ) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let (start, asked) = (self.clock().now(), self.clock().stamp());
        let Some(path) = Changes::of(endpoint).path() else { return Ok(()) };
        let zone = self.settings.load().mirror.time_zone.clone();
        let now = cursor::now_in(&zone, start);
        let (cursor, before) = self.cursor(table, now).await?;
        let from = cursor.from(before, now, start);
        let pairs = format!(
            "{path}__gt,{},{path}__lte,{}",
            cursor::text(from - cursor::repeated(&zone, start)),
            cursor::text(cursor::surely_after(start))
        );
        let parameters = source::with_django(scope, &pairs);
        let first = self.source.first_page(table, &parameters).await?;
        let mut changed = first.records;
        if first.count > changed.len() as u64 {
            changed.clear();
            for range in source::split(first.count) {
                let Ranged { records, holes } = self.source.range(table, scope, &pairs, range).await?;
                changed.extend(records);
                self.leave_holes(table, holes).await?;
            }
        }
        for batch in changed.chunks(BATCH) {
            let changed = self.with_details(table, batch.to_vec()).await?;
            self.mirror
                .write(move |connection| {
                    let mut any = false;
                    for (list, detail) in &changed {
                        any |= apply::put(connection, table, None, list, detail, asked)?;
                    }
                    if any { Ok(generation::recount(connection, table)?) } else { Ok(()) }
                })
                .await?;
        }
        // Not as of now before all that has gone is known.
        let counts = counts && self.compare_count(table, scope).await?;
        self.mirror
            .write(move |connection| {
                if let Some(moved) = cursor.moved(from, latest(connection, table, now)?.or(before), start) {
                    let set = "UPDATE state SET low = ?2, seen = ?3, seen_at = ?4 WHERE endpoint = ?1";
                    connection.execute(set, (endpoint, moved.low, moved.seen, moved.seen_at))?;
                }
                if counts { synced(connection, table, start) } else { Ok(()) }
            })
            .await?;
        Ok(())
    }

    /// How far the changes of a table have been followed, and the newest that was seen of it before `now`.
    async fn cursor(&self, table: &'static EndpointTables, now: i64) -> Result<(Cursor, Latest), SyncError> {
        let look = move |connection: &Connection, _: &Arc<States>| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Cursor { low: row.get(0)?, seen: row.get(1)?, seen_at: row.get(2)? })
            };
            let sql = "SELECT low, seen, seen_at FROM state WHERE endpoint = ?1";
            Ok((connection.query_row(sql, [table.endpoint.name], read)?, latest(connection, table, now)?))
        };
        Ok(self.mirror.read(look).await?)
    }

    /// Records with their details, where details are kept.
    pub(super) async fn with_details(
        &self,
        table: &'static EndpointTables,
        records: Vec<String>,
    ) -> Result<Vec<(String, DetailUpdate)>, SyncError> {
        if !self.settings.load().mirror.keeps_details(table.endpoint) {
            return Ok(records.into_iter().map(|list| (list, DetailUpdate::Stays)).collect());
        }
        // The details of what may not be asked now are those that are missing: a question that lacks one has it fetched. A
        // question that waits for its table seldom reads those of what has just changed.
        let room = match Purpose::current() {
            Purpose::Question => None,
            _ => self.budget.reserve_for_now(records.len() as u64),
        };
        let allowed = room.as_ref().map_or(0, |room| usize::try_from(room.requests).unwrap_or(usize::MAX));
        let mut wanted: Vec<_> = (0..).zip(records).collect();
        let later = wanted.split_off(allowed.min(wanted.len()));
        let details = self.fetch_details(table, wanted).await?;
        let later = later.into_iter().map(|(_, list)| (list, DetailUpdate::Lost));
        Ok(details.into_iter().map(|(_, list, detail)| (list, detail)).chain(later).collect())
    }
}

/// The latest change that the records of a table show, or those that note its changes; none that is later than now.
fn latest(connection: &Connection, table: &EndpointTables, now: i64) -> rusqlite::Result<Latest> {
    let noting = match Changes::of(table.endpoint.name) {
        Changes::With { endpoint, .. } => endpoint,
        _ => table.endpoint.name,
    };
    let (Some(noting), Changes::At(path)) = (Schema::get().table(noting), Changes::of(noting)) else {
        return Ok(Latest::Unknown);
    };
    let Some(column) = noting.column(path) else { return Ok(Latest::Unknown) };
    if generation::state(connection, noting.endpoint.name)?.is_none() {
        return Ok(Latest::Unknown);
    }
    let sql = format!("SELECT max(\"{path}\") FROM \"{}\" WHERE \"{path}\" <= ?1", noting.name);
    let time: Option<i64> = connection.query_row(&sql, [now], |row| row.get(0))?;
    Ok(match time {
        None => Latest::Unknown,
        Some(time) if column.detail => Latest::OfSome(time),
        Some(time) => Latest::OfAll(time),
    })
}

/// Notes that a table is as Alyx had it at that time.
pub(super) fn synced(
    connection: &Connection,
    table: &EndpointTables,
    start: Millis,
) -> Result<(), MirrorError> {
    connection
        .execute("UPDATE state SET synced_at = ?2 WHERE endpoint = ?1", (table.endpoint.name, start))?;
    Ok(generation::bump(connection)?)
}
