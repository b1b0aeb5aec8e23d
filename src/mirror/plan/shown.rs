//! What this Alyx's records don't show can't be decided from them: a column of which no record says anything is hidden, not null.

use super::{
    context::Context,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        endpoint::DATASETS,
        filter::{Filter, Predicate},
        filterset::{
            QueryError, QueryResult, Undecidable,
            path::{Leaf, Path},
        },
        model::{Join, Model, Relation},
        spec::Alive,
    },
    mirror::{schema::Schema, shown},
};

/// Refuses a path that leads over or to something that is not shown. Where the record itself ought to show the end of it, and
/// doesn't, it is the path over the related records that counts.
pub(super) fn visible(context: &Context<'_>, path: &Path) -> QueryResult<Option<Path>> {
    let Err(hidden) = check(context, path) else {
        whole(context, path);
        return Ok(None);
    };
    let around = path.by_relations().ok_or(hidden)?;
    check(context, &around)?;
    whole(context, &around);
    Ok(Some(around))
}

/// Lists of an Alyx that nobody knows may leave records out: where others name one that is not listed, what leads over it can't
/// be decided.
fn whole(context: &Context<'_>, path: &Path) {
    if !context.is_strange() {
        return;
    }
    let mut at = path.endpoint;
    for hop in &path.hops {
        let (holder, held, to) = match hop.join {
            Join::Holds { .. } => (at, hop.name, hop.to),
            Join::HeldAs(by) => (hop.to, by, at),
        };
        if let Some(left_out) = left_out(holder, held) {
            let difference = format!("names records of /{to} that it does not list");
            context.guard(left_out, Undecidable::OtherAlyx { difference });
        }
        at = hop.to;
    }
}

/// What is found where records hold keys of others that are not listed.
fn left_out(holder: &str, held: &str) -> Option<Sql> {
    let relation = Model::of(holder)?.relation(held)?;
    let Join::Holds { key, .. } = relation.join else { return None };
    let (table, target) = (Schema::get().table(holder)?, Schema::get().table(relation.to)?);
    target.column(key)?;
    let (rows, column) = match table.many(held) {
        Some(many) => (many.table.as_str(), "key"),
        None => (table.name.as_str(), table.column(held)?.name.as_str()),
    };
    let (key, of) = (quoted(key), quoted(&target.name));
    Some(Sql::new(format!(
        "SELECT 1 FROM {} h WHERE h.{column} IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM {of} l WHERE l.{key} = h.{column})",
        quoted(rows),
        column = quoted(column)
    )))
}

fn check(context: &Context<'_>, path: &Path) -> QueryResult<()> {
    let mut at = path.endpoint;
    let mut within = None;
    for hop in &path.hops {
        if !stands_within(within, hop.name) {
            match hop.join {
                Join::Holds { .. } => column(context, at, hop.name)?,
                Join::HeldAs(by) => column(context, hop.to, by)?,
            }
        } else if let Some((endpoint, relation)) = within {
            embedded(context, endpoint, relation, hop.name)?;
        }
        within = embeds(at, hop).then_some((at, hop.name));
        at = hop.to;
    }
    let Leaf::Value { column: name, .. } = path.leaf else { return Ok(()) };
    match within {
        Some((endpoint, relation)) if stands_within(within, name) => {
            embedded(context, endpoint, relation, name)
        }
        _ => column(context, at, name),
    }
}

/// Whether related records stand within the record.
fn embeds(endpoint: &str, hop: &Relation) -> bool {
    let table = Schema::get().table(endpoint);
    table.and_then(|table| table.many(hop.name)).is_some_and(|many| !many.columns.is_empty())
}

/// Whether a column of the records that stand within is there, too.
fn stands_within(within: Option<(&'static str, &str)>, column: &str) -> bool {
    let Some((endpoint, relation)) = within else { return false };
    let many = Schema::get().table(endpoint).and_then(|table| table.many(relation));
    many.is_some_and(|many| many.columns.iter().any(|known| known.name == column))
}

fn embedded(context: &Context<'_>, endpoint: &str, relation: &str, column: &str) -> QueryResult<()> {
    refuse(context, endpoint, &shown::note(Some(relation), column), column)
}

/// Refuses to look into a column that is not shown.
pub(super) fn column(context: &Context<'_>, endpoint: &str, column: &str) -> QueryResult<()> {
    refuse(context, endpoint, &shown::note(None, column), column)
}

fn refuse(context: &Context<'_>, endpoint: &str, note: &str, column: &str) -> QueryResult<()> {
    if context.is_ambiguous(endpoint, note) {
        return Err(QueryError::hidden(&format!("{column} of {endpoint}")));
    }
    if context.is_ambiguous(endpoint, &shown::unknown_label(column)) {
        return Err(QueryError::hidden(&format!("the number of each label of {column} of {endpoint}")));
    }
    Ok(())
}

/// Refuses what a filter looks into by itself, and no path names.
pub(super) fn of_filter(context: &Context<'_>, filter: &Filter) -> QueryResult<()> {
    let own = context.endpoint.name;
    let columns: &[(&str, &str)] = match filter.test {
        Predicate::PerformanceFrom | Predicate::PerformanceUntil => {
            &[(own, "n_trials"), (own, "n_correct_trials")]
        }
        Predicate::Alive | Predicate::WaterRestricted
            if context.reading.rules.alive == Alive::ByDeathDate =>
        {
            &[(own, "death_date")]
        }
        Predicate::SessionDatasets
        | Predicate::Datasets { .. }
        | Predicate::DatasetQc(_)
        | Predicate::DatasetTypes(_) => &[(DATASETS, "name"), (DATASETS, "qc"), (DATASETS, "dataset_type")],
        Predicate::ExistsOnServer => &[(own, "file_records")],
        Predicate::OfInsertion => &[(own, "session"), (own, "collection")],
        _ => &[],
    };
    columns.iter().try_for_each(|(endpoint, name)| column(context, endpoint, name))
}
