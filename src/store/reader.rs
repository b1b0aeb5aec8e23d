//! Threads that look things up, each with a connection of its own.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::{OpenError, StoreError, open};

const THREADS: usize = 2;

type Look = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Debug)]
pub(super) struct Readers {
    /// Dropped with the store, which ends the threads.
    looks: mpsc::Sender<Look>,
}

impl Readers {
    pub(super) fn start(path: &Path) -> Result<Self, OpenError> {
        let (looks, inbox) = mpsc::channel::<Look>();
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..THREADS {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)
                .and_then(|connection| open::configure(&connection).map(|()| connection))
                .map_err(|error| OpenError::Sqlite(path.to_owned(), error))?;
            let inbox = inbox.clone();
            thread::Builder::new()
                .name(format!("store-reader-{number}"))
                .spawn(move || work(&connection, &inbox))
                .map_err(|error| OpenError::Io(path.to_owned(), error))?;
        }
        Ok(Self { looks })
    }

    pub(super) async fn read<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let look = move |connection: &Connection| {
            // Whoever asked may have gone.
            let _ = tell.send(look(connection));
        };
        self.looks.send(Box::new(look)).map_err(|_| StoreError::Closed)?;
        Ok(told.await.map_err(|_| StoreError::Closed)??)
    }
}

fn work(connection: &Connection, inbox: &Mutex<mpsc::Receiver<Look>>) {
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(look) => look(connection),
            Err(mpsc::RecvError) => return,
        }
    }
}
