//! The order of a list in SQL (ALYX.md 1, "ordering"): nulls where PostgreSQL puts them, and ties by the number
//! of the record, so that all pages are cut from one order.

use super::{
    condition::BASE,
    context::Context,
    error::PlanError,
    path,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filterset::{
            QueryResult, Undecidable,
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
        let ordered = context.states.spec().rules()?.order(table.endpoint);
        if table.order.is_empty() && !table.ranked {
            for order in ordered {
                let path = Path::resolve(table.endpoint.name, order.path)?;
                let is_text = matches!(path.leaf, Leaf::Value { kind: ColumnKind::Text, .. });
                let expression = match many(table, &path) {
                    // A record stands in the list once for each of these (imaging stacks, ALYX.md 2.5).
                    Some((rows, column)) => {
                        join = format!(" LEFT JOIN {} o ON o.n = {BASE}.n", quoted(rows));
                        format!("o.{}", quoted(column))
                    }
                    None => path::expression(context, BASE, &path)?.text,
                };
                let (nulls, direction) =
                    if order.descending { ("IS NOT NULL", " DESC") } else { ("IS NULL", "") };
                keys.push(format!("{expression} {nulls}, {expression}{direction}"));
                if is_text && text.is_none() {
                    text = Some((expression, before.clone()));
                } else {
                    before.push(expression);
                }
            }
        } else {
            for (number, (_, column)) in table.order.iter().enumerate().take(ordered.len()) {
                let key = format!("{BASE}.order_{}", number + 1);
                if matches!(column.kind, ColumnKind::Text) && text.is_none() {
                    text = Some((key.clone(), keys.clone()));
                }
                keys.push(key);
            }
        }
        keys.push(format!("{BASE}.n"));
        Ok(Self { join, by: keys.join(", "), text })
    }

    /// Refuses a list of records whose order is up to the collation of Alyx's database.
    pub(super) fn check(
        &self,
        context: &Context<'_>,
        table: &EndpointTables,
        holds: &Sql,
    ) -> Result<(), PlanError> {
        let Some((key, before)) = &self.text else { return Ok(()) };
        if context.is_ambiguous(table.endpoint.name, state::IN_ONE_ORDER) || context.orders_by_bytes() {
            return Ok(());
        }
        let [head, tail] = state::uncertain(key, before);
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

/// The table and column of a path into records that stand within the record.
fn many<'t>(table: &'t EndpointTables, path: &Path) -> Option<(&'t str, &'static str)> {
    let ([hop], Leaf::Value { column, .. }) = (path.hops.as_slice(), path.leaf) else { return None };
    let Join::Holds { .. } = hop.join else { return None };
    let many = table.many(hop.name)?;
    many.columns.iter().any(|own| own.name == column).then_some((many.table.as_str(), column))
}
