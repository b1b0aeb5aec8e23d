//! What writes have made stale: for each scope, the time before which answers no longer count.
//!
//! Marking costs the same however many answers it strikes. Marks are on disk before a write is
//! passed on, so that a crash can't bring an old answer back.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use crate::{
    alyx::writes::Scope,
    clock::{self, Millis},
    store::{Store, StoreError},
};

#[derive(Debug)]
pub(super) struct Marks {
    at: RwLock<HashMap<String, Millis>>,
}

impl Marks {
    pub(super) async fn load(store: &Store) -> Result<Self, StoreError> {
        let rows = store
            .read(|connection| {
                let mut statement = connection.prepare("SELECT scope, at FROM marks")?;
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect::<rusqlite::Result<HashMap<_, _>>>()
            })
            .await?;
        Ok(Self { at: RwLock::new(rows) })
    }

    /// The latest time at which one of these scopes was marked.
    pub(super) fn since(&self, scopes: &[String]) -> Millis {
        let at = self.at.read().unwrap_or_else(PoisonError::into_inner);
        scopes.iter().filter_map(|scope| at.get(scope)).copied().max().unwrap_or(Millis::MIN)
    }

    pub(super) async fn mark(&self, scopes: &[Scope], store: &Store) -> Result<(), StoreError> {
        if scopes.is_empty() {
            return Ok(());
        }
        let now = clock::now();
        let names: Vec<String> = scopes.iter().map(Scope::name).collect();
        self.at
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(names.iter().map(|name| (name.clone(), now)));
        store
            .write_through("what a write changes", move |connection| {
                let sql =
                    "INSERT INTO marks (scope, at) VALUES (?1, ?2) ON CONFLICT (scope) DO UPDATE SET at = ?2";
                let mut statement = connection.prepare_cached(sql)?;
                names.iter().try_for_each(|name| statement.execute((name, now)).map(drop))
            })
            .await
    }

    /// Drops marks that are older than any answer can be fresh.
    pub(super) fn tidy(&self, store: &Store, longest: Duration) {
        let before = clock::now() - Millis::try_from(longest.as_millis()).unwrap_or(Millis::MAX);
        let mut at = self.at.write().unwrap_or_else(PoisonError::into_inner);
        let count = at.len();
        at.retain(|_, marked| *marked >= before);
        if at.len() < count {
            store.write("old marks", 0, move |connection| {
                connection.execute("DELETE FROM marks WHERE at < ?1", [before]).map(drop)
            });
        }
    }
}
