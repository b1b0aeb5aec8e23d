//! Opening the database: making, migrating, checking, and setting a damaged one aside.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::{
    clean_shutdown,
    health::{is_damage, may_be_a_full_disk},
    recover::{Rescued, recover},
    replace::{self, Exchanged, atomic_replace},
};
use crate::{
    alyx::invalidates::DOUBTED,
    clock::{self, Millis},
};

const NAME: &str = "proxy.db";
const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("../../migrations/0001_first.sql")),
    M::up(include_str!("../../migrations/0002_media.sql")),
    M::up(include_str!("../../migrations/0003_history.sql")),
    M::up(include_str!("../../migrations/0004_pinned.sql")),
    M::up(include_str!("../../migrations/0005_cluster.sql")),
];

/// Why there is no database.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// SQLite's word, where the file is not at fault.
    #[error("{0}: {1}")]
    Sqlite(PathBuf, rusqlite::Error),
    /// It is damaged, and stays so: what can be read of it can't be written anew.
    #[error(
        "{0}: is damaged, and no fresh database can be made of what can be read of it ({1}); nothing of it is lost"
    )]
    Rescue(PathBuf, Box<StoreOpenError>),
    /// A newer program has written it.
    #[error("{0}: written by a newer alyx-proxy; use that one, or another `storage.data_dir`")]
    Newer(PathBuf),
    /// A migration failed.
    #[error("{0}: can't be brought up to date: {1}")]
    Migration(PathBuf, rusqlite_migration::Error),
}

impl StoreOpenError {
    /// Whether more room on the disk may help.
    pub(super) fn may_be_a_full_disk(&self) -> bool {
        match self {
            Self::Io(_, error) => error.kind() == io::ErrorKind::StorageFull,
            Self::Sqlite(_, error) => may_be_a_full_disk(error),
            Self::Migration(_, rusqlite_migration::Error::RusqliteError { err, .. }) => {
                may_be_a_full_disk(err)
            }
            Self::Rescue(_, error) => error.may_be_a_full_disk(),
            Self::Newer(_) | Self::Migration(..) => false,
        }
    }
}

/// A database that is sound and up to date.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    /// When it was last found sound as a whole.
    pub(super) checked_at: Millis,
    /// Where a damaged one lies now that was in its place.
    pub(super) set_aside: Option<PathBuf>,
}

/// Opens the folder's database.
pub(super) fn database(folder: &Path) -> Result<Database, StoreOpenError> {
    fs::create_dir_all(folder).map_err(|error| StoreOpenError::Io(folder.to_owned(), error))?;
    let path = folder.join(NAME);
    replace::finish_interrupted(&path)?;
    match sound(&path) {
        Ok((connection, checked_at)) => Ok(Database { path, connection, checked_at, set_aside: None }),
        Err(Unusable::Refused(error)) => Err(error),
        Err(Unusable::Damaged(why)) => {
            let rescue = |fresh: &Path| match Connection::open(&path) {
                Ok(damaged) => carry_over(&damaged, fresh),
                Err(error) => connect(fresh).map(|_| format!("nothing of it ({error})")),
            };
            let Exchanged { told, aside } = atomic_replace(&path, rescue)
                .map_err(|error| StoreOpenError::Rescue(path.clone(), Box::new(error)))?;
            tracing::error!(
                "the database {} is damaged ({why}); it was set aside as {} and a fresh one begun with {told}",
                path.display(),
                aside.as_deref().unwrap_or(Path::new("")).display()
            );
            let (connection, checked_at) = connect(&path)?;
            Ok(Database { path, connection, checked_at, set_aside: aside })
        }
    }
}

/// Opens a database that was made a moment ago.
pub(super) fn connect(path: &Path) -> Result<(Connection, Millis), StoreOpenError> {
    sound(path).map_err(|trouble| match trouble {
        Unusable::Refused(error) => error,
        Unusable::Damaged(why) => StoreOpenError::Io(path.to_owned(), io::Error::other(why)),
    })
}

/// Makes a fresh database of what can be read of a damaged one, and says what that is. As the damage may have taken
/// marks of writes, everything that is carried over is to be asked anew while Alyx can be reached.
pub(super) fn carry_over(damaged: &Connection, fresh: &Path) -> Result<String, StoreOpenError> {
    let (mut connection, _) = connect(fresh)?;
    let sqlite = |error| StoreOpenError::Sqlite(fresh.to_owned(), error);
    let Rescued { rows, broken } = recover(damaged, &mut connection).map_err(sqlite)?;
    doubt(&connection).map_err(sqlite)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").map_err(sqlite)?;
    let rest = if broken == 0 { "" } else { ", all that could be read" };
    Ok(format!("{rows} rows of it{rest}"))
}

/// Marks everything as written now: what is stored counts while Alyx is away, and is asked anew else.
fn doubt(connection: &Connection) -> rusqlite::Result<()> {
    // Later than all that is stored, also where the clock was set back.
    let sql = "INSERT INTO marks (scope, at)
               SELECT ?1, max(?2, coalesce(max(used_at), 0)) FROM responses WHERE true
               ON CONFLICT (scope) DO UPDATE SET at = max(at, excluded.at)";
    connection.execute(sql, (DOUBTED, clock::now())).map(drop)
}

enum Unusable {
    Damaged(String),
    Refused(StoreOpenError),
}

fn sound(path: &Path) -> Result<(Connection, Millis), Unusable> {
    let judge = |error: rusqlite::Error| {
        if is_damage(&error) {
            Unusable::Damaged(error.to_string())
        } else {
            Unusable::Refused(StoreOpenError::Sqlite(path.to_owned(), error))
        }
    };
    let (sealed, left) = (clean_shutdown::consume(path), Left::of(path));
    let mut connection = Connection::open(path).map_err(judge)?;
    configure(&connection).map_err(judge)?;
    let checked_at = clean_shutdown::check(&connection, sealed).map_err(judge)?.map_err(Unusable::Damaged)?;
    match Migrations::from_slice(MIGRATIONS).to_latest(&mut connection) {
        Ok(()) => {
            if left.without_log() && sealed.is_none() {
                tracing::warn!(
                    "the database {} was neither closed in good order nor has it its log, or it is a copy: what is \
                     stored is asked anew while Alyx can be reached",
                    path.display()
                );
                doubt(&connection).map_err(judge)?;
            }
            Ok((connection, checked_at))
        }
        Err(rusqlite_migration::Error::MigrationDefinition(_)) => {
            Err(Unusable::Refused(StoreOpenError::Newer(path.to_owned())))
        }
        Err(error) => Err(Unusable::Refused(StoreOpenError::Migration(path.to_owned(), error))),
    }
}

/// Another connection to the folder's database.
pub(super) fn beside(folder: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(NAME), flags)?;
    configure(&connection)?;
    Ok(connection)
}

/// Settings of every connection. The page size counts only for a file that is new. In a container whose root is read-only
/// there is no folder for temporary files.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA page_size = 16384;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA busy_timeout = 5000;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cell_size_check = ON;
         PRAGMA temp_store = MEMORY;",
    )
}

/// What lay there before a database was opened.
struct Left {
    database: bool,
    log: bool,
}

impl Left {
    fn of(path: &Path) -> Self {
        let log = PathBuf::from(format!("{}-wal", path.display()));
        Self { database: fs::metadata(path).is_ok_and(|about| about.len() > 0), log: log.exists() }
    }

    /// After a crash the log is there, be it empty. Without it the last changes are lost, and with them it may be that
    /// something was written which makes answers stale.
    fn without_log(&self) -> bool {
        self.database && !self.log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_sound() {
        Migrations::from_slice(MIGRATIONS).validate().unwrap();
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), vec![7; 100_000]).unwrap();
        let database = database(folder.path()).unwrap();
        let aside = database.set_aside.unwrap();
        assert_eq!(fs::read(aside).unwrap(), vec![7; 100_000]);
    }

    #[test]
    fn a_damaged_file_stays_where_it_is_while_nothing_can_be_made_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, part) = (folder.path().join(NAME), folder.path().join("proxy.part"));
        fs::write(&path, vec![7; 100_000]).unwrap();
        // A folder lies where the fresh one is to be made.
        fs::create_dir(&part).unwrap();
        for _ in 0..2 {
            assert!(matches!(database(folder.path()), Err(StoreOpenError::Rescue(..))));
            assert_eq!(fs::read(&path).unwrap(), vec![7; 100_000]);
        }
        fs::remove_dir(&part).unwrap();
        assert!(database(folder.path()).unwrap().set_aside.is_some());
    }

    #[test]
    fn a_newer_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        drop(database(folder.path()).unwrap());
        let connection = Connection::open(folder.path().join(NAME)).unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
        drop(connection);
        assert!(matches!(database(folder.path()), Err(StoreOpenError::Newer(_))));
        assert!(folder.path().join(NAME).exists());
    }
}
