//! The one thread that changes the database, and that looks after its file.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{StoreError, StoreOpenError, health::of_the_disk, watchdog::Watchdog};

/// Changes that are committed together at the most.
const BATCH: usize = 256;
/// KiB that may wait to be written, or are being written.
const ROOM: usize = 64 << 10;
/// Whoever has something to be written waits for room so long; then it is not kept.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);

pub(super) type WriteJob = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

/// Room for something that is to be written.
pub(super) type Room = OwnedSemaphorePermit;

struct Job {
    what: &'static str,
    change: WriteJob,
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
    /// Given back when it has been written.
    _room: Option<Room>,
}

#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(keeper: Watchdog) -> Result<Self, StoreOpenError> {
        let (jobs, inbox) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work(keeper, &inbox))
            .map_err(|error: io::Error| StoreOpenError::Io("store-writer".into(), error))?;
        let room = Arc::new(Semaphore::new(ROOM));
        Ok(Self { jobs: Mutex::new(Some(jobs)), room, thread: Mutex::new(Some(thread)) })
    }

    /// Room for so many bytes at once, if there is.
    pub(super) fn room_now(&self, size: usize) -> Result<Room, StoreError> {
        self.room.clone().try_acquire_many_owned(kib(size)).map_err(|_| StoreError::Behind)
    }

    /// Room for so many bytes, as soon as there is: whoever fetches faster than the disk writes is held back.
    pub(super) async fn room(&self, size: usize) -> Result<Room, StoreError> {
        let room = self.room.clone().acquire_many_owned(kib(size));
        match tokio::time::timeout(PATIENCE, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(StoreError::Behind),
        }
    }

    pub(super) fn submit(
        &self,
        what: &'static str,
        room: Option<Room>,
        change: WriteJob,
        done: Option<oneshot::Sender<Result<(), StoreError>>>,
    ) -> Result<(), StoreError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(Job { what, change, done, _room: room }).map_err(|_| StoreError::Closed)
    }

    pub(super) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the database's writing thread had failed");
        }
    }
}

/// A single thing that is larger than all room waits for all of it.
fn kib(size: usize) -> u32 {
    u32::try_from(size.div_ceil(1024).clamp(1, ROOM)).unwrap_or(u32::MAX)
}

/// Does what comes until no more can.
fn work(mut keeper: Watchdog, inbox: &mpsc::Receiver<Job>) {
    let mut looked = Instant::now();
    loop {
        match inbox.recv_timeout(LOOK) {
            Ok(first) => {
                let mut batch = vec![first];
                batch.extend(inbox.try_iter().take(BATCH - 1));
                commit(&keeper, batch);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if looked.elapsed() >= LOOK {
            keeper.check();
            looked = Instant::now();
        }
    }
    keeper.close();
}

/// Commits a batch; a change that fails is undone alone, a commit that fails undoes all of them.
fn commit(keeper: &Watchdog, batch: Vec<Job>) {
    let connection = keeper.connection();
    let mut begun = connection.execute_batch("BEGIN IMMEDIATE");
    let mut undone = false;
    let mut told = Vec::new();
    // Room is given back when all is written.
    let mut rooms = Vec::new();
    for Job { what, change, done, _room: room } in batch {
        let result = match &begun {
            Ok(()) => alone(connection, change),
            Err(error) => Err(copy(error)),
        };
        if let Err(error) = &result {
            refused(keeper, what, error);
            undone = true;
            // A full disk may have ended the whole transaction: what came before is undone too, and what comes after
            // must not be committed one by one.
            if begun.is_ok() && connection.is_autocommit() {
                begun = Err(copy(error));
            }
        }
        rooms.extend(room);
        told.extend(done.map(|done| (done, result)));
    }
    let committed = begun.and_then(|()| {
        connection.execute_batch("COMMIT").inspect_err(|error| refused(keeper, "a commit", error))
    });
    if committed.is_err() && !connection.is_autocommit() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    if undone || committed.is_err() {
        keeper.shared().undone(connection);
    }
    for (done, result) in told {
        let result = match &committed {
            Ok(()) => result.map_err(StoreError::from),
            Err(error) => Err(copy(error).into()),
        };
        // Whoever asked may have gone.
        let _ = done.send(result);
    }
}

/// A full disk refuses everything: that is told once, and what it refuses is counted.
fn refused(keeper: &Watchdog, what: &'static str, error: &rusqlite::Error) {
    keeper.shared().notice(error);
    keeper.shared().count_lost();
    if let Some(trouble) = of_the_disk(error) {
        tracing::debug!(what, %error, "not written");
        keeper.shared().enter(trouble, keeper.path());
    } else {
        tracing::error!(what, %error, "the database refused a change");
    }
}

fn alone(connection: &Connection, change: WriteJob) -> rusqlite::Result<()> {
    connection.execute_batch("SAVEPOINT change")?;
    let result = change(connection);
    if result.is_err() {
        // A full disk may have ended the whole transaction, and the savepoint with it.
        let _ = connection.execute_batch("ROLLBACK TO change");
    }
    let released = connection.execute_batch("RELEASE change");
    result.and(released)
}

/// SQLite's errors can't be cloned; their code and words can be told again.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, words) => rusqlite::Error::SqliteFailure(*code, words.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}
