//! The first fill of a table, by disjoint ranges of the primary key where Alyx can be asked so (ALYX.md 6.4):
//! no record is lost or doubled while Alyx changes. What is here of a generation is committed range by range,
//! so a fill that is killed goes on where it was.

use rusqlite::OptionalExtension;

use super::{
    SyncError, Synchroniser,
    apply::{self, DetailUpdate},
    budget::Purpose,
    cursor,
    cycle::Slice,
    holes::{self, Ranged},
    source::{self, ListPage, Range},
};
use crate::{
    alyx::change_tracking::Changes,
    clock,
    mirror::{
        database::MirrorError,
        generation::{self, NEXT, TableScope},
        ingest::{self, EncodedRecord, IncomingRecord, RecordWriter},
        schema::EndpointTables,
        unreadable,
    },
};

impl Synchroniser {
    /// Fills the next generation of a table and publishes it.
    pub(super) async fn fill(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
    ) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let begun = self.mirror.read(move |connection, _| generation::filling(connection, endpoint)).await?;
        if begun.as_ref().is_none_or(|begun| begun.scope != *scope) {
            let (now, low) = (self.clock().now(), cursor::surely_before(self.clock().now()));
            let first = self.source.first_page(table, scope).await?;
            let fits = first.count <= first.records.len() as u64 || !source::by_ranges(table);
            self.progress.fill_begin(endpoint, 0, first.count);
            if fits {
                return self.fill_at_once(table, scope, first, now, low).await;
            }
            let (scope, total) = (scope.clone(), first.count.cast_signed());
            let ranges = source::split(first.count);
            self.mirror
                .write(move |connection| {
                    generation::begin(connection, table, now, &scope, low, total)?;
                    for (first, after) in ranges {
                        connection.execute(
                            "INSERT INTO range VALUES(?1, ?2, ?3, 0)",
                            (endpoint, first.to_be_bytes(), after.map(u128::to_be_bytes)),
                        )?;
                    }
                    Ok(())
                })
                .await?;
        }
        self.fill_ranges(table, scope).await?;
        self.mirror.write(move |connection| Ok(generation::publish(connection, table)?)).await?;
        Ok(())
    }

    async fn fill_at_once(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        first: ListPage,
        now: clock::Millis,
        low: i64,
    ) -> Result<(), SyncError> {
        let records = self.source.all(table, scope, Some(first)).await?;
        self.progress.rows(table.endpoint.name, records.len() as u64, records.len() as u64);
        let scope = scope.clone();
        self.mirror
            .write(move |connection| {
                generation::begin(connection, table, now, &scope, low, 0)?;
                add(connection, table, 1, &records)?;
                Ok(generation::publish(connection, table)?)
            })
            .await?;
        Ok(())
    }

    async fn fill_ranges(&self, table: &'static EndpointTables, scope: &TableScope) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let (open, rows, total) = self
            .mirror
            .read(move |connection, _| {
                let mut open = connection.prepare(
                    "SELECT first, after FROM range WHERE endpoint = ?1 AND done = 0 ORDER BY first",
                )?;
                let open: Vec<Range> = open
                    .query_map([endpoint], |row| {
                        let after: Option<[u8; 16]> = row.get(1)?;
                        Ok((u128::from_be_bytes(row.get(0)?), after.map(u128::from_be_bytes)))
                    })?
                    .collect::<Result<_, _>>()?;
                let sql = format!("SELECT count(*) FROM \"{NEXT}{}\"", table.name);
                let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
                let filling = generation::filling(connection, endpoint)?;
                Ok((open, rows.unsigned_abs(), filling.map_or(0, |filling| filling.total.unsigned_abs())))
            })
            .await?;
        let mut rows = rows;
        self.progress.fill_begin(endpoint, rows, total.max(rows));
        for range in open {
            let Ranged { records, holes } = self.source.range(table, scope, "", range).await?;
            rows += records.len() as u64;
            self.mirror
                .write(move |connection| {
                    holes::note(connection, table, &holes, false)?;
                    keep(connection, table, range, &records)
                })
                .await?;
            self.progress.rows(endpoint, rows, total.max(rows));
        }
        Ok(())
    }

    /// Fetches the details that are not here yet, the newest records' first, and puts each batch in its place; whether that
    /// was all of them, and not only as many as there was time for.
    pub(super) async fn fill_details(
        &self,
        table: &'static EndpointTables,
        forced: bool,
        slice: Slice,
    ) -> Result<bool, SyncError> {
        let endpoint = table.endpoint.name;
        let resting = self.resting(table, forced).await?;
        let (missing, rows) = self
            .mirror
            .read(move |connection, states| {
                let rows = states.of(endpoint).map_or(0, |state| state.rows);
                Ok((missing_details(connection, table)?, rows))
            })
            .await?;
        self.progress.details_begin(endpoint, missing.len() as u64, rows);
        for batch in missing.chunks(BATCH) {
            if self.is_over(slice) {
                return Ok(false);
            }
            let wanted = batch.len() as u64;
            let Some(_room) = self.budget.reserve(Purpose::current(), wanted) else { break };
            let numbers = batch.to_vec();
            let wanted =
                self.mirror.read(move |connection, _| still_missing(connection, table, &numbers)).await?;
            let asked = self.clock().stamp();
            let mut wanted = self.not_lacking(endpoint, wanted);
            wanted.retain(|(_, list)| !resting.contains(&unreadable::name_of(table.endpoint, list)));
            if !wanted.is_empty() {
                let details = self.fetch_details(table, wanted).await?;
                let none = details.iter().filter(|(_, _, detail)| *detail == DetailUpdate::Lost);
                self.lack(endpoint, none.map(|(n, _, _)| *n));
                self.mirror
                    .write(move |connection| {
                        for (n, list, detail) in
                            details.iter().filter(|(_, _, detail)| *detail != DetailUpdate::Lost)
                        {
                            apply::detail(connection, table, *n, list, detail, asked)?;
                        }
                        Ok(generation::recount(connection, table)?)
                    })
                    .await?;
            }
            self.progress.details(endpoint, batch.len() as u64);
        }
        Ok(true)
    }
}

impl Synchroniser {
    /// Whether all details of a table have been here once.
    pub(super) async fn had_details(&self, table: &'static EndpointTables) -> Result<bool, MirrorError> {
        let sql = "SELECT EXISTS(SELECT 1 FROM meta WHERE key = 'detailed:' || ?1)";
        let endpoint = table.endpoint.name;
        self.mirror.read(move |connection, _| connection.query_row(sql, [endpoint], |row| row.get(0))).await
    }

    /// Notes whether they have.
    pub(super) async fn note_details(
        &self,
        table: &'static EndpointTables,
        here: bool,
    ) -> Result<(), MirrorError> {
        let endpoint = table.endpoint.name;
        if self.had_details(table).await? == here {
            return Ok(());
        }
        let sql = if here {
            "INSERT INTO meta VALUES('detailed:' || ?1, 1)"
        } else {
            "DELETE FROM meta WHERE key = 'detailed:' || ?1"
        };
        self.mirror.write(move |connection| Ok(connection.execute(sql, [endpoint]).map(drop)?)).await
    }

    /// Takes out the details of a table of which none are kept any more: nobody would bring them up to date.
    pub(super) async fn forget_details(&self, table: &'static EndpointTables) -> Result<(), SyncError> {
        const BATCH: i64 = 500;
        loop {
            let more = self
                .mirror
                .write(move |connection| {
                    let sql = format!(
                        "SELECT n, list FROM \"{}__body\" WHERE detail IS NOT NULL ORDER BY n LIMIT ?1",
                        table.name
                    );
                    let mut statement = connection.prepare(&sql)?;
                    let some: Vec<(i64, String)> = statement
                        .query_map([BATCH], |row| Ok((row.get(0)?, row.get(1)?)))?
                        .collect::<Result<_, _>>()?;
                    for (n, list) in &some {
                        ingest::put(connection, table, "", *n, IncomingRecord { list, detail: None })?;
                    }
                    if !some.is_empty() {
                        generation::recount(connection, table)?;
                    }
                    Ok(!some.is_empty())
                })
                .await?;
            if !more {
                return Ok(());
            }
        }
    }
}

/// Keeps the records of a range, and that it is done.
fn keep(
    connection: &rusqlite::Connection,
    table: &EndpointTables,
    (first, _): Range,
    records: &[String],
) -> Result<(), MirrorError> {
    let sql = format!("SELECT coalesce(max(n), 0) FROM \"{NEXT}{}\"", table.name);
    let last: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
    add(connection, table, last + 1, records)?;
    connection.execute(
        "UPDATE range SET done = 1 WHERE endpoint = ?1 AND first = ?2",
        (table.endpoint.name, first.to_be_bytes()),
    )?;
    Ok(())
}

/// Adds records under numbers from `first` on, under which none stands.
fn add(
    connection: &rusqlite::Connection,
    table: &EndpointTables,
    first: i64,
    records: &[String],
) -> Result<(), MirrorError> {
    let mut adder = RecordWriter::new(connection, table, NEXT)?;
    let (mut unfit, most) = (0, (records.len() / 10).max(3));
    let before = unreadable::all(connection, table.endpoint.name)?;
    for (n, list) in (first..).zip(records) {
        let record = IncomingRecord { list, detail: None };
        match EncodedRecord::of(table, record) {
            Ok(rows) => adder.add(n, record, &rows)?,
            Err(error) if unfit < most => {
                apply::leave_out(connection, table, list, error)?;
                unfit += 1;
                continue;
            }
            // It is not some records that are wrong.
            Err(error) => return Err(error.into()),
        }
        if !before.is_empty() {
            unreadable::clear(connection, table.endpoint.name, &unreadable::name_of(table.endpoint, list))?;
        }
    }
    Ok(())
}

/// Details that are fetched before they are put into their places.
const BATCH: usize = 40;

/// The numbers of the records whose details are not here, the newest first.
fn missing_details(connection: &rusqlite::Connection, table: &EndpointTables) -> rusqlite::Result<Vec<i64>> {
    let order = newest(table).map_or_else(String::new, |column| format!("t.\"{column}\" DESC, "));
    let sql = format!(
        "SELECT b.n FROM \"{0}__body\" b JOIN \"{0}\" t ON t.n = b.n WHERE b.detail IS NULL ORDER BY {order}b.n",
        table.name
    );
    connection.prepare(&sql)?.query_map([], |row| row.get(0))?.collect()
}

/// The column that tells which records are the newest, as far as the list does.
fn newest(table: &EndpointTables) -> Option<&str> {
    let changed = Changes::of(table.endpoint.name).path().and_then(|path| table.column(path));
    let ordered = table.order.first().filter(|(order, _)| order.descending).map(|(_, column)| column);
    changed.filter(|column| !column.detail).or(ordered).map(|column| column.name.as_str())
}

/// Those of these records whose details are not here yet, with their texts.
fn still_missing(
    connection: &rusqlite::Connection,
    table: &EndpointTables,
    numbers: &[i64],
) -> rusqlite::Result<Vec<(i64, String)>> {
    let sql = format!("SELECT list FROM \"{}__body\" WHERE n = ?1 AND detail IS NULL", table.name);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::with_capacity(numbers.len());
    for n in numbers {
        found.extend(statement.query_row([n], |row| row.get(0)).optional()?.map(|list| (*n, list)));
    }
    Ok(found)
}
