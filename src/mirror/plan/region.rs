//! Brain regions in SQL: their tree, and what lies in them (ALYX.md 2.4, 2.7.6).

use rusqlite::{OptionalExtension, types::Value};

use super::{
    condition::{BASE, Condition, ConditionEffect, Rows},
    context::Context,
    link::JoinLink,
    repeated,
    sql::{Sql, quoted},
};
use crate::alyx::{
    endpoint::{BRAIN_REGIONS, CHANNELS, FOV_LOCATION, TRAJECTORIES},
    filter::{Filter, RowEffect, Seed},
    filterset::{QueryError, QueryResult, compare::upper, form::CleanedValue},
    model::{Model, PROVENANCE},
};

/// Only trajectories that were aligned with electrophysiology count.
const ALIGNED: &str = "Ephys aligned histology track";

/// What is asked for lies in a region, or below it.
pub(super) fn inside(
    context: &Context<'_>,
    filter: &Filter,
    seed: Seed,
    asked: &CleanedValue,
) -> QueryResult<Condition> {
    let regions = regions(context, seed, asked)?;
    let mut rows = None;
    let (holds, ways) = match RegionPath::of(context)? {
        RegionPath::Probes(tracks) => {
            let inside = tracks_inside(context, &regions)?;
            let holds = tracks.predicate(&inside);
            (holds, tracks.multiplicity(&inside))
        }
        RegionPath::Locations(fields) => {
            let inside = locations_inside(context, &regions)?;
            (fields.predicate(&inside), fields.multiplicity(&inside))
        }
        RegionPath::Slices(slices, slice, fields) => {
            let inside = locations_inside(context, &regions)?;
            rows = Some(of_slice(context, &slice, &fields, &inside)?);
            (slices.predicate(&inside), slices.multiplicity(&inside))
        }
        RegionPath::Both(tracks, fields) => {
            let (tracks_in, fields_in) =
                (tracks_inside(context, &regions)?, locations_inside(context, &regions)?);
            let holds = Sql::new("(")
                .sql(tracks.predicate(&tracks_in))
                .text(" OR ")
                .sql(fields.predicate(&fields_in))
                .text(")");
            // Each row of the one stands beside each row of the other; either may lie inside.
            let (t, f) = (tracks.multiplicity(&tracks_in), fields.multiplicity(&fields_in));
            let ways = Sql::new("(")
                .sql(t.clone())
                .text(" * ")
                .sql(fields.rows())
                .text(" + ")
                .sql(f.clone())
                .text(" * ")
                .sql(tracks.rows())
                .text(" - ")
                .sql(t)
                .text(" * ")
                .sql(f)
                .text(")");
            (holds, ways)
        }
    };
    Ok(Condition {
        holds,
        ways: (filter.rows == RowEffect::Multiply).then_some(ways),
        kind: ConditionEffect::Plain,
        rows,
    })
}

/// The slices, of those that order the list, which touch a region, and how often.
fn of_slice(
    context: &Context<'_>,
    (endpoint, slice): &(&'static str, String),
    fields: &Steps,
    inside: &Sql,
) -> QueryResult<Rows> {
    let table = quoted(&context.table(endpoint, false)?.name);
    let key = format!("{}.key", repeated::ORDERING);
    let holds = Sql::new(format!("{key} IN (SELECT {slice}.id FROM {table} {slice} WHERE "))
        .sql(fields.predicate(inside))
        .text(")");
    let ways = Sql::new("coalesce((SELECT ")
        .sql(fields.multiplicity(inside))
        .text(&format!(" FROM {table} {slice} WHERE {slice}.id = {key}), 0)"));
    Ok(Rows { holds, ways })
}

/// How an endpoint's records lead to what lies in regions.
enum RegionPath {
    Probes(Steps),
    Locations(Steps),
    Both(Steps, Steps),
    /// From the record; and from a record of this endpoint, by this alias, that is a slice which orders it.
    Slices(Steps, (&'static str, String), Steps),
}

impl RegionPath {
    fn of(context: &Context<'_>) -> QueryResult<Self> {
        let endpoint = context.endpoint.name;
        let steps = |names: &[&str]| Steps::of(context, names);
        let has = |name: &str| Model::of(endpoint).and_then(|model| model.relation(name)).is_some();
        if has("probe_insertion") && has("field_of_view") {
            let tracks = steps(&["probe_insertion", "trajectory_estimate"])?;
            return Ok(Self::Both(tracks, steps(&["field_of_view", "location"])?));
        }
        if has("trajectory_estimate") {
            return Ok(Self::Probes(steps(&["trajectory_estimate"])?));
        }
        if has("location") {
            return Ok(Self::Locations(steps(&["location"])?));
        }
        if let Some(slices) = Model::of(endpoint).and_then(|model| model.relation("slices")) {
            let slice = context.alias();
            let of_slice = Steps::from(context, slices.to, &slice, &["location"])?;
            return Ok(Self::Slices(steps(&["slices", "location"])?, (slices.to, slice), of_slice));
        }
        Err(QueryError::beyond(&format!("know the brain regions of /{endpoint}")))
    }
}

/// Relations followed one after the other; each gives the joined tables and how they hang together.
struct Steps {
    joins: Vec<JoinLink>,
    /// The key of what is at the end.
    key: String,
}

impl Steps {
    fn of(context: &Context<'_>, names: &[&str]) -> QueryResult<Self> {
        Self::from(context, context.endpoint.name, BASE, names)
    }

    fn from(context: &Context<'_>, endpoint: &'static str, alias: &str, names: &[&str]) -> QueryResult<Self> {
        let beyond = |name: &str| QueryError::beyond(&format!("follow {name}"));
        let (mut endpoint, mut alias, mut joins) = (endpoint, alias.to_owned(), Vec::new());
        for name in names {
            let relation =
                Model::of(endpoint).and_then(|model| model.relation(name)).ok_or_else(|| beyond(name))?;
            let own = context.table(endpoint, false)?;
            let target = context.table(relation.to, false)?;
            let x = context.alias();
            joins.push(JoinLink::of(own, relation, target, &alias, &x).ok_or_else(|| beyond(name))?);
            (endpoint, alias) = (relation.to, x);
        }
        Ok(Self { joins, key: format!("{alias}.id") })
    }

    /// Whether any leads inside.
    fn predicate(&self, inside: &Sql) -> Sql {
        // Those that do are found once, not looked for from each record.
        let Some((first, rest)) = self.joins.split_first() else { return Sql::new("0") };
        let on: Vec<String> = rest.iter().map(|step| format!("{} AND ", step.on())).collect();
        Sql::new(format!(
            "{} IN (SELECT {} FROM {} WHERE {}{} IN (",
            first.own,
            first.theirs,
            self.tables(),
            on.concat(),
            self.key
        ))
        .sql(inside.clone())
        .text("))")
    }

    /// How many rows lead inside.
    fn multiplicity(&self, inside: &Sql) -> Sql {
        let on: Vec<String> = self.joins.iter().map(JoinLink::on).collect();
        Sql::new(format!(
            "(SELECT count(*) FROM {} WHERE {} AND {} IN (",
            self.tables(),
            on.join(" AND "),
            self.key
        ))
        .sql(inside.clone())
        .text("))")
    }

    fn tables(&self) -> String {
        self.joins.iter().map(|step| step.table.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// How many rows there are, with one where a step leads nowhere.
    fn rows(&self) -> Sql {
        let left: Vec<String> =
            self.joins.iter().map(|step| format!(" LEFT JOIN {} ON {}", step.table, step.on())).collect();
        Sql::new(format!("(SELECT count(*) FROM (SELECT 1){})", left.concat()))
    }
}

/// The numbers of the regions that are asked for, with all below them.
fn regions(context: &Context<'_>, seed: Seed, asked: &CleanedValue) -> QueryResult<Sql> {
    let table = quoted(&context.table(BRAIN_REGIONS, false)?.name);
    let seeds = match (seed, asked) {
        (Seed::Id, CleanedValue::Number(number)) => Sql::new("id = ").bind(Value::Real(number.trunc())),
        (Seed::Acronym, CleanedValue::Text(text)) => {
            Sql::new("upper_of(acronym) = ").bind(Value::Text(upper(text)))
        }
        (Seed::Name, CleanedValue::Text(text)) => {
            Sql::new("upper_contains(name, ").bind(Value::Text(upper(text))).text(")")
        }
        _ => return Err(QueryError::beyond("read such a region")),
    };
    Ok(Sql::new(format!("WITH RECURSIVE below(id) AS (SELECT id FROM {table} WHERE ")).sql(seeds).text(
        &format!(" UNION SELECT r.id FROM {table} r JOIN below b ON r.parent = b.id) SELECT id FROM below"),
    ))
}

/// Trajectories of which a channel lies in one of the regions.
fn tracks_inside(context: &Context<'_>, regions: &Sql) -> QueryResult<Sql> {
    let trajectories = quoted(&context.table(TRAJECTORIES, false)?.name);
    let channels = quoted(&context.table(CHANNELS, false)?.name);
    let aligned = Value::Integer(PROVENANCE.number(ALIGNED).unwrap_or_default());
    Ok(Sql::new(format!("SELECT j.id FROM {trajectories} j WHERE j.provenance >= "))
        .bind(aligned)
        .text(&format!(
            " AND j.id IN (SELECT c.trajectory_estimate FROM {channels} c WHERE c.brain_region IN ("
        ))
        .sql(regions.clone())
        .text("))"))
}

/// Default locations of fields of view that touch one of the regions.
fn locations_inside(context: &Context<'_>, regions: &Sql) -> QueryResult<Sql> {
    let table = context.table(FOV_LOCATION, false)?;
    let rows =
        table.many("brain_region").ok_or_else(|| QueryError::beyond("know the regions of a location"))?;
    Ok(Sql::new(format!(
        "SELECT l.id FROM {} l WHERE l.default_provenance = 1 AND l.n IN (SELECT m.n FROM {} m WHERE m.key IN (",
        quoted(&table.name),
        quoted(&rows.table)
    ))
    .sql(regions.clone())
    .text("))"))
}

/// `ancestors` and `descendants`: the region named and those above or below it, but for the void around the
/// brain; they replace all other questions, and the second the first.
pub(super) fn lineage(context: &Context<'_>, above: bool, name: &str) -> QueryResult<Condition> {
    let table = quoted(&context.table(BRAIN_REGIONS, false)?.name);
    let by_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if !by_number && name.chars().all(char::is_numeric) {
        // Python takes these for digits, and makes a number of some of them.
        if name.chars().all(|c| c.is_ascii_digit() || matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹'))
        {
            return Err(QueryError::failed(&format!("Field 'id' expected a number but got '{name}'.")));
        }
        return Err(QueryError::beyond(&format!("read {name} as a number")));
    }
    let (column, value) = match name.parse() {
        Ok(number) if by_number => ("id", Value::Integer(number)),
        _ => ("acronym", Value::Text(name.to_owned())),
    };
    let sql = format!("SELECT id FROM {table} WHERE {column} = ?1 LIMIT 1");
    let found: Option<i64> = context
        .connection
        .prepare_cached(&sql)
        .and_then(|mut one| one.query_row([value], |row| row.get(0)).optional())
        .map_err(|error| QueryError::beyond(&format!("read its tables ({error})")))?;
    let Some(found) = found else {
        return Err(QueryError::failed("BrainRegion matching query does not exist."));
    };
    let step = if above {
        format!("SELECT r.parent FROM {table} r JOIN line l ON r.id = l.id WHERE r.parent IS NOT NULL")
    } else {
        format!("SELECT r.id FROM {table} r JOIN line l ON r.parent = l.id")
    };
    let holds = Sql::new(format!("{BASE}.id <> 0 AND {BASE}.id IN (WITH RECURSIVE line(id) AS (SELECT "))
        .bind(Value::Integer(found))
        .text(&format!(" UNION {step}) SELECT id FROM line)"));
    Ok(Condition { holds, ways: None, kind: ConditionEffect::Lineage, rows: None })
}
