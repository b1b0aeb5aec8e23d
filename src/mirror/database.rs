//! Stand-in.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

use super::state::States;

/// Why there is no mirror.
#[derive(Debug, thiserror::Error)]
pub enum MirrorOpenError {
    /// SQLite's word.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why the mirror can't be read.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// SQLite's word.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Closed.
    #[error("closed")]
    Closed,
}

/// The mirror.
#[derive(Debug)]
pub struct Mirror(Arc<States>);

impl Mirror {
    /// Opens.
    pub fn open(_: &Path) -> Result<Arc<Self>, MirrorOpenError> {
        Ok(Arc::new(Self(Arc::default())))
    }

    /// Reads.
    pub async fn read<T, F>(&self, look: F) -> Result<T, MirrorError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &Arc<States>) -> rusqlite::Result<T> + Send + 'static,
    {
        let states = self.0.clone();
        let done = tokio::task::spawn_blocking(move || look(&Connection::open_in_memory()?, &states)).await;
        Ok(done.map_err(|_| MirrorError::Closed)??)
    }

    /// States.
    pub fn states(&self) -> Arc<States> {
        self.0.clone()
    }

    /// Version.
    pub fn version(&self) -> i64 {
        self.0.version()
    }

    /// Distrusts.
    pub async fn distrust(&self, _: &'static str, _: &str) -> Result<(), MirrorError> {
        Ok(())
    }
}
