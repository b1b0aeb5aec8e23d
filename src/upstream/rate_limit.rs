//! Politeness: how often and how many at once Alyx is asked.
//!
//! Alyx throttles each user (ALYX.md 4.2: 550 requests a minute). Requests are paced below that for
//! each token that it has accepted; only a few are under way at once; and when Alyx asks for a pause
//! (429 with `Retry-After`), whoever it told so is not asked for. Where it tells several so, it counts
//! by address, and the pause holds for everyone.

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

pub use super::caller::Caller;

use super::UpstreamError;
use crate::settings;

/// Requests that may come at once before the pace holds; together with the pace it stays below
/// Alyx's own limit.
const BURST: u32 = 40;
/// Requests of our own accord that may be under way at once.
const BEHIND: usize = 2;
/// How often one looks whether people still wait.
const LOOK: Duration = Duration::from_millis(20);

/// When so many callers have been told to pause within [`TOLD_LATELY`], Alyx counts all of them as one (`THROTTLE_MODE`
/// `anonymous`, ALYX.md 4.2).
const SEVERAL: usize = 3;
/// Alyx counts by the minute.
const TOLD_LATELY: Duration = Duration::from_mins(1);

/// Whose turn it is to ask.
#[derive(Debug)]
pub struct RequestLimiter {
    /// One bucket for each token; `None` where requests are not paced.
    rates: Option<DefaultKeyedRateLimiter<Option<Caller>>>,
    /// A quarter of it for each of those who share one.
    parts: Option<DefaultKeyedRateLimiter<Option<Caller>>>,
    under_way: Arc<Semaphore>,
    /// How many places one user may have: never all, where there are several.
    share: Share<usize>,
    /// How many all strangers may have together, and as many all who log in: never what users need.
    share_of_strangers: Share<usize>,
    shares: Mutex<HashMap<Option<Caller>, Share<Arc<Semaphore>>>>,
    /// Bodies that take long to come may have half of the places, so that the rest goes on.
    uploads: Arc<Semaphore>,
    /// Requests that wait for their turn.
    waiting: AtomicUsize,
    /// Half the pace of one user, for all that we ask of our own accord.
    rate_behind: Option<DefaultDirectRateLimiter>,
    behind: Arc<Semaphore>,
    pauses: Mutex<Pauses>,
}

/// What one user may have at once.
#[derive(Debug, Clone)]
struct Share<T> {
    /// Of the places.
    places: T,
    /// Of those for bodies that take long to come.
    uploads: T,
}

/// Alyx asked not to be asked before.
#[derive(Debug, Default)]
struct Pauses {
    of: HashMap<Option<Caller>, Pause>,
    everybody: Option<Instant>,
}

#[derive(Debug)]
struct Pause {
    told: Instant,
    until: Instant,
}

impl Pauses {
    /// Forgets what says nothing any more.
    fn tidy(&mut self, now: Instant) {
        self.of.retain(|_, pause| pause.until > now || now - pause.told < TOLD_LATELY);
    }

    /// How many callers have been told so lately, but for what Alyx counts by itself.
    fn told_lately(&self, now: Instant) -> usize {
        let lately = |(who, pause): &(&Option<Caller>, &Pause)| {
            **who != Some(Caller::Docs) && now - pause.told < TOLD_LATELY
        };
        self.of.iter().filter(lately).count()
    }
}

/// A request's turn; it ends when this is dropped.
#[derive(Debug)]
#[allow(dead_code, reason = "held, not read")]
pub struct RatePermit {
    place: OwnedSemaphorePermit,
    share: OwnedSemaphorePermit,
    upload: Option<OwnedSemaphorePermit>,
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

impl RequestLimiter {
    pub(super) fn new(settings: &settings::UpstreamSettings) -> Self {
        let keyed = |rate: NonZeroU32| {
            let burst = rate.min(NonZeroU32::new(BURST).unwrap_or(rate));
            RateLimiter::keyed(Quota::per_minute(rate).allow_burst(burst))
        };
        let rates = NonZeroU32::new(settings.requests_per_minute).map(keyed);
        let parts = NonZeroU32::new(settings.requests_per_minute.div_ceil(4)).map(keyed);
        let rate_behind = NonZeroU32::new(settings.requests_per_minute.div_ceil(2))
            .map(|rate| RateLimiter::direct(Quota::per_minute(rate).allow_burst(rate.min(NonZeroU32::MIN))));
        let (places, uploads) = (settings.concurrency, settings.concurrency.div_ceil(2));
        let share = Share {
            places: places - places.div_ceil(4).min(places - 1),
            // Half of them: one user's slow uploads leave room for another's.
            uploads: (uploads / 2).max(1),
        };
        Self {
            rates,
            parts,
            under_way: Arc::new(Semaphore::new(places)),
            share,
            share_of_strangers: Share { places: places.div_euclid(4).max(1), uploads: 1 },
            shares: Mutex::default(),
            uploads: Arc::new(Semaphore::new(uploads)),
            waiting: AtomicUsize::new(0),
            rate_behind,
            behind: Arc::new(Semaphore::new(BEHIND)),
            pauses: Mutex::default(),
        }
    }

    /// Waits for a place behind the requests of people: until none of them waits for a turn.
    pub(super) async fn background(&self) -> OwnedSemaphorePermit {
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
    pub(super) async fn turn(
        &self,
        who: Option<&Caller>,
        deadline: Instant,
    ) -> Result<RatePermit, UpstreamError> {
        loop {
            self.wait_out_pause(who, deadline).await?;
            let _waiting = Waiting::of(&self.waiting);
            self.keep_rate(who, deadline).await?;
            // First among one's own: who asks for much at once is not ahead of the others with all of it.
            let share = place(self.share_of(who).places, deadline).await?;
            let place = place(self.under_way.clone(), deadline).await?;
            // Alyx may have asked for a pause meanwhile; nobody keeps a place for that long.
            if self.pause_of(who).is_none() {
                return Ok(RatePermit { place, share, upload: None });
            }
        }
    }

    /// The same for a request whose body takes long to come. It takes nothing of what its user may ask at once.
    pub(super) async fn upload(
        &self,
        who: Option<&Caller>,
        deadline: Instant,
    ) -> Result<RatePermit, UpstreamError> {
        loop {
            self.wait_out_pause(who, deadline).await?;
            let share = place(self.share_of(who).uploads, deadline).await?;
            let upload = place(self.uploads.clone(), deadline).await?;
            let _waiting = Waiting::of(&self.waiting);
            self.keep_rate(who, deadline).await?;
            let place = place(self.under_way.clone(), deadline).await?;
            if self.pause_of(who).is_none() {
                return Ok(RatePermit { place, share, upload: Some(upload) });
            }
        }
    }

    /// Waits for a pause that Alyx has asked for to end.
    async fn wait_out_pause(&self, who: Option<&Caller>, deadline: Instant) -> Result<(), UpstreamError> {
        while let Some((until, everybody)) = self.pause_of(who) {
            if until > deadline {
                let left = until.saturating_duration_since(Instant::now());
                return Err(if everybody {
                    UpstreamError::ThrottledAll(left)
                } else {
                    UpstreamError::Throttled(left)
                });
            }
            tokio::time::sleep_until(until.into()).await;
        }
        Ok(())
    }

    /// Waits until a user has not asked too often.
    async fn keep_rate(&self, who: Option<&Caller>, deadline: Instant) -> Result<(), UpstreamError> {
        let (Some(rates), Some(parts)) = (&self.rates, &self.parts) else { return Ok(()) };
        let paced = async {
            if Caller::is_part(who) {
                parts.until_key_ready(&who.copied()).await;
            }
            rates.until_key_ready(&Caller::counted(who)).await;
        };
        tokio::time::timeout_at(deadline.into(), paced).await.map_err(|_| UpstreamError::Paced)
    }

    fn share_of(&self, who: Option<&Caller>) -> Share<Arc<Semaphore>> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |count| Arc::new(Semaphore::new(count));
        let share = || {
            let Share { places, uploads } =
                if Caller::is_user(who) { &self.share } else { &self.share_of_strangers };
            Share { places: of(*places), uploads: of(*uploads) }
        };
        shares.entry(Caller::share(who)).or_insert_with(share).clone()
    }

    /// Alyx asked this caller for a pause.
    pub(super) fn pause(&self, who: Option<&Caller>, length: Duration) {
        let now = Instant::now();
        let until = now + length;
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.tidy(now);
        let pause = pauses.of.entry(Caller::counted(who)).or_insert(Pause { told: now, until });
        *pause = Pause { told: now, until: pause.until.max(until) };
        let everybody = pauses.told_lately(now) >= SEVERAL && who != Some(&Caller::Docs);
        if everybody {
            pauses.everybody = pauses.everybody.max(Some(until));
        }
        drop(pauses);
        tracing::warn!(seconds = length.as_secs(), everybody, "Alyx asks for a pause");
    }

    /// Until when Alyx is not to be asked for this caller, and whether that is so because it holds for everybody; none
    /// if it may be.
    fn pause_of(&self, who: Option<&Caller>) -> Option<(Instant, bool)> {
        let pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let own = pauses.of.get(&Caller::counted(who)).map(|pause| (pause.until, false));
        own.max(pauses.everybody.map(|until| (until, true))).filter(|(until, _)| *until > Instant::now())
    }

    /// Forgets tokens that have not asked for a while, so that the table stays small.
    pub fn tidy(&self) {
        [&self.rates, &self.parts].into_iter().flatten().for_each(RateLimiter::retain_recent);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |places: &Arc<Semaphore>| Arc::strong_count(places) > 1;
        shares.retain(|_, share| used(&share.places) || used(&share.uploads));
        drop(shares);
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).tidy(Instant::now());
    }
}

/// A place, in time. One that comes free only as the time ends is left to others: what is asked then is asked in vain.
async fn place(places: Arc<Semaphore>, deadline: Instant) -> Result<OwnedSemaphorePermit, UpstreamError> {
    match tokio::time::timeout_at(deadline.into(), places.acquire_owned()).await {
        Ok(Ok(place)) if Instant::now() < deadline => Ok(place),
        // The semaphore is never closed.
        _ => Err(UpstreamError::Saturated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_mins(1);

    fn pace(concurrency: usize, rate: u32) -> RequestLimiter {
        RequestLimiter::new(&settings::UpstreamSettings {
            requests_per_minute: rate,
            concurrency,
            ..Default::default()
        })
    }

    fn user(n: u8) -> Caller {
        Caller::User([n; 32])
    }

    #[tokio::test]
    async fn a_turn_never_comes_after_its_time() {
        let pace = pace(2, 0);
        assert_eq!(pace.turn(None, Instant::now()).await.unwrap_err(), UpstreamError::Saturated);
        pace.turn(None, Instant::now() + LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_pause_holds_for_those_who_wait_for_a_place() {
        let pace = Arc::new(pace(1, 0));
        let turn = pace.turn(None, Instant::now() + LONG).await.unwrap();
        let waiting = tokio::spawn({
            let pace = pace.clone();
            async move { pace.turn(None, Instant::now() + LONG).await.map(drop) }
        });
        while pace.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        pace.pause(None, LONG * 2);
        drop(turn);
        assert!(matches!(waiting.await.unwrap(), Err(UpstreamError::Throttled(_))));
        // It has given its place to somebody whom Alyx told nothing.
        pace.turn(Some(&user(1)), Instant::now() + LONG).await.unwrap();
    }

    #[tokio::test]
    async fn a_pause_is_for_whom_alyx_told_and_for_all_where_it_tells_several() {
        let pace = pace(4, 0);
        let turn = async |who| pace.turn(Some(&who), Instant::now() + LONG).await.map(drop);
        for who in [Caller::Docs, user(1), user(2)] {
            pace.pause(Some(&who), LONG * 2);
            assert!(matches!(turn(who).await, Err(UpstreamError::Throttled(_))), "{who:?}");
            turn(user(9)).await.unwrap();
        }
        pace.pause(Some(&user(3)), LONG * 2);
        assert!(matches!(turn(user(9)).await, Err(UpstreamError::ThrottledAll(_))));
    }

    #[tokio::test]
    async fn strangers_leave_places_and_uploads_to_users() {
        let pace = pace(8, 0);
        let log_in = |n: u8| Caller::LogIn([10, 0, 0, n].into());
        let turn = async |who: Option<Caller>| pace.turn(who.as_ref(), Instant::now() + SOON).await;
        let upload = async |who: Option<Caller>| pace.upload(who.as_ref(), Instant::now() + SOON).await;
        let mut held = vec![upload(None).await.unwrap()];
        for stranger in [None, Some(Caller::Unverified), Some(Caller::Docs)] {
            assert_eq!(upload(stranger).await.unwrap_err(), UpstreamError::Saturated, "{stranger:?}");
        }
        for who in [None, Some(Caller::Unverified), Some(log_in(1)), Some(log_in(2))] {
            held.push(turn(who).await.unwrap());
        }
        for who in [None, Some(Caller::Docs), Some(Caller::Unverified), Some(log_in(1)), Some(log_in(3))] {
            assert_eq!(turn(who).await.unwrap_err(), UpstreamError::Saturated, "{who:?}");
        }
        held.push(upload(Some(user(1))).await.unwrap());
        held.push(turn(Some(user(1))).await.unwrap());
    }

    #[tokio::test]
    async fn log_ins_of_one_network_leave_the_pace_to_others() {
        let pace = pace(8, 400);
        let log_in = async |n: u8, time: Duration| {
            let who = Caller::LogIn([10, 0, 0, n].into());
            pace.turn(Some(&who), Instant::now() + time).await.map(drop)
        };
        while log_in(1, Duration::from_millis(1)).await.is_ok() {}
        assert_eq!(log_in(1, Duration::from_millis(1)).await.unwrap_err(), UpstreamError::Paced);
        assert_eq!(pace.pause_of(None), None);
        pace.pause(Some(&Caller::LogIn([10, 0, 0, 1].into())), LONG);
        assert!(pace.pause_of(None).is_some(), "Alyx counts them as one");
    }

    #[tokio::test]
    async fn uploads_of_one_user_leave_room_for_anothers() {
        let pace = pace(4, 0);
        let upload = async |who, time| pace.upload(Some(&who), Instant::now() + time).await;
        let first = upload(user(1), LONG).await.unwrap();
        assert_eq!(upload(user(1), SOON).await.unwrap_err(), UpstreamError::Saturated);
        let other = upload(user(2), LONG).await.unwrap();
        drop((first, other));
        upload(user(1), LONG).await.unwrap();
    }
}
