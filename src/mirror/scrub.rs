//! Looking through the whole mirror for what a disk got wrong: texts against their checksums, and the columns, by which
//! questions are decided, against the texts.

use rusqlite::{Connection, types::Value as Sql};

use super::{
    checksum,
    ingest::{EncodedRecord, IncomingRecord},
    schema::{EndpointTables, Schema},
    state::States,
};

/// The tables in which something is not as it was stored. An error if the file can't even be read.
pub(super) fn damaged(
    connection: &Connection,
    states: &States,
) -> rusqlite::Result<Vec<&'static EndpointTables>> {
    let here = states.iter().filter_map(|(endpoint, _)| Schema::get().table(endpoint));
    let mut damaged = Vec::new();
    for table in here {
        match is_sound(connection, table) {
            Ok(true) => {}
            Ok(false) => damaged.push(table),
            Err(error) if crate::store::is_damage(&error) => damaged.push(table),
            Err(error) => return Err(error),
        }
    }
    Ok(damaged)
}

fn is_sound(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<bool> {
    let name = &table.name;
    let mut bodies = connection
        .prepare(&format!("SELECT n, list, detail, list_sum, detail_sum FROM \"{name}__body\" ORDER BY n"))?;
    let mut main = connection.prepare(&format!("SELECT * FROM \"{name}\" WHERE n = ?1"))?;
    let wide = format!("SELECT * FROM \"{name}__wide\" WHERE n = ?1");
    let mut wide = if table.wide.is_empty() { None } else { Some(connection.prepare(&wide)?) };
    let mut many = table
        .many
        .iter()
        .map(|many| {
            connection.prepare(&format!("SELECT * FROM \"{}\" WHERE n = ?1 ORDER BY rowid", many.table))
        })
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut rows = bodies.query([])?;
    while let Some(row) = rows.next()? {
        let (n, list, detail): (i64, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        checksum::check(n, &list, row.get(3)?)?;
        if let Some(detail) = &detail {
            checksum::check(n, detail, row.get::<_, Option<i64>>(4)?.unwrap_or(-1))?;
        }
        let record = IncomingRecord { list: &list, detail: detail.as_deref() };
        let Ok(right) = EncodedRecord::of(table, record) else { return Ok(false) };
        let (right_main, right_wide, right_many) = right.parts();
        let mut sound = stored(&mut main, n)? == [right_main];
        if let Some(wide) = &mut wide {
            sound &= stored(wide, n)? == [right_wide];
        }
        for (many, right) in many.iter_mut().zip(right_many) {
            sound &= stored(many, n)? == *right;
        }
        if !sound {
            return Ok(false);
        }
    }
    // No row without a text, and indexes that say what the tables say.
    let count =
        |name: &str| connection.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0));
    let (rows, texts): (i64, i64) = (count(name)?, count(&format!("{name}__body"))?);
    for name in table.names("") {
        let verdict: String =
            connection.query_row(&format!("PRAGMA integrity_check(\"{name}\")"), [], |row| row.get(0))?;
        if verdict != "ok" {
            return Ok(false);
        }
    }
    Ok(rows == texts)
}

/// The rows of a record, without its number.
fn stored(statement: &mut rusqlite::Statement<'_>, n: i64) -> rusqlite::Result<Vec<Vec<Sql>>> {
    let width = statement.column_count();
    let rows = statement.query_map([n], |row| (1..width).map(|column| row.get(column)).collect())?;
    rows.collect()
}
