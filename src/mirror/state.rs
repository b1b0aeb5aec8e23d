//! What the mirror holds, table by table: since when, how whole, within which scope.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;

use super::{
    schema::{EndpointTables, TableColumn},
    sql_functions::ORDER_IS_CERTAIN,
    unreadable::UnreadableRecords,
};
use crate::{
    alyx::{
        ENDPOINTS,
        model::{ColumnKind, Join, Model},
    },
    clock::Millis,
};

/// The state of one endpoint's table: a generation of it that is whole within its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// When the synchronisation that last covered all of it began; earlier where a record is due since then.
    pub synced_at: Millis,
    /// When its records were last counted, and Alyx had as many: of a table that is seldom read as a whole.
    pub counted_at: Millis,
    /// How many records it has.
    pub rows: u64,
    /// Whether the detail of every record is here, where details are other than the records of the list.
    pub details: bool,
    /// The parameters that every one of its records fulfils; empty where the whole table is here.
    pub scope: Vec<(String, String)>,
    /// Columns that relations use as keys and whose values are not unique here (nicknames, for instance).
    pub ambiguous: BTreeSet<String>,
    /// Parameters whose answers were found to differ from Alyx's since the last synchronisation.
    pub distrusted: BTreeSet<String>,
    /// Records that could not be read.
    pub unreadable: UnreadableRecords,
}

/// How the details of a table are named beside its list, where it is noted which writes are held.
pub(super) fn details_of(endpoint: &str) -> String {
    format!("{endpoint}/")
}

/// The states of all tables that are here, in one state of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    version: i64,
    tables: HashMap<&'static str, TableState>,
    /// The last write through the proxy of which each table holds all that it has changed.
    holds: HashMap<String, Millis>,
    /// When marks of writes were last taken over from elsewhere.
    imported_at: Millis,
}

/// What the keys begin with by which is noted which writes a table holds.
pub(super) const HOLDS: &str = "holds:";
/// When marks of writes were last taken over from elsewhere.
pub(super) const IMPORTED: &str = "imported";

/// What is noted of which writes the tables hold, and of marks that were taken over.
pub(super) fn own_writes(connection: &Connection) -> rusqlite::Result<(HashMap<String, Millis>, Millis)> {
    let sql = "SELECT key, value FROM meta WHERE key >= 'holds:' AND key < 'holds;' OR key = 'imported'";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let (mut holds, mut imported_at) = (HashMap::new(), Millis::MIN);
    while let Some(row) = rows.next()? {
        let (key, at): (String, Millis) = (row.get(0)?, row.get(1)?);
        match key.strip_prefix(HOLDS) {
            Some(table) => drop(holds.insert(table.to_owned(), at)),
            None => imported_at = at,
        }
    }
    Ok((holds, imported_at))
}

impl States {
    /// The states of these tables.
    pub fn new(version: i64, tables: HashMap<&'static str, TableState>) -> Self {
        Self { version, tables, holds: HashMap::new(), imported_at: Millis::MIN }
    }

    /// The same with what is known of writes through the proxy.
    #[must_use]
    pub(super) fn with_own_writes(self, holds: HashMap<String, Millis>, imported_at: Millis) -> Self {
        Self { holds, imported_at, ..self }
    }

    /// Whether a table holds all that a write of that time has changed in it, `details` included.
    pub fn holds_write(&self, endpoint: &str, details: bool, written: Millis) -> bool {
        let holds = |key: &str| self.holds.get(key).is_some_and(|at| written <= *at);
        holds(endpoint) && (!details || holds(&details_of(endpoint)))
    }

    /// Marks of writes that are not later were taken over from elsewhere.
    pub fn imported_at(&self) -> Millis {
        self.imported_at
    }

    /// A number that is another after each change of any table.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The state of an endpoint's table; none where it has never been synchronised as a whole.
    pub fn of(&self, endpoint: &str) -> Option<&TableState> {
        self.tables.get(endpoint)
    }

    /// Every table that is here.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &TableState)> {
        self.tables.iter().map(|(endpoint, state)| (*endpoint, state))
    }

    /// Whether the whole table is here, and with `details` the details of all its records.
    pub fn whole(&self, endpoint: &str, details: bool) -> bool {
        self.of(endpoint).is_some_and(|state| state.scope.is_empty() && (state.details || !details))
    }
}

/// Noted beside columns: the list stands in the same order whatever the collation of Alyx's database is.
pub const IN_ONE_ORDER: &str = "order:certain";

/// Whether the list of a table stands in the same order whatever the collation of Alyx's database is, as far as its own
/// columns tell.
pub(super) fn is_in_one_order(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<bool> {
    let is_text = |(_, column): &(_, TableColumn)| matches!(column.kind, ColumnKind::Text);
    let Some(text) = table.order.iter().position(is_text) else {
        // Of what other records tell, each question is looked at.
        return Ok(!table.order.is_empty() || table.endpoint.order.is_empty() || table.ranked);
    };
    let before: Vec<String> = (1..=text).map(|number| format!("order_{number}")).collect();
    let [head, tail] = uncertain(&format!("order_{}", text + 1), &before);
    let sql = format!("SELECT NOT EXISTS({head} \"{prefix}{}\"{tail})", table.name);
    connection.query_row(&sql, [], |row| row.get(0))
}

/// SQL around the rows of a list, which finds something where their order is up to a collation: that of a text, among rows
/// that are alike in the keys before it.
pub(super) fn uncertain(text: &str, before: &[String]) -> [String; 2] {
    let alike =
        if before.is_empty() { String::new() } else { format!("PARTITION BY {} ", before.join(", ")) };
    [
        format!(
            "SELECT 1 FROM (SELECT {text} AS own, lag({text}) OVER ({alike}ORDER BY {text}) AS before FROM"
        ),
        format!(") WHERE before IS NOT NULL AND NOT {ORDER_IS_CERTAIN}(before, own)"),
    ]
}

/// Noted beside columns: Alyx lists this table in the order of its texts' bytes, and no other collation would.
pub const BY_BYTES: &str = "order:bytes";

/// Whether Alyx lists a table by a text, in the order of bytes, and so that no other collation would have: a capital letter
/// before a small one that comes earlier in the alphabet.
pub(super) fn is_by_bytes(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<bool> {
    let by = table.endpoint.order.first().map(|order| order.path);
    let column = table.columns.iter().find(|column| Some(column.name.as_str()) == by);
    let Some(column) = column.filter(|_| table.ranked) else { return Ok(false) };
    let (key, name) = (&column.name, &table.name);
    let sql = format!(
        "SELECT coalesce(min(before <= own), 0) AND \
         coalesce(max(unicode(own) BETWEEN 97 AND 122 AND capital > unicode(own)), 0) \
         FROM (SELECT \"{key}\" AS own, lag(\"{key}\") OVER (ORDER BY n) AS before, \
         max(CASE WHEN unicode(\"{key}\") BETWEEN 65 AND 90 THEN unicode(\"{key}\") + 32 END) OVER (ORDER BY n) AS capital \
         FROM \"{prefix}{name}\")"
    );
    connection.query_row(&sql, [], |row| row.get(0))
}

/// The columns of a table that relations use as keys and in which a value stands twice.
pub fn ambiguous(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for key in keys_of(table.endpoint.name) {
        if table.columns.iter().all(|column| column.name != key) {
            continue;
        }
        let name = &table.name;
        let sql = format!(
            "SELECT EXISTS(SELECT 1 FROM \"{prefix}{name}\" WHERE \"{key}\" IS NOT NULL \
             GROUP BY \"{key}\" HAVING count(*) > 1)"
        );
        if connection.query_row(&sql, [], |row| row.get(0))? {
            found.insert(key.to_owned());
        }
    }
    if is_in_one_order(connection, table, prefix)? {
        found.insert(IN_ONE_ORDER.to_owned());
    }
    if is_by_bytes(connection, table, prefix)? {
        found.insert(BY_BYTES.to_owned());
    }
    Ok(found)
}

/// The columns of an endpoint's records by which other records refer to them.
fn keys_of(endpoint: &str) -> BTreeSet<&'static str> {
    ENDPOINTS
        .iter()
        .filter_map(|endpoint| Model::of(endpoint.name))
        .flat_map(|model| model.relations)
        .filter(|relation| relation.to == endpoint)
        .filter_map(|relation| match relation.join {
            Join::Holds { key, .. } => Some(key),
            Join::HeldAs(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{schema::Schema, sql_functions};

    /// Rows of a table in the order in which Alyx lists them.
    fn listed(table: &EndpointTables, columns: &str, rows: &[&str]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        sql_functions::register(&connection).unwrap();
        connection.execute_batch(&table.create("")).unwrap();
        for (n, row) in rows.iter().enumerate() {
            let sql = format!("INSERT INTO \"{}\"(n, {columns}) VALUES({n}, {row})", table.name);
            connection.execute(&sql, []).unwrap();
        }
        connection
    }

    #[test]
    fn an_order_that_only_bytes_have_tells_the_collation() {
        let table = Schema::get().table("tags").unwrap();
        let by_bytes = |names: &[&str]| {
            let rows: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            is_by_bytes(&listed(table, "name", &rows), table, "").unwrap()
        };
        assert!(by_bytes(&["B", "_x", "a"]));
        // As in every collation, or as in others.
        assert!(!by_bytes(&["A", "b"]) && !by_bytes(&["a", "B"]) && !by_bytes(&[]));
        assert!(!by_bytes(&["C", "a", "B"]), "bytes would have it otherwise");
    }

    #[test]
    fn texts_of_one_rank_tell_whether_a_list_stands_in_one_order() {
        let table = Schema::get().table("insertions").unwrap();
        let in_one =
            |rows: &[&str]| is_in_one_order(&listed(table, "order_1, order_2", rows), table, "").unwrap();
        assert!(in_one(&["1, 'probe00'", "1, 'probe01'", "2, 'Probe00'"]));
        assert!(!in_one(&["1, 'Probe01'", "1, 'probe00'"]));
    }
}
