//! One cycle: all lists first, then what shows changed records, then details, and the lists again before they are too old.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{
    Cycle, Done, LEAST, SyncError, Synchroniser,
    budget::{Purpose, asking_for},
    refetch::Renewed,
};
use crate::{clock::Millis, mirror::schema::EndpointTables};

/// What a cycle goes through, and what came of it.
type Tables = Vec<&'static EndpointTables>;
type Errors = Vec<(&'static str, SyncError)>;

/// Alyx has gone away: the cycle ends.
struct Over;

/// So many tables are brought up to date beside each other: one of which much has changed does not let the others grow old.
const ABREAST: usize = 4;

/// For how long details are fetched before the lists are looked after again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    since: Millis,
    length: Millis,
}

impl Synchroniser {
    /// Goes through the tables once; the errors of those that failed.
    pub async fn cycle(&self, cycle: Cycle<'_>) -> Errors {
        let _alone = self.cycling.lock().await;
        let mut errors = Vec::new();
        self.budget.recall(&self.mirror).await;
        self.look_through().await;
        self.forget_own_writes().await;
        if matches!(cycle, Cycle::Due) {
            self.drop_others().await;
        }
        let purpose = if matches!(cycle, Cycle::Due) { Purpose::Follow } else { Purpose::Person };
        if matches!(cycle, Cycle::Now(_)) {
            self.source.account.try_again();
        }
        // Alyx that has gone away is told in the errors; what is stopped half-way goes on in the next cycle.
        tokio::select! {
            _ = asking_for(purpose, self.all(cycle, &mut errors)) => {}
            () = self.interrupted(cycle) => {}
        }
        if let Err(error) = self.budget.note(&self.mirror).await {
            tracing::debug!(%error, "what was asked of Alyx is not written down");
        }
        errors
    }

    async fn all(&self, cycle: Cycle<'_>, errors: &mut Errors) -> Result<(), Over> {
        let mut begun = self.clock().now();
        let tables = self.tables(cycle);
        let mut listed = self.lists(&tables, cycle, errors).await?;
        let mut renewed = self.shown(&tables, cycle, self.slice(begun), errors).await?;
        listed.retain(|table| errors.iter().all(|(name, _)| *name != table.endpoint.name));
        while !(self.all_details(&mut listed, cycle, self.slice(begun), errors).await? && renewed) {
            // Lists do not grow old meanwhile.
            begun = self.clock().now();
            let mut others = Errors::new();
            let tables = self.tables(Cycle::Due);
            let more = self.lists(&tables, Cycle::Due, &mut others).await;
            let shown = self.shown(&tables, Cycle::Due, self.slice(begun), &mut others).await;
            let of_cycle = |name: &str| self.tables(cycle).iter().any(|table| table.endpoint.name == name);
            errors.extend(others.into_iter().filter(|(endpoint, _)| of_cycle(endpoint)));
            renewed = shown?;
            for table in more? {
                if listed.iter().all(|known| known.endpoint.name != table.endpoint.name) {
                    listed.push(table);
                }
            }
        }
        Ok(())
    }

    /// Brings the lists of these tables up to date; those that went well.
    async fn lists(&self, tables: &Tables, cycle: Cycle<'_>, errors: &mut Errors) -> Result<Tables, Over> {
        self.wanted.store(false, Ordering::Relaxed);
        let (mut listed, mut tags) = (Tables::new(), None);
        // What is not here yet is filled one by one, as what is shown comes before what shows it.
        let (here, new): (Tables, Tables) = tables.iter().copied().partition(|table| self.is_here(table));
        for (tables, abreast) in [(new, 1), (here, ABREAST)] {
            let (mut waiting, mut running) = (tables.into_iter(), FuturesUnordered::new());
            loop {
                running.extend(
                    waiting.by_ref().take(abreast - running.len()).map(|table| self.list(table, cycle)),
                );
                let Some((table, result)) = running.next().await else { break };
                match result {
                    Ok(Done::Rested) => {}
                    Ok(done) => {
                        listed.push(table);
                        if let Done::Listed(room) = done
                            && table.endpoint.name == "tags"
                        {
                            tags = Some((table, room));
                        }
                    }
                    Err(error) => self.ended(table, Err(error), errors),
                }
                self.goes_on(cycle, errors)?;
            }
        }
        if let Some((table, room)) = tags {
            let compared = asking_for(room.purpose, self.compare_tags()).await;
            if compared.is_err() {
                self.ended(table, compared, errors);
                self.goes_on(cycle, errors)?;
            }
        }
        let failed =
            |table: &&'static EndpointTables| errors.iter().any(|(name, _)| *name == table.endpoint.name);
        listed.retain(|table| !failed(table));
        Ok(listed)
    }

    async fn list(
        &self,
        table: &'static EndpointTables,
        cycle: Cycle<'_>,
    ) -> (&'static EndpointTables, Result<Done, SyncError>) {
        (table, self.table(table, cycle).await)
    }

    async fn renewal(
        &self,
        table: &'static EndpointTables,
        slice: Slice,
    ) -> (&'static EndpointTables, Result<Renewed, SyncError>) {
        (table, self.renew(table, &self.scope(table), Some(slice)).await)
    }

    /// Fetches what shows changed records; which may itself be shown. Not for longer than the slice; whether all is done.
    async fn shown(
        &self,
        tables: &Tables,
        cycle: Cycle<'_>,
        slice: Slice,
        errors: &mut Errors,
    ) -> Result<bool, Over> {
        for _ in 0..3 {
            let (mut any, mut over) = (false, false);
            let (mut waiting, mut running) = (tables.iter(), FuturesUnordered::new());
            loop {
                // What is due makes its table old, so that a question that needs it has it fetched.
                let more = if over || self.budget.room() == 0 { 0 } else { ABREAST - running.len() };
                running.extend(waiting.by_ref().take(more).map(|table| self.renewal(table, slice)));
                let Some((table, result)) = running.next().await else { break };
                match result {
                    Ok(Renewed::Nothing) => {}
                    Ok(Renewed::Some) => any = true,
                    Ok(Renewed::Part) => over = true,
                    Err(error) => {
                        self.ended(table, Err(error), errors);
                        self.goes_on(cycle, errors)?;
                    }
                }
            }
            if over {
                return Ok(false);
            }
            if !any {
                break;
            }
        }
        Ok(true)
    }

    /// Fetches the details that are not here of these tables, and takes those from them that are done; whether all are. Not
    /// for longer than the slice: then the lists want looking after.
    async fn all_details(
        &self,
        tables: &mut Tables,
        cycle: Cycle<'_>,
        slice: Slice,
        errors: &mut Errors,
    ) -> Result<bool, Over> {
        // Those without any are done at once.
        tables.sort_by_key(|table| table.has_details());
        while let Some(table) = tables.first().copied() {
            let done = match self.details(table, matches!(cycle, Cycle::Now(_)), slice).await {
                Ok(false) => return Ok(false),
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            tables.remove(0);
            self.ended(table, done, errors);
            self.goes_on(cycle, errors)?;
        }
        Ok(true)
    }

    /// Fetches the details of a table that are not here; whether all of them were.
    async fn details(
        &self,
        table: &'static EndpointTables,
        forced: bool,
        slice: Slice,
    ) -> Result<bool, SyncError> {
        let shown = self.mirror.states().spec().has_details(table.endpoint.name);
        if shown && self.settings.load().mirror.keeps_details(table.endpoint) {
            // What changed after all were here is fetched as far as it may be; a question that lacks one has it fetched.
            let purpose = match self.had_details(table).await? {
                _ if forced => Purpose::Person,
                true => Purpose::Follow,
                false => Purpose::Fill,
            };
            if !asking_for(purpose, self.fill_details(table, forced, slice)).await? {
                return Ok(false);
            }
            if purpose != Purpose::Follow {
                self.note_details(table, true).await?;
            }
        }
        self.settle_unreadable(table).await?;
        self.ask_nulls(table).await?;
        self.ask_strange(table).await?;
        Ok(true)
    }

    /// After lists that were begun then, details have as much time as is left until the lists are to be looked after again, and
    /// no less than the lists have taken.
    fn slice(&self, begun: Millis) -> Slice {
        let now = self.clock().now();
        let every = self.settings.load().mirror.interval.millis();
        let took = now.saturating_sub(begun).max(0);
        Slice { since: now, length: every.saturating_sub(took).max(took) }
    }

    /// Whether details have had their time; a clock that was set back ends it too.
    pub(super) fn is_over(&self, slice: Slice) -> bool {
        let since = self.clock().now().saturating_sub(slice.since);
        let least = Millis::try_from(LEAST.as_millis()).unwrap_or(Millis::MAX);
        !(0..=slice.length).contains(&since) || (self.wanted.load(Ordering::Relaxed) && since >= least)
    }

    /// A cycle of no one's asking ends where Alyx has gone away: the next one begins when it is back. One failure tells of
    /// it; a warning for each table would bury all others.
    fn goes_on(&self, cycle: Cycle<'_>, errors: &Errors) -> Result<(), Over> {
        let is_told = matches!(cycle, Cycle::Due) && self.is_told(errors);
        if is_told || self.is_refused() { Err(Over) } else { Ok(()) }
    }
}
