//! What is not asked for again at once: tables that failed, and details that Alyx did not have.

use std::sync::PoisonError;

use super::Synchroniser;
use crate::clock;

impl Synchroniser {
    /// Alyx did not have the details of these records.
    pub(super) fn lack(&self, endpoint: &'static str, records: impl Iterator<Item = i64>) {
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, long) = (clock::now(), self.settings.load().mirror.full_interval.millis());
        lacking.retain(|_, at| (0..long).contains(&(now - *at)));
        lacking.extend(records.map(|n| ((endpoint, n), now)));
    }

    /// The records whose details are to be asked for: not those that Alyx did not have a moment ago. They are asked for
    /// again as often as whole tables are.
    pub(super) fn not_lacking(
        &self,
        endpoint: &'static str,
        mut wanted: Vec<(i64, String)>,
    ) -> Vec<(i64, String)> {
        let lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, long) = (clock::now(), self.settings.load().mirror.full_interval.millis());
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
        failures.get(endpoint).is_some_and(|(at, times)| {
            let pause = 5_000 * i64::from(2_u32.saturating_pow((*times).min(8)));
            (0..pause).contains(&clock::now().saturating_sub(*at))
        })
    }
}
