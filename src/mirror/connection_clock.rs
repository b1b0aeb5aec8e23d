//! The clock of a connection, for what works over a connection alone.
//!
//! Each connection is opened with the computer's clock; the mirror's own are given the mirror's.

use rusqlite::{Connection, functions::FunctionFlags};

use crate::clock::{Millis, SharedClock};

/// Gives a connection its clock.
pub(super) fn give(connection: &Connection, clock: &SharedClock) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY;
    let own = clock.clone();
    connection.create_scalar_function("clock_now", 0, flags, move |_| Ok(own.now()))?;
    let own = clock.clone();
    connection.create_scalar_function("clock_stamp", 0, flags, move |_| Ok(own.stamp()))
}

/// The time of day, by the connection's clock.
pub(super) fn now(connection: &Connection) -> rusqlite::Result<Millis> {
    connection.prepare_cached("SELECT clock_now()")?.query_row([], |row| row.get(0))
}

/// A stamp of the connection's clock: later than every one before.
pub(super) fn stamp(connection: &Connection) -> rusqlite::Result<Millis> {
    connection.prepare_cached("SELECT clock_stamp()")?.query_row([], |row| row.get(0))
}
