//! The database on disk: SQLite in WAL mode, one writing thread, a few reading ones.
//!
//! All changes go through the one writer, which takes what is waiting and commits it together, so
//! that nobody meets a locked database and a burst costs one commit. Reads run on threads of their
//! own with a connection each; nothing here blocks the async runtime. Times of commits are not
//! forced to the platter (`synchronous=NORMAL`): a killed process loses nothing, a power cut may
//! lose the last moments, and neither damages the file.

#![allow(
    clippy::disallowed_methods,
    reason = "its threads wait in real time (`recv_timeout`), and count how long a disk fails"
)]

mod ballast;
pub(crate) mod budget;
pub(crate) mod clean_shutdown;
mod health;
mod open;
mod reader;
pub(crate) mod reader_pool;
mod recover;
mod replace;
mod rewrite;
mod watchdog;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;

pub use health::Degradation;
pub use open::StoreOpenError;
pub use reader_pool::ReadRequest;
pub use rewrite::seal_once;

use ballast::Ballast;
use health::StoreHealth;
pub(crate) use health::{is_damage, may_be_a_full_disk};
use open::Database;
use reader::Readers;
use watchdog::Watchdog;
use writer::Writer;

/// A change or a look-up that the database refused.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own word.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread that does the work has ended.
    #[error("the database is closed")]
    Closed,
    /// Too much is waiting to be written (a slow or full disk).
    #[error("too much is waiting to be written")]
    Behind,
    /// It would take longer, or cost more, than it may.
    #[error("the database has no time for this")]
    TooCostly,
}

/// What one upstream is remembered in.
#[derive(Debug)]
pub struct Store {
    writer: Writer,
    readers: Readers,
    folder: PathBuf,
    shared: Arc<StoreHealth>,
}

impl Store {
    /// Opens the database in `folder`, making it where there is none. A damaged one is set aside,
    /// never deleted, and a fresh one begun.
    pub fn open(folder: &Path) -> Result<Self, StoreOpenError> {
        match Self::try_open(folder) {
            Err(error) if error.may_be_a_full_disk() && Ballast::of(folder).give_up() => {
                let store = Self::try_open(folder)?;
                store.shared.enter(health::FULL.to_owned(), folder);
                Ok(store)
            }
            opened => opened,
        }
    }

    fn try_open(folder: &Path) -> Result<Self, StoreOpenError> {
        let Database { path, connection, checked_at, set_aside } = open::database(folder)?;
        let shared = Arc::new(StoreHealth::of(set_aside));
        let readers = Readers::start(&path, &shared)?;
        let keeper = Watchdog::new(path, connection, checked_at, shared.clone());
        Ok(Self { writer: Writer::start(keeper)?, readers, folder: folder.to_owned(), shared })
    }

    /// Gives up the room that is kept for a start while the disk is full; whether there was any.
    pub fn make_room(&self) -> bool {
        let made = Ballast::of(&self.folder).give_up();
        if made {
            self.shared.enter(health::FULL.to_owned(), &self.folder);
        }
        made
    }

    /// The folder of this upstream.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a damaged database was put, when this one was opened or since then.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.shared.set_aside()
    }

    /// What is wrong with the disk or the database now.
    pub fn degradation(&self) -> Option<Degradation> {
        self.shared.degradation().or_else(|| self.readers.overdue())
    }

    /// The look that has held a reading thread for too long, if any.
    pub fn overdue(&self) -> Option<Degradation> {
        self.readers.overdue()
    }

    /// Has `renewal` called, by the writing thread, with each database that takes the place of a damaged one.
    pub fn on_database_replaced(&self, renewal: impl Fn(&Connection) + Send + Sync + 'static) {
        self.shared.on_database_replaced(Box::new(renewal));
    }

    /// Has `undone` called, by the writing thread, after changes of which at least one was undone.
    pub fn on_rollback(&self, undone: impl Fn(&Connection) + Send + Sync + 'static) {
        self.shared.on_rollback(Box::new(undone));
    }

    /// Makes a change soon; its failure is logged. `size` is the memory that it holds until then; where too much waits
    /// already, it is not made.
    pub fn write<F>(&self, what: &'static str, size: usize, change: F)
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let room = if size > 0 { self.writer.room_now(size).map(Some) } else { Ok(None) };
        let submitted = room.and_then(|room| self.writer.submit(what, room, Box::new(change), None));
        if let Err(error) = submitted {
            tracing::error!(what, %error, "not written");
        }
    }

    /// The same once there is room for it: whoever brings more than the disk takes is held back, though not for ever.
    pub async fn write_with_backpressure<F>(&self, what: &'static str, size: usize, change: F)
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let room = self.writer.room(size).await;
        let submitted = room.and_then(|room| self.writer.submit(what, Some(room), Box::new(change), None));
        if let Err(error) = submitted {
            tracing::error!(what, %error, "not written");
        }
    }

    /// Makes a change and returns when it is committed.
    pub async fn commit<F>(&self, what: &'static str, change: F) -> Result<(), StoreError>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let (done, committed) = tokio::sync::oneshot::channel();
        self.writer.submit(what, None, Box::new(change), Some(done))?;
        committed.await.map_err(|_| StoreError::Closed)?
    }

    /// Looks something up.
    pub async fn read<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.readers.read(ReadRequest::own("what is stored"), look).await
    }

    /// The same for somebody else than the proxy itself, within a budget.
    pub async fn read_within<T, F>(&self, request: ReadRequest, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.readers.read(request, look).await
    }

    /// Returns when what has been submitted so far is committed.
    pub async fn written(&self) -> Result<(), StoreError> {
        self.commit("what is waiting", |_| Ok(())).await
    }

    /// A connection of one's own, for work that takes long, as what has been submitted so far has been written.
    pub async fn connection(&self) -> Result<Connection, StoreError> {
        self.written().await?;
        Ok(open::beside(&self.folder)?)
    }

    /// Writes what is waiting and closes the database.
    pub fn close(&self) {
        self.writer.close();
    }
}
