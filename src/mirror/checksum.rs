//! Checksums of records' texts: what a disk got wrong is never given for Alyx's word.
//!
//! CRC-32 finds every single wrong byte, costs next to nothing beside sending the text, and is not meant against
//! anybody who can write to the database: who can do that can make it say anything.

use rusqlite::{Row, ffi};

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

/// The columns of a record's number and texts, and of their checksums, for [`texts`].
pub(super) const TEXTS: &str = "n, list, detail, list_sum, detail_sum";

/// A record's number and texts, from a row of [`TEXTS`]; an error if one of them is not the one that was stored.
pub(super) fn texts(row: &Row<'_>) -> rusqlite::Result<(i64, String, Option<String>)> {
    let (n, list, detail): (i64, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    check(n, &list, row.get(3)?)?;
    if let Some(detail) = &detail {
        check(n, detail, row.get::<_, Option<i64>>(4)?.unwrap_or(-1))?;
    }
    Ok((n, list, detail))
}
