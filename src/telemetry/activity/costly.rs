//! Questions that cost the mirror too much, so that its operator can see which: how many, and the last ones.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::clock::{self, Millis};

/// Counts them, by `reason`.
pub(crate) const COSTLY: &str = "alyx_proxy_questions_too_costly_total";

/// Why the mirror gave a question up: it took too much, or there was no time to begin it.
const REASONS: [&str; 2] = ["too-costly", "mirror-busy"];

/// Questions that are kept.
const KEPT: usize = 20;
/// Characters of a question that are kept.
const LONGEST: usize = 400;

/// A question that cost too much.
#[derive(Debug, Clone)]
pub(crate) struct CostlyQuestion {
    /// Its path and query, which is for those to see who have logged in.
    pub(crate) question: String,
    pub(crate) endpoint: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) count: u64,
    pub(crate) at: Millis,
}

#[derive(Debug, Default)]
pub(super) struct CostlyQuestions(Mutex<VecDeque<CostlyQuestion>>);

/// Makes the series of both reasons, at zero.
pub(crate) fn register() {
    crate::telemetry::metrics::register(COSTLY, "reason", REASONS);
}

impl CostlyQuestions {
    pub(super) fn note(&self, endpoint: &'static str, question: &str, reason: &'static str) {
        metrics::counter!(COSTLY, "reason" => reason).increment(1);
        tracing::info!(endpoint, reason, "the mirror gave up a question that costs too much");
        tracing::debug!(question, "it was");
        let question: String = question.chars().take(LONGEST).collect();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = last.iter().position(|known| known.question == question && known.reason == reason);
        let count = same.and_then(|at| last.remove(at)).map_or(0, |known| known.count) + 1;
        last.push_front(CostlyQuestion { question, endpoint, reason, count, at: clock::now() });
        last.truncate(KEPT);
    }

    /// The last ones, the last first.
    pub(super) fn last(&self) -> Vec<CostlyQuestion> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_the_same_is_counted() {
        let costly = CostlyQuestions::default();
        for n in 0..50 {
            costly.note("datasets", &format!("/datasets?n={n}{}", "x".repeat(1_000)), "too-costly");
            costly.note("datasets", "/datasets?again", "too-costly");
        }
        let last = costly.last();
        assert_eq!((last.len(), last[0].count, last[1].count), (KEPT, 50, 1));
        assert!(last.iter().all(|asked| asked.question.len() <= LONGEST));
    }
}
