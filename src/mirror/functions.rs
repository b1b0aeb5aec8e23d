//! Functions that the mirror's SQL calls.

use rusqlite::Connection;

/// Makes the functions known to a connection.
pub fn register(_: &Connection) -> rusqlite::Result<()> {
    Ok(())
}
