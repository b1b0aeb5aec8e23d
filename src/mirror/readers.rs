//! The threads that read the mirror's database: each look sees one state of all tables, and [`States`] that belong to just
//! that.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rusqlite::Connection;

use super::{
    connection_clock,
    database::{MirrorError, current},
    file::{MirrorOpenError, connect},
    kept::KeptLists,
    state::States,
};
use crate::{
    clock::SharedClock,
    store::{
        Degradation, ReadRequest,
        budget::{Meter, Ticket, is_interrupt},
        reader_pool::{NoRead, ReaderPool},
    },
};

/// One more than anybody has at once.
const THREADS: usize = 3;

/// The threads.
#[derive(Debug)]
pub(super) struct MirrorReaders(ReaderPool<MirrorReader>);

/// A thread's connection, and which file it is to.
struct MirrorReader {
    path: PathBuf,
    connection: Connection,
    meter: Arc<Meter>,
    states: Arc<States>,
    generation: u64,
    latest: Arc<AtomicU64>,
    lists: KeptLists,
    clock: SharedClock,
}

impl MirrorReaders {
    /// Starts them; `generation` is another whenever another file has taken the database's place.
    pub(super) fn start(
        path: &Path,
        states: &ArcSwap<States>,
        generation: &Arc<AtomicU64>,
        lists: &KeptLists,
        clock: &SharedClock,
    ) -> Result<Self, MirrorOpenError> {
        let open = |_| {
            let (connection, meter) = connection(path, clock)?;
            Ok(MirrorReader {
                path: path.to_owned(),
                connection,
                meter,
                states: states.load_full(),
                generation: 0,
                latest: generation.clone(),
                lists: lists.clone(),
                clock: clock.clone(),
            })
        };
        let readers: rusqlite::Result<Vec<_>> = (0..THREADS).map(open).collect();
        let readers = readers.map_err(|error| MirrorOpenError::Sqlite(path.to_owned(), error))?;
        let pool = ReaderPool::start("mirror-reader", readers);
        pool.map(Self).map_err(|error| MirrorOpenError::Io(path.to_owned(), error))
    }

    /// Has one of them look something up.
    pub(super) async fn read<T, F>(&self, request: ReadRequest, look: F) -> Result<T, MirrorError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Arc<States>) -> rusqlite::Result<T> + Send + 'static,
    {
        match self.0.read(request, |reader, ticket| reader.look(ticket, look)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) if is_interrupt(&error) => Err(MirrorError::TooCostly),
            Ok(Err(error)) => Err(error.into()),
            Err(NoRead::Spent) => Err(MirrorError::TooCostly),
            Err(NoRead::Busy) => Err(MirrorError::Busy),
            Err(NoRead::Closed) => Err(MirrorError::Closed),
        }
    }

    /// The look that has held one of them for too long, if any.
    pub(super) fn overdue(&self) -> Option<Degradation> {
        self.0.overdue()
    }
}

impl MirrorReader {
    fn look<T>(
        &mut self,
        ticket: Arc<Ticket>,
        look: impl FnOnce(&Connection, &Arc<States>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let latest = self.latest.load(Ordering::Acquire);
        if latest != self.generation {
            (self.connection, self.meter) = connection(&self.path, &self.clock)?;
            self.generation = latest;
            // What was found in the other file says nothing of this one.
            self.states = Arc::new(States::default().keeping(self.lists.of_file(latest)));
        }
        // Dropping a transaction that only read ends it.
        let transaction = self.connection.transaction()?;
        current(&transaction, &mut self.states)?;
        let _measuring = self.meter.measure(ticket);
        look(&transaction, &self.states)
    }
}

/// Readers keep a quarter of the pages of the writer, which makes indexes: there are several of them.
fn connection(path: &Path, clock: &SharedClock) -> rusqlite::Result<(Connection, Arc<Meter>)> {
    let connection = connect(path)?;
    connection_clock::give(&connection, clock)?;
    connection.execute_batch("PRAGMA cache_size = -8192")?;
    let meter = Meter::of(&connection)?;
    Ok((connection, meter))
}
