//! Whether this proxy may answer from memory without a word: its lease.
//!
//! A lease runs from before the beat was sent that renewed it, by a clock that goes on while the machine sleeps, and a little
//! shorter than others believe. Whoever waits for it to lapse waits a little longer. So no clocks are compared.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::engine::{Life, MemberId, MemberSeen, Seq};

/// What the holder of a lease of three seconds believes of it: clocks drift, by less than a tenth.
pub(super) const HELD: Duration = Duration::from_millis(2_700);
/// How long others wait for it.
pub(super) const LAPSED: Duration = Duration::from_millis(3_300);

/// The lease of this proxy, and what it knows of the cluster.
#[derive(Debug)]
pub(super) struct Lease {
    /// Until when it holds, in nanoseconds since the machine started.
    until: AtomicU64,
    state: Mutex<LeaseState>,
}

/// What this proxy knows of the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct LeaseState {
    /// As whom it is in.
    pub(super) member: Option<MemberId>,
    /// As whom it was in last.
    pub(super) was: Option<MemberId>,
    /// The life of the engine that it follows.
    pub(super) life: Option<Life>,
    /// The last event that it has applied.
    pub(super) seen: Seq,
    /// The last event that the engine had.
    pub(super) last: Seq,
    /// Since when it has been in without a break, in this life; in time since the machine started.
    pub(super) since: Option<Duration>,
    /// When it was in last, or began to try.
    pub(super) lost_at: Duration,
    /// Why it is not in.
    pub(super) trouble: Option<String>,
    /// All who are in.
    pub(super) members: Vec<MemberSeen>,
    /// The beats of the others, each with when it was first seen.
    pub(super) beats: HashMap<MemberId, (i64, Duration)>,
    /// How long the engine took for the last beat.
    pub(super) took: Duration,
}

impl Lease {
    pub(super) fn new(followed: Option<(Life, Seq)>, now: Duration) -> Self {
        let (life, seen) = followed.map_or((None, 0), |(life, seen)| (Some(life), seen));
        let state = LeaseState { life, seen, lost_at: now, ..LeaseState::default() };
        Self { until: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Whether it holds at this time.
    pub(super) fn holds(&self, now: Duration) -> bool {
        nanos(now) < self.until.load(Ordering::Acquire)
    }

    /// What is known.
    pub(super) fn state(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renewed by a beat that was sent then.
    pub(super) fn renew(&self, sent: Duration) {
        self.until.store(nanos(sent + HELD), Ordering::Release);
    }

    /// It is over, for this reason.
    pub(super) fn lose(&self, now: Duration, why: Option<String>) {
        let held = self.until.swap(0, Ordering::AcqRel) > 0;
        let mut state = self.state();
        if held || state.since.is_some() {
            state.lost_at = now;
        }
        (state.was, state.member, state.since) = (state.member.or(state.was), None, None);
        state.beats.clear();
        state.trouble = why;
    }
}

impl LeaseState {
    /// Notes the others' beats; those that have stood still for so long that their lease has lapsed, each with its beat.
    pub(super) fn note_beats(&mut self, now: Duration) -> Vec<(MemberId, i64)> {
        let (members, own) = (&self.members, self.member);
        self.beats.retain(|id, _| members.iter().any(|member| member.id == *id));
        let mut still = Vec::new();
        for member in members.iter().filter(|member| Some(member.id) != own) {
            let (beat, since) = self.beats.entry(member.id).or_insert((member.beat, now));
            if *beat != member.beat {
                (*beat, *since) = (member.beat, now);
            } else if now.saturating_sub(*since) > LAPSED {
                still.push((member.id, member.beat));
            }
        }
        still
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
