//! The conditions of all filters together, as Alyx's database joins them (ALYX.md 2.5, 2.6).

use super::{
    PlanError,
    condition::{self, BASE, Condition, ConditionEffect},
    context::Context,
    sql::{Sql, quoted},
};
use crate::{
    alyx::filterset::{AlyxError, Undecidable, form::ActiveFilter},
    mirror::schema::EndpointTables,
};

/// All conditions together, and the product of their ways.
pub(super) fn joined(
    context: &Context<'_>,
    table: &EndpointTables,
    used: &[ActiveFilter],
    conditions: Vec<Condition>,
) -> Result<(Sql, Option<Sql>), PlanError> {
    let (mut holds, mut ways, mut users, mut divides) = (Vec::new(), Vec::new(), None, false);
    let mut quotients = Vec::new();
    for condition in conditions {
        let test = Sql::new("(").sql(condition.holds).text(")");
        match condition.kind {
            ConditionEffect::Performance => {
                divides = true;
                quotients.push(test);
            }
            _ => holds.push(test),
        }
        match (condition.kind, condition.ways) {
            (ConditionEffect::Users, found) => users = found,
            (_, Some(found)) => ways.push(found),
            (_, None) => {}
        }
    }
    let repeats = (!ways.is_empty()).then(|| Sql::join(ways, " * "));
    if let Some(found) = users.clone() {
        let wanted = i64::try_from(condition::users_wanted(used)).unwrap_or(i64::MAX);
        // Alyx counts the users of every joined row, so that another filter with several matches can
        // make up for one who is missing (ALYX.md 2.6).
        let rows = match &repeats {
            Some(repeats) => found.clone().text(" * ").sql(repeats.clone()),
            None => found.clone(),
        };
        if ["datasets", "histology"].iter().any(|name| context.raw(name).is_some()) {
            let others = Sql::join(holds.iter().cloned(), " AND ");
            let few = Sql::new(format!("SELECT 1 FROM {} {BASE} WHERE ", quoted(&table.name)))
                .sql(others)
                .text(" AND ")
                .sql(found)
                .text(" < ")
                .bind(rusqlite::types::Value::Integer(wanted));
            if context.finds(&few)? {
                return Err(Undecidable::unsupported("count users beside this filter").into());
            }
        }
        holds.push(rows.text(" >= ").bind(rusqlite::types::Value::Integer(wanted)));
    }
    if divides {
        no_division_by_zero(context, table, &holds)?;
    }
    holds.extend(quotients);
    let repeats = match (repeats, users) {
        (Some(repeats), Some(found)) => Some(repeats.text(" * ").sql(found)),
        (repeats, found) => repeats.or(found),
    };
    Ok((Sql::join(holds, " AND "), repeats))
}

/// Alyx fails where it divides by a session's zero trials. Whether it comes to that for sessions which other
/// filters leave out is up to the plan of its database.
fn no_division_by_zero(
    context: &Context<'_>,
    table: &EndpointTables,
    others: &[Sql],
) -> Result<(), PlanError> {
    let zero = Sql::new(format!(
        "SELECT 1 FROM {} {BASE} WHERE {BASE}.n_trials = 0 AND {BASE}.n_correct_trials IS NOT NULL",
        quoted(&table.name)
    ));
    if !context.finds(&zero)? {
        return Ok(());
    }
    let certain = others.iter().fold(zero, |sql, other| sql.text(" AND ").sql(other.clone()));
    if context.finds(&certain)? {
        return Err(AlyxError::failed("division by zero\n").into());
    }
    Err(Undecidable::unsupported("know whether Alyx divides by the zero trials of a session").into())
}
