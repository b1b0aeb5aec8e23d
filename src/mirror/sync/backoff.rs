//! What is not asked for again at once: tables that failed, and details that Alyx did not have.

use std::sync::PoisonError;

use super::{SyncError, Synchroniser};
use crate::clock::{Millis, SharedClock};

impl SyncError {
    /// Whether Alyx could not be reached.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Account(error) if error.is_outage())
    }
}

impl Synchroniser {
    /// Why Alyx refuses the account's token or password, if it does: nothing can be synchronised.
    pub fn account_refusal(&self) -> Option<String> {
        self.source.account.refusal().map(|error| error.to_string())
    }

    pub(super) fn is_refused(&self) -> bool {
        self.source.account.refusal().is_some()
    }

    pub(super) fn clock(&self) -> &SharedClock {
        self.source.upstream.clock()
    }

    /// So often is asked for again what Alyx did not have: as often as whole tables are read.
    pub(super) fn seldom(&self) -> Millis {
        let full = self.settings.load().mirror.full_interval.millis();
        if self.budget.is_bounded() { full.max(super::relist::SWEEP) } else { full }
    }

    /// Alyx did not have the details of these records.
    pub(super) fn lack(&self, endpoint: &'static str, records: impl Iterator<Item = i64>) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, long) = (self.clock().now(), self.seldom());
        lacking.retain(|_, at| (0..long).contains(&(now - *at)));
        lacking.extend(records.map(|n| ((endpoint, n), now)));
    }

    /// How many records of a table are without the detail that Alyx did not have.
    pub fn lacking_details(&self, endpoint: &str) -> usize {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.keys().filter(|(of, _)| *of == endpoint).count()
    }

    /// The records whose details are to be asked for: not those that Alyx did not have a moment ago. They are asked for
    /// again as often as whole tables are.
    pub(super) fn not_lacking(
        &self,
        endpoint: &'static str,
        mut wanted: Vec<(i64, String)>,
    ) -> Vec<(i64, String)> {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, long) = (self.clock().now(), self.seldom());
        wanted
            .retain(|(n, _)| lacking.get(&(endpoint, *n)).is_none_or(|at| !(0..long).contains(&(now - *at))));
        wanted
    }

    /// The records of a table have other numbers.
    pub(super) fn lacking_none(&self, endpoint: &str) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        lacking.retain(|(of, _), _| *of != endpoint);
    }

    /// What failed because of a damaged file is tried again at once: one table, or all of them.
    pub(super) fn forgive(&self, endpoint: Option<&str>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|failed, _| endpoint.is_some_and(|endpoint| *failed != endpoint));
    }

    /// Whether a table failed so lately that it is left alone: longer each time.
    pub(super) fn rests(&self, endpoint: &str) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .get(endpoint)
            .is_some_and(|(at, times)| (0..pause(*times)).contains(&self.clock().now().saturating_sub(*at)))
    }
}

/// How long a table is left alone that failed so many times in a row, in milliseconds: twice as long each time, 21 minutes at
/// the longest.
fn pause(times: u32) -> Millis {
    5_000 * Millis::from(2_u32.saturating_pow(times.min(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_rests_longer_each_time_and_never_for_ever() {
        assert_eq!([1, 2, 3].map(pause), [10_000, 20_000, 40_000]);
        assert_eq!([8, 9, u32::MAX].map(pause), [1_280_000; 3]);
    }
}
