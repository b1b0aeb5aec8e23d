//! Asks what the JSON columns that records show as null hold ([`json_nulls`]): once for a table that was read as a whole, and again
//! where records that show null have changed since.

use super::{
    SyncError, Synchroniser,
    budget::{Purpose, asking_for},
};
use crate::{
    clock::Millis,
    mirror::{generation, json_nulls, schema::EndpointTables, state::TableState},
};

/// A table is looked at no sooner again: all of it.
const SELDOM: Millis = 6 * 3_600_000;

impl Synchroniser {
    /// Asks what is not known of a table; two small questions for each of its columns. What Alyx does not answer stays unknown.
    pub(super) async fn ask_nulls(&self, table: &'static EndpointTables) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let states = self.mirror.states();
        let whole = states.of(endpoint).filter(|state| state.scope.is_empty());
        let Some(state) = whole.filter(|_| json_nulls::may_show(table)) else { return Ok(()) };
        let (now, details) = (self.clock().now(), state.details);
        let look = move |connection: &rusqlite::Connection, _: &_| {
            let asked_at = json_nulls::asked_at(connection, endpoint)?;
            if asked_at.is_some_and(|(at, changed)| !changed || (0..SELDOM).contains(&(now - at))) {
                return Ok(None);
            }
            Ok(Some((asked_at, json_nulls::shown(connection, table, details)?)))
        };
        let Some((asked_at, mut shown)) = self.mirror.read(look).await? else { return Ok(()) };
        shown.retain(|(column, _)| json_nulls::of(&state.ambiguous, column).is_none());
        // A table is not whole before it was asked about.
        let purpose = if asked_at.is_none() { Purpose::Fill } else { Purpose::current() };
        let Some(_room) = self.budget.reserve(purpose, 2 * shown.len() as u64) else { return Ok(()) };
        let settled = asking_for(purpose, self.ask_columns(table, state, shown)).await?;
        let note = move |connection: &rusqlite::Connection| {
            Ok(json_nulls::note_asked(connection, endpoint, now, settled)?)
        };
        Ok(self.mirror.write(note).await?)
    }

    /// Whether all was told that Alyx can tell: not where it could not be asked, or has other records than are here.
    async fn ask_columns(
        &self,
        table: &'static EndpointTables,
        state: &TableState,
        shown: Vec<(String, u64)>,
    ) -> Result<bool, SyncError> {
        let (rows, details) = (state.rows, state.details);
        let mut settled = true;
        for (column, shown) in shown {
            let asked = |empty| vec![("django".to_owned(), format!("{column}__isnull,{empty}"))];
            let counts = async {
                let empty = self.source.count(table.endpoint, &asked("True")).await?;
                Ok((empty, self.source.count(table.endpoint, &asked("False")).await?))
            };
            let (empty, full) = match counts.await {
                Ok(counts) => counts,
                // It does not know such a question.
                Err(SyncError::Strange(..)) => continue,
                Err(_) => return Ok(false),
            };
            settled &= empty + full == rows;
            let Some(nulls) = json_nulls::told(shown, rows, empty, full) else { continue };
            let keep = move |connection: &rusqlite::Connection| {
                // It holds of the records that were asked about.
                if json_nulls::shown(connection, table, details)?.contains(&(column.clone(), shown)) {
                    json_nulls::keep(connection, table.endpoint.name, &column, nulls)?;
                    generation::recount(connection, table)?;
                }
                Ok(())
            };
            self.mirror.write(keep).await?;
        }
        Ok(settled)
    }
}
