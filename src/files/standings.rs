//! Credentials that the data server has accepted lately, for the place that a request takes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::credentials::DataCredentials;
use crate::clock::Millis;

/// So many are remembered.
const MOST: usize = 4096;

/// Whom the data server has given something, and when last.
#[derive(Debug, Default)]
pub(super) struct DataStandings(Mutex<HashMap<[u8; 32], Millis>>);

impl DataStandings {
    /// It gave these credentials something.
    pub(super) fn note(&self, credentials: &DataCredentials, now: Millis) {
        if !credentials.are_given() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST
            && let Some(oldest) = known.iter().min_by_key(|(_, at)| **at).map(|(hash, _)| *hash)
        {
            known.remove(&oldest);
        }
        known.insert(credentials.hash(), now);
    }

    /// Whether it has since this time.
    pub(super) fn are_known(&self, credentials: &DataCredentials, since: Millis) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&credentials.hash()).is_some_and(|at| *at >= since)
    }
}
