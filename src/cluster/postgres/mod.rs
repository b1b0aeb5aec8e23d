//! PostgreSQL as the engine of a cluster: an ordered log and a few rows. Two connections a proxy: beats on one, writes on the
//! other.

mod address;
mod sql;
mod tls;
mod wire;

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};

pub use address::PostgresError;

use super::{
    engine::{
        Beat, ClusterEngine, ClusterEngineError, Ending, EngineReply, EventKind, FollowedEvents, Life,
        MemberId, MemberSeen, Pulse, SealedEvent, Seq, ToldEvent, WriteId,
    },
    pace::{TurnAsked, TurnTold},
    seal::ClusterSeal,
};
use crate::settings::ClusterSettings;
use address::EngineAddress;
use sql::Statements;
use tls::PostgresTls;
use wire::{PostgresWire, away};

/// The format of the tables that this version knows.
const FORMAT: i32 = 1;
/// Whoever missed more events than so many doubts all instead.
const MOST_EVENTS: i64 = 5_000;

/// The parameters of a statement, with their types: none is prepared under a name, so that poolers may stand between.
type TypedParameters<'p> = &'p [(&'p (dyn ToSql + Sync), Type)];

/// A PostgreSQL.
pub struct PostgresEngine {
    address: EngineAddress,
    tls: Option<PostgresTls>,
    statements: Statements,
    seal: Arc<ClusterSeal>,
    /// For beats and news.
    pulse: PostgresWire,
    /// For writes, which don't wait for beats.
    work: PostgresWire,
}

impl std::fmt::Debug for PostgresEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresEngine").field(&self.address.shown).finish()
    }
}

/// The name of this machine, for people.
pub fn own_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_else(|_| "this machine".to_owned());
    name
}

impl PostgresEngine {
    /// The one that the settings name, for the Alyx at `upstream`; asks nobody yet.
    pub fn new(
        settings: &ClusterSettings,
        upstream: &str,
        seal: Arc<ClusterSeal>,
    ) -> Result<Self, PostgresError> {
        let address = EngineAddress::of(settings)?;
        let tls = address.by_tls.then(|| PostgresTls::new(address.roots.as_deref())).transpose()?;
        let schema = format!("alyx_proxy_{}", &blake3::hash(upstream.as_bytes()).to_hex()[..8]);
        Ok(Self {
            pulse: PostgresWire::new(Some(schema.clone())),
            work: PostgresWire::new(None),
            statements: Statements::of(&schema),
            address,
            tls,
            seal,
        })
    }

    async fn ask(
        &self,
        wire: &PostgresWire,
        statement: &str,
        parameters: TypedParameters<'_>,
    ) -> Result<Vec<Row>, ClusterEngineError> {
        let (call, is_new) = wire.call(&self.address, self.tls.as_ref()).await?;
        if is_new {
            self.check(&call.client).await?;
        }
        let answer = call.client.query_typed(statement, parameters).await;
        call.done(answer)
    }

    /// Whether the tables are there, in a format that is known, and of whoever has the same key. They are made where they are
    /// not, if that is allowed.
    async fn check(&self, client: &tokio_postgres::Client) -> Result<(), ClusterEngineError> {
        let row = match client.query_typed(&self.statements.check, &[]).await {
            Ok(rows) if !rows.is_empty() => rows,
            Err(error) if !is_missing(&error) => return Err(away(&error)),
            _ => {
                self.create(client).await?;
                client.query_typed(&self.statements.check, &[]).await.map_err(|error| away(&error))?
            }
        };
        let Some(row) = row.first() else { return Err(ClusterEngineError::NoSchema("empty".to_owned())) };
        let format: i32 = get(row, 0)?;
        let key_check: Vec<u8> = get(row, 1)?;
        if format > FORMAT {
            return Err(ClusterEngineError::Format(format));
        }
        if !self.seal.fits(&key_check) {
            return Err(ClusterEngineError::WrongKey);
        }
        if !get::<bool>(row, 2)? {
            self.extend(client).await;
        }
        Ok(())
    }

    /// Makes the tables that earlier versions don't know. Without them the rest goes on.
    async fn extend(&self, client: &tokio_postgres::Client) {
        let made = client.batch_execute(&self.statements.extend).await;
        if let Err(error) = made {
            let _ = client.batch_execute("ROLLBACK").await;
            tracing::warn!(
                %error,
                "the cluster's tables of an earlier version could not be completed, so the pace towards Alyx is not shared: \
                 run `alyx-proxy cluster init` as a role that may"
            );
        }
    }

    async fn create(&self, client: &tokio_postgres::Client) -> Result<(), ClusterEngineError> {
        if let Err(error) = client.batch_execute(&self.statements.create).await {
            let _ = client.batch_execute("ROLLBACK").await;
            let ClusterEngineError::Away(why) = away(&error) else { return Err(away(&error)) };
            let denied = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
            return Err(if denied {
                ClusterEngineError::NoSchema(why)
            } else {
                ClusterEngineError::Away(why)
            });
        }
        let check = self.seal.check();
        let made = client.query_typed(&self.statements.made, &[(&check, Type::BYTEA)]).await;
        made.map(drop).map_err(|error| away(&error))
    }

    /// Makes the tables, where they are not there; where they are.
    pub async fn init(&self) -> Result<String, ClusterEngineError> {
        self.ask(&self.work, &self.statements.tidy_turns, &[]).await?;
        Ok(format!("{} in {}", self.statements.schema, self.address.shown))
    }

    /// Has the server end the connection for writes, by a fatal error.
    #[cfg(test)]
    pub(super) async fn lose_connection(&self) -> ClusterEngineError {
        let ended = self.ask(&self.work, "SELECT pg_terminate_backend(pg_backend_pid())", &[]).await;
        ended.map(drop).unwrap_err()
    }

    /// What the engine knows of who is in.
    pub async fn survey(&self) -> Result<Pulse, ClusterEngineError> {
        Ok(pulse(&self.ask(&self.work, &self.statements.members, &[]).await?)?.0)
    }

    async fn join_or_beat(&self, beat: &Beat) -> Result<(Pulse, bool), ClusterEngineError> {
        let member = (&beat.member as &(dyn ToSql + Sync), Type::UUID);
        let seen = (&beat.seen as &(dyn ToSql + Sync), Type::INT8);
        let life = (&beat.life as &(dyn ToSql + Sync), Type::UUID);
        let rows = match &beat.joining {
            None => self.ask(&self.pulse, &self.statements.beat, &[member, seen, life]).await?,
            Some(was) => {
                let (name, version) = ((&beat.name as _, Type::TEXT), (&beat.version as _, Type::TEXT));
                let parameters = [member, seen, name, version, (was as _, Type::UUID), life];
                self.ask(&self.pulse, &self.statements.join, &parameters).await?
            }
        };
        let (mut pulse, is_same) = pulse(&rows)?;
        if beat.joining.is_some() {
            let (name, version) = (beat.name.clone(), beat.version.to_owned());
            pulse.members.push(MemberSeen { id: beat.member, name, version, beat: 0, seen: beat.seen });
        }
        Ok((pulse, is_same))
    }

    /// Wakes the others; that nobody is woken costs them a beat.
    async fn wake(&self) {
        let channel = &self.statements.schema;
        if let Err(error) = self.ask(&self.work, sql::NOTIFY, &[(channel, Type::TEXT)]).await {
            tracing::debug!(%error, "the others find the news with their next beat");
        }
    }

    async fn take_out(&self, member: MemberId, beat: Option<i64>) -> Result<(), ClusterEngineError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&member, Type::UUID), (&beat, Type::INT8)];
        self.ask(&self.work, &self.statements.remove, &parameters).await?;
        self.wake().await;
        Ok(())
    }
}

fn is_missing(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME)
}

fn get<'r, T: tokio_postgres::types::FromSql<'r>>(row: &'r Row, at: usize) -> Result<T, ClusterEngineError> {
    row.try_get(at).map_err(|error| away(&error))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

fn of_micros(span: i64) -> Duration {
    Duration::from_micros(span.max(0).unsigned_abs())
}

/// What a beat brings back, and whether the engine's history is still the one that its row tells of.
fn pulse(rows: &[Row]) -> Result<(Pulse, bool), ClusterEngineError> {
    let Some(first) = rows.first() else { return Err(ClusterEngineError::NoSchema("empty".to_owned())) };
    let (life, seq, is_same, here): (Life, Seq, bool, i64) =
        (get(first, 0)?, get(first, 1)?, get(first, 2)?, get(first, 3)?);
    let mut members = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(id) = get::<Option<MemberId>>(row, 4)? else { continue };
        let (name, version) = (get(row, 5)?, get(row, 6)?);
        members.push(MemberSeen { id, name, version, beat: get(row, 7)?, seen: get(row, 8)? });
    }
    Ok((Pulse { here: here > 0, life, seq, members }, is_same))
}

impl ClusterEngine for PostgresEngine {
    fn address(&self) -> String {
        self.address.shown.clone()
    }

    fn beat(&self, mut beat: Beat) -> EngineReply<'_, Pulse> {
        async move {
            let (pulse, is_same) = self.join_or_beat(&beat).await?;
            let has_lost = beat.life == Some(pulse.life) && pulse.seq < beat.seen;
            if is_same && !has_lost {
                return Ok(pulse);
            }
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&beat.life, Type::UUID), (&beat.seen, Type::INT8)];
            self.ask(&self.pulse, &self.statements.renew, &parameters).await?;
            // It has joined with the first one.
            beat.joining = None;
            Ok(self.join_or_beat(&beat).await?.0)
        }
        .boxed()
    }

    fn events(&self, life: Life, after: Seq) -> EngineReply<'_, FollowedEvents> {
        async move {
            let most = MOST_EVENTS + 1;
            let parameters: [(&(dyn ToSql + Sync), Type); 3] =
                [(&life, Type::UUID), (&after, Type::INT8), (&most, Type::INT8)];
            let rows = self.ask(&self.pulse, &self.statements.events, &parameters).await?;
            let mut events = Vec::with_capacity(rows.len());
            for row in &rows {
                if !get::<bool>(row, 0)? || i64::try_from(rows.len()).is_ok_and(|rows| rows == most) {
                    return Ok(FollowedEvents::Gone);
                }
                let Some(seq) = get::<Option<Seq>>(row, 1)? else { continue };
                let event = SealedEvent { kind: EventKind::of(get(row, 2)?), body: get(row, 3)? };
                events.push(ToldEvent { seq, event, origin: get(row, 4)? });
            }
            Ok(FollowedEvents::Events(events))
        }
        .boxed()
    }

    fn begin(&self, life: Life, member: MemberId, write: WriteId, body: Vec<u8>) -> EngineReply<'_, ()> {
        async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 4] =
                [(&write, Type::UUID), (&member, Type::UUID), (&body, Type::BYTEA), (&life, Type::UUID)];
            let rows = self.ask(&self.work, &self.statements.begin, &parameters).await?;
            if rows.is_empty() { Err(ClusterEngineError::Refused) } else { Ok(()) }
        }
        .boxed()
    }

    fn end(&self, life: Life, ending: Ending) -> EngineReply<'_, Seq> {
        async move {
            let Ending { writes, events, origin } = ending;
            let count = i64::try_from(events.len()).unwrap_or(0);
            let (kinds, bodies): (Vec<i16>, Vec<Vec<u8>>) =
                events.into_iter().map(|event| (event.kind.number(), event.body)).unzip();
            let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
                (&life, Type::UUID),
                (&count, Type::INT8),
                (&origin, Type::UUID),
                (&kinds, Type::INT2_ARRAY),
                (&bodies, Type::BYTEA_ARRAY),
                (&writes, Type::UUID_ARRAY),
            ];
            let rows = self.ask(&self.work, &self.statements.end, &parameters).await?;
            let seq = rows.first().ok_or(ClusterEngineError::Refused).and_then(|row| get(row, 0))?;
            if count > 0 {
                self.wake().await;
            }
            Ok(seq)
        }
        .boxed()
    }

    fn unseen(&self, life: Life, member: MemberId, seq: Seq) -> EngineReply<'_, Vec<MemberId>> {
        async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 3] =
                [(&life, Type::UUID), (&seq, Type::INT8), (&member, Type::UUID)];
            let rows = self.ask(&self.work, &self.statements.unseen, &parameters).await?;
            let mut unseen = Vec::with_capacity(rows.len());
            for row in &rows {
                if !get::<bool>(row, 0)? {
                    return Err(ClusterEngineError::Refused);
                }
                unseen.extend(get::<Option<MemberId>>(row, 1)?);
            }
            Ok(unseen)
        }
        .boxed()
    }

    fn remove(&self, member: MemberId, beat: i64) -> EngineReply<'_, ()> {
        self.take_out(member, Some(beat)).boxed()
    }

    fn leave(&self, member: MemberId) -> EngineReply<'_, ()> {
        self.take_out(member, None).boxed()
    }

    fn turn(&self, asked: TurnAsked) -> EngineReply<'_, TurnTold> {
        async move {
            let TurnAsked { caller, rate, most, afresh } = asked;
            let (every, saved, most) = (micros(rate.every), micros(rate.saved()), micros(most));
            let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
                (&caller, Type::BYTEA),
                (&every, Type::INT8),
                (&saved, Type::INT8),
                (&most, Type::INT8),
                (&afresh, Type::BOOL),
            ];
            let rows = self.ask(&self.work, &self.statements.turn, &parameters).await?;
            let row = rows.first().ok_or(ClusterEngineError::Refused)?;
            let (taken, late, pause): (Option<i64>, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            Ok(match taken {
                Some(wait) => TurnTold::Taken(of_micros(wait)),
                None if pause > 0 => TurnTold::Paused(of_micros(pause)),
                // Where another took a turn in the same moment it is known to be later than that.
                None => TurnTold::TooLate(of_micros(late.max(most + 1))),
            })
        }
        .boxed()
    }

    fn pause(&self, caller: Vec<u8>, length: Duration) -> EngineReply<'_, ()> {
        async move {
            let length = micros(length);
            let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                [(&caller, Type::BYTEA), (&length, Type::INT8)];
            self.ask(&self.work, &self.statements.pause, &parameters).await.map(drop)
        }
        .boxed()
    }

    fn tidy(&self) -> EngineReply<'_, ()> {
        async move {
            self.ask(&self.work, &self.statements.tidy, &[]).await?;
            self.ask(&self.work, &self.statements.tidy_turns, &[]).await.map(drop)
        }
        .boxed()
    }

    fn woken(&self) -> BoxFuture<'_, ()> {
        self.pulse.woken.notified().boxed()
    }
}
