//! What is in the JSON columns that a table's records show as null: nothing, or JSON's null ([`JsonNulls`]). One small question
//! tells where all of them are the same: how many records have nothing there (`json__isnull,True`).

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use super::schema::{EndpointTables, TableColumn};
use crate::{
    alyx::{filterset::json_nulls::JsonNulls, model::ColumnKind},
    clock::Millis,
};

/// Noted beside columns: what begins so names a column whose nulls are all nothing,
const NOTHING: &str = "null-is-nothing:";
/// or all JSON's.
const JSON: &str = "null-is-json:";
/// Where it is kept: behind it come the endpoint, a colon, and the note.
const KEY: &str = "nulls:";
/// Behind this stands the endpoint, under which it is kept when Alyx was asked,
const ASKED: &str = "nulls-asked:";
/// and that a record which shows null has changed since.
const CHANGED: &str = "nulls-changed:";

/// The note that says so of a column.
pub fn note(nulls: JsonNulls, column: &str) -> String {
    match nulls {
        JsonNulls::Nothing => format!("{NOTHING}{column}"),
        JsonNulls::Json => format!("{JSON}{column}"),
    }
}

/// What the notes beside a table say of a column.
pub(super) fn of(notes: &BTreeSet<String>, column: &str) -> Option<JsonNulls> {
    [JsonNulls::Nothing, JsonNulls::Json].into_iter().find(|nulls| notes.contains(&note(*nulls, column)))
}

/// What is known of a table, as notes.
pub(super) fn known(connection: &Connection, endpoint: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT substr(key, length(?1) + 1) FROM meta WHERE key >= ?1 AND key < ?2";
    let (first, after) = (format!("{KEY}{endpoint}:"), format!("{KEY}{endpoint};"));
    connection.prepare_cached(sql)?.query_map([first, after], |row| row.get(0))?.collect()
}

/// The columns of JSON that records show as null, and how many do; those alone of which all values are here.
pub fn shown(
    connection: &Connection,
    table: &EndpointTables,
    details: bool,
) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut shown = Vec::new();
    for column in columns(table).filter(|column| details || !column.detail) {
        let sql = format!("SELECT count(*) FROM \"{}__wide\" WHERE \"{}\" IS NULL", table.name, column.name);
        let count: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        if count > 0 {
            shown.push((column.name.clone(), count.unsigned_abs()));
        }
    }
    Ok(shown)
}

/// Whether a table has columns of JSON.
pub(super) fn may_show(table: &EndpointTables) -> bool {
    columns(table).next().is_some()
}

fn columns(table: &EndpointTables) -> impl Iterator<Item = &TableColumn> {
    table.wide.iter().filter(|column| matches!(column.kind, ColumnKind::Json))
}

/// What `shown` nulls of a table of so many records are, of which `empty` hold nothing and `full` something.
pub fn told(shown: u64, rows: u64, empty: u64, full: u64) -> Option<JsonNulls> {
    match empty {
        // Another number of records is here than there is.
        _ if empty + full != rows => None,
        0 => Some(JsonNulls::Json),
        _ if empty == shown => Some(JsonNulls::Nothing),
        _ => None,
    }
}

/// Keeps what was told of a column.
pub(super) fn keep(
    connection: &Connection,
    endpoint: &str,
    column: &str,
    nulls: JsonNulls,
) -> rusqlite::Result<()> {
    let key = format!("{KEY}{endpoint}:{}", note(nulls, column));
    connection.execute("INSERT OR REPLACE INTO meta VALUES(?1, '')", [key]).map(drop)
}

/// When Alyx was asked about this table, as it was last read as a whole, and whether it has changed since.
pub(super) fn asked_at(connection: &Connection, endpoint: &str) -> rusqlite::Result<Option<(Millis, bool)>> {
    let sql = "SELECT value, EXISTS(SELECT 1 FROM meta WHERE key = ?2) FROM meta WHERE key = ?1";
    let keys = (format!("{ASKED}{endpoint}"), format!("{CHANGED}{endpoint}"));
    connection.prepare_cached(sql)?.query_row(keys, |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Alyx has been asked; what is not settled is asked again, as if the table had changed since.
pub(super) fn note_asked(
    connection: &Connection,
    endpoint: &str,
    now: Millis,
    settled: bool,
) -> rusqlite::Result<()> {
    if settled {
        connection.execute("DELETE FROM meta WHERE key = ?1", [format!("{CHANGED}{endpoint}")])?;
    } else {
        note_changed(connection, endpoint)?;
    }
    let sql = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)";
    connection.execute(sql, (format!("{ASKED}{endpoint}"), now)).map(drop)
}

fn note_changed(connection: &Connection, endpoint: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO meta VALUES(?1, 1)";
    connection.prepare_cached(sql)?.execute([format!("{CHANGED}{endpoint}")]).map(drop)
}

/// Another table is in the place of this one.
pub(super) fn replaced(connection: &Connection, endpoint: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM meta WHERE key = ?1", [format!("{ASKED}{endpoint}")])?;
    forget(connection, endpoint)
}

/// The records of a table are others: nothing is known.
pub(super) fn forget(connection: &Connection, endpoint: &str) -> rusqlite::Result<()> {
    let (first, after) = (format!("{KEY}{endpoint}:"), format!("{KEY}{endpoint};"));
    connection
        .prepare_cached("DELETE FROM meta WHERE key >= ?1 AND key < ?2")?
        .execute([first, after])
        .map(drop)
}

/// The record of this number is another: what was known does not hold of its own nulls.
pub(super) fn forget_of(connection: &Connection, table: &EndpointTables, n: i64) -> rusqlite::Result<()> {
    for column in columns(table) {
        let (name, column) = (&table.name, &column.name);
        let sql =
            format!("SELECT EXISTS(SELECT 1 FROM \"{name}__wide\" WHERE n = ?1 AND \"{column}\" IS NULL)");
        if connection.prepare_cached(&sql)?.query_row([n], |row| row.get(0))? {
            note_changed(connection, table.endpoint.name)?;
            return forget(connection, table.endpoint.name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_same_for_all_is_not_known() {
        assert_eq!(told(10, 100, 10, 90), Some(JsonNulls::Nothing));
        assert_eq!(told(10, 100, 0, 100), Some(JsonNulls::Json));
        assert_eq!(told(10, 100, 4, 96), None);
        assert_eq!(told(10, 100, 10, 91), None, "one of them is not here");
    }

    #[test]
    fn it_is_known_until_the_table_is_another() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::create_tables(&connection).unwrap();
        keep(&connection, "files", "json", JsonNulls::Nothing).unwrap();
        keep(&connection, "fields-of-view", "json", JsonNulls::Json).unwrap();
        let notes = BTreeSet::from_iter(known(&connection, "files").unwrap());
        assert_eq!((notes.len(), of(&notes, "json")), (1, Some(JsonNulls::Nothing)));
        assert_eq!(of(&notes, "extended_qc"), None);
        forget(&connection, "files").unwrap();
        assert!(known(&connection, "files").unwrap().is_empty());
        assert_eq!(known(&connection, "fields-of-view").unwrap(), ["null-is-json:json"]);
    }

    #[test]
    fn what_alyx_could_not_tell_is_asked_again() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::create_tables(&connection).unwrap();
        let asked = || asked_at(&connection, "files").unwrap();
        assert_eq!(asked(), None);
        note_asked(&connection, "files", 5, false).unwrap();
        assert_eq!(asked(), Some((5, true)));
        note_asked(&connection, "files", 6, true).unwrap();
        assert_eq!(asked(), Some((6, false)));
        replaced(&connection, "files").unwrap();
        assert_eq!(asked(), None);
    }
}
