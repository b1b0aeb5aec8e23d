//! The mirror's database, `mirror.db`, beside the stored responses: one thread that writes, a few that read.
//!
//! A reader sees one state of all tables, and [`States`] that belong to just that state. [`super::file`] opens the
//! file, and begins a fresh one where that is damaged.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use arc_swap::ArcSwap;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

pub use super::file::MirrorOpenError;

use super::{
    change_log, connection_clock,
    corruption::Damage,
    faults,
    file::{self, Sound, connect},
    generation,
    ingest::LoadError,
    kept::KeptLists,
    quarantine,
    readers::MirrorReaders,
    schema::{EndpointTables, Schema},
    scrub,
    state::States,
};
use crate::{
    clock::{SharedClock, SystemClock},
    storage::seal::SecretSeal,
    store::{Degradation, ReadRequest, clean_shutdown, is_damage},
};

/// A change or a look-up that failed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// SQLite's word.
    #[error("mirror: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A record does not fit.
    #[error("mirror: {0}")]
    Load(#[from] LoadError),
    /// The thread that does the work has ended.
    #[error("the mirror is closed")]
    Closed,
    /// It took longer, or cost more, than it may.
    #[error("this look into the mirror costs too much")]
    TooCostly,
    /// All threads were busy until its time was over.
    #[error("the mirror has no time now")]
    Busy,
}

impl MirrorError {
    /// Whether the file itself is not as it should be.
    pub fn is_corruption(&self) -> bool {
        self.damage().is_some()
    }

    /// SQLite's word that says so.
    fn damage(&self) -> Option<&rusqlite::Error> {
        match self {
            Self::Sqlite(error) | Self::Load(LoadError::Sqlite(error)) => {
                Some(error).filter(|it| is_damage(it))
            }
            Self::Load(_) | Self::Closed | Self::TooCostly | Self::Busy => None,
        }
    }
}

type Write = Box<dyn FnOnce(&mut Connection) + Send>;

/// How many bytes of memory lists may take that were found lately, where no setting says that.
const LISTS: u64 = 16 << 20;

/// Whole tables of Alyx.
#[derive(Debug)]
pub struct Mirror {
    readers: MirrorReaders,
    writes: Mutex<Option<mpsc::Sender<Write>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    states: Arc<ArcSwap<States>>,
    path: PathBuf,
    damage: Arc<Damage>,
    /// Another after each time that a fresh file has taken the database's place.
    generation: Arc<AtomicU64>,
    pub(super) seal: OnceLock<Arc<SecretSeal>>,
    lists: KeptLists,
    clock: SharedClock,
}

impl Mirror {
    /// Opens the database in `folder`, making it where there is none, by the computer's clock.
    ///
    /// # Errors
    ///
    /// Of the file system, and SQLite's.
    pub fn open(folder: &Path) -> Result<Arc<Self>, MirrorOpenError> {
        Self::open_by(folder, &(Arc::new(SystemClock) as SharedClock), LISTS)
    }

    /// The same by another clock, where lists that were found lately are kept in so many bytes of memory.
    ///
    /// # Errors
    ///
    /// Of the file system, and SQLite's.
    pub fn open_by(folder: &Path, clock: &SharedClock, lists: u64) -> Result<Arc<Self>, MirrorOpenError> {
        fs::create_dir_all(folder).map_err(|error| MirrorOpenError::Io(folder.to_owned(), error))?;
        let path = folder.join(file::NAME);
        let sqlite = |error| MirrorOpenError::Sqlite(path.clone(), error);
        let Sound { mut connection, checked_at, set_aside } = file::sound(&path)?;
        connection_clock::give(&connection, clock).map_err(sqlite)?;
        let states = generation::prepare(&mut connection, Schema::get()).map_err(sqlite)?;
        let lists = KeptLists::new(lists);
        let states = Arc::new(ArcSwap::from_pointee(states.keeping(lists.clone())));
        let generation = Arc::new(AtomicU64::new(0));
        let readers = MirrorReaders::start(&path, &states, &generation, &lists, clock)?;
        let (writes, inbox) = mpsc::channel::<Write>();
        let sealed = path.clone();
        let thread = spawn("mirror-writer".to_owned(), &path, move || {
            if write_on(connection, &inbox) {
                clean_shutdown::write(&sealed, checked_at);
            }
        })?;
        Ok(Arc::new(Self {
            readers,
            writes: Mutex::new(Some(writes)),
            writer: Mutex::new(Some(thread)),
            states,
            path,
            damage: Arc::new(Damage::of(set_aside)),
            generation,
            seal: OnceLock::new(),
            lists,
            clock: clock.clone(),
        }))
    }

    /// Where the last database was put that was damaged as a whole.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.damage.set_aside()
    }

    /// What a disk has got wrong and is not mended yet.
    pub fn trouble(&self) -> Option<Degradation> {
        self.damage.trouble(&self.states()).or_else(|| self.overdue())
    }

    /// Looks something up for the proxy itself, in one state of all tables; the states are those of just that.
    pub async fn read<T, F>(&self, look: F) -> Result<T, MirrorError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Arc<States>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read_within(ReadRequest::own("the mirror's own work"), look).await
    }

    /// The same for somebody, within a budget.
    pub async fn read_within<T, F>(&self, request: ReadRequest, look: F) -> Result<T, MirrorError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Arc<States>) -> rusqlite::Result<T> + Send + 'static,
    {
        let result = self.readers.read(request, look).await;
        if let Some(error) = result.as_ref().err().and_then(MirrorError::damage) {
            self.damage.meet(error);
        }
        result
    }

    /// The look that has held a reading thread for too long, if any.
    pub fn overdue(&self) -> Option<Degradation> {
        self.readers.overdue()
    }

    /// What is known of damage.
    pub(super) fn damage(&self) -> &Arc<Damage> {
        &self.damage
    }

    /// Looks for tables in which something is not as it was stored. Reads all of them; an error if the file can't be read.
    pub(super) async fn look_through(&self) -> Result<Vec<&'static EndpointTables>, MirrorError> {
        let path = self.path.clone();
        // It takes long: on a connection of its own.
        let look = move || {
            let mut connection = connect(&path)?;
            let transaction = connection.transaction()?;
            let states = generation::states(&transaction)?;
            scrub::damaged(&transaction, &states)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        Ok(looked.map_err(|_| MirrorError::Closed)??)
    }

    /// Sets the file aside and begins a fresh one, which is to be filled anew.
    pub(super) async fn renew(&self) -> Result<(), MirrorOpenError> {
        let (tell, told) = oneshot::channel();
        let (path, states, generation) = (self.path.clone(), self.states.clone(), self.generation.clone());
        let (damage, clock, lists) = (self.damage.clone(), self.clock.clone(), self.lists.clone());
        let write: Write = Box::new(move |connection| {
            let before = states.load_full();
            let _ = tell.send(file::fresh(&path, before.version()).map(|fresh| {
                *connection = fresh.connection;
                if let Err(error) = connection_clock::give(connection, &clock) {
                    tracing::warn!(%error, "the mirror goes by the computer's clock");
                }
                damage.put_aside(&fresh.set_aside);
                let next = generation.load(Ordering::Acquire) + 1;
                states.store(Arc::new(fresh.states.keeping(lists.of_file(next))));
                damage.found(
                    before.iter().filter_map(|(name, _)| Some(Schema::get().table(name)?.endpoint.name)),
                );
                generation.store(next, Ordering::Release);
            }));
        });
        let closed = || MirrorOpenError::Io(self.path.clone(), io::Error::other("the mirror is closed"));
        {
            let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
            writes.as_ref().ok_or_else(closed)?.send(write).map_err(|_| closed())?;
        }
        told.await.map_err(|_| closed())?
    }

    /// What the tables are as of the last change.
    pub fn states(&self) -> Arc<States> {
        self.states.load_full()
    }

    /// A number that is another after each change of any table.
    pub fn version(&self) -> i64 {
        self.states.load().version()
    }

    /// Takes a parameter of an endpoint, whose answers were found to differ from Alyx's, out of local answering until these
    /// tables have been read as a whole; for good, where they have been since it was last found.
    pub async fn distrust(
        &self,
        endpoint: &'static str,
        parameter: &str,
        tables: &[&'static str],
    ) -> Result<(), MirrorError> {
        let (parameter, tables) = (parameter.to_owned(), tables.to_vec());
        let distrust = move |connection: &Connection| {
            faults::note(connection, endpoint, &parameter, quarantine::settled_at(connection, endpoint)?)?;
            Ok(quarantine::open(connection, endpoint, parameter, &tables)?)
        };
        self.write(distrust).await
    }

    /// Makes a change in one transaction, and returns when it is committed; an error undoes all of it.
    pub(super) async fn write<T, F>(&self, change: F) -> Result<T, MirrorError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, MirrorError> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let states = self.states.clone();
        let write: Write = Box::new(move |connection| {
            let _ = tell.send(transact(connection, &states, change));
        });
        let sent = {
            let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
            writes.as_ref().is_some_and(|writes| writes.send(write).is_ok())
        };
        if !sent {
            return Err(MirrorError::Closed);
        }
        let result = told.await.map_err(|_| MirrorError::Closed)?;
        // What only changes meet is damage too.
        if let Some(error) = result.as_ref().err().and_then(MirrorError::damage) {
            self.damage.meet(error);
        }
        result
    }

    /// A connection of one's own, for work that takes long.
    pub(super) fn connection(&self) -> rusqlite::Result<Connection> {
        connect(&self.path)
    }

    /// Writes what is waiting and closes the database. Blocks: not for the async runtime's threads.
    pub fn close(&self) {
        drop(self.writes.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the mirror's writing thread had failed");
        }
    }
}

pub(super) fn spawn(
    name: String,
    path: &Path,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, MirrorOpenError> {
    let spawned = thread::Builder::new().name(name).spawn(work);
    spawned.map_err(|error| MirrorOpenError::Io(path.to_owned(), error))
}

/// Brings the states to those of the transaction.
pub(super) fn current(transaction: &Connection, states: &mut Arc<States>) -> rusqlite::Result<()> {
    if generation::version(transaction)? != states.version() {
        *states = Arc::new(generation::states(transaction)?.after(states));
    }
    Ok(())
}

/// Makes the changes that come until no more can; whether all of them are in the database itself then.
fn write_on(mut connection: Connection, inbox: &mpsc::Receiver<Write>) -> bool {
    while let Ok(write) = inbox.recv() {
        write(&mut connection);
    }
    let tidied = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);");
    if let Err(error) = &tidied {
        tracing::warn!(%error, "the mirror was not tidied up");
    }
    tidied.is_ok()
}

fn transact<T>(
    connection: &mut Connection,
    latest: &ArcSwap<States>,
    change: impl FnOnce(&Connection) -> Result<T, MirrorError>,
) -> Result<T, MirrorError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = change_log::noting(&transaction, change)?;
    let mut states = latest.load_full();
    current(&transaction, &mut states)?;
    transaction.commit()?;
    latest.store(states);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_damaged_file_is_set_aside_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file::NAME), vec![7; 100_000]).unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        assert_eq!(fs::read(mirror.set_aside().unwrap()).unwrap(), vec![7; 100_000]);
        assert_eq!(mirror.read(|_, states| Ok(states.version())).await.unwrap(), 0);
        mirror.close();
    }

    #[tokio::test]
    async fn damage_that_only_a_change_meets_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        let damage = || {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            rusqlite::Error::SqliteFailure(code, None)
        };
        let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        let full = LoadError::Sqlite(rusqlite::Error::SqliteFailure(full, None));
        mirror.write(|_| Err::<(), _>(full.into())).await.unwrap_err();
        assert!(mirror.trouble().is_none() && !mirror.damage().take_suspicion());
        for error in [MirrorError::from(damage()), LoadError::Sqlite(damage()).into()] {
            assert!(error.is_corruption());
            mirror.write(|_| Err::<(), _>(error)).await.unwrap_err();
            assert!(mirror.damage().take_suspicion());
        }
        assert!(mirror.trouble().unwrap().what.contains("is damaged"));
        mirror.close();
    }

    #[tokio::test]
    async fn readers_see_the_states_of_what_they_read() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        mirror.write(|connection| Ok(generation::bump(connection)?)).await.unwrap();
        assert_eq!(mirror.version(), 1);
        assert_eq!(mirror.read(|_, states| Ok(states.version())).await.unwrap(), 1);
        let failed = mirror
            .write(|connection| {
                generation::bump(connection)?;
                Err::<(), _>(MirrorError::Closed)
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(mirror.read(|_, states| Ok(states.version())).await.unwrap(), 1, "undone");
        mirror.close();
        assert!(mirror.write(|_| Ok(())).await.is_err());
    }
}
