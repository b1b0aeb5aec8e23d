//! Which columns this Alyx shows: a field that its records lack says nothing of the column, not even that it is null.
//!
//! Every record of a list is written by one serializer, so that one record tells of all, if what the field stands in is there.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde_json::Value;

use super::schema::{EndpointTables, TableColumn};
use crate::alyx::{
    json_path::{self, Presence},
    model::ColumnKind,
};

/// Noted beside columns: what begins so names a column that no record shows.
const NOT_SHOWN: &str = "not-shown:";

/// So many records are looked at first, from either end of a table; of what is empty in all of these, those are looked for
/// where it is not,
const FIRST: u32 = 20;
/// among so many of the latest. What is empty in all of these is not known to be shown.
const MOST: i64 = 10_000;

/// How it is noted that a column of a table is not shown. Of records that stand within the record, `within` is the relation.
pub(super) fn note(within: Option<&str>, column: &str) -> String {
    match within {
        Some(within) => format!("{NOT_SHOWN}{within}.{column}"),
        None => format!("{NOT_SHOWN}{column}"),
    }
}

/// Noted beside columns: what begins so names a column in which a record has a label that is not known.
const UNKNOWN_LABEL: &str = "unknown-label:";

/// How it is noted that a column has labels whose numbers are not known.
pub(super) fn unknown_label(column: &str) -> String {
    format!("{UNKNOWN_LABEL}{column}")
}

/// The notes about columns that have labels whose numbers are not known.
pub(super) fn unknown_labels(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<BTreeSet<String>> {
    let mut notes = BTreeSet::new();
    for column in table.columns.iter().filter(|column| matches!(column.kind, ColumnKind::Labels(_))) {
        let (table, name) = (&table.name, &column.name);
        let sql =
            format!("SELECT EXISTS(SELECT 1 FROM \"{prefix}{table}\" WHERE typeof(\"{name}\") = 'text')");
        if connection.query_row(&sql, [], |row| row.get(0))? {
            notes.insert(unknown_label(name));
        }
    }
    Ok(notes)
}

/// The names of columns of these notes.
pub fn names(notes: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    notes.iter().filter_map(|note| note.strip_prefix(NOT_SHOWN))
}

/// A place in records, and the note about it.
struct Place {
    at: String,
    note: String,
}

/// The notes about a table.
pub(super) fn not_shown(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<BTreeSet<String>> {
    let mut notes = BTreeSet::new();
    let body = format!("\"{prefix}{}__body\"", table.name);
    for (detail, text) in [(false, "list"), (true, "detail")] {
        let mut open = places(table, detail);
        // Details are of all records or of none, but for those that are on their way.
        let sql = format!(
            "SELECT EXISTS(SELECT 1 FROM (SELECT {text} FROM {body} LIMIT {MOST}) WHERE {text} <> '')"
        );
        if !connection.query_row(&sql, [], |row| row.get(0))? {
            continue;
        }
        for direction in ["", " DESC"] {
            let sql =
                format!("SELECT {text} FROM {body} WHERE {text} <> '' ORDER BY n{direction} LIMIT {FIRST}");
            look(connection, &sql, &mut open, &mut notes)?;
        }
        while let Some(parent) = open.iter().find_map(|place| parent(&place.at)) {
            // Where the parent is an object, or a list with something in it.
            let latest = format!("SELECT {text} FROM {body} WHERE {text} <> '' ORDER BY n DESC LIMIT {MOST}");
            let sql = format!(
                "SELECT {text} FROM ({latest}) WHERE json_extract({text}, '{parent}') IS NOT NULL \
                 AND json_extract({text}, '{parent}') <> '[]' LIMIT 1"
            );
            let before = open.len();
            look(connection, &sql, &mut open, &mut notes)?;
            if open.len() == before {
                // Empty in every record: what is in it can't be asked for in vain.
                let (within, other): (Vec<_>, Vec<_>) =
                    open.into_iter().partition(|place| self::parent(&place.at).as_ref() == Some(&parent));
                open = other;
                if rows(connection, &body)? > MOST {
                    notes.extend(within.into_iter().map(|place| place.note));
                }
            }
        }
    }
    Ok(notes)
}

/// How many records there are, as far as it matters.
fn rows(connection: &Connection, body: &str) -> rusqlite::Result<i64> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {body} LIMIT {})", MOST + 1);
    connection.query_row(&sql, [], |row| row.get(0))
}

/// The places of a table's columns, in the records of the list or in details.
fn places(table: &EndpointTables, detail: bool) -> Vec<Place> {
    let plain = |column: &TableColumn| Place { at: column.at.to_owned(), note: note(None, &column.name) };
    let own = table.columns.iter().chain(&table.wide).filter(|column| column.detail == detail).map(plain);
    let many = table.many.iter().filter(|many| many.key.detail == detail);
    let many = many.flat_map(|many| {
        let array = many.key.at.split_inclusive("[]").next().unwrap_or(many.key.at);
        let within = |column: &TableColumn| Place {
            at: format!("{array}.{}", column.at),
            note: note(Some(many.path), &column.name),
        };
        let key = Place { at: many.key.at.to_owned(), note: note(None, many.path) };
        std::iter::once(key).chain(many.columns.iter().map(within)).collect::<Vec<_>>()
    });
    own.chain(many).collect()
}

/// Settles those places of which these records tell.
fn look(
    connection: &Connection,
    sql: &str,
    open: &mut Vec<Place>,
    notes: &mut BTreeSet<String>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while !open.is_empty()
        && let Some(row) = rows.next()?
    {
        let Ok(record) = serde_json::from_slice::<Value>(row.get_ref(0)?.as_bytes().unwrap_or_default())
        else {
            continue;
        };
        open.retain(|place| match json_path::presence(&record, &place.at) {
            Presence::There => false,
            Presence::Absent => {
                notes.insert(place.note.clone());
                false
            }
            Presence::Open => true,
        });
    }
    Ok(())
}

/// What a place stands in, as SQLite's JSON functions name it; none of what stands in the record itself.
fn parent(at: &str) -> Option<String> {
    let (parent, _) = at.rsplit_once('.').filter(|(_, last)| !last.is_empty())?;
    let parent = parent.trim_end_matches("[]");
    (!parent.contains(['<', '>', '#', '[', ']'])).then(|| format!("$.{parent}"))
}
