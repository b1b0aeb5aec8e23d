//! An engine for tests: in memory, with slow and cut wires, restarts, and a standby that lags behind and takes over.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::Notify;
use uuid::Uuid;

use super::engine::{
    Beat, ClusterEngine, ClusterEngineError, Ending, EngineReply, EventKind, FollowedEvents, Life, MemberId,
    MemberSeen, Pulse, SealedEvent, Seq, ToldEvent, WriteId,
};
use super::pace::{TurnAsked, TurnTold};

/// The engine itself.
#[derive(Debug)]
pub(super) struct FakeServer {
    state: Mutex<ServerState>,
    wires: Mutex<Vec<Arc<Notify>>>,
}

#[derive(Debug, Clone, Default)]
struct ServerData {
    life: Life,
    /// The timeline in which this was written last.
    timeline: u32,
    seq: Seq,
    events: BTreeMap<Seq, (SealedEvent, Uuid)>,
    members: BTreeMap<MemberId, MemberSeen>,
    pending: BTreeMap<WriteId, (MemberId, Vec<u8>)>,
}

#[derive(Debug)]
struct ServerState {
    data: ServerData,
    standby: ServerData,
    /// The timeline that the server is on.
    timeline: u32,
    is_up: bool,
    random: StdRng,
    start: tokio::time::Instant,
    /// When the rows began, and of each caller when the next turn is and until when there is a pause. A standby has none.
    turns_since: Option<Duration>,
    turns: BTreeMap<Vec<u8>, (Duration, Duration)>,
}

/// A proxy's wire to it.
#[derive(Debug)]
pub(super) struct FakeEngine {
    server: Arc<FakeServer>,
    is_cut: AtomicBool,
    /// Another after each break.
    connection: AtomicU64,
    woken: Arc<Notify>,
    /// Delays of either way, in milliseconds.
    delays: &'static [u64],
}

impl FakeServer {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let data = ServerData { life: Uuid::from_u128(1), ..ServerData::default() };
        let state = ServerState {
            standby: data.clone(),
            data,
            timeline: 0,
            is_up: true,
            random: StdRng::seed_from_u64(seed),
            start: tokio::time::Instant::now(),
            turns_since: None,
            turns: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state), wires: Mutex::default() })
    }

    pub(super) fn wire(self: &Arc<Self>, delays: &'static [u64]) -> Arc<FakeEngine> {
        let woken = Arc::new(Notify::new());
        self.wires.lock().unwrap_or_else(PoisonError::into_inner).push(woken.clone());
        let (is_cut, connection) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(FakeEngine { server: self.clone(), is_cut, connection, woken, delays })
    }

    fn with<T>(&self, change: impl FnOnce(&mut ServerState) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.with(|state| state.is_up = is_up);
    }

    /// The standby takes over what has been committed so far.
    pub(super) fn replicate(&self) {
        self.with(|state| state.standby = state.data.clone());
    }

    /// The standby takes the server's place, with what it has.
    pub(super) fn fail_over(&self) {
        self.with(|state| {
            state.data = state.standby.clone();
            state.timeline += 1;
            (state.turns_since, state.turns) = (None, BTreeMap::new());
        });
    }

    fn wake(&self) {
        for wire in self.wires.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Some get lost.
            if self.with(|state| state.random.random_bool(0.8)) {
                wire.notify_one();
            }
        }
    }
}

impl ServerState {
    /// Whether the engine's history is the one that a member follows.
    fn is_same(&self, life: Life) -> bool {
        self.data.timeline == self.timeline && self.data.life == life
    }

    fn tell(&mut self, event: SealedEvent, origin: Uuid) -> Seq {
        self.data.seq += 1;
        self.data.events.insert(self.data.seq, (event, origin));
        self.data.seq
    }

    fn renew(&mut self, life: Option<Life>, seen: Seq) {
        let lost = life == Some(self.data.life) && self.data.seq < seen;
        if self.data.timeline == self.timeline && !lost {
            return;
        }
        self.data.timeline = self.timeline;
        self.data.life = Uuid::from_u128(self.random.random());
        self.data.seq = self.data.seq.max(seen) + 1_000_000;
        self.tell(SealedEvent { kind: EventKind::Doubt, body: Vec::new() }, Uuid::nil());
    }

    fn beat(&mut self, beat: Beat) -> Pulse {
        self.renew(beat.life, beat.seen);
        if let Some(was) = beat.joining {
            if let Some(was) = was.filter(|was| *was != beat.member) {
                self.data.members.remove(&was);
                for (member, _) in self.data.pending.values_mut().filter(|(member, _)| *member == was) {
                    *member = beat.member;
                }
            }
            let (name, version) = (beat.name, beat.version.to_owned());
            let joined = MemberSeen { id: beat.member, name, version, beat: 0, seen: 0 };
            self.data.members.insert(beat.member, joined);
        }
        let own = self.data.members.get_mut(&beat.member);
        let here = own.map(|own| {
            own.beat += 1;
            if beat.life == Some(self.data.life) {
                own.seen = own.seen.max(beat.seen);
            }
        });
        let members = self.data.members.values().cloned().collect();
        Pulse { here: here.is_some(), life: self.data.life, seq: self.data.seq, members }
    }

    fn turn(&mut self, asked: TurnAsked) -> TurnTold {
        let now = self.start.elapsed();
        if asked.afresh {
            self.turns_since = Some(now);
        }
        let since = *self.turns_since.get_or_insert(now);
        let (next, pause) = self.turns.entry(asked.caller).or_default();
        if *pause > now {
            return TurnTold::Paused(pause.saturating_sub(now));
        }
        let slot = asked.rate.slot(*next, since, now);
        let wait = slot.saturating_sub(now);
        if wait > asked.most {
            return TurnTold::TooLate(wait);
        }
        *next = slot + asked.rate.every;
        TurnTold::Taken(wait)
    }

    fn drop_member(&mut self, member: MemberId) {
        self.data.members.remove(&member);
        let left: Vec<_> = self.data.pending.iter().filter(|(_, (of, _))| *of == member).collect();
        let left: Vec<_> = left.into_iter().map(|(write, (_, body))| (*write, body.clone())).collect();
        for (write, body) in left {
            self.data.pending.remove(&write);
            self.tell(SealedEvent { kind: EventKind::Mark, body }, Uuid::nil());
        }
    }
}

impl FakeEngine {
    pub(super) fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Release);
    }

    /// Its connection breaks.
    pub(super) fn break_off(&self) {
        self.connection.fetch_add(1, Ordering::AcqRel);
    }

    async fn way(&self) {
        let delay = self.server.with(|state| self.delays[state.random.random_range(0..self.delays.len())]);
        tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(delay)).await;
    }

    fn call<'e, T: Send + 'e>(
        &'e self,
        tells: bool,
        work: impl FnOnce(&mut ServerState) -> Result<T, ClusterEngineError> + Send + 'e,
    ) -> EngineReply<'e, T> {
        let connection = self.connection.load(Ordering::Acquire);
        let is_whole = move || {
            !self.is_cut.load(Ordering::Acquire) && self.connection.load(Ordering::Acquire) == connection
        };
        async move {
            self.way().await;
            if !is_whole() || !self.server.with(|state| state.is_up) {
                return std::future::pending().await;
            }
            let done = self.server.with(work);
            if tells {
                self.server.wake();
            }
            self.way().await;
            if is_whole() { done } else { std::future::pending().await }
        }
        .boxed()
    }
}

fn refused<T>() -> Result<T, ClusterEngineError> {
    Err(ClusterEngineError::Refused)
}

impl ClusterEngine for FakeEngine {
    fn address(&self) -> String {
        "a fake".to_owned()
    }

    fn beat(&self, beat: Beat) -> EngineReply<'_, Pulse> {
        self.call(false, |state| Ok(state.beat(beat)))
    }

    fn events(&self, life: Life, after: Seq) -> EngineReply<'_, FollowedEvents> {
        self.call(false, move |state| {
            if !state.is_same(life) {
                return Ok(FollowedEvents::Gone);
            }
            let newer = state.data.events.range(after + 1..);
            let told = newer.map(|(seq, (event, origin))| ToldEvent {
                seq: *seq,
                event: event.clone(),
                origin: *origin,
            });
            Ok(FollowedEvents::Events(told.collect()))
        })
    }

    fn begin(&self, life: Life, member: MemberId, write: WriteId, body: Vec<u8>) -> EngineReply<'_, ()> {
        self.call(false, move |state| {
            if !state.is_same(life) || !state.data.members.contains_key(&member) {
                return refused();
            }
            state.data.pending.insert(write, (member, body));
            Ok(())
        })
    }

    fn end(&self, life: Life, ending: Ending) -> EngineReply<'_, Seq> {
        self.call(true, move |state| {
            if !state.is_same(life) {
                return refused();
            }
            for write in &ending.writes {
                state.data.pending.remove(write);
            }
            let told = ending.events.into_iter().map(|event| state.tell(event, ending.origin)).last();
            Ok(told.unwrap_or(state.data.seq))
        })
    }

    fn unseen(&self, life: Life, member: MemberId, seq: Seq) -> EngineReply<'_, Vec<MemberId>> {
        self.call(false, move |state| {
            if !state.is_same(life) {
                return refused();
            }
            let others = state.data.members.values().filter(|other| other.id != member && other.seen < seq);
            Ok(others.map(|other| other.id).collect())
        })
    }

    fn remove(&self, member: MemberId, beat: i64) -> EngineReply<'_, ()> {
        self.call(true, move |state| {
            let is_still = state.data.members.get(&member).is_some_and(|there| there.beat == beat);
            if is_still && state.data.timeline == state.timeline {
                state.drop_member(member);
            }
            Ok(())
        })
    }

    fn leave(&self, member: MemberId) -> EngineReply<'_, ()> {
        self.call(true, move |state| {
            if state.data.timeline == state.timeline {
                state.drop_member(member);
            }
            Ok(())
        })
    }

    fn turn(&self, asked: TurnAsked) -> EngineReply<'_, TurnTold> {
        self.call(false, |state| Ok(state.turn(asked)))
    }

    fn pause(&self, caller: Vec<u8>, length: Duration) -> EngineReply<'_, ()> {
        self.call(false, move |state| {
            let until = state.start.elapsed() + length;
            let pause = &mut state.turns.entry(caller).or_default().1;
            *pause = until.max(*pause);
            Ok(())
        })
    }

    fn tidy(&self) -> EngineReply<'_, ()> {
        self.call(false, |_| Ok(()))
    }

    fn woken(&self) -> BoxFuture<'_, ()> {
        self.woken.notified().boxed()
    }
}
