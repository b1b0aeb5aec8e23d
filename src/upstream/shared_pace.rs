//! The pace that the proxies of a cluster keep to together: Alyx counts by user, wherever they ask.
//!
//! While this proxy is together with the others each turn is one of all. While it is not, it keeps to its part: as many to
//! share as it knew last, begun with nothing saved, so that the sum stays below.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{UpstreamError, caller::Caller, rates::Rates};
use crate::{
    clock::SharedClock,
    cluster::{Cluster, TurnRate, TurnTold},
};

/// What has come of asking for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SharedTurn {
    /// It is now.
    Taken,
    /// Alyx has asked for a pause that lasts so long yet.
    Paused(Duration),
}

/// The pace of all proxies together.
#[derive(Debug)]
pub(super) struct SharedPace {
    cluster: Arc<Cluster>,
    /// This proxy's part, since it is told no turns.
    alone: Mutex<Option<PaceAlone>>,
    clock: SharedClock,
}

/// The turns of one proxy that keeps to its part; times are those since the machine started.
#[derive(Debug)]
pub(super) struct PaceAlone {
    since: Duration,
    /// When each caller's next turn is.
    next: HashMap<Vec<u8>, Duration>,
}

impl PaceAlone {
    fn new(now: Duration) -> Self {
        Self { since: now, next: HashMap::new() }
    }

    /// How long to wait for a turn at this rate, which is one of so many proxies'; none is taken where that is longer than `most`.
    fn turn(&mut self, caller: &[u8], rate: TurnRate, now: Duration, most: Duration) -> TurnTold {
        // Others may have asked a moment ago: nothing is saved, and the first turn comes as late as any.
        let since = self.since + rate.every;
        let next = self.next.get(caller).copied().unwrap_or_default();
        let slot = rate.slot(next, since, now);
        let wait = slot.saturating_sub(now);
        if wait > most {
            return TurnTold::TooLate(wait);
        }
        self.next.insert(caller.to_vec(), slot + rate.every);
        TurnTold::Taken(wait)
    }
}

impl SharedPace {
    pub(super) fn of(cluster: Arc<Cluster>, clock: SharedClock) -> Self {
        Self { cluster, alone: Mutex::default(), clock }
    }

    /// Waits for a turn of this caller's, until `deadline` at the longest.
    pub(super) async fn turn(
        &self,
        rates: &Rates,
        who: Option<&Caller>,
        deadline: Instant,
    ) -> Result<SharedTurn, UpstreamError> {
        if Caller::is_part(who) {
            let name = [b"part ".as_slice(), &Caller::name(who)].concat();
            if let paused @ SharedTurn::Paused(_) = self.one(&name, rates.of_one_part(), deadline).await? {
                return Ok(paused);
            }
        }
        self.one(&Caller::name(Caller::counted(who).as_ref()), rates.of_one(), deadline).await
    }

    async fn one(
        &self,
        caller: &[u8],
        rate: TurnRate,
        deadline: Instant,
    ) -> Result<SharedTurn, UpstreamError> {
        loop {
            let most = deadline.saturating_duration_since(self.clock.instant());
            let told = match self.cluster.turn(caller, rate, most).await {
                Some(told) => {
                    *self.alone.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    told
                }
                None => self.alone(caller, rate, most),
            };
            let (TurnTold::Taken(wait) | TurnTold::TooLate(wait) | TurnTold::Paused(wait)) = told;
            if let TurnTold::Paused(length) = told {
                return Ok(SharedTurn::Paused(length));
            }
            let until = self.clock.instant() + wait;
            tokio::time::sleep_until(until.min(deadline).into()).await;
            match told {
                TurnTold::Taken(_) => return Ok(SharedTurn::Taken),
                _ if until >= deadline => return Err(UpstreamError::Paced),
                // Others took the turn: there is another by now.
                _ => {}
            }
        }
    }

    fn alone(&self, caller: &[u8], rate: TurnRate, most: Duration) -> TurnTold {
        metrics::counter!("alyx_proxy_cluster_paced_alone_total").increment(1);
        let (now, rate) = (self.clock.awake(), rate.part(self.cluster.known_members()));
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone.get_or_insert_with(|| PaceAlone::new(now)).turn(caller, rate, now, most)
    }

    /// Tells the others that Alyx has asked this caller for a pause.
    pub(super) fn tell_pause(&self, who: Option<&Caller>, length: Duration) {
        self.cluster.tell_pause(&Caller::name(Caller::counted(who).as_ref()), length);
    }

    /// Forgets callers whose next turn is past.
    pub(super) fn tidy(&self) {
        let now = self.clock.awake();
        if let Some(alone) = &mut *self.alone.lock().unwrap_or_else(PoisonError::into_inner) {
            // Long enough past that its whole burst is saved anew.
            alone.next.retain(|_, next| now.saturating_sub(*next) < Duration::from_mins(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_with_nothing_saved_and_their_sum_stays_below_the_whole() {
        const PROXIES: u32 = 3;
        let whole = TurnRate { every: Duration::from_millis(120), burst: 40 };
        let start = Duration::from_secs(1_000);
        let mut taken = Vec::new();
        for _ in 0..PROXIES {
            let (mut alone, mut now) = (PaceAlone::new(start), start);
            // As often as it may, for a minute; then not for a minute; then again.
            for pause in [Duration::from_mins(1), Duration::ZERO] {
                let end = now + Duration::from_mins(1);
                while now < end {
                    let told = alone.turn(b"x", whole.part(PROXIES), now, Duration::from_mins(9));
                    let TurnTold::Taken(wait) = told else { panic!("{told:?}") };
                    now += wait;
                    taken.push(now);
                }
                now += pause;
            }
        }
        taken.sort_unstable();
        assert!(taken[0] >= start + whole.every * PROXIES, "nothing was saved");
        for (n, from) in taken.iter().enumerate() {
            let within = taken[n..].iter().take_while(|at| **at < *from + Duration::from_mins(1)).count();
            assert!(within <= 500 + 40 + 3, "{within} in a minute");
        }
        assert!(taken.len() > 900, "and the pace is kept up");
        let mut alone = PaceAlone::new(start);
        let turn = |alone: &mut PaceAlone, who: &[u8], most| alone.turn(who, whole, start, most);
        assert_eq!(turn(&mut alone, b"x", Duration::ZERO), TurnTold::TooLate(whole.every), "none is taken");
        for who in [b"x", b"y"] {
            assert_eq!(turn(&mut alone, who, whole.every), TurnTold::Taken(whole.every), "each has its own");
        }
    }
}
