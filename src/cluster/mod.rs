//! Several proxies, one service: what is written through one is read through all.
//!
//! They share an engine ([`ClusterEngine`]; PostgreSQL) that holds an ordered log of events and who is in. Readers never ask
//! it: each proxy holds a lease, and while that holds it has applied every event that anybody was told of as done. Writers
//! wait: a write is acknowledged when every other proxy has applied its mark, or its lease has lapsed.
//!
//! The promise: *an answer without a notice has every write that was acknowledged without a notice before it was asked for,
//! through whichever proxy.* What the engine's absence leaves open is told by notices, never hidden.

mod beat;
pub mod engine;
mod events;
#[cfg(test)]
mod fake;
mod lease;
mod notes;
mod pace;
pub mod postgres;
pub mod seal;
#[cfg(test)]
mod suite;
mod view;
#[cfg(test)]
mod walk;
mod writes;

use std::{fmt::Debug, sync::Arc, time::Duration};

use tokio::sync::Notify;
use uuid::Uuid;

pub use events::{ClusterEvent, PurgedAnswers};
pub use pace::{TurnAsked, TurnRate, TurnTold};
pub use view::{ClusterView, MemberView};
pub use writes::{SharedWrite, Telling, WriteRefused};

use crate::{
    clock::SharedClock,
    settings::ClusterSettings,
    store::{Store, StoreError},
};
use engine::{ClusterEngine, ClusterEngineError};
use lease::Lease;
use notes::ClusterNotes;
use postgres::{PostgresEngine, PostgresError};
use seal::{ClusterKeyError, ClusterSeal};

/// Who applies what others have told: at once in memory, so that nothing asked before counts from then on.
pub trait ClusterFollower: Debug + Send + Sync {
    /// Applies one event.
    fn apply(&self, event: ClusterEvent);
}

/// Why the cluster can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterOpenError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] ClusterKeyError),
    /// The engine's address.
    #[error(transparent)]
    Engine(#[from] PostgresError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How long the engine may take for a call; then it counts as away.
const PATIENCE: Duration = Duration::from_secs(1);

/// This proxy's part in a cluster.
#[derive(Debug)]
pub struct Cluster {
    engine: Arc<dyn ClusterEngine>,
    seal: Arc<ClusterSeal>,
    clock: SharedClock,
    /// The name of this machine.
    name: String,
    /// This run of the program: its own events need not be applied again.
    origin: Uuid,
    /// Whether nothing is written that the others can't be told of.
    strict: bool,
    notes: Arc<ClusterNotes>,
    lease: Lease,
    /// Has the next beat sent at once.
    hurry: Notify,
    /// Writes that ended while the engine could not be told.
    ended: std::sync::Mutex<Vec<engine::WriteId>>,
    /// Whether turns are asked of the engine.
    pace: pace::PaceState,
    rules: ProtocolRules,
}

/// Steps of the protocol that tests leave out, to see that they are needed.
#[derive(Debug, Clone, Copy)]
struct ProtocolRules {
    /// A write waits until the others have applied its mark.
    barrier: bool,
    /// Whoever has just joined waits for a whole lease.
    full_wait: bool,
    /// In another life of the engine all that is remembered is in doubt.
    doubt: bool,
}

const ALL_RULES: ProtocolRules = ProtocolRules { barrier: true, full_wait: true, doubt: true };

impl Cluster {
    /// The cluster that the settings name; none where they name none. Asks nobody yet.
    pub async fn open(
        settings: &ClusterSettings,
        upstream: &str,
        store: &Arc<Store>,
        clock: SharedClock,
    ) -> Result<Option<Arc<Self>>, ClusterOpenError> {
        if !settings.is_set() {
            ClusterNotes::stays_away(store).await?;
            return Ok(None);
        }
        let seal = Arc::new(ClusterSeal::read(&settings.key_file)?);
        let engine = Arc::new(PostgresEngine::new(settings, upstream, seal.clone())?);
        let notes = Arc::new(ClusterNotes::load(store).await?);
        let name = postgres::own_name();
        Ok(Some(Arc::new(Self::with(engine, seal, clock, name, settings.strict, notes))))
    }

    fn with(
        engine: Arc<dyn ClusterEngine>,
        seal: Arc<ClusterSeal>,
        clock: SharedClock,
        name: String,
        strict: bool,
        notes: Arc<ClusterNotes>,
    ) -> Self {
        let lease = Lease::new(notes.followed(), clock.awake());
        let (hurry, ended) = (Notify::new(), std::sync::Mutex::default());
        let origin = Uuid::new_v4();
        let pace = pace::PaceState::default();
        Self { engine, seal, clock, name, origin, strict, notes, lease, hurry, ended, pace, rules: ALL_RULES }
    }

    /// Whether what this proxy remembers has every write that was acknowledged without a notice, through whichever proxy.
    /// To be asked before anything that is remembered is looked at.
    pub fn together(&self) -> bool {
        self.lease.holds(self.clock.awake())
    }

    /// Goes out of the cluster, so that nobody waits for this proxy.
    pub async fn leave(&self) {
        let member = self.lease.state().member;
        self.lease.lose(self.clock.awake(), None);
        if let Some(member) = member
            && let Err(error) = within(self.engine.leave(member)).await
        {
            tracing::debug!(%error, "the others will wait for this proxy's lease to lapse");
        }
    }

    /// Waits so long.
    async fn pause(&self, span: Duration) {
        tokio::time::sleep_until((self.clock.instant() + span).into()).await;
    }
}

/// What comes of a call within the time that the engine may take.
async fn within<T>(
    call: impl Future<Output = Result<T, ClusterEngineError>>,
) -> Result<T, ClusterEngineError> {
    tokio::time::timeout(PATIENCE, call).await.unwrap_or(Err(ClusterEngineError::Slow))
}
