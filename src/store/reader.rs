//! Threads that look things up, each with a connection of its own.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{StoreError, StoreOpenError, health::StoreHealth, open};

const THREADS: usize = 2;

type Look = Box<dyn FnOnce(rusqlite::Result<&Connection>) + Send>;

#[derive(Debug)]
pub(super) struct Readers {
    /// Dropped with the store, which ends the threads.
    looks: mpsc::Sender<Look>,
    shared: Arc<StoreHealth>,
}

/// A thread's connection, and which file it is to.
struct Reader {
    path: PathBuf,
    shared: Arc<StoreHealth>,
    generation: u64,
    connection: Connection,
}

impl Readers {
    pub(super) fn start(path: &Path, shared: &Arc<StoreHealth>) -> Result<Self, StoreOpenError> {
        let (looks, inbox) = mpsc::channel::<Look>();
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..THREADS {
            let connection = connect(path).map_err(|error| StoreOpenError::Sqlite(path.to_owned(), error))?;
            let (path, shared) = (path.to_owned(), shared.clone());
            let reader = Reader { path: path.clone(), generation: shared.generation(), shared, connection };
            let inbox = inbox.clone();
            thread::Builder::new()
                .name(format!("store-reader-{number}"))
                .spawn(move || work(reader, &inbox))
                .map_err(|error| StoreOpenError::Io(path, error))?;
        }
        Ok(Self { looks, shared: shared.clone() })
    }

    pub(super) async fn read<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let look = move |connection: rusqlite::Result<&Connection>| {
            // Whoever asked may have gone.
            let _ = tell.send(connection.and_then(look));
        };
        self.looks.send(Box::new(look)).map_err(|_| StoreError::Closed)?;
        let result = told.await.map_err(|_| StoreError::Closed)?;
        if let Err(error) = &result {
            self.shared.notice(error);
        }
        Ok(result?)
    }
}

impl Reader {
    /// The connection to the file that is the database now.
    fn current(&mut self) -> rusqlite::Result<&Connection> {
        let generation = self.shared.generation();
        if generation != self.generation {
            self.connection = connect(&self.path)?;
            self.generation = generation;
        }
        Ok(&self.connection)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    open::configure(&connection)?;
    Ok(connection)
}

fn work(mut reader: Reader, inbox: &Mutex<mpsc::Receiver<Look>>) {
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(look) => look(reader.current()),
            Err(mpsc::RecvError) => return,
        }
    }
}
