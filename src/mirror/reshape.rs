//! Brings tables of another form to this program's, from the texts that lie here: columns and indexes that a version of the
//! program has anew cost Alyx nothing.
//!
//! The table of the texts is the same in all forms, and stays as it is; whatever is made from the texts is made anew.

use rusqlite::Connection;

use super::{
    checksum,
    generation::{self, NEXT},
    ingest::{EncodedRecord, IncomingRecord, LoadError, RecordWriter},
    schema::{EndpointTables, Schema},
};
use crate::store::is_damage;

/// What the table of the texts consists of.
const TEXT_COLUMNS: &[&str] = &["n", "list", "detail", "list_sum", "detail_sum"];

/// Brings all tables to the form of this schema, those too that are being filled, and drops those where that can't be.
pub(super) fn all(connection: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    for (known, prefix) in [("state", ""), ("filling", NEXT)] {
        let sql = format!("SELECT endpoint, shape, generation FROM {known}");
        let rows: Vec<(String, String, i64)> = connection
            .prepare(&sql)?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        for (endpoint, before, generation) in rows {
            let table = schema.table(&endpoint);
            if table.is_some_and(|table| generation::fingerprint(table) == before) {
                continue;
            }
            // A generation that is being filled has its indexes when it is published.
            let generation = Some(generation).filter(|_| prefix.is_empty());
            if let Some(table) = table
                && reshape(connection, table, prefix, generation)?
            {
                let sql = format!("UPDATE {known} SET shape = ?2 WHERE endpoint = ?1");
                connection.execute(&sql, [&endpoint, &generation::fingerprint(table)])?;
                if prefix.is_empty() {
                    generation::recount(connection, table)?;
                }
                continue;
            }
            if let Some(table) = table {
                generation::drop_tables(connection, table, prefix)?;
            }
            connection.execute(&format!("DELETE FROM {known} WHERE endpoint = ?1"), [&endpoint])?;
            generation::bump(connection)?;
        }
    }
    Ok(())
}

/// Makes the tables of an endpoint anew from its texts; `generation` is in the names of their indexes, none where they have none
/// yet. False where that can't be: there are no such texts, or one does not fit into the form of today, or is damaged. The tables
/// are of use to nobody then.
fn reshape(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
    generation: Option<i64>,
) -> rusqlite::Result<bool> {
    match derive(connection, table, prefix, generation) {
        Ok(Some(records)) => {
            let endpoint = table.endpoint.name;
            tracing::info!(endpoint, records, "the mirror's table was brought to this version's form");
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(LoadError::Sqlite(error)) if !is_damage(&error) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "a table of the mirror is of an earlier form and is fetched anew");
            Ok(false)
        }
    }
}

/// How many records there are in the tables then; none where there are no texts.
fn derive(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
    generation: Option<i64>,
) -> Result<Option<usize>, LoadError> {
    let texts = format!("{prefix}{}__body", table.name);
    let columns: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([&texts], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    if columns != TEXT_COLUMNS {
        return Ok(None);
    }
    for name in names_here(connection, table, prefix)?.iter().filter(|name| **name != texts) {
        connection.execute_batch(&format!("DROP TABLE \"{name}\""))?;
    }
    // The statements that make the tables make one for the texts, too.
    connection.execute_batch(&format!(
        "ALTER TABLE \"{texts}\" RENAME TO \"texts:{texts}\"; {} DROP TABLE \"{texts}\"; \
         ALTER TABLE \"texts:{texts}\" RENAME TO \"{texts}\";",
        table.create(prefix)
    ))?;
    let mut rows = RecordWriter::of_columns(connection, table, prefix)?;
    let sql = format!("SELECT {} FROM \"{texts}\" ORDER BY n", checksum::TEXTS);
    let mut statement = connection.prepare(&sql)?;
    let (mut found, mut records) = (statement.query([])?, 0);
    while let Some(row) = found.next()? {
        let (n, list, detail) = checksum::texts(row)?;
        let record = IncomingRecord { list: &list, detail: detail.as_deref() };
        rows.add(n, record, &EncodedRecord::of(table, record)?)?;
        records += 1;
    }
    if let Some(generation) = generation {
        connection.execute_batch(&table.index(prefix, generation))?;
        for name in table.names(prefix) {
            connection.execute_batch(&format!("ANALYZE \"{name}\""))?;
        }
    }
    Ok(Some(records))
}

/// The names of an endpoint's tables that are here, whatever their form.
pub(super) fn names_here(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<Vec<String>> {
    let (name, parts) = (format!("{prefix}{}", table.name), format!("{prefix}{}__", table.name));
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND (name = ?1 OR substr(name, 1, length(?2)) = ?2)";
    connection.prepare(sql)?.query_map([name, parts], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{Mirror, ingest};

    /// What SQLite has of the tables whose names begin so.
    fn form(folder: &std::path::Path, prefix: &str) -> Vec<(String, Option<String>)> {
        let connection = Connection::open(folder.join("mirror.db")).unwrap();
        let sql = "SELECT name, sql FROM sqlite_master WHERE tbl_name LIKE ?1 || 'subjects%' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Tables of subjects with so many records, and as many of the generation after that.
    async fn filled(folder: &std::path::Path, records: i64) {
        let mirror = Mirror::open(folder).unwrap();
        let table = Schema::get().table("subjects").unwrap();
        let put = move |connection: &Connection, n: i64| {
            let list = format!(
                r#"{{"nickname":"s{n}","url":"u","id":"07813450-f550-4862-ac5c-{n:012}","responsible_user":"u",
                "birth_date":"2020-01-01","age_weeks":1,"death_date":null,"species":"m","sex":"F","litter":null,"strain":null,
                "source":null,"line":null,"projects":["p","q"],"session_projects":[],"lab":"l","genotype":[],"description":"",
                "alive":true,"reference_weight":0.0,"last_water_restriction":null,"expected_water":0.0,"remaining_water":0.0}}"#
            );
            ingest::put(connection, table, NEXT, n, IncomingRecord { list: &list, detail: None })
        };
        let fill = move |connection: &Connection| {
            generation::begin(connection, table, 5, &Vec::new(), 0, 1)?;
            (0..records).try_for_each(|n| put(connection, n))?;
            generation::publish(connection, table)?;
            generation::begin(connection, table, 6, &Vec::new(), 0, 1)?;
            (0..records).try_for_each(|n| put(connection, n))?;
            Ok(())
        };
        mirror.write(fill).await.unwrap();
        mirror.close();
    }

    /// Makes of the tables what another version might have made.
    fn of_another_form(folder: &std::path::Path) {
        let connection = Connection::open(folder.join("mirror.db")).unwrap();
        for prefix in ["", NEXT] {
            let sql = format!(
                "DROP TABLE \"{prefix}subjects\"; CREATE TABLE \"{prefix}subjects\"(n INTEGER PRIMARY KEY, other);
                 CREATE TABLE \"{prefix}subjects__gone\"(n); DROP TABLE \"{prefix}subjects__projects\";"
            );
            connection.execute_batch(&sql).unwrap();
        }
        connection.execute_batch("UPDATE state SET shape = 'x'; UPDATE filling SET shape = 'x'").unwrap();
    }

    #[tokio::test]
    async fn a_table_of_another_form_is_made_from_its_texts() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path(), 3).await;
        let before = (form(folder.path(), ""), form(folder.path(), NEXT));
        assert!(before.0.len() > 5 && before.1.len() > 2, "{before:?}");
        of_another_form(folder.path());
        assert_ne!(form(folder.path(), ""), before.0);
        let mirror = Mirror::open(folder.path()).unwrap();
        let states = mirror.states();
        let state = states.of("subjects").unwrap();
        assert_eq!((state.rows, state.synced_at), (3, 5));
        let look = |connection: &Connection, _: &_| {
            let count = |table: &str| {
                connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))
            };
            Ok((
                count("subjects__projects")?,
                count("next:subjects__projects")?,
                generation::is_filling(connection, "subjects")?,
            ))
        };
        let found: (i64, i64, bool) = mirror.read(look).await.unwrap();
        assert_eq!(found, (6, 6, true), "two projects each; what is being filled goes on");
        mirror.close();
        assert_eq!((form(folder.path(), ""), form(folder.path(), NEXT)), before);
    }

    #[tokio::test]
    async fn what_does_not_fit_or_is_damaged_is_fetched_anew() {
        for damage in ["list = '{}x'", "list_sum = 0", "list = '[]', list_sum = 0"] {
            let folder = tempfile::tempdir().unwrap();
            filled(folder.path(), 3).await;
            of_another_form(folder.path());
            let connection = Connection::open(folder.path().join("mirror.db")).unwrap();
            let sql = format!("UPDATE subjects__body SET {damage} WHERE n = 1");
            assert_eq!(connection.execute(&sql, []).unwrap(), 1);
            drop(connection);
            let mirror = Mirror::open(folder.path()).unwrap();
            assert!(mirror.states().of("subjects").is_none(), "{damage}");
            mirror.close();
            assert_eq!(form(folder.path(), ""), [], "{damage}");
            assert_ne!(form(folder.path(), NEXT), [], "{damage}: what is being filled was sound");
        }
    }
}
