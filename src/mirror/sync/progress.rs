//! How far synchronising has come, for status pages.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::clock::{self, Millis, SharedClock};

/// How far one table has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// `waiting`, `fill`, `details`, `changes`, `list` or `done`.
    pub phase: Cow<'static, str>,
    /// Records that are here of those that are being fetched.
    pub rows: u64,
    /// Records that there are.
    pub total: u64,
    /// Details that were fetched since the phase began.
    pub details: u64,
    /// Details that are still to be fetched.
    #[serde(default)]
    pub details_left: u64,
    /// Records that were here when the phase began.
    #[serde(default)]
    pub rows_before: u64,
    /// When the phase began.
    pub since: Millis,
    /// Why the last run failed; none if it did not.
    pub error: Option<String>,
    /// When the last run succeeded.
    pub succeeded_at: Option<Millis>,
}

impl TableProgress {
    /// What has been done of the phase, and what is left.
    fn done_and_left(&self) -> (u64, u64) {
        if self.phase == "details" {
            (self.details, self.details_left)
        } else {
            (self.rows.saturating_sub(self.rows_before), self.total.saturating_sub(self.rows))
        }
    }

    /// What is here of what there is: of details while these are fetched, else of records.
    pub fn here(&self) -> u64 {
        if self.phase == "details" { self.total.saturating_sub(self.details_left) } else { self.rows }
    }

    /// Records or details an hour from when the phase began to `now`.
    fn per_hour(&self, now: Millis) -> u64 {
        let millis = now.saturating_sub(self.since).max(1).unsigned_abs();
        self.done_and_left().0.saturating_mul(3_600_000) / millis
    }

    /// The same a second, for people.
    pub fn rate(&self, now: Millis) -> String {
        let hundredths = self.per_hour(now) / 36;
        if hundredths >= 1000 {
            format!("{}", hundredths / 100)
        } else {
            format!("{}.{:02}", hundredths / 100, hundredths % 100)
        }
    }

    /// The seconds that are left of a phase in which records or details are fetched; none where that can't be told yet.
    pub fn seconds_left(&self, now: Millis) -> Option<u64> {
        let (done, left) = self.done_and_left();
        let is_told = matches!(self.phase.as_ref(), "fill" | "details") && done > 0;
        is_told.then(|| (left * 3600).checked_div(self.per_hour(now))).flatten()
    }

    /// Whether it is being synchronised.
    pub fn is_moving(&self) -> bool {
        !matches!(self.phase.as_ref(), "" | "done" | "waiting")
    }

    /// The phase, and how far it is where records or details are fetched.
    pub fn phase_for_people(&self, now: Millis) -> String {
        match self.phase.as_ref() {
            "fill" | "details" => format!("{}: {}", self.phase, self.for_people(now)),
            phase => phase.to_owned(),
        }
    }

    /// How far it is, in words: what is here of what there is, the rate, and the time that is left.
    pub fn for_people(&self, now: Millis) -> String {
        let left = self.seconds_left(now).map_or_else(String::new, |seconds| {
            let millis = Millis::try_from(seconds.saturating_mul(1000)).unwrap_or(Millis::MAX);
            format!(", {} left", clock::span_for_people(millis))
        });
        let rate = self.rate(now);
        match self.phase.as_ref() {
            "fill" => format!("{} of {} records, {rate} a second{left}", self.rows, self.total),
            "details" => {
                let here = self.total.saturating_sub(self.details_left);
                format!("{here} of {} details, {rate} a second{left}", self.total)
            }
            _ => format!("{} records", self.rows),
        }
    }
}

/// Tables that are smaller are not told of in the log.
const TOLD: u64 = 1000;

/// Whether so many of so many are another tenth than those before.
fn is_another_tenth(before: u64, now: u64, of: u64) -> bool {
    of > 0 && before * 10 / of != now * 10 / of
}

/// How far all tables have come.
#[derive(Debug)]
pub struct SyncProgress {
    tables: Mutex<BTreeMap<&'static str, TableProgress>>,
    clock: SharedClock,
}

impl SyncProgress {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { tables: Mutex::default(), clock }
    }

    /// As it is now.
    pub fn snapshot(&self) -> BTreeMap<&'static str, TableProgress> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, endpoint: &'static str, change: impl FnOnce(&mut TableProgress)) {
        change(self.tables.lock().unwrap_or_else(PoisonError::into_inner).entry(endpoint).or_default());
    }

    pub(super) fn phase(&self, endpoint: &'static str, phase: &'static str) {
        self.change(endpoint, |table| {
            table.phase = phase.into();
            table.since = self.clock.now();
            table.details = 0;
            table.rows_before = 0;
        });
    }

    /// The list of a table is being fetched; so much of it is here.
    pub(super) fn fill_begin(&self, endpoint: &'static str, rows: u64, total: u64) {
        self.change(endpoint, |table| (table.rows, table.rows_before, table.total) = (rows, rows, total));
        if total > TOLD {
            let how = if rows == 0 { "begun" } else { "goes on" };
            tracing::info!(endpoint, rows, total, "the list of a table is fetched: {how}");
        }
    }

    pub(super) fn rows(&self, endpoint: &'static str, rows: u64, total: u64) {
        self.change(endpoint, |table| {
            let before = std::mem::replace(&mut table.rows, rows);
            table.total = total;
            if table.phase == "fill" && total > TOLD && is_another_tenth(before, rows, total) {
                tracing::info!(
                    endpoint,
                    "the list of a table is fetched: {}",
                    table.for_people(self.clock.now())
                );
            }
        });
    }

    /// So many details of so many records are to be fetched.
    pub(super) fn details_begin(&self, endpoint: &'static str, left: u64, total: u64) {
        self.phase(endpoint, "details");
        self.change(endpoint, |table| (table.rows, table.total, table.details_left) = (total, total, left));
        if left * 10 > TOLD {
            let how = if left == total { "begun" } else { "goes on" };
            tracing::info!(endpoint, left, total, "the details of a table are fetched: {how}");
        }
    }

    pub(super) fn details(&self, endpoint: &'static str, more: u64) {
        self.change(endpoint, |table| {
            let before = table.total.saturating_sub(table.details_left);
            table.details += more;
            table.details_left = table.details_left.saturating_sub(more);
            if table.total * 10 > TOLD && is_another_tenth(before, before + more, table.total) {
                tracing::info!(
                    endpoint,
                    "the details of a table are fetched: {}",
                    table.for_people(self.clock.now())
                );
            }
        });
    }

    pub(super) fn ended(&self, endpoint: &'static str, error: Option<String>) {
        self.change(endpoint, |table| {
            table.phase = if error.is_some() { "waiting" } else { "done" }.into();
            if error.is_none() {
                table.succeeded_at = Some(self.clock.now());
                table.details_left = 0;
            }
            table.error = error;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_far_it_is_and_how_long_it_takes() {
        let fill = TableProgress {
            phase: "fill".into(),
            rows: 3_000,
            rows_before: 1_000,
            total: 9_000,
            since: 0,
            ..TableProgress::default()
        };
        // A restart goes on where it was: what was here before took no time.
        assert_eq!((fill.rate(10_000), fill.seconds_left(10_000)), ("200".to_owned(), Some(30)));
        let details = TableProgress {
            phase: "details".into(),
            rows: 2_000,
            total: 2_000,
            details: 40,
            details_left: 900,
            since: 0,
            ..TableProgress::default()
        };
        assert_eq!((details.rate(10_000), details.seconds_left(10_000)), ("4.00".to_owned(), Some(225)));
        let told = details.for_people(10_000);
        assert!(
            told.starts_with("1100 of 2000 details, 4.00 a second, ") && told.ends_with(" left"),
            "{told}"
        );
        let begun = TableProgress { details: 0, ..details };
        assert_eq!(begun.seconds_left(10_000), None);
    }

    #[test]
    fn every_tenth_is_told_once() {
        let tenths = (0..1000).filter(|at| is_another_tenth(*at, at + 1, 1000)).count();
        assert_eq!(tenths, 10);
    }
}
