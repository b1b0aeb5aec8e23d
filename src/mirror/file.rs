//! The mirror's file, `mirror.db`: opening it, its form, and setting aside one that can't be used.
//!
//! Everything in it can be had again from Alyx. So a file that is damaged is set aside and a fresh one begun; tables whose
//! shape has changed are dropped and synchronised anew. One that a newer program has written stays as it is.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{generation, schema::Schema, sql_functions, state::States};
use crate::{
    clock::{self, Millis},
    store::{clean_shutdown, is_damage},
};

pub(super) const NAME: &str = "mirror.db";
/// Another number for another form of the tables in `TABLES`, and of what is in them: since 3 secrets are sealed, which an
/// earlier program would give for Alyx's.
const FORM: i64 = 3;
/// From the form before: what was due was so since nobody knows when.
const FROM_FIRST: &str = "
ALTER TABLE due ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE due ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
CREATE INDEX due_since ON due(endpoint, since);
ALTER TABLE state ADD COLUMN counted_at INTEGER NOT NULL DEFAULT 0;
";
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES('version', 0);
-- Tables that are whole. Times of changes (`low`, `seen`) are the server's: see sync::cursor.
CREATE TABLE IF NOT EXISTS state(
    endpoint TEXT PRIMARY KEY, shape TEXT NOT NULL, generation INTEGER NOT NULL,
    synced_at INTEGER NOT NULL, listed_at INTEGER NOT NULL, rows INTEGER NOT NULL, details INTEGER NOT NULL,
    scope TEXT NOT NULL, ambiguous TEXT NOT NULL DEFAULT '[]', distrusted TEXT NOT NULL DEFAULT '[]',
    low INTEGER NOT NULL, seen INTEGER NOT NULL, seen_at INTEGER NOT NULL,
    counted_at INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- Generations that are being filled, and the ranges of keys that they are filled by.
CREATE TABLE IF NOT EXISTS filling(
    endpoint TEXT PRIMARY KEY, shape TEXT NOT NULL, generation INTEGER NOT NULL, began_at INTEGER NOT NULL,
    scope TEXT NOT NULL, low INTEGER NOT NULL, total INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS range(
    endpoint TEXT NOT NULL, first BLOB NOT NULL, after BLOB, done INTEGER NOT NULL,
    PRIMARY KEY(endpoint, first)) WITHOUT ROWID;
-- Records that must be fetched again because another record, which they show, has changed: see mirror::due.
CREATE TABLE IF NOT EXISTS due(
    endpoint TEXT NOT NULL, n INTEGER NOT NULL, list INTEGER NOT NULL,
    since INTEGER NOT NULL DEFAULT 0, mark INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(endpoint, n)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_since ON due(endpoint, since);
";

/// Makes the mirror's own tables, beside those of the records, in a database that has none.
///
/// # Errors
///
/// SQLite's.
pub fn create_tables(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)
}

/// Why there is no mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirrorOpenError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// SQLite's word, where the file is not at fault.
    #[error("{0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
    /// A newer program has written it.
    #[error(
        "{0}: was written by a newer alyx-proxy (form {1}, this one knows {FORM}); use that version, or a newer one"
    )]
    Newer(PathBuf, i64),
}

impl MirrorOpenError {
    /// Whether more room on the disk may help.
    pub fn may_be_a_full_disk(&self) -> bool {
        match self {
            Self::Io(_, error) => error.kind() == io::ErrorKind::StorageFull,
            Self::Sqlite(_, error) => crate::store::may_be_a_full_disk(error),
            Self::Newer(..) => false,
        }
    }
}

/// A database that has just been begun.
pub(super) struct Fresh {
    pub(super) connection: Connection,
    pub(super) states: States,
    /// Where the one before lies now.
    pub(super) set_aside: PathBuf,
}

/// A fresh database in the place of the one that lies there, which is set aside. Its numbers go on from the `version`
/// before, so that nobody takes one of its states for one of the old.
pub(super) fn fresh(path: &Path, version: i64) -> Result<Fresh, MirrorOpenError> {
    let aside = set_aside(path).map_err(|error| MirrorOpenError::Io(path.to_owned(), error))?;
    tracing::error!(
        "the mirror {} is damaged; it was set aside as {} and is synchronised anew",
        path.display(),
        aside.display()
    );
    let Sound { mut connection, .. } = sound(path)?;
    let states = connection
        .execute("UPDATE meta SET value = ?1 WHERE key = 'version'", [version + 1])
        .and_then(|_| generation::prepare(&mut connection, Schema::get()));
    let states = states.map_err(|error| MirrorOpenError::Sqlite(path.to_owned(), error))?;
    Ok(Fresh { connection, states, set_aside: aside })
}

/// A database that can be used.
pub(super) struct Sound {
    pub(super) connection: Connection,
    /// When it was last found sound as a whole.
    pub(super) checked_at: Millis,
    pub(super) set_aside: Option<PathBuf>,
}

/// Opens the file, or sets it aside and makes a new one.
pub(super) fn sound(path: &Path) -> Result<Sound, MirrorOpenError> {
    let why = match try_open(path) {
        Ok((connection, checked_at)) => return Ok(Sound { connection, checked_at, set_aside: None }),
        Err(FileProblem::Unfit(why)) => why,
        Err(problem) => return Err(problem.of(path)),
    };
    let aside = set_aside(path).map_err(|error| MirrorOpenError::Io(path.to_owned(), error))?;
    tracing::error!(
        "the mirror {} can't be used ({why}); it was set aside as {} and is synchronised anew",
        path.display(),
        aside.display()
    );
    match try_open(path) {
        Ok((connection, checked_at)) => Ok(Sound { connection, checked_at, set_aside: Some(aside) }),
        Err(problem) => Err(problem.of(path)),
    }
}

enum FileProblem {
    Unfit(String),
    Refused(rusqlite::Error),
    Newer(i64),
}

impl FileProblem {
    fn of(self, path: &Path) -> MirrorOpenError {
        let path = path.to_owned();
        match self {
            Self::Unfit(why) => MirrorOpenError::Io(path, io::Error::other(why)),
            Self::Refused(error) => MirrorOpenError::Sqlite(path, error),
            Self::Newer(form) => MirrorOpenError::Newer(path, form),
        }
    }
}

impl From<rusqlite::Error> for FileProblem {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) { Self::Unfit(error.to_string()) } else { Self::Refused(error) }
    }
}

fn try_open(path: &Path) -> Result<(Connection, Millis), FileProblem> {
    if let Some(form) = newer(path) {
        return Err(FileProblem::Newer(form));
    }
    let sealed = clean_shutdown::consume(path);
    let connection = Connection::open(path)?;
    configure(&connection)?;
    let checked_at = clean_shutdown::check(&connection, sealed)?.map_err(FileProblem::Unfit)?;
    let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if form > FORM {
        return Err(FileProblem::Newer(form));
    }
    if form < 0 {
        return Err(FileProblem::Unfit("written by another version of alyx-proxy".to_owned()));
    }
    // On a disk that is full nothing can be written, and needn't be.
    if form != FORM {
        let tables = match form {
            0 => TABLES,
            1 => FROM_FIRST,
            _ => "",
        };
        connection.execute_batch(&format!("BEGIN;{tables}PRAGMA user_version = {FORM};COMMIT;"))?;
    }
    Ok((connection, checked_at))
}

/// The form of a file that a newer program has written, which nothing may change: it stands in the file's head (SQLite's
/// file format, 1.3).
fn newer(path: &Path) -> Option<i64> {
    let mut head = [0; 64];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    let form = i64::from(i32::from_be_bytes(head[60..64].try_into().ok()?));
    (head.starts_with(b"SQLite format 3\0") && form > FORM).then_some(form)
}

/// A connection to the database in a folder, be it in use or not; none where there is none of this form.
pub(super) fn beside(folder: &Path) -> rusqlite::Result<Option<Connection>> {
    let path = folder.join(NAME);
    if !path.exists() {
        return Ok(None);
    }
    let connection = connect(&path)?;
    // One of another form is brought to this one when it is opened to be kept.
    let form: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((form == FORM).then_some(connection))
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    configure(&connection)?;
    Ok(connection)
}

/// Settings of every connection. The page size counts only for a file that is new.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA page_size = 16384;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA busy_timeout = 5000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;
         PRAGMA analysis_limit = 400;",
    )?;
    connection.set_prepared_statement_cache_capacity(256);
    sql_functions::register(connection)
}

fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let at = clock::for_machines(clock::now()).replace(':', "-");
    let aside = path.with_file_name(format!("damaged-mirror-{at}.db"));
    for suffix in ["", "-wal", "-shm"] {
        let with_suffix = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        match fs::rename(with_suffix(path), with_suffix(&aside)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
