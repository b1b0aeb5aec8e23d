//! Fetches again what is due because other records have changed (see [`due`]), batch by batch: what is done is done,
//! whatever becomes of the rest.

use super::{
    SyncError, Synchroniser,
    apply::{self, DetailUpdate},
    cycle::Slice,
    source,
};
use crate::{
    clock,
    mirror::{
        generation::{self, TableScope},
        refetch::{self, RefetchQueue},
        schema::EndpointTables,
    },
};

/// Records that are asked for by their ids at once: their URL stays within 4 KiB.
const IDS: usize = 50;
/// Records that are fetched again one by one, at the most; of more the list is read as a whole, if it is not much longer.
const MANY: u64 = 1000;
/// A page of the whole list has so many times as many records as one by their ids.
const PAGES: u64 = 18;

/// What became of what was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewed {
    /// Nothing was.
    Nothing,
    /// It was fetched.
    Some,
    /// As much of it as there was time for.
    Part,
}

impl Synchroniser {
    /// Fetches again what is due, for no longer than the slice.
    pub(super) async fn renew(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        slice: Option<Slice>,
    ) -> Result<Renewed, SyncError> {
        let endpoint = table.endpoint.name;
        let (any, lists, rows) = self
            .mirror
            .read(move |connection, states| {
                // A table that could not be filled has nothing that could be out of date.
                let Some(state) = states.of(endpoint) else { return Ok((false, 0, 0)) };
                let any = !refetch::first(connection, table, i64::MIN, 1)?.is_empty();
                Ok((any, refetch::lists(connection, endpoint)?.unsigned_abs(), state.rows))
            })
            .await?;
        if !any {
            return Ok(Renewed::Nothing);
        }
        let long = lists > MANY && lists * PAGES > rows;
        if lists > 0 && (long || !source::by_ranges(table)) {
            let asked = self.clock().stamp();
            let turn = self.catch_ups.turn(endpoint).await;
            self.relist(table, scope).await?;
            drop(turn);
            self.mirror
                .write(move |connection| {
                    refetch::settle_lists(connection, table, asked)?;
                    Ok(generation::bump(connection)?)
                })
                .await?;
        }
        let mut last = i64::MIN;
        loop {
            let asked = self.clock().stamp();
            // What may not be asked now is left due: a page of the list, and a detail each.
            let room = self.budget.reserve_for_now(IDS as u64 + 1).filter(|room| room.requests > 1);
            let Some(room) = room else { return Ok(Renewed::Some) };
            let limit = i64::try_from(room.requests - 1).unwrap_or(i64::MAX);
            let batch =
                self.mirror.read(move |connection, _| refetch::first(connection, table, last, limit)).await?;
            let Some(end) = batch.last() else { return Ok(Renewed::Some) };
            last = end.n;
            self.renew_some(table, scope, batch, asked).await?;
            if slice.is_some_and(|slice| self.is_over(slice)) {
                return Ok(Renewed::Part);
            }
        }
    }

    async fn renew_some(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        batch: Vec<RefetchQueue>,
        asked: clock::Millis,
    ) -> Result<(), SyncError> {
        let of_list = batch.iter().filter(|due| due.list);
        let ids: Vec<String> = of_list
            .filter_map(|due| source::identity(table, &due.text))
            .map(|id| format!("'{id}'"))
            .collect();
        let mut fresh = Vec::new();
        if !ids.is_empty() && source::by_ranges(table) {
            let parameters = source::with_django(scope, &format!("id__in,[{}]", ids.join(",")));
            fresh = self.source.page(table.endpoint, &parameters, source::PAGE, 0).await?.records;
        }
        let details = if !table.has_details() {
            Vec::new()
        } else if self.settings.load().mirror.keeps_details(table.endpoint) {
            // A detail is asked for by a name that may just have changed.
            let now = |due: &RefetchQueue| {
                let id = source::identity(table, &due.text);
                let fresh = fresh.iter().find(|list| source::identity(table, list) == id);
                (due.n, fresh.cloned().unwrap_or_else(|| due.text.clone()))
            };
            self.fetch_details(table, batch.iter().map(now).collect()).await?
        } else {
            batch.iter().map(|due| (due.n, due.text.clone(), DetailUpdate::Lost)).collect()
        };
        self.mirror
            .write(move |connection| {
                for list in &fresh {
                    apply::put(connection, table, None, list, &DetailUpdate::Stays, asked)?;
                }
                for (n, list, detail) in &details {
                    apply::detail(connection, table, *n, list, detail, asked)?;
                }
                for due in &batch {
                    refetch::settle(connection, table.endpoint.name, due.n, asked)?;
                }
                Ok(generation::recount(connection, table)?)
            })
            .await?;
        Ok(())
    }
}
