//! How often one user's questions go to Alyx.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    state::{InMemoryState, NotKeyed, keyed::DefaultKeyedStateStore},
};

use super::{UpstreamError, caller::Caller};
use crate::{clock::SharedClock, cluster::TurnRate};

/// Requests that may come at once before the pace holds; together with the pace it stays below
/// Alyx's own limit.
pub(super) const BURST: u32 = 40;

/// How often may be asked.
#[derive(Debug)]
pub(super) struct Rates {
    per_minute: NonZeroU32,
    /// One bucket for each token.
    of_users: KeyedLimiter,
    /// A quarter of it for each of those who share one.
    of_parts: KeyedLimiter,
    /// Half the pace of one user, for all that we ask of our own accord while people ask too.
    pub(super) behind: RateLimiter<NotKeyed, InMemoryState, Time>,
}

impl Rates {
    /// So many requests a minute; none where requests are not paced.
    pub(super) fn of(requests_per_minute: u32, clock: &SharedClock) -> Option<Arc<Self>> {
        let part = |of: u32| NonZeroU32::new(requests_per_minute.div_ceil(of));
        let keyed = |rate: NonZeroU32| {
            let burst = rate.min(NonZeroU32::new(BURST).unwrap_or(rate));
            RateLimiter::dashmap_with_clock(Quota::per_minute(rate).allow_burst(burst), Time(clock.clone()))
        };
        let slow = Quota::per_minute(part(2)?).allow_burst(NonZeroU32::MIN);
        Some(Arc::new(Self {
            per_minute: part(1)?,
            of_users: keyed(part(1)?),
            of_parts: keyed(part(4)?),
            behind: RateLimiter::direct_with_clock(slow, Time(clock.clone())),
        }))
    }

    /// Waits until this caller has not asked too often here, until `deadline` at the longest.
    pub(super) async fn keep(&self, who: Option<&Caller>, deadline: Instant) -> Result<(), UpstreamError> {
        if Caller::is_part(who) {
            until_ready(&self.of_parts, who.copied(), deadline).await?;
        }
        until_ready(&self.of_users, Caller::counted(who), deadline).await
    }

    /// The pace of one user, in turns.
    pub(super) fn of_one(&self) -> TurnRate {
        let every = Duration::from_mins(1) / self.per_minute.get();
        TurnRate { every, burst: BURST.min(self.per_minute.get()) }
    }

    /// The same for each of those who share one.
    pub(super) fn of_one_part(&self) -> TurnRate {
        let per_minute = self.per_minute.get().div_ceil(4);
        TurnRate { every: Duration::from_mins(1) / per_minute, burst: BURST.min(per_minute) }
    }

    /// Forgets who has not asked for a while.
    pub(super) fn tidy(&self) {
        [&self.of_users, &self.of_parts].into_iter().for_each(RateLimiter::retain_recent);
    }
}

/// A bucket for each caller.
type KeyedLimiter = RateLimiter<Option<Caller>, DefaultKeyedStateStore<Option<Caller>>, Time>;

/// Waits until this caller has not asked too often, until `deadline` at the longest.
async fn until_ready(
    limiter: &KeyedLimiter,
    who: Option<Caller>,
    deadline: Instant,
) -> Result<(), UpstreamError> {
    while let Err(too_soon) = limiter.check_key(&who) {
        let next = too_soon.earliest_possible();
        tokio::time::sleep_until(next.min(deadline).into()).await;
        if next > deadline {
            return Err(UpstreamError::Paced);
        }
    }
    Ok(())
}

/// The clock in the form in which the rate limiter takes it.
#[derive(Debug, Clone)]
pub(super) struct Time(SharedClock);

impl governor::clock::Clock for Time {
    type Instant = Instant;

    fn now(&self) -> Instant {
        self.0.instant()
    }
}
