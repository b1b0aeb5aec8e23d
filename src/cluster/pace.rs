//! The pace towards Alyx, which counts by user and not by proxy: each turn is taken from a row of the engine's.
//!
//! Such a row says when the next turn is (GCRA): turns that nobody took are saved up to a burst. What was saved before the
//! rows began, or before a proxy came back that had paced by itself, counts for nothing.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use super::{Cluster, within};

/// So long a request waits to be told its turn; then it goes by this proxy's own part of the pace.
const TOLD_WITHIN: Duration = Duration::from_millis(250);
/// For so long the engine is not asked for turns after it did not tell one.
const OFF: Duration = Duration::from_secs(1);

/// No turn is later than so: what seems to be was left behind by a clock that was set back.
const LONGEST: Duration = Duration::from_mins(5);

/// How often may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnRate {
    /// Time between two turns.
    pub every: Duration,
    /// Turns that may be taken at once where none was taken for long enough.
    pub burst: u32,
}

impl TurnRate {
    /// Each one's part where so many share it.
    #[must_use]
    pub fn part(self, of: u32) -> Self {
        let of = of.max(1);
        Self { every: self.every * of, burst: (self.burst / of).max(1) }
    }

    /// The span of turns that are saved.
    pub fn saved(self) -> Duration {
        self.every * self.burst.saturating_sub(1)
    }

    /// When the next turn is, where `next` was said after the last one and none is saved from before `since`. All are spans
    /// from one beginning.
    pub fn slot(self, next: Duration, since: Duration, now: Duration) -> Duration {
        next.max(since).max(now.saturating_sub(self.saved()))
    }
}

/// A turn that is asked for.
#[derive(Debug, Clone)]
pub struct TurnAsked {
    /// Whose: a name that tells nothing.
    pub caller: Vec<u8>,
    /// How often they may ask.
    pub rate: TurnRate,
    /// A turn that comes later than so is none.
    pub most: Duration,
    /// Nothing is saved from before now: there was somebody who asked by a pace of its own.
    pub afresh: bool,
}

/// What comes of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnTold {
    /// It is theirs, after so long.
    Taken(Duration),
    /// It would come too late: after so long. Nothing was taken.
    TooLate(Duration),
    /// Alyx has asked for a pause that lasts so long yet. Nothing was taken.
    Paused(Duration),
}

/// Whether the engine is asked for turns.
#[derive(Debug, Default)]
pub(super) struct PaceState {
    /// Until when not, in nanoseconds since the machine started.
    off_until: AtomicU64,
    /// Whether this proxy has paced by itself since it was told a turn last.
    was_alone: AtomicBool,
}

impl Cluster {
    /// A turn of all proxies together; none where nobody tells: this one then keeps to its own part ([`Self::known_members`]).
    pub async fn turn(&self, caller: &[u8], rate: TurnRate, most: Duration) -> Option<TurnTold> {
        let now = nanos(self.clock.awake());
        if !self.together() || now < self.pace.off_until.load(Ordering::Acquire) {
            self.pace.was_alone.store(true, Ordering::Release);
            return None;
        }
        let afresh = self.pace.was_alone.swap(false, Ordering::AcqRel);
        let caller = self.seal.name(b"caller", caller);
        let (engine, asked) =
            (self.engine.clone(), TurnAsked { caller, rate, most: most.min(LONGEST), afresh });
        // A task of its own: whoever no longer waits does not break the connection, on which writes are told as well.
        let call = tokio::spawn(async move { within(engine.turn(asked)).await });
        let until = (self.clock.instant() + TOLD_WITHIN).into();
        if let Ok(Ok(Ok(told))) = tokio::time::timeout_at(until, call).await {
            return Some(told);
        }
        self.pace.was_alone.store(true, Ordering::Release);
        self.pace.off_until.store(nanos(self.clock.awake() + OFF), Ordering::Release);
        None
    }

    /// Tells the others that Alyx has asked this caller for a pause; whoever is not told hears it from Alyx.
    pub fn tell_pause(&self, caller: &[u8], length: Duration) {
        if !self.together() {
            return;
        }
        let (engine, caller) = (self.engine.clone(), self.seal.name(b"caller", caller));
        tokio::spawn(async move {
            if let Err(error) = within(engine.pause(caller, length)).await {
                tracing::debug!(%error, "the others were not told of a pause");
            }
        });
    }

    /// How many proxies there were when this one heard of them last, itself included.
    pub fn known_members(&self) -> u32 {
        u32::try_from(self.lease.state().members.len().max(1)).unwrap_or(u32::MAX)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
