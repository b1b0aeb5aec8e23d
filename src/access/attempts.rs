//! Failed log-ins are counted, so that passwords can't be guessed at leisure.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use moka::sync::Cache;

use crate::settings;

/// Failures that are kept count of; far more than a lab has users and machines.
const KEPT: u64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    User([u8; 32]),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
}

/// Failed log-ins of each user name and each address within the window.
#[derive(Debug)]
pub struct Attempts {
    failures: Cache<Who, Failures>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { failures: Cache::new(KEPT) }
    }
}

impl Attempts {
    /// How long this user or address must wait before it may try again; `None`: it may try now.
    pub(super) fn wait(
        &self,
        user: [u8; 32],
        address: IpAddr,
        settings: &settings::Access,
    ) -> Option<Duration> {
        let wait = |who: Who| {
            let failures = self.failures.get(&who)?;
            let left = settings.window.0.checked_sub(failures.since.elapsed())?;
            (failures.count >= settings.attempts).then_some(left)
        };
        wait(Who::User(user)).max(wait(Who::Address(address)))
    }

    /// A log-in failed.
    pub(super) fn failed(&self, user: [u8; 32], address: IpAddr, settings: &settings::Access) {
        metrics::counter!("alyx_proxy_login_failures_total").increment(1);
        for who in [Who::User(user), Who::Address(address)] {
            self.failures.entry(who).and_upsert_with(|before| {
                let before = before
                    .map(moka::Entry::into_value)
                    .filter(|before| before.since.elapsed() < settings.window.0);
                match before {
                    Some(before) => Failures { count: before.count + 1, ..before },
                    None => Failures { count: 1, since: Instant::now() },
                }
            });
        }
    }

    /// A log-in succeeded.
    pub(super) fn succeeded(&self, user: [u8; 32]) {
        self.failures.invalidate(&Who::User(user));
    }
}
