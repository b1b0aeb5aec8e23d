//! What was given and fetched since the start.

use std::sync::atomic::{AtomicU64, Ordering};

use super::DataFiles;

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct FileCounts {
    requests: AtomicU64,
    hits: AtomicU64,
    given: AtomicU64,
    fetched: AtomicU64,
    damaged: AtomicU64,
    differing: AtomicU64,
}

/// What the data files are doing, for status, pages and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct FilesUsage {
    /// Files of which something is kept.
    pub(crate) files: u64,
    /// Room that they take on disk, in bytes.
    pub(crate) bytes: u64,
    /// Answers with bytes of files since the start.
    pub(crate) requests: u64,
    /// Of these, answers whose bytes were all here.
    pub(crate) hits: u64,
    /// Bytes that were given to clients.
    pub(crate) given: u64,
    /// Bytes that came from the data server.
    pub(crate) fetched: u64,
    /// Files that gave way to others.
    pub(crate) evicted: u64,
    /// Blocks that the disk has damaged, found since the start.
    pub(crate) damaged: u64,
    /// Files that are not what Alyx's records say.
    pub(crate) differing: u64,
}

impl FileCounts {
    pub(super) fn given(&self, bytes: usize) {
        self.given.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn fetched(&self, bytes: usize) {
        self.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What is kept was found damaged.
    pub(super) fn damaged(&self) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// So many files are not what Alyx says.
    pub(super) fn set_differing(&self, count: u64) {
        self.differing.store(count, Ordering::Relaxed);
    }

    /// A file is given, all of it from here or not.
    pub(super) fn answered(&self, is_hit: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(is_hit.into(), Ordering::Relaxed);
    }
}

impl DataFiles {
    /// What is kept, and what was done since the start.
    pub(crate) fn usage(&self) -> FilesUsage {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FilesUsage {
            files: self.room.files(),
            bytes: self.room.taken(),
            requests: read(&self.counts.requests),
            hits: read(&self.counts.hits),
            given: read(&self.counts.given),
            fetched: read(&self.counts.fetched),
            evicted: self.room.evicted(),
            damaged: read(&self.counts.damaged),
            differing: read(&self.counts.differing),
        }
    }
}
