//! Carrying over what can be read of a damaged database into a fresh one.
//!
//! Each table is read from its beginning until the damage, and from its end back to it. Stored answers have
//! checksums, which are looked at when they are given: what is copied here need not be right, only readable.

use rusqlite::{Connection, types::Value};

/// What was carried over.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rescued {
    /// Rows.
    pub(super) rows: u64,
    /// Tables that could not be read to their end.
    pub(super) broken: usize,
}

/// Copies every table's readable rows.
pub(super) fn recover(damaged: &Connection, fresh: &mut Connection) -> rusqlite::Result<Rescued> {
    let mut rescued = Rescued::default();
    let transaction = fresh.transaction()?;
    for table in tables(&transaction)? {
        let (kept, key) = columns(&transaction, &table)?;
        // Where even that can't be read, nothing of the table can.
        let (there, _) = columns(damaged, &table).unwrap_or_default();
        let columns: Vec<&String> = kept.iter().filter(|column| there.contains(column)).collect();
        if columns.is_empty() {
            rescued.broken += 1;
            continue;
        }
        let list = columns.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
        let places = vec!["?"; columns.len()].join(", ");
        let insert = format!("INSERT OR IGNORE INTO \"{table}\" ({list}) VALUES ({places})");
        let mut whole = true;
        for direction in ["ASC", "DESC"] {
            let order = key.iter().map(|column| format!("\"{column}\" {direction}")).collect::<Vec<_>>();
            let select = format!("SELECT {list} FROM \"{table}\" ORDER BY {}", order.join(", "));
            whole = copy(damaged, &transaction, &select, &insert, &mut rescued.rows)?;
            if whole {
                break;
            }
        }
        rescued.broken += usize::from(!whole);
    }
    transaction.commit()?;
    Ok(rescued)
}

/// Copies rows until they end, or can't be read; whether they ended. Errors are those of the fresh database.
fn copy(
    from: &Connection,
    to: &Connection,
    select: &str,
    insert: &str,
    count: &mut u64,
) -> rusqlite::Result<bool> {
    let Ok(mut select) = from.prepare(select) else { return Ok(false) };
    let width = select.column_count();
    let Ok(mut rows) = select.query([]) else { return Ok(false) };
    let mut insert = to.prepare_cached(insert)?;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        };
        let values: rusqlite::Result<Vec<Value>> = (0..width).map(|column| row.get(column)).collect();
        let Ok(values) = values else { continue };
        match insert.execute(rusqlite::params_from_iter(values)) {
            Ok(inserted) => *count += inserted as u64,
            // A value of the wrong kind: damaged, but readable.
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => {}
            Err(error) => return Err(error),
        }
    }
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'";
    let mut statement = connection.prepare(sql)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// A table's columns, and those of its primary key.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<(Vec<String>, Vec<String>)> {
    let mut statement = connection.prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY pk")?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<(String, i64)>>>()?;
    let key = rows.iter().filter(|(_, place)| *place > 0).map(|(name, _)| name.clone()).collect();
    Ok((rows.into_iter().map(|(name, _)| name).collect(), key))
}
