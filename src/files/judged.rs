//! What whole files were found to be, and those that are not what Alyx says, in the index.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    index::{FileIndex, IndexError, IndexedFile},
    record::{AlyxWord, DatasetRecord},
    version::{BLOCK, FileVersion},
};
use crate::clock::Millis;

/// So many files that differ are remembered; the oldest are forgotten first.
const MOST_DIFFERING: usize = 1000;

/// What a whole file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JudgedFile {
    /// In hexadecimal digits.
    pub(crate) md5: String,
    /// What Alyx said when both agreed; none where it said nothing.
    pub(crate) record: Option<DatasetRecord>,
}

/// A file of which all that is kept is to be read.
#[derive(Debug, Clone)]
pub(super) struct DueFile {
    pub(super) id: i64,
    pub(super) path: String,
    pub(super) version: FileVersion,
    /// Its MD5, where it is known.
    pub(super) md5: Option<String>,
}

/// A file of the data server that is not what Alyx says.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct DifferingFile {
    pub(crate) path: String,
    pub(crate) length: u64,
    /// None where the length says enough.
    pub(crate) md5: Option<String>,
    /// What Alyx says.
    pub(crate) record: DatasetRecord,
    /// When it was found.
    pub(crate) at: Millis,
}

impl JudgedFile {
    /// From the columns of the index.
    pub(super) fn of(md5: Option<String>, record: Option<&str>) -> Option<Self> {
        let record = record.and_then(|text| serde_json::from_str(text).ok());
        Some(Self { md5: md5?, record })
    }
}

impl IndexedFile {
    /// Whether Alyx says something of it by now that it was not compared with.
    pub(super) fn is_doubted_by(&self, word: &AlyxWord) -> bool {
        let AlyxWord::Says(record) = word else { return false };
        match &self.judged {
            Some(judged) => judged.record.as_ref() != Some(record),
            None => !record.allows_length(self.version.length),
        }
    }

    /// Whether it may be given without asking the data server: Alyx's record says that it is what it was, or there is none for
    /// files of this name.
    pub(super) fn is_vouched_by(&self, word: &AlyxWord) -> bool {
        match word {
            AlyxWord::NotAlyxs => true,
            AlyxWord::Unknown => false,
            AlyxWord::Says(record) => {
                self.judged.as_ref().is_some_and(|judged| judged.record.as_ref() == Some(record))
            }
        }
    }
}

impl FileIndex {
    /// Notes what a whole file is, and what Alyx says of it.
    pub(super) async fn judge(&self, id: i64, judged: JudgedFile) -> Result<(), IndexError> {
        let record = judged.record.as_ref().map(written);
        self.run(move |connection| {
            let sql = "UPDATE files SET md5 = ?2, record = ?3 WHERE id = ?1";
            connection.execute(sql, params![id, judged.md5, record]).map(drop)
        })
        .await
    }

    /// Notes that a file is not what Alyx says, and forgets it: its number, where it was known, and how many differ.
    pub(super) async fn note_differing(
        &self,
        version: FileVersion,
        file: DifferingFile,
    ) -> Result<(Option<i64>, u64), IndexError> {
        self.run(move |connection| {
            let change = connection.transaction()?;
            let DifferingFile { path, length, md5, record, at } = file;
            let FileVersion { etag, last_modified, .. } = version;
            let sql = "INSERT OR REPLACE INTO differing (path, length, etag, last_modified, md5, record, at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            change.execute(sql, params![path, length, etag, last_modified, md5, written(&record), at])?;
            let sql = "DELETE FROM differing WHERE path NOT IN
                           (SELECT path FROM differing ORDER BY at DESC, path LIMIT ?1)";
            change.execute(sql, [MOST_DIFFERING])?;
            let sql = "DELETE FROM files WHERE path = ?1 RETURNING id";
            let id = change.query_row(sql, [path], |row| row.get(0)).optional()?;
            let count = count_differing(&change)?;
            change.commit()?;
            Ok((id, count))
        })
        .await
    }

    /// Whether this version was found to differ from this record already. What was found of others at this path is forgotten.
    pub(super) async fn is_differing(
        &self,
        path: &str,
        version: FileVersion,
        record: Option<DatasetRecord>,
    ) -> Result<(bool, u64), IndexError> {
        let path = path.to_owned();
        self.run(move |connection| {
            let sql = "SELECT length, etag, last_modified, record FROM differing WHERE path = ?1";
            let read = |row: &Row<'_>| {
                let (length, etag, last_modified) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let noted: String = row.get(3)?;
                Ok((FileVersion { length, etag, last_modified, content_type: None }, noted))
            };
            let found = connection.prepare_cached(sql)?.query_row([&path], read).optional()?;
            let same = found.as_ref().is_some_and(|(noted, of)| {
                noted.is_same(&version) && record.as_ref().is_some_and(|record| *of == written(record))
            });
            if found.is_some() && !same {
                connection.execute("DELETE FROM differing WHERE path = ?1", [path])?;
            }
            Ok((same, count_differing(connection)?))
        })
        .await
    }

    /// Files that are not what Alyx says, the latest first.
    pub(super) async fn differing(&self, most: usize) -> Result<Vec<DifferingFile>, IndexError> {
        self.run(move |connection| {
            let sql = "SELECT path, length, md5, record, at FROM differing ORDER BY at DESC, path LIMIT ?1";
            let mut query = connection.prepare_cached(sql)?;
            let mut rows = query.query([most])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let Ok(record) = serde_json::from_str(&row.get::<_, String>(3)?) else { continue };
                let (path, length, md5, at) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?);
                found.push(DifferingFile { path, length, md5, record, at });
            }
            Ok(found)
        })
        .await
    }

    /// How many files are not what Alyx says.
    pub(super) fn differing_now(&self) -> rusqlite::Result<u64> {
        self.now(|connection| count_differing(connection))
    }

    /// The file whose blocks have not been read for longest, and not since this time; or a whole one that never was: the
    /// proxy was ended in between.
    pub(super) async fn due(&self, since: Millis) -> Result<Option<DueFile>, IndexError> {
        self.run(move |connection| {
            let sql = "SELECT id, path, length, etag, last_modified, content_type, md5 FROM files
                       WHERE bytes > 0 AND (scrubbed_at <= ?1 OR md5 IS NULL
                           AND length <= ?2 * (SELECT count(*) FROM blocks WHERE file = files.id))
                       ORDER BY scrubbed_at, id LIMIT 1";
            let read = |row: &Row<'_>| {
                let (length, etag, last_modified) = (row.get(2)?, row.get(3)?, row.get(4)?);
                let version = FileVersion { length, etag, last_modified, content_type: row.get(5)? };
                Ok(DueFile { id: row.get(0)?, path: row.get(1)?, version, md5: row.get(6)? })
            };
            connection.prepare_cached(sql)?.query_row(params![since, BLOCK], read).optional()
        })
        .await
    }

    /// All that is kept of a file has been read.
    pub(super) async fn note_scrubbed(&self, id: i64, now: Millis) -> Result<(), IndexError> {
        self.run(move |connection| {
            connection.execute("UPDATE files SET scrubbed_at = ?2 WHERE id = ?1", (id, now)).map(drop)
        })
        .await
    }
}

fn count_differing(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM differing", [], |row| row.get(0))
}

/// A record as the index has it.
fn written(record: &DatasetRecord) -> String {
    // Texts and a number can always be written.
    serde_json::to_string(record).unwrap_or_default()
}
