//! The one thread that changes the database.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{OpenError, StoreError};

/// Changes that are committed together at the most.
const BATCH: usize = 256;
/// Bytes that may wait to be written; beyond it, what can be asked again is not remembered.
const MAX_WAITING: usize = 64 << 20;

pub(super) type Change = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

struct Job {
    what: &'static str,
    size: usize,
    change: Change,
    done: Option<oneshot::Sender<Result<(), StoreError>>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    waiting: Arc<AtomicUsize>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// `tidied` is called when all is written and in its place.
    pub(super) fn start(
        connection: Connection,
        tidied: impl FnOnce() + Send + 'static,
    ) -> Result<Self, OpenError> {
        let (jobs, inbox) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = waiting.clone();
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                if work(&connection, &inbox, &counted) {
                    tidied();
                }
            })
            .map_err(|error: io::Error| OpenError::Io("store-writer".into(), error))?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), waiting, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn submit(
        &self,
        what: &'static str,
        size: usize,
        change: Change,
        done: Option<oneshot::Sender<Result<(), StoreError>>>,
    ) -> Result<(), StoreError> {
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match jobs.as_ref() {
            _ if size > 0 && waiting > MAX_WAITING => Err(StoreError::Behind),
            Some(jobs) => jobs.send(Job { what, size, change, done }).map_err(|_| StoreError::Closed),
            None => Err(StoreError::Closed),
        };
        if result.is_err() {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        result
    }

    pub(super) fn close(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the database's writing thread had failed");
        }
    }
}

/// Does what comes until no more can; whether all of it is in the database itself then.
fn work(connection: &Connection, inbox: &mpsc::Receiver<Job>, waiting: &AtomicUsize) -> bool {
    while let Ok(first) = inbox.recv() {
        let mut batch = vec![first];
        batch.extend(inbox.try_iter().take(BATCH - 1));
        waiting.fetch_sub(batch.iter().map(|job| job.size).sum(), Ordering::Relaxed);
        commit(connection, batch);
    }
    let tidied = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);");
    if let Err(error) = &tidied {
        tracing::warn!(%error, "the database was not tidied up");
    }
    tidied.is_ok()
}

/// Commits a batch; a change that fails is undone alone, a commit that fails undoes all of them.
fn commit(connection: &Connection, batch: Vec<Job>) {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let mut told = Vec::new();
    for Job { what, change, done, .. } in batch {
        let result = match &begun {
            Ok(()) => alone(connection, change),
            Err(error) => Err(copy(error)),
        };
        if let Err(error) = &result {
            tracing::error!(what, %error, "the database refused a change");
        }
        told.extend(done.map(|done| (done, result)));
    }
    let committed = if begun.is_ok() { connection.execute_batch("COMMIT") } else { Ok(()) };
    if let Err(error) = &committed {
        tracing::error!(%error, "the database refused to commit");
        // A commit that failed may have ended the transaction already.
        let _ = connection.execute_batch("ROLLBACK");
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

fn alone(connection: &Connection, change: Change) -> rusqlite::Result<()> {
    connection.execute_batch("SAVEPOINT change")?;
    let result = change(connection);
    if result.is_err() {
        connection.execute_batch("ROLLBACK TO change")?;
    }
    connection.execute_batch("RELEASE change")?;
    result
}

/// SQLite's errors can't be cloned; their code and words can be told again.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, words) => rusqlite::Error::SqliteFailure(*code, words.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}
