//! What the proxies of a cluster share, as a trait: an ordered log of events, who is in, and which writes are under way.
//!
//! Each call is one round trip. Numbers ([`Seq`]) rise in the order of commits; a look that shows one shows all below it.
//! Times never travel: how old a beat is each member tells by its own clock.

use std::time::Duration;

use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::pace::{TurnAsked, TurnTold};

/// The number of an event, in the order in which the engine took them.
pub type Seq = i64;

/// A span of the engine's history without a gap. After a loss (a standby that lagged took over) there is another.
pub type Life = Uuid;

/// Who is in: another one with each joining.
pub type MemberId = Uuid;

/// A write under way.
pub type WriteId = Uuid;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A write has ended: what it may have changed is stale. The body says what.
    Mark,
    /// Alyx has refused a token. The body says which.
    Refused,
    /// Answers are to be forgotten. The body says which.
    Purge,
    /// All that is remembered is in doubt; it has no body.
    Doubt,
}

impl EventKind {
    /// As it stands in the engine.
    pub fn number(self) -> i16 {
        match self {
            Self::Mark => 1,
            Self::Refused => 2,
            Self::Purge => 3,
            Self::Doubt => 4,
        }
    }

    /// The kind of this number. One that a later version has added is doubt: whatever it says, what is here may be stale.
    pub fn of(number: i16) -> Self {
        match number {
            1 => Self::Mark,
            2 => Self::Refused,
            3 => Self::Purge,
            _ => Self::Doubt,
        }
    }
}

/// An event to be told, its body sealed.
#[derive(Debug, Clone)]
pub struct SealedEvent {
    /// What it is about.
    pub kind: EventKind,
    /// More of it, for whoever has the key.
    pub body: Vec<u8>,
}

/// An event that was told.
#[derive(Debug, Clone)]
pub struct ToldEvent {
    /// Its number.
    pub seq: Seq,
    /// What it says.
    pub event: SealedEvent,
    /// The program run that told it; none where it was told in the place of one that is gone.
    pub origin: Uuid,
}

/// A sign of life.
#[derive(Debug, Clone)]
pub struct Beat {
    /// As whom.
    pub member: MemberId,
    /// Whether it joins with it, and as whom it was in before: what was under way then goes on as the new one's.
    pub joining: Option<Option<MemberId>>,
    /// For people: the host's name.
    pub name: String,
    /// The program's version.
    pub version: &'static str,
    /// The life that it follows, if any.
    pub life: Option<Life>,
    /// The last event of that life which it has applied.
    pub seen: Seq,
}

/// One that is in, as the engine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSeen {
    /// Who.
    pub id: MemberId,
    /// The name of its host.
    pub name: String,
    /// Its version.
    pub version: String,
    /// A number that is another with each beat.
    pub beat: i64,
    /// The last event that it has applied.
    pub seen: Seq,
}

/// What a beat brings back.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// Whether the member is in; else it has to join anew.
    pub here: bool,
    /// The engine's life.
    pub life: Life,
    /// The last event.
    pub seq: Seq,
    /// All who are in.
    pub members: Vec<MemberSeen>,
}

/// What has come of asking for events.
#[derive(Debug, Clone)]
pub enum FollowedEvents {
    /// Those that are newer, in their order.
    Events(Vec<ToldEvent>),
    /// They are no longer there, or of another life.
    Gone,
}

/// What is told with the end of writes.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Writes that are no longer under way.
    pub writes: Vec<WriteId>,
    /// What is told of them, or of something else.
    pub events: Vec<SealedEvent>,
    /// The program run that tells it.
    pub origin: Uuid,
}

/// Why the engine did not do what was asked. What came of it is not known unless said so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterEngineError {
    /// It can't be reached, or broke off.
    #[error("{0}")]
    Away(String),
    /// It has not answered in time.
    #[error("no answer within a second")]
    Slow,
    /// It was not done: the engine has lost something since, or the member is no longer in.
    #[error("the engine's history is another now, or this proxy is no longer in")]
    Refused,
    /// The schema is not there, and this role may not make it.
    #[error(
        "its tables are not there and can't be made ({0}): run `alyx-proxy cluster init` as a role that may"
    )]
    NoSchema(String),
    /// A later version has changed the tables.
    #[error("its tables have format {0}, which this version does not know: install a newer one")]
    Format(i32),
    /// The keys differ.
    #[error("`cluster.key_file` holds no key that the others of this cluster have")]
    WrongKey,
}

/// What a call of the engine brings.
pub type EngineReply<'e, T> = BoxFuture<'e, Result<T, ClusterEngineError>>;

/// What the proxies of a cluster share.
pub trait ClusterEngine: std::fmt::Debug + Send + Sync {
    /// Where it is, without user and password.
    fn address(&self) -> String;
    /// Renews a membership, or joins. Where the engine has lost something a new life begins with it.
    fn beat(&self, beat: Beat) -> EngineReply<'_, Pulse>;
    /// The events after this one.
    fn events(&self, life: Life, after: Seq) -> EngineReply<'_, FollowedEvents>;
    /// A member's write is about to be passed on: these are told for it if the member goes.
    fn begin(&self, life: Life, member: MemberId, write: WriteId, body: Vec<u8>) -> EngineReply<'_, ()>;
    /// Writes have ended; the number of the last event that was told of them.
    fn end(&self, life: Life, ending: Ending) -> EngineReply<'_, Seq>;
    /// The other members that have not applied this event.
    fn unseen(&self, life: Life, member: MemberId, seq: Seq) -> EngineReply<'_, Vec<MemberId>>;
    /// Takes out a member whose beat is still this one, and tells what it had under way.
    fn remove(&self, member: MemberId, beat: i64) -> EngineReply<'_, ()>;
    /// The same of one that goes by itself.
    fn leave(&self, member: MemberId) -> EngineReply<'_, ()>;
    /// A turn of this caller's to ask Alyx: all proxies take theirs from one row.
    fn turn(&self, asked: TurnAsked) -> EngineReply<'_, TurnTold>;
    /// Alyx has asked this caller for a pause.
    fn pause(&self, caller: Vec<u8>, length: Duration) -> EngineReply<'_, ()>;
    /// Drops events that are a day old and that all have applied, and rows that say nothing any more.
    fn tidy(&self) -> EngineReply<'_, ()>;
    /// Returns when somebody may have told something; at the latest a beat finds it.
    fn woken(&self) -> BoxFuture<'_, ()>;
}
