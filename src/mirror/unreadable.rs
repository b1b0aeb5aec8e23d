//! Records that Alyx could not give when they were asked for, though it gave another one right after: each costs itself
//! alone. They are noted by the path of their detail, with the reason, and asked for again after a pause that grows.
//!
//! Of most of them only the detail is missing, and their text in the list is here. One whose text in the list does not
//! fit its table is not here at all: then no list of that table can be told.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::{connection_clock, generation};
use crate::{
    alyx::{DetailKey, Endpoint, query_string, record::Record},
    clock::{self, Millis},
};

/// How soon such a record is asked for again at first; each time after twice as long, up to [`LONGEST`].
const FIRST: Millis = 60_000;
const LONGEST: Millis = 6 * 3_600_000;
/// The most that are told one by one; the others are counted.
const TOLD: usize = 100;

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its path at Alyx.
    #[serde(skip_deserializing)]
    pub path: String,
    /// Why, in words.
    pub why: String,
    /// Since when.
    pub since: Millis,
    /// How often it was asked for since then.
    pub tries: u32,
    /// When it is asked for again.
    pub again_at: Millis,
    /// Whether its text in the list is missing too.
    pub list: bool,
}

impl Unreadable {
    /// Which it is, why, and when it is asked for again.
    pub fn for_people(&self) -> String {
        let Self { path, why, again_at, .. } = self;
        format!("{path} ({why}; asked for again at {})", clock::for_people(*again_at))
    }

    /// Whether it is time to ask for it again, or would be by a clock that was set back.
    pub(super) fn is_due(&self, now: Millis) -> bool {
        !(0..=LONGEST).contains(&(self.again_at - now)) || self.again_at <= now
    }
}

/// All of a table that could not be read: how many, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadableRecords {
    /// How many there are.
    pub count: usize,
    /// Of how many the text in the list is missing too.
    pub lists: usize,
    /// The first hundred.
    pub told: Vec<Unreadable>,
}

/// The path of a record's own detail; none where nothing in the record names it.
pub(super) fn path_of(endpoint: &Endpoint, list: &str) -> Option<String> {
    let record = Record::new(list);
    let key = match endpoint.detail?.key {
        DetailKey::Name(field) => serde_json::from_str(record.field(field)?).ok()?,
        DetailKey::Uuid | DetailKey::Integer => record
            .plain("id")
            .or_else(|| record.plain("url").and_then(|link| link.rsplit('/').next()))?
            .to_owned(),
    };
    Some(query_string::canonical_path(&[endpoint.name.to_owned(), key]))
}

/// The same, or what stands for a record that nothing names.
pub(super) fn name_of(endpoint: &Endpoint, list: &str) -> String {
    path_of(endpoint, list).unwrap_or_else(|| format!("/{}: a record that shows no key", endpoint.name))
}

fn key(endpoint: &str, path: &str) -> String {
    format!("unreadable:{endpoint}:{path}")
}

/// Notes that a record could not be read.
pub(super) fn note(
    connection: &Connection,
    endpoint: &str,
    path: &str,
    why: &str,
    list: bool,
) -> rusqlite::Result<()> {
    let now = connection_clock::now(connection)?;
    let before = find(connection, endpoint, path)?;
    let tries = before.as_ref().map_or(0, |before| before.tries).saturating_add(1);
    let pause = (FIRST << (tries - 1).min(16)).min(LONGEST);
    let since = before.map_or(now, |before| before.since);
    let noted =
        Unreadable { path: String::new(), why: why.to_owned(), since, tries, again_at: now + pause, list };
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta VALUES(?1, ?2)")?
        .execute((key(endpoint, path), generation::json(&noted)))?;
    generation::bump(connection)
}

/// A record was read, or there is none any more.
pub(super) fn clear(connection: &Connection, endpoint: &str, path: &str) -> rusqlite::Result<()> {
    let cleared =
        connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key(endpoint, path)])?;
    if cleared > 0 { generation::bump(connection) } else { Ok(()) }
}

/// What is noted of a record.
pub(super) fn find(
    connection: &Connection,
    endpoint: &str,
    path: &str,
) -> rusqlite::Result<Option<Unreadable>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let text: Option<String> = statement.query_row([key(endpoint, path)], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| parsed(path, &text)))
}

fn parsed(path: &str, text: &str) -> Option<Unreadable> {
    let noted: Unreadable = serde_json::from_str(text).ok()?;
    Some(Unreadable { path: path.to_owned(), ..noted })
}

/// All that are noted of a table.
pub(super) fn all(connection: &Connection, endpoint: &str) -> rusqlite::Result<Vec<Unreadable>> {
    let from = key(endpoint, "");
    // The colon's successor ends the keys of this endpoint.
    let until = format!("unreadable:{endpoint};");
    let mut statement =
        connection.prepare_cached("SELECT key, value FROM meta WHERE key >= ?1 AND key < ?2")?;
    let mut rows = statement.query((&from, until))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (key, text): (String, String) = (row.get(0)?, row.get(1)?);
        found.extend(key.strip_prefix(&from).and_then(|path| parsed(path, &text)));
    }
    Ok(found)
}

/// The same as states tell of it.
pub(super) fn of(connection: &Connection, endpoint: &str) -> rusqlite::Result<UnreadableRecords> {
    let mut told = all(connection, endpoint)?;
    let (count, lists) = (told.len(), told.iter().filter(|record| record.list).count());
    // What costs most is told first.
    told.sort_by_key(|record| !record.list);
    told.truncate(TOLD);
    Ok(UnreadableRecords { count, lists, told })
}

/// Forgets what was noted of a table's records; with `lists` of those alone whose text in the list is missing.
pub(super) fn drop_of(connection: &Connection, endpoint: &str, lists: bool) -> rusqlite::Result<()> {
    for record in all(connection, endpoint)?.iter().filter(|record| record.list || !lists) {
        clear(connection, endpoint, &record.path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_and_ends() {
        let connection = Connection::open_in_memory().unwrap();
        crate::mirror::create_tables(&connection).unwrap();
        crate::mirror::sql_functions::register(&connection).unwrap();
        let pause = || {
            let now = clock::now();
            note(&connection, "sessions", "/sessions/a", "status 403", false).unwrap();
            let noted = find(&connection, "sessions", "/sessions/a").unwrap().unwrap();
            assert!(!noted.is_due(now) && noted.is_due(noted.again_at) && noted.is_due(now - 2 * LONGEST));
            (noted.again_at - now) / 1000
        };
        assert_eq!([pause(), pause(), pause()], [60, 120, 240]);
        for _ in 0..100 {
            pause();
        }
        assert_eq!(pause(), LONGEST / 1000);
        note(&connection, "sessions", "/sessions/b", "no JSON", true).unwrap();
        note(&connection, "sessions-x", "/sessions-x/b", "no JSON", true).unwrap();
        let of = of(&connection, "sessions").unwrap();
        assert_eq!((of.count, of.lists, of.told[0].path.as_str()), (2, 1, "/sessions/b"));
        clear(&connection, "sessions", "/sessions/a").unwrap();
        drop_of(&connection, "sessions", true).unwrap();
        assert!(all(&connection, "sessions").unwrap().is_empty());
        assert_eq!(all(&connection, "sessions-x").unwrap().len(), 1);
    }
}
