//! A few of the questions that were lately answered from the tables, chosen at random.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use rand::RngExt;

use super::whole;
use crate::cache::Question;

/// Questions that are kept; of more that come between two comparisons each has the same chance.
const KEPT: usize = 32;

const VERIFICATIONS: &str = "alyx_proxy_mirror_verifications_total";

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verified {
    /// Both said the same.
    Same,
    /// They differed until the next synchronisation: Alyx's records had changed.
    Changed,
    /// They differ: the mirror is wrong.
    Different,
    /// One of both did not answer, or something changed meanwhile.
    Unknown,
}

#[derive(Debug, Default)]
struct Pool {
    questions: Vec<Question>,
    seen: usize,
}

/// The samples, and the counts of what came of them.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pool: Mutex<Pool>,
    counts: [AtomicU64; 4],
    /// Comparisons that are to be made without a pause between them.
    hurried: AtomicUsize,
    hurry: tokio::sync::Notify,
}

impl Samples {
    /// Keeps a question, or does not.
    pub(super) fn note(&self, question: &Question) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.seen = pool.seen.saturating_add(1);
        if pool.questions.len() < KEPT {
            pool.questions.push(question.clone());
        } else {
            let place = rand::rng().random_range(0..pool.seen);
            if let Some(old) = pool.questions.get_mut(place) {
                *old = question.clone();
            }
        }
    }

    /// Has what is kept compared now instead of by and by; how many questions that are.
    pub(crate) fn hurry(&self) -> usize {
        let count = self.pool.lock().unwrap_or_else(PoisonError::into_inner).questions.len();
        self.hurried.store(count, Ordering::Relaxed);
        self.hurry.notify_one();
        count
    }

    /// Waits for so long, or until it is in a hurry; whether it is.
    pub(super) async fn pause(&self, length: std::time::Duration) -> bool {
        let one_less = |count: usize| count.checked_sub(1);
        let hurried = || self.hurried.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        // A permit that nobody waited for is spent by the first of the hurried ones.
        hurried() || tokio::time::timeout(length, self.hurry.notified()).await.is_ok() && hurried()
    }

    /// Takes one of them.
    pub(super) fn take(&self) -> Option<Question> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.seen = pool.questions.len();
        let count = pool.questions.len();
        let question = (count > 0).then(|| pool.questions.swap_remove(rand::rng().random_range(0..count)))?;
        drop(pool);
        whole(&question)
    }

    /// Counts what came of a comparison.
    pub(super) fn count(&self, verified: Verified) {
        self.counts[verified as usize].fetch_add(1, Ordering::Relaxed);
        metrics::counter!(VERIFICATIONS, "result" => verified.name()).increment(1);
    }

    /// The counts by name.
    pub(crate) fn by_name(&self) -> [(&'static str, u64); 4] {
        Verified::ALL
            .map(|verified| (verified.name(), self.counts[verified as usize].load(Ordering::Relaxed)))
    }
}

/// Makes the series of all results, at zero.
pub(crate) fn register() {
    crate::telemetry::metrics::register(VERIFICATIONS, "result", Verified::ALL.map(Verified::name));
}

impl Verified {
    const ALL: [Self; 4] = [Self::Same, Self::Changed, Self::Different, Self::Unknown];

    /// Its name in metrics and status.
    fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Different => "different",
            Self::Unknown => "unknown",
        }
    }
}
