//! How much may be kept: `files.max_size`, `files.min_free`. Files that nobody has asked for longest go first, and never one
//! that is being read.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    folder::BlockFolder,
    index::{FileIndex, room_of},
};
use crate::{data_dir, settings::FilesSettings};

/// No more is kept where nothing is said of it (`files.max_size` is 0), and no more than half of what is free.
const MOST_UNSAID: u64 = 100 << 30;

/// The room that is taken, and by whom.
#[derive(Debug, Default)]
pub(super) struct DiskRoom {
    /// By blocks that are kept.
    taken: AtomicU64,
    /// Files that they belong to.
    files: AtomicU64,
    /// By blocks that are being fetched.
    promised: AtomicU64,
    /// Files that are being read, and by how many.
    in_use: Mutex<HashMap<i64, usize>>,
    /// Files that gave way since the start.
    evicted: AtomicU64,
    /// One makes room at a time.
    turn: Mutex<()>,
}

/// Room for a block that is being fetched; given back when this is dropped.
#[derive(Debug)]
pub(super) struct PromisedRoom {
    room: Arc<DiskRoom>,
    size: u64,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct InUse {
    room: Arc<DiskRoom>,
    id: i64,
}

impl DiskRoom {
    /// So many files take so much already.
    pub(super) fn of((files, taken): (u64, u64)) -> Arc<Self> {
        Arc::new(Self { taken: taken.into(), files: files.into(), ..Self::default() })
    }

    /// Files that take it.
    pub(super) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// How much is taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Files that gave way since the start.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// A block of this size is kept now, perhaps the first of its file.
    pub(super) fn add(&self, size: u64, is_first: bool) {
        self.taken.fetch_add(room_of(size), Ordering::Relaxed);
        self.files.fetch_add(is_first.into(), Ordering::Relaxed);
    }

    /// So many files take so much, counted anew.
    pub(super) fn set(&self, (files, taken): (u64, u64)) {
        self.taken.store(taken, Ordering::Relaxed);
        self.files.store(files, Ordering::Relaxed);
    }

    /// So much is given back, of so many files all.
    pub(super) fn give_back(&self, room: u64, files: usize) {
        for (count, less) in [(&self.taken, room), (&self.files, files as u64)] {
            let less = |count: u64| Some(count.saturating_sub(less));
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// A file is being read from here on.
    pub(super) fn enter(self: &Arc<Self>, id: i64) -> InUse {
        *self.in_use.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
        InUse { room: self.clone(), id }
    }

    fn is_in_use(&self, id: i64) -> bool {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    /// Room for a block, made by what gives way to it; none where there can be none. It may wait for the disk.
    pub(super) fn promise(
        self: &Arc<Self>,
        size: u64,
        settings: &FilesSettings,
        index: &FileIndex,
        folder: &BlockFolder,
    ) -> Option<PromisedRoom> {
        let size = room_of(size);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = || {
            let all = self.taken() + self.promised.load(Ordering::Relaxed) + size;
            let free = data_dir::disk_space(folder.path()).map_or(u64::MAX, |space| space.free);
            let most = match settings.max_size.0 {
                0 => MOST_UNSAID.min(free.saturating_add(self.taken()) / 2),
                most => most,
            };
            let free = free.saturating_sub(self.promised.load(Ordering::Relaxed));
            let needed = settings.min_free.0.saturating_add(size);
            all.saturating_sub(most).max(needed.saturating_sub(free))
        };
        let wanted = lacking();
        // What can never be had is not made by throwing all away.
        if wanted > self.taken() {
            return None;
        }
        if wanted > 0 {
            match index.evict(wanted, |id| self.is_in_use(id)) {
                Ok((gone, made)) => {
                    for id in &gone {
                        folder.remove(*id);
                    }
                    self.give_back(made, gone.len());
                    self.evicted.fetch_add(gone.len() as u64, Ordering::Relaxed);
                }
                Err(error) => tracing::warn!(%error, "no room is made for files"),
            }
            if lacking() > 0 {
                return None;
            }
        }
        self.promised.fetch_add(size, Ordering::Relaxed);
        Some(PromisedRoom { room: self.clone(), size })
    }
}

impl Drop for PromisedRoom {
    fn drop(&mut self) {
        self.room.promised.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut in_use = self.room.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(readers) = in_use.get_mut(&self.id) {
            *readers -= 1;
            if *readers == 0 {
                in_use.remove(&self.id);
            }
        }
    }
}
