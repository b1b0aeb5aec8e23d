//! What was written through the proxy: Alyx's answer to a write is the record, and goes into the tables at once.
//!
//! What was asked of Alyx before the write may come after it, and must not bring the state before back: so it is noted which
//! records were written, and when. And a table that holds all that a write has changed is as of
//! that write (`States::holds_write`), though its last synchronisation began before.

use std::collections::BTreeSet;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::{
    Synchroniser,
    apply::{self, DetailUpdate},
    source,
};
use crate::{
    alyx::{
        DetailKey, Endpoint,
        record::{self, Record},
        redact,
        side_effects::{self, Before},
    },
    clock::Millis,
    mirror::{
        Mirror, MirrorError, connection_clock, follow, generation, ingest,
        schema::{EndpointTables, Schema},
        state::{self, States},
        unreadable,
    },
};

/// A write that Alyx has carried out.
#[derive(Debug)]
pub struct OwnWrite {
    /// The endpoint of the record.
    pub endpoint: &'static Endpoint,
    /// The key that it was named by; none where it was created.
    pub key: Option<String>,
    /// Alyx's answer: the record, or an array of records; none where it was deleted.
    pub answer: Option<Bytes>,
    /// When it was marked,
    pub at: Millis,
    /// and the endpoints that it marked, each with when it had been marked before.
    pub marked: Vec<(&'static str, Millis)>,
}

/// What became of a write in the tables.
struct Absorbed {
    /// Whether every record is in its place,
    list: bool,
    /// and every detail.
    details: bool,
    /// Whether there are more or fewer records, or others among which they are ordered, or that are known by their names.
    recount: bool,
    /// Endpoints whose records it may have changed in ways that can't be told from here; with `true` only in details.
    elsewhere: BTreeSet<(&'static str, bool)>,
}

impl Mirror {
    /// Puts what was written into the tables, and notes which of them are as of this write then.
    ///
    /// # Errors
    ///
    /// Of the database; the tables are then as they were, and count as from before the write.
    pub async fn absorb(&self, write: OwnWrite) -> Result<(), MirrorError> {
        let Some(table) = Schema::get().table(write.endpoint.name) else { return Ok(()) };
        let seal = self.seal().filter(|_| redact::ENDPOINTS.contains(&write.endpoint.name)).cloned();
        self.write(move |connection| {
            let here = generation::state(connection, table.endpoint.name)?;
            // Whether a record is within a scope, only Alyx knows.
            if here.is_none_or(|state| !state.scope.is_empty()) {
                return Ok(());
            }
            let begun = connection_clock::stamp(connection)?;
            let absorbed = match &write.answer {
                Some(answer) => {
                    let text = std::str::from_utf8(answer).unwrap_or_default();
                    let sealed = seal.and_then(|seal| seal.seal_text(text));
                    saved(connection, table, &write, sealed.as_deref().unwrap_or(text))?
                }
                None => deleted(connection, table, &write)?,
            };
            if absorbed.recount {
                generation::recount(connection, table)?;
            }
            settle(connection, table, &write, &absorbed, begun)
        })
        .await
    }

    /// Marks of writes were taken over from elsewhere: they say nothing of what was written here.
    ///
    /// # Errors
    ///
    /// Of the database.
    pub async fn marks_taken_over(&self) -> Result<(), MirrorError> {
        self.write(|connection| {
            let put = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)";
            connection.execute(put, (state::IMPORTED, connection_clock::stamp(connection)?))?;
            Ok(generation::bump(connection)?)
        })
        .await
    }
}

/// Puts the records of an answer in their places.
fn saved(
    connection: &Connection,
    table: &EndpointTables,
    write: &OwnWrite,
    answer: &str,
) -> Result<Absorbed, MirrorError> {
    let mut absorbed = Absorbed { list: true, details: true, recount: false, elsewhere: BTreeSet::new() };
    let records: Vec<&str> =
        if answer.starts_with('[') { record::members(answer).collect() } else { vec![answer] };
    for text in records {
        one(connection, table, write, text, &mut absorbed)?;
    }
    Ok(absorbed)
}

/// Puts a record in its place.
fn one(
    connection: &Connection,
    table: &EndpointTables,
    write: &OwnWrite,
    answer: &str,
    absorbed: &mut Absorbed,
) -> Result<(), MirrorError> {
    let n = match &write.key {
        Some(key) => by_key(connection, table, key)?,
        None => apply::place(connection, table, answer)?,
    };
    let before = match n {
        Some(n) => apply::body(connection, table, n)?,
        None => None,
    };
    let before = before.as_ref().map(|(list, detail)| Before { list, detail: detail.as_deref() });
    match side_effects::of(table.endpoint.name) {
        Some(effects) => absorbed.elsewhere.extend(
            effects
                .iter()
                .filter(|effect| touches(effect.fields, answer, before))
                .map(|effect| (effect.on, effect.detail)),
        ),
        None => absorbed.elsewhere.extend(write.marked.iter().map(|(endpoint, _)| (*endpoint, false))),
    }
    let Some((list, detail)) = texts(connection, table, answer, before)? else {
        absorbed.list = false;
        return Ok(());
    };
    // The place of a new record among others, or of one with another name, is known when all are listed.
    let name = unreadable::name_of(table.endpoint, &list);
    let renamed = before.is_some_and(|before| unreadable::name_of(table.endpoint, before.list) != name);
    if !source::by_ranges(table) && (n.is_none() || renamed) {
        absorbed.list = false;
        return Ok(());
    }
    note(connection, table.endpoint.name, &name, write.at)?;
    apply::put_anyway(connection, table, n, &list, &detail)?;
    absorbed.recount |= detail == DetailUpdate::Lost || is_counted(table, &list, before);
    absorbed.details &= detail != DetailUpdate::Lost;
    Ok(())
}

/// Takes a deleted record out. What goes with it is known when the tables are synchronised.
fn deleted(
    connection: &Connection,
    table: &EndpointTables,
    write: &OwnWrite,
) -> Result<Absorbed, MirrorError> {
    let own = table.endpoint.name;
    let others = write.marked.iter().map(|(endpoint, _)| *endpoint).filter(|name| *name != own);
    let elsewhere = match side_effects::of_deletion(own) {
        Some(effects) => effects.iter().map(|effect| (effect.on, effect.detail)).collect(),
        None => others.map(|name| (name, false)).collect(),
    };
    let Some(key) = &write.key else {
        return Ok(Absorbed { list: false, details: false, recount: false, elsewhere });
    };
    if let Some(n) = by_key(connection, table, key)? {
        if let Some((list, _)) = apply::body(connection, table, n)? {
            note(connection, own, &unreadable::name_of(table.endpoint, &list), write.at)?;
        }
        apply::remove_anyway(connection, table, n)?;
    }
    Ok(Absorbed { list: true, details: true, recount: true, elsewhere })
}

/// Whether a record is new, or another in what it is known or ordered by.
fn is_counted(table: &EndpointTables, list: &str, before: Option<Before<'_>>) -> bool {
    const NAMES: [&str; 4] = ["id", "name", "nickname", "username"];
    let ordered =
        table.order.iter().filter_map(|(_, column)| column.at.split(['.', '[', '#', '<', '>']).next());
    let fields: Vec<&str> = NAMES.into_iter().chain(ordered).collect();
    table.ranked || touches(&fields, list, before.map(|before| Before { detail: None, ..before }))
}

/// Whether one of these fields is another than before; of a new record, whether the first holds anything.
fn touches(fields: &[&str], answer: &str, before: Option<Before<'_>>) -> bool {
    let now = Record::new(answer);
    let (Some(_), Some(before)) = (fields.first(), before) else {
        let is_empty = |text: &str| matches!(text, "null" | "[]" | "\"\"");
        return fields.first().is_none_or(|first| !now.field(first).is_some_and(is_empty));
    };
    let (list, detail) = (Record::new(before.list), before.detail.map(Record::new));
    let then = |field| detail.as_ref().and_then(|detail| detail.field(field)).or_else(|| list.field(field));
    fields.iter().any(|field| now.field(field) != then(field))
}

/// The texts of a record that Alyx has answered a write with; none where the answer does not tell them.
fn texts(
    connection: &Connection,
    table: &EndpointTables,
    answer: &str,
    before: Option<Before<'_>>,
) -> rusqlite::Result<Option<(String, DetailUpdate)>> {
    // A text as Alyx writes it, in one line, is what is kept.
    if !answer.starts_with('{') || answer.contains('\n') {
        return Ok(None);
    }
    let any = |wanted: &str| {
        let sql = format!("SELECT list, detail FROM \"{}__body\" {wanted} LIMIT 1", table.name);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        connection.prepare_cached(&sql)?.query_row([], read).optional()
    };
    let with_detail = if table.has_details() { any("WHERE detail <> ''")? } else { None };
    let like: Option<(String, Option<String>)> =
        with_detail.map_or_else(|| any(""), |like| Ok(Some(like)))?;
    let Some((like, like_detail)) = like else { return Ok(None) };
    let Some(list) = side_effects::listed(table.endpoint, answer, before, &like) else { return Ok(None) };
    if !table.has_details() {
        return Ok(Some((list, DetailUpdate::Stays)));
    }
    let detail = match like_detail.filter(|detail| *detail != ingest::DETAIL_UNAVAILABLE) {
        _ if side_effects::same_fields(answer, &like) => DetailUpdate::Lost,
        Some(like) if side_effects::same_fields(answer, &like) => DetailUpdate::Is(answer.to_owned()),
        _ => return Ok(None),
    };
    Ok(Some((list, detail)))
}

/// The number of the one record of this key.
fn by_key(connection: &Connection, table: &EndpointTables, key: &str) -> rusqlite::Result<Option<i64>> {
    let column = match table.endpoint.detail.map(|detail| detail.key) {
        Some(DetailKey::Name(name)) => name,
        _ => "id",
    };
    let Some(known) = table.column(column).filter(|known| !known.detail) else { return Ok(None) };
    let Some(value) = ingest::store(known.kind, &known.kind.json_of(key)) else { return Ok(None) };
    let sql = format!("SELECT n FROM \"{}\" WHERE \"{column}\" = ?1 LIMIT 2", table.name);
    let mut statement = connection.prepare_cached(&sql)?;
    let found: Vec<i64> = statement.query_map([value], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(<[i64; 1]>::try_from(found).ok().map(|[n]| n))
}

/// Notes the tables that hold all that the write has changed, and held what was written before it.
fn settle(
    connection: &Connection,
    table: &EndpointTables,
    write: &OwnWrite,
    absorbed: &Absorbed,
    begun: Millis,
) -> Result<(), MirrorError> {
    let due = "SELECT EXISTS(SELECT 1 FROM due WHERE endpoint = ?1 AND mark >= ?2 AND list >= ?3)";
    let held = held(connection)?;
    for (endpoint, before) in &write.marked {
        let Some(state) = generation::state(connection, endpoint)? else { continue };
        let own = *endpoint == table.endpoint.name;
        for details in [false, true] {
            let key = if details { state::details_of(endpoint) } else { (*endpoint).to_owned() };
            let missed = absorbed.elsewhere.contains(&(*endpoint, false))
                || (details && absorbed.elsewhere.contains(&(*endpoint, true)))
                || (own && !(if details { absorbed.details } else { absorbed.list }))
                || !(*before < state.synced_at || held.holds_write(endpoint, details, *before));
            // Of a list that is due, the detail is as well.
            let is_due = (endpoint, begun, !details);
            if missed || connection.prepare_cached(due)?.query_row(is_due, |row| row.get(0))? {
                continue;
            }
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES(?1, ?2)")?
                .execute((format!("{}{key}", state::HOLDS), write.at))?;
        }
    }
    Ok(generation::bump(connection)?)
}

/// What is known of which writes the tables hold.
fn held(connection: &Connection) -> rusqlite::Result<States> {
    let (holds, imported_at) = state::own_writes(connection)?;
    Ok(States::new(0, std::collections::HashMap::new()).with_own_writes(holds, imported_at))
}

/// What keys of written records begin with.
const WRITTEN: &str = "written:";

fn key(endpoint: &str, name: &str) -> String {
    format!("{WRITTEN}{endpoint}:{name}")
}

fn note(connection: &Connection, endpoint: &str, name: &str, at: Millis) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)";
    connection.prepare_cached(sql)?.execute((key(endpoint, name), at)).map(drop)
}

/// Whether a record was written through the proxy after this stamp, at which it was asked for.
pub(super) fn is_newer(
    connection: &Connection,
    table: &EndpointTables,
    list: &str,
    asked: Millis,
) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT EXISTS(SELECT 1 FROM meta WHERE key = ?1 AND value >= ?2)")?;
    let name = unreadable::name_of(table.endpoint, list);
    statement.query_row((key(table.endpoint.name, &name), asked), |row| row.get(0))
}

/// The records of a list that was asked for at this stamp, those that were written through the proxy since as they are here:
/// `n_of` gives their numbers.
pub(super) fn kept(
    connection: &Connection,
    table: &EndpointTables,
    records: Vec<String>,
    asked: Millis,
    n_of: impl Fn(&String) -> Option<i64>,
) -> rusqlite::Result<Vec<String>> {
    let mut kept = Vec::with_capacity(records.len());
    for list in records {
        if !is_newer(connection, table, &list, asked)? {
            kept.push(list);
        } else if let Some(n) = n_of(&list) {
            kept.extend(apply::body(connection, table, n)?.map(|(list, _)| list));
        }
    }
    Ok(kept)
}

/// What was asked so long ago does not come any more.
const LONG: Millis = 86_400_000;

impl Synchroniser {
    /// Forgets writes of so long ago that nothing that was asked before them is under way.
    pub(super) async fn forget_own_writes(&self) {
        let before = self.clock().now() - LONG;
        let forget = move |connection: &Connection| {
            let sql = "DELETE FROM meta WHERE key >= 'written:' AND key < 'written;' AND value < ?1";
            connection.execute(sql, [before])?;
            Ok(follow::forget(connection, before)?)
        };
        if let Err(error) = self.mirror.write(forget).await {
            tracing::debug!(%error, "what was written through the proxy stays noted");
        }
    }
}

/// The records of these keys whose details are not here: their numbers and texts.
pub(super) fn without_detail(
    connection: &Connection,
    table: &EndpointTables,
    keys: &[String],
) -> rusqlite::Result<Vec<(i64, String)>> {
    let sql = format!("SELECT list FROM \"{}__body\" WHERE n = ?1 AND detail IS NULL", table.name);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for key in keys {
        if let Some(n) = by_key(connection, table, key)? {
            found.extend(statement.query_row([n], |row| row.get(0)).optional()?.map(|list| (n, list)));
        }
    }
    Ok(found)
}
