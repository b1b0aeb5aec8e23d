//! A write of one proxy, as the others hear of it.

use std::{sync::PoisonError, time::Duration};

use uuid::Uuid;

use super::{
    Cluster, ClusterEvent,
    engine::{Ending, Life, Seq, WriteId},
    events,
    lease::LAPSED,
    within,
};

/// So long a write waits for an engine that has just gone: a failover takes some seconds.
const BRIDGED: Duration = Duration::from_secs(5);
/// Pauses between looks whether the others have applied an event, in milliseconds: the first, and the longest.
const LOOKS: (u64, u64) = (2, 64);

/// A write under way, as the cluster knows it.
#[derive(Debug)]
pub struct SharedWrite {
    scopes: Vec<String>,
    /// None where the engine could not be told: this proxy is alone.
    shared: Option<WriteId>,
}

/// An event that the engine has taken, and the others have yet to apply.
#[derive(Debug)]
pub struct Telling {
    life: Life,
    seq: Seq,
    /// When the engine had taken it, in time since the machine started.
    from: Duration,
    /// Since when this proxy was in, then.
    since: Option<Duration>,
}

/// The others can't be told of a write, and `cluster.strict` forbids it then.
#[derive(Debug, Clone, Copy)]
pub struct WriteRefused;

impl Cluster {
    /// A write that may change these scopes is about to be passed on. Returns when the engine knows that, or could not be told.
    pub async fn begin(&self, scopes: Vec<String>) -> Result<SharedWrite, WriteRefused> {
        self.wait_for_engine().await;
        let (member, life) = {
            let state = self.lease.state();
            (state.member, state.life)
        };
        if let (true, Some(member), Some(life)) = (self.together(), member, life) {
            let write = Uuid::new_v4();
            let body = events::seal_scopes(&self.seal, &scopes);
            match within(self.engine.begin(life, member, write, body)).await {
                Ok(()) => return Ok(SharedWrite { scopes, shared: Some(write) }),
                Err(error) => tracing::warn!(%error, "the cluster could not be told of a write"),
            }
            // It may have been noted all the same.
            self.add_ended(vec![write]);
        }
        if self.strict {
            return Err(WriteRefused);
        }
        // A crash must not keep the others from hearing of it.
        if let Err(error) = self.notes.add_untold(&scopes).await {
            tracing::error!(%error, "what others have yet to be told is known until the next restart only");
        }
        Ok(SharedWrite { scopes, shared: None })
    }

    /// A write has ended; `changed` unless Alyx surely did nothing. What the others are to be waited for with; none where they
    /// could not be told, and are told later.
    pub async fn end(&self, write: SharedWrite, changed: bool) -> Option<Telling> {
        let SharedWrite { scopes, shared } = write;
        let written = changed.then(|| ClusterEvent::Written(scopes.clone()));
        let write = shared?;
        if written.is_none() {
            // Nobody waits for that.
            self.add_ended(vec![write]);
            self.hurry.notify_one();
            return None;
        }
        let told = self.told(vec![write], written).await;
        if told.is_none() {
            self.add_ended(vec![write]);
            if let Err(error) = self.notes.add_untold(&scopes).await {
                tracing::error!(%error, "what others have yet to be told is known until the next restart only");
            }
            self.hurry.notify_one();
        }
        told
    }

    /// Tells the others something that is no write; none where they could not be told.
    pub async fn tell(&self, event: ClusterEvent) -> Option<Telling> {
        if !self.together() {
            return None;
        }
        self.told(Vec::new(), Some(event)).await
    }

    async fn told(&self, writes: Vec<WriteId>, event: Option<ClusterEvent>) -> Option<Telling> {
        let life = self.lease.state().life?;
        let events = event.iter().map(|event| event.sealed(&self.seal)).collect();
        let ending = Ending { writes, events, origin: self.origin };
        match within(self.engine.end(life, ending)).await {
            Ok(seq) => {
                let since = self.lease.state().since;
                Some(Telling { life, seq, from: self.clock.awake(), since })
            }
            Err(error) => {
                tracing::warn!(%error, "the cluster could not be told of what was changed; it is told later");
                None
            }
        }
    }

    /// Returns when every other proxy has applied an event, or its lease has lapsed.
    pub async fn wait_for_others(&self, telling: &Telling) {
        let mut pause = LOOKS.0;
        while self.rules.barrier && self.clock.awake().saturating_sub(telling.from) <= LAPSED {
            if self.all_have_applied(telling).await {
                let took = self.clock.awake().saturating_sub(telling.from);
                metrics::histogram!("alyx_proxy_cluster_barrier_seconds").record(took.as_secs_f64());
                return;
            }
            self.pause(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(LOOKS.1);
        }
        metrics::counter!("alyx_proxy_cluster_barrier_lapsed_total").increment(1);
    }

    async fn all_have_applied(&self, telling: &Telling) -> bool {
        // Whoever has just joined may not know all whose leases still hold.
        let settled = |since: Option<Duration>| {
            let since = since.map(|since| self.clock.awake().saturating_sub(since));
            since.is_some_and(|span| span > LAPSED) || !self.rules.full_wait
        };
        let in_as = || {
            let state = self.lease.state();
            (state.member, state.since, state.life)
        };
        let (Some(member), since, life) = in_as() else { return false };
        let is_same = since == telling.since && life == Some(telling.life);
        if !is_same || !settled(since) {
            return false;
        }
        let unseen = within(self.engine.unseen(telling.life, member, telling.seq)).await;
        unseen.is_ok_and(|unseen| unseen.is_empty()) && in_as() == (Some(member), since, life)
    }

    /// Waits for an engine that has just gone, no longer than that makes sense.
    async fn wait_for_engine(&self) {
        let is_hopeless = || self.clock.awake().saturating_sub(self.lease.state().lost_at) > BRIDGED;
        while !self.together() && !is_hopeless() {
            self.pause(Duration::from_millis(20)).await;
        }
    }

    /// Writes that the engine is to forget with the next beat.
    pub(super) fn add_ended(&self, writes: Vec<WriteId>) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(writes);
    }

    pub(super) fn take_ended(&self) -> Vec<WriteId> {
        std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
