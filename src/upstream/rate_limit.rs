//! Politeness: how often and how many at once Alyx is asked.
//!
//! Alyx throttles each user (ALYX.md 4.2: 550 requests a minute). Requests are paced below that for
//! each token that it has accepted; only a few are under way at once; and when Alyx asks for a pause
//! (429 with `Retry-After`), whoever it told so is not asked for. Where it tells several so, it counts
//! by address, and the pause holds for everyone.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use super::caller::Caller;

use super::{
    UpstreamError,
    rates::Rates,
    shared_pace::{SharedPace, SharedTurn},
};
use crate::{clock::SharedClock, cluster::Cluster, settings};

/// Requests of our own accord that may be under way at once.
const BEHIND: usize = 2;
/// For so long after people have asked, what we ask of our own accord keeps to half their pace.
const PEOPLE_LATELY: Duration = Duration::from_secs(10);
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
    /// None where requests are not paced.
    rates: ArcSwapOption<Rates>,
    /// Other proxies of the same Alyx, with whom the pace is shared.
    shared: OnceLock<SharedPace>,
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
    /// When people asked last, and who it is that asks of our own accord.
    people: Mutex<People>,
    behind: Arc<Semaphore>,
    pauses: Mutex<Pauses>,
    clock: SharedClock,
}

/// What one user may have at once.
#[derive(Debug, Clone)]
struct Share<T> {
    /// Of the places.
    places: T,
    /// Of those for bodies that take long to come.
    uploads: T,
}

/// When people asked last.
#[derive(Debug, Default)]
struct People {
    asked_at: Option<Instant>,
    /// Whoever asks of our own accord is none of them.
    own: Option<Caller>,
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
    pub(super) fn new(settings: &settings::UpstreamSettings, clock: SharedClock) -> Self {
        let (places, uploads) = (settings.concurrency, settings.concurrency.div_ceil(2));
        let share = Share {
            places: places - places.div_ceil(4).min(places - 1),
            // Half of them: one user's slow uploads leave room for another's.
            uploads: (uploads / 2).max(1),
        };
        Self {
            rates: ArcSwapOption::new(Rates::of(settings.requests_per_minute, &clock)),
            shared: OnceLock::new(),
            under_way: Arc::new(Semaphore::new(places)),
            share,
            share_of_strangers: Share { places: places.div_euclid(4).max(1), uploads: 1 },
            shares: Mutex::default(),
            uploads: Arc::new(Semaphore::new(uploads)),
            waiting: AtomicUsize::new(0),
            people: Mutex::default(),
            behind: Arc::new(Semaphore::new(BEHIND)),
            pauses: Mutex::default(),
            clock,
        }
    }

    /// From now on the pace is that of all these proxies together.
    pub(crate) fn share_with(&self, cluster: Arc<Cluster>) {
        self.shared.get_or_init(|| SharedPace::of(cluster, self.clock.clone()));
    }

    /// From now on each user may ask so many times a minute; 0: as often as they like. What users have asked before is
    /// forgotten.
    pub fn set_rate(&self, requests_per_minute: u32) {
        self.rates.store(Rates::of(requests_per_minute, &self.clock));
    }

    /// Waits for a place behind the requests of people: until none of them waits for a turn, and at half their pace where they
    /// have asked lately. Where nobody does, all of the pace is there for it.
    pub(super) async fn background(&self, who: Option<&Caller>) -> OwnedSemaphorePermit {
        self.people.lock().unwrap_or_else(PoisonError::into_inner).own = who.copied();
        let place = loop {
            // The semaphore is never closed.
            if let Ok(place) = self.behind.clone().acquire_owned().await {
                break place;
            }
        };
        if let Some(rates) = self.rates.load_full() {
            while self.people_have_asked_lately()
                && let Err(too_soon) = rates.behind.check()
            {
                tokio::time::sleep_until(too_soon.earliest_possible().into()).await;
            }
        }
        while self.waiting.load(Ordering::Relaxed) > 0 || self.under_way.available_permits() == 0 {
            #[allow(clippy::disallowed_methods, reason = "a pause between two looks, which is no deadline")]
            tokio::time::sleep(LOOK).await;
        }
        place
    }

    fn people_have_asked_lately(&self) -> bool {
        let asked_at = self.people.lock().unwrap_or_else(PoisonError::into_inner).asked_at;
        asked_at.is_some_and(|at| self.clock.instant().saturating_duration_since(at) < PEOPLE_LATELY)
    }

    fn note_people(&self, who: Option<&Caller>) {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        if who.is_none() || people.own.as_ref() != who {
            people.asked_at = Some(self.clock.instant());
        }
    }

    /// Waits for a turn, until `deadline` at the longest.
    pub(super) async fn turn(
        &self,
        who: Option<&Caller>,
        deadline: Instant,
    ) -> Result<RatePermit, UpstreamError> {
        self.note_people(who);
        loop {
            self.wait_out_pause(who, deadline).await?;
            let _waiting = Waiting::of(&self.waiting);
            if !self.keep_rate(who, deadline).await? {
                continue;
            }
            // First among one's own: who asks for much at once is not ahead of the others with all of it.
            let share = self.place(self.share_of(who).places, deadline).await?;
            let place = self.place(self.under_way.clone(), deadline).await?;
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
            let share = self.place(self.share_of(who).uploads, deadline).await?;
            let upload = self.place(self.uploads.clone(), deadline).await?;
            let _waiting = Waiting::of(&self.waiting);
            if !self.keep_rate(who, deadline).await? {
                continue;
            }
            let place = self.place(self.under_way.clone(), deadline).await?;
            if self.pause_of(who).is_none() {
                return Ok(RatePermit { place, share, upload: Some(upload) });
            }
        }
    }

    /// Waits for a pause that Alyx has asked for to end.
    async fn wait_out_pause(&self, who: Option<&Caller>, deadline: Instant) -> Result<(), UpstreamError> {
        while let Some((until, everybody)) = self.pause_of(who) {
            if until > deadline {
                let left = until.saturating_duration_since(self.clock.instant());
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

    /// Waits until a user has not asked too often, here and elsewhere; `false` where Alyx has asked for a pause meanwhile.
    async fn keep_rate(&self, who: Option<&Caller>, deadline: Instant) -> Result<bool, UpstreamError> {
        let Some(rates) = self.rates.load_full() else { return Ok(true) };
        rates.keep(who, deadline).await?;
        let Some(shared) = self.shared.get() else { return Ok(true) };
        match shared.turn(&rates, who, deadline).await? {
            SharedTurn::Taken => Ok(true),
            SharedTurn::Paused(length) => {
                self.note_pause(who, length);
                Ok(false)
            }
        }
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
        self.note_pause(who, length);
        if let Some(shared) = self.shared.get() {
            shared.tell_pause(who, length);
        }
    }

    fn note_pause(&self, who: Option<&Caller>, length: Duration) {
        let now = self.clock.instant();
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
        own.max(pauses.everybody.map(|until| (until, true)))
            .filter(|(until, _)| *until > self.clock.instant())
    }

    /// Forgets tokens that have not asked for a while, so that the table stays small.
    pub fn tidy(&self) {
        if let Some(rates) = self.rates.load_full() {
            rates.tidy();
        }
        if let Some(shared) = self.shared.get() {
            shared.tidy();
        }
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let used = |places: &Arc<Semaphore>| Arc::strong_count(places) > 1;
        shares.retain(|_, share| used(&share.places) || used(&share.uploads));
        drop(shares);
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner).tidy(self.clock.instant());
    }

    /// A place, in time. One that comes free only as the time ends is left to others: what is asked then is asked in vain.
    async fn place(
        &self,
        places: Arc<Semaphore>,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, UpstreamError> {
        match tokio::time::timeout_at(deadline.into(), places.acquire_owned()).await {
            Ok(Ok(place)) if self.clock.instant() < deadline => Ok(place),
            // The semaphore is never closed.
            _ => Err(UpstreamError::Saturated),
        }
    }
}

#[cfg(test)]
mod tests;
