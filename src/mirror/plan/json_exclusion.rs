//! Exclusion by JSON (`~json__qc,CRITICAL`): null counts in its own way there (ALYX.md 2.2).

use rusqlite::types::Value;

use super::{
    condition::{BASE, wished},
    context::Context,
    keys, namesakes, path, shown,
    sql::{Sql, quoted},
};
use crate::alyx::{
    filterset::{
        QueryError, QueryResult,
        compare::Comparison,
        json_lookup::JsonPredicate,
        path::{Leaf, Path},
    },
    model::{Join, Relation},
};

/// Whether excluding what compares so leaves the record.
pub(super) fn leaves(
    context: &Context<'_>,
    path: &Path,
    comparison: &Comparison,
    test: &JsonPredicate,
) -> QueryResult<Sql> {
    shown::visible(context, path)?;
    keys::guard(context, path)?;
    if path.hops.iter().any(|hop| hop.many || matches!(hop.join, Join::HeldAs(_))) {
        if test.asks_for_null() {
            return Err(QueryError::beyond("exclude by the JSON of many records so"));
        }
        // Django looks for any that does, in a query of its own.
        return Ok(wished(path::predicate(context, BASE, path, comparison)?, false));
    }
    let spec = serde_json::to_string(test).map_err(|_| QueryError::beyond("write down such a test"))?;
    along(context, path, BASE, path.endpoint, &path.hops, test, &spec)
}

fn along(
    context: &Context<'_>,
    path: &Path,
    alias: &str,
    endpoint: &'static str,
    hops: &[&'static Relation],
    test: &JsonPredicate,
    spec: &str,
) -> QueryResult<Sql> {
    let beyond = || QueryError::beyond("exclude by the JSON of a related record");
    let Some((hop, rest)) = hops.split_first() else {
        let Leaf::Value { column, detail, .. } = path.leaf else { return Err(beyond()) };
        let table = context.table(endpoint, detail)?;
        if table.wide.iter().all(|wide| wide.name != column) {
            return Err(beyond());
        }
        let (own, name) = (quoted(column), quoted(&format!("{}__wide", table.name)));
        let leaves = Sql::new("json_leaves(").bind(Value::Text(spec.to_owned())).text(&format!(", w.{own})"));
        let leaves = match context.nulls(endpoint, column) {
            None => leaves,
            Some(nulls) => {
                let of_null = i32::from(test.null_is_left(nulls)?);
                Sql::new(format!("CASE WHEN w.{own} IS NULL THEN {of_null} ELSE ")).sql(leaves).text(" END")
            }
        };
        return Ok(Sql::new("(SELECT ").sql(leaves).text(&format!(" FROM {name} w WHERE w.n = {alias}.n)")));
    };
    let Join::Holds { key, detail, .. } = hop.join else { return Err(beyond()) };
    context.table(endpoint, detail)?;
    let target = context.table(hop.to, false)?;
    if context.is_ambiguous(hop.to, key) {
        return Err(namesakes::namesakes(hop.to, key).into());
    }
    let inner = context.alias();
    let within = along(context, path, &inner, hop.to, rest, test, spec)?;
    Ok(Sql::new("coalesce((SELECT ").sql(within).text(&format!(
        " FROM {} {inner} WHERE {inner}.{} = {alias}.{}), {})",
        quoted(&target.name),
        quoted(key),
        quoted(hop.name),
        i32::from(test.leaves_nothing())
    )))
}
