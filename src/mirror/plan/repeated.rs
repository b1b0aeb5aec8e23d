//! Lists that have a record once for each of those that order it: an imaging stack for each of its slices (ALYX.md 2.5).
//!
//! Django joins the slices once for each filter that asks for them, and orders by those that it joined last, or by all where no
//! filter does. Where rows must be distinct, slices of one name are one row.

use super::{
    condition::{Condition, Rows},
    context::Context,
    order::RowOrder,
    path::Walk,
    sql::Sql,
};
use crate::alyx::{
    filterset::{
        QueryError, QueryResult, Undecidable,
        compare::Comparison,
        path::{Leaf, Path},
    },
    model::{Join, Model},
};

/// The alias of the records that order the list.
pub(super) const ORDERING: &str = "o";

/// The rows of the records that order the list which a filter joins: none where it joins none.
pub(super) fn joined(
    context: &Context<'_>,
    path: &Path,
    comparison: &Comparison,
) -> QueryResult<Option<Rows>> {
    let relation = context.endpoint.order.iter().find_map(|order| {
        let path = Path::resolve(context.endpoint.name, order.path).ok()?;
        path.hops.first().filter(|hop| hop.many).map(|hop| hop.name)
    });
    let Some(relation) = relation else { return Ok(None) };
    of_row(context, relation, ORDERING, path, comparison)
}

/// Whether a row of a relation to many records, called `alias`, leads to a value that compares so, and in how many ways; none
/// where the path does not begin with the relation.
fn of_row(
    context: &Context<'_>,
    relation: &str,
    alias: &str,
    path: &Path,
    comparison: &Comparison,
) -> QueryResult<Option<Rows>> {
    let walk = Walk { context, path, comparison };
    let (is_first, rest) = match (path.hops.split_first(), path.leaf) {
        (Some((hop, rest)), _) => (hop.name == relation, rest),
        (None, Leaf::Value { column, .. }) => (column == relation, &[][..]),
        (None, Leaf::Record) => (false, &[][..]),
    };
    if !is_first {
        return Ok(None);
    }
    if walk.of_nothing() {
        return Err(QueryError::beyond("know how often Alyx lists a record then"));
    }
    let many = walk.many(path.endpoint, relation, false)?;
    let (Some(hop), Leaf::Value { kind, .. }) =
        (Model::of(path.endpoint).and_then(|model| model.relation(relation)), path.leaf)
    else {
        return Ok(None);
    };
    let holds = if path.hops.is_empty() {
        walk.compared(&format!("{alias}.key"), kind)?
    } else if let Some(within) = walk.embedded(alias, many, rest)? {
        within
    } else {
        let Join::Holds { key, .. } = hop.join else { return Ok(None) };
        let target = context.table(hop.to, false)?;
        walk.among(&format!("{alias}.key"), target, key, rest)?
    };
    // Pairs make the rows distinct.
    Ok(Some(Rows { ways: Sql::new("1"), holds }))
}

/// What the conditions make of the rows that order the list.
pub(super) fn order(order: &mut RowOrder, conditions: &[Condition], distinct: bool) {
    if order.join.is_empty() {
        return;
    }
    let mut joining = conditions.iter().enumerate().filter(|(_, condition)| condition.rows.is_some());
    let Some((at, last)) = joining.next_back() else {
        order.group = distinct;
        return;
    };
    let Some(rows) = &last.rows else { return };
    order.condition = Some(rows.holds.clone());
    order.group = distinct;
    if !distinct {
        // One row for each way of this condition, times those of the others.
        let others = conditions.iter().enumerate().filter(|(other, _)| *other != at);
        let ways = others.filter_map(|(_, condition)| condition.ways.clone()).chain([rows.ways.clone()]);
        order.repeats = Some(Sql::join(ways, " * "));
    }
}

/// Refuses a page that says it is all there is, while rows that are alike in what orders them stand on it and behind it.
pub(super) fn check_cut(ranks: &[i64], limit: usize) -> Result<(), Undecidable> {
    match (limit.checked_sub(1).and_then(|last| ranks.get(last)), ranks.get(limit)) {
        (Some(last), Some(next)) if last == next => {
            Err(Undecidable::unsupported("know which of the records that are alike Alyx lists first"))
        }
        _ => Ok(()),
    }
}
