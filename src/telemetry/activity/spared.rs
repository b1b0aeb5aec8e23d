//! How long Alyx takes to answer, by endpoint: what an answer from here has spared whoever asked.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::HashMap;

/// The weight of the latest answer in the running mean.
const WEIGHT: f64 = 0.1;

#[derive(Debug, Default)]
pub(super) struct Spared {
    /// Mean seconds of Alyx's answers, by endpoint; under the empty name those of all.
    means: Mutex<HashMap<&'static str, f64>>,
}

impl Spared {
    /// Alyx has answered, after so long.
    pub(super) fn asked(&self, endpoint: &'static str, took: Duration) {
        let mut means = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        for name in [endpoint, ""] {
            let seconds = took.as_secs_f64();
            let mean = means.entry(name).or_insert(seconds);
            *mean += WEIGHT * (seconds - *mean);
        }
    }

    /// What an answer from here, after so long, has spared.
    pub(super) fn saves(&self, endpoint: &'static str, took: Duration) -> Duration {
        let Ok(means) = self.means.try_lock() else { return Duration::ZERO };
        let mean = means.get(endpoint).or_else(|| means.get("")).copied().unwrap_or_default();
        Duration::from_secs_f64(mean.clamp(0.0, 3600.0)).saturating_sub(took)
    }
}
