//! Being in: beats renew the lease, and what others have told is applied before it is renewed.

use std::{sync::Arc, time::Duration};

use rand::RngExt;
use uuid::Uuid;

use super::{
    Cluster, ClusterEvent, ClusterFollower,
    engine::{Beat, ClusterEngineError, Ending, FollowedEvents, Life, Pulse, Seq},
    within,
};

/// How often a beat is sent.
const BEAT: Duration = Duration::from_secs(1);
/// Pauses after failures, in milliseconds: the first, and the longest.
const PAUSES: (u64, u64) = (100, 2_000);
/// Old events are looked for once in so many beats.
const TIDY_EVERY: u64 = 600;

impl Cluster {
    /// Goes on for as long as the program runs.
    pub async fn run(self: Arc<Self>, follower: Arc<dyn ClusterFollower>) {
        let (mut failures, mut beats) = (0_u32, 0_u64);
        loop {
            match self.round(&*follower).await {
                Ok(has_news) => {
                    failures = 0;
                    beats += 1;
                    self.afterwards(beats % TIDY_EVERY == 0).await;
                    if !has_news {
                        tokio::select! {
                            () = self.pause(BEAT) => {}
                            () = self.engine.woken() => {}
                            () = self.hurry.notified() => {}
                        }
                    }
                }
                Err(error) => {
                    self.out_of_it(&error);
                    let longest = (PAUSES.0 << failures.min(6)).min(PAUSES.1);
                    failures += 1;
                    let pause = rand::rng().random_range(PAUSES.0 / 2..=longest);
                    self.pause(Duration::from_millis(pause)).await;
                }
            }
        }
    }

    /// One beat; whether something was applied that the next one is to report at once.
    pub(super) async fn round(&self, follower: &dyn ClusterFollower) -> Result<bool, ClusterEngineError> {
        let sent = self.clock.awake();
        let (beat, joining) = self.next_beat();
        let reported = beat.seen;
        let pulse = within(self.engine.beat(beat.clone())).await?;
        let took = self.clock.awake().saturating_sub(sent);
        if !pulse.here {
            self.lease.lose(self.clock.awake(), Some("another proxy has taken it for gone".to_owned()));
            return Ok(true);
        }
        if joining {
            // What fails from here on leaves a row behind that the next joining takes over.
            self.lease.state().was = Some(beat.member);
        }
        let other_life = beat.life != Some(pulse.life);
        let seen = if other_life {
            self.doubt(follower);
            pulse.seq
        } else {
            self.follow(follower, &pulse, reported).await?
        };
        let mut state = self.lease.state();
        if joining || other_life {
            state.since = Some(self.clock.awake());
        }
        if state.trouble.take().is_some() || joining {
            tracing::info!(members = pulse.members.len(), "this proxy is in its cluster");
        }
        (state.member, state.life, state.seen) = (Some(beat.member), Some(pulse.life), seen);
        (state.last, state.members, state.took) = (seen, pulse.members, took);
        drop(state);
        self.notes.follow_if_other(pulse.life, seen);
        self.lease.renew(sent);
        Ok(seen != reported)
    }

    fn next_beat(&self) -> (Beat, bool) {
        let state = self.lease.state();
        let joining = state.member.is_none();
        let beat = Beat {
            member: state.member.unwrap_or_else(Uuid::new_v4),
            joining: joining.then_some(state.was),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            life: state.life,
            seen: state.seen,
        };
        (beat, joining)
    }

    /// Applies what was told since; the last number.
    async fn follow(
        &self,
        follower: &dyn ClusterFollower,
        pulse: &Pulse,
        seen: Seq,
    ) -> Result<Seq, ClusterEngineError> {
        if pulse.seq <= seen {
            return Ok(seen);
        }
        match within(self.engine.events(pulse.life, seen)).await? {
            FollowedEvents::Gone => {
                self.doubt(follower);
                Ok(pulse.seq)
            }
            FollowedEvents::Events(events) => {
                let last = events.last().map_or(seen, |told| told.seq);
                for told in events.iter().filter(|told| told.origin != self.origin) {
                    match ClusterEvent::opened(&told.event, &self.seal) {
                        ClusterEvent::Doubt => self.doubt(follower),
                        event => follower.apply(event),
                    }
                }
                Ok(last.max(pulse.seq))
            }
        }
    }

    /// Something may have been missed.
    fn doubt(&self, follower: &dyn ClusterFollower) {
        if self.rules.doubt {
            metrics::counter!("alyx_proxy_cluster_doubt_total").increment(1);
            follower.apply(ClusterEvent::Doubt);
        }
    }

    fn out_of_it(&self, error: &ClusterEngineError) {
        metrics::counter!("alyx_proxy_cluster_engine_failures_total").increment(1);
        let is_new = self.lease.state().trouble.as_ref() != Some(&error.to_string());
        if is_new {
            tracing::warn!(
                %error,
                engine = self.engine.address(),
                "this proxy is not in its cluster: what is written through others may be missed, which its answers tell"
            );
        }
        self.lease.lose(self.clock.awake(), Some(error.to_string()));
    }

    /// What is done after a beat, and may fail: the next beat tells.
    async fn afterwards(&self, is_time_to_tidy: bool) {
        let (life, still) = {
            let mut state = self.lease.state();
            let now = self.clock.awake();
            (state.life, state.note_beats(now))
        };
        for (member, beat) in still {
            tracing::info!("a proxy of this cluster has not been heard of until its lease had lapsed");
            if let Err(error) = within(self.engine.remove(member, beat)).await {
                tracing::debug!(%error, "it was not taken out");
            }
        }
        if let Some(life) = life {
            self.tell_untold(life).await;
        }
        if is_time_to_tidy && let Err(error) = within(self.engine.tidy()).await {
            tracing::debug!(%error, "old events were not dropped");
        }
    }

    /// Tells what was written while nobody could be told.
    async fn tell_untold(&self, life: Life) {
        let (untold, writes) = (self.notes.untold(), self.take_ended());
        if untold.is_empty() && writes.is_empty() {
            return;
        }
        let mut events = Vec::new();
        if !untold.is_empty() {
            events.push(ClusterEvent::Written(untold.keys().cloned().collect()).sealed(&self.seal));
        }
        let ending = Ending { writes: writes.clone(), events, origin: self.origin };
        match within(self.engine.end(life, ending)).await {
            Ok(_) => self.notes.told(untold),
            Err(error) => {
                tracing::debug!(%error, "what was written meanwhile is told later");
                self.add_ended(writes);
            }
        }
    }
}
