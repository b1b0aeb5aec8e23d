//! What has changed since the last time: asked for by change time where records say when they changed,
//! found by comparing whole lists where they don't (REST.md 6.1 to 6.3).
//!
//! Alyx leaves no trace of a deletion. So its count is compared with the count here, and where they differ
//! the ranges of keys that differ are listed.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::Connection;

use super::{
    SyncError, Synchroniser, apply,
    ask::{self, Range},
    cursor,
};
use crate::{
    alyx::changes::Changes,
    clock::{self, Millis},
    mirror::{
        database::MirrorError,
        generation::{self, Scope},
        load::{self, Record},
        shape::Table,
        sum,
    },
};

/// Records that are fetched again one by one, at the most; if it were more, the list is read as a whole.
const MANY: usize = 1000;
/// Records that are asked for by their ids at once: their URL stays within 4 KiB.
const IDS: usize = 50;

struct Cursor {
    low: i64,
    seen: i64,
    seen_at: Millis,
}

impl Synchroniser {
    /// Asks for what has changed in a table whose records say when they did.
    pub(super) async fn increment(&self, table: &'static Table, scope: &Scope) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let start = clock::now();
        let Some(path) = Changes::of(endpoint).path() else { return Ok(()) };
        let (cursor, source) = self
            .mirror
            .read(move |connection, _| {
                let read = |endpoint: &str| {
                    connection.query_row(
                        "SELECT low, seen, seen_at FROM state WHERE endpoint = ?1",
                        [endpoint],
                        |row| Ok(Cursor { low: row.get(0)?, seen: row.get(1)?, seen_at: row.get(2)? }),
                    )
                };
                let source = match Changes::of(endpoint) {
                    Changes::With { endpoint, .. } => read(endpoint).ok().map(|source| source.low),
                    _ => None,
                };
                Ok((read(endpoint)?, source))
            })
            .await?;
        let now = cursor::now_in(&self.settings.load().mirror.time_zone, start);
        let from = cursor::text(cursor.low.min(now));
        let pairs = format!("{path}__gt,{from},{path}__lte,{}", cursor::text(cursor::surely_after(start)));
        let parameters = ask::with_django(scope, &pairs);
        let first = self.source.page(table.endpoint, &parameters, ask::PAGE, 0).await?;
        let mut changed = first.records;
        if first.count > changed.len() as u64 {
            changed.clear();
            for range in ask::split(first.count) {
                changed.extend(self.source.range(table, scope, &pairs, range).await?);
            }
        }
        let changed = self.with_details(table, changed).await?;
        self.mirror
            .write(move |connection| {
                let mut any = false;
                for (list, detail) in &changed {
                    let n = ask::identity(table, list)
                        .map_or(Ok(None), |id| apply::number(connection, table, &id))?;
                    any |= apply::put(connection, table, n, list, detail.as_deref())?;
                }
                if any { Ok(generation::recount(connection, table)?) } else { Ok(()) }
            })
            .await?;
        let count = self.source.count(table.endpoint, scope).await?;
        self.mend(table, scope, count).await?;
        let own = Changes::of(endpoint) == Changes::At(path) && table.column(path).is_some();
        self.mirror
            .write(move |connection| {
                let latest: Option<i64> = if own {
                    let sql =
                        format!("SELECT max(\"{path}\") FROM \"{}\" WHERE \"{path}\" <= ?1", table.name);
                    connection.query_row(&sql, [now], |row| row.get(0))?
                } else {
                    source
                };
                let latest = latest.unwrap_or(i64::MIN).max(cursor::surely_before(start));
                let overlap = Millis::try_from(cursor::OVERLAP.as_millis()).unwrap_or(Millis::MAX);
                if cursor.seen_at + overlap <= start {
                    let set = "UPDATE state SET low = ?2, seen = ?3, seen_at = ?4 WHERE endpoint = ?1";
                    connection.execute(set, (endpoint, cursor.seen.max(cursor.low), latest, start))?;
                }
                synced(connection, table, start)
            })
            .await?;
        Ok(())
    }

    /// Reads a list as a whole and takes over what is different.
    pub(super) async fn relist(&self, table: &'static Table, scope: &Scope) -> Result<(), SyncError> {
        let start = clock::now();
        let first = self.source.page(table.endpoint, scope, ask::PAGE, 0).await?;
        let plain = !ask::by_ranges(table) || first.count <= first.records.len() as u64;
        let records = if plain {
            self.source.all(table, scope, Some(first)).await?
        } else {
            let mut records = Vec::new();
            for range in ask::split(first.count) {
                records.extend(self.source.range(table, scope, "", range).await?);
            }
            records
        };
        let ranked = table.order.is_empty() && !ask::by_ranges(table);
        let before = self.keyed(table).await?;
        let new: Vec<String> = records
            .iter()
            .filter(|list| before.get(&key(table, list)).is_none_or(|(_, known)| known != *list))
            .cloned()
            .collect();
        let details: HashMap<String, String> = self
            .with_details(table, new)
            .await?
            .into_iter()
            .filter_map(|(list, detail)| Some((list, detail?)))
            .collect();
        self.mirror
            .write(move |connection| {
                let mut any = false;
                let here: HashSet<String> = records.iter().map(|list| key(table, list)).collect();
                for (_, (n, _)) in before.iter().filter(|(key, _)| !here.contains(*key)) {
                    apply::remove(connection, table, *n)?;
                    any = true;
                }
                for list in &records {
                    let n = before.get(&key(table, list)).map(|(n, _)| *n);
                    let detail = details.get(list).map(String::as_str);
                    any |= apply::put(connection, table, n, list, detail)?;
                }
                if ranked {
                    any |= rank(connection, table, &records)?;
                }
                if any {
                    generation::recount(connection, table)?;
                }
                connection.execute(
                    "UPDATE state SET listed_at = ?2 WHERE endpoint = ?1",
                    (table.endpoint.name, start),
                )?;
                synced(connection, table, start)
            })
            .await?;
        Ok(())
    }

    /// Fetches again what is due because other records have changed.
    pub(super) async fn renew(&self, table: &'static Table, scope: &Scope) -> Result<bool, SyncError> {
        let endpoint = table.endpoint.name;
        let due: Vec<(i64, bool, String)> = self
            .mirror
            .read(move |connection, states| {
                // A table that could not be filled has nothing that could be out of date.
                if states.of(endpoint).is_none() {
                    return Ok(Vec::new());
                }
                let sql = format!(
                    "SELECT d.n, d.list, b.list FROM due d JOIN \"{}__body\" b ON b.n = d.n WHERE d.endpoint = ?1",
                    table.name
                );
                let mut statement = connection.prepare(&sql)?;
                statement
                    .query_map([endpoint], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })
            .await?;
        if due.is_empty() {
            return Ok(false);
        }
        let lists: Vec<&String> = due.iter().filter(|(_, list, _)| *list).map(|(_, _, text)| text).collect();
        if lists.len() > MANY || (!lists.is_empty() && !ask::by_ranges(table)) {
            self.relist(table, scope).await?;
        } else {
            let mut fresh = Vec::new();
            for ids in lists.chunks(IDS) {
                let ids: Vec<String> = ids
                    .iter()
                    .filter_map(|text| ask::identity(table, text))
                    .map(|id| format!("'{id}'"))
                    .collect();
                let pairs = format!("id__in,[{}]", ids.join(","));
                let parameters = ask::with_django(scope, &pairs);
                fresh.extend(self.source.page(table.endpoint, &parameters, ask::PAGE, 0).await?.records);
            }
            self.mirror
                .write(move |connection| {
                    for list in &fresh {
                        let n = ask::identity(table, list)
                            .map_or(Ok(None), |id| apply::number(connection, table, &id))?;
                        apply::put(connection, table, n, list, None)?;
                    }
                    Ok(generation::recount(connection, table)?)
                })
                .await?;
        }
        let wanted: Vec<(i64, String)> = due.iter().map(|(n, _, list)| (*n, list.clone())).collect();
        let details = if self.settings.load().mirror.keeps_details(table.endpoint) {
            self.source.details(table, wanted).await?
        } else {
            Vec::new()
        };
        self.mirror
            .write(move |connection| {
                for (n, detail) in details {
                    apply::detail(connection, table, n, detail.as_deref())?;
                }
                for (n, _, _) in due {
                    connection.execute("DELETE FROM due WHERE endpoint = ?1 AND n = ?2", (endpoint, n))?;
                }
                Ok(generation::recount(connection, table)?)
            })
            .await?;
        Ok(true)
    }

    /// Finds the ranges of keys in which Alyx has another number of records than there are here.
    async fn mend(&self, table: &'static Table, scope: &Scope, count: u64) -> Result<(), SyncError> {
        let mut open: Vec<(Range, u64)> = vec![((0, None), count)];
        while let Some((range, count)) = open.pop() {
            let here = self.here(table, range).await?;
            if here.len() as u64 == count {
                continue;
            }
            if count <= ask::PAGE as u64 {
                let records = self.source.range(table, scope, "", range).await?;
                let kept: HashSet<String> =
                    records.iter().filter_map(|list| ask::identity(table, list)).collect();
                let gone: Vec<i64> =
                    here.iter().filter(|(id, _)| !kept.contains(*id)).map(|(_, n)| *n).collect();
                let new: Vec<String> = records
                    .into_iter()
                    .filter(|list| ask::identity(table, list).is_some_and(|id| !here.contains_key(&id)))
                    .collect();
                let new = self.with_details(table, new).await?;
                self.mirror
                    .write(move |connection| {
                        for n in gone {
                            apply::remove(connection, table, n)?;
                        }
                        for (list, detail) in &new {
                            apply::put(connection, table, None, list, detail.as_deref())?;
                        }
                        Ok(generation::recount(connection, table)?)
                    })
                    .await?;
                continue;
            }
            let middle = range.0 + (range.1.unwrap_or(u128::MAX) - range.0) / 2;
            let (left, right) = ((range.0, Some(middle)), (middle, range.1));
            let parameters = ask::with_django(scope, &ask::within("", left));
            let of_left = self.source.count(table.endpoint, &parameters).await?;
            open.extend([(left, of_left), (right, count.saturating_sub(of_left))]);
        }
        Ok(())
    }

    /// The records here in a range of keys, by their identity.
    async fn here(
        &self,
        table: &'static Table,
        (first, after): Range,
    ) -> Result<BTreeMap<String, i64>, SyncError> {
        let read = move |connection: &Connection| {
            let sql =
                format!("SELECT id, n FROM \"{}\" WHERE id >= ?1 AND (?2 IS NULL OR id < ?2)", table.name);
            let mut statement = connection.prepare(&sql)?;
            let bounds = (first.to_be_bytes(), after.map(u128::to_be_bytes));
            let rows = statement.query_map(bounds, |row| {
                Ok((uuid::Uuid::from_bytes(row.get(0)?).to_string(), row.get(1)?))
            })?;
            rows.collect()
        };
        Ok(self.mirror.read(move |connection, _| read(connection)).await?)
    }

    /// The records here, by what tells them apart.
    async fn keyed(&self, table: &'static Table) -> Result<HashMap<String, (i64, String)>, SyncError> {
        let read = move |connection: &Connection| {
            let sql = format!("SELECT n, list FROM \"{}__body\"", table.name);
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map([], |row| {
                let (n, list): (i64, String) = (row.get(0)?, row.get(1)?);
                Ok((key(table, &list), (n, list)))
            })?;
            rows.collect()
        };
        Ok(self.mirror.read(move |connection, _| read(connection)).await?)
    }

    /// Records with their details, where details are kept; none where Alyx has none to give.
    pub(super) async fn with_details(
        &self,
        table: &'static Table,
        records: Vec<String>,
    ) -> Result<Vec<(String, Option<String>)>, SyncError> {
        if !self.settings.load().mirror.keeps_details(table.endpoint) {
            return Ok(records.into_iter().map(|list| (list, None)).collect());
        }
        let wanted = (0..).zip(records.iter().cloned()).collect();
        let details = self.source.details(table, wanted).await?;
        Ok(records.into_iter().zip(details).map(|(list, (_, detail))| (list, detail)).collect())
    }
}

/// What tells a record apart: its id or, where it shows none, all of it.
fn key(table: &Table, list: &str) -> String {
    ask::identity(table, list).unwrap_or_else(|| list.to_owned())
}

/// Gives records the numbers of their places in the list, where nothing in them says how it is ordered.
fn rank(connection: &Connection, table: &Table, records: &[String]) -> Result<bool, MirrorError> {
    let mut bodies = Vec::new();
    {
        let sql = format!("SELECT {} FROM \"{}__body\" ORDER BY n", sum::TEXTS, table.name);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            bodies.push(sum::texts(row)?);
        }
    }
    if bodies.iter().map(|(_, list, _)| list).eq(records) {
        return Ok(false);
    }
    let details: HashMap<&String, Option<&str>> =
        bodies.iter().map(|(_, list, detail)| (list, detail.as_deref())).collect();
    for (n, _, _) in &bodies {
        load::remove(connection, table, "", *n)?;
    }
    for (n, list) in (1..).zip(records) {
        load::put(connection, table, "", n, Record { list, detail: details.get(list).copied().flatten() })?;
    }
    Ok(true)
}

/// Notes that a table is as Alyx had it at that time; what was distrusted is trusted again.
fn synced(connection: &Connection, table: &Table, start: Millis) -> Result<(), MirrorError> {
    connection.execute(
        "UPDATE state SET synced_at = ?2, distrusted = '[]' WHERE endpoint = ?1",
        (table.endpoint.name, start),
    )?;
    Ok(generation::bump(connection)?)
}
