//! Answers in memory: as stored, and as they were last sent.
//!
//! Three eighths of `storage.max_memory` hold entries, seven sixteenths the bodies made from them for one base URL. The rest is
//! in equal parts for what the mirror said lately, for what was decided a moment ago and for the lists that the mirror found:
//! the business of those. A body without links to move shares its bytes with its entry. What was not used lately goes first.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use foldhash::fast::RandomState;
use moka::sync::Cache;

use super::{ClientView, Entry, Representation, entry::representation_key};
use crate::{settings::value::Size, storage::types::CacheKey};

#[derive(Debug)]
pub(super) struct Memory {
    entries: Cache<CacheKey, Arc<Entry>, RandomState>,
    bodies: Cache<CacheKey, Representation, RandomState>,
    purges: AtomicU64,
}

impl Memory {
    pub(super) fn new(size: Size) -> Self {
        let (bodies, entries) = (size.0 / 16 * 7, size.0 / 8 * 3);
        let weight = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            purges: AtomicU64::new(0),
            entries: Cache::builder()
                .max_capacity(entries)
                .weigher(move |_, entry: &Arc<Entry>| weight(entry.weight()))
                .build_with_hasher(RandomState::default()),
            bodies: Cache::builder()
                .max_capacity(bodies)
                .weigher(move |_, body: &Representation| weight(body.body.len() + 128))
                .build_with_hasher(RandomState::default()),
        }
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<Arc<Entry>> {
        self.entries.get(key)
    }

    /// How often it was cleared.
    pub(super) fn purges(&self) -> u64 {
        self.purges.load(Ordering::Acquire)
    }

    /// Keeps what was read from disk, if nothing was purged since then: it might have been that.
    pub(super) fn put_unless_purged(&self, key: CacheKey, entry: Arc<Entry>, purges: u64) {
        self.entries.insert(key, entry);
        if self.purges() != purges {
            self.entries.invalidate(&key);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.purges.fetch_add(1, Ordering::AcqRel);
        self.entries.invalidate_all();
        self.bodies.invalidate_all();
    }

    /// Forgets one entry, also where it is being read from disk.
    pub(super) fn forget(&self, key: &CacheKey) {
        self.purges.fetch_add(1, Ordering::AcqRel);
        self.entries.invalidate(key);
    }

    pub(super) fn put(&self, key: CacheKey, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
    }

    pub(super) fn representation(
        &self,
        key: &CacheKey,
        entry: &Entry,
        asker: &ClientView<'_>,
    ) -> Representation {
        self.bodies.get_with(representation_key(key, entry, asker), || entry.render(asker))
    }

    pub(super) async fn coded<F>(
        &self,
        identity: &Representation,
        coding: &str,
        code: impl FnOnce(Bytes) -> F,
    ) -> Option<Bytes>
    where
        F: Future<Output = Option<Bytes>>,
    {
        let key =
            *blake3::Hasher::new().update(&identity.tag).update(coding.as_bytes()).finalize().as_bytes();
        if let Some(coded) = self.bodies.get(&key) {
            return Some(coded.body);
        }
        let body = code(identity.body.clone()).await?;
        self.bodies.insert(key, Representation { body: body.clone(), tag: identity.tag });
        Some(body)
    }
}
