//! How requests were answered, counted since the start.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use foldhash::HashMap;

use crate::http::cache_status::CacheStatus;

const OUTCOME_NAMES: [&str; 8] =
    ["memory", "disk", "stale", "mirror", "upstream", "collapsed", "refused", "own"];

/// Makes the series of all outcomes, at zero.
pub(crate) fn register() {
    super::metrics::register("alyx_proxy_responses_total", "outcome", OUTCOME_NAMES);
}

/// The counters of outcomes; found once, as finding one costs more than counting.
static OUTCOMES: LazyLock<HashMap<&'static str, metrics::Counter>> = LazyLock::new(|| {
    let counter = |name| metrics::counter!("alyx_proxy_responses_total", "outcome" => name);
    OUTCOME_NAMES.into_iter().map(|name| (name, counter(name))).collect()
});

/// What was answered since the start, and how.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    memory: AtomicU64,
    disk: AtomicU64,
    stale: AtomicU64,
    mirror: AtomicU64,
    upstream: AtomicU64,
    collapsed: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// Counts a response; those of the proxy's own pages in the metric alone.
    pub(crate) fn count(&self, how: CacheStatus) {
        let name = how.name();
        let counter = match name {
            "memory" => Some(&self.memory),
            "disk" => Some(&self.disk),
            "stale" => Some(&self.stale),
            "mirror" => Some(&self.mirror),
            "upstream" => Some(&self.upstream),
            "collapsed" => Some(&self.collapsed),
            "refused" => Some(&self.refused),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(counter) = OUTCOMES.get(name) {
            counter.increment(1);
        }
    }

    /// The counts by name.
    pub(crate) fn by_name(&self) -> [(&'static str, u64); 7] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("memory", read(&self.memory)),
            ("disk", read(&self.disk)),
            ("stale", read(&self.stale)),
            ("mirror", read(&self.mirror)),
            ("upstream", read(&self.upstream)),
            ("collapsed", read(&self.collapsed)),
            ("refused", read(&self.refused)),
        ]
    }
}
