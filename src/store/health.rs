//! What is wrong with the database while it is in use, and what was done about it.

use std::{
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, ErrorCode};

use crate::clock::{self, Millis};

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degradation {
    /// Since when.
    pub since: Millis,
    /// In a sentence, with what to do.
    pub what: String,
}

impl Degradation {
    /// For people, who get one line of it.
    pub fn for_people(&self) -> String {
        format!("{}, since {}.", self.what, clock::for_people(self.since))
    }

    /// For programs.
    pub fn for_machines(&self) -> serde_json::Value {
        serde_json::json!({ "since": clock::for_machines(self.since), "what": self.what })
    }
}

/// Called by the thread that writes, with its connection.
pub(super) type Hook = Box<dyn Fn(&Connection) + Send + Sync>;

/// What writer and readers of one database share.
#[derive(Default)]
pub(super) struct StoreHealth {
    trouble: RwLock<Option<Degradation>>,
    /// Changes that were not written since the trouble began.
    lost: AtomicU64,
    /// A reader has met what only a damaged file shows.
    suspect: AtomicBool,
    /// Another after each time that another file has taken the database's place.
    generation: AtomicU64,
    set_aside: RwLock<Option<PathBuf>>,
    /// Called with a database that has taken the place of a damaged or deleted one.
    renewals: RwLock<Vec<Hook>>,
    /// Called after changes were undone.
    undone: RwLock<Vec<Hook>>,
}

impl std::fmt::Debug for StoreHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("trouble", &self.trouble).finish_non_exhaustive()
    }
}

impl StoreHealth {
    pub(super) fn of(set_aside: Option<PathBuf>) -> Self {
        Self { set_aside: RwLock::new(set_aside), ..Self::default() }
    }

    pub(super) fn degradation(&self) -> Option<Degradation> {
        self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something is wrong. It is told once; what fails until it is over is counted.
    pub(super) fn enter(&self, what: String, database: &Path) {
        let mut trouble = self.trouble.write().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref().is_none_or(|known| known.what != what) {
            tracing::error!("{what} ({})", database.display());
            let since = trouble.as_ref().map_or_else(clock::now, |known| known.since);
            *trouble = Some(Degradation { since, what });
        }
    }

    /// A change was not written.
    pub(super) fn count_lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// All is well again.
    pub(super) fn leave(&self, database: &Path) {
        let ended = self.trouble.write().unwrap_or_else(PoisonError::into_inner).take();
        if ended.is_some() {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            tracing::warn!(
                "the database can be written to again; {lost} changes were not kept meanwhile ({})",
                database.display()
            );
        }
    }

    /// Looks at an error for signs of a damaged file.
    pub(super) fn notice(&self, error: &rusqlite::Error) {
        if is_damage(error) {
            self.suspect();
        }
    }

    /// The file is to be looked at as a whole.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Release);
    }

    /// Whether something has shown such signs since this was asked last.
    pub(super) fn take_suspicion(&self) -> bool {
        self.suspect.swap(false, Ordering::AcqRel)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Another file has taken the database's place; the old one lies at `set_aside`, if it is still there.
    pub(super) fn renewed(&self, connection: &Connection, set_aside: Option<PathBuf>) {
        if set_aside.is_some() {
            *self.set_aside.write().unwrap_or_else(PoisonError::into_inner) = set_aside;
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        call(&self.renewals, connection);
    }

    /// Some of the changes that came last were undone.
    pub(super) fn undone(&self, connection: &Connection) {
        call(&self.undone, connection);
    }

    pub(super) fn set_aside(&self) -> Option<PathBuf> {
        self.set_aside.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn on_database_replaced(&self, renewal: Hook) {
        self.renewals.write().unwrap_or_else(PoisonError::into_inner).push(renewal);
    }

    pub(super) fn on_rollback(&self, undone: Hook) {
        self.undone.write().unwrap_or_else(PoisonError::into_inner).push(undone);
    }
}

fn call(hooks: &RwLock<Vec<Hook>>, connection: &Connection) {
    for hook in hooks.read().unwrap_or_else(PoisonError::into_inner).iter() {
        hook(connection);
    }
}

/// Whether an error says that the file itself is not as it should be.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// A disk that takes no more.
pub(super) const FULL: &str = "The disk is full: nothing new is kept until there is room";

/// Whether more room on the disk may help. Where there is none for the index of a log, SQLite's word is that the disk
/// fails.
pub(crate) fn may_be_a_full_disk(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}

/// What an error says is wrong with the disk, in a sentence; none where the disk is not at fault.
pub(super) fn of_the_disk(error: &rusqlite::Error) -> Option<String> {
    let what = match error.sqlite_error_code()? {
        ErrorCode::DiskFull => FULL,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            "The database can't be written to (is its folder read-only?): nothing new is kept until it can"
        }
        ErrorCode::SystemIoFailure => {
            return Some(format!("The disk fails ({error}): nothing new is kept until it works again"));
        }
        _ => return None,
    };
    Some(what.to_owned())
}
