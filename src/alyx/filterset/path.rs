//! Paths of Django's names, resolved over the models (ALYX.md 2.2).

use super::QueryError;
use crate::alyx::model::{Column, ColumnKind, Join, Model, RelatedField, Relation};

/// A path resolved: relations to follow, what is at their end, and what of the path is left: the
/// transforms and the lookup.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    pub(crate) endpoint: &'static str,
    pub(crate) hops: Vec<&'static Relation>,
    pub(crate) leaf: Leaf,
    pub(crate) rest: Vec<String>,
    /// What it ends at where that is a relation itself, and not a column of the other record.
    pub(crate) related: Option<RelationEnd>,
}

/// A relation at the end of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelationEnd {
    pub(crate) field: RelatedField,
    /// The endpoint of the records that it leads to.
    pub(crate) to: &'static str,
}

/// The model whose primary key is a relation: it is one of another kind besides.
const IS_ANOTHER_TOO: &str = "chronic-insertions";

/// Relations beyond so many are not followed: they lead round in circles, and every one costs a joined table.
const MOST_HOPS: usize = 16;

/// What is at the end of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaf {
    /// A value in the record.
    Value {
        /// The column's name, as messages have it.
        name: &'static str,
        /// The path, from the model at the end of the relations, under which the mirror keeps it.
        column: &'static str,
        kind: ColumnKind,
        at: &'static str,
        detail: bool,
    },
    /// A related record, of whose key nothing is known.
    Record,
}

impl Path {
    /// Resolves a path of an endpoint's model.
    pub(crate) fn resolve(endpoint: &'static str, path: &str) -> Result<Self, QueryError> {
        Self::resolve_by(endpoint, path, true)
    }

    /// Resolves a path by the related records, and not by what is shown of them; none where that can't be.
    pub(crate) fn resolve_related(endpoint: &'static str, path: &str) -> Option<Self> {
        Self::resolve_by(endpoint, path, false).ok().filter(|path| path.rest.is_empty())
    }

    /// The same path, which ends at a value that the record itself ought to show, by way of the related records.
    pub(crate) fn by_relations(&self) -> Option<Self> {
        let Leaf::Value { column, .. } = self.leaf else { return None };
        let model = Model::of(self.endpoint).filter(|_| self.hops.is_empty())?;
        model.shortcuts.iter().find(|shortcut| shortcut.path == column)?;
        let path = Self::resolve_by(self.endpoint, column, false).ok()?;
        Some(Self { rest: self.rest.clone(), ..path })
    }

    fn resolve_by(endpoint: &'static str, path: &str, shortcuts: bool) -> Result<Self, QueryError> {
        let segments: Vec<&str> = path.split("__").collect();
        let (hops, rest) = (Vec::new(), Vec::new());
        let mut at = Self { endpoint, hops, leaf: Leaf::Record, rest, related: None };
        at.walk(endpoint, &segments, shortcuts)?;
        Ok(at)
    }

    fn walk(&mut self, endpoint: &'static str, segments: &[&str], shortcuts: bool) -> Result<(), QueryError> {
        let Some(model) = Model::of(endpoint) else { return Err(unknown(endpoint, segments)) };
        if self.hops.is_empty()
            && shortcuts
            && let Some((shortcut, rest)) =
                model.shortcuts.iter().find_map(|shortcut| Some((shortcut, after(segments, shortcut.path)?)))
        {
            let name = shortcut.path.rsplit("__").next().unwrap_or(shortcut.path);
            let (column, kind, at) = (shortcut.path, shortcut.kind, shortcut.at);
            self.end(Leaf::Value { name, column, kind, at, detail: false }, rest);
            return Ok(());
        }
        if let Some((column, rest)) = column(model, segments) {
            if segments.first() == Some(&"pk") && endpoint == IS_ANOTHER_TOO {
                self.related = Some(RelationEnd { field: RelatedField::OneToOneField, to: endpoint });
            }
            let Column { name, kind, at, detail } = *column;
            self.end(Leaf::Value { name, column: name, kind, at, detail }, rest);
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
            self.end(Leaf::Value { name, column: name, kind, at, detail }, rest);
            return Ok(());
        }
        if model.hidden.contains(name) {
            return Err(QueryError::hidden(&format!("{} of {endpoint}", segments.join("__"))));
        }
        if model.complete {
            let mut names: Vec<&str> = model.columns.iter().map(|column| column.name).collect();
            names.extend(model.relations.iter().map(|relation| relation.name));
            names.extend(model.hidden);
            names.sort_unstable();
            let (name, names) = (name, names.join(", "));
            return Err(QueryError::failed(&format!(
                "Cannot resolve keyword '{name}' into field. Choices are: {names}"
            )));
        }
        Err(unknown(endpoint, segments))
    }

    fn follow(&mut self, relation: &'static Relation, rest: &[&str]) -> Result<(), QueryError> {
        let target = Model::of(relation.to);
        let key_column = |key: &str| target.and_then(|model| model.column(key));
        if let Join::Holds { at, key, detail } = relation.join {
            let names_key = rest.first().is_some_and(|name| *name == key || (*name == "pk" && key == "id"));
            let is_key = key == "id" && rest.first().is_none_or(|name| !known(target, name));
            if (names_key || is_key)
                && let Some(column) = key_column(key)
            {
                let name = column.name;
                let field = match rest.first() {
                    Some(&"pk") if relation.to == IS_ANOTHER_TOO => Some(RelatedField::OneToOneField),
                    _ => (!names_key).then_some(relation.field),
                };
                self.related = field.map(|field| RelationEnd { field, to: relation.to });
                let rest = if names_key { &rest[1..] } else { rest };
                self.end(Leaf::Value { name, column: relation.name, kind: column.kind, at, detail }, rest);
                return Ok(());
            }
        }
        if self.hops.len() >= MOST_HOPS {
            return Err(QueryError::beyond("follow so many relations"));
        }
        self.hops.push(relation);
        if rest.first().is_some_and(|name| known(target, name)) {
            return self.walk(relation.to, rest, false);
        }
        self.related = Some(RelationEnd { field: relation.field, to: relation.to });
        match key_column("id") {
            Some(Column { kind, at, detail, .. }) => {
                let (name, column) = ("id", "id");
                let leaf = Leaf::Value { name, column, kind: *kind, at, detail: *detail };
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
    pub(crate) fn many(&self) -> bool {
        let holds_many = matches!(self.leaf, Leaf::Value { at, .. } if at.contains("[]"));
        holds_many || self.hops.iter().any(|hop| hop.many)
    }

    /// Whether it goes through the same relation to many records more than once: the rows that are joined so grow with each
    /// time by as many as there are.
    pub(crate) fn repeats_many(&self) -> bool {
        let many = |hop: &&&Relation| hop.many || matches!(hop.join, Join::HeldAs(_));
        let later = |at: usize| self.hops[at + 1..].iter();
        (0..self.hops.len())
            .any(|at| many(&&self.hops[at]) && later(at).any(|hop| std::ptr::eq(*hop, self.hops[at])))
    }
}

fn unknown(endpoint: &str, segments: &[&str]) -> QueryError {
    QueryError::hidden(&format!("{} of {endpoint}", segments.join("__")))
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
pub(crate) fn column<'s, 'p>(
    model: &Model,
    segments: &'s [&'p str],
) -> Option<(&'static Column, &'s [&'p str])> {
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
