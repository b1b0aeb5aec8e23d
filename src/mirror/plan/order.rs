//! The order of a list in SQL (ALYX.md 1, "ordering"): nulls where PostgreSQL puts them, and ties by the number
//! of the record, so that all pages are cut from one order.

use super::{
    condition::BASE,
    context::Context,
    error::PlanError,
    repeated::ORDERING,
    shown,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filterset::{
            QueryError, QueryResult, Undecidable,
            path::{Leaf, Path},
        },
        model::{ColumnKind, Join},
    },
    mirror::{schema::EndpointTables, state},
};

/// How rows are ordered.
#[derive(Debug, Clone)]
pub(super) struct RowOrder {
    /// What is joined for it; empty for most.
    pub(super) join: String,
    /// What of that is listed,
    pub(super) condition: Option<Sql>,
    /// how often, where not once,
    pub(super) repeats: Option<Sql>,
    /// and whether what is alike is one row ([`super::repeated`]).
    pub(super) group: bool,
    /// What all keys but the last together are: rows that are alike in it stand in any order.
    pub(super) key: String,
    /// What stands after ORDER BY.
    pub(super) by: String,
    /// The key among these that is text, and those before it: rows that are the same in these stand in an order that is up to
    /// the collation of Alyx's database.
    text: Option<(String, Vec<String>)>,
}

impl RowOrder {
    pub(super) fn of(context: &Context<'_>, table: &EndpointTables) -> QueryResult<Self> {
        let (mut join, mut keys) = (String::new(), Vec::new());
        let (mut text, mut before) = (None, Vec::new());
        let ordered = context.reading.rules.order(table.endpoint);
        let collations = context.collations();
        if table.order.is_empty() && !table.ranked {
            for order in ordered {
                let path = Path::resolve(table.endpoint.name, order.path)?;
                let is_text = matches!(path.leaf, Leaf::Value { kind: ColumnKind::Text, .. });
                let expression = match many(table, &path) {
                    // A record stands in the list once for each of these (imaging stacks, ALYX.md 2.5).
                    Some((rows, column)) => {
                        join = format!(" LEFT JOIN {} {ORDERING} ON {ORDERING}.n = {BASE}.n", quoted(rows));
                        format!("{ORDERING}.{}", quoted(column))
                    }
                    None => expression(context, BASE, &path)?.text,
                };
                let raw = expression;
                let expression = if is_text { state::text_key(&raw, collations) } else { raw.clone() };
                let (nulls, direction) =
                    if order.descending { ("IS NOT NULL", " DESC") } else { ("IS NULL", "") };
                keys.push(format!("{expression} {nulls}, {expression}{direction}"));
                if is_text && text.is_none() {
                    text = Some((raw, before.clone()));
                } else {
                    before.push(raw);
                }
            }
        } else {
            for (number, (_, column)) in table.order.iter().enumerate().take(ordered.len()) {
                let key = format!("{BASE}.order_{}", number + 1);
                let is_text = matches!(column.kind, ColumnKind::Text);
                if is_text && text.is_none() {
                    text = Some((key.clone(), keys.clone()));
                }
                // By an index, where bytes are in the order that every collation has.
                let by_key = is_text && !context.is_ambiguous(table.endpoint.name, state::IN_ONE_ORDER);
                keys.push(if by_key { state::text_key(&key, collations) } else { key });
            }
        }
        let key = keys.join(", ");
        keys.push(format!("{BASE}.n"));
        let (condition, repeats, group) = <_>::default();
        Ok(Self { join, condition, repeats, group, key, by: keys.join(", "), text })
    }

    /// Refuses a list of records whose order is up to the collation of Alyx's database.
    pub(super) fn check(
        &self,
        context: &Context<'_>,
        table: &EndpointTables,
        holds: &Sql,
    ) -> Result<(), PlanError> {
        let Some((key, before)) = &self.text else { return Ok(()) };
        let collations = context.collations();
        let is_noted = |noted: &str| context.is_ambiguous(table.endpoint.name, noted);
        if collations.is_by_bytes()
            || is_noted(state::IN_ONE_ORDER)
            || is_noted(&state::in_order_of(collations))
        {
            return Ok(());
        }
        let [head, tail] = state::uncertain(key, before, collations);
        let mut rows = Sql::new(format!("{head} {} {BASE}{}", quoted(&table.name), self.join));
        if !holds.text.is_empty() {
            rows = rows.text(" WHERE ").sql(holds.clone());
        }
        if context.finds(&rows.text(&tail))? {
            return Err(Undecidable::unsupported("know the order of text in Alyx's database").into());
        }
        Ok(())
    }
}

/// The value at the end of a path that leads to one value.
fn expression(context: &Context<'_>, alias: &str, path: &Path) -> QueryResult<Sql> {
    let around = shown::visible(context, path)?;
    let path = around.as_ref().unwrap_or(path);
    let mut sql = Sql::default();
    let (mut alias, mut endpoint, mut depth) = (alias.to_owned(), path.endpoint, 0);
    let Leaf::Value { column, detail, .. } = path.leaf else {
        return Err(QueryError::beyond("order by a record"));
    };
    let mut ends = Vec::new();
    for hop in &path.hops {
        let Join::Holds { key, detail, .. } = hop.join else {
            return Err(QueryError::beyond("order by many records"));
        };
        context.table(endpoint, detail)?;
        let target = context.table(hop.to, false)?;
        let inner = context.alias();
        sql = sql.text("(SELECT ");
        ends.push(format!(
            " FROM {} {inner} WHERE {inner}.{} = {alias}.{} LIMIT 1)",
            quoted(&target.name),
            quoted(key),
            quoted(hop.name)
        ));
        (alias, endpoint, depth) = (inner, hop.to, depth + 1);
    }
    context.table(endpoint, detail)?;
    sql = sql.text(&format!("{alias}.{}", quoted(column)));
    for end in ends.iter().rev() {
        sql = sql.text(end);
    }
    Ok(sql)
}

/// The table and column of a path into records that stand within the record.
fn many<'t>(table: &'t EndpointTables, path: &Path) -> Option<(&'t str, &'static str)> {
    let ([hop], Leaf::Value { column, .. }) = (path.hops.as_slice(), path.leaf) else { return None };
    let Join::Holds { .. } = hop.join else { return None };
    let many = table.many(hop.name)?;
    many.columns.iter().any(|own| own.name == column).then_some((many.table.as_str(), column))
}
