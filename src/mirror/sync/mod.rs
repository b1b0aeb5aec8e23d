//! Synchronising: Alyx's tables are fetched whole once, and then kept up with (ALYX.md 6).
//!
//! A cycle ([`cycle`]) goes through the tables one by one: [`fill`] makes what is not here, [`increment`] and [`relist`] bring
//! the rest up to date, and what shows changed records is fetched again ([`renew`]). A request that fails ends its table's run; the
//! others go on, and the next cycle tries again. Everything is asked in the name of the service account, behind
//! the requests of people, and not at all while Alyx is away.

mod apply;
mod backfill;
mod backoff;
pub mod budget;
mod catch_up;
mod cursor;
mod cycle;
mod detail;
mod drop_others;
mod due;
mod holes;
mod identity;
mod incremental;
mod interruption;
mod json_nulls;
mod mend;
mod own_write;
mod progress;
mod purpose;
mod refetch;
mod relist;
pub mod reservation;
mod scrub_schedule;
mod source;
mod strange;
mod tags;
mod touch;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use rusqlite::OptionalExtension;
use tokio::sync::Notify;

pub use catch_up::CatchUp;
pub use own_write::OwnWrite;
pub use progress::{SyncProgress, TableProgress};

use super::{
    database::{Mirror, MirrorError},
    generation::{self, TableScope},
    quarantine,
    schema::{EndpointTables, Schema},
};
use crate::{
    alyx::{
        Class, Endpoint,
        change_tracking::{Changes, EmbeddedIn, shown},
    },
    clock::Millis,
    settings::Settings,
    upstream::{Account, AccountError, Upstream, UpstreamResponse},
};
use budget::{BackgroundBudget, Purpose, asking_for};
use detail::Witnesses;
use due::{PlannedLook, TableLook, TableTurn, WantedTables};
use interruption::Interruptions;
use reservation::RequestReservation;
use source::AlyxSource;

/// Why a table was not synchronised.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Nothing can be asked.
    #[error("{0}")]
    Account(#[from] AccountError),
    /// Alyx answered otherwise than expected.
    #[error("{0}: Alyx answered with status {1}, and not as expected")]
    Strange(String, u16),
    /// The list changed while it was read, again and again.
    #[error("/{0}: the list does not hold still")]
    Unsteady(&'static str),
    /// The database's word.
    #[error("{0}")]
    Mirror(#[from] MirrorError),
}

/// Which tables a cycle goes through, and which of them are read as a whole whether or not it is time.
#[derive(Debug, Clone, Copy)]
pub enum Cycle<'e> {
    /// All that are kept, as the settings say.
    Due,
    /// These, now; all that are kept if none is named.
    Now(&'e [&'static Endpoint]),
}

/// What was done for a table in a cycle.
#[derive(Debug)]
enum Done {
    /// Nothing: it failed a moment ago.
    Rested,
    /// Nothing: it is as recent as it need be.
    Left,
    /// It was filled, or changes were asked for.
    Changed,
    /// It was read as a whole, and had been here before; with the room for what follows.
    Listed(RequestReservation),
}

/// When a table has its turn among those that are filled.
fn turn(table: &EndpointTables) -> usize {
    const FIRST: [&str; 5] = ["subjects", "sessions", "fov-location", "datasets", "insertions"];
    if table.endpoint.class == Class::Reference {
        return 0;
    }
    1 + FIRST.iter().position(|first| *first == table.endpoint.name).unwrap_or(FIRST.len())
}

/// Whether the details of other tables show the records of this one.
fn is_shown_in_details(endpoint: &str) -> bool {
    shown(endpoint).iter().any(EmbeddedIn::is_in_details)
}

/// Keeps the mirror as Alyx is.
#[derive(Debug)]
pub struct Synchroniser {
    mirror: Arc<Mirror>,
    settings: Arc<ArcSwap<Settings>>,
    source: AlyxSource,
    /// How far it has come.
    pub progress: SyncProgress,
    asked: Notify,
    /// Whether one was asked for since the lists were last gone through.
    wanted: AtomicBool,
    /// When a table's run failed last, and how often in a row.
    failures: Mutex<HashMap<&'static str, (Millis, u32)>>,
    /// Details that Alyx did not have, and when they were asked for: not in every cycle.
    lacking: Mutex<HashMap<(&'static str, i64), Millis>>,
    /// What is known of which details can be read.
    witnesses: Witnesses,
    /// What is fetched for those who ask.
    catch_ups: catch_up::CatchUps,
    /// What may be asked that nobody waits for.
    pub budget: Arc<BackgroundBudget>,
    wanted_tables: Mutex<WantedTables>,
    /// One cycle at a time; held across the requests of it.
    cycling: tokio::sync::Mutex<()>,
    interruptions: Interruptions,
}

/// How long one waits after being asked for a cycle, so that many writes make one.
const SOON: Duration = Duration::from_secs(2);
/// The least time from the beginning of a cycle to that of one that is asked for.
const LEAST: Duration = Duration::from_secs(15);
/// No request of ours may take less time than this: pages of a thousand records are slow (ALYX.md 6.5).
const PATIENCE: Duration = Duration::from_mins(2);

impl Synchroniser {
    /// What synchronises this mirror in the name of the account that the settings name; none without account.
    pub fn new(
        mirror: Arc<Mirror>,
        upstream: Arc<Upstream>,
        settings: &Arc<ArcSwap<Settings>>,
    ) -> Result<Option<Arc<Self>>, AccountError> {
        let now = settings.load();
        let Some(account) = Account::of(&now.mirror, now.upstream.timeout.0)? else { return Ok(None) };
        let timeout = now.upstream.timeout.0.max(PATIENCE);
        let budget = Arc::new(BackgroundBudget::new(settings.clone(), upstream.clock().clone()));
        Ok(Some(Arc::new(Self {
            progress: SyncProgress::new(upstream.clock().clone()),
            catch_ups: catch_up::CatchUps::default(),
            witnesses: Witnesses::new(upstream.clock().clone()),
            source: AlyxSource {
                budget: budget.clone(),
                upstream,
                account,
                timeout,
                detail_timeout: now.upstream.timeout.0,
                seal: mirror.seal().cloned(),
            },
            budget,
            wanted_tables: Mutex::default(),
            mirror,
            settings: settings.clone(),
            asked: Notify::new(),
            wanted: AtomicBool::new(false),
            failures: Mutex::default(),
            lacking: Mutex::default(),
            cycling: tokio::sync::Mutex::new(()),
            interruptions: Interruptions::default(),
        })))
    }

    /// Synchronises for as long as it is polled: now, every `mirror.interval`, and when it is asked to.
    #[allow(clippy::disallowed_methods, reason = "pauses between two cycles, which no deadline depends on")]
    pub async fn run(self: Arc<Self>) {
        loop {
            if self.source.upstream.health.is_down() {
                tokio::time::sleep(SOON).await;
                continue;
            }
            let began = tokio::time::Instant::now();
            let errors = self.cycle(Cycle::Due).await;
            let every = self.settings.load().mirror.interval.0;
            if errors.iter().any(|(_, error)| error.is_outage()) {
                // What was cut off goes on as soon as Alyx is back.
                self.forgive(None);
                tokio::time::sleep(SOON).await;
                self.source.upstream.health.until_down_is(false).await;
                let rest = LEAST.min(every).saturating_sub(began.elapsed());
                tokio::time::sleep(rest).await;
                continue;
            }
            if tokio::time::timeout(every, self.asked.notified()).await.is_ok() {
                tokio::time::sleep(SOON).await;
                // However many ask, Alyx is not read without a pause.
                tokio::time::sleep_until(began + every.min(LEAST)).await;
            }
        }
    }

    /// Asks Alyx a question under the account's name, behind the requests of people.
    pub async fn ask(&self, path_and_query: &str) -> Result<UpstreamResponse, SyncError> {
        self.source.get(path_and_query.to_owned()).await
    }

    /// The same for a description of the interface, which has media types of its own.
    pub async fn ask_as(&self, path: &str, accept: HeaderValue) -> Result<UpstreamResponse, SyncError> {
        self.source.get_as(path.to_owned(), accept, self.source.detail_timeout).await
    }

    /// Waits until the cycle that is under way has ended.
    pub async fn idle(&self) {
        drop(self.cycling.lock().await);
    }

    /// Whether it is told already that nothing can be synchronised, as Alyx has gone away.
    fn is_told(&self, errors: &[(&'static str, SyncError)]) -> bool {
        !errors.is_empty() && self.source.upstream.health.is_down()
    }

    fn tables(&self, cycle: Cycle<'_>) -> Vec<&'static EndpointTables> {
        let settings = self.settings.load();
        let states = self.mirror.states();
        let named = |endpoint: &Endpoint| match cycle {
            Cycle::Now(named) if !named.is_empty() => named.iter().any(|other| other.name == endpoint.name),
            _ => settings.mirror.keeps(endpoint) && states.spec().has_list(endpoint.name),
        };
        let mut tables: Vec<_> =
            Schema::get().tables().iter().filter(|table| named(table.endpoint)).collect();
        // What is filled comes first, and what is shown before what shows it, whose changes are followed once it is here.
        // Change times of some stand in others; and where many things have changed, sessions are fetched last.
        tables.sort_by_key(|table| {
            let noted = matches!(Changes::of(table.endpoint.name), Changes::With { .. });
            if self.is_here(table) {
                (1, usize::from(table.has_details()), noted)
            } else {
                (0, turn(table), noted)
            }
        });
        tables
    }

    /// Whether a table is here as the settings want it.
    fn is_here(&self, table: &EndpointTables) -> bool {
        let states = self.mirror.states();
        states.of(table.endpoint.name).is_some_and(|state| state.scope == self.scope(table))
    }

    fn scope(&self, table: &EndpointTables) -> TableScope {
        self.settings.load().mirror.scope_of(table.endpoint.name)
    }

    fn ended(
        &self,
        table: &'static EndpointTables,
        result: Result<(), SyncError>,
        errors: &mut Vec<(&'static str, SyncError)>,
    ) {
        let endpoint = table.endpoint.name;
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.ended(endpoint, result.as_ref().err().map(ToString::to_string));
        match result {
            Ok(()) => drop(failures.remove(endpoint)),
            Err(error) => {
                // One line is enough; whoever asked for the cycle is told of each table.
                if self.is_told(errors) || self.is_refused() {
                    tracing::debug!(endpoint, %error, "not synchronised");
                } else {
                    tracing::warn!(endpoint, %error, "not synchronised");
                }
                metrics::counter!("alyx_proxy_mirror_sync_failures_total").increment(1);
                let failed = failures.entry(endpoint).or_default();
                *failed = (self.clock().now(), failed.1.saturating_add(1));
                errors.push((endpoint, error));
            }
        }
    }

    /// Brings the list of a table up to date.
    async fn table(&self, table: &'static EndpointTables, cycle: Cycle<'_>) -> Result<Done, SyncError> {
        let endpoint = table.endpoint.name;
        let forced = matches!(cycle, Cycle::Now(_));
        if !forced && self.rests(endpoint) {
            return Ok(Done::Rested);
        }
        let settings = self.settings.load_full();
        let scope = self.scope(table);
        let (known, filling) = self
            .mirror
            .read(move |connection, states| {
                let sql = "SELECT listed_at, synced_at FROM state WHERE endpoint = ?1";
                let times: Option<(Millis, Millis)> =
                    connection.query_row(sql, [endpoint], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let doubt = quarantine::of(connection, endpoint)?;
                let turn = times.zip(states.of(endpoint)).map(|((listed_at, synced_at), state)| {
                    let turn = TableTurn {
                        synced_at,
                        counted_at: state.counted_at,
                        listed_at,
                        rows: state.rows,
                        doubted: doubt.is_some(),
                        pressing: doubt.as_ref().is_some_and(|doubt| doubt.pressing),
                    };
                    (state.scope.clone(), turn, doubt)
                });
                Ok((turn, generation::is_filling(connection, endpoint)?))
            })
            .await?;
        let Some((turn, doubt)) =
            known.and_then(|(within, turn, doubt)| (within == scope).then_some((turn, doubt)))
        else {
            self.progress.phase(endpoint, "fill");
            asking_for(Purpose::Fill, self.fill(table, &scope)).await?;
            self.note_details(table, false).await?;
            return Ok(Done::Changed);
        };
        if filling {
            // Of another scope, which is wanted no more; its ranges are not those of this table.
            self.mirror.write(move |connection| Ok(generation::abandon(connection, table)?)).await?;
        }
        if !settings.mirror.keeps_details(table.endpoint) && table.has_details() {
            self.forget_details(table).await?;
            self.note_details(table, false).await?;
        }
        self.progress.rows(endpoint, turn.rows, turn.rows);
        let (mut done, mut sweep) = (Done::Left, Purpose::Sweep);
        if doubt.is_some() {
            sweep = Purpose::Fill;
        }
        if let Some(look) = self.look_at(table, turn, forced) {
            let purpose = look.room.purpose;
            done = asking_for(purpose, self.look(table, &scope, look)).await?;
            if purpose == Purpose::Person {
                sweep = purpose;
            }
        }
        asking_for(sweep, self.sweep_where_due(table, &scope, turn)).await?;
        Ok(done)
    }

    /// Looks at a table in this way.
    async fn look(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        PlannedLook { look, room }: PlannedLook,
    ) -> Result<Done, SyncError> {
        let (endpoint, begun) = (table.endpoint.name, self.clock().stamp());
        let _turn = self.catch_ups.turn(endpoint).await;
        let done = match look {
            TableLook::Changes => {
                self.progress.phase(endpoint, "changes");
                self.increment(table, scope, true).await?;
                Done::Changed
            }
            TableLook::List => {
                self.progress.phase(endpoint, "list");
                self.relist(table, scope).await?;
                Done::Listed(room)
            }
            TableLook::Count => {
                self.progress.phase(endpoint, "changes");
                self.count(table, scope).await?;
                Done::Changed
            }
        };
        self.looked_at(endpoint, begun);
        Ok(done)
    }
}
