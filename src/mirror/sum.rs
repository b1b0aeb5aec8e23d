//! Checksums of records' texts: what a disk got wrong is never given for Alyx's word.
//!
//! CRC-32 finds every single wrong byte, costs next to nothing beside sending the text, and is not meant against
//! anybody who can write to the database: who can do that can make it say anything.

use rusqlite::ffi;

/// The checksum of a text of the record with this number.
pub(super) fn of(n: i64, text: &str) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&n.to_le_bytes());
    hasher.update(text.as_bytes());
    hasher.finalize().into()
}

/// An error, as SQLite has it for a damaged file, if the text is not the one that was stored.
pub(super) fn check(n: i64, text: &str, sum: i64) -> rusqlite::Result<()> {
    if of(n, text) == sum {
        return Ok(());
    }
    let words = format!("the text of record {n} is not the one that was stored");
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(words)))
}
