//! Having a database hold nothing in clear that it once did: done once, when a version begins to seal it.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

/// Marks a file of which this has been done (`PRAGMA application_id`): `alyx`.
const DONE: i32 = 0x616c_7978;

/// Has the secrets in a database sealed, and the file written anew and its log emptied: what was deleted in clear may lie
/// in either. Does nothing where this has been done; after an error, or where others read the file meanwhile, it is done at
/// the next start.
///
/// # Errors
///
/// SQLite's, and those of `seal`.
pub fn seal_once<E: From<rusqlite::Error>>(
    connection: &mut Connection,
    seal: impl FnOnce(&Connection) -> Result<usize, E>,
) -> Result<(), E> {
    let number = |connection: &Connection, pragma: &str| {
        connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i32>(0))
    };
    if number(connection, "application_id")? == DONE {
        return Ok(());
    }
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let sealed = seal(&transaction)?;
    transaction.commit()?;
    if sealed > 0 || number(connection, "freelist_count")? > 0 {
        tracing::info!(sealed, "keys of file stores are sealed; the database is written anew, once");
        write_anew(connection)?;
    }
    connection.execute_batch(&format!("PRAGMA application_id = {DONE}"))?;
    if number(connection, "wal_checkpoint(TRUNCATE)")? != 0 {
        tracing::warn!("the database's log is in use; it is emptied at the next start");
        connection.execute_batch("PRAGMA application_id = 0")?;
    }
    Ok(())
}

/// Writes the file anew, by way of one beside it: in memory, where other temporary files are, it may have no room.
fn write_anew(connection: &Connection) -> rusqlite::Result<()> {
    let folder = connection.path().and_then(|path| Path::new(path).parent()).and_then(Path::to_str);
    // This counts for all connections; no other one has temporary files.
    connection.pragma_update(None, "temp_store_directory", folder.unwrap_or_default())?;
    let written = connection.execute_batch("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY");
    connection.pragma_update(None, "temp_store_directory", "")?;
    written
}
