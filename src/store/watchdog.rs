//! Looking after the database's file while it is in use: a disk that takes no more, a file that was deleted, a file
//! that is damaged.
//!
//! What was deleted is still there for who holds it open, and is written out again. Of what is damaged everything that
//! can be read is carried over into a fresh file, and the damaged one is set aside, never deleted. Connections to a file
//! that has been moved leave the logs of the file in its place alone: SQLite looks, before it closes, whether the file
//! is still its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    ballast::Ballast,
    clean_shutdown,
    health::{FULL, StoreHealth, of_the_disk},
    open::{self, StoreOpenError},
    replace::{Exchanged, atomic_replace},
};
use crate::clock::Millis;

/// After a fresh file could not be made, the next try comes so much later.
const AGAIN: Duration = Duration::from_secs(30);
/// The disk has room again when it takes so much.
const PROBE: usize = 1 << 20;

/// The writer's connection, and what is known of the file that it is to.
#[derive(Debug)]
pub(super) struct Watchdog {
    path: PathBuf,
    connection: Connection,
    /// When the file was last found sound as a whole.
    checked_at: Millis,
    /// What the file system calls the file that is open.
    identity: Option<u64>,
    /// What is given up where a start would fail for want of room.
    reserve: Ballast,
    shared: Arc<StoreHealth>,
    /// When a fresh file could not be made.
    failed_at: Option<Instant>,
}

impl Watchdog {
    pub(super) fn new(
        path: PathBuf,
        connection: Connection,
        checked_at: Millis,
        shared: Arc<StoreHealth>,
    ) -> Self {
        let (identity, reserve) = (identity(&path), Ballast::of(path.parent().unwrap_or(Path::new(""))));
        Self { path, connection, checked_at, identity, reserve, shared, failed_at: None }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn shared(&self) -> &StoreHealth {
        &self.shared
    }

    /// Looks whether all is well, and mends what can be mended.
    pub(super) fn check(&mut self) {
        if self.failed_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        self.failed_at = None;
        match identity(&self.path) {
            None => self.replace("was deleted", Self::write_out),
            now if now != self.identity => self.shared.enter(
                "Another file has been put in the database's place; it is used from the next start on"
                    .to_owned(),
                &self.path,
            ),
            _ if self.shared.take_suspicion() => self.inspect(),
            _ if self.shared.degradation().is_some() => self.probe(),
            _ if !self.reserve.is_there() => self.keep_room(),
            _ => {}
        }
    }

    /// Keeps room for a start while the disk is full; where there is none for that, it is full.
    fn keep_room(&self) {
        match self.reserve.make() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.shared.enter(FULL.to_owned(), &self.path);
            }
            Err(error) => tracing::trace!(%error, "no room is kept for a start while the disk is full"),
            Ok(()) => {}
        }
    }

    /// Writes what is in the log into the file, and seals it.
    pub(super) fn close(self) {
        let tidied = self.connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
        // On a full disk the next start needs room again: that of the log is free now.
        if self.shared.degradation().is_some() && !self.reserve.is_there() {
            self.keep_room();
        }
        match tidied {
            Err(error) => tracing::warn!(%error, "the database was not tidied up"),
            Ok(()) if identity(&self.path) == self.identity => {
                clean_shutdown::write(&self.path, self.checked_at);
            }
            Ok(()) => tracing::warn!("another file lies in the database's place; it was left as it is"),
        }
    }

    /// Whether the disk takes something again.
    fn probe(&self) {
        let room = if self.reserve.is_there() {
            let file = self.path.with_extension("probe");
            let written = fs::write(&file, vec![0; PROBE]);
            written.and(fs::remove_file(&file))
        } else {
            self.reserve.make()
        };
        if room.is_err() {
            return;
        }
        let version = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let changed = self
            .connection
            .query_row("PRAGMA user_version", [], version)
            .and_then(|version| self.connection.pragma_update(None, "user_version", version));
        match changed {
            Ok(()) => self.shared.leave(&self.path),
            Err(error) => {
                if let Some(trouble) = of_the_disk(&error) {
                    self.shared.enter(trouble, &self.path);
                }
            }
        }
    }

    /// Reads the whole file after something has shown signs of damage: also whether the indexes say what the tables
    /// say, as that may be what it has met.
    fn inspect(&mut self) {
        let verdict: rusqlite::Result<String> =
            self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
        match verdict {
            Ok(verdict) if verdict == "ok" => {
                tracing::warn!("a look-up met damage, but the database as a whole is sound");
            }
            _ => self.replace("is damaged", Self::carry_over),
        }
    }

    /// Puts a fresh file in the place of the one that `why` tells of, filled by `fill`.
    fn replace(&mut self, why: &str, fill: fn(&Self, &Path) -> Result<String, StoreOpenError>) {
        match self.renew(fill) {
            Ok((told, aside)) => {
                let aside = aside
                    .map_or_else(String::new, |path| format!("; it was set aside as {}", path.display()));
                tracing::error!(
                    "the database {} {why}{aside}; a fresh one goes on with {told}",
                    self.path.display()
                );
            }
            Err(error) => {
                self.failed_at = Some(Instant::now());
                let what =
                    format!("The database {why}, and no fresh one can be made ({error}): it is tried again");
                self.shared.enter(what, &self.path);
                // The next look finds it again, also where nothing is read meanwhile.
                self.shared.suspect();
            }
        }
    }

    fn renew(
        &mut self,
        fill: fn(&Self, &Path) -> Result<String, StoreOpenError>,
    ) -> Result<(String, Option<PathBuf>), StoreOpenError> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(|error| StoreOpenError::Io(folder.to_owned(), error))?;
        }
        let Exchanged { told, aside } = atomic_replace(&self.path, |fresh| fill(self, fresh))?;
        let (connection, checked_at) = open::connect(&self.path)?;
        self.connection = connection;
        self.checked_at = checked_at;
        self.identity = identity(&self.path);
        self.shared.renewed(&self.connection, aside.clone());
        self.shared.leave(&self.path);
        Ok((told, aside))
    }

    /// A deleted file is whole for who holds it open.
    fn write_out(&self, fresh: &Path) -> Result<String, StoreOpenError> {
        let target = fresh.to_string_lossy();
        self.connection
            .execute("VACUUM INTO ?1", [&*target])
            .map_err(|error| StoreOpenError::Sqlite(fresh.to_owned(), error))?;
        Ok("all that was in it".to_owned())
    }

    fn carry_over(&self, fresh: &Path) -> Result<String, StoreOpenError> {
        open::carry_over(&self.connection, fresh)
    }
}

/// What tells a file from another that comes to lie in its place; none where there is no file.
#[cfg(unix)]
fn identity(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|about| about.ino())
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<u64> {
    path.exists().then_some(0)
}

#[cfg(test)]
mod tests {
    use super::super::Store;

    /// An index that was left behind by its table: to all who only look how pages hang together it is sound.
    #[tokio::test]
    async fn an_index_that_a_disk_got_wrong_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let insert = "INSERT INTO history (user, key, question, at) VALUES (x'01', x'01', '/labs', 1), (x'01', x'02', '/labs', 2)";
        store.commit("rows", |connection| connection.execute_batch(insert)).await.unwrap();
        store.close();
        drop(store);
        let index = "name = 'history_at'";
        let connection = rusqlite::Connection::open(folder.path().join("proxy.db")).unwrap();
        let pretend = format!(
            "PRAGMA writable_schema = ON;
             CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE {index};
             DELETE FROM sqlite_schema WHERE {index};
             PRAGMA writable_schema = RESET;
             UPDATE history SET at = at + 10;
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema SELECT * FROM kept;
             DROP TABLE kept;
             PRAGMA writable_schema = RESET;"
        );
        connection.execute_batch(&pretend).unwrap();
        drop(connection);

        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.set_aside(), None, "nothing is seen at the start");
        let forget = || {
            let sql = "DELETE FROM history WHERE user = x'01' AND key = x'01'";
            store.commit("a deletion", move |connection| connection.execute(sql, []).map(drop))
        };
        assert!(forget().await.is_err(), "the index does not have the row");
        let start = std::time::Instant::now();
        while store.set_aside().is_none() {
            assert!(start.elapsed().as_secs() < 60, "never noticed");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        forget().await.unwrap();
        let left = "SELECT count(*), min(at) FROM history INDEXED BY history_at WHERE at > 0";
        let left = move |connection: &rusqlite::Connection| {
            connection.query_row(left, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        };
        assert_eq!(store.read(left).await.unwrap(), (1, 12));
        store.close();
    }
}
