//! Threads that look things up in the proxy's database, each with a connection of its own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    Degradation, StoreError, StoreOpenError,
    budget::{Meter, is_interrupt},
    health::StoreHealth,
    open,
    reader_pool::{NoRead, ReadRequest, ReaderPool},
};

/// One more than anybody has at once.
const THREADS: usize = 3;

#[derive(Debug)]
pub(super) struct Readers {
    /// Dropped with the store, which ends the threads.
    pool: ReaderPool<Reader>,
    shared: Arc<StoreHealth>,
}

/// A thread's connection, and which file it is to.
struct Reader {
    path: PathBuf,
    shared: Arc<StoreHealth>,
    generation: u64,
    connection: Connection,
    meter: Arc<Meter>,
}

impl Readers {
    pub(super) fn start(path: &Path, shared: &Arc<StoreHealth>) -> Result<Self, StoreOpenError> {
        let open = |_| {
            let (generation, shared) = (shared.generation(), shared.clone());
            let connection = connect(path)?;
            let meter = Meter::of(&connection)?;
            Ok(Reader { path: path.to_owned(), shared, generation, connection, meter })
        };
        let readers: rusqlite::Result<Vec<_>> = (0..THREADS).map(open).collect();
        let readers = readers.map_err(|error| StoreOpenError::Sqlite(path.to_owned(), error))?;
        let pool = ReaderPool::start("store-reader", readers)
            .map_err(|error| StoreOpenError::Io(path.to_owned(), error))?;
        Ok(Self { pool, shared: shared.clone() })
    }

    pub(super) async fn read<T, F>(&self, request: ReadRequest, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let look = move |reader: &mut Reader, ticket| {
            let meter = reader.current()?.clone();
            let _measuring = meter.measure(ticket);
            look(&reader.connection)
        };
        match self.pool.read(request, look).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) if is_interrupt(&error) => Err(StoreError::TooCostly),
            Ok(Err(error)) => {
                self.shared.notice(&error);
                Err(error.into())
            }
            Err(NoRead::Closed) => Err(StoreError::Closed),
            Err(NoRead::Busy | NoRead::Spent) => Err(StoreError::TooCostly),
        }
    }

    /// The look that has held a thread for too long, if any.
    pub(super) fn overdue(&self) -> Option<Degradation> {
        self.pool.overdue()
    }
}

impl Reader {
    /// Makes its connection one to the file that is the database now.
    fn current(&mut self) -> rusqlite::Result<&Arc<Meter>> {
        let generation = self.shared.generation();
        if generation != self.generation {
            self.connection = connect(&self.path)?;
            self.meter = Meter::of(&self.connection)?;
            self.generation = generation;
        }
        Ok(&self.meter)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    open::configure(&connection)?;
    Ok(connection)
}
