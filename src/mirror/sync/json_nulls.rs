//! Asks what the JSON columns that records show as null hold ([`json_nulls`]): once for a table that was read as a whole, and again
//! where records that show null have changed since.

use std::sync::PoisonError;

use super::{SyncError, Synchroniser};
use crate::{
    clock::Millis,
    mirror::{generation, json_nulls, schema::EndpointTables},
};

/// A table is looked at no sooner again: all of it.
const SELDOM: Millis = 6 * 3_600_000;

impl Synchroniser {
    /// Asks what is not known of a table; two small questions for each of its columns. What Alyx does not answer stays unknown.
    pub(super) async fn ask_nulls(&self, table: &'static EndpointTables) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let states = self.mirror.states();
        let Some(state) = states.of(endpoint).filter(|state| state.scope.is_empty()) else { return Ok(()) };
        let now = self.clock().now();
        {
            let mut asked = self.asked_nulls.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.get(endpoint).is_some_and(|at| (0..SELDOM).contains(&(now - at))) {
                return Ok(());
            }
            if self.budget.room() < 2 {
                return Ok(());
            }
            asked.insert(endpoint, now);
        }
        let (rows, details) = (state.rows, state.details);
        let shown =
            self.mirror.read(move |connection, _| json_nulls::shown(connection, table, details)).await?;
        for (column, shown) in shown {
            if json_nulls::of(&state.ambiguous, &column).is_some() {
                continue;
            }
            let asked = |empty| vec![("django".to_owned(), format!("{column}__isnull,{empty}"))];
            let Ok(empty) = self.source.count(table.endpoint, &asked("True")).await else { continue };
            let Ok(full) = self.source.count(table.endpoint, &asked("False")).await else { continue };
            let Some(nulls) = json_nulls::told(shown, rows, empty, full) else { continue };
            let keep = move |connection: &rusqlite::Connection| {
                // It holds of the records that were asked about.
                if json_nulls::shown(connection, table, details)?.contains(&(column.clone(), shown)) {
                    json_nulls::keep(connection, endpoint, &column, nulls)?;
                    generation::recount(connection, table)?;
                }
                Ok(())
            };
            self.mirror.write(keep).await?;
        }
        Ok(())
    }
}
