//! The values that paths of Django's names lead to in the records.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use crate::{
    alyx::{
        filterset::{
            QueryError,
            path::{Leaf, Path},
        },
        json_path,
        model::{Join, Model, Relation},
        record::Record,
    },
    miniature::data::{Data, keys},
};

/// A value that a path leads to; null also where a relation leads nowhere.
#[derive(Debug)]
pub(super) enum PathValue<'d> {
    Null,
    Value(Cow<'d, Value>),
    /// A related record that exists.
    Exists,
}

/// Where a path leads.
pub(super) trait Leads {
    /// The values that the record at this place leads to: one for each row of the joined tables.
    fn cells<'d>(&self, data: &'d Data, place: usize) -> Result<Vec<PathValue<'d>>, QueryError>;
}

impl Leads for Path {
    fn cells<'d>(&self, data: &'d Data, place: usize) -> Result<Vec<PathValue<'d>>, QueryError> {
        let mut rows = vec![Some((self.endpoint, place))];
        for hop in &self.hops {
            let mut next = Vec::new();
            for row in rows {
                let Some((endpoint, place)) = row else {
                    next.push(None);
                    continue;
                };
                let related = related(data, endpoint, place, hop)?;
                if related.is_empty() {
                    next.push(None);
                }
                next.extend(related.into_iter().map(|place| Some((hop.to, place))));
            }
            rows = next;
        }
        let mut cells = Vec::new();
        for row in rows {
            match (row, self.leaf) {
                (None, _) => cells.push(PathValue::Null),
                (Some(_), Leaf::Record) => cells.push(PathValue::Exists),
                (Some((endpoint, place)), Leaf::Value { column, at, detail, .. }) => {
                    // A relation to nothing may be shown as an empty name.
                    let names = Model::of(endpoint).is_some_and(|model| model.relation(column).is_some());
                    let nothing = |cell: &PathValue<'_>| matches!(cell, PathValue::Value(value) if names && value.as_str() == Some(""));
                    let found = values(data, endpoint, place, at, detail)?.into_iter();
                    cells.extend(found.map(|cell| if nothing(&cell) { PathValue::Null } else { cell }));
                }
            }
        }
        Ok(cells)
    }
}

/// The record at this place, or its detail.
fn record(data: &Data, endpoint: &str, place: usize, detail: bool) -> Result<Arc<Record>, QueryError> {
    let table = data.named(endpoint);
    if detail {
        let missing = || QueryError::beyond(&format!("have the detail of every record of {endpoint}"));
        return table.detail(place).ok_or_else(missing);
    }
    Ok(Arc::clone(&table.records()[place]))
}

/// Where the related records are.
pub(super) fn related(
    data: &Data,
    endpoint: &'static str,
    place: usize,
    relation: &'static Relation,
) -> Result<Vec<usize>, QueryError> {
    match relation.join {
        Join::Holds { at, key, detail } => {
            let record = record(data, endpoint, place, detail)?;
            let index = data.index(relation.to, column_at(relation.to, key), false);
            let mut found = Vec::new();
            for key in keys(record.value(), at) {
                match index.get(&key).map(Vec::as_slice).unwrap_or_default() {
                    [] => {}
                    [one] => found.push(*one),
                    _ => return Err(ambiguous(relation.to, &key)),
                }
            }
            Ok(found)
        }
        Join::HeldAs(by) => {
            let Some(held) = Model::of(relation.to).and_then(|model| model.relation(by)) else {
                return Ok(Vec::new());
            };
            let Join::Holds { at, key, detail } = held.join else { return Ok(Vec::new()) };
            let own = &data.named(endpoint).records()[place];
            let key_place = column_at(endpoint, key);
            let mut found = Vec::new();
            for key in keys(own.value(), key_place) {
                let index = data.index(relation.to, at, detail);
                let holders = index.get(&key).map(Vec::as_slice).unwrap_or_default();
                let shared = data.index(endpoint, key_place, false).get(&key).map_or(0, Vec::len) > 1;
                if shared && !holders.is_empty() {
                    return Err(ambiguous(endpoint, &key));
                }
                found.extend(holders);
            }
            Ok(found)
        }
    }
}

fn ambiguous(endpoint: &str, key: &str) -> QueryError {
    QueryError::beyond(&format!("tell apart the {endpoint} that are named {key}"))
}

fn column_at(endpoint: &str, column: &'static str) -> &'static str {
    Model::of(endpoint).and_then(|model| model.column(column)).map_or(column, |column| column.at)
}

/// The values at a place of a record, which outlive the look at it.
fn values<'d>(
    data: &'d Data,
    endpoint: &str,
    place: usize,
    at: &str,
    detail: bool,
) -> Result<Vec<PathValue<'d>>, QueryError> {
    if !detail {
        return Ok(find(data.named(endpoint).records()[place].value(), at));
    }
    let record = record(data, endpoint, place, true)?;
    let owned = |cell| match cell {
        PathValue::Value(value) => PathValue::Value(Cow::Owned(Cow::into_owned(value))),
        PathValue::Null => PathValue::Null,
        PathValue::Exists => PathValue::Exists,
    };
    Ok(find(record.value(), at).into_iter().map(owned).collect())
}

/// The values at a place; null if there are none.
fn find<'v>(record: &'v Value, at: &str) -> Vec<PathValue<'v>> {
    let values = json_path::values(record, at);
    if values.is_empty() { vec![PathValue::Null] } else { values.into_iter().map(PathValue::Value).collect() }
}
