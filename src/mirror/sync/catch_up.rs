//! Brings a table up to date because somebody asks for what needs it: by the smallest thing that does, once for all who wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    SyncError, Synchroniser,
    apply::{self, DetailUpdate},
    budget::{Purpose, asking_for},
    is_shown_in_details, own_write, source,
};
use crate::{
    alyx::{change_tracking::Changes, query_string},
    clock::Millis,
    mirror::{
        generation, refetch,
        schema::{EndpointTables, Schema},
        state::TableState,
    },
    single_flight::Flights,
    upstream::for_somebody,
};

/// What may be fetched for a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// What has changed in this table, and what has gone.
    Table(&'static str),
    /// What has changed in it alone: what is gone makes no list that was empty longer.
    Changes(&'static str),
    /// How many records this table has: of one whose records the details of others show, it tells whether one is new or gone.
    Count(&'static str),
    /// The details of these records of a table, by their paths.
    Details(&'static str, Vec<String>),
}

/// A table without change times is read as a whole for a question if it has no more records: two pages.
pub(super) const SMALL: u64 = 2 * source::PAGE as u64;
/// So many records that show others which have changed are fetched again for a question.
const FEW: i64 = 20;

/// What is under way for those who ask, and how long each table took last.
#[derive(Debug, Default)]
pub(super) struct CatchUps {
    flights: Flights<CatchUp, bool>,
    took: Mutex<HashMap<(&'static str, bool), Duration>>,
    /// A list is read as a whole by one at a time: which records are new in it is told by what was here before.
    lists: Mutex<HashMap<&'static str, Arc<tokio::sync::Mutex<()>>>>,
    /// As of when the changes of a table are here, where it was not looked for what is gone.
    changes: Mutex<HashMap<&'static str, Millis>>,
}

impl CatchUp {
    /// The table, and whether it is only counted; none of details.
    fn kind(&self) -> Option<(&'static str, bool)> {
        match self {
            Self::Table(endpoint) | Self::Changes(endpoint) => Some((endpoint, false)),
            Self::Count(endpoint) => Some((endpoint, true)),
            Self::Details(..) => None,
        }
    }
}

impl CatchUps {
    /// The turn to bring the list of a table up to date.
    pub(super) async fn turn(&self, endpoint: &'static str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn =
            self.lists.lock().unwrap_or_else(PoisonError::into_inner).entry(endpoint).or_default().clone();
        turn.lock_owned().await
    }
}

impl Synchroniser {
    /// What Alyx would be asked for this; none where that would be more than a few requests.
    pub fn requests_of(&self, what: &CatchUp) -> Option<Vec<String>> {
        match what {
            CatchUp::Details(_, records) => Some(records.clone()),
            CatchUp::Count(endpoint) => {
                self.can_be_caught_up(endpoint)?;
                Some(vec![format!("/{endpoint}?limit=1")])
            }
            CatchUp::Changes(endpoint) => {
                let (table, _) = self.can_be_caught_up(endpoint)?;
                changes_of(table).map(|changes| vec![changes])
            }
            CatchUp::Table(endpoint) => {
                let (table, state) = self.can_be_caught_up(endpoint)?;
                let all = format!("/{endpoint}?limit={}", source::PAGE);
                match changes_of(table) {
                    Some(changes) => Some(vec![changes, format!("/{endpoint}?limit=1")]),
                    None if state.rows <= SMALL => Some(vec![all]),
                    None => None,
                }
            }
        }
    }

    /// A table that is here, kept, and did not fail a moment ago.
    fn can_be_caught_up(&self, endpoint: &str) -> Option<(&'static EndpointTables, TableState)> {
        let table = Schema::get().table(endpoint)?;
        let state = self.mirror.states().of(endpoint)?.clone();
        let kept = self.settings.load().mirror.keeps(table.endpoint);
        (kept && state.scope == self.scope(table) && !self.rests(endpoint)).then_some((table, state))
    }

    /// What brings a table up to date for the detail of a record of another: of what is seldom read as a whole the count.
    pub fn for_details(endpoint: &'static str) -> CatchUp {
        match Schema::get().table(endpoint) {
            Some(table) if !follows_changes(table) && is_shown_in_details(endpoint) => {
                CatchUp::Count(endpoint)
            }
            _ => CatchUp::Table(endpoint),
        }
    }

    /// As of when the changes of a table are here, where that is later than what it was synchronised at.
    pub fn changes_known_at(&self, endpoint: &str) -> Option<Millis> {
        self.catch_ups.changes.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).copied()
    }

    /// How long this took last, where that is known.
    pub fn took(&self, what: &CatchUp) -> Option<Duration> {
        self.catch_ups.took.lock().unwrap_or_else(PoisonError::into_inner).get(&what.kind()?).copied()
    }

    /// Fetches it, or waits for who does already; whether it is here. It goes on where nobody waits any more.
    pub async fn catch_up(self: &Arc<Self>, what: CatchUp) -> bool {
        let own = self.clone();
        let fetch = {
            let what = what.clone();
            move || for_somebody(asking_for(Purpose::Question, async move { own.catch_up_now(what).await }))
        };
        self.catch_ups.flights.join(what, fetch).outcome().await.unwrap_or(false)
    }

    async fn catch_up_now(&self, what: CatchUp) -> bool {
        let begun = self.clock().instant();
        let (endpoint, result) = match &what {
            CatchUp::Table(endpoint) => (*endpoint, self.catch_up_table(endpoint, false).await),
            CatchUp::Changes(endpoint) => (*endpoint, self.catch_up_changes(endpoint).await),
            CatchUp::Count(endpoint) => (*endpoint, self.catch_up_table(endpoint, true).await),
            CatchUp::Details(endpoint, records) => {
                (*endpoint, self.catch_up_details(endpoint, records).await)
            }
        };
        metrics::counter!("alyx_proxy_mirror_catch_ups_total").increment(1);
        match result {
            Ok(done) => {
                if let Some(kind) = what.kind() {
                    let took = self.clock().instant().saturating_duration_since(begun);
                    let mut all = self.catch_ups.took.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(kind, took);
                }
                done
            }
            Err(error) => {
                tracing::debug!(endpoint, %error, "not brought up to date for a question");
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                let failed = failures.entry(endpoint).or_default();
                *failed = (self.clock().now(), failed.1.saturating_add(1));
                false
            }
        }
    }

    async fn catch_up_table(&self, endpoint: &'static str, counts: bool) -> Result<bool, SyncError> {
        let Some(table) = Schema::get().table(endpoint) else { return Ok(false) };
        let scope = self.scope(table);
        {
            let (begun, _turn) = (self.clock().stamp(), self.catch_ups.turn(endpoint).await);
            if follows_changes(table) {
                self.increment(table, &scope, true).await?;
            } else if counts {
                self.count(table, &scope).await?;
            } else {
                self.relist(table, &scope).await?;
            }
            self.looked_at(endpoint, begun);
        }
        // What shows records of others that have changed is as old as that change.
        let due = self
            .mirror
            .read(move |connection, _| refetch::first(connection, table, i64::MIN, FEW + 1))
            .await?;
        if due.len() > usize::try_from(FEW).unwrap_or_default() {
            return Ok(false);
        }
        if !due.is_empty() {
            self.renew(table, &scope, None).await?;
        }
        Ok(true)
    }

    async fn catch_up_changes(&self, endpoint: &'static str) -> Result<bool, SyncError> {
        let Some(table) = Schema::get().table(endpoint).filter(|table| follows_changes(table)) else {
            return Ok(false);
        };
        let (scope, begun) = (self.scope(table), self.clock().now());
        let _turn = self.catch_ups.turn(endpoint).await;
        self.increment(table, &scope, false).await?;
        self.catch_ups.changes.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint, begun);
        Ok(true)
    }

    /// Fetches the details of these records that are not here.
    async fn catch_up_details(&self, endpoint: &'static str, records: &[String]) -> Result<bool, SyncError> {
        let Some(table) = Schema::get().table(endpoint) else { return Ok(false) };
        let keys: Vec<String> =
            records.iter().filter_map(|path| query_string::segments(path).pop()).collect();
        let wanted = self
            .mirror
            .read(move |connection, _| own_write::without_detail(connection, table, &keys))
            .await?;
        let asked = self.clock().stamp();
        let details = self.fetch_details(table, wanted).await?;
        let done = self
            .mirror
            .write(move |connection| {
                let mut here = true;
                for (n, list, detail) in &details {
                    apply::detail(connection, table, *n, list, detail, asked)?;
                    here &= matches!(detail, DetailUpdate::Is(_));
                }
                generation::recount(connection, table)?;
                Ok(here)
            })
            .await?;
        Ok(done)
    }
}

/// The request for what has changed in a table, where that can be asked for.
fn changes_of(table: &EndpointTables) -> Option<String> {
    let endpoint = table.endpoint.name;
    let path = Changes::of(endpoint).path().filter(|_| follows_changes(table))?;
    Some(format!("/{endpoint}?django={path}__gt,…"))
}

/// Whether what has changed in a table can be asked for.
pub(super) fn follows_changes(table: &EndpointTables) -> bool {
    Changes::of(table.endpoint.name) != Changes::Unknown && source::by_ranges(table)
}
