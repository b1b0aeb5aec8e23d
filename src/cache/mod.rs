//! What Alyx said, whole, under the canonical key of the question.
//!
//! Memory in front of disk; a few marks say what writes have made stale. This floor knows when an
//! answer counts as fresh ([`freshness`]), not what to do when it doesn't: that is the server's.

mod disk;
mod entry;
mod eviction;
mod export;
pub mod freshness;
mod given;
mod invalidation;
mod key;
mod last_written;
mod list_generations;
mod mark_bound;
mod memory;
pub(crate) mod pinned;
mod purge;
mod row;
mod sealing;
mod variant;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use rusqlite::Connection;

pub use disk::{CacheUsage, Similar};
pub use entry::{ClientView, Entry, Representation, is_personal};
pub use export::{Arrived, ExportedEntry, NoAnswer, Stays, for_each};
pub use freshness::Freshness;
pub use given::{GivenCopies, GivenCopy, GivenRecord, Holder, columns, listed_record};
pub use invalidation::PendingWrite;
pub use key::Question;
pub use purge::Purge;
pub(crate) use row::{read_headers, write_headers};
pub use sealing::seal_stored;
pub use variant::JsonVariant;

use crate::{
    alyx::{
        invalidates::{DOUBTED, Scope},
        links::Base,
    },
    clock::{Millis, SharedClock},
    http::{cache_status::Tier, reuse::Staleness},
    settings::Settings,
    storage::{
        seal::SecretSeal,
        types::{CacheKey, TokenHash},
    },
    store::{Store, StoreError},
    upstream::UpstreamResponse,
};
use disk::Disk;
use invalidation::Invalidations;
use list_generations::ListGenerations;
use memory::Memory;

/// Whether Alyx says that a question has no answer any more: of what it filters by, something is gone. What it says of the
/// asker (401, 403), or of how often was asked (429), says nothing of the answer.
fn takes_back(answer: &UpstreamResponse) -> bool {
    let of_the_asker = matches!(answer.status.as_u16(), 401 | 403 | 407 | 408 | 421 | 423 | 425 | 429);
    answer.json && answer.status.is_client_error() && !of_the_asker
}

/// What a write has marked.
#[derive(Debug)]
pub struct Marked {
    /// When.
    pub at: Millis,
    /// The endpoints whose records it may have changed, each with when it had been marked before.
    pub endpoints: Vec<(&'static str, Millis)>,
}

/// Everything that is remembered of one Alyx's answers.
#[derive(Debug)]
pub struct ResponseCache {
    memory: Memory,
    disk: Disk,
    marks: Invalidations,
    families: ListGenerations,
    base: Base,
    clock: SharedClock,
}

impl ResponseCache {
    /// Opens what is remembered of the Alyx at `base` in this store.
    pub async fn open(
        store: Arc<Store>,
        base: &str,
        settings: &Settings,
        clock: SharedClock,
        seal: Arc<SecretSeal>,
    ) -> Result<Self, StoreError> {
        // Stamps go on from what is stored before anything is marked.
        let disk = Disk::open(store.clone(), settings.storage.max_disk, clock.clone(), seal).await?;
        Ok(Self {
            memory: Memory::new(settings.storage.max_memory),
            marks: Invalidations::load(&store, clock.clone()).await?,
            disk,
            families: ListGenerations::default(),
            base: Base::new(base),
            clock,
        })
    }

    /// The stored answer to a question, however old.
    pub async fn find(&self, question: &Question) -> Option<(Arc<Entry>, Tier)> {
        if let Some(entry) = self.memory.get(&question.key) {
            self.disk.used(question.key);
            return Some((entry, Tier::Memory));
        }
        let purges = self.memory.purges();
        match self.disk.get(question.key, &self.base).await {
            Ok(entry) => {
                let entry = Arc::new(entry?);
                self.memory.put_unless_purged(question.key, entry.clone(), purges);
                self.disk.used(question.key);
                Some((entry, Tier::Disk))
            }
            Err(error) => {
                tracing::error!(%error, "a stored answer can't be read");
                None
            }
        }
    }

    /// Remembers an answer of Alyx's.
    pub async fn remember(&self, question: &Question, answer: &UpstreamResponse) -> Option<Arc<Entry>> {
        let Some(entry) = Entry::of(question, answer, &self.base).map(Arc::new) else {
            if takes_back(answer) {
                self.strike(question, answer.asked_at).await;
            }
            return None;
        };
        let elder = self.memory.get(&question.key);
        // Of two answers that crossed on the way the later question wins; what says to be of the future is none of them.
        let crossed = |at: Millis| at > entry.asked_at && at <= self.clock.latest_stamp();
        if elder.as_ref().is_some_and(|elder| crossed(elder.asked_at)) {
            return elder;
        }
        if question.is_page() {
            let mut elders = self.disk.elders(question).await.unwrap_or_default();
            if elders.page.is_some_and(crossed)
                && let Some((elder, _)) = self.find(question).await
            {
                return Some(elder);
            }
            elders.page = elder.map(|elder| elder.asked_at).or(elders.page);
            self.families.refreshed(question, &entry, elders, &self.disk).await;
        }
        self.memory.put(question.key, entry.clone());
        self.disk.put(question, entry.clone()).await;
        Some(entry)
    }

    /// Forgets what was stored for a question, and for other pages of its list, that was asked before `at`.
    async fn strike(&self, question: &Question, at: Millis) {
        let here = self.memory.get(&question.key).filter(|entry| entry.asked_at < at);
        match self.disk.strike(question, at, here.is_some()).await {
            Ok(struck) => {
                struck.iter().chain(here.map(|_| &question.key)).for_each(|key| self.memory.forget(key));
            }
            Err(error) => tracing::error!(%error, "what Alyx has taken back is not forgotten"),
        }
    }

    /// How fresh a stored answer is for this question.
    pub async fn freshness(&self, question: &Question, entry: &Entry, settings: &Settings) -> Freshness {
        if self.written_at(question) >= entry.asked_at {
            return Freshness::Stale(Staleness::Written);
        }
        if question.is_page() && self.families.since(question.family, &self.disk).await > entry.asked_at {
            return Freshness::Stale(Staleness::OlderPage);
        }
        freshness::by_age(question, entry, settings, self.clock.now())
    }

    /// When a write last changed what this question's answer belongs to. A request that left before
    /// may bring an answer from before.
    pub fn written_at(&self, question: &Question) -> Millis {
        self.marks.since(question.scopes.iter().map(String::as_str).chain([DOUBTED]))
    }

    /// Whether a page is of the generation that pages of its list which count as fresh are of.
    pub async fn is_of_this_generation(&self, question: &Question, entry: &Entry) -> bool {
        self.families.since(question.family, &self.disk).await <= entry.asked_at
    }

    /// Pages of this question's list from before `since` are of an older generation.
    pub async fn older_pages(&self, question: &Question, since: Millis) {
        self.families.older_before(question, since, &self.disk).await;
    }

    /// When a scope was last marked.
    pub fn marked_at(&self, scope: &Scope) -> Millis {
        self.marks.since([scope.name().as_str()])
    }

    /// Whether Alyx has refused anything to a holder of a token that it accepts.
    pub fn any_denied(&self) -> bool {
        self.marks.any_denied()
    }

    /// When a write through this proxy last touched records of an endpoint, for those that were touched.
    pub fn written_lists(&self) -> HashMap<&'static str, Millis> {
        self.marks.by_endpoint()
    }

    /// The same of what was surely written, and is not only in doubt ([`Self::doubt`]).
    pub fn surely_written_lists(&self) -> HashMap<&'static str, Millis> {
        self.marks.surely_by_endpoint()
    }

    /// What is here may be out of date in a way that nobody can tell: it is asked anew, and counts while Alyx is away.
    pub async fn doubt(&self) -> Result<(), StoreError> {
        let pending = self.marks.begin(&[Scope::Doubted], self.disk.store()).await?;
        self.marks.end(pending, true, self.disk.store()).await.map(drop)
    }

    /// Another proxy has written what may have changed these scopes: nothing that was asked for before counts from now on.
    pub fn written_elsewhere(&self, scopes: Vec<String>) -> Marked {
        self.marks.mark(scopes, self.disk.store())
    }

    /// Notes that a write which may change these scopes is about to be passed on.
    pub async fn begin_write(&self, scopes: &[Scope]) -> Result<PendingWrite, StoreError> {
        self.marks.begin(scopes, self.disk.store()).await
    }

    /// Notes that a write has ended: if it may have `changed` something, what it may have changed
    /// is stale from now on.
    pub async fn end_write(&self, pending: PendingWrite, changed: bool) -> Result<Marked, StoreError> {
        self.marks.end(pending, changed, self.disk.store()).await
    }

    /// A representation of an answer for this asker, from memory or made now.
    pub fn representation(
        &self,
        key: &CacheKey,
        entry: &Arc<Entry>,
        asker: &ClientView<'_>,
    ) -> Representation {
        self.memory.representation(key, entry, asker)
    }

    /// A representation's body in a content coding, from memory or made now by `code`.
    pub async fn coded<F>(
        &self,
        identity: &Representation,
        coding: Option<&str>,
        code: impl FnOnce(Bytes) -> F,
    ) -> Option<Bytes>
    where
        F: Future<Output = Option<Bytes>>,
    {
        match coding {
            None => Some(identity.body.clone()),
            Some(coding) => self.memory.coded(identity, coding, code).await,
        }
    }

    /// What is stored that comes near a question: the same path, other parameters.
    pub async fn similar(&self, question: &Question) -> Vec<Similar> {
        self.disk.similar(question).await.unwrap_or_default()
    }

    /// Has the stored answer to a question give way last: this user is about to travel.
    pub fn pin(&self, question: &Question, user: TokenHash) {
        self.disk.pin(question.key, user);
    }

    /// Forgets stored answers; how many there were on disk.
    pub async fn purge(&self, what: Purge) -> Result<u64, StoreError> {
        let purged = self.disk.purge(what).await?;
        // What is in memory alone is on its way to the disk, so it may go with the rest.
        self.memory.clear();
        Ok(purged)
    }

    /// Keeps answers that came with a snapshot, where there are none that are newer; how many were kept.
    pub async fn import(&self, answers: Vec<Arrived>) -> Result<u64, StoreError> {
        for arrived in &answers {
            if let Some(since) = arrived.pages_since {
                self.clock.stamps_continue_after(since);
                self.families.older_before(&arrived.question, since, &self.disk).await;
            }
        }
        let kept = self.disk.import(answers).await?;
        self.memory.clear();
        Ok(kept)
    }

    /// Takes over what writes had made stale where a snapshot was made, and marks `endpoints` as written now.
    pub async fn take_marks(
        &self,
        marks: Vec<(String, Millis)>,
        endpoints: &[&'static str],
    ) -> Result<(), StoreError> {
        self.marks.take(marks, endpoints, self.disk.store()).await
    }

    /// Another database has taken the place of a damaged or deleted one; called by the thread that writes.
    pub fn on_database_replaced(&self, connection: &Connection) {
        self.disk.on_database_replaced(connection);
        self.marks.on_database_replaced(connection);
    }

    /// How much is stored on disk.
    pub fn usage(&self) -> CacheUsage {
        self.disk.stored()
    }

    /// Whether this entry is still the one in memory under this key.
    pub fn is_in_memory(&self, key: &CacheKey, entry: &Arc<Entry>) -> bool {
        self.memory.get(key).is_some_and(|here| Arc::ptr_eq(&here, entry))
    }

    /// A number that is another after each write that made something stale.
    pub fn writes(&self) -> u64 {
        self.marks.changes()
    }

    /// A number that is another whenever pages of a list have become older than a newer one of them allows.
    pub fn newer_pages(&self) -> u64 {
        self.families.changes()
    }

    /// Writes now and then what was used.
    pub fn tidy(&self) {
        self.disk.flush_used();
    }
}
