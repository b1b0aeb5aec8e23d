//! Tables as they travel in a snapshot: their state and their records as Alyx sent them.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::{
    Mirror, MirrorError, checksum, connection_clock,
    corruption::Damage,
    file,
    generation::{self, NEXT},
    ingest::{self, EncodedRecord, IncomingRecord, LoadError, RecordWriter},
    plan::{self, PlanError},
    quarantine,
    schema::{EndpointTables, Schema},
    state::States,
};
use crate::{
    alyx::{Endpoint, filterset::QueryError, query_string::Pairs},
    clock::{self, Millis},
    store::{
        budget::{self, Ticket},
        is_damage,
    },
};

/// What is known of a table: all that its synchronisation needs to go on from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// When the synchronisation began that last covered all of it.
    pub synced_at: Millis,
    /// When it was last listed as a whole.
    pub listed_at: Millis,
    /// Up to when changes are surely known, by the server's clock, in microseconds.
    pub low: i64,
    /// The latest change that was seen, and
    pub seen: i64,
    /// when that was.
    pub seen_at: Millis,
    /// The parameters that all its records fulfil.
    pub scope: Vec<(String, String)>,
    /// Parameters whose answers differed from Alyx's.
    pub distrusted: Vec<String>,
    /// Records to be fetched again, by number, and whether in the list too.
    pub due: Vec<(i64, bool)>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedRecord {
    /// Its number in the table.
    pub n: i64,
    /// The record of the list, as Alyx sent it.
    pub list: String,
    /// The detail, where it is another and was fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One state of all tables, read by a connection of its own for as long as it takes.
#[derive(Debug)]
pub struct ReadSnapshot {
    connection: Connection,
    /// Where damage is told that is met, if the mirror is in use here.
    damage: Option<Arc<Damage>>,
    /// What the tables are in it.
    pub states: Arc<States>,
}

impl Mirror {
    /// One state of all tables, however they change meanwhile.
    pub async fn frozen(&self) -> Result<ReadSnapshot, MirrorError> {
        // A turn of the writer: what was submitted so far is in it.
        self.write(|_| Ok(())).await?;
        let connection = self.connection()?;
        connection.execute_batch("BEGIN")?;
        let states = Arc::new(generation::states(&connection)?);
        Ok(ReadSnapshot { connection, damage: Some(self.damage().clone()), states })
    }

    /// The tables are all that there is: what is not in them is nowhere. So it is where a snapshot is served alone.
    pub async fn be_the_whole_world(&self) -> Result<(), MirrorError> {
        self.write(|connection| {
            connection.execute("UPDATE state SET scope = '[]' WHERE scope <> '[]'", [])?;
            Ok(generation::bump(connection)?)
        })
        .await
    }

    /// Puts a table that came with a snapshot in the place of the one that is here, in one transaction: the records
    /// are received while it lasts. An error that is received undoes it.
    pub async fn import(
        &self,
        table: &'static EndpointTables,
        head: Head,
        records: Receiver<Result<Vec<ExportedRecord>, MirrorError>>,
    ) -> Result<(), MirrorError> {
        self.write(move |connection| {
            generation::begin(connection, table, head.synced_at, &head.scope, head.low, 0)?;
            add_all(connection, table, records)?;
            generation::publish_carried(connection, table)?;
            let endpoint = table.endpoint.name;
            connection.execute(
                "UPDATE state SET listed_at = ?2, seen = ?3, seen_at = ?4, distrusted = ?5 WHERE endpoint = ?1",
                (endpoint, head.listed_at, head.seen, head.seen_at, generation::json(&head.distrusted)),
            )?;
            let mut due = connection.prepare("INSERT OR IGNORE INTO due VALUES(?1, ?2, ?3, ?4, ?5)")?;
            for (n, list) in head.due {
                due.execute((endpoint, n, list, head.synced_at, connection_clock::stamp(connection)?))?;
            }
            Ok(quarantine::note_distrusted(connection)?)
        })
        .await
    }
}

/// Adds records to the generation that is being filled: a thread reads them while this one puts them there.
fn add_all(
    connection: &Connection,
    table: &EndpointTables,
    records: Receiver<Result<Vec<ExportedRecord>, MirrorError>>,
) -> Result<(), MirrorError> {
    let read = |carried: ExportedRecord| {
        let rows = EncodedRecord::of(table, carried.record())?;
        Ok((carried, rows))
    };
    let (send, received) = sync_channel(2);
    thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in records {
                let chunk: Result<Vec<_>, MirrorError> =
                    chunk.and_then(|chunk| chunk.into_iter().map(read).collect());
                let failed = chunk.is_err();
                // What fails undoes all: nothing after it is of use, nor is anything where nobody takes it.
                if send.send(chunk).is_err() || failed {
                    return;
                }
            }
        });
        let mut adder = RecordWriter::new(connection, table, NEXT)?;
        for chunk in received {
            for (carried, rows) in chunk? {
                adder.add(carried.n, carried.record(), &rows)?;
            }
        }
        Ok(())
    })
}

/// Whether a record fits into its table.
pub fn check(table: &EndpointTables, record: &ExportedRecord) -> Result<(), LoadError> {
    ingest::check(table, record.record())
}

impl ExportedRecord {
    fn record(&self) -> IncomingRecord<'_> {
        IncomingRecord { list: &self.list, detail: self.detail.as_deref() }
    }
}

impl ReadSnapshot {
    /// Has what is read of it end when its asker goes.
    pub(crate) fn end_with(&self, ticket: Arc<Ticket>) -> rusqlite::Result<()> {
        budget::end_with(&self.connection, ticket)
    }

    /// What is known of a table; none where it is not here.
    pub fn head(&self, table: &EndpointTables) -> rusqlite::Result<Option<Head>> {
        let endpoint = table.endpoint.name;
        let Some(state) = self.states.of(endpoint) else { return Ok(None) };
        let sql = "SELECT listed_at, low, seen, seen_at FROM state WHERE endpoint = ?1";
        let times = self
            .connection
            .query_row(sql, [endpoint], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        let Some((listed_at, low, seen, seen_at)) = times.optional()? else { return Ok(None) };
        let mut due = self.connection.prepare("SELECT n, list FROM due WHERE endpoint = ?1 ORDER BY n")?;
        let due = due.query_map([endpoint], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Some(Head {
            synced_at: state.synced_at,
            listed_at,
            low,
            seen,
            seen_at,
            scope: state.scope.clone(),
            distrusted: state.distrusted.iter().cloned().collect(),
            due: due.collect::<Result<_, _>>()?,
        }))
    }

    /// The numbers of the records that a list with these parameters has; a text that says why that can't be said.
    pub fn numbers(
        &self,
        endpoint: &'static Endpoint,
        pairs: &Pairs,
    ) -> rusqlite::Result<Result<Vec<i64>, String>> {
        let today = clock::day(clock::now(), "UTC");
        match plan::list(&self.connection, &self.states, endpoint, pairs, today) {
            Ok(plan) => plan.numbers(&self.connection).map(Ok),
            Err(PlanError::Sqlite(error)) => Err(error),
            Err(PlanError::Unanswered(QueryError::Undecided(reason))) => Ok(Err(reason.to_string())),
            // Its body is for programs.
            Err(PlanError::Unanswered(QueryError::Refused(refusal))) => {
                Ok(Err(format!("Alyx refuses to be asked so (status {})", refusal.status)))
            }
        }
    }

    /// Shows every record of a table in the order of their numbers; an error of a damaged file where a text is not the
    /// one that was stored.
    pub fn for_each<E: From<rusqlite::Error>>(
        &self,
        table: &EndpointTables,
        mut show: impl FnMut(ExportedRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = format!("SELECT {} FROM \"{}__body\" ORDER BY n", checksum::TEXTS, table.name);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (n, list, detail) = checksum::texts(row).inspect_err(|error| self.met(error))?;
            show(ExportedRecord { n, list, detail })?;
        }
        Ok(())
    }

    /// Damage is mended where the mirror is in use.
    fn met(&self, error: &rusqlite::Error) {
        if let Some(damage) = self.damage.as_ref().filter(|_| is_damage(error)) {
            damage.meet(error);
        }
    }

    /// The state of the database in an upstream's folder, be it in use or not; none where there is none.
    pub fn beside(folder: &Path) -> rusqlite::Result<Option<Self>> {
        let Some(connection) = file::beside(folder)? else { return Ok(None) };
        connection.execute_batch("BEGIN")?;
        let states = generation::states(&connection)?;
        let mut known = HashMap::new();
        for (endpoint, state) in states.iter() {
            // A table of another version of the program has other columns.
            if let Some(table) = Schema::get().table(endpoint)
                && generation::fits(&connection, table)?
            {
                known.insert(endpoint, state.clone());
            }
        }
        let known = States::new(states.version(), known).behind(states.spec().clone());
        Ok(Some(Self { connection, damage: None, states: Arc::new(known) }))
    }

    /// Shows every row of a query.
    pub fn rows<E: From<rusqlite::Error>>(
        &self,
        sql: &str,
        mut show: impl FnMut(&rusqlite::Row<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            show(row)?;
        }
        Ok(())
    }

    /// The tables that are here.
    pub fn tables(&self) -> impl Iterator<Item = &'static EndpointTables> {
        let here = |table: &&EndpointTables| self.states.of(table.endpoint.name).is_some();
        Schema::get().tables().iter().filter(here)
    }
}
