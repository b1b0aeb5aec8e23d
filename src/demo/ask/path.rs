//! Paths of Django's names over the records: which values they lead to (REST.md 2.2).

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use crate::{
    alyx::{
        model::{Column, Join, Kind, Model, Relation},
        place,
        record::Record,
    },
    demo::{answer::Answer, data::Data},
};

/// A path resolved: relations to follow, what is at their end, and what of the path is left: the
/// transforms and the lookup.
#[derive(Debug, Clone)]
pub(super) struct Path {
    endpoint: &'static str,
    hops: Vec<&'static Relation>,
    pub(super) leaf: Leaf,
    pub(super) rest: Vec<String>,
}

/// What is at the end of a path.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leaf {
    /// A value in the record.
    Value {
        /// The column's name, as messages have it.
        name: &'static str,
        kind: Kind,
        at: &'static str,
        detail: bool,
    },
    /// A related record, of whose key nothing is known.
    Record,
}

/// A value that a path leads to; null also where a relation leads nowhere.
#[derive(Debug)]
pub(super) enum Cell<'d> {
    Null,
    Value(Cow<'d, Value>),
    /// A related record that exists.
    Exists,
}

impl Path {
    /// Resolves a path of an endpoint's model.
    pub(super) fn resolve(endpoint: &'static str, path: &str) -> Result<Self, Answer> {
        let segments: Vec<&str> = path.split("__").collect();
        let mut at = Self { endpoint, hops: Vec::new(), leaf: Leaf::Record, rest: Vec::new() };
        at.walk(endpoint, &segments)?;
        Ok(at)
    }

    fn walk(&mut self, endpoint: &'static str, segments: &[&str]) -> Result<(), Answer> {
        let Some(model) = Model::of(endpoint) else { return Err(unknown(endpoint, segments)) };
        if self.hops.is_empty()
            && let Some((shortcut, rest)) =
                model.shortcuts.iter().find_map(|shortcut| Some((shortcut, after(segments, shortcut.path)?)))
        {
            let name = shortcut.path.rsplit("__").next().unwrap_or(shortcut.path);
            self.end(Leaf::Value { name, kind: shortcut.kind, at: shortcut.at, detail: false }, rest);
            return Ok(());
        }
        if let Some((column, rest)) = column(model, segments) {
            let Column { name, kind, at, detail } = *column;
            self.end(Leaf::Value { name, kind, at, detail }, rest);
            return Ok(());
        }
        let [name, rest @ ..] = segments else { return Err(unknown(endpoint, segments)) };
        if let Some(relation) = model.relation(name) {
            return self.follow(relation, rest);
        }
        // A relation to records that no endpoint lists is null where what is shown of them is.
        if let ["isnull"] = rest
            && let Some(column) =
                model.columns.iter().find(|column| column.name.split("__").next() == Some(name))
        {
            let Column { name, kind, at, detail } = *column;
            self.end(Leaf::Value { name, kind, at, detail }, rest);
            return Ok(());
        }
        if model.hidden.contains(name) {
            return Err(Answer::beyond(&format!("know {} of {endpoint}", segments.join("__"))));
        }
        if model.complete {
            let mut names: Vec<&str> = model.columns.iter().map(|column| column.name).collect();
            names.extend(model.relations.iter().map(|relation| relation.name));
            names.extend(model.hidden);
            names.sort_unstable();
            let (name, names) = (name, names.join(", "));
            return Err(Answer::failed(&format!(
                "Cannot resolve keyword '{name}' into field. Choices are: {names}"
            )));
        }
        Err(unknown(endpoint, segments))
    }

    fn follow(&mut self, relation: &'static Relation, rest: &[&str]) -> Result<(), Answer> {
        let target = Model::of(relation.to);
        let key_column = |key: &str| target.and_then(|model| model.column(key));
        if let Join::Holds { at, key, detail } = relation.join {
            let names_key = rest.first().is_some_and(|name| *name == key || (*name == "pk" && key == "id"));
            let is_key = key == "id" && rest.first().is_none_or(|name| !known(target, name));
            if (names_key || is_key)
                && let Some(column) = key_column(key)
            {
                let name = if names_key { column.name } else { relation.name };
                let rest = if names_key { &rest[1..] } else { rest };
                self.end(Leaf::Value { name, kind: column.kind, at, detail }, rest);
                return Ok(());
            }
        }
        self.hops.push(relation);
        if rest.first().is_some_and(|name| known(target, name)) {
            return self.walk(relation.to, rest);
        }
        match key_column("id") {
            Some(Column { kind, at, detail, .. }) => {
                let leaf = Leaf::Value { name: relation.name, kind: *kind, at, detail: *detail };
                self.end(leaf, rest);
            }
            None => self.end(Leaf::Record, rest),
        }
        Ok(())
    }

    fn end(&mut self, leaf: Leaf, rest: &[&str]) {
        self.leaf = leaf;
        self.rest = rest.iter().map(|&name| name.to_owned()).collect();
    }

    /// Whether one record may lead to many values.
    pub(super) fn many(&self) -> bool {
        let holds_many = matches!(self.leaf, Leaf::Value { at, .. } if at.contains("[]"));
        holds_many || self.hops.iter().any(|hop| hop.many)
    }

    /// The values that the record at this place leads to: one for each row of the joined tables.
    pub(super) fn cells<'d>(&self, data: &'d Data, place: usize) -> Result<Vec<Cell<'d>>, Answer> {
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
                (None, _) => cells.push(Cell::Null),
                (Some(_), Leaf::Record) => cells.push(Cell::Exists),
                (Some((endpoint, place)), Leaf::Value { at, detail, .. }) => {
                    cells.extend(values(data, endpoint, place, at, detail)?);
                }
            }
        }
        Ok(cells)
    }
}

fn unknown(endpoint: &str, segments: &[&str]) -> Answer {
    Answer::beyond(&format!("know {} of {endpoint}", segments.join("__")))
}

/// Whether a model has anything of this name.
fn known(model: Option<&Model>, name: &str) -> bool {
    model.is_some_and(|model| {
        let first = |path: &str| path.split("__").next() == Some(name);
        name == "pk"
            || model.columns.iter().any(|column| first(column.name))
            || model.relations.iter().any(|relation| relation.name == name)
            || model.hidden.contains(&name)
    })
}

/// The column that the segments begin with, and the segments after it.
fn column<'s, 'p>(model: &Model, segments: &'s [&'p str]) -> Option<(&'static Column, &'s [&'p str])> {
    if let ["pk", rest @ ..] = segments {
        return Some((model.column("id")?, rest));
    }
    model.columns.iter().find_map(|column| Some((column, after(segments, column.name)?)))
}

/// The segments after this path, if they begin with it.
fn after<'s, 'p>(segments: &'s [&'p str], path: &str) -> Option<&'s [&'p str]> {
    let mut rest = segments;
    for wanted in path.split("__") {
        let [first, others @ ..] = rest else { return None };
        if *first != wanted {
            return None;
        }
        rest = others;
    }
    Some(rest)
}

/// The record at this place, or its detail.
fn record(data: &Data, endpoint: &str, place: usize, detail: bool) -> Result<Arc<Record>, Answer> {
    let table = data.named(endpoint);
    if detail {
        let missing = || Answer::beyond(&format!("have the detail of every record of {endpoint}"));
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
) -> Result<Vec<usize>, Answer> {
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

fn ambiguous(endpoint: &str, key: &str) -> Answer {
    Answer::beyond(&format!("tell apart the {endpoint} that are named {key}"))
}

fn column_at(endpoint: &str, column: &'static str) -> &'static str {
    Model::of(endpoint).and_then(|model| model.column(column)).map_or(column, |column| column.at)
}

/// The keys at a place of a record; an empty name is none.
pub(in crate::demo) fn keys(record: &Value, at: &str) -> Vec<String> {
    let text = |cell: Cell<'_>| match cell {
        Cell::Value(value) => match value.as_ref() {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        },
        _ => None,
    };
    find(record, at).into_iter().filter_map(text).collect()
}

/// The values at a place of a record, which outlive the look at it.
fn values<'d>(
    data: &'d Data,
    endpoint: &str,
    place: usize,
    at: &str,
    detail: bool,
) -> Result<Vec<Cell<'d>>, Answer> {
    if !detail {
        return Ok(find(data.named(endpoint).records()[place].value(), at));
    }
    let record = record(data, endpoint, place, true)?;
    let owned = |cell| match cell {
        Cell::Value(value) => Cell::Value(Cow::Owned(Cow::into_owned(value))),
        Cell::Null => Cell::Null,
        Cell::Exists => Cell::Exists,
    };
    Ok(find(record.value(), at).into_iter().map(owned).collect())
}

/// The values at a place; null if there are none.
fn find<'v>(record: &'v Value, at: &str) -> Vec<Cell<'v>> {
    let values = place::values(record, at);
    if values.is_empty() { vec![Cell::Null] } else { values.into_iter().map(Cell::Value).collect() }
}
