//! Records that are to be fetched again, because a record that they show has changed though nothing in them says so
//! (ALYX.md 6.2).
//!
//! A record that is due is as it was at the last synchronisation of the table whose change made it due (`since`), and so
//! is its table until it is settled ([`super::generation::states`]). Marks have numbers that rise: who has fetched
//! a record takes out the marks that were there before it asked, and no later one.

use rusqlite::Connection;

use super::{
    connection_clock,
    generation::{self, NEXT},
    schema::{EndpointTables, Schema},
};
use crate::{
    alyx::{
        change_tracking::{EmbeddedIn, JoinPath, shown},
        record,
    },
    clock::Millis,
};

/// Differences between two generations of a table that are looked into one by one; where there are more, all that may
/// show them is due.
const MANY: usize = 100_000;

/// A record that is due.
#[derive(Debug, Clone)]
pub(super) struct RefetchQueue {
    /// Its number.
    pub(super) n: i64,
    /// Whether its text in the list is, and not only its detail.
    pub(super) list: bool,
    /// Its text in the list, as it is here.
    pub(super) text: String,
}

/// The first records of a table that are due, after the one of this number.
pub(super) fn first(
    connection: &Connection,
    table: &EndpointTables,
    after: i64,
    limit: i64,
) -> rusqlite::Result<Vec<RefetchQueue>> {
    let sql = format!(
        "SELECT d.n, d.list, b.list FROM due d JOIN \"{}__body\" b ON b.n = d.n
         WHERE d.endpoint = ?1 AND d.n > ?2 ORDER BY d.n LIMIT ?3",
        table.name
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let read =
        |row: &rusqlite::Row<'_>| Ok(RefetchQueue { n: row.get(0)?, list: row.get(1)?, text: row.get(2)? });
    statement.query_map((table.endpoint.name, after, limit), read)?.collect()
}

/// How many records of a table are due in the list.
pub(super) fn lists(connection: &Connection, endpoint: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM due WHERE endpoint = ?1 AND list = 1";
    connection.prepare_cached(sql)?.query_row([endpoint], |row| row.get(0))
}

/// A detail was fetched after it was asked for at this stamp.
pub(super) fn settle_detail(
    connection: &Connection,
    endpoint: &str,
    n: i64,
    asked: Millis,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM due WHERE endpoint = ?1 AND n = ?2 AND mark < ?3 AND list = 0";
    connection.prepare_cached(sql)?.execute((endpoint, n, asked)).map(drop)
}

/// A record was fetched after it was asked for at this stamp.
pub(super) fn settle(connection: &Connection, endpoint: &str, n: i64, asked: Millis) -> rusqlite::Result<()> {
    let sql = "DELETE FROM due WHERE endpoint = ?1 AND n = ?2 AND mark < ?3";
    connection.prepare_cached(sql)?.execute((endpoint, n, asked)).map(drop)
}

/// The whole list was read after it was asked for at this stamp: of what was due only details are left.
pub(super) fn settle_lists(
    connection: &Connection,
    table: &EndpointTables,
    asked: Millis,
) -> rusqlite::Result<()> {
    let endpoint = table.endpoint.name;
    let sql = if table.has_details() {
        "UPDATE due SET list = 0 WHERE endpoint = ?1 AND mark < ?2"
    } else {
        "DELETE FROM due WHERE endpoint = ?1 AND mark < ?2"
    };
    connection.execute(sql, (endpoint, asked)).map(drop)
}

/// Follows records to their new numbers.
pub(super) fn renumber(
    connection: &Connection,
    endpoint: &str,
    to: impl Fn(i64) -> Option<i64>,
) -> rusqlite::Result<()> {
    let mut read = connection.prepare("SELECT n, list, since, mark FROM due WHERE endpoint = ?1")?;
    let rows = read.query_map([endpoint], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let rows: Vec<(i64, bool, Millis, Millis)> = rows.collect::<Result<_, _>>()?;
    connection.execute("DELETE FROM due WHERE endpoint = ?1", [endpoint])?;
    let mut put = connection.prepare("INSERT OR REPLACE INTO due VALUES(?1, ?2, ?3, ?4, ?5)")?;
    for (n, list, since, mark) in rows {
        if let Some(n) = to(n) {
            put.execute((endpoint, n, list, since, mark))?;
        }
    }
    Ok(())
}

/// Makes records due: those that `numbers`, a query with parameters from `?5` on, gives.
const INTO: &str = "INSERT INTO due SELECT DISTINCT ?1, n, ?2, ?3, ?4 FROM (";
const ANEW: &str = ") WHERE true ON CONFLICT DO UPDATE
    SET list = max(list, excluded.list), since = min(since, excluded.since), mark = excluded.mark";

/// Makes one record due in the list.
pub(super) fn add(connection: &Connection, endpoint: &str, n: i64, since: Millis) -> rusqlite::Result<()> {
    let sql = format!("{INTO}SELECT ?5 AS n{ANEW}");
    connection
        .prepare_cached(&sql)?
        .execute((endpoint, true, since, connection_clock::stamp(connection)?, n))
        .map(drop)
}

/// Who shows what is different between two texts of a record; none stands for no record.
pub(super) fn touched(table: &EndpointTables, before: Option<&str>, after: Option<&str>) -> Vec<EmbeddedIn> {
    let field = |text: Option<&str>, name: &str| {
        record::fields(text.unwrap_or("{}")).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let differs = |names: &[&str]| names.iter().any(|name| field(before, name) != field(after, name));
    let is_touched = |shown: &EmbeddedIn| match (before, after) {
        (Some(_), None) => !matches!(shown.way, JoinPath::Every),
        // Nobody can have referred to it before.
        (None, _) => {
            !shown.is_by_id()
                && !shown.is_mutual()
                && !matches!(shown.way, JoinPath::Every)
                && differs_or_all(shown, &differs)
        }
        (Some(_), Some(_)) => differs_or_all(shown, &differs),
    };
    shown(table.endpoint.name).into_iter().filter(is_touched).collect()
}

fn differs_or_all(shown: &EmbeddedIn, differs: &impl Fn(&[&str]) -> bool) -> bool {
    shown.fields.is_empty() || differs(shown.fields)
}

/// Makes due the records that show this one.
pub(super) fn mark(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    touched: &[EmbeddedIn],
) -> rusqlite::Result<()> {
    if touched.is_empty() {
        return Ok(());
    }
    let Some(since) = since(connection, table)? else { return Ok(()) };
    mark_since(connection, table, n, touched, since)
}

fn mark_since(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    touched: &[EmbeddedIn],
    since: Millis,
) -> rusqlite::Result<()> {
    for shown in touched {
        let Some(numbers) = numbers(connection, table, shown)? else { continue };
        let sql = format!("{INTO}{numbers}{ANEW}");
        connection.prepare_cached(&sql)?.execute((
            shown.by,
            !shown.detail,
            since,
            connection_clock::stamp(connection)?,
            n,
        ))?;
    }
    Ok(())
}

/// When the table was as the records that show its own show it.
fn since(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<Option<Millis>> {
    Ok(generation::state(connection, table.endpoint.name)?.map(|state| state.synced_at))
}

/// Makes due one record that shows others of this table, which have changed.
pub(super) fn mark_one(
    connection: &Connection,
    table: &EndpointTables,
    shown: &EmbeddedIn,
    n: i64,
) -> rusqlite::Result<()> {
    let Some(since) = since(connection, table)? else { return Ok(()) };
    let sql = format!("{INTO}SELECT ?5 AS n{ANEW}");
    let row = (shown.by, !shown.detail, since, connection_clock::stamp(connection)?, n);
    connection.prepare_cached(&sql)?.execute(row).map(drop)
}

/// Makes due all records of a table, which was read while others changed that they show.
pub(super) fn mark_all(
    connection: &Connection,
    table: &EndpointTables,
    since: Millis,
) -> rusqlite::Result<()> {
    let sql = format!("{INTO}SELECT n FROM \"{}__body\"{ANEW}", table.name);
    connection
        .execute(&sql, (table.endpoint.name, true, since, connection_clock::stamp(connection)?))
        .map(drop)
}

/// SQL for the numbers of the records that show the one of number `?5`; none where they are not here.
pub(super) fn numbers(
    connection: &Connection,
    table: &EndpointTables,
    shown: &EmbeddedIn,
) -> rusqlite::Result<Option<String>> {
    let here = |endpoint: &str| generation::state(connection, endpoint).map(|state| state.is_some());
    let Some(by) = Schema::get().table(shown.by) else { return Ok(None) };
    if !here(shown.by)? || (shown.detail && !by.has_details()) {
        return Ok(None);
    }
    let has = |column: &str| table.column(column).is_some();
    let (from, on) = match shown.way {
        JoinPath::Named { column, key } if has(column) => {
            (by.name.clone(), format!("b.\"{key}\" = o.\"{column}\""))
        }
        JoinPath::Over { column, third, names } if has(column) => {
            let Some(third) = Schema::get().table(third) else { return Ok(None) };
            if !here(third.endpoint.name)? {
                return Ok(None);
            }
            let third = &third.name;
            let on = format!("b.id = (SELECT t.\"{names}\" FROM \"{third}\" t WHERE t.id = o.\"{column}\")");
            (by.name.clone(), on)
        }
        JoinPath::Holding { relation, key } if has(key) => match by.many(relation) {
            Some(many) => (many.table.clone(), format!("b.key = o.\"{key}\"")),
            None if by.column(relation).is_some() => {
                (by.name.clone(), format!("b.\"{relation}\" = o.\"{key}\""))
            }
            None => return Ok(None),
        },
        JoinPath::Within { relation, column, key } if has(key) => match by.many(relation) {
            Some(many) => (many.table.clone(), format!("b.\"{column}\" = o.\"{key}\"")),
            None => return Ok(None),
        },
        JoinPath::Every => (by.name.clone(), "true".to_owned()),
        _ => return Ok(None),
    };
    let name = &table.name;
    Ok(Some(format!("SELECT b.n AS n FROM \"{name}\" o JOIN \"{from}\" b ON {on} WHERE o.n = ?5")))
}

/// What differs between the generation of a table that is read and the next one: for each record its numbers, and who
/// shows what is different.
#[derive(Debug)]
pub(super) enum Differences {
    /// There is no generation to compare with, or too much is different.
    Unknown(Option<Millis>),
    /// These, which have been made due as far as the generation says that is read; its age.
    Known(Millis, Vec<(i64, Vec<EmbeddedIn>)>),
}

impl Differences {
    /// Whether nothing could be compared.
    pub(super) fn are_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// Compares the generation of a table that is read with the next one, which takes its place.
pub(super) fn differences(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<Differences> {
    let Some(since) = since(connection, table)? else { return Ok(Differences::Unknown(None)) };
    let name = &table.name;
    let body = |prefix: &str| format!("\"{prefix}{name}__body\"");
    let (ob, xb) = (body(""), body(NEXT));
    // Of a table whose records have no id the whole text tells them apart.
    let own = table.column("id").is_some_and(|id| !id.detail);
    let (to, from) = if own {
        let (o, x) = (format!("\"{name}\""), format!("\"{NEXT}{name}\""));
        (
            format!(
                "JOIN {o} o ON o.n = ob.n LEFT JOIN {x} x ON x.id = o.id LEFT JOIN {xb} xb ON xb.n = x.n"
            ),
            format!("JOIN {x} x ON x.n = xb.n WHERE NOT EXISTS(SELECT 1 FROM {o} o WHERE o.id = x.id)"),
        )
    } else {
        (
            format!("LEFT JOIN {xb} xb ON xb.list = ob.list"),
            format!("WHERE NOT EXISTS(SELECT 1 FROM {ob} ob WHERE ob.list = xb.list)"),
        )
    };
    let sql = format!(
        "SELECT ob.n, ob.list, xb.n, xb.list FROM {ob} ob {to} WHERE xb.list IS NOT ob.list
         UNION ALL SELECT NULL, NULL, xb.n, xb.list FROM {xb} xb {from}"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (n, before): (Option<i64>, Option<String>) = (row.get(0)?, row.get(1)?);
        let (next, after): (Option<i64>, Option<String>) = (row.get(2)?, row.get(3)?);
        let touched = touched(table, before.as_deref(), after.as_deref());
        if touched.is_empty() {
            continue;
        }
        if found.len() == MANY {
            return Ok(Differences::Unknown(Some(since)));
        }
        found.push((n, next, touched));
    }
    let mut known = Vec::new();
    for (n, next, touched) in found {
        if let Some(n) = n {
            mark(connection, table, n, &touched)?;
        }
        known.extend(next.map(|next| (next, touched)));
    }
    Ok(Differences::Known(since, known))
}

/// Makes due what shows the records of a table whose next generation has taken its place.
pub(super) fn replaced(
    connection: &Connection,
    table: &EndpointTables,
    differences: Differences,
) -> rusqlite::Result<()> {
    match differences {
        Differences::Known(since, touched) => {
            for (n, touched) in touched {
                mark_since(connection, table, n, &touched, since)?;
            }
            Ok(())
        }
        Differences::Unknown(since) => all(connection, table, since),
    }
}

/// Makes due all records that may show one of this table, of which it is not known since when they do.
fn all(connection: &Connection, table: &EndpointTables, since: Option<Millis>) -> rusqlite::Result<()> {
    for shown in shown(table.endpoint.name).iter().filter(|shown| !shown.is_by_id() && !shown.is_mutual()) {
        let Some(by) = Schema::get().table(shown.by) else { continue };
        let here = generation::state(connection, shown.by)?;
        let Some(state) = here.filter(|_| shown.by != table.endpoint.name) else { continue };
        if shown.detail && !by.has_details() {
            continue;
        }
        // A detail that is not here will be asked for anyway.
        let which = if shown.detail { "WHERE detail <> ''" } else { "" };
        let sql = format!("{INTO}SELECT n FROM \"{}__body\" {which}{ANEW}", by.name);
        // What was never compared may have been wrong since it was read.
        let listed: Millis =
            connection
                .query_row("SELECT listed_at FROM state WHERE endpoint = ?1", [shown.by], |row| row.get(0))?;
        let since = since.unwrap_or(listed).min(state.synced_at);
        connection.execute(&sql, (shown.by, !shown.detail, since, connection_clock::stamp(connection)?))?;
    }
    Ok(())
}
