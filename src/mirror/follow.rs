//! Carries the change of a record to the records that show it, where what they show is made of it alone
//! ([`crate::alyx::derived`]): in the transaction that the change came in, and Alyx is not asked.
//!
//! A record that does not show what it ought to have shown before is fetched, as are all of which nobody knows how they
//! are made ([`super::refetch`]).

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::{
    checksum, connection_clock,
    database::MirrorError,
    generation,
    ingest::{self, DETAIL_UNAVAILABLE, EncodedRecord, IncomingRecord},
    refetch,
    schema::{EndpointTables, Schema},
};
use crate::{
    alyx::{
        change_tracking::{EmbeddedIn, JoinPath, shown},
        derived::{BESIDES, Changed, CopyRule, Followed, RecordChange},
    },
    clock::Millis,
};

/// Records that are changed before those are that show them.
const BATCH: usize = 2000;
/// A record shows another that shows another …, so deep at the most.
const DEEP: usize = 4;

/// The records that show one which is about to change.
pub(super) struct Followers {
    shown: EmbeddedIn,
    copied: CopyRule,
    by: &'static EndpointTables,
    numbers: Vec<i64>,
}

/// Takes those who show a record out of `touched` that follow its change here: they are found by what it was before.
pub(super) fn followers(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    change: &RecordChange,
    touched: &mut Vec<EmbeddedIn>,
) -> rusqlite::Result<Vec<Followers>> {
    let mut found = Vec::new();
    let mut left = Vec::new();
    for shown in touched.drain(..) {
        let by = Schema::get().table(shown.by);
        let Some((copied, by)) = followed(connection, table, &shown, change)?.zip(by) else {
            left.push(shown);
            continue;
        };
        if !copied.concerns(change) {
            continue;
        }
        let numbers = numbers(connection, table, by, n, &shown)?;
        note(connection, by, &shown, &numbers)?;
        found.push(Followers { shown, copied, by, numbers });
    }
    *touched = left;
    Ok(found)
}

/// How a change is followed by those who show it so, if it is.
fn followed(
    connection: &Connection,
    table: &EndpointTables,
    shown: &EmbeddedIn,
    change: &RecordChange,
) -> rusqlite::Result<Option<CopyRule>> {
    let Some(copied) = shown.copied.filter(|copied| copied.covers(change, shown.fields)) else {
        return Ok(None);
    };
    let Some(key) = copied.key_of(change) else { return Ok(None) };
    // Whom of two of one name they show, their records do not say.
    let CopyRule::Key { key: column, .. } = copied else { return Ok(Some(copied)) };
    if table.column(column).is_none_or(|known| known.detail) || key.contains('\\') {
        return Ok(None);
    }
    let sql = format!("SELECT count(*) FROM \"{}\" WHERE \"{column}\" = ?1", table.name);
    let named: i64 = connection.prepare_cached(&sql)?.query_row([key], |row| row.get(0))?;
    Ok((named <= 1).then_some(copied))
}

/// The numbers of the records that show this one, those beside each other that are shown by the same.
fn numbers(
    connection: &Connection,
    table: &EndpointTables,
    by: &EndpointTables,
    n: i64,
    who: &EmbeddedIn,
) -> rusqlite::Result<Vec<i64>> {
    let Some(sql) = refetch::numbers(connection, table, who)? else { return Ok(Vec::new()) };
    let next = shown(who.by).into_iter().find_map(|next| match next.way {
        JoinPath::Named { column, .. } if next.copied.is_some() => by.column(column),
        _ => None,
    });
    let order = match next {
        Some(column) => {
            format!("ORDER BY (SELECT \"{}\" FROM \"{}\" x WHERE x.n = f.n)", column.name, by.name)
        }
        None => String::new(),
    };
    let sql = format!("SELECT n FROM (SELECT DISTINCT n FROM ({sql})) f {order}");
    let none = rusqlite::types::Null;
    connection.prepare_cached(&sql)?.query_map((none, none, none, none, n), |row| row.get(0))?.collect()
}

/// Carries a change to those who show the record, once it is in its place.
pub(super) fn carry(
    connection: &Connection,
    table: &EndpointTables,
    change: &RecordChange,
    followers: Vec<Followers>,
) -> Result<(), MirrorError> {
    if followers.is_empty() {
        return Ok(());
    }
    let mut carrier = Carrier { connection, besides: besides(connection)?, recount: HashSet::new() };
    for Followers { shown, copied, by, numbers } in followers {
        let Some(key) = copied.key_of(change) else { continue };
        let changes: Changed<'_> = [(key, change)].into();
        for batch in numbers.chunks(BATCH) {
            let mut further = Vec::new();
            for n in batch {
                further.extend(carrier.one(table, by, *n, &shown, copied, &changes)?);
            }
            carrier.on(by, &further, DEEP)?;
        }
    }
    for name in carrier.recount {
        if let Some(table) = Schema::get().table(name) {
            generation::recount(connection, table)?;
        }
    }
    Ok(())
}

/// The texts of the records that others are made of besides, by their keys.
fn besides(connection: &Connection) -> rusqlite::Result<HashMap<String, String>> {
    let (endpoint, key) = BESIDES;
    let Some(table) = Schema::get().table(endpoint) else { return Ok(HashMap::new()) };
    if generation::state(connection, endpoint)?.is_none() {
        return Ok(HashMap::new());
    }
    let mut statement = connection.prepare(&format!("SELECT list FROM \"{}__body\"", table.name))?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut besides = HashMap::new();
    for text in texts {
        let text = text?;
        let field = crate::alyx::record::fields(&text).find(|(name, _)| *name == key);
        let key = field.map(|(_, text)| text.trim_matches('"').to_owned());
        besides.extend(key.map(|key| (key, text)));
    }
    Ok(besides)
}

/// For each record that shows others, which of them have changed.
type ByFollower<'c> = BTreeMap<i64, Changed<'c>>;

struct Carrier<'c> {
    connection: &'c Connection,
    besides: HashMap<String, String>,
    /// Endpoints of which columns have changed.
    recount: HashSet<&'static str>,
}

impl Carrier<'_> {
    /// Carries changes of records of a table to those who show them.
    fn on(
        &mut self,
        table: &'static EndpointTables,
        changed: &[(i64, RecordChange)],
        deep: usize,
    ) -> Result<(), MirrorError> {
        // Who shows many of them is changed once.
        let mut followers: Vec<(EmbeddedIn, CopyRule, ByFollower<'_>)> = Vec::new();
        for (n, change) in changed {
            for shown in refetch::touched(table, Some(&change.before), Some(&change.after)) {
                let by = Schema::get().table(shown.by).filter(|_| deep > 0);
                let Some((copied, by)) = followed(self.connection, table, &shown, change)?.zip(by) else {
                    refetch::mark(self.connection, table, *n, &[shown])?;
                    continue;
                };
                let Some(key) = copied.key_of(change).filter(|_| copied.concerns(change)) else { continue };
                let at = followers.iter().position(|(known, _, _)| *known == shown).unwrap_or_else(|| {
                    followers.push((shown, copied, BTreeMap::new()));
                    followers.len() - 1
                });
                for follower in numbers(self.connection, table, by, *n, &shown)? {
                    followers[at].2.entry(follower).or_default().insert(key.clone(), change);
                }
            }
        }
        for (shown, copied, numbers) in followers {
            let Some(by) = Schema::get().table(shown.by) else { continue };
            note(self.connection, by, &shown, &numbers.keys().copied().collect::<Vec<_>>())?;
            let mut further = Vec::new();
            for (n, changes) in numbers {
                further.extend(self.one(table, by, n, &shown, copied, &changes)?);
            }
            self.on(by, &further, deep.saturating_sub(1))?;
        }
        Ok(())
    }

    /// Changes one record that shows others; what has become of it in the list, if that is another.
    fn one(
        &mut self,
        table: &EndpointTables,
        by: &'static EndpointTables,
        n: i64,
        shown: &EmbeddedIn,
        copied: CopyRule,
        changes: &Changed<'_>,
    ) -> Result<Option<(i64, RecordChange)>, MirrorError> {
        let sql = format!("SELECT {} FROM \"{}__body\" WHERE n = ?1", checksum::TEXTS, by.name);
        let texts = self.connection.prepare_cached(&sql)?.query_row([n], checksum::texts).optional()?;
        let Some((_, list, detail)) = texts else { return Ok(None) };
        let of_list =
            if shown.detail { Followed::Same } else { copied.follow(&list, changes, &self.besides) };
        let of_detail = match detail.as_deref() {
            Some(text) if text != DETAIL_UNAVAILABLE => copied.follow(text, changes, &self.besides),
            _ => Followed::Same,
        };
        let (list_now, detail_now) = match (of_list, of_detail) {
            (Followed::Same, Followed::Same) => return Ok(None),
            (Followed::Unknown, _) | (_, Followed::Unknown) => {
                refetch::mark_one(self.connection, table, shown, n)?;
                return Ok(None);
            }
            (list, detail) => (text(list), text(detail)),
        };
        let now = IncomingRecord {
            list: list_now.as_deref().unwrap_or(&list),
            detail: detail_now.as_deref().or(detail.as_deref()),
        };
        let before = IncomingRecord { list: &list, detail: detail.as_deref() };
        if EncodedRecord::of(by, before)? == EncodedRecord::of(by, now)? {
            ingest::put_texts(self.connection, by, n, now)?;
        } else {
            ingest::put(self.connection, by, "", n, now)?;
            self.recount.insert(by.endpoint.name);
        }
        Ok(list_now.map(|after| (n, RecordChange { before: list, after })))
    }
}

fn text(followed: Followed) -> Option<String> {
    match followed {
        Followed::Changed(text) => Some(text),
        Followed::Same | Followed::Unknown => None,
    }
}

/// What keys of records begin with that have followed others; of all of an endpoint the key is its name.
const FOLLOWED: &str = "followed:";
/// So many records of an endpoint are noted one by one.
const FEW: usize = 500;

/// Notes which records have followed another: who asked for them before may get what they were before that.
fn note(
    connection: &Connection,
    by: &EndpointTables,
    shown: &EmbeddedIn,
    numbers: &[i64],
) -> rusqlite::Result<()> {
    let (endpoint, stamp) = (by.endpoint.name, connection_clock::stamp(connection)?);
    let mut put = connection.prepare_cached("INSERT OR REPLACE INTO meta VALUES(?1, ?2)")?;
    let is_here = generation::state(connection, endpoint)?.is_some();
    // Details are asked for once their list is here.
    if !is_here && shown.detail {
        return Ok(());
    }
    if is_here && numbers.len() <= FEW && !by.ranked {
        for n in numbers {
            put.execute((format!("{FOLLOWED}{endpoint}:{n}"), stamp))?;
        }
        return Ok(());
    }
    put.execute((format!("{FOLLOWED}{endpoint}"), stamp)).map(drop)
}

/// Whether a record has followed others since this stamp.
pub(super) fn has_followed(
    connection: &Connection,
    endpoint: &str,
    n: i64,
    asked: Millis,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM meta WHERE key IN (?1, ?2) AND value >= ?3)";
    let row = (format!("{FOLLOWED}{endpoint}"), format!("{FOLLOWED}{endpoint}:{n}"), asked);
    connection.prepare_cached(sql)?.query_row(row, |row| row.get(0))
}

/// Whether any record of an endpoint has followed others since this stamp.
pub(super) fn has_any_followed(
    connection: &Connection,
    endpoint: &str,
    asked: Millis,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM meta WHERE (key = ?1 OR key >= ?1 || ':' AND key < ?1 || ';')
               AND value >= ?2)";
    connection.prepare_cached(sql)?.query_row((format!("{FOLLOWED}{endpoint}"), asked), |row| row.get(0))
}

/// Forgets what was noted before this stamp.
pub(super) fn forget(connection: &Connection, before: Millis) -> rusqlite::Result<()> {
    let sql = "DELETE FROM meta WHERE key >= 'followed:' AND key < 'followed;' AND value < ?1";
    connection.execute(sql, [before]).map(drop)
}
