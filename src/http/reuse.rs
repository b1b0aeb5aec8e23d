//! Whether a stored response may answer a request (RFC 9111 4.2, 5.2.1).

use std::time::Duration;

use super::Directives;
use crate::settings::Settings;

/// Why an answer is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// Its time is over, by so much.
    Expired {
        /// Time since it ceased to be fresh.
        by: Duration,
    },
    /// It says that there is no such thing, which is believed for `cache.negative_ttl` alone.
    Negative,
    /// Its endpoint is asked every time.
    NeverFresh,
    /// A write may have changed it.
    Written,
    /// Another page of the same query is newer.
    OlderPage,
    /// It comes from the future: the clock was set back.
    Clock,
    /// The client wants it fresher.
    Request,
}

impl Staleness {
    /// Its name in `Cache-Status`, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::Negative => "negative",
            Self::NeverFresh => "never-fresh",
            Self::Written => "written",
            Self::OlderPage => "older-page",
            Self::Clock => "clock",
            Self::Request => "request",
        }
    }

    /// Whether it may be given while Alyx is slow to say something newer: not to those who would
    /// miss their own write or a page of the generation they read, nor where what was missing may have been made
    /// meanwhile, nor where the request or the kind asks for what is current.
    pub fn may_stand_in(self) -> bool {
        matches!(self, Self::Expired { .. } | Self::Clock)
    }

    /// Whether it may be given at once, and refreshed behind the scenes.
    pub fn may_be_refreshed_behind(self, settings: &Settings) -> bool {
        matches!(self, Self::Expired { by } if by <= settings.cache.stale_while_revalidate.0)
    }
}

impl Directives {
    /// How long a stored response of this age and lifetime is fresh yet, for a request with these directives (RFC 9111 4.2,
    /// 5.2.1): zero where it is stale, and the request takes it so. Otherwise why it is not.
    pub fn judge(&self, age: Duration, lifetime: Duration) -> Result<Duration, Staleness> {
        if self.no_cache || self.max_age.is_some_and(|limit| age > limit) {
            return Err(Staleness::Request);
        }
        let left = lifetime.saturating_sub(age);
        if !left.is_zero() {
            let enough = self.min_fresh.is_none_or(|least| left >= least);
            return if enough { Ok(left) } else { Err(Staleness::Request) };
        }
        let by = age.saturating_sub(lifetime);
        if self.min_fresh.is_some() {
            return Err(Staleness::Request);
        }
        let taken = self.max_stale.is_some_and(|allowed| by <= allowed);
        if taken { Ok(Duration::ZERO) } else { Err(Staleness::Expired { by }) }
    }

    /// The same turned round: the age up to which a response of this lifetime is good enough; none if it is at no age.
    pub fn oldest(&self, lifetime: Duration) -> Option<Duration> {
        if self.no_cache {
            return None;
        }
        let span = match self.min_fresh {
            Some(least) => lifetime.checked_sub(least)?,
            None => lifetime.saturating_add(self.max_stale.unwrap_or_default()),
        };
        Some(self.max_age.map_or(span, |limit| span.min(limit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn requests_can_be_stricter_and_looser() {
        let none = Directives::default();
        let judged = |directives: Directives, age| directives.judge(SECOND * age, SECOND * 10);
        let expired = |by| Err(Staleness::Expired { by: SECOND * by });
        let request = Err(Staleness::Request);
        assert_eq!(
            [judged(none, 9), judged(none, 10), judged(none, 12)],
            [Ok(SECOND), expired(0), expired(2)]
        );
        assert_eq!(judged(Directives { no_cache: true, ..none }, 0), request);
        let max_age = Directives { max_age: Some(SECOND * 3), ..none };
        assert_eq!([judged(max_age, 3), judged(max_age, 4)], [Ok(SECOND * 7), request]);
        let min_fresh = Directives { min_fresh: Some(SECOND * 3), ..none };
        assert_eq!(
            [judged(min_fresh, 7), judged(min_fresh, 8), judged(min_fresh, 11)],
            [Ok(SECOND * 3), request, request]
        );
        let max_stale = Directives { max_stale: Some(SECOND * 2), ..none };
        assert_eq!([judged(max_stale, 12), judged(max_stale, 13)], [Ok(Duration::ZERO), expired(3)]);
        let any_age = Directives { max_stale: Some(Duration::MAX), max_age: Some(SECOND * 20), ..none };
        assert_eq!([judged(any_age, 20), judged(any_age, 21)], [Ok(Duration::ZERO), request]);
    }

    #[test]
    fn the_oldest_age_is_where_the_judgement_ends() {
        let spans = [None, Some(Duration::ZERO), Some(SECOND * 4), Some(SECOND * 40), Some(Duration::MAX)];
        for max_age in spans {
            for min_fresh in spans {
                for max_stale in spans {
                    let directives = Directives { max_age, min_fresh, max_stale, ..Directives::default() };
                    // At the very end of its lifetime a response is neither fresh, nor stale by anything.
                    for age in (0..60).filter(|age| *age != 10).map(|age| SECOND * age) {
                        let good = directives.judge(age, SECOND * 10).is_ok();
                        let oldest = directives.oldest(SECOND * 10);
                        assert_eq!(
                            good,
                            oldest.is_some_and(|oldest| age <= oldest),
                            "{directives:?} {age:?}"
                        );
                    }
                }
            }
        }
    }
}
