//! The conditions of filters in SQL (ALYX.md 2.7).

use rusqlite::types::Value;

use super::{
    context::{Context, text_of},
    datasets, json_exclusion, lacking, namesakes, path, region, repeated, shown,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filter::{Filter, Input, Lookup, Predicate},
        filterset::{
            AlyxError, QueryError, QueryResult, Undecidable,
            compare::Comparison,
            django::{LookupPair, json_tests, pairs},
            form::{ActiveFilter, CleanedValue},
            lookups,
            path::Path,
            python_literal::Python,
        },
        model::Model,
        spec::Alive,
    },
    mirror::{ingest::days, shown::unknown_label},
};

/// The alias of the table that the list is of.
pub(super) const BASE: &str = "t";

/// What a filter asks of the record `t`.
#[derive(Debug)]
pub(super) struct Condition {
    /// Whether it is fulfilled; null counts as no.
    pub(super) holds: Sql,
    /// In how many ways, where these are rows of Alyx's joined tables.
    pub(super) ways: Option<Sql>,
    /// What else is to be done with it.
    pub(super) kind: ConditionEffect,
    /// The rows that it joins of the records by which the list is ordered ([`super::repeated`]).
    pub(super) rows: Option<Rows>,
}

/// Joined rows that a condition holds for, and how often each stands there.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) holds: Sql,
    pub(super) ways: Sql,
}

/// What a condition does beyond its own test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConditionEffect {
    /// Nothing.
    Plain,
    /// It counts users over the joined rows of all conditions (ALYX.md 2.6): `ways` is the number found.
    Users,
    /// It divides by the number of trials.
    Performance,
    /// It replaces the conditions before it.
    Lineage,
}

impl Condition {
    pub(super) fn plain(holds: Sql) -> Self {
        Self { holds, ways: None, kind: ConditionEffect::Plain, rows: None }
    }

    pub(super) fn counted(holds: Sql, ways: Sql) -> Self {
        Self { holds, ways: Some(ways), kind: ConditionEffect::Plain, rows: None }
    }
}

/// The conditions of one filter: `django=` has one for each pair.
pub(super) fn of(
    context: &Context<'_>,
    filter: &'static Filter,
    asked: &CleanedValue,
    used: &[ActiveFilter],
) -> QueryResult<Vec<Condition>> {
    let endpoint = context.endpoint.name;
    shown::of_filter(context, filter)?;
    let at = |path: &str| Path::resolve(endpoint, path);
    let one = |condition: Condition| Ok(vec![condition]);
    match (filter.test, asked) {
        (Predicate::Column(path, lookup), _) => {
            let lookup = context.reading.lookup(filter, lookup);
            if let Some(labelled) = labelled(context, filter, path, lookup, asked)? {
                return one(Condition::plain(labelled));
            }
            let (path, comparison) = lookups::column(endpoint, filter, path, lookup, asked)?;
            let holds = path::predicate(context, BASE, &path, &comparison)?;
            let ways = if filter.joins(path.many()) {
                Some(path::multiplicity(context, BASE, &path, &comparison)?)
            } else {
                None
            };
            one(Condition { holds, ways, kind: ConditionEffect::Plain, rows: None })
        }
        (Predicate::Django, CleanedValue::Text(text)) => {
            let each = |(field, value): &(String, _)| {
                let read = LookupPair::new(endpoint, field, value)
                    .map_err(|unanswered| of_this_alyx(context, field, unanswered))?;
                if read.comparison.is_of_nothing() {
                    context.finds_nothing();
                }
                let condition = pair(context, &read)?;
                context.lacking.end_condition(lacking::is_of_record(endpoint, &read.path));
                Ok(condition)
            };
            several(context, used, pairs(text)?.iter().map(each))
        }
        (Predicate::JsonKeys(column), CleanedValue::Text(text)) => {
            let path = at(column)?;
            let holds = |read: QueryResult<_>| {
                let comparison = Comparison::Json(read?);
                if comparison.is_of_nothing() {
                    context.finds_nothing();
                }
                Ok(Condition::plain(path::predicate(context, BASE, &path, &comparison)?))
            };
            several(context, used, json_tests(text)?.map(holds))
        }
        (Predicate::Users, CleanedValue::Text(text)) => one(users(context, text)?),
        (Predicate::DateRange, CleanedValue::Text(text)) => {
            let (from, until) = lookups::days(endpoint, text)?;
            let start = at("start_time")?;
            let from = path::predicate(context, BASE, &start, &from)?;
            let until = path::predicate(context, BASE, &start, &until)?;
            one(Condition::plain(from.text(" AND ").sql(until)))
        }
        (Predicate::PerformanceFrom, CleanedValue::Number(percent)) => {
            one(performance(context, ">=", *percent)?)
        }
        (Predicate::PerformanceUntil, CleanedValue::Number(percent)) => {
            one(performance(context, "<=", *percent)?)
        }
        (Predicate::Region(seed), _) => one(region::inside(context, filter, seed, asked)?),
        (Predicate::Ancestors | Predicate::Descendants, CleanedValue::Text(text)) => {
            one(region::lineage(context, matches!(filter.test, Predicate::Ancestors), text)?)
        }
        (Predicate::Histology, CleanedValue::Bool(wanted)) => one(histology(context, *wanted)?),
        (Predicate::Alive, CleanedValue::Bool(wanted)) => one(Condition::plain(alive(context, *wanted)?)),
        (Predicate::Stock, CleanedValue::Bool(wanted)) => {
            let comparison = Comparison::new(&at("responsible_user__is_stock_manager")?, &true.into())?;
            let manages =
                path::predicate(context, BASE, &at("responsible_user__is_stock_manager")?, &comparison)?;
            one(Condition::plain(wished(manages, *wanted)))
        }
        (Predicate::WaterRestricted, CleanedValue::Bool(wanted)) => {
            let open = at("actions_waterrestrictions__end_time")?;
            context.table(endpoint, false)?;
            let restricted = restricted(context, &open)?;
            one(Condition::plain(wished(restricted, *wanted).text(" AND ").sql(alive(context, true)?)))
        }
        (Predicate::Broken, CleanedValue::Text(_) | CleanedValue::Number(_)) => {
            Err(lookups::broken(endpoint, filter, asked))
        }
        _ => datasets::of(context, filter, asked, used),
    }
}

/// A label of a column in which some record has one that is not known; none where all are, and their numbers tell.
fn labelled(
    context: &Context<'_>,
    filter: &Filter,
    path: &str,
    lookup: Lookup,
    asked: &CleanedValue,
) -> QueryResult<Option<Sql>> {
    let endpoint = context.endpoint.name;
    let (Input::Label(labels), CleanedValue::Text(text), Lookup::Exact) = (filter.input, asked, lookup)
    else {
        return Ok(None);
    };
    let Some(column) = Model::of(endpoint).and_then(|model| model.column(path)) else { return Ok(None) };
    if !context.is_ambiguous(endpoint, &unknown_label(column.name)) {
        return Ok(None);
    }
    let table = context.table(endpoint, column.detail)?;
    let own = format!("{BASE}.{}", quoted(column.name));
    if let Some(number) = labels.label(text).and_then(|label| labels.number(label)) {
        return Ok(Some(Sql::new(format!("{own} = ")).bind(Value::Integer(number))));
    }
    let holds = Sql::new(format!("typeof({own}) = 'text' AND upper_of({own}) = upper_of("))
        .bind(Value::Text(text.trim().to_owned()))
        .text(")");
    // Of a label that no record has it is not known that there is one.
    let any = Sql::new(format!("SELECT 1 FROM {} {BASE} WHERE ", quoted(&table.name))).sql(holds.clone());
    if !context.finds(&any).unwrap_or(false) {
        return Err(QueryError::hidden("what there is to choose from"));
    }
    Ok(Some(holds))
}

/// The conditions of pairs, or the first refusal; one that comes last is kept for later.
fn several(
    context: &Context<'_>,
    used: &[ActiveFilter],
    pairs: impl Iterator<Item = QueryResult<Condition>>,
) -> QueryResult<Vec<Condition>> {
    let mut conditions = Vec::new();
    for pair in pairs {
        match pair {
            Ok(condition) => {
                conditions.push(condition);
                context.made_one();
            }
            Err(unanswered) if lookups::comes_last(&unanswered) => context.refuse_at_last(unanswered),
            Err(unanswered) => return Err(lookups::among_others(unanswered, used)),
        }
    }
    Ok(conditions)
}

/// Why a pair is not answered, where that can be said of an Alyx that is not the newest: it may lack the field, and its Django
/// names several lookups at once otherwise.
fn of_this_alyx(context: &Context<'_>, field: &str, unanswered: QueryError) -> QueryError {
    let QueryError::Refused(AlyxError { body, .. }) = &unanswered else { return unanswered };
    if context.states.spec().differences().is_empty() {
        return unanswered;
    }
    let names_lookups = body.contains("Unsupported lookup");
    match Path::resolve(context.endpoint.name, field.trim_start_matches('~')) {
        Ok(path) if path.rest.len() > 1 && names_lookups => {
            QueryError::beyond("know this Alyx's words for several lookups")
        }
        Ok(path) => shown::visible(context, &path).err().unwrap_or(unanswered),
        Err(_) => unanswered,
    }
}

/// One pair of `django=`.
fn pair(context: &Context<'_>, pair: &LookupPair) -> QueryResult<Condition> {
    let LookupPair { path, comparison, excludes } = pair;
    if !excludes {
        let holds = path::predicate(context, BASE, path, comparison)?;
        let ways =
            if pair.multiplies() { Some(path::multiplicity(context, BASE, path, comparison)?) } else { None };
        let rows = repeated::joined(context, path, comparison)?;
        return Ok(Condition { holds, ways, kind: ConditionEffect::Plain, rows });
    }
    if let Comparison::Json(test) = comparison {
        return json_exclusion::leaves(context, path, comparison, test).map(Condition::plain);
    }
    let holds = path::predicate(context, BASE, path, comparison)?;
    Ok(Condition::plain(wished(holds, false)))
}

/// A condition, or that it does not hold; null counts as no.
pub(super) fn wished(holds: Sql, wanted: bool) -> Sql {
    Sql::new("(").sql(holds).text(if wanted { ") IS TRUE" } else { ") IS NOT TRUE" })
}

/// Rows of the users that are asked for; how many there must be is decided where all conditions are known.
fn users(context: &Context<'_>, text: &str) -> QueryResult<Condition> {
    let path = Path::resolve(context.endpoint.name, "users__username")?;
    let names = text.split(',').map(|name| Python::Text(name.to_owned())).collect();
    let mut among = path.clone();
    among.rest = vec!["in".to_owned()];
    let comparison = Comparison::new(&among, &Python::List(names))?;
    let holds = path::predicate(context, BASE, &path, &comparison)?;
    let ways = path::multiplicity(context, BASE, &path, &comparison)?;
    Ok(Condition { holds, ways: Some(ways), kind: ConditionEffect::Users, rows: None })
}

/// How many users were asked for.
pub(super) fn users_wanted(used: &[ActiveFilter]) -> usize {
    text_of(used, "users").map_or(0, |users| users.split(',').count())
}

/// 100 × correct / trials as PostgreSQL divides whole numbers; SQLite does the same.
fn performance(context: &Context<'_>, operator: &str, percent: f64) -> QueryResult<Condition> {
    context.table(context.endpoint.name, true)?;
    let holds = Sql::new(format!("(100 * {BASE}.n_correct_trials / {BASE}.n_trials) {operator} "))
        .bind(Value::Real(percent));
    Ok(Condition { holds, ways: None, kind: ConditionEffect::Performance, rows: None })
}

/// The subject has a session with the procedure `Histology`.
fn histology(context: &Context<'_>, wanted: bool) -> QueryResult<Condition> {
    let endpoint = context.endpoint.name;
    let procedures = Path::resolve(endpoint, "procedures__name")?;
    let comparison = Comparison::new(&procedures, &"Histology".into())?;
    let inner = context.alias();
    let holds = path::predicate(context, &inner, &procedures, &comparison)?;
    let table = context.table(endpoint, true)?;
    let subjects =
        Sql::new(format!("SELECT {inner}.subject FROM {} {inner} WHERE ", quoted(&table.name))).sql(holds);
    let subject = Path::resolve(endpoint, "subject__id")?;
    for hop in &subject.hops {
        context.table(hop.to, false)?;
        if context.is_ambiguous(hop.to, "nickname") {
            let target = context.table(hop.to, false)?;
            let sql = Sql::new(format!("SELECT nickname FROM {} WHERE nickname IN (", quoted(&target.name)))
                .sql(subjects.clone())
                .text(") GROUP BY 1 HAVING count(*) > 1");
            context.guard_records(sql, namesakes::namesakes(hop.to, "nickname"), Some("subject"));
        }
    }
    let among = Sql::new(format!("{BASE}.subject IN (")).sql(subjects).text(")");
    Ok(Condition::plain(wished(among, wanted)))
}

/// Not dead today; or, before an older Alyx, not culled.
fn alive(context: &Context<'_>, wanted: bool) -> QueryResult<Sql> {
    let table = context.table(context.endpoint.name, false)?;
    if context.reading.rules.alive == Alive::Uncull {
        let body = quoted(&format!("{}__body", table.name));
        let shown = format!("(SELECT b.list ->> '$.alive' FROM {body} b WHERE b.n = {BASE}.n)");
        let unknown = Sql::new(format!("SELECT 1 FROM {} {BASE} WHERE {shown} IS NULL", quoted(&table.name)));
        context.guard(unknown, Undecidable::unsupported("know which subjects were culled"));
        return Ok(wished(Sql::new(shown), wanted));
    }
    let dead = Sql::new(format!("{BASE}.death_date <= ")).bind(Value::Integer(days(context.today)));
    Ok(wished(dead, !wanted))
}

/// Whether a restriction of the subject has no end: a row of its own, not merely none at all.
fn restricted(context: &Context<'_>, end: &Path) -> QueryResult<Sql> {
    let [hop] = end.hops.as_slice() else { return Err(QueryError::beyond("follow water restrictions")) };
    let target = context.table(hop.to, false)?;
    let open = format!("SELECT r.subject FROM {} r WHERE r.end_time IS NULL", quoted(&target.name));
    // Which of two subjects of one name it is that a restriction names, only the subjects' own records say.
    let own = context.table(context.endpoint.name, false)?;
    let namesakes = format!("SELECT nickname FROM {} GROUP BY 1 HAVING count(*) > 1", quoted(&own.name));
    if context.is_ambiguous(context.endpoint.name, "nickname") {
        return Ok(Sql::new(format!(
            "{BASE}.nickname IN ({open}) AND \
             ({BASE}.last_water_restriction IS NOT NULL OR {BASE}.nickname NOT IN ({namesakes}))"
        )));
    }
    Ok(Sql::new(format!("{BASE}.nickname IN ({open})")))
}
