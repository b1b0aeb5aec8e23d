//! Failed log-ins are counted, so that passwords can't be guessed at leisure.
//!
//! What is locked is a name from an address: many people share a name (a lab's public user) or an address (one network
//! behind NAT), and none of them shall be locked out by another's wrong password. Each alone has far higher bounds, for
//! who guesses from many addresses or at many names.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use moka::{
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache,
};

use crate::{clock::SharedClock, http::forwarded, settings};

/// Failures that are kept count of; far more than a lab has users and machines.
const KEPT: u64 = 50_000;
/// A name, or an address, alone may fail so many times as often as one from the other.
const ALONE: u32 = 50;
/// How often a locked pair's password is held against the one that is kept here.
const CHECKS: Duration = Duration::from_secs(1);

/// A name, as its keyed hash, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LoginKey {
    user: [u8; 32],
    network: IpAddr,
}

impl LoginKey {
    /// Of this user at this address. Whoever has one address of IPv6 has as many as they like: their network counts.
    pub(super) fn new(user: [u8; 32], address: IpAddr) -> Self {
        Self { user, network: forwarded::network(address) }
    }

    pub(super) fn user(&self) -> [u8; 32] {
        self.user
    }

    fn counted(self, attempts: u32) -> [(Who, u32); 3] {
        let alone = attempts.saturating_mul(ALONE);
        [(Who::Pair(self), attempts), (Who::User(self.user), alone), (Who::Network(self.network), alone)]
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Pair(LoginKey),
    User([u8; 32]),
    Network(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
}

/// Failed log-ins within the window.
#[derive(Debug)]
pub struct LoginThrottle {
    failures: Cache<Who, Failures>,
    /// Locked pairs whose password was looked at a moment ago.
    checked: Cache<LoginKey, Instant>,
    clock: SharedClock,
}

impl LoginThrottle {
    pub(super) fn new(clock: SharedClock) -> Self {
        let kept = || Cache::builder().max_capacity(KEPT).eviction_policy(EvictionPolicy::lru());
        Self {
            failures: kept().build(),
            checked: Cache::builder().max_capacity(KEPT).eviction_policy(EvictionPolicy::lru()).build(),
            clock,
        }
    }

    fn since(&self, then: Instant) -> Duration {
        self.clock.instant().saturating_duration_since(then)
    }

    /// How long this user must wait before it may try again from here; `None`: it may try now.
    pub(super) fn wait(&self, pair: LoginKey, settings: &settings::AccessSettings) -> Option<Duration> {
        let wait = |(who, bound): (Who, u32)| {
            let failures = self.failures.get(&who)?;
            let left = settings.login_window.0.saturating_sub(self.since(failures.since));
            (failures.count >= bound && !left.is_zero()).then_some(left)
        };
        pair.counted(settings.login_attempts).into_iter().filter_map(wait).max()
    }

    /// Whether a locked pair's password may be looked at now: once a second.
    pub(super) fn may_check(&self, pair: LoginKey) -> bool {
        let now = self.clock.instant();
        let looked =
            self.checked.entry(pair).and_compute_with(|before| match before.map(moka::Entry::into_value) {
                Some(before) if now.saturating_duration_since(before) < CHECKS => Op::Nop,
                _ => Op::Put(now),
            });
        matches!(looked, CompResult::Inserted(_) | CompResult::ReplacedWith(_))
    }

    /// A log-in failed.
    pub(super) fn failed(&self, pair: LoginKey, settings: &settings::AccessSettings) {
        metrics::counter!("alyx_proxy_login_failures_total").increment(1);
        for (who, _) in pair.counted(settings.login_attempts) {
            self.failures.entry(who).and_upsert_with(|before| {
                let before = before
                    .map(moka::Entry::into_value)
                    .filter(|before| self.since(before.since) < settings.login_window.0);
                match before {
                    Some(before) => Failures { count: before.count.saturating_add(1), ..before },
                    None => Failures { count: 1, since: self.clock.instant() },
                }
            });
        }
    }

    /// A log-in succeeded. What others have failed at with this name, or from this address, still counts.
    pub(super) fn succeeded(&self, pair: LoginKey) {
        self.failures.invalidate(&Who::Pair(pair));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::ManualClock, settings::value::Span};

    fn pair(user: u8, address: &str) -> LoginKey {
        LoginKey::new([user; 32], address.parse().unwrap())
    }

    #[test]
    fn a_name_from_an_address_is_locked_and_each_alone_much_later() {
        let settings = settings::AccessSettings { login_attempts: 3, ..settings::AccessSettings::default() };
        let attempts = LoginThrottle::new(ManualClock::at(0));
        let locked = |pair| attempts.wait(pair, &settings).is_some();
        for _ in 0..3 {
            assert!(!locked(pair(1, "10.0.0.1")));
            attempts.failed(pair(1, "10.0.0.1"), &settings);
        }
        assert!(locked(pair(1, "10.0.0.1")) && locked(pair(1, "::ffff:10.0.0.1")));
        assert!(!locked(pair(1, "10.0.0.2")) && !locked(pair(2, "10.0.0.1")));
        attempts.succeeded(pair(1, "10.0.0.1"));
        assert!(!locked(pair(1, "10.0.0.1")));
        // One name from everywhere, one address with every name.
        for n in 2..=u8::try_from(3 * ALONE).unwrap() {
            attempts.failed(pair(1, &format!("10.0.1.{n}")), &settings);
            attempts.failed(pair(n, "10.0.0.3"), &settings);
        }
        assert!(locked(pair(1, "10.0.0.9")));
        attempts.failed(pair(2, "10.0.0.3"), &settings);
        assert!(locked(pair(251, "10.0.0.3")) && !locked(pair(251, "10.0.0.4")));
    }

    #[test]
    fn all_addresses_of_one_network_of_ipv6_are_one() {
        assert_eq!(pair(1, "2001:db8::1"), pair(1, "2001:db8::ffff:1"));
        assert_ne!(pair(1, "2001:db8::1"), pair(1, "2001:db8:0:1::1"));
    }

    #[test]
    fn a_locked_password_is_looked_at_once_a_second() {
        let clock = ManualClock::at(0);
        let attempts = LoginThrottle::new(clock.clone());
        assert!(attempts.may_check(pair(1, "10.0.0.1")) && !attempts.may_check(pair(1, "10.0.0.1")));
        assert!(attempts.may_check(pair(2, "10.0.0.1")));
        clock.advance(999);
        assert!(!attempts.may_check(pair(1, "10.0.0.1")));
        clock.advance(1);
        assert!(attempts.may_check(pair(1, "10.0.0.1")));
    }

    #[test]
    fn a_window_ends_to_the_millisecond_and_counts_from_its_first_failure() {
        let clock = ManualClock::at(0);
        let attempts = LoginThrottle::new(clock.clone());
        let (login_attempts, login_window) = (3, Span::minutes(5));
        let settings = settings::AccessSettings { login_attempts, login_window, ..Default::default() };
        let here = pair(1, "10.0.0.1");
        for _ in 0..3 {
            assert_eq!(attempts.wait(here, &settings), None);
            attempts.failed(here, &settings);
            clock.advance(1);
        }
        let millis = Duration::from_millis;
        assert_eq!(attempts.wait(here, &settings), Some(millis(299_997)));
        clock.advance(299_996);
        assert_eq!(attempts.wait(here, &settings), Some(millis(1)));
        clock.advance(1);
        assert_eq!(attempts.wait(here, &settings), None, "it is over");
        attempts.failed(here, &settings);
        assert_eq!(attempts.wait(here, &settings), None, "a new window counts from one");
    }
}
