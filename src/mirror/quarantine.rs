//! Tables in doubt: an answer from them was found to differ from Alyx's, twice (`[mirror] verify`).
//!
//! What was asked there is not answered from here until all tables that the answer was made of have been read as a
//! whole, and each of their records was put down anew, be its text the same or not. That is soon, but if a table was
//! in doubt only lately: then it is not its records that are wrong, and to read them again and again would be a
//! burden to Alyx.

use rusqlite::{Connection, OptionalExtension};

use super::{connection_clock, generation, schema::EndpointTables};
use crate::clock::Millis;

/// A table that is in doubt again within this time is read as a whole no sooner than others.
const LATELY: Millis = 86_400_000;

/// A table that is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quarantine {
    /// When it was found out; it may be found out again while the table is read.
    at: Millis,
    /// Whether the table is to be read as a whole at once.
    pub(super) pressing: bool,
}

/// Takes a parameter of an endpoint out of local answering, and has these tables read as a whole.
pub(super) fn open(
    connection: &Connection,
    endpoint: &str,
    parameter: String,
    tables: &[&str],
) -> rusqlite::Result<()> {
    let Some(mut state) = generation::state(connection, endpoint)? else { return Ok(()) };
    state.distrusted.insert(parameter);
    connection.execute(
        "UPDATE state SET distrusted = ?2 WHERE endpoint = ?1",
        (endpoint, generation::json(&state.distrusted)),
    )?;
    for table in tables {
        note(connection, table)?;
    }
    generation::bump(connection)
}

/// Puts a table in doubt: what has been read of it so far does not count.
fn note(connection: &Connection, endpoint: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO meta SELECT 'doubted:' || endpoint, ?2 FROM state WHERE endpoint = ?1";
    connection.execute(sql, (endpoint, connection_clock::stamp(connection)?))?;
    // The ranges of one that is being filled are those of its next generation.
    if !generation::is_filling(connection, endpoint)? {
        connection.execute("DELETE FROM range WHERE endpoint = ?1", [endpoint])?;
        connection.execute("DELETE FROM meta WHERE key = 'sweep:' || ?1", [endpoint])?;
    }
    Ok(())
}

/// Puts those tables in doubt of which something is distrusted: they came from elsewhere, or from an earlier version.
pub(super) fn note_distrusted(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT endpoint FROM state WHERE distrusted <> '[]'
        AND NOT EXISTS(SELECT 1 FROM meta WHERE key = 'doubted:' || endpoint)";
    let endpoints: Vec<String> =
        connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    endpoints.iter().try_for_each(|endpoint| note(connection, endpoint))
}

/// When a table that was in doubt had last been read as a whole.
pub(super) fn settled_at(connection: &Connection, endpoint: &str) -> rusqlite::Result<Option<Millis>> {
    time(connection, "settled:", endpoint)
}

/// Has a parameter of an endpoint answered locally again. Its tables are still read anew.
pub(super) fn lift(connection: &Connection, endpoint: &str, parameter: &str) -> rusqlite::Result<()> {
    let Some(mut state) = generation::state(connection, endpoint)? else { return Ok(()) };
    state.distrusted.remove(parameter);
    let sql = "UPDATE state SET distrusted = ?2 WHERE endpoint = ?1";
    connection.execute(sql, (endpoint, generation::json(&state.distrusted))).map(drop)
}

/// Whether a table is in doubt.
pub(super) fn of(connection: &Connection, endpoint: &str) -> rusqlite::Result<Option<Quarantine>> {
    let Some(at) = time(connection, "doubted:", endpoint)? else { return Ok(None) };
    let settled = settled_at(connection, endpoint)?;
    let now = connection_clock::now(connection)?;
    let lately = settled.is_some_and(|settled| (0..LATELY).contains(&(now - settled)));
    Ok(Some(Quarantine { at, pressing: !lately }))
}

/// A time that is noted of a table.
fn time(connection: &Connection, key: &str, endpoint: &str) -> rusqlite::Result<Option<Millis>> {
    let sql = "SELECT value FROM meta WHERE key = ?1 || ?2";
    connection.prepare_cached(sql)?.query_row((key, endpoint), |row| row.get(0)).optional()
}

/// A table has been read as a whole, and put down anew, since this doubt was known. When no table is in doubt any more,
/// all is answered again.
pub(super) fn close(
    connection: &Connection,
    table: &EndpointTables,
    doubt: Quarantine,
) -> rusqlite::Result<()> {
    let endpoint = table.endpoint.name;
    if of(connection, endpoint)?.is_none_or(|now| now.at != doubt.at) {
        return Ok(());
    }
    let sql = "INSERT OR REPLACE INTO meta VALUES('settled:' || ?1, ?2)";
    connection.execute(sql, (endpoint, connection_clock::now(connection)?))?;
    drop_of(connection, endpoint)?;
    generation::recount(connection, table)
}

/// A table is no longer here, or another is in its place. Who calls this gives the database another number.
pub(super) fn drop_of(connection: &Connection, endpoint: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE key = 'doubted:' || ?1", [endpoint])?;
    connection.execute(
        "UPDATE state SET distrusted = '[]' WHERE distrusted <> '[]'
         AND NOT EXISTS(SELECT 1 FROM state JOIN meta ON key = 'doubted:' || endpoint)",
        [],
    )?;
    Ok(())
}
