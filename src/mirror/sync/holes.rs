//! Pages of lists that fail because of one record: it is looked for by halving the range of keys, and costs itself alone.
//!
//! A list's count is asked for beyond its end, where no record is shown, so that it says how many records a range has
//! whatever becomes of them. Where more than a few can't be listed, or the count can't be had either, it is not the records
//! that are at fault.

use rusqlite::{Connection, OptionalExtension};

use super::{
    SyncError, Synchroniser, apply,
    source::{AlyxSource, ListPage, Range},
};
use crate::{
    alyx::Endpoint,
    mirror::{database::MirrorError, schema::EndpointTables, unreadable},
    upstream::{AccountError, UpstreamError},
};

/// Records of one range that can't be listed; more are not the records' own fault.
pub(super) const MOST: usize = 3;
/// An offset beyond the end of any list.
const BEYOND: usize = 1 << 30;

/// A range in which one record is that can't be listed, and why.
pub(super) type Hole = (Range, String);

/// What a range of keys has.
#[derive(Debug, Default)]
pub(super) struct Ranged {
    pub(super) records: Vec<String>,
    pub(super) holes: Vec<Hole>,
}

impl SyncError {
    /// Why a page failed, where that may be the fault of a record on it. To look for one in silence would take hours.
    pub(super) fn of_one_record(&self) -> Option<String> {
        match self {
            Self::Strange(_, status) => {
                Some(format!("Alyx answered with status {status} to a list that has it"))
            }
            Self::Account(AccountError::Failure(failure))
                if failure.may_be_of_one_answer() && *failure != UpstreamError::Timeout =>
            {
                Some(format!("{failure}, to a list that has it"))
            }
            _ => None,
        }
    }
}

impl AlyxSource {
    /// How many records a list has, without any of them.
    pub(super) async fn count_beyond(
        &self,
        endpoint: &'static Endpoint,
        parameters: &[(String, String)],
    ) -> Result<u64, SyncError> {
        Ok(self.page(endpoint, parameters, 1, BEYOND).await?.count)
    }

    /// Whether another record can be listed; where there is no other, that counts as yes.
    pub(super) async fn lists_another(
        &self,
        table: &EndpointTables,
        parameters: &[(String, String)],
    ) -> bool {
        for offset in 0..=MOST {
            match self.page(table.endpoint, parameters, 1, offset).await {
                Ok(page) if !page.records.is_empty() || page.count <= 1 => return true,
                _ => {}
            }
        }
        self.count_beyond(table.endpoint, parameters).await.is_ok_and(|count| count == 1)
    }

    /// The first page of a list; with its count alone where a record on it may be at fault.
    pub(super) async fn first_page(
        &self,
        table: &EndpointTables,
        parameters: &[(String, String)],
    ) -> Result<ListPage, SyncError> {
        match self.page(table.endpoint, parameters, super::source::PAGE, 0).await {
            Err(error) if super::source::by_ranges(table) && error.of_one_record().is_some() => {
                match self.count_beyond(table.endpoint, parameters).await {
                    Ok(count @ 1..) => Ok(ListPage { count, records: Vec::new() }),
                    _ => Err(error),
                }
            }
            page => page,
        }
    }
}

impl Synchroniser {
    /// Takes out the records that can't be listed, and notes them.
    pub(super) async fn leave_holes(
        &self,
        table: &'static EndpointTables,
        holes: Vec<Hole>,
    ) -> Result<(), SyncError> {
        if holes.is_empty() {
            return Ok(());
        }
        let write = move |connection: &Connection| {
            note(connection, table, &holes, true)?;
            Ok(crate::mirror::generation::recount(connection, table)?)
        };
        Ok(self.mirror.write(write).await?)
    }
}

/// Notes the records that can't be listed; with `remove` those that are here are taken out.
pub(super) fn note(
    connection: &Connection,
    table: &EndpointTables,
    holes: &[Hole],
    remove: bool,
) -> Result<(), MirrorError> {
    let endpoint = table.endpoint.name;
    let is_here = crate::mirror::generation::state(connection, endpoint)?.is_some();
    for ((first, after), why) in holes {
        let sql = format!(
            "SELECT t.n, b.list FROM \"{0}\" t JOIN \"{0}__body\" b ON b.n = t.n
             WHERE t.id >= ?1 AND (?2 IS NULL OR t.id < ?2) LIMIT 1",
            table.name
        );
        let bounds = (first.to_be_bytes(), after.map(u128::to_be_bytes));
        let here: Option<(i64, String)> = if is_here {
            let mut statement = connection.prepare(&sql)?;
            statement.query_row(bounds, |row| Ok((row.get(0)?, row.get(1)?))).optional()?
        } else {
            None
        };
        let name = match &here {
            Some((_, list)) => unreadable::name_of(table.endpoint, list),
            None => noted(connection, endpoint, (*first, *after))?
                .unwrap_or_else(|| format!("/{endpoint}: a record that can't be listed")),
        };
        if let (Some((n, _)), true) = (here, remove) {
            apply::remove_anyway(connection, table, n)?;
        }
        tracing::warn!(
            record = name,
            why,
            "can't be listed by Alyx, which lists others; it is asked for again"
        );
        unreadable::note(connection, endpoint, &name, why, true)?;
    }
    Ok(())
}

/// The name under which a record with an id in this range is noted already.
fn noted(connection: &Connection, endpoint: &str, (first, after): Range) -> rusqlite::Result<Option<String>> {
    let within = |path: &str| {
        let id = path.rsplit('/').next().and_then(|id| uuid::Uuid::parse_str(id).ok());
        id.is_some_and(|id| id.as_u128() >= first && after.is_none_or(|after| id.as_u128() < after))
    };
    let all = unreadable::all(connection, endpoint)?;
    Ok(all.into_iter().map(|record| record.path).find(|path| within(path)))
}
