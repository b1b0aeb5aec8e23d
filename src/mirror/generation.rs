//! Generations of the mirror's tables: one that is read, and one that is being filled beside it.
//!
//! A table is filled under names that begin with [`NEXT`], and takes the place of the one before in one transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    change_log, described, faults, follow, json_nulls, quarantine, refetch, reshape,
    schema::{EndpointTables, Schema},
    state::{self, States, TableState},
    unreadable,
};
use crate::{alyx::ENDPOINTS, clock::Millis};

/// What the names of tables that are being filled begin with.
pub(super) const NEXT: &str = "next:";

/// The parameters that every record of a table fulfils.
pub(super) type TableScope = Vec<(String, String)>;

/// A generation that is being filled.
#[derive(Debug, Clone)]
pub(super) struct Filling {
    pub(super) generation: i64,
    pub(super) scope: TableScope,
    pub(super) total: i64,
}

/// What of a table's content and form its columns depend on: with another one they are made anew ([`reshape`]).
pub(super) fn fingerprint(table: &EndpointTables) -> String {
    let (tables, indexes) = (table.create(""), table.index("", 0));
    // What is upper case is up to a version of Unicode, and an index holds texts in upper case.
    let unicode = char::UNICODE_VERSION;
    let form = format!(
        "{tables}{:?}{:?}{:?}{:?}{indexes}{unicode:?}",
        table.columns, table.wide, table.many, table.order
    );
    // Stored tables say it in this word, whatever the type is called: with another one all would be made anew at the next start.
    let form = form.replace("TableColumn {", "Column {");
    blake3::hash(form.as_bytes()).to_hex()[..16].to_owned()
}

/// Whether the table that is here has today's shape.
pub(super) fn fits(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<bool> {
    let sql = "SELECT shape FROM state WHERE endpoint = ?1";
    let shape = connection.query_row(sql, [table.endpoint.name], |row| row.get::<_, String>(0)).optional()?;
    Ok(shape.is_some_and(|shape| shape == fingerprint(table)))
}

/// Brings tables of another shape to today's, and drops those where that can't be; what the tables are then.
pub(super) fn prepare(connection: &mut Connection, shape: &Schema) -> rusqlite::Result<States> {
    let transaction = connection.transaction()?;
    reshape::all(&transaction, shape)?;
    quarantine::note_distrusted(&transaction)?;
    faults::drop_of_other_versions(&transaction)?;
    let states = states(&transaction)?;
    transaction.commit()?;
    Ok(states)
}

/// The number of this state of the database.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value FROM meta WHERE key = 'version'")?.query_row([], |row| row.get(0))
}

/// Gives this state of the database another number.
pub(super) fn bump(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'version'", []).map(drop)
}

/// The states of all tables.
pub(super) fn states(connection: &Connection) -> rusqlite::Result<States> {
    let mut statement = connection.prepare_cached(&format!("{STATE} ORDER BY endpoint"))?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, read(row)?)))?;
    let mut tables = HashMap::new();
    for row in rows {
        let (endpoint, state) = row?;
        if let Some(known) = ENDPOINTS.iter().find(|known| known.name == endpoint) {
            if let Some(state) = state {
                let unreadable = unreadable::of(connection, known.name)?;
                tables.insert(known.name, TableState { unreadable, ..state });
            } else {
                tracing::error!(endpoint, "the state of the mirror's table is damaged; it is fetched anew");
            }
        }
    }
    let (holds, imported_at) = state::own_writes(connection)?;
    Ok(States::new(version(connection)?, tables)
        .behind(described::spec(connection)?)
        .with_faults(faults::all(connection)?)
        .with_own_writes(holds, imported_at)
        .changed(change_log::all(connection)?))
}

/// The state of one table; none where it is not here, or its state is damaged.
pub(super) fn state(connection: &Connection, endpoint: &str) -> rusqlite::Result<Option<TableState>> {
    let mut statement = connection.prepare_cached(&format!("{STATE} WHERE endpoint = ?1"))?;
    Ok(statement.query_row([endpoint], read).optional()?.flatten())
}

/// A table is no younger than its oldest record that is due.
const STATE: &str = "SELECT endpoint,
    min(synced_at, coalesce((SELECT min(since) FROM due WHERE due.endpoint = state.endpoint), synced_at)),
    rows, details, scope, ambiguous, distrusted, counted_at FROM state";

/// A table's state; none where it is damaged. Nobody knows then of which records the table is.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<TableState>> {
    let (Some(scope), Some(ambiguous), Some(distrusted)) =
        (parsed(row, 4)?, parsed(row, 5)?, parsed(row, 6)?)
    else {
        return Ok(None);
    };
    Ok(Some(TableState {
        synced_at: row.get(1)?,
        rows: row.get::<_, i64>(2)?.unsigned_abs(),
        details: row.get(3)?,
        scope,
        ambiguous,
        distrusted,
        counted_at: row.get(7)?,
        unreadable: <_>::default(),
    }))
}

/// A value as the database keeps it.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<T>> {
    Ok(row.get_ref(at)?.as_bytes().ok().and_then(|text| serde_json::from_slice(text).ok()))
}

/// The generation of a table that is being filled; none where what is known of it is damaged.
pub(super) fn filling(connection: &Connection, endpoint: &str) -> rusqlite::Result<Option<Filling>> {
    let read = |row: &Row<'_>| {
        let (generation, total) = (row.get(0)?, row.get(2)?);
        Ok(parsed(row, 1)?.map(|scope| Filling { generation, scope, total }))
    };
    let filling = connection
        .query_row("SELECT generation, scope, total FROM filling WHERE endpoint = ?1", [endpoint], read)
        .optional()?;
    Ok(filling.flatten())
}

/// Whether a generation of a table was begun and not ended.
pub(super) fn is_filling(connection: &Connection, endpoint: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM filling WHERE endpoint = ?1)";
    connection.query_row(sql, [endpoint], |row| row.get(0))
}

/// The endpoints of which there is a table, or one that is being filled.
pub(super) fn endpoints(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT endpoint FROM state UNION SELECT endpoint FROM filling";
    connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Makes empty tables for the next generation, instead of one that was being filled.
pub(super) fn begin(
    connection: &Connection,
    table: &EndpointTables,
    began_at: Millis,
    scope: &TableScope,
    low: i64,
    total: i64,
) -> rusqlite::Result<()> {
    abandon(connection, table)?;
    let endpoint = table.endpoint.name;
    connection.execute_batch(&table.create(NEXT))?;
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'", [])?;
    connection.execute("INSERT OR IGNORE INTO meta VALUES('generation', 1)", [])?;
    connection.execute(
        "INSERT INTO filling SELECT ?1, ?2, value, ?3, ?4, ?5, ?6 FROM meta WHERE key = 'generation'",
        (endpoint, fingerprint(table), began_at, json(scope), low, total),
    )?;
    Ok(())
}

/// Gives up the generation of a table that is being filled.
pub(super) fn abandon(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<()> {
    drop_tables(connection, table, NEXT)?;
    connection.execute("DELETE FROM filling WHERE endpoint = ?1", [table.endpoint.name])?;
    connection.execute("DELETE FROM range WHERE endpoint = ?1", [table.endpoint.name])?;
    Ok(())
}

/// Puts the generation that was filled in the place of the one before. What shows its records is due where they are
/// others than before.
pub(super) fn publish(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<()> {
    replace(connection, table, true)
}

/// The same for a generation that came together with the tables that show its records.
pub(super) fn publish_carried(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<()> {
    replace(connection, table, false)
}

fn replace(connection: &Connection, table: &EndpointTables, alone: bool) -> rusqlite::Result<()> {
    let endpoint = table.endpoint.name;
    let Some(filling) = filling(connection, endpoint)? else { return Ok(()) };
    // What was asked for it before a write may not hold that.
    connection
        .execute("DELETE FROM meta WHERE key IN ('holds:' || ?1, 'holds:' || ?1 || '/')", [endpoint])?;
    connection.execute_batch(&table.index(NEXT, filling.generation))?;
    let differences = refetch::differences(connection, table)?;
    drop_tables(connection, table, "")?;
    for (next, name) in table.names(NEXT).iter().zip(table.names("")) {
        connection
            .execute_batch(&format!("ALTER TABLE \"{next}\" RENAME TO \"{name}\"; ANALYZE \"{name}\";"))?;
    }
    let sql = "SELECT began_at FROM filling WHERE endpoint = ?1";
    let began_at: Millis = connection.query_row(sql, [endpoint], |row| row.get(0))?;
    connection.execute(
        "INSERT OR REPLACE INTO state
         (endpoint, shape, generation, synced_at, listed_at, rows, details, scope, low, seen, seen_at)
         SELECT endpoint, shape, generation, began_at, began_at, 0, 0, scope, low, low, began_at
         FROM filling WHERE endpoint = ?1",
        [endpoint],
    )?;
    connection.execute("DELETE FROM filling WHERE endpoint = ?1", [endpoint])?;
    connection.execute("DELETE FROM range WHERE endpoint = ?1", [endpoint])?;
    connection.execute("DELETE FROM due WHERE endpoint = ?1", [endpoint])?;
    if follow::has_any_followed(connection, endpoint, began_at)? {
        refetch::mark_all(connection, table, began_at)?;
    }
    if alone || !differences.are_unknown() {
        refetch::replaced(connection, table, differences)?;
    }
    quarantine::drop_of(connection, endpoint)?;
    json_nulls::replaced(connection, endpoint)?;
    recount(connection, table)
}

/// Removes a table that is no longer mirrored.
pub(super) fn forget(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<()> {
    abandon(connection, table)?;
    drop_tables(connection, table, "")?;
    for known in ["state", "due"] {
        connection.execute(&format!("DELETE FROM {known} WHERE endpoint = ?1"), [table.endpoint.name])?;
    }
    quarantine::drop_of(connection, table.endpoint.name)?;
    unreadable::drop_of(connection, table.endpoint.name, false)?;
    bump(connection)
}

/// Notes what can be counted of a table after it has changed: how many records, whether all details are
/// here, which keys are not unique.
pub(super) fn recount(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<()> {
    let name = &table.name;
    let rows: i64 =
        connection.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0))?;
    let details = !table.has_details() || !lacks_details(connection, table)?;
    let mut ambiguous = state::ambiguous(connection, table, "")?;
    ambiguous.extend(json_nulls::known(connection, table.endpoint.name)?);
    connection.execute(
        "UPDATE state SET rows = ?2, details = ?3, ambiguous = ?4 WHERE endpoint = ?1",
        (table.endpoint.name, rows, details, json(&ambiguous)),
    )?;
    change_log::note(connection, table.endpoint.name)?;
    bump(connection)
}

fn lacks_details(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<bool> {
    let sql = format!("SELECT EXISTS(SELECT 1 FROM \"{}__body\" WHERE detail IS NULL)", table.name);
    connection.query_row(&sql, [], |row| row.get(0))
}

pub(super) fn drop_tables(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<()> {
    for name in reshape::names_here(connection, table, prefix)? {
        connection.execute_batch(&format!("DROP TABLE \"{name}\""))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ingest::{self, IncomingRecord};
    use super::*;
    use crate::mirror::database::Mirror;

    #[tokio::test]
    async fn readers_see_a_table_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        let table = Schema::get().table("tags").unwrap();
        let list =
            r#"{"id":"07813450-f550-4862-ac5c-8eb5e0a962f3","name":"t","protected":false,"public":false}"#;
        for generation in 1..=2_u64 {
            mirror
                .write(move |connection| {
                    begin(connection, table, 5, &Vec::new(), 0, 1)?;
                    for n in 0..generation {
                        ingest::put(
                            connection,
                            table,
                            NEXT,
                            n.cast_signed(),
                            IncomingRecord { list, detail: None },
                        )?;
                    }
                    Ok(())
                })
                .await
                .unwrap();
            let before = mirror.states().of("tags").map(|state| state.rows);
            assert_eq!(before, (generation > 1).then_some(generation - 1));
            mirror.write(|connection| Ok(publish(connection, table)?)).await.unwrap();
            let states = mirror.states();
            let state = states.of("tags").unwrap();
            assert_eq!((state.rows, state.synced_at, state.details), (generation, 5, true));
            assert_eq!(state.ambiguous.contains("name"), generation == 2);
        }
        let distrusted = || mirror.states().of("tags").unwrap().distrusted.contains("name");
        mirror.distrust("tags", "name", &["tags", "labs"]).await.unwrap();
        assert!(distrusted());
        let first = mirror.read(|connection, _| quarantine::of(connection, "tags")).await.unwrap().unwrap();
        assert!(first.pressing);
        // It is found out again while the table is read: that does not settle it.
        mirror.distrust("tags", "name", &["tags"]).await.unwrap();
        let settle = |doubt| mirror.write(move |connection| Ok(quarantine::close(connection, table, doubt)?));
        settle(first).await.unwrap();
        assert!(distrusted());
        let second = mirror.read(|connection, _| quarantine::of(connection, "tags")).await.unwrap().unwrap();
        settle(second).await.unwrap();
        assert!(!distrusted());
        // So soon again: there is no hurry, as reading it has not helped.
        mirror.distrust("tags", "name", &["tags"]).await.unwrap();
        let third = mirror.read(|connection, _| quarantine::of(connection, "tags")).await.unwrap().unwrap();
        assert!(!third.pressing);
        mirror.close();
        // What an earlier version distrusts is put in doubt.
        let database = Connection::open(folder.path().join("mirror.db")).unwrap();
        assert_eq!(database.execute("DELETE FROM meta WHERE key LIKE 'doubted:%'", []).unwrap(), 1);
        drop(database);
        let mirror = Mirror::open(folder.path()).unwrap();
        let fourth = mirror.read(|connection, _| quarantine::of(connection, "tags")).await.unwrap().unwrap();
        // What is not here any more holds up nothing.
        let gone = |connection: &Connection| {
            Ok(connection.execute("INSERT INTO meta VALUES('doubted:labs', 1)", [])?)
        };
        mirror.write(gone).await.unwrap();
        mirror.write(move |connection| Ok(quarantine::close(connection, table, fourth)?)).await.unwrap();
        assert!(!mirror.states().of("tags").unwrap().distrusted.contains("name"));
        mirror.close();
    }

    #[tokio::test]
    async fn a_table_whose_state_is_damaged_is_not_taken_for_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        let table = Schema::get().table("tags").unwrap();
        let scope = vec![("name".to_owned(), "t".to_owned())];
        for damage in [r#"[["name","t]]"#, "", "[[\u{0}]]", "7"] {
            let own = scope.clone();
            mirror
                .write(move |connection| {
                    begin(connection, table, 5, &own, 0, 1)?;
                    Ok(publish(connection, table)?)
                })
                .await
                .unwrap();
            assert_eq!(mirror.states().of("tags").unwrap().scope, scope);
            let change = move |connection: &Connection| {
                connection.execute("UPDATE state SET scope = ?1", [damage])?;
                Ok(bump(connection)?)
            };
            mirror.write(change).await.unwrap();
            assert!(mirror.states().of("tags").is_none(), "{damage}");
            let known = mirror.read(|connection, _| Ok(state(connection, "tags")?.is_some()));
            assert!(!known.await.unwrap(), "{damage}");
        }
        mirror.close();
    }
}
