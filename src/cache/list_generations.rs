//! Pages of one query belong together.
//!
//! Alyx counts and cuts a list anew for every page, so pages asked at different times may overlap
//! or leave gaps. When a first page is asked anew, later pages from before no longer count as fresh;
//! and when any page says another count than the one it replaces, none from before does.

use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;

use super::{
    Entry, Question,
    disk::{Disk, Elders},
};
use crate::{clock::Millis, storage::types::CacheKey};

const KEPT: u64 = 100_000;

#[derive(Debug)]
pub(super) struct ListGenerations {
    /// The time before which pages of a family are of an older generation.
    since: Cache<CacheKey, Millis>,
    /// The count that the latest page of a family says: what is on its way to the disk can't be read there yet.
    counts: Cache<CacheKey, u64>,
    changes: AtomicU64,
}

impl Default for ListGenerations {
    fn default() -> Self {
        Self { since: Cache::new(KEPT), counts: Cache::new(KEPT), changes: AtomicU64::new(0) }
    }
}

impl ListGenerations {
    /// The time before which pages of this family no longer count as fresh.
    pub(super) async fn since(&self, family: CacheKey, disk: &Disk) -> Millis {
        if let Some(since) = self.since.get(&family) {
            return since;
        }
        let since = disk.family_since(family).await.unwrap_or(Millis::MIN);
        self.since.insert(family, since);
        since
    }

    /// Pages of this question's list from before this time are of an older generation.
    pub(super) async fn older_before(&self, question: &Question, since: Millis, disk: &Disk) {
        if since > self.since(question.family, disk).await {
            self.change(question, since, disk);
        }
    }

    fn change(&self, question: &Question, since: Millis, disk: &Disk) {
        self.since.insert(question.family, since);
        self.changes.fetch_add(1, Ordering::Release);
        disk.put_family(question.family, since);
    }

    /// A number that is another after each change.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// A page was asked anew, and replaces an elder one if there was one.
    pub(super) async fn refreshed(&self, question: &Question, page: &Entry, elders: Elders, disk: &Disk) {
        let first_anew = question.offset() == 0 && elders.page.is_some();
        let known = self.counts.get(&question.family).or(elders.count);
        let other_count = known.is_some_and(|count| Some(count) != page.count());
        if let Some(count) = page.count() {
            self.counts.insert(question.family, count);
        }
        if (first_anew || other_count) && page.asked_at > self.since(question.family, disk).await {
            self.change(question, page.asked_at, disk);
        }
    }
}
