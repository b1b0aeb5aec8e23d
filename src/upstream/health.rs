//! Whether Alyx can be reached: a state, not a time-out.
//!
//! Every request reports what it saw. Where nothing can be reached at all (DNS, refused, TLS) the
//! state changes at once; after any other failure (silence, a broken answer, 502, a page of HTML)
//! a look decides, so that one slow query or one crashed worker does not take the lab offline.
//! While Alyx is away a look every few seconds waits for its return. A look is a GET of
//! [`crate::alyx::route::LOOK`] without credentials.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::{Upstream, UpstreamError};
use crate::{
    clock::{Millis, SharedClock},
    settings::Settings,
};

/// What is known of Alyx.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HealthState {
    /// Nothing yet: it is asked as if it were up.
    #[default]
    Unknown,
    /// It answers.
    Up {
        /// Since when.
        since: Millis,
    },
    /// It can't be reached.
    Down {
        /// Since when.
        since: Millis,
        /// How that showed.
        reason: UpstreamError,
    },
}

impl HealthState {
    /// `up`, `down` or `unknown`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up { .. } => "up",
            Self::Down { .. } => "down",
        }
    }

    /// Since when it is so.
    pub fn since(&self) -> Option<Millis> {
        match self {
            Self::Unknown => None,
            Self::Up { since } | Self::Down { since, .. } => Some(*since),
        }
    }

    /// Whether it must not be asked.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// Whether it is not asked because somebody wants it so.
    pub fn is_on_purpose(&self) -> bool {
        matches!(self, Self::Down { reason: UpstreamError::HeldOffline | UpstreamError::Frozen, .. })
    }

    /// Why it is away, for people.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Down { reason, .. } => Some(reason.to_string()),
            _ => None,
        }
    }
}

/// The state, and who waits for it to change.
#[derive(Debug)]
pub struct Health {
    state: watch::Sender<HealthState>,
    /// Someone wants a look now.
    look: Notify,
    /// When Alyx last answered anything.
    heard: Mutex<Option<Instant>>,
    clock: SharedClock,
}

impl Health {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { state: watch::Sender::default(), look: Notify::new(), heard: Mutex::new(None), clock }
    }

    /// The state now.
    pub fn state(&self) -> HealthState {
        self.state.borrow().clone()
    }

    /// Whether Alyx must not be asked now.
    pub fn is_down(&self) -> bool {
        self.state.borrow().is_down()
    }

    /// Whether Alyx has answered anything since the start.
    pub fn has_answered(&self) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The state as soon as there is one.
    pub async fn until_known(&self) -> HealthState {
        let mut state = self.state.subscribe();
        match state.wait_for(|state| *state != HealthState::Unknown).await {
            Ok(state) => state.clone(),
            Err(_) => HealthState::Unknown,
        }
    }

    /// Has Alyx looked for now, and returns when its state is `down` or not as expected.
    pub async fn probe_until(&self, down: bool) {
        self.look.notify_one();
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.is_down() == down).await;
    }

    /// Completes when Alyx is known to be away.
    pub async fn until_down(&self) {
        self.until_down_is(true).await;
    }

    /// Completes when Alyx is away, or no longer so.
    pub async fn until_down_is(&self, down: bool) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = state.wait_for(|state| state.is_down() == down).await;
    }

    /// Alyx gave an answer of its own, whatever it said.
    pub fn answered(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.clock.instant());
        self.state.send_if_modified(|state| {
            if matches!(state, HealthState::Up { .. }) || state.is_on_purpose() {
                return false;
            }
            if state.is_down() {
                tracing::info!("Alyx is back");
            }
            *state = HealthState::Up { since: self.clock.now() };
            true
        });
    }

    /// Whether Alyx has answered anything since then.
    pub fn seen_since(&self, then: Instant) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|heard| heard >= then)
    }

    /// A request failed.
    pub fn failed(&self, failure: &UpstreamError) {
        if failure.is_unreachable() {
            self.went_down(failure);
        }
        // Either to be sure, or to begin looking for its return.
        if failure.is_outage() {
            self.look.notify_one();
        }
    }

    fn went_down(&self, failure: &UpstreamError) {
        self.state.send_if_modified(|state| {
            if state.is_on_purpose() {
                return false;
            }
            if let HealthState::Down { reason, .. } = state {
                reason.clone_from(failure);
            } else {
                tracing::warn!(reason = failure.name(), "Alyx is out of reach: {failure}");
                *state = HealthState::Down { since: self.clock.now(), reason: failure.clone() };
            }
            true
        });
    }

    /// Keeps away from Alyx until [`Self::release`]. A restart forgets it.
    pub fn force_offline(&self) {
        tracing::warn!("an administrator has taken this proxy offline");
        self.state
            .send_replace(HealthState::Down { since: self.clock.now(), reason: UpstreamError::HeldOffline });
    }

    /// Never asks Alyx anything: a snapshot is served alone.
    pub fn freeze(&self) {
        self.state.send_replace(HealthState::Down { since: self.clock.now(), reason: UpstreamError::Frozen });
    }

    /// Looks for Alyx again. Does nothing where nobody keeps away from it on purpose.
    pub fn resume(&self) {
        let released = self.state.send_if_modified(|state| {
            let held = matches!(state, HealthState::Down { reason: UpstreamError::HeldOffline, .. });
            if held {
                *state = HealthState::Unknown;
            }
            held
        });
        if released {
            tracing::info!("an administrator lets this proxy ask Alyx again");
            self.look.notify_one();
        }
    }

    /// Waits until a failure asks for a look or nothing was heard for `idle` (zero: no limit).
    async fn until_probe_is_due(&self, idle: Duration) {
        if idle.is_zero() {
            return self.look.notified().await;
        }
        loop {
            let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let silent = |heard| self.clock.instant().saturating_duration_since(heard);
            let due = heard.map_or(idle, |heard| idle.saturating_sub(silent(heard)));
            if due.is_zero() || tokio::time::timeout(jittered(due), self.look.notified()).await.is_ok() {
                return;
            }
        }
    }
}

/// Looks for Alyx for as long as the program runs: now, whenever a failure asks for it, every
/// `health.interval` while it is away, and after `health.idle_interval` of silence.
pub async fn watch(upstream: Arc<Upstream>, settings: Arc<ArcSwap<Settings>>) {
    let health = &upstream.health;
    loop {
        if health.state().is_on_purpose() {
            health.look.notified().await;
            continue;
        }
        let pace = settings.load().health.clone();
        match upstream.probe(pace.timeout.0).await {
            Ok(()) => health.answered(),
            Err(failure) => health.went_down(&failure),
        }
        if health.is_down() {
            let _ = tokio::time::timeout(jittered(pace.interval.0), health.look.notified()).await;
        } else {
            health.until_probe_is_due(pace.idle_interval.0).await;
        }
    }
}

/// Spreads the looks of many proxies.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..1.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    const IDLE: Duration = Duration::from_mins(1);

    #[test]
    fn the_state_says_since_when_to_the_millisecond() {
        let clock = ManualClock::at(1_000);
        let health = Health::new(clock.clone());
        let down = |since, reason| HealthState::Down { since, reason };
        assert_eq!(health.state(), HealthState::Unknown);
        health.failed(&UpstreamError::Timeout);
        assert_eq!(health.state(), HealthState::Unknown, "one slow answer says nothing; a look decides");
        health.answered();
        clock.advance(5);
        health.answered();
        assert_eq!(health.state(), HealthState::Up { since: 1_000 });
        health.failed(&UpstreamError::TooLarge);
        health.failed(&UpstreamError::Unavailable(502));
        assert_eq!(health.state(), HealthState::Up { since: 1_000 });
        health.failed(&UpstreamError::Refused);
        assert_eq!(health.state(), down(1_005, UpstreamError::Refused), "nothing listens there: at once");
        clock.advance(5);
        health.failed(&UpstreamError::Dns);
        assert_eq!(
            health.state(),
            down(1_005, UpstreamError::Dns),
            "away since then, for another reason now"
        );
        health.answered();
        assert_eq!(health.state(), HealthState::Up { since: 1_010 });
    }

    #[test]
    fn what_an_administrator_holds_back_stays_away_until_it_is_released() {
        let clock = ManualClock::at(1_000);
        let health = Health::new(clock.clone());
        health.force_offline();
        clock.advance(1);
        health.answered();
        health.failed(&UpstreamError::Refused);
        assert_eq!(health.state(), HealthState::Down { since: 1_000, reason: UpstreamError::HeldOffline });
        health.resume();
        assert_eq!(health.state(), HealthState::Unknown);
        health.freeze();
        health.resume();
        assert!(health.state().is_on_purpose(), "a snapshot is never released");
    }

    #[test]
    fn what_was_heard_is_told_to_the_instant() {
        let clock = ManualClock::at(0);
        let health = Health::new(clock.clone());
        let before = clock.instant();
        assert!(!health.seen_since(before));
        clock.advance(1);
        health.answered();
        let (at, after) = (clock.instant(), clock.instant() + Duration::from_millis(1));
        assert!(health.seen_since(before) && health.seen_since(at) && !health.seen_since(after));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_due_after_silence_or_at_once_when_a_request_failed() {
        let clock = ManualClock::with_tokio(0);
        let health = Health::new(clock.clone());
        let waited = async || {
            let before = clock.now();
            health.until_probe_is_due(IDLE).await;
            Duration::from_millis((clock.now() - before).unsigned_abs())
        };
        // Spread by a tenth, so that many proxies do not look at once.
        let spread = IDLE.mul_f64(0.9)..=IDLE.mul_f64(1.1) + Duration::from_millis(1);
        health.answered();
        let silent = waited().await;
        assert!(silent >= IDLE && spread.contains(&silent), "{silent:?}");
        health.answered();
        health.failed(&UpstreamError::Timeout);
        assert_eq!(waited().await, Duration::ZERO);
        // An answer half-way puts it off.
        let half = async {
            tokio::time::sleep_until(tokio::time::Instant::now() + IDLE / 2).await;
            health.answered();
        };
        let (silent, ()) = tokio::join!(waited(), half);
        assert!(silent >= IDLE * 3 / 2 && silent <= IDLE * 8 / 5 + Duration::from_millis(1), "{silent:?}");
        assert!(tokio::time::timeout(IDLE * 1_000, health.until_probe_is_due(Duration::ZERO)).await.is_err());
    }
}
