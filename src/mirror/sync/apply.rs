//! Puts what has changed into a table that is read, and makes due what shows it.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use super::{own_write, source};
use crate::{
    alyx::{derived::RecordChange, record},
    clock::Millis,
    mirror::{
        checksum,
        database::MirrorError,
        described, follow,
        ingest::{self, DETAIL_UNAVAILABLE, IncomingRecord},
        json_nulls, refetch,
        schema::EndpointTables,
        unreadable,
    },
};

/// What becomes of a record's detail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DetailUpdate {
    /// It stays, be it here or not: it was not asked for.
    Stays,
    /// Alyx gave none: the one that is here may be out of date.
    Lost,
    /// The same, for this reason, while it gave others.
    Unreadable(String),
    /// This is it.
    Is(String),
}

/// A record as it is here; an error of a damaged file where a text is not the one that was stored: put back with a
/// checksum of its own it would be given for Alyx's word.
pub(super) fn body(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
) -> rusqlite::Result<Option<(String, Option<String>)>> {
    let sql = format!("SELECT {} FROM \"{}__body\" WHERE n = ?1", checksum::TEXTS, table.name);
    let checked = connection.prepare_cached(&sql)?.query_row([n], checksum::texts).optional()?;
    Ok(checked.map(|(_, list, detail)| (list, detail)))
}

/// The number of the record of this identity.
fn number(connection: &Connection, table: &EndpointTables, id: &str) -> rusqlite::Result<Option<i64>> {
    let Some(column) = table.column("id") else { return Ok(None) };
    let id = if let Ok(number) = id.parse::<i64>() { number.into() } else { id.into() };
    let Some(id) = ingest::store(column.kind, &id) else { return Ok(None) };
    let sql = format!("SELECT n FROM \"{}\" WHERE id = ?1", table.name);
    connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()
}

/// The number under which this record stands, by its identity; none where it is new, or shows no id.
pub(super) fn place(
    connection: &Connection,
    table: &EndpointTables,
    list: &str,
) -> rusqlite::Result<Option<i64>> {
    source::identity(table, list).map_or(Ok(None), |id| number(connection, table, &id))
}

/// Puts a record of the list in its place, or a new one at the end; whether that changed anything. Its place is looked
/// for in the same transaction: who asked Alyx for it asked long ago, at this stamp, and another may have put it there since,
/// or it was written through the proxy. `known` is the place of a record that shows no id.
pub(super) fn put(
    connection: &Connection,
    table: &EndpointTables,
    known: Option<i64>,
    list: &str,
    detail: &DetailUpdate,
    asked: Millis,
) -> Result<bool, MirrorError> {
    if own_write::is_newer(connection, table, list, asked)? {
        return Ok(false);
    }
    // What it shows of others is from before they changed, and the record here has followed them: it is asked for again.
    if let Some(n) = place(connection, table, list)?.or(known)
        && follow::has_followed(connection, table.endpoint.name, n, asked)?
    {
        let here = body(connection, table, n)?;
        let is_same = here.as_ref().is_some_and(|(own, own_detail)| {
            own == list && !matches!(detail, DetailUpdate::Is(text) if own_detail.as_ref() != Some(text))
        });
        if here.is_some() && !is_same {
            refetch::add(connection, table.endpoint.name, n, asked)?;
            return Ok(false);
        }
    }
    put_anyway(connection, table, known, list, detail)
}

/// The same whatever was written through the proxy.
pub(super) fn put_anyway(
    connection: &Connection,
    table: &EndpointTables,
    known: Option<i64>,
    list: &str,
    detail: &DetailUpdate,
) -> Result<bool, MirrorError> {
    let n = if source::identity(table, list).is_some() { place(connection, table, list)? } else { known };
    let before = match n {
        Some(n) => body(connection, table, n)?,
        None => None,
    };
    let n = match n {
        Some(n) => n,
        None => last(connection, table)? + 1,
    };
    if let DetailUpdate::Unreadable(why) = detail {
        let path = unreadable::name_of(table.endpoint, list);
        unreadable::note(connection, table.endpoint.name, &path, why, false)?;
    }
    let (old_list, old_detail) = before.map_or((None, None), |(list, detail)| (Some(list), detail));
    let detail = match detail {
        DetailUpdate::Stays => old_detail.as_deref(),
        DetailUpdate::Lost | DetailUpdate::Unreadable(_) => None,
        DetailUpdate::Is(text) => Some(text.as_str()),
    };
    if let Some(text) = detail
        && let Err(error) = ingest::check(table, IncomingRecord { list, detail: Some(text) })
        && ingest::check(table, IncomingRecord { list, detail: None }).is_ok()
    {
        let why = DetailUpdate::Unreadable(format!("its detail does not fit: {error}"));
        return put_anyway(connection, table, known, list, &why);
    }
    if let Err(error) = ingest::check(table, IncomingRecord { list, detail }) {
        if old_list.is_some() {
            remove_anyway(connection, table, n)?;
        }
        leave_out(connection, table, list, error)?;
        return Ok(true);
    }
    let was_read = detail.is_some();
    let same_list = old_list.as_deref() == Some(list);
    if same_list && detail == old_detail.as_deref() {
        return Ok(false);
    }
    put_down(connection, table, n, old_list.as_deref(), IncomingRecord { list, detail })?;
    forget_fault(connection, table, list, was_read)?;
    if has_another_form(old_list.as_deref(), list)
        || detail.is_some_and(|detail| has_another_form(old_detail.as_deref(), detail))
    {
        described::form_changed(connection, table.endpoint.name)?;
    }
    Ok(true)
}

/// Puts a record down under this number, and carries what is another in it to those who show it.
fn put_down(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    before: Option<&str>,
    record: IncomingRecord<'_>,
) -> Result<(), MirrorError> {
    let list = record.list;
    let mut touched =
        if before == Some(list) { Vec::new() } else { refetch::touched(table, before, Some(list)) };
    let change = before.map(|before| RecordChange { before: before.to_owned(), after: list.to_owned() });
    let followers = match &change {
        Some(change) => follow::followers(connection, table, n, change, &mut touched)?,
        None => Vec::new(),
    };
    refetch::mark(connection, table, n, &touched)?;
    ingest::put(connection, table, "", n, record)?;
    json_nulls::forget_of(connection, table, n)?;
    refetch::mark(connection, table, n, &touched)?;
    match change {
        Some(change) => follow::carry(connection, table, &change, followers),
        None => Ok(()),
    }
}

/// Whether a record has other fields than it had: Alyx itself has changed then, and writes every record so.
fn has_another_form(before: Option<&str>, now: &str) -> bool {
    let form = |text| record::fields(text).map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>();
    before
        .filter(|before| ![*before, now].contains(&DETAIL_UNAVAILABLE))
        .is_some_and(|before| form(before) != form(now))
}

/// A record stands here now, and its detail too where that `was_read`: what was noted of it holds no more.
fn forget_fault(
    connection: &Connection,
    table: &EndpointTables,
    list: &str,
    was_read: bool,
) -> rusqlite::Result<()> {
    let (endpoint, path) = (table.endpoint.name, unreadable::name_of(table.endpoint, list));
    match unreadable::find(connection, endpoint, &path)? {
        Some(noted) if noted.list || was_read => unreadable::clear(connection, endpoint, &path),
        _ => Ok(()),
    }
}

/// Notes a record whose text in the list does not fit its table: it is not kept. An error where there are many of them, as
/// then it is not the records that are wrong.
pub(super) fn leave_out(
    connection: &Connection,
    table: &EndpointTables,
    list: &str,
    error: ingest::LoadError,
) -> Result<(), MirrorError> {
    const MOST: usize = 50;
    let endpoint = table.endpoint.name;
    if unreadable::of(connection, endpoint)?.lists >= MOST {
        return Err(error.into());
    }
    let path = unreadable::name_of(table.endpoint, list);
    Ok(unreadable::note(connection, endpoint, &path, &error.to_string(), true)?)
}

/// Puts a record down once more as its texts say: what the table says of it may be something else.
pub(super) fn anew(connection: &Connection, table: &EndpointTables, n: i64) -> Result<(), MirrorError> {
    if let Some((list, detail)) = body(connection, table, n)? {
        ingest::put(connection, table, "", n, IncomingRecord { list: &list, detail: detail.as_deref() })?;
    }
    Ok(())
}

/// Puts a detail to the record that `list` was the text of when the detail was asked for, at this stamp.
pub(super) fn detail(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    list: &str,
    detail: &DetailUpdate,
    asked: Millis,
) -> Result<bool, MirrorError> {
    // Another record may have been given its number.
    let Some((now, _)) = body(connection, table, n)? else { return Ok(false) };
    if source::identity(table, &now) != source::identity(table, list) {
        return Ok(false);
    }
    refetch::settle_detail(connection, table.endpoint.name, n, asked)?;
    put(connection, table, Some(n), &now, detail, asked)
}

/// Takes a record out that was not among those that were asked for at this stamp; not if it was written through the proxy
/// since.
pub(super) fn remove(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    asked: Millis,
) -> Result<(), MirrorError> {
    if let Some((list, _)) = body(connection, table, n)?
        && own_write::is_newer(connection, table, &list, asked)?
    {
        return Ok(());
    }
    remove_anyway(connection, table, n)
}

/// Takes a record out.
pub(super) fn remove_anyway(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
) -> Result<(), MirrorError> {
    let before = body(connection, table, n)?.map(|(list, _)| list);
    if before.is_some() {
        refetch::mark(connection, table, n, &refetch::touched(table, before.as_deref(), None))?;
    }
    ingest::remove(connection, table, "", n)?;
    connection.execute("DELETE FROM due WHERE endpoint = ?1 AND n = ?2", (table.endpoint.name, n))?;
    Ok(())
}

pub(super) fn last(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<i64> {
    let sql = format!("SELECT coalesce(max(n), 0) FROM \"{}\"", table.name);
    connection.query_row(&sql, [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::schema::Schema;

    const TAG: &str =
        r#"{"id":"07813450-f550-4862-ac5c-8eb5e0a962f3","name":"t","protected":false,"public":false}"#;

    #[test]
    fn a_text_that_a_disk_got_wrong_gets_no_new_checksum() {
        let connection = Connection::open_in_memory().unwrap();
        let table = Schema::get().table("tags").unwrap();
        connection.execute_batch(&table.create("")).unwrap();
        crate::mirror::create_tables(&connection).unwrap();
        let right = IncomingRecord { list: TAG, detail: Some(TAG) };
        for column in ["list", "detail"] {
            ingest::put(&connection, table, "", 1, right).unwrap();
            assert_eq!(body(&connection, table, 1).unwrap().unwrap(), (TAG.to_owned(), Some(TAG.to_owned())));
            let wrong = format!("UPDATE tags__body SET {column} = replace({column}, '\"t\"', '\"u\"')");
            connection.execute(&wrong, []).unwrap();
            let newer = TAG.replace("false}", "true}");
            for result in [
                detail(&connection, table, 1, TAG, &DetailUpdate::Is(newer.clone()), 0).map(drop),
                put(&connection, table, None, &newer, &DetailUpdate::Stays, 0).map(drop),
                remove(&connection, table, 1, 0),
            ] {
                assert!(result.unwrap_err().is_corruption(), "{column}");
            }
        }
    }
}
