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
        model::{ColumnKind, Join, MODELS, Model},
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

/// The states of all tables that are here, in one state of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    version: i64,
    tables: HashMap<&'static str, TableState>,
}

impl States {
    /// The states of these tables.
    pub fn new(version: i64, tables: HashMap<&'static str, TableState>) -> Self {
        Self { version, tables }
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
    let alike =
        if before.is_empty() { String::new() } else { format!("PARTITION BY {} ", before.join(", ")) };
    let (key, name) = (format!("order_{}", text + 1), &table.name);
    let sql = format!(
        "SELECT NOT EXISTS(SELECT 1 FROM (SELECT {key} AS own, lag({key}) OVER ({alike}ORDER BY {key}) AS before \
         FROM \"{prefix}{name}\") WHERE before IS NOT NULL AND NOT {ORDER_IS_CERTAIN}(before, own))"
    );
    connection.query_row(&sql, [], |row| row.get(0))
}

/// The columns of a table that relations use as keys and in which a value stands twice.
pub fn ambiguous(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<BTreeSet<String>> {
    let keys = MODELS.iter().flat_map(|model| model.relations).filter_map(|relation| match relation.join {
        Join::Holds { key, .. } if relation.to == table.endpoint.name => Some(key),
        _ => None,
    });
    let mut found = BTreeSet::new();
    for key in keys.collect::<BTreeSet<_>>() {
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
    Ok(found)
}

/// The columns of an endpoint's records by which other records refer to them.
pub(super) fn keys_of(endpoint: &str) -> BTreeSet<&'static str> {
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
