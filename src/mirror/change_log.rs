//! Which tables a transaction changes: each has a number that is another after every change of its rows, whoever makes it. What
//! is kept of lists goes by these ([`super::kept`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, hooks::Action};

use super::{database::MirrorError, generation::NEXT, schema::Schema};

/// What the keys begin with by which it is noted how often a table has changed.
const CHANGED: &str = "changed:";

/// Makes a change and notes which tables it was of. What replaces a whole table notes that itself.
pub(super) fn noting<T>(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> Result<T, MirrorError>,
) -> Result<T, MirrorError> {
    let changed: Arc<Mutex<BTreeSet<&'static str>>> = Arc::default();
    let seen = changed.clone();
    let hook = move |_: Action, _: &str, table: &str, _: i64| {
        // A table that is being filled is not read yet.
        let name = table.split("__").next().filter(|name| !name.starts_with(NEXT));
        if let Some(table) = name.and_then(|name| Schema::get().table(&name.replace('_', "-"))) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).insert(table.endpoint.name);
        }
    };
    connection.update_hook(Some(hook))?;
    let result = change(connection);
    connection.update_hook(None::<fn(Action, &str, &str, i64)>)?;
    let result = result?;
    for endpoint in changed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        note(connection, endpoint)?;
    }
    Ok(result)
}

/// Notes that rows of a table are others than before.
pub(super) fn note(connection: &Connection, endpoint: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES(?1, 1) ON CONFLICT(key) DO UPDATE SET value = value + 1";
    connection.prepare_cached(sql)?.execute([format!("{CHANGED}{endpoint}")]).map(drop)
}

/// How often each table has changed; none of those that have not since that is noted.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<HashMap<String, i64>> {
    let sql = "SELECT substr(key, 9), value FROM meta WHERE key >= 'changed:' AND key < 'changed;'";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
