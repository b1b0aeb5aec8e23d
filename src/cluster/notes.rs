//! What must outlive a restart: how far the others were followed, and what they have yet to be told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use super::engine::{Life, Seq};
use crate::{alyx::invalidates::DOUBTED, store::Store, store::StoreError};

/// Scopes, each with a number that is another with each write.
pub(super) type UntoldScopes = BTreeMap<String, u64>;

#[derive(Debug, Default)]
struct Untold {
    scopes: UntoldScopes,
    writes: u64,
}

/// What is noted on disk.
#[derive(Debug, Default)]
pub(super) struct ClusterNotes {
    followed: Mutex<Option<(Life, Seq)>>,
    /// Names of scopes that were written while the others could not be told, each with the number of its last write.
    untold: Mutex<Untold>,
    /// None in tests.
    store: Option<Arc<Store>>,
}

impl ClusterNotes {
    /// What was noted before.
    pub(super) async fn load(store: &Arc<Store>) -> Result<Self, StoreError> {
        let (followed, untold) = store
            .read(|connection| {
                let row = connection.query_row("SELECT life, seq FROM followed", [], |row| {
                    Ok((Uuid::from_bytes(row.get(0)?), row.get(1)?))
                });
                let mut statement = connection.prepare("SELECT scope FROM untold")?;
                let untold = statement.query_map([], |row| Ok((row.get(0)?, 0)))?;
                Ok((row.optional()?, untold.collect::<rusqlite::Result<UntoldScopes>>()?))
            })
            .await?;
        let untold = Mutex::new(Untold { scopes: untold, writes: 0 });
        Ok(Self { followed: Mutex::new(followed), untold, store: Some(store.clone()) })
    }

    /// This proxy is in no cluster (any more): what is written meanwhile the others will have to doubt, if it comes back.
    pub(super) async fn stays_away(store: &Store) -> Result<(), StoreError> {
        let followed = "SELECT EXISTS (SELECT 1 FROM followed)";
        if !store.read(move |connection| connection.query_row(followed, [], |row| row.get(0))).await? {
            return Ok(());
        }
        let forget = |connection: &Connection| {
            connection.execute("INSERT OR IGNORE INTO untold (scope) VALUES (?1)", [DOUBTED])?;
            connection.execute("DELETE FROM followed", []).map(drop)
        };
        store.commit("that this proxy is in no cluster", forget).await
    }

    /// How far the others were followed.
    pub(super) fn followed(&self) -> Option<(Life, Seq)> {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All up to this event is applied, and on its way to the disk.
    pub(super) fn follow_if_other(&self, life: Life, seq: Seq) {
        let now = Some((life, seq));
        let before =
            std::mem::replace(&mut *self.followed.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before == now {
            return;
        }
        let Some(store) = &self.store else { return };
        let note = move |connection: &Connection| {
            let sql = "INSERT INTO followed (one, life, seq) VALUES (1, ?1, ?2)
                       ON CONFLICT (one) DO UPDATE SET life = ?1, seq = ?2";
            connection.prepare_cached(sql)?.execute((life.as_bytes(), seq)).map(drop)
        };
        store.write("how far others are followed", 0, note);
    }

    /// What the others have yet to be told.
    pub(super) fn untold(&self) -> UntoldScopes {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).scopes.clone()
    }

    /// The others are to be told of these; returns when that is on disk.
    pub(super) async fn add_untold(&self, scopes: &[String]) -> Result<(), StoreError> {
        {
            let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
            untold.writes += 1;
            let write = untold.writes;
            untold.scopes.extend(scopes.iter().map(|scope| (scope.clone(), write)));
        }
        let Some(store) = &self.store else { return Ok(()) };
        let scopes = scopes.to_vec();
        let add = move |connection: &Connection| {
            let mut statement =
                connection.prepare_cached("INSERT OR IGNORE INTO untold (scope) VALUES (?1)")?;
            scopes.iter().try_for_each(|scope| statement.execute([scope]).map(drop))
        };
        store.commit("what others have yet to be told", add).await
    }

    /// They have been told of these, but for what was written again meanwhile.
    pub(super) fn told(&self, mut told: UntoldScopes) {
        // Held until that is on its way to the disk: what is added comes before all of this, or after all of it.
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|scope, write| untold.scopes.get(scope) == Some(write));
        untold.scopes.retain(|scope, _| !told.contains_key(scope));
        let Some(store) = &self.store else { return };
        store.write("what others have been told", 0, move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM untold WHERE scope = ?1")?;
            told.keys().try_for_each(|scope| statement.execute([scope]).map(drop))
        });
    }
}
