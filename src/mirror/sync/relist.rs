//! Reads lists as a whole, and takes over what is different (ALYX.md 6.3, 6.4).
//!
//! A list that can be asked for by ranges of keys is read range by range, so that only a page of it is in memory, and
//! what was read is kept whatever becomes of the rest. Of the tables whose records say when they changed this happens
//! once in [`SWEEP`], some ranges in each cycle, as a change may have come without its time.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::{
    SyncError, Synchroniser,
    apply::{self, DetailUpdate},
    holes::Ranged,
    identity::RecordIdentity,
    own_write,
    source::{self, Range},
};
use crate::{
    clock::Millis,
    mirror::{
        checksum,
        database::MirrorError,
        generation::{self, TableScope},
        ingest::{self, IncomingRecord},
        quarantine::{self, Quarantine},
        refetch,
        schema::EndpointTables,
        unreadable,
    },
};

/// How often tables are read as a whole whose records say when they changed.
pub(super) const SWEEP: Millis = 86_400_000;
/// How long that takes where the table is in doubt, and it is pressing.
const HURRIED: Millis = 3_600_000;

/// The records here in a range of keys: their numbers, by identity.
type Here = HashMap<String, i64>;

impl Synchroniser {
    /// Reads a list as a whole and takes over what is different.
    pub(super) async fn relist(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
    ) -> Result<(), SyncError> {
        let (start, asked) = (self.clock().now(), self.clock().stamp());
        let doubt = self.doubt(table).await?;
        let first = self.source.first_page(table, scope).await?;
        if source::by_ranges(table) && first.count > first.records.len() as u64 {
            for range in source::split(first.count) {
                self.reread(table, scope, range).await?;
            }
            self.mirror.write(move |connection| listed(connection, table, start, doubt)).await?;
            return Ok(());
        }
        let records = self.source.all(table, scope, Some(first)).await?;
        let before = self.bodies(table).await?;
        let keys = RecordIdentity::of(
            table,
            [before.iter().map(|(_, list)| list).collect(), records.iter().collect()],
        );
        let before: HashMap<String, (i64, String)> =
            before.into_iter().map(|(n, list)| (keys.key(&list), (n, list))).collect();
        let is_new = |list: &&String| before.get(&keys.key(list)).is_none_or(|(_, known)| known != *list);
        let new = records.iter().filter(is_new).cloned().collect();
        let details: HashMap<_, _> = self.with_details(table, new).await?.into_iter().collect();
        let renumbered = self
            .mirror
            .write(move |connection| {
                let mut any = false;
                unreadable::drop_of(connection, table.endpoint.name, true)?;
                let n_of = |list: &String| before.get(&keys.key(list)).map(|(n, _)| *n);
                let records = own_write::kept(connection, table, records, asked, n_of)?;
                let here: HashSet<String> = records.iter().map(|list| keys.key(list)).collect();
                for (_, (n, _)) in before.iter().filter(|(key, _)| !here.contains(*key)) {
                    apply::remove(connection, table, *n, asked)?;
                    any = true;
                }
                for list in &records {
                    let n = n_of(list);
                    let detail = details.get(list).unwrap_or(&DetailUpdate::Stays);
                    any |= apply::put(connection, table, n, list, detail, asked)?;
                    if let (Some(n), Some(_)) = (n, doubt) {
                        apply::anew(connection, table, n)?;
                    }
                }
                let ranked = table.order.is_empty() && !source::by_ranges(table);
                let renumbered = ranked && rank(connection, table, &records)?;
                if any || renumbered {
                    generation::recount(connection, table)?;
                }
                listed(connection, table, start, doubt)?;
                Ok(renumbered)
            })
            .await?;
        if renumbered {
            self.lacking_none(table.endpoint.name);
        }
        Ok(())
    }

    /// Reads a range of a list and takes over what is different.
    pub(super) async fn reread(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        range: Range,
    ) -> Result<(), SyncError> {
        let (here, doubt) = self
            .mirror
            .read(move |connection, _| {
                Ok((here(connection, table, range)?, quarantine::of(connection, table.endpoint.name)?))
            })
            .await?;
        let asked = self.clock().stamp();
        let Ranged { records, holes } = self.source.range(table, scope, "", range).await?;
        self.leave_holes(table, holes).await?;
        let known = self.known(table, &here, &records).await?;
        let new: Vec<String> = records.iter().filter(|list| !known.contains(*list)).cloned().collect();
        let kept: HashSet<String> = records.iter().filter_map(|list| source::identity(table, list)).collect();
        let (stays, gone): (Vec<_>, Vec<_>) = here.into_iter().partition(|(id, _)| kept.contains(id));
        let changed = !new.is_empty() || !gone.is_empty();
        if !changed && doubt.is_none() {
            return Ok(());
        }
        let new = self.with_details(table, new).await?;
        self.mirror
            .write(move |connection| {
                for (_, n) in stays.iter().filter(|_| doubt.is_some()) {
                    apply::anew(connection, table, *n)?;
                }
                for (_, n) in gone {
                    apply::remove(connection, table, n, asked)?;
                }
                for (list, detail) in &new {
                    apply::put(connection, table, None, list, detail, asked)?;
                }
                // A doubt is settled with a count of its own.
                if changed {
                    Ok(generation::recount(connection, table)?)
                } else {
                    Ok(generation::bump(connection)?)
                }
            })
            .await?;
        Ok(())
    }

    /// What is doubted of a table.
    async fn doubt(&self, table: &'static EndpointTables) -> Result<Option<Quarantine>, MirrorError> {
        self.mirror.read(move |connection, _| quarantine::of(connection, table.endpoint.name)).await
    }

    /// Reads some ranges of a table that is brought up to date by change times: so many that all are read within half a
    /// [`SWEEP`], be the proxy restarted meanwhile or not; within an hour where that is pressing.
    pub(super) async fn sweep(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        rows: u64,
        pressing: bool,
    ) -> Result<(), SyncError> {
        let (endpoint, start) = (table.endpoint.name, self.clock().now());
        let (mut open, total) =
            self.mirror.write(move |connection| begin(connection, endpoint, rows, start)).await?;
        let long = if pressing { HURRIED } else { SWEEP / 2 };
        let every = self.settings.load().mirror.interval.millis().clamp(1, long);
        let cycles = usize::try_from(long / every).unwrap_or(1).max(1);
        open.truncate(total.div_ceil(cycles));
        for range in open {
            let Some(_room) = self.budget.reserve_for_now(1) else { break };
            self.reread(table, scope, range).await?;
            self.mirror
                .write(move |connection| {
                    let sql = "UPDATE range SET done = 1 WHERE endpoint = ?1 AND first = ?2";
                    connection.execute(sql, (endpoint, range.0.to_be_bytes()))?;
                    ended(connection, table)
                })
                .await?;
        }
        Ok(())
    }

    /// Whether Alyx has as many records as there are here of a table that is seldom read as a whole; where it hasn't, new
    /// ones are fetched and those that have gone are taken out. A table of a page is read as a whole, which costs no more: as
    /// many as before may be others, where one was deleted and one created.
    pub(super) async fn count(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
    ) -> Result<(), SyncError> {
        let (endpoint, start) = (table.endpoint.name, self.clock().now());
        let rows = self.mirror.states().of(endpoint).map_or(0, |state| state.rows);
        if rows <= source::PAGE as u64 {
            self.relist(table, scope).await?;
        } else {
            let count = self.source.count(table.endpoint, scope).await?;
            if source::by_ranges(table) {
                if !self.mend(table, scope, count).await? {
                    return Ok(());
                }
            } else if rows != count {
                self.relist(table, scope).await?;
            }
        }
        self.mirror
            .write(move |connection| {
                connection
                    .execute("UPDATE state SET counted_at = ?2 WHERE endpoint = ?1", (endpoint, start))?;
                Ok(generation::bump(connection)?)
            })
            .await?;
        Ok(())
    }

    /// Which of these records stand here with just this text.
    async fn known(
        &self,
        table: &'static EndpointTables,
        here: &Here,
        records: &[String],
    ) -> Result<HashSet<String>, SyncError> {
        let numbers: Vec<i64> =
            records.iter().filter_map(|list| here.get(&source::identity(table, list)?).copied()).collect();
        let read = move |connection: &Connection| {
            let sql = format!("SELECT list FROM \"{}__body\" WHERE n = ?1", table.name);
            let mut statement = connection.prepare_cached(&sql)?;
            let mut known = HashSet::new();
            for n in numbers {
                known.extend(statement.query_row([n], |row| row.get::<_, String>(0)).optional()?);
            }
            Ok(known)
        };
        Ok(self.mirror.read(move |connection, _| read(connection)).await?)
    }

    /// All records here, by number.
    async fn bodies(&self, table: &'static EndpointTables) -> Result<Vec<(i64, String)>, SyncError> {
        let read = move |connection: &Connection| {
            let mut statement =
                connection.prepare(&format!("SELECT n, list FROM \"{}__body\"", table.name))?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        Ok(self.mirror.read(move |connection, _| read(connection)).await?)
    }
}

/// The ranges of a table that are still to be read, and how many there were; begins anew where there are none.
fn begin(
    connection: &Connection,
    endpoint: &str,
    rows: u64,
    start: Millis,
) -> Result<(Vec<Range>, usize), MirrorError> {
    let sql = "SELECT first, after, done FROM range WHERE endpoint = ?1 ORDER BY first";
    let read = |row: &rusqlite::Row<'_>| {
        let after: Option<[u8; 16]> = row.get(1)?;
        let range = (u128::from_be_bytes(row.get(0)?), after.map(u128::from_be_bytes));
        Ok((range, row.get::<_, bool>(2)?))
    };
    let known: Vec<(Range, bool)> =
        connection.prepare(sql)?.query_map([endpoint], read)?.collect::<Result<_, _>>()?;
    if !known.is_empty() {
        let open = known.iter().filter(|(_, done)| !done).map(|(range, _)| *range).collect();
        return Ok((open, known.len()));
    }
    let ranges = source::split(rows);
    for (first, after) in &ranges {
        connection.execute(
            "INSERT INTO range VALUES(?1, ?2, ?3, 0)",
            (endpoint, first.to_be_bytes(), after.map(u128::to_be_bytes)),
        )?;
    }
    connection.execute("INSERT OR REPLACE INTO meta VALUES('sweep:' || ?1, ?2)", (endpoint, start))?;
    let total = ranges.len();
    Ok((ranges, total))
}

/// Notes that a table was read as a whole since its ranges were begun, if it was.
fn ended(connection: &Connection, table: &EndpointTables) -> Result<(), MirrorError> {
    let endpoint = table.endpoint.name;
    let sql = "SELECT EXISTS(SELECT 1 FROM range WHERE endpoint = ?1 AND done = 0)";
    if connection.query_row(sql, [endpoint], |row| row.get(0))? {
        return Ok(());
    }
    let sql = "SELECT value FROM meta WHERE key = 'sweep:' || ?1";
    let begun: Option<Millis> = connection.query_row(sql, [endpoint], |row| row.get(0)).optional()?;
    connection.execute("DELETE FROM range WHERE endpoint = ?1", [endpoint])?;
    connection.execute("DELETE FROM meta WHERE key = 'sweep:' || ?1", [endpoint])?;
    // A doubt that came while it was read makes it begin anew.
    let Some(begun) = begun else { return Ok(()) };
    connection.execute("UPDATE state SET listed_at = ?2 WHERE endpoint = ?1", (endpoint, begun))?;
    if !super::catch_up::follows_changes(table) {
        super::incremental::synced(connection, table, begun)?;
    }
    match quarantine::of(connection, endpoint)? {
        Some(doubt) => Ok(quarantine::close(connection, table, doubt)?),
        None => Ok(()),
    }
}

/// Holds for the records of a range of keys.
pub(super) const RANGE: &str = "id >= ?1 AND (?2 IS NULL OR id < ?2)";

fn here(connection: &Connection, table: &EndpointTables, (first, after): Range) -> rusqlite::Result<Here> {
    let sql = format!("SELECT id, n FROM \"{}\" WHERE {RANGE}", table.name);
    let mut statement = connection.prepare_cached(&sql)?;
    let bounds = (first.to_be_bytes(), after.map(u128::to_be_bytes));
    let read = |row: &rusqlite::Row<'_>| Ok((uuid::Uuid::from_bytes(row.get(0)?).to_string(), row.get(1)?));
    statement.query_map(bounds, read)?.collect()
}

/// Gives records the numbers of their places in the list, where nothing in them says how it is ordered; what is due
/// follows them.
fn rank(connection: &Connection, table: &EndpointTables, records: &[String]) -> Result<bool, MirrorError> {
    let mut bodies = Vec::new();
    {
        let sql = format!("SELECT {} FROM \"{}__body\" ORDER BY n", checksum::TEXTS, table.name);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            bodies.push(checksum::texts(row)?);
        }
    }
    if bodies.iter().map(|(_, list, _)| list).eq(records) {
        return Ok(false);
    }
    let details: HashMap<&String, Option<&str>> =
        bodies.iter().map(|(_, list, detail)| (list, detail.as_deref())).collect();
    for (n, _, _) in &bodies {
        ingest::remove(connection, table, "", *n)?;
    }
    for (n, list) in (1..).zip(records) {
        ingest::put(
            connection,
            table,
            "",
            n,
            IncomingRecord { list, detail: details.get(list).copied().flatten() },
        )?;
    }
    let before: HashMap<i64, &String> = bodies.iter().map(|(n, list, _)| (*n, list)).collect();
    let after: HashMap<&String, i64> = records.iter().zip(1..).collect();
    refetch::renumber(connection, table.endpoint.name, |n| after.get(before.get(&n)?).copied())?;
    Ok(true)
}

/// Notes that a table was read as a whole, and is as Alyx had it at that time.
fn listed(
    connection: &Connection,
    table: &EndpointTables,
    start: Millis,
    doubt: Option<Quarantine>,
) -> Result<(), MirrorError> {
    connection
        .execute("UPDATE state SET listed_at = ?2 WHERE endpoint = ?1", (table.endpoint.name, start))?;
    if let Some(doubt) = doubt {
        quarantine::close(connection, table, doubt)?;
    }
    super::incremental::synced(connection, table, start)
}
