//! The tables of the mirror, derived from the models of [`crate::alyx`].
//!
//! Each endpoint has these tables; `n` is the number of a record in its table, which holds for as long as
//! the record is there, and by which what Alyx leaves in any order stands in one:
//!
//! - `sessions`: what filters compare, in typed columns: columns of the model, the keys of relations to one
//!   record, and what the record shows of its relations ([`crate::alyx::model::Shortcut`]), each under its
//!   path of Django's names; then `order_1`, …: see [`EndpointTables::order`].
//! - `sessions__wide`: what is too large for a table that is searched as a whole: JSON and arrays.
//! - `sessions__body`: the text of the record in the list (`list`) and, where it is another, of the detail
//!   (`detail`; null where it was not fetched), as Alyx sent them, each with its checksum ([`super::checksum`]).
//! - `sessions__projects`: a table for each relation to many records, a row for each: `n`, the other's `key`
//!   and, where whole records stand within ([`crate::alyx::model::Embedded`]), their columns.
//!
//! A name that has `-` in Alyx has `_` here. How values are stored: see [`ColumnType`].

use std::{collections::HashMap, sync::LazyLock};

use super::projection::Picks;
use crate::alyx::{
    DetailShape, ENDPOINTS, Endpoint,
    endpoint::Order,
    filter::{Lookup, Predicate},
    model::{Column as ModelColumn, ColumnKind, Join, Model, Relation},
};

/// Every table.
#[derive(Debug)]
pub struct Schema {
    tables: Vec<EndpointTables>,
    by_endpoint: HashMap<&'static str, usize>,
}

/// The tables of one endpoint.
#[derive(Debug)]
pub struct EndpointTables {
    /// The endpoint.
    pub endpoint: &'static Endpoint,
    /// Its model; water-restricted subjects have none of their own.
    pub model: Option<&'static Model>,
    /// The table's name.
    pub name: String,
    /// Columns of the table itself.
    pub columns: Vec<TableColumn>,
    /// Columns of `<name>__wide`.
    pub wide: Vec<TableColumn>,
    /// Tables of the relations to many.
    pub many: Vec<Many>,
    /// What the list is ordered by, with values that can be had from the record itself: `order_1`, … hold
    /// them so that ascending order is Alyx's. Empty where a value is another record's, and where there is
    /// no order.
    pub order: Vec<(&'static Order, TableColumn)>,
    /// Columns whose texts some filter compares without regard to case: an index holds them in upper case.
    pub folded: Vec<String>,
    /// Whether `n` is the place in which Alyx serves a record: where that is by text, which every database
    /// orders by a collation of its own (ALYX.md 1, "Collation").
    pub ranked: bool,
    /// The fields that columns are read from: of the record in the list, and of the detail.
    picks: [Picks; 2],
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct TableColumn {
    /// Its name: a path of Django's names.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Where it is in a record (see [`crate::alyx::model`]).
    pub at: &'static str,
    /// Whether only the detail has it.
    pub detail: bool,
    /// Whether an empty text stands for nothing: a record shows a relation to none so.
    pub empty_is_null: bool,
}

/// The table of a relation to many records.
#[derive(Debug, Clone)]
pub struct Many {
    /// The path, from the model.
    pub path: &'static str,
    /// The table's name.
    pub table: String,
    /// `key`: what the rows are of.
    pub key: TableColumn,
    /// Columns beside the key, of records that stand within: their places are within the item.
    pub columns: Vec<TableColumn>,
}

/// How a kind of value is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// TEXT as it is. Compared byte by byte, as the database of the recordings compares.
    Text,
    /// A UUID: a BLOB of 16 bytes, which order as PostgreSQL orders UUIDs.
    Uuid,
    /// INTEGER; of labels, the number behind the label; of truth, 0 or 1.
    Integer,
    /// REAL; `NaN` is the TEXT `NaN`, which SQLite sorts after all numbers, as PostgreSQL does.
    Real,
    /// A time: INTEGER, microseconds since 1970-01-01 00:00, in the server's own zone.
    Micros,
    /// A day: INTEGER, days since 1970-01-01.
    Days,
    /// TEXT of the JSON as it stands in the record; SQL's null and JSON's are both null.
    Json,
}

impl ColumnType {
    /// How this kind is stored.
    pub fn of(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Text => Self::Text,
            ColumnKind::Uuid => Self::Uuid,
            ColumnKind::Integer | ColumnKind::Boolean | ColumnKind::Labels(_) => Self::Integer,
            ColumnKind::Float => Self::Real,
            ColumnKind::DateTime => Self::Micros,
            ColumnKind::Date => Self::Days,
            ColumnKind::Json | ColumnKind::Array => Self::Json,
        }
    }
}

impl Schema {
    /// The one shape.
    pub fn get() -> &'static Self {
        static SHAPE: LazyLock<Schema> = LazyLock::new(|| {
            let tables: Vec<EndpointTables> = ENDPOINTS.iter().map(EndpointTables::of).collect();
            let by_endpoint =
                tables.iter().enumerate().map(|(at, table)| (table.endpoint.name, at)).collect();
            Schema { tables, by_endpoint }
        });
        &SHAPE
    }

    /// All tables, in the order of the endpoints.
    pub fn tables(&self) -> &[EndpointTables] {
        &self.tables
    }

    /// The table of this endpoint.
    pub fn table(&self, endpoint: &str) -> Option<&EndpointTables> {
        self.by_endpoint.get(endpoint).map(|at| &self.tables[*at])
    }
}

impl EndpointTables {
    fn of(endpoint: &'static Endpoint) -> Self {
        let name = endpoint.name.replace('-', "_");
        let model = Model::of(endpoint.name);
        let mut table = Self {
            endpoint,
            model,
            columns: Vec::new(),
            wide: Vec::new(),
            many: Vec::new(),
            order: Vec::new(),
            folded: Vec::new(),
            ranked: model.is_none(),
            picks: <_>::default(),
            name,
        };
        if let Some(model) = model {
            table.derive(model);
        }
        table.picks = [table.picked(false), table.picked(true)];
        table.folded = table.compared_without_case();
        let own = |order: &'static Order| {
            let column = table.columns.iter().find(|column| column.name == order.path)?;
            Some((order, column.clone()))
        };
        table.order = endpoint.order.iter().map(own).collect::<Option<_>>().unwrap_or_default();
        if table.order.first().is_some_and(|(_, column)| matches!(column.kind, ColumnKind::Text)) {
            table.order.clear();
            table.ranked = true;
        }
        table
    }

    fn derive(&mut self, model: &'static Model) {
        for column in model.columns.iter().chain(model.shown) {
            self.add(TableColumn::from(column));
        }
        for relation in model.relations {
            if let Join::Holds { at, key, detail } = relation.join {
                let column = TableColumn {
                    name: relation.name.to_owned(),
                    kind: key_kind(relation, key),
                    at,
                    detail,
                    empty_is_null: true,
                };
                if relation.many {
                    self.add_many(relation.name, column, embedded(model, relation.name));
                } else {
                    self.add(column);
                }
            }
        }
        for shortcut in model.shortcuts {
            let column = TableColumn {
                name: shortcut.path.to_owned(),
                kind: shortcut.kind,
                at: shortcut.at,
                detail: false,
                empty_is_null: false,
            };
            if shortcut.at.contains("[]") {
                self.add_many(shortcut.path, column, Vec::new());
            } else {
                self.add(column);
            }
        }
    }

    fn add(&mut self, column: TableColumn) {
        match ColumnType::of(column.kind) {
            ColumnType::Json => self.wide.push(column),
            _ => self.columns.push(column),
        }
    }

    fn add_many(&mut self, path: &'static str, mut key: TableColumn, columns: Vec<TableColumn>) {
        "key".clone_into(&mut key.name);
        self.many.push(Many { path, table: format!("{}__{path}", self.name), key, columns });
    }

    fn compared_without_case(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for filter in self.endpoint.filters {
            let Predicate::Column(path, Lookup::IExact) = filter.test else { continue };
            let name = path.split("__").next().unwrap_or(path);
            let known = self
                .columns
                .iter()
                .any(|column| column.name == name && matches!(column.kind, ColumnKind::Text));
            if known && !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        }
        columns
    }

    /// The fields that its columns are read from.
    pub(super) fn picks(&self, detail: bool) -> &Picks {
        &self.picks[usize::from(detail)]
    }

    fn picked(&self, detail: bool) -> Picks {
        let mut picks = Picks::default();
        let many = self.many.iter().map(|many| &many.key);
        for column in self.columns.iter().chain(&self.wide).chain(many).filter(|one| one.detail == detail) {
            if ColumnType::of(column.kind) == ColumnType::Json {
                picks.json.push(column.at);
            } else if let Some(field) = column.at.split(['.', '[', '#', '<', '>']).next() {
                picks.values.push(field);
            }
        }
        picks
    }

    /// The column of this name, be it wide or not.
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().chain(&self.wide).find(|column| column.name == name)
    }

    /// The table of the relation, or of the path of a shortcut, to many.
    pub fn many(&self, path: &str) -> Option<&Many> {
        self.many.iter().find(|many| many.path == path)
    }

    /// Whether details are other than the records of the list and must be fetched one by one.
    pub fn has_details(&self) -> bool {
        self.endpoint.detail.is_some_and(|detail| detail.shape == DetailShape::Own)
    }

    /// The names of all its tables, the main one first, each with this prefix.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let name = &self.name;
        let mut names = vec![format!("{prefix}{name}"), format!("{prefix}{name}__body")];
        if !self.wide.is_empty() {
            names.push(format!("{prefix}{name}__wide"));
        }
        names.extend(self.many.iter().map(|many| format!("{prefix}{}", many.table)));
        names
    }
}

fn key_kind(relation: &Relation, key: &str) -> ColumnKind {
    Model::of(relation.to).and_then(|model| model.column(key)).map_or(ColumnKind::Text, |column| column.kind)
}

fn embedded(model: &Model, relation: &str) -> Vec<TableColumn> {
    let found = model.embedded.iter().find(|embedded| embedded.relation == relation);
    found.into_iter().flat_map(|embedded| embedded.columns).map(TableColumn::from).collect()
}

impl From<&ModelColumn> for TableColumn {
    fn from(column: &ModelColumn) -> Self {
        Self {
            name: column.name.to_owned(),
            kind: column.kind,
            at: column.at,
            detail: column.detail,
            empty_is_null: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_tables_that_sqlite_makes() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        super::super::sql_functions::register(&connection).unwrap();
        for table in Schema::get().tables() {
            for (prefix, generation) in [("", 1), ("next:", 2)] {
                connection.execute_batch(&table.create(prefix)).unwrap();
                connection.execute_batch(&table.index(prefix, generation)).unwrap();
            }
        }
    }

    #[test]
    fn lists_are_ordered_by_what_their_records_show() {
        let served: Vec<&str> = Schema::get()
            .tables()
            .iter()
            .filter(|table| !table.endpoint.order.is_empty() && table.order.is_empty() && !table.ranked)
            .map(|table| table.endpoint.name)
            .collect();
        assert_eq!(served, ["fields-of-view", "imaging-stack", "tasks"], "by other records' values");
    }
}
