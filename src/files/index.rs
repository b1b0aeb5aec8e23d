//! What is kept of which file, and to whom the data server gave it: a small database beside the blocks.
//!
//! It is a cache: where it is damaged it is begun anew, and files are fetched again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, Row, params};
use rusqlite_migration::{M, Migrations};

use super::{block::PieceSum, judged::JudgedFile, version::FileVersion};
use crate::{clock::Millis, data_dir};

const NAME: &str = "index.db";
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("../../migrations/files/0001_first.sql")),
    M::up(include_str!("../../migrations/files/0002_judged.sql")),
];

/// Room that is counted for a file of this size: whole blocks of the file system.
pub(super) fn room_of(size: u64) -> u64 {
    size.next_multiple_of(4096)
}

/// A file of which something may be kept.
#[derive(Debug, Clone)]
pub(crate) struct IndexedFile {
    pub(crate) id: i64,
    pub(crate) version: FileVersion,
    /// When the data server last said that this is the file.
    pub(crate) checked_at: Millis,
    /// When it last gave it to whoever asks; none where it never did.
    pub(crate) granted_at: Option<Millis>,
    /// What it was found to be when all of it was here; none where it never was.
    pub(crate) judged: Option<JudgedFile>,
}

/// What is kept of a block.
#[derive(Debug)]
pub(crate) struct IndexedBlock {
    pub(crate) size: u64,
    pub(crate) sums: Vec<PieceSum>,
}

/// What came of keeping a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptBlock {
    /// It is the first of its file.
    First,
    /// There were others.
    More,
    /// Its file is no longer known.
    FileGone,
}

/// The database was damaged, closed or full.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// SQLite's own word.
    #[error("the index of the files: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The work was not done.
    #[error("the index of the files was not asked")]
    Lost,
}

/// The index.
#[derive(Debug, Clone)]
pub(crate) struct FileIndex(Arc<Mutex<Connection>>);

impl FileIndex {
    /// Opens the index in `folder`. One that can't be used gives way.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let opened = connect(&path).or_else(|error| {
            tracing::error!("the index of the files can't be used ({error}): files are fetched anew");
            for suffix in ["", "-wal", "-shm"] {
                match fs::remove_file(PathBuf::from(format!("{}{suffix}", path.display()))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            connect(&path).map_err(io::Error::other)
        });
        Ok(Self(Arc::new(Mutex::new(opened?))))
    }

    /// Does something in the database, on a thread that may wait.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, IndexError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let index = self.clone();
        let done = tokio::task::spawn_blocking(move || index.now(work)).await;
        Ok(done.map_err(|_| IndexError::Lost)??)
    }

    /// The same on a thread that may wait already.
    pub(super) fn now<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the file at this path, for whoever asks; it counts as used now.
    pub(super) async fn find(
        &self,
        path: &str,
        who: [u8; 32],
        now: Millis,
    ) -> Result<Option<IndexedFile>, IndexError> {
        let path = path.to_owned();
        self.run(move |connection| {
            let found = find(connection, &path, who)?;
            if let Some(file) = &found {
                let sql = "UPDATE files SET used_at = max(used_at, ?2) WHERE id = ?1";
                // On a full disk it is given all the same.
                if let Err(error) = connection.prepare_cached(sql)?.execute((file.id, now)) {
                    tracing::debug!(%error, "that a file was used is not noted");
                }
            }
            Ok(found)
        })
        .await
    }

    /// The data server gave whoever asks this version at this path: the file, and the one that it takes the place of.
    pub(super) async fn vouch(
        &self,
        path: &str,
        version: FileVersion,
        who: [u8; 32],
        now: Millis,
    ) -> Result<(IndexedFile, Option<i64>), IndexError> {
        let path = path.to_owned();
        self.run(move |connection| {
            let change = connection.transaction()?;
            let before = find(&change, &path, who)?;
            let same = before.as_ref().filter(|before| before.version.is_same(&version));
            let (same, judged) = same.map(|same| (same.id, same.judged.clone())).unzip();
            let old = before.map(|before| before.id).filter(|id| same != Some(*id));
            if let Some(old) = old {
                change.execute("DELETE FROM files WHERE id = ?1", [old])?;
            }
            let id = match same {
                Some(id) => {
                    change.execute("UPDATE files SET checked_at = ?2 WHERE id = ?1", (id, now))?;
                    id
                }
                None => insert(&change, &path, &version, now)?,
            };
            let sql = "INSERT INTO grants (file, who, at) VALUES (?1, ?2, ?3)
                       ON CONFLICT (file, who) DO UPDATE SET at = excluded.at";
            change.execute(sql, params![id, who, now])?;
            change.commit()?;
            let judged = judged.flatten();
            Ok((IndexedFile { id, version, checked_at: now, granted_at: Some(now), judged }, old))
        })
        .await
    }

    /// The data server gives the file at this path no longer to whoever asks.
    pub(super) async fn revoke(&self, path: &str, who: [u8; 32]) -> Result<(), IndexError> {
        let path = path.to_owned();
        self.run(move |connection| {
            let sql = "DELETE FROM grants WHERE who = ?2 AND file = (SELECT id FROM files WHERE path = ?1)";
            connection.execute(sql, params![path, who]).map(drop)
        })
        .await
    }

    /// Forgets a file.
    pub(super) async fn forget(&self, id: i64) -> Result<(), IndexError> {
        self.run(move |connection| connection.execute("DELETE FROM files WHERE id = ?1", [id]).map(drop))
            .await
    }

    /// What is kept of a block.
    pub(super) async fn block(&self, id: i64, number: u64) -> Result<Option<IndexedBlock>, IndexError> {
        self.run(move |connection| {
            let sql = "SELECT size, sums FROM blocks WHERE file = ?1 AND number = ?2";
            let read = |row: &Row<'_>| {
                let sums: Vec<u8> = row.get(1)?;
                let (sums, _) = sums.as_chunks::<16>();
                Ok(IndexedBlock { size: row.get(0)?, sums: sums.to_vec() })
            };
            connection.prepare_cached(sql)?.query_row((id, number), read).optional()
        })
        .await
    }

    /// Notes that a block is kept.
    pub(super) async fn keep(
        &self,
        id: i64,
        number: u64,
        size: u64,
        sums: Vec<PieceSum>,
    ) -> Result<KeptBlock, IndexError> {
        self.run(move |connection| {
            let change = connection.transaction()?;
            let sql = "UPDATE files SET bytes = bytes + ?2 WHERE id = ?1 RETURNING bytes";
            let room = room_of(size);
            let all: Option<u64> = change.query_row(sql, (id, room), |row| row.get(0)).optional()?;
            let Some(all) = all else { return Ok(KeptBlock::FileGone) };
            let sql = "INSERT INTO blocks (file, number, size, sums) VALUES (?1, ?2, ?3, ?4)";
            change.execute(sql, params![id, number, size, sums.concat()])?;
            change.commit()?;
            Ok(if all == room { KeptBlock::First } else { KeptBlock::More })
        })
        .await
    }

    /// Forgets a block; the room that it took.
    pub(super) async fn drop_block(&self, id: i64, number: u64) -> Result<u64, IndexError> {
        self.run(move |connection| {
            let change = connection.transaction()?;
            let sql = "DELETE FROM blocks WHERE file = ?1 AND number = ?2 RETURNING size";
            let size: Option<u64> = change.query_row(sql, (id, number), |row| row.get(0)).optional()?;
            let room = size.map_or(0, room_of);
            change.execute("UPDATE files SET bytes = max(0, bytes - ?2) WHERE id = ?1", (id, room))?;
            change.commit()?;
            Ok(room)
        })
        .await
    }

    /// How many of these blocks are kept, both ends included.
    pub(super) async fn count(&self, id: i64, first: u64, last: u64) -> Result<u64, IndexError> {
        self.run(move |connection| {
            let sql = "SELECT count(*) FROM blocks WHERE file = ?1 AND number BETWEEN ?2 AND ?3";
            connection.prepare_cached(sql)?.query_row((id, first, last), |row| row.get(0))
        })
        .await
    }

    /// Whether anything was granted to anybody else.
    pub(super) async fn has_granted_others(&self, who: [u8; 32]) -> Result<bool, IndexError> {
        self.run(move |connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM grants WHERE who <> ?1)";
            connection.prepare_cached(sql)?.query_row((who,), |row| row.get(0))
        })
        .await
    }

    /// All blocks that are kept, by file and number.
    pub(super) fn all_blocks(&self) -> rusqlite::Result<Vec<(i64, u64)>> {
        self.now(|connection| {
            let mut query = connection.prepare("SELECT file, number FROM blocks")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// Files of which something is kept, and the room that they take.
    pub(super) fn usage(&self) -> rusqlite::Result<(u64, u64)> {
        self.now(|connection| {
            let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM files WHERE bytes > 0";
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    /// Forgets files that nobody has asked for longest, until so much room is made: they, and the room.
    pub(super) fn evict(
        &self,
        room: u64,
        is_in_use: impl Fn(i64) -> bool,
    ) -> rusqlite::Result<(Vec<i64>, u64)> {
        self.now(|connection| {
            let change = connection.transaction()?;
            let (mut gone, mut made) = (Vec::new(), 0);
            let mut query =
                change.prepare("SELECT id, bytes FROM files WHERE bytes > 0 ORDER BY used_at, id")?;
            let mut rows = query.query([])?;
            while made < room
                && let Some(row) = rows.next()?
            {
                let (id, bytes): (i64, u64) = (row.get(0)?, row.get(1)?);
                if !is_in_use(id) {
                    gone.push(id);
                    made += bytes;
                }
            }
            drop(rows);
            drop(query);
            for id in &gone {
                change.execute("DELETE FROM files WHERE id = ?1", [id])?;
            }
            change.commit()?;
            Ok((gone, made))
        })
    }
}

fn find(connection: &Connection, path: &str, who: [u8; 32]) -> rusqlite::Result<Option<IndexedFile>> {
    let sql = "SELECT id, length, etag, last_modified, content_type, checked_at,
                      (SELECT at FROM grants WHERE file = files.id AND who = ?2), md5, record
               FROM files WHERE path = ?1";
    let read = |row: &Row<'_>| {
        let version = FileVersion {
            length: row.get(1)?,
            etag: row.get(2)?,
            last_modified: row.get(3)?,
            content_type: row.get(4)?,
        };
        let judged = JudgedFile::of(row.get(7)?, row.get::<_, Option<String>>(8)?.as_deref());
        let (id, checked_at, granted_at) = (row.get(0)?, row.get(5)?, row.get(6)?);
        Ok(IndexedFile { id, version, checked_at, granted_at, judged })
    };
    connection.prepare_cached(sql)?.query_row(params![path, who], read).optional()
}

fn insert(connection: &Connection, path: &str, version: &FileVersion, now: Millis) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO files
                   (path, length, etag, last_modified, content_type, checked_at, used_at, scrubbed_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6)";
    let FileVersion { length, etag, last_modified, content_type } = version;
    connection.execute(sql, params![path, length, etag, last_modified, content_type, now])?;
    Ok(connection.last_insert_rowid())
}

fn connect(path: &Path) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    // SQLite gives what it makes beside it the same mode.
    drop(data_dir::open_private(fs::OpenOptions::new().write(true).truncate(false), path)?);
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA foreign_keys = ON;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;",
    )?;
    let sound: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(sound.into());
    }
    Migrations::from_slice(MIGRATIONS).to_latest(&mut connection)?;
    Ok(connection)
}
