//! Tags of datasets that were set without the dataset's change time (ALYX.md 6.2): told by how many datasets have each tag.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::{SyncError, Synchroniser, apply, source};
use crate::{
    alyx::endpoint::DATASETS,
    mirror::{
        generation, refetch,
        schema::{EndpointTables, Schema},
    },
};

impl Synchroniser {
    /// Requests that follow when a table of so many rows is read as a whole.
    pub(super) fn counted_beside(&self, table: &EndpointTables, rows: u64) -> u64 {
        let compared = table.endpoint.name == "tags" && self.mirror.states().of(DATASETS).is_some();
        if compared { rows } else { 0 }
    }

    /// Makes those datasets due that have a tag there and not here, or here and not there.
    pub(super) async fn compare_tags(&self) -> Result<(), SyncError> {
        let (Some(table), Some(tags)) = (Schema::get().table(DATASETS), Schema::get().table("tags")) else {
            return Ok(());
        };
        if self.mirror.states().of(DATASETS).is_none() {
            return Ok(());
        }
        let counts = self.mirror.read(move |connection, _| counts(connection, table, tags)).await?;
        for (tag, here) in counts {
            let mut parameters = self.scope(table);
            parameters.push(("tag".to_owned(), tag.clone()));
            let there = self.source.count(table.endpoint, &parameters).await?;
            if there == here {
                continue;
            }
            // What is listed by a tag counts the flags of that tag alone: only which datasets these are is of use.
            let mut found = Vec::new();
            for range in source::split(there) {
                found.extend(self.source.range(table, &parameters, "", range).await?.records);
            }
            self.mirror
                .write(move |connection| {
                    differ(connection, table, &tag, &found)?;
                    Ok(generation::bump(connection)?)
                })
                .await?;
        }
        Ok(())
    }
}

/// How many datasets here have each tag.
fn counts(
    connection: &Connection,
    table: &EndpointTables,
    tags: &EndpointTables,
) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut names = connection.prepare(&format!("SELECT name FROM \"{}\"", tags.name))?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let Some(many) = table.many("tags") else { return Ok(Vec::new()) };
    let sql = format!("SELECT key, count(*) FROM \"{}\" GROUP BY key", many.table);
    let mut counted = connection.prepare(&sql)?;
    let counted = counted.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    let counted: HashMap<String, u64> = counted.collect::<Result<_, _>>()?;
    let count = |name: &String| counted.get(name).copied().unwrap_or(0);
    Ok(names.into_iter().map(|name| (name.clone(), count(&name))).collect())
}

/// Makes due what has the tag in one of both only.
fn differ(
    connection: &Connection,
    table: &EndpointTables,
    tag: &str,
    found: &[String],
) -> rusqlite::Result<()> {
    let Some(many) = table.many("tags") else { return Ok(()) };
    let Some(state) = generation::state(connection, table.endpoint.name)? else { return Ok(()) };
    let mut here = connection.prepare(&format!("SELECT n FROM \"{}\" WHERE key = ?1", many.table))?;
    let here: HashSet<i64> = here.query_map([tag], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut there = HashSet::new();
    for list in found {
        there.extend(apply::place(connection, table, list)?);
    }
    for n in here.symmetric_difference(&there) {
        refetch::add(connection, table.endpoint.name, *n, state.synced_at)?;
    }
    Ok(())
}
