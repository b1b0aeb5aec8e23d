//! The values that stand in a column: to choose from, and how many records have each.

use rusqlite::types::Value;

use super::{
    Mirror, MirrorError,
    plan::{self, PlanError, Today},
    schema::Schema,
};
use crate::{
    alyx::{Endpoint, query_string::Pairs},
    store::ReadRequest,
};

/// The values of a column and how many records have each, the most frequent first.
pub(super) type ValueCounts = (&'static str, Vec<(String, u64)>);

impl Mirror {
    /// The different texts of these columns, each of an endpoint, as far as they are here: no more than `most` of each.
    pub async fn values(
        &self,
        request: ReadRequest,
        columns: Vec<(&'static str, &'static str)>,
        most: usize,
    ) -> Result<Vec<Vec<String>>, MirrorError> {
        self.read_within(request, move |connection, states| {
            let mut found = Vec::new();
            for (endpoint, column) in columns {
                let table = Schema::get().table(endpoint).filter(|_| states.of(endpoint).is_some());
                let Some(table) = table.filter(|table| table.columns.iter().any(|known| known.name == column))
                else {
                    found.push(Vec::new());
                    continue;
                };
                let sql = format!(
                    "SELECT DISTINCT \"{column}\" FROM \"{}\" WHERE typeof(\"{column}\") = 'text' ORDER BY 1 LIMIT {most}",
                    table.name
                );
                let mut statement = connection.prepare_cached(&sql)?;
                let values = statement.query_map([], |row| row.get(0))?;
                found.push(values.collect::<Result<_, _>>()?);
            }
            Ok(found)
        })
        .await
    }

    /// How many of the records that a list has share a value in each of these columns; nothing where the tables can't tell.
    pub async fn counts(
        &self,
        request: ReadRequest,
        endpoint: &'static Endpoint,
        pairs: Pairs,
        today: Today,
        columns: Vec<&'static str>,
        most: usize,
    ) -> Result<Vec<ValueCounts>, MirrorError> {
        self.read_within(request, move |connection, states| {
            let plan = match plan::list(connection, states, endpoint, &pairs, today) {
                Ok(plan) => plan,
                Err(PlanError::Sqlite(error)) => return Err(error),
                Err(PlanError::Unanswered(_)) => return Ok(Vec::new()),
            };
            let here = |column: &&str| {
                let table = Schema::get().table(endpoint.name);
                table.is_some_and(|table| table.columns.iter().any(|known| known.name == *column))
            };
            let counted = |column| Ok((column, plan.counts(connection, column, most)?));
            columns.into_iter().filter(here).map(counted).collect()
        })
        .await
    }
}

/// A value as it is shown.
pub(super) fn shown(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text,
        Value::Blob(bytes) => uuid::Uuid::from_slice(&bytes).map(|id| id.to_string()).unwrap_or_default(),
    }
}
