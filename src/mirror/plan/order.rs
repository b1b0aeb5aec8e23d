//! The order of a list in SQL (ALYX.md 1, "ordering"): nulls where PostgreSQL puts them, and ties by the number
//! of the record, so that all pages are cut from one order.

use super::{condition::BASE, context::Context, path, sql::quoted};
use crate::{
    alyx::{
        filterset::{
            QueryResult,
            path::{Leaf, Path},
        },
        model::Join,
    },
    mirror::schema::EndpointTables,
};

/// How rows are ordered.
#[derive(Debug, Clone)]
pub(super) struct RowOrder {
    /// What is joined for it; empty for most.
    pub(super) join: String,
    /// What stands after ORDER BY.
    pub(super) by: String,
}

impl RowOrder {
    pub(super) fn of(context: &Context<'_>, table: &EndpointTables) -> QueryResult<Self> {
        let (mut join, mut keys) = (String::new(), Vec::new());
        if table.order.is_empty() && !table.ranked {
            for order in table.endpoint.order {
                let path = Path::resolve(table.endpoint.name, order.path)?;
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
            }
        } else {
            keys.extend((1..=table.order.len()).map(|number| format!("{BASE}.order_{number}")));
        }
        keys.push(format!("{BASE}.n"));
        Ok(Self { join, by: keys.join(", ") })
    }
}

/// The table and column of a path into records that stand within the record.
fn many<'t>(table: &'t EndpointTables, path: &Path) -> Option<(&'t str, &'static str)> {
    let ([hop], Leaf::Value { column, .. }) = (path.hops.as_slice(), path.leaf) else { return None };
    let Join::Holds { .. } = hop.join else { return None };
    let many = table.many(hop.name)?;
    many.columns.iter().any(|own| own.name == column).then_some((many.table.as_str(), column))
}
