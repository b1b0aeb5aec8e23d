//! Politeness: how often and how many at once Alyx is asked.
//!
//! Alyx throttles each user (REST.md 4.2: 550 requests a minute). Requests are paced below that for
//! each token; only a few are under way at once; and when Alyx asks for a pause (429 with
//! `Retry-After`), the pause holds for everyone.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Failure;
use crate::settings;

/// Requests that may come at once before the pace holds; together with the pace it stays below
/// Alyx's own limit.
const BURST: u32 = 40;
/// Requests of our own accord that may be under way at once.
const BEHIND: usize = 2;
/// How often one looks whether people still wait.
const LOOK: Duration = Duration::from_millis(20);

/// Whom Alyx counts a request for: a name for a token that does not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller(pub [u8; 32]);

/// Whose turn it is to ask.
#[derive(Debug)]
pub struct Pace {
    /// One bucket for each token; `None` where requests are not paced.
    rates: Option<DefaultKeyedRateLimiter<Option<Caller>>>,
    under_way: Arc<Semaphore>,
    /// How many of those places one user may have: never all, where there are several.
    share: usize,
    shares: Mutex<HashMap<Option<Caller>, Arc<Semaphore>>>,
    /// Bodies that take long to come may have half of the places, so that the rest goes on.
    uploads: Arc<Semaphore>,
    /// Requests that wait for their turn.
    waiting: AtomicUsize,
    /// Half the pace of one user, for all that we ask of our own accord.
    rate_behind: Option<DefaultDirectRateLimiter>,
    behind: Arc<Semaphore>,
    /// Alyx asked not to be asked before.
    pause: Mutex<Option<Instant>>,
}

/// A request's turn; it ends when this is dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
pub struct Turn {
    place: OwnedSemaphorePermit,
    share: OwnedSemaphorePermit,
}

/// Counts a request for as long as it waits.
struct Waiting<'p>(&'p AtomicUsize);

impl<'p> Waiting<'p> {
    fn of(count: &'p AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pace {
    pub(super) fn new(settings: &settings::Upstream) -> Self {
        let rates = NonZeroU32::new(settings.rate).map(|rate| {
            let burst = rate.min(NonZeroU32::new(BURST).unwrap_or(rate));
            RateLimiter::keyed(Quota::per_minute(rate).allow_burst(burst))
        });
        let rate_behind = NonZeroU32::new(settings.rate.div_ceil(2))
            .map(|rate| RateLimiter::direct(Quota::per_minute(rate).allow_burst(rate.min(NonZeroU32::MIN))));
        Self {
            rates,
            under_way: Arc::new(Semaphore::new(settings.concurrency)),
            share: settings.concurrency - settings.concurrency.div_ceil(4).min(settings.concurrency - 1),
            shares: Mutex::default(),
            uploads: Arc::new(Semaphore::new(settings.concurrency.div_ceil(2))),
            waiting: AtomicUsize::new(0),
            rate_behind,
            behind: Arc::new(Semaphore::new(BEHIND)),
            pause: Mutex::new(None),
        }
    }

    /// Waits for a place behind the requests of people: until none of them waits for a turn.
    pub(super) async fn behind(&self) -> OwnedSemaphorePermit {
        let place = loop {
            // The semaphore is never closed.
            if let Ok(place) = self.behind.clone().acquire_owned().await {
                break place;
            }
        };
        if let Some(rate) = &self.rate_behind {
            rate.until_ready().await;
        }
        while self.waiting.load(Ordering::Relaxed) > 0 || self.under_way.available_permits() == 0 {
            tokio::time::sleep(LOOK).await;
        }
        place
    }

    /// Waits for a turn, until `deadline` at the longest.
    pub(super) async fn turn(&self, who: Option<&Caller>, deadline: Instant) -> Result<Turn, Failure> {
        let _waiting = Waiting::of(&self.waiting);
        self.keep_pace(who, deadline).await?;
        // First among one's own: who asks for much at once is not ahead of the others with all of it.
        let share = place(self.share_of(who), deadline).await?;
        let place = place(self.under_way.clone(), deadline).await?;
        Ok(Turn { place, share })
    }

    /// The same for a request whose body takes long to come. It takes nothing of what its user may ask at once.
    pub(super) async fn upload(&self, who: Option<&Caller>, deadline: Instant) -> Result<Turn, Failure> {
        let share = place(self.uploads.clone(), deadline).await?;
        let _waiting = Waiting::of(&self.waiting);
        self.keep_pace(who, deadline).await?;
        let place = place(self.under_way.clone(), deadline).await?;
        Ok(Turn { place, share })
    }

    /// Waits for a pause that Alyx has asked for to end, and until a user has not asked too often.
    async fn keep_pace(&self, who: Option<&Caller>, deadline: Instant) -> Result<(), Failure> {
        if let Some(until) = self.pause_until() {
            if until > deadline {
                return Err(Failure::Throttled(until.saturating_duration_since(Instant::now())));
            }
            tokio::time::sleep_until(until.into()).await;
        }
        if let Some(rates) = &self.rates {
            let who = who.copied();
            let paced = rates.until_key_ready(&who);
            let in_time = tokio::time::timeout_at(deadline.into(), paced).await;
            in_time.map_err(|_| Failure::Throttled(Duration::from_secs(1)))?;
        }
        Ok(())
    }

    fn share_of(&self, who: Option<&Caller>) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.entry(who.copied()).or_insert_with(|| Arc::new(Semaphore::new(self.share))).clone()
    }

    /// Alyx asked for a pause.
    pub(super) fn pause(&self, length: Duration) {
        tracing::warn!(seconds = length.as_secs(), "Alyx asks for a pause");
        let until = Instant::now() + length;
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = Some(pause.map_or(until, |before| before.max(until)));
    }

    fn pause_until(&self) -> Option<Instant> {
        let pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.filter(|until| *until > Instant::now())
    }

    /// Forgets tokens that have not asked for a while, so that the table stays small.
    pub fn tidy(&self) {
        if let Some(rates) = &self.rates {
            rates.retain_recent();
        }
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| Arc::strong_count(share) > 1);
    }
}

async fn place(places: Arc<Semaphore>, deadline: Instant) -> Result<OwnedSemaphorePermit, Failure> {
    match tokio::time::timeout_at(deadline.into(), places.acquire_owned()).await {
        Ok(Ok(place)) => Ok(place),
        // The semaphore is never closed. Requests that were sent earlier have not been answered.
        Ok(Err(_)) | Err(_) => Err(Failure::Timeout),
    }
}
