//! Small questions whose answers tell what an Alyx that nobody knows means by its parameters, how it orders and pages its lists,
//! and whether its single records are as those of the list. They follow from what is known of each parameter and from the
//! records that are here: of the values at hand the one that tells most ways apart is asked for.

use rusqlite::Connection;

use super::{
    plan::{self, ListQuestion, PlanError, Today},
    schema::{EndpointTables, Schema, TableColumn},
    state::States,
};
use crate::alyx::{
    Endpoint,
    endpoint::{BRAIN_REGIONS, DATASETS},
    filter::{Filter, Input, Predicate, Seed},
    filterset::path::{Leaf, Path},
    model::ColumnKind,
    query_string::{self, Pairs},
    record,
    spec::reading::{Reading, parts},
};

/// So many values of a column are looked at.
const VALUES: u32 = 6;
/// A number of records that no page has.
const HUGE: &str = "1000000";

/// A small question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    /// What it is to tell: it is asked for that once.
    pub(super) about: String,
    /// The key of the record, where one is asked for.
    pub(super) key: Option<String>,
    /// What else is asked.
    pub(super) pairs: Pairs,
}

impl Probe {
    /// How Alyx is asked.
    pub(super) fn path_and_query(&self, endpoint: &Endpoint) -> String {
        match &self.key {
            Some(key) => query_string::canonical_path(&[endpoint.name.to_owned(), key.clone()]),
            None => format!("/{}?{}", endpoint.name, query_string::encode_sorted(&self.pairs)),
        }
    }
}

fn probe(about: String, pairs: &[(&str, &str)]) -> Probe {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Probe { about, key: None, pairs }
}

/// What is asked of a table beside its parameters.
pub(super) fn of_list(connection: &Connection, table: &EndpointTables) -> rusqlite::Result<Vec<Probe>> {
    let endpoint = table.endpoint;
    let mut probes = vec![
        probe("pages".to_owned(), &[("offset", HUGE)]),
        probe("pages of a limit".to_owned(), &[("limit", HUGE), ("offset", HUGE)]),
        probe(format!("list {}", endpoint.name), &[("limit", "25")]),
    ];
    if endpoint.detail.is_some() && !endpoint.has_own_details() {
        let sql = format!("SELECT list FROM \"{}__body\" ORDER BY n LIMIT 1", table.name);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        if let Some(row) = rows.next()?
            && let Some(key) = endpoint.key_of(&record::parse(row.get_ref(0)?.as_str()?))
        {
            let about = format!("detail {}", endpoint.name);
            probes.push(Probe { about, key: Some(key), pairs: Pairs::new() });
        }
    }
    Ok(probes)
}

/// What a question about a parameter is to tell.
pub(super) fn about(endpoint: &Endpoint, filter: &Filter) -> String {
    format!("{} {}", endpoint.name, filter.name)
}

/// What tells most of a parameter: for each of two truths, else for one value; nothing where no value tells anything.
pub(super) fn of_filter(
    connection: &Connection,
    states: &States,
    endpoint: &'static Endpoint,
    filter: &'static Filter,
    today: &Today,
) -> rusqlite::Result<Vec<Probe>> {
    if matches!(filter.input, Input::Boolean | Input::SelectedBoolean) {
        let of = |value| probe(about(endpoint, filter), &[(filter.name, value), ("limit", "1")]);
        return Ok(vec![of("True"), of("False")]);
    }
    let mut best: Option<(usize, String)> = None;
    for value in candidates(connection, endpoint, filter)? {
        let told = told(connection, states, endpoint, filter, &value, today)?;
        if told > best.as_ref().map_or(0, |(most, _)| *most) {
            best = Some((told, value));
        }
    }
    let probes =
        best.map(|(_, value)| probe(about(endpoint, filter), &[(filter.name, &value), ("limit", "1")]));
    Ok(probes.into_iter().collect())
}

/// How many ways this value tells from the known one; whether it tells anything, where there is no other way.
fn told(
    connection: &Connection,
    states: &States,
    endpoint: &'static Endpoint,
    filter: &'static Filter,
    value: &str,
    today: &Today,
) -> rusqlite::Result<usize> {
    let Ok(rules) = states.spec().rules() else { return Ok(0) };
    let pairs = vec![(filter.name.to_owned(), value.to_owned())];
    let asked = parts(endpoint, &pairs);
    let Some(part) = asked.iter().find(|part| part.filter.is_some()) else { return Ok(0) };
    let question = ListQuestion { endpoint, pairs: &pairs, today: today.clone() };
    let count = |reading: &Reading| match plan::list_as(connection, states, &question, reading)
        .and_then(|plan| plan.count(connection))
    {
        Ok(count) => Ok(Some(count)),
        Err(PlanError::Sqlite(error)) => Err(error),
        Err(PlanError::Unanswered(_)) => Ok(None),
    };
    let Some(own) = count(&Reading::by(rules))? else { return Ok(0) };
    let all = states.of(endpoint.name).map_or(0, |state| state.rows);
    let mut told = usize::from(own > 0 && own < all);
    if told == 0 && part.must_be_shown() {
        return Ok(0);
    }
    for way in part.ways(endpoint, rules).into_iter().skip(1) {
        let other = count(&Reading::by(rules).with(part.filter, way))?;
        told += usize::from(other != Some(own));
    }
    Ok(told)
}

/// Values that a parameter may be asked for with, and such as are nearly these.
fn candidates(
    connection: &Connection,
    endpoint: &'static Endpoint,
    filter: &Filter,
) -> rusqlite::Result<Vec<String>> {
    let of = |endpoint: &str, column: &str| values(connection, endpoint, column);
    let of_path = |path: &str| {
        let Ok(path) = Path::resolve(endpoint.name, path) else { return Ok(Vec::new()) };
        let Leaf::Value { column, .. } = path.leaf else { return Ok(Vec::new()) };
        of(path.hops.last().map_or(endpoint.name, |hop| hop.to), column)
    };
    match (filter.test, filter.input) {
        (Predicate::Column(..), Input::Label(labels)) => {
            Ok(labels.labels.iter().map(|(_, label)| (*label).to_owned()).collect())
        }
        (
            Predicate::Column(path, _),
            Input::Text | Input::Number | Input::NumberText | Input::Date | Input::DateText,
        ) => {
            let found = of_path(path)?;
            if !matches!(filter.input, Input::Text) {
                return Ok(found);
            }
            Ok(found.iter().flat_map(|value| near(value)).collect())
        }
        (Predicate::DateRange, _) => {
            let days = of(endpoint.name, "start_time")?;
            Ok(days.iter().map(|day| format!("{day},{day}")).collect())
        }
        (Predicate::Users, _) => of_path("users__username"),
        (Predicate::DatasetTypes(_), _) => of(DATASETS, "dataset_type"),
        (Predicate::SessionDatasets | Predicate::Datasets { .. }, _) => of(DATASETS, "name"),
        (Predicate::DatasetQc(_), _) => Ok(["PASS", "FAIL", "WARNING"].map(str::to_owned).to_vec()),
        (Predicate::PerformanceFrom | Predicate::PerformanceUntil, _) => {
            Ok(["50", "70", "30"].map(str::to_owned).to_vec())
        }
        (Predicate::Region(Seed::Id), _) => of(BRAIN_REGIONS, "id"),
        (Predicate::Region(Seed::Acronym), _) => of(BRAIN_REGIONS, "acronym"),
        (Predicate::Region(Seed::Name), _) => of(BRAIN_REGIONS, "name"),
        _ => Ok(Vec::new()),
    }
}

/// A text, and texts that are like it but for their case, or an end.
fn near(value: &str) -> Vec<String> {
    let upper = value.to_uppercase();
    let other_case = if upper == value { value.to_lowercase() } else { upper };
    let shorter: String = value.chars().take(value.chars().count().saturating_sub(1)).collect();
    let later: String = value.chars().skip(1).collect();
    let mut all = vec![value.to_owned(), other_case, shorter.to_uppercase(), shorter, later];
    all.retain(|text| !text.trim().is_empty() && !text.contains([',', '\0']));
    all
}

/// Some values of a column, as they are asked for.
fn values(connection: &Connection, endpoint: &str, column: &str) -> rusqlite::Result<Vec<String>> {
    let Some(table) = Schema::get().table(endpoint) else { return Ok(Vec::new()) };
    let Some(TableColumn { name, kind, .. }) = table.column(column) else { return Ok(Vec::new()) };
    let text = match kind {
        ColumnKind::Text => format!("\"{name}\""),
        ColumnKind::Integer | ColumnKind::Float => format!("CAST(\"{name}\" AS TEXT)"),
        ColumnKind::Date => format!("day_text(\"{name}\")"),
        ColumnKind::DateTime => format!("date(\"{name}\" / 1000000, 'unixepoch')"),
        _ => return Ok(Vec::new()),
    };
    let sql = format!(
        "SELECT DISTINCT {text} FROM \"{}\" WHERE \"{name}\" IS NOT NULL AND typeof({text}) = 'text' LIMIT {VALUES}",
        table.name
    );
    let here: bool = connection.query_row(
        "SELECT EXISTS(SELECT 1 FROM sqlite_master WHERE name = ?1)",
        [&table.name],
        |row| row.get(0),
    )?;
    if !here {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(&sql)?;
    statement.query_map([], |row| row.get(0))?.collect()
}
