//! Paths of Django's names in SQL: whether a record leads to a value that compares so, and in how many
//! ways: how many rows the joined tables of Alyx have for it (ALYX.md 2.5).
//!
//! Where the names that relations go by are not unique (two subjects of one nickname) a record doesn't say which of the
//! two it belongs to. That matters only where the two differ in what is asked: a guard looks for that.

use super::{
    compare,
    context::Context,
    keys,
    link::ReverseKey,
    shown,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filterset::{
            QueryError, QueryResult,
            compare::{Comparison, TextTest},
            path::{Leaf, Path},
        },
        model::{ColumnKind, Join, Model, Relation},
    },
    mirror::schema::{EndpointTables, Many},
};

/// Whether the record `alias` of the path's endpoint leads to a value that compares so. Null counts as no.
pub(super) fn predicate(
    context: &Context<'_>,
    alias: &str,
    path: &Path,
    comparison: &Comparison,
) -> QueryResult<Sql> {
    let around = shown::visible(context, path)?;
    let path = around.as_ref().unwrap_or(path);
    keys::guard(context, path)?;
    Walk { context, path, comparison }.holds(alias, path.endpoint, &path.hops)
}

/// In how many ways it does.
pub(super) fn multiplicity(
    context: &Context<'_>,
    alias: &str,
    path: &Path,
    comparison: &Comparison,
) -> QueryResult<Sql> {
    let around = shown::visible(context, path)?;
    let path = around.as_ref().unwrap_or(path);
    Context::countable(path)?;
    Walk { context, path, comparison }.ways(alias, path.endpoint, &path.hops)
}

/// A path that is followed, and what is asked at its end.
pub(super) struct Walk<'w, 'c> {
    pub(super) context: &'w Context<'c>,
    pub(super) path: &'w Path,
    pub(super) comparison: &'w Comparison,
}

impl Walk<'_, '_> {
    /// Whether a relation that leads nowhere fulfils the comparison.
    pub(super) fn of_nothing(&self) -> bool {
        match self.comparison {
            Comparison::Null(wanted) => *wanted,
            Comparison::Json(test) => test.wants_null(),
            _ => false,
        }
    }

    pub(super) fn holds(
        &self,
        alias: &str,
        endpoint: &'static str,
        hops: &[&'static Relation],
    ) -> QueryResult<Sql> {
        let Some((hop, rest)) = hops.split_first() else { return self.leaf(alias, endpoint) };
        let (nothing, found) = match hop.join {
            Join::Holds { key, detail, .. } if !hop.many => {
                self.context.table(endpoint, detail)?;
                let target = self.context.table(hop.to, false)?;
                let held = format!("{alias}.{}", quoted(hop.name));
                let found = self.among(&held, target, key, rest)?;
                self.same_for_namesakes((alias, endpoint), hop, target, key, rest)?;
                (format!("{held} IS NULL"), found)
            }
            Join::Holds { key, detail, .. } => {
                let many = self.many(endpoint, hop.name, detail)?;
                let inner = self.context.alias();
                let within = if let Some(within) = self.embedded(&inner, many, rest)? {
                    within
                } else {
                    let target = self.context.table(hop.to, false)?;
                    self.among(&format!("{inner}.key"), target, key, rest)?
                };
                let rows = quoted(&many.table);
                let found = Sql::new(format!("{alias}.n IN (SELECT {inner}.n FROM {rows} {inner} WHERE "))
                    .sql(within)
                    .text(")");
                (format!("NOT EXISTS (SELECT 1 FROM {rows} m WHERE m.n = {alias}.n)"), found)
            }
            Join::HeldAs(by) => {
                let ReverseKey { other, key, many } = self.held(endpoint, hop, by)?;
                let inner = self.context.alias();
                let within = self.holds(&inner, hop.to, rest)?;
                let own = format!("{alias}.{}", quoted(key));
                let rows = quoted(&other.name);
                let holders = match many {
                    None => Sql::new(format!("SELECT {inner}.{} FROM {rows} {inner} WHERE ", quoted(by)))
                        .sql(within),
                    Some(many) => Sql::new(format!(
                        "SELECT m.key FROM {} m WHERE m.n IN (SELECT {inner}.n FROM {rows} {inner} WHERE ",
                        quoted(&many.table)
                    ))
                    .sql(within)
                    .text(")"),
                };
                let (table, column) = match many {
                    None => (rows.clone(), quoted(by)),
                    Some(many) => (quoted(&many.table), "key".to_owned()),
                };
                let any = format!("SELECT m.{column} FROM {table} m WHERE m.{column} IS NOT NULL");
                self.one_holder(
                    alias,
                    endpoint,
                    key,
                    if self.of_nothing() { Sql::new(any) } else { holders.clone() },
                )?;
                let found = Sql::new(format!("{own} IN (")).sql(holders).text(")");
                (format!("NOT EXISTS (SELECT 1 FROM {table} m WHERE m.{column} = {own})"), found)
            }
        };
        if !self.of_nothing() {
            return Ok(found);
        }
        Ok(Sql::new(format!("({nothing} OR ")).sql(found).text(")"))
    }

    /// Whether this is the key of a record that leads on so.
    pub(super) fn among(
        &self,
        held: &str,
        target: &EndpointTables,
        key: &str,
        rest: &[&'static Relation],
    ) -> QueryResult<Sql> {
        let inner = self.context.alias();
        let within = self.holds(&inner, target.endpoint.name, rest)?;
        let (key, name) = (quoted(key), quoted(&target.name));
        Ok(Sql::new(format!("{held} IN (SELECT {inner}.{key} FROM {name} {inner} WHERE "))
            .sql(within)
            .text(")"))
    }

    fn leaf(&self, alias: &str, endpoint: &'static str) -> QueryResult<Sql> {
        let Leaf::Value { column, kind, detail, .. } = self.path.leaf else {
            return Ok(Sql::new(if self.of_nothing() { "0" } else { "1" }));
        };
        let table = self.context.table(endpoint, detail)?;
        if let Some(many) = table.many(column) {
            let rows = quoted(&many.table);
            if self.of_nothing() {
                return Ok(Sql::new(format!("NOT EXISTS (SELECT 1 FROM {rows} m WHERE m.n = {alias}.n)")));
            }
            let inner = self.context.alias();
            let key = format!("{inner}.key");
            let holds = if self.looks_into_text() && self.context.repeats(&many.table, "key") {
                self.among_values(&key, &many.table, "key", kind)?
            } else {
                self.compared(&key, kind)?
            };
            return Ok(Sql::new(format!("{alias}.n IN (SELECT {inner}.n FROM {rows} {inner} WHERE "))
                .sql(holds)
                .text(")"));
        }
        if table.wide.iter().any(|wide| wide.name == column) {
            let inner = self.context.alias();
            let own = format!("{inner}.{}", quoted(column));
            let mut holds = self.compared(&own, kind)?;
            if let (Comparison::Json(test), Some(nulls)) =
                (self.comparison, self.context.nulls(endpoint, column))
            {
                let of_null = i32::from(test.null_holds(nulls)?);
                holds =
                    Sql::new(format!("CASE WHEN {own} IS NULL THEN {of_null} ELSE ")).sql(holds).text(" END");
            }
            let name = quoted(&format!("{}__wide", table.name));
            return Ok(Sql::new("(SELECT ")
                .sql(holds)
                .text(&format!(" FROM {name} {inner} WHERE {inner}.n = {alias}.n)")));
        }
        let own = format!("{alias}.{}", quoted(column));
        let is_folded = matches!(self.comparison, Comparison::Text(TextTest::Is, _, false))
            && table.folded.iter().any(|folded| folded == column);
        if self.looks_into_text() && !is_folded && self.context.repeats(&table.name, column) {
            return self.among_values(&own, &table.name, column, kind);
        }
        self.compared(&own, kind)
    }

    /// Whether a column compares so.
    pub(super) fn compared(&self, column: &str, kind: ColumnKind) -> QueryResult<Sql> {
        compare::predicate(column, kind, self.comparison, &self.context.database())
    }

    /// Whether a value is among those of a column that compare so: the few different ones are looked into once
    /// each, instead of every record's. They are had by leaps in the column's index, from one to the next.
    fn among_values(&self, value: &str, table: &str, column: &str, kind: ColumnKind) -> QueryResult<Sql> {
        let values = self.context.alias();
        let (table, column) = (quoted(table), quoted(column));
        let holds = self.compared(&format!("{values}.value"), kind)?;
        Ok(Sql::new(format!(
            "{value} IN (WITH RECURSIVE {values}(value) AS (SELECT min({column}) FROM {table} UNION ALL \
             SELECT (SELECT min({column}) FROM {table} WHERE {column} > value) FROM {values} \
             WHERE value IS NOT NULL) SELECT value FROM {values} WHERE "
        ))
        .sql(holds)
        .text(")"))
    }

    /// Whether an index does not help to find what is asked for.
    fn looks_into_text(&self) -> bool {
        matches!(
            self.comparison,
            Comparison::Text(TextTest::Contains | TextTest::Starts | TextTest::Ends, ..)
                | Comparison::Text(TextTest::Is, _, false)
                | Comparison::Matches(_)
        )
    }

    fn ways(&self, alias: &str, endpoint: &'static str, hops: &[&'static Relation]) -> QueryResult<Sql> {
        let Some((hop, rest)) = hops.split_first() else { return self.leaf_ways(alias, endpoint) };
        let (nothing, found) = match hop.join {
            Join::Holds { key, detail, .. } if !hop.many => {
                self.context.table(endpoint, detail)?;
                let target = self.context.table(hop.to, false)?;
                let inner = self.context.alias();
                let within = self.ways(&inner, hop.to, rest)?;
                let held = format!("{alias}.{}", quoted(hop.name));
                let found = Sql::new("coalesce((SELECT ").sql(within).text(&format!(
                    " FROM {} {inner} WHERE {inner}.{} = {held} LIMIT 1), 0)",
                    quoted(&target.name),
                    quoted(key)
                ));
                (format!("{held} IS NULL"), found)
            }
            Join::Holds { key, detail, .. } => {
                let many = self.many(endpoint, hop.name, detail)?;
                let rows = quoted(&many.table);
                let inner = self.context.alias();
                let found = if let Some(within) = self.embedded(&inner, many, rest)? {
                    Sql::new(format!("(SELECT count(*) FROM {rows} {inner} WHERE {inner}.n = {alias}.n AND "))
                        .sql(within)
                        .text(")")
                } else {
                    let target = self.context.table(hop.to, false)?;
                    let record = self.context.alias();
                    Sql::new("(SELECT coalesce(sum(").sql(self.ways(&record, hop.to, rest)?).text(&format!(
                        "), 0) FROM {rows} {inner} JOIN {} {record} ON {record}.{} = {inner}.key WHERE \
                         {inner}.n = {alias}.n)",
                        quoted(&target.name),
                        quoted(key)
                    ))
                };
                (format!("NOT EXISTS (SELECT 1 FROM {rows} m WHERE m.n = {alias}.n)"), found)
            }
            Join::HeldAs(by) => {
                let ReverseKey { other, key, many } = self.held(endpoint, hop, by)?;
                let inner = self.context.alias();
                let within = self.ways(&inner, hop.to, rest)?;
                let (own, rows) = (format!("{alias}.{}", quoted(key)), quoted(&other.name));
                let joined = match many {
                    None => format!("{rows} {inner} WHERE {inner}.{} = {own}", quoted(by)),
                    Some(many) => format!(
                        "{} m JOIN {rows} {inner} ON {inner}.n = m.n WHERE m.key = {own}",
                        quoted(&many.table)
                    ),
                };
                let found =
                    Sql::new("(SELECT coalesce(sum(").sql(within).text(&format!("), 0) FROM {joined})"));
                (format!("NOT EXISTS (SELECT 1 FROM {joined})"), found)
            }
        };
        if !self.of_nothing() {
            return Ok(found);
        }
        Ok(Sql::new(format!("CASE WHEN {nothing} THEN 1 ELSE ")).sql(found).text(" END"))
    }

    fn leaf_ways(&self, alias: &str, endpoint: &'static str) -> QueryResult<Sql> {
        if let Leaf::Value { column, kind, detail, .. } = self.path.leaf {
            let table = self.context.table(endpoint, detail)?;
            if let Some(many) = table.many(column)
                && !self.of_nothing()
            {
                let inner = self.context.alias();
                let holds = self.compared(&format!("{inner}.key"), kind)?;
                let rows = quoted(&many.table);
                return Ok(Sql::new(format!(
                    "(SELECT count(*) FROM {rows} {inner} WHERE {inner}.n = {alias}.n AND "
                ))
                .sql(holds)
                .text(")"));
            }
        }
        Ok(Sql::new("(").sql(self.leaf(alias, endpoint)?).text(" IS TRUE)"))
    }

    /// What is asked of a related record, where it stands within the record itself.
    pub(super) fn embedded(
        &self,
        alias: &str,
        many: &'static Many,
        rest: &[&'static Relation],
    ) -> QueryResult<Option<Sql>> {
        let has = |name: &str| many.columns.iter().any(|column| column.name == name);
        match (rest, self.path.leaf) {
            ([], Leaf::Value { column, kind, .. }) if has(column) => {
                self.compared(&format!("{alias}.{}", quoted(column)), kind).map(Some)
            }
            ([hop, rest @ ..], _) if has(hop.name) && !hop.many && !self.of_nothing() => {
                let Join::Holds { key, .. } = hop.join else { return Ok(None) };
                let target = self.context.table(hop.to, false)?;
                self.among(&format!("{alias}.{}", quoted(hop.name)), target, key, rest).map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) fn many(
        &self,
        endpoint: &'static str,
        relation: &str,
        detail: bool,
    ) -> QueryResult<&'static Many> {
        let many = self.context.table(endpoint, detail)?.many(relation);
        many.ok_or_else(|| QueryError::beyond(&format!("follow {relation} of /{endpoint}")))
    }

    fn held(&self, endpoint: &'static str, hop: &Relation, by: &str) -> QueryResult<ReverseKey> {
        let relation = Model::of(hop.to).and_then(|model| model.relation(by));
        let Some(Relation { join: Join::Holds { key, detail, .. }, many, .. }) = relation else {
            return Err(QueryError::beyond(&format!("follow {} of /{endpoint}", hop.name)));
        };
        self.context.table(endpoint, false)?;
        let other = self.context.table(hop.to, *detail)?;
        let many = if *many { other.many(by) } else { None };
        Ok(ReverseKey { other, key, many })
    }
}
