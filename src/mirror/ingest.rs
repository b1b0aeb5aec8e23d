//! Puts records into the mirror's tables: from the text that Alyx sent to typed columns.

use std::{borrow::Cow, fmt};

use jiff::civil::{Date, DateTime};
use rusqlite::{CachedStatement, Connection, types::Value as Sql};
use serde_json::Value;

use super::{
    checksum,
    projection::Picked,
    schema::{ColumnType, EndpointTables, Many, TableColumn},
};
use crate::alyx::{endpoint::Order, json_path, model::ColumnKind};

/// A record and, where it is another, its detail, as Alyx sent them.
#[derive(Debug, Clone, Copy)]
pub struct IncomingRecord<'t> {
    /// The record of the list.
    pub list: &'t str,
    /// The detail; none where it has not been fetched, empty where Alyx itself can't show it ([`NONE`]).
    pub detail: Option<&'t str>,
}

/// The detail of a record that Alyx can't show, because another has the same name (ALYX.md 8, trap 19).
pub const DETAIL_UNAVAILABLE: &str = "";

/// A record that does not fit into its table.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A value is not what the column holds; the record is not kept.
    #[error("/{endpoint}: {column} of a record is not what it ought to be: {value}")]
    Value {
        /// The endpoint.
        endpoint: &'static str,
        /// The column.
        column: String,
        /// The value, as JSON.
        value: String,
    },
    /// The text is not a JSON object.
    #[error("/{0}: a record is not a JSON object")]
    NotAnObject(&'static str),
    /// SQLite's word.
    #[error("database: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Puts a record under this number, instead of one that stands there. `prefix` is that of the tables.
pub fn put(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
    n: i64,
    record: IncomingRecord<'_>,
) -> Result<(), LoadError> {
    remove(connection, table, prefix, n)?;
    add(connection, table, prefix, n, record)
}

/// Puts a record under a number under which none stands.
pub fn add(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
    n: i64,
    record: IncomingRecord<'_>,
) -> Result<(), LoadError> {
    let rows = EncodedRecord::of(table, record)?;
    Ok(RecordWriter::new(connection, table, prefix)?.add(n, record, &rows)?)
}

/// Whether a record fits into its table: what [`add`] would say.
pub fn check(table: &EndpointTables, record: IncomingRecord<'_>) -> Result<(), LoadError> {
    EncodedRecord::of(table, record).map(drop)
}

/// Puts other texts in the place of those of a record, none of whose columns is another.
pub(super) fn put_texts(
    connection: &Connection,
    table: &EndpointTables,
    n: i64,
    record: IncomingRecord<'_>,
) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE \"{}__body\" SET list = ?2, detail = ?3, list_sum = ?4, detail_sum = ?5 WHERE n = ?1",
        table.name
    );
    let detail_sum = record.detail.map(|detail| checksum::of(n, detail));
    let row = (n, record.list, record.detail, checksum::of(n, record.list), detail_sum);
    connection.prepare_cached(&sql)?.execute(row).map(drop)
}

/// A record as it is stored: to make this of it takes as long as to store it, and needs no database.
#[derive(Debug, PartialEq)]
pub struct EncodedRecord {
    /// The columns of the table itself, and what orders it.
    main: Vec<Sql>,
    wide: Vec<Sql>,
    /// For each relation to many its rows.
    many: Vec<Vec<Vec<Sql>>>,
}

impl EncodedRecord {
    /// Reads a record; an error where it does not fit.
    pub fn of(table: &EndpointTables, record: IncomingRecord<'_>) -> Result<Self, LoadError> {
        let source = ValueSource::new(table, record)?;
        let mut main = Vec::with_capacity(table.columns.len() + table.order.len());
        for column in &table.columns {
            main.push(source.column(column)?);
        }
        for (order, column) in &table.order {
            main.push(order_key(order, source.column(column)?));
        }
        let wide = table.wide.iter().map(|column| source.column(column)).collect::<Result<_, _>>()?;
        let many = table.many.iter().map(|many| source.many(many)).collect::<Result<_, _>>()?;
        Ok(Self { main, wide, many })
    }
}

impl EncodedRecord {
    /// The row of the table itself, that of its wide columns, and those of its relations to many.
    pub(super) fn parts(self) -> (Vec<Sql>, Vec<Sql>, Vec<Vec<Vec<Sql>>>) {
        (self.main, self.wide, self.many)
    }
}

/// Puts many records into the tables of an endpoint: its statements are made once.
pub struct RecordWriter<'c> {
    main: CachedStatement<'c>,
    /// None where the texts are there.
    body: Option<CachedStatement<'c>>,
    wide: Option<CachedStatement<'c>>,
    many: Vec<CachedStatement<'c>>,
}

impl fmt::Debug for RecordWriter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Adder").finish_non_exhaustive()
    }
}

impl<'c> RecordWriter<'c> {
    /// For the tables whose names begin with `prefix`.
    pub fn new(connection: &'c Connection, table: &EndpointTables, prefix: &str) -> rusqlite::Result<Self> {
        let sql = format!("INSERT INTO \"{prefix}{}__body\" VALUES(?,?,?,?,?)", table.name);
        let body = Some(connection.prepare_cached(&sql)?);
        Ok(Self { body, ..Self::of_columns(connection, table, prefix)? })
    }

    /// The same for all but the texts, which are there.
    pub(super) fn of_columns(
        connection: &'c Connection,
        table: &EndpointTables,
        prefix: &str,
    ) -> rusqlite::Result<Self> {
        let insert = |name: &str, columns: usize| {
            // Every row has its number besides.
            let more = ",?".repeat(columns);
            connection.prepare_cached(&format!("INSERT INTO \"{prefix}{name}\" VALUES(?{more})"))
        };
        let name = &table.name;
        let wide = (!table.wide.is_empty()).then(|| insert(&format!("{name}__wide"), table.wide.len()));
        let many = table.many.iter().map(|many| insert(&many.table, 1 + many.columns.len()));
        Ok(Self {
            main: insert(name, table.columns.len() + table.order.len())?,
            body: None,
            wide: wide.transpose()?,
            many: many.collect::<Result<_, _>>()?,
        })
    }

    /// Puts a record, of which these are the rows, under a number under which none stands.
    pub fn add(&mut self, n: i64, record: IncomingRecord<'_>, rows: &EncodedRecord) -> rusqlite::Result<()> {
        let numbered = |statement: &mut CachedStatement<'_>, row: &[Sql]| {
            statement
                .execute(rusqlite::params_from_iter(std::iter::once(&Sql::Integer(n)).chain(row)))
                .map(drop)
        };
        numbered(&mut self.main, &rows.main)?;
        if let Some(body) = &mut self.body {
            let detail_sum = record.detail.map(|detail| checksum::of(n, detail));
            body.execute((n, record.list, record.detail, checksum::of(n, record.list), detail_sum))?;
        }
        if let Some(wide) = &mut self.wide {
            numbered(wide, &rows.wide)?;
        }
        for (statement, rows) in self.many.iter_mut().zip(&rows.many) {
            rows.iter().try_for_each(|row| numbered(statement, row))?;
        }
        Ok(())
    }
}

/// Takes out the record of this number, if there is one.
pub fn remove(connection: &Connection, table: &EndpointTables, prefix: &str, n: i64) -> rusqlite::Result<()> {
    for name in table.names(prefix) {
        connection.prepare_cached(&format!("DELETE FROM \"{name}\" WHERE n = ?1"))?.execute([n])?;
    }
    Ok(())
}

/// The value of a column as it is stored; an error where it does not fit.
pub fn store(kind: ColumnKind, value: &Value) -> Option<Sql> {
    if value.is_null() {
        return Some(Sql::Null);
    }
    let text = value.as_str();
    match ColumnType::of(kind) {
        ColumnType::Text => text.map(|text| Sql::Text(text.to_owned())),
        ColumnType::Uuid => {
            text.and_then(|text| uuid::Uuid::parse_str(text).ok()).map(|id| Sql::Blob(id.as_bytes().to_vec()))
        }
        ColumnType::Integer => match kind {
            ColumnKind::Boolean => value.as_bool().map(|truth| Sql::Integer(truth.into())),
            // A label whose number nobody knows stands as it is ([`super::shown::unknown_labels`]).
            ColumnKind::Labels(labels) => {
                text.map(|text| labels.number(text).map_or_else(|| Sql::Text(text.to_owned()), Sql::Integer))
            }
            _ => value.as_i64().map(Sql::Integer),
        },
        ColumnType::Real => match text {
            Some("NaN") => Some(Sql::Text("NaN".to_owned())),
            Some("Infinity") => Some(Sql::Real(f64::INFINITY)),
            Some("-Infinity") => Some(Sql::Real(f64::NEG_INFINITY)),
            Some(_) => None,
            None => value.as_f64().map(Sql::Real),
        },
        ColumnType::Micros => text.and_then(|text| text.parse().ok()).map(|time| Sql::Integer(micros(time))),
        ColumnType::Days => text.and_then(|text| text.parse().ok()).map(|day| Sql::Integer(days(day))),
        ColumnType::Json => Some(Sql::Text(value.to_string())),
    }
}

/// Microseconds since 1970, of a time without a zone.
pub fn micros(time: DateTime) -> i64 {
    let time_of_day = time.time();
    let seconds = i64::from(time_of_day.hour()) * 3600
        + i64::from(time_of_day.minute()) * 60
        + i64::from(time_of_day.second());
    (days(time.date()) * 86_400 + seconds) * 1_000_000 + i64::from(time_of_day.subsec_nanosecond()) / 1000
}

/// Days since 1970.
pub fn days(day: Date) -> i64 {
    const EPOCH: Date = jiff::civil::date(1970, 1, 1);
    // Between any two days that there are lie fewer than 8 million: they are counted, not estimated.
    i64::from((day - EPOCH).get_days())
}

/// A value so changed that ascending order is the order that is asked for, nulls included.
fn order_key(order: &Order, value: Sql) -> Sql {
    match (order.descending, value) {
        // After all other kinds of values.
        (false, Sql::Null) => Sql::Blob(Vec::new()),
        (true, Sql::Null) => Sql::Integer(i64::MIN),
        (true, Sql::Integer(number)) => Sql::Integer(number.saturating_neg()),
        (true, Sql::Real(number)) => Sql::Real(-number),
        (_, value) => value,
    }
}

/// The values of a record.
struct ValueSource<'t> {
    endpoint: &'static str,
    list: Picked<'t>,
    /// Empty where the detail is not there.
    detail: Picked<'t>,
}

impl<'t> ValueSource<'t> {
    fn new(table: &EndpointTables, record: IncomingRecord<'t>) -> Result<Self, LoadError> {
        let endpoint = table.endpoint.name;
        let pick =
            |text, detail| Picked::of(text, table.picks(detail)).ok_or(LoadError::NotAnObject(endpoint));
        let list = pick(record.list, false)?;
        let known = record.detail.filter(|detail| *detail != DETAIL_UNAVAILABLE);
        let detail = known.map_or_else(|| Ok(Picked::default()), |text| pick(text, true))?;
        Ok(Self { endpoint, list, detail })
    }

    fn picked(&self, detail: bool) -> &Picked<'t> {
        if detail { &self.detail } else { &self.list }
    }

    fn of(&self, detail: bool) -> &Value {
        &self.picked(detail).value
    }

    fn column(&self, column: &TableColumn) -> Result<Sql, LoadError> {
        if ColumnType::of(column.kind) == ColumnType::Json {
            return Ok(self.json(column));
        }
        let values = json_path::values(self.of(column.detail), column.at);
        self.stored(column, values.first().map(Cow::as_ref))
    }

    /// JSON keeps its own text.
    fn json(&self, column: &TableColumn) -> Sql {
        match self.picked(column.detail).json.iter().find(|(name, _)| *name == column.at) {
            Some((_, text)) if *text != "null" => Sql::Text((*text).to_owned()),
            _ => Sql::Null,
        }
    }

    fn stored(&self, column: &TableColumn, value: Option<&Value>) -> Result<Sql, LoadError> {
        let Some(value) = value else { return Ok(Sql::Null) };
        store(column.kind, value).map(|stored| empty_key(column, stored)).ok_or_else(|| LoadError::Value {
            endpoint: self.endpoint,
            column: column.name.clone(),
            value: value.to_string().chars().take(200).collect(),
        })
    }

    fn many(&self, many: &Many) -> Result<Vec<Vec<Sql>>, LoadError> {
        let record = self.of(many.key.detail);
        if many.columns.is_empty() {
            let keys = json_path::values(record, many.key.at);
            return keys.iter().map(|key| Ok(vec![self.stored(&many.key, Some(key.as_ref()))?])).collect();
        }
        let (array, key) = many.key.at.split_once("[].").unwrap_or((many.key.at, ""));
        let items = json_path::values(record, &format!("{array}[]"));
        let row = |item: &Value| {
            let of_item = |column: &TableColumn, at: &str| {
                let values = json_path::values(item, at);
                self.stored(column, values.first().map(Cow::as_ref))
            };
            let mut row = vec![of_item(&many.key, key)?];
            for column in &many.columns {
                row.push(of_item(column, column.at)?);
            }
            Ok(row)
        };
        items.iter().map(|item| row(item.as_ref())).collect()
    }
}

/// A revision that is none is shown as an empty text.
fn empty_key(column: &TableColumn, stored: Sql) -> Sql {
    match stored {
        Sql::Text(text) if text.is_empty() && column.empty_is_null => Sql::Null,
        stored => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::Schema;
    use super::*;

    #[test]
    fn times_and_days_are_counted_from_1970() {
        let time: DateTime = "2024-03-01T10:20:30.000005".parse().unwrap();
        assert_eq!(micros(time), 1_709_288_430_000_005);
        assert_eq!(days(jiff::civil::date(1969, 12, 31)), -1);
        assert_eq!(days(jiff::civil::date(2262, 4, 11)), 106_751);
        assert_eq!(days(jiff::civil::date(1, 1, 1)), -719_162);
    }

    #[test]
    fn a_record_comes_back_as_it_went_in() {
        let connection = Connection::open_in_memory().unwrap();
        let table = Schema::get().table("datasets").unwrap();
        connection.execute_batch(&table.create("")).unwrap();
        let list = r#"{"url":"http://h/datasets/07813450-f550-4862-ac5c-8eb5e0a962f3","name":"a.npy","file_records":[{"id":"17813450-f550-4862-ac5c-8eb5e0a962f3","data_repository":"flatiron","relative_path":"x/a.npy","exists":true}],"revision":"","qc":"PASS","tags":["t1","t2"],"json":{"z":1,"a":1.50}}"#;
        put(&connection, table, "", 7, IncomingRecord { list, detail: None }).unwrap();
        put(&connection, table, "", 7, IncomingRecord { list, detail: None }).unwrap();
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Sql>(0)).unwrap();
        assert_eq!(one("SELECT list FROM datasets__body"), Sql::Text(list.to_owned()));
        assert_eq!(one("SELECT qc FROM datasets"), Sql::Integer(10));
        assert_eq!(one("SELECT revision FROM datasets"), Sql::Null);
        assert_eq!(one("SELECT json FROM datasets__wide"), Sql::Text(r#"{"z":1,"a":1.50}"#.to_owned()));
        assert_eq!(one("SELECT count(*) FROM datasets__tags"), Sql::Integer(2));
        assert_eq!(one("SELECT \"exists\" FROM datasets__file_records"), Sql::Integer(1));
        let unknown = list.replace("PASS", "SUPER");
        put(&connection, table, "", 8, IncomingRecord { list: &unknown, detail: None }).unwrap();
        assert_eq!(one("SELECT qc FROM datasets WHERE n = 8"), Sql::Text("SUPER".to_owned()));
        let wrong = list.replace("\"PASS\"", "7");
        assert!(put(&connection, table, "", 9, IncomingRecord { list: &wrong, detail: None }).is_err());
    }

    #[test]
    fn order_is_ascending_for_every_order() {
        let (up, down) = (Order { path: "x", descending: false }, Order { path: "x", descending: true });
        let connection = Connection::open_in_memory().unwrap();
        let before = |a: Sql, b: Sql| {
            connection.query_row("SELECT ?1 < ?2", [a, b], |row| row.get::<_, bool>(0)).unwrap()
        };
        assert!(before(order_key(&up, Sql::Integer(5)), order_key(&up, Sql::Null)));
        assert!(before(order_key(&up, Sql::Text("z".into())), order_key(&up, Sql::Null)));
        assert!(before(order_key(&down, Sql::Null), order_key(&down, Sql::Integer(5))));
        assert!(before(order_key(&down, Sql::Integer(5)), order_key(&down, Sql::Integer(4))));
    }
}
