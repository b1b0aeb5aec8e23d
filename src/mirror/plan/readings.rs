//! What is asked of an Alyx that nobody knows: an answer counts where every way to understand the question that is left comes to
//! the same ([`crate::alyx::spec::reading`]).

use rusqlite::Connection;

use super::{
    ListPlan, ListQuestion, PlanError,
    condition::BASE,
    list_as,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filterset::{QueryError, Undecidable},
        spec::reading::Readings,
    },
    mirror::state::States,
};

/// The plan that all ways to understand a question agree on.
pub(super) fn agreed(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    readings: &Readings,
) -> Result<ListPlan, PlanError> {
    let likeliest = list_as(connection, states, question, &readings.likeliest);
    if let Err(PlanError::Unanswered(QueryError::Refused(refusal))) = &likeliest
        && (refusal.body.contains("Choices") || refusal.body.contains("choices"))
    {
        return Err(Undecidable::Hidden("what there is to choose from".to_owned()).into());
    }
    if let Err(error @ (PlanError::Sqlite(_) | PlanError::Unanswered(QueryError::Undecided(_)))) = likeliest {
        return Err(error);
    }
    // What can't be read is refused before anything is asked.
    let is_unread =
        |said: &_| matches!(said, Err(PlanError::Unanswered(QueryError::Refused(why))) if why.status == 400);
    if let Some(unshown) = readings.unshown.as_ref().filter(|_| !is_unread(&likeliest)) {
        return Err(unshown.clone().into());
    }
    for (part, reading) in &readings.others {
        let other = list_as(connection, states, question, reading);
        if !is_same(connection, &likeliest, &other)? {
            let what = if part.is_empty() { String::new() } else { format!("`{part}` of ") };
            let difference = format!("has not shown what {what}/{} asks", question.endpoint.name);
            return Err(Undecidable::OtherAlyx { difference }.into());
        }
    }
    let plan = likeliest?;
    in_order(connection, states, question, plan)
}

/// The plan, where the order of its rows is known.
fn in_order(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    plan: ListPlan,
) -> Result<ListPlan, PlanError> {
    let endpoint = question.endpoint;
    let is_ordered = !states.spec().rules()?.order(endpoint).is_empty();
    let seen = states.spec().findings().and_then(|findings| findings.order(endpoint.name));
    let in_doubt = match seen {
        Some(true) => false,
        Some(false) => true,
        None => is_ordered,
    };
    if in_doubt && plan.count(connection)? > 1 {
        let difference = match seen {
            Some(_) => format!("lists /{} in another order", endpoint.name),
            None => format!("has not shown the order of /{}", endpoint.name),
        };
        return Err(Undecidable::OtherAlyx { difference }.into());
    }
    Ok(plan)
}

/// Whether two ways come to the same: the same refusal, or the same rows.
fn is_same(
    connection: &Connection,
    one: &Result<ListPlan, PlanError>,
    other: &Result<ListPlan, PlanError>,
) -> Result<bool, PlanError> {
    let (one, other) = match (one, other) {
        (Ok(one), Ok(other)) => (one, other),
        (
            Err(PlanError::Unanswered(QueryError::Refused(one))),
            Err(PlanError::Unanswered(QueryError::Refused(other))),
        ) => return Ok(one == other),
        _ => return Ok(false),
    };
    if one.order.join != other.order.join || one.distinct != other.distinct {
        return Ok(false);
    }
    let (rows, others) = (rows(one), rows(other));
    if rows.text == others.text && rows.values == others.values {
        return Ok(true);
    }
    let differs = Sql::new(format!("SELECT EXISTS(SELECT 1 FROM {} {BASE} WHERE ", quoted(&one.table.name)))
        .sql(rows)
        .text(" <> ")
        .sql(others)
        .text(")");
    let mut statement = connection.prepare_cached(&differs.text)?;
    let differs: bool = statement.query_row(rusqlite::params_from_iter(&differs.values), |row| row.get(0))?;
    Ok(!differs)
}

/// How often a record stands in a list.
fn rows(plan: &ListPlan) -> Sql {
    if plan.holds.text.is_empty() {
        return Sql::new("1");
    }
    let holds = Sql::new("(CASE WHEN (").sql(plan.holds.clone()).text(") IS TRUE THEN ");
    let times = plan.repeats.clone().filter(|_| plan.multiplies()).unwrap_or_else(|| Sql::new("1"));
    holds.sql(times).text(" ELSE 0 END)")
}
