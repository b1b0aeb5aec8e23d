//! Puts what has changed into a table that is read, and notes which other records show it.

use rusqlite::{Connection, OptionalExtension};

use crate::{
    alyx::{
        changes::{Shown, Way, shown},
        record,
    },
    mirror::{
        database::MirrorError,
        generation,
        load::{self, Record},
        shape::{Shape, Table},
        sum,
    },
};

/// A record as it is here; an error of a damaged file where a text is not the one that was stored: put back with a
/// checksum of its own it would be given for Alyx's word.
pub(super) fn body(
    connection: &Connection,
    table: &Table,
    n: i64,
) -> rusqlite::Result<Option<(String, Option<String>)>> {
    let sql = format!("SELECT {} FROM \"{}__body\" WHERE n = ?1", sum::TEXTS, table.name);
    let checked = connection.prepare_cached(&sql)?.query_row([n], sum::texts).optional()?;
    Ok(checked.map(|(_, list, detail)| (list, detail)))
}

/// The number of the record of this identity.
pub(super) fn number(connection: &Connection, table: &Table, id: &str) -> rusqlite::Result<Option<i64>> {
    let Some(column) = table.column("id") else { return Ok(None) };
    let id = if let Ok(number) = id.parse::<i64>() { number.into() } else { id.into() };
    let Some(id) = load::store(column.kind, &id) else { return Ok(None) };
    let sql = format!("SELECT n FROM \"{}\" WHERE id = ?1", table.name);
    connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()
}

/// Puts a record of the list in its place, or a new one at the end; whether that changed anything. Its
/// detail stays, unless another one is given.
pub(super) fn put(
    connection: &Connection,
    table: &Table,
    n: Option<i64>,
    list: &str,
    detail: Option<&str>,
) -> Result<bool, MirrorError> {
    let before = match n {
        Some(n) => body(connection, table, n)?,
        None => None,
    };
    let n = match n {
        Some(n) => n,
        None => last(connection, table)? + 1,
    };
    let (old_list, old_detail) = before.map_or((None, None), |(list, detail)| (Some(list), detail));
    let same_list = old_list.as_deref() == Some(list);
    if same_list && (detail.is_none() || detail == old_detail.as_deref()) {
        return Ok(false);
    }
    let touched: Vec<Shown> =
        if same_list { Vec::new() } else { touched(table, old_list.as_deref(), Some(list)) };
    mark(connection, table, n, &touched)?;
    load::put(connection, table, "", n, Record { list, detail: detail.or(old_detail.as_deref()) })?;
    mark(connection, table, n, &touched)?;
    Ok(true)
}

/// Puts a detail to its record; without one nothing changes.
pub(super) fn detail(
    connection: &Connection,
    table: &Table,
    n: i64,
    detail: Option<&str>,
) -> Result<bool, MirrorError> {
    let Some((list, _)) = body(connection, table, n)? else { return Ok(false) };
    if detail.is_none() { Ok(false) } else { put(connection, table, Some(n), &list, detail) }
}

/// Takes a record out.
pub(super) fn remove(connection: &Connection, table: &Table, n: i64) -> Result<(), MirrorError> {
    let before = body(connection, table, n)?.map(|(list, _)| list);
    mark(connection, table, n, &touched(table, before.as_deref(), None))?;
    load::remove(connection, table, "", n)?;
    connection.execute("DELETE FROM due WHERE endpoint = ?1 AND n = ?2", (table.endpoint.name, n))?;
    Ok(())
}

pub(super) fn last(connection: &Connection, table: &Table) -> rusqlite::Result<i64> {
    let sql = format!("SELECT coalesce(max(n), 0) FROM \"{}\"", table.name);
    connection.query_row(&sql, [], |row| row.get(0))
}

/// Who shows what is different between two texts of a record.
fn touched(table: &Table, before: Option<&str>, after: Option<&str>) -> Vec<Shown> {
    let field = |text: Option<&str>, name: &str| {
        record::fields(text.unwrap_or("{}")).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    shown(table.endpoint.name)
        .into_iter()
        .filter(|shown| {
            shown.fields.is_empty()
                || shown.fields.iter().any(|name| field(before, name) != field(after, name))
        })
        .collect()
}

/// Notes that the records which show this one must be fetched again.
fn mark(connection: &Connection, table: &Table, n: i64, touched: &[Shown]) -> rusqlite::Result<()> {
    for shown in touched {
        let Some(by) = Shape::get().table(shown.by) else { continue };
        if generation::state(connection, shown.by)?.is_none() || (shown.detail && !by.has_details()) {
            continue;
        }
        let (from, on) = match shown.way {
            Way::Named { column, key } if table.column(column).is_some() => {
                (by.name.clone(), format!("b.\"{key}\" = o.\"{column}\""))
            }
            Way::Over { column, third, names } if table.column(column).is_some() => {
                let Some(third) = Shape::get().table(third) else { continue };
                if generation::state(connection, third.endpoint.name)?.is_none() {
                    continue;
                }
                let third = &third.name;
                let on =
                    format!("b.id = (SELECT t.\"{names}\" FROM \"{third}\" t WHERE t.id = o.\"{column}\")");
                (by.name.clone(), on)
            }
            Way::Holding { relation, key } if table.column(key).is_some() => match by.many(relation) {
                Some(many) => (many.table.clone(), format!("b.key = o.\"{key}\"")),
                None if by.column(relation).is_some() => {
                    (by.name.clone(), format!("b.\"{relation}\" = o.\"{key}\""))
                }
                None => continue,
            },
            _ => continue,
        };
        let sql = format!(
            "INSERT INTO due SELECT DISTINCT ?2, b.n, ?3 FROM \"{}\" o JOIN \"{from}\" b ON {on} WHERE o.n = ?1
             ON CONFLICT DO UPDATE SET list = max(list, excluded.list)",
            table.name
        );
        connection.prepare_cached(&sql)?.execute((n, shown.by, !shown.detail))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str =
        r#"{"id":"07813450-f550-4862-ac5c-8eb5e0a962f3","name":"t","protected":false,"public":false}"#;

    #[test]
    fn a_text_that_a_disk_got_wrong_gets_no_new_checksum() {
        let connection = Connection::open_in_memory().unwrap();
        let table = Shape::get().table("tags").unwrap();
        connection.execute_batch(&table.create("")).unwrap();
        let right = Record { list: TAG, detail: Some(TAG) };
        for column in ["list", "detail"] {
            load::put(&connection, table, "", 1, right).unwrap();
            assert_eq!(body(&connection, table, 1).unwrap().unwrap(), (TAG.to_owned(), Some(TAG.to_owned())));
            let wrong = format!("UPDATE tags__body SET {column} = replace({column}, '\"t\"', '\"u\"')");
            connection.execute(&wrong, []).unwrap();
            let newer = TAG.replace("false}", "true}");
            for result in [
                detail(&connection, table, 1, Some(&newer)).map(drop),
                put(&connection, table, Some(1), &newer, None).map(drop),
                remove(&connection, table, 1),
            ] {
                assert!(result.unwrap_err().is_damage(), "{column}");
            }
        }
    }
}
