//! How far synchronising has come, for status pages.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::clock::{Millis, SharedClock};

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
    /// When the phase began.
    pub since: Millis,
    /// Why the last run failed; none if it did not.
    pub error: Option<String>,
    /// When the last run succeeded.
    pub succeeded_at: Option<Millis>,
}

impl TableProgress {
    /// Records and details a second from when the phase began to `now`.
    pub fn rate(&self, now: Millis) -> u64 {
        let millis = now.saturating_sub(self.since).max(1).unsigned_abs();
        self.rows.max(self.details) * 1000 / millis
    }
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
        });
    }

    pub(super) fn rows(&self, endpoint: &'static str, rows: u64, total: u64) {
        self.change(endpoint, |table| (table.rows, table.total) = (rows, total));
    }

    pub(super) fn details(&self, endpoint: &'static str, more: u64) {
        self.change(endpoint, |table| table.details += more);
    }

    pub(super) fn ended(&self, endpoint: &'static str, error: Option<String>) {
        self.change(endpoint, |table| {
            table.phase = if error.is_some() { "waiting" } else { "done" }.into();
            if error.is_none() {
                table.succeeded_at = Some(self.clock.now());
            }
            table.error = error;
        });
    }
}
