//! The conditions of filters, each made once for a query and put to every record (ALYX.md 2.7).

use std::collections::HashSet;

use serde_json::Value;

use super::{
    Query, Ways,
    compare::Compares,
    datasets, django,
    path::{self, Leads, PathValue},
    region::Regions,
};
use crate::alyx::{
    filter::{Filter, Predicate, RowEffect},
    filterset::{
        QueryError, QueryResult,
        compare::Comparison,
        django::{LookupPair, json_tests, pairs},
        form::CleanedValue,
        json_lookup,
        lookups::{self, beyond, broken},
        path::Path,
    },
    model::Model,
};

/// What a filter asks of a record.
pub(super) enum RecordCondition {
    /// One of the values on a path compares so.
    On(Path, Comparison),
    /// The pairs of `django=`.
    Pairs(Vec<LookupPair>),
    /// Tests on one JSON column.
    Json(Path, Vec<json_lookup::JsonPredicate>),
    /// As many of these users.
    Users(Path, HashSet<String>),
    /// `start_time` between two days.
    Between(Path, Comparison, Comparison),
    Datasets(datasets::DatasetCondition),
    /// The percentage of trials correct, and whether it is a least or a greatest one.
    Performance {
        percent: f64,
        least: bool,
    },
    Regions(Regions),
    /// The subjects with histology, and whether they are wanted.
    Histology(HashSet<String>, bool),
    Alive(Path, bool),
    Stock(Path, bool),
    WaterRestricted {
        death: Path,
        wanted: bool,
    },
    /// Replaces the others, and asks nothing itself.
    Nothing,
}

impl RecordCondition {
    pub(super) fn new(query: &Query<'_>, filter: &'static Filter, asked: &CleanedValue) -> QueryResult<Self> {
        let endpoint = query.endpoint.name;
        let at = |path: &'static str| Path::resolve(endpoint, path);
        Ok(match (filter.test, asked) {
            (Predicate::Column(path, lookup), _) => {
                let (path, comparison) = lookups::column(endpoint, filter, path, lookup, asked)?;
                Self::On(path, comparison)
            }
            (Predicate::Django, CleanedValue::Text(text)) => {
                let pairs = pairs(text)?;
                let pairs = pairs.iter().map(|(field, value)| LookupPair::new(endpoint, field, value));
                Self::Pairs(pairs.collect::<QueryResult<_>>()?)
            }
            (Predicate::JsonKeys(column), CleanedValue::Text(text)) => {
                let tests: Vec<_> = json_tests(text)?.collect::<Result<_, _>>()?;
                Self::Json(at(column)?, tests)
            }
            (Predicate::Users, CleanedValue::Text(text)) => {
                Self::Users(at("users__username")?, text.split(',').map(str::to_owned).collect())
            }
            (Predicate::DateRange, CleanedValue::Text(text)) => {
                let (first, last) = lookups::days(endpoint, text)?;
                Self::Between(at("start_time")?, first, last)
            }
            (
                Predicate::DatasetTypes(_)
                | Predicate::SessionDatasets
                | Predicate::Datasets { .. }
                | Predicate::DatasetQc(_)
                | Predicate::ExistsOnServer
                | Predicate::OfInsertion
                | Predicate::Tagged(_)
                | Predicate::AnyDataset,
                _,
            ) => Self::Datasets(datasets::DatasetCondition::new(query, filter, asked)?),
            (Predicate::PerformanceFrom, CleanedValue::Number(percent)) => {
                Self::Performance { percent: *percent, least: true }
            }
            (Predicate::PerformanceUntil, CleanedValue::Number(percent)) => {
                Self::Performance { percent: *percent, least: false }
            }
            (Predicate::Region(seed), _) => Self::Regions(Regions::new(query, seed, asked)),
            (Predicate::Histology, CleanedValue::Bool(wanted)) => {
                Self::Histology(subjects_with_histology(query)?, *wanted)
            }
            (Predicate::Alive, CleanedValue::Bool(wanted)) => Self::Alive(at("death_date")?, *wanted),
            (Predicate::Stock, CleanedValue::Bool(wanted)) => {
                Self::Stock(at("responsible_user__is_stock_manager")?, *wanted)
            }
            (Predicate::WaterRestricted, CleanedValue::Bool(wanted)) => {
                Self::WaterRestricted { death: at("death_date")?, wanted: *wanted }
            }
            (Predicate::Ancestors | Predicate::Descendants, _) => Self::Nothing,
            (Predicate::Broken, CleanedValue::Text(_)) => return Err(broken(endpoint, filter, asked)),
            _ => return Err(beyond(endpoint, filter)),
        })
    }

    /// In how many ways the record at this place fulfils it.
    pub(super) fn ways(&self, query: &Query<'_>, place: usize) -> QueryResult<Ways> {
        let data = query.data;
        let count = |path: &Path, comparison: &Comparison| -> QueryResult<usize> {
            let mut matching = 0;
            for cell in path.cells(data, place)? {
                matching += usize::from(comparison.holds(path.leaf, &cell)?);
            }
            Ok(matching)
        };
        let any = |path: &Path, test: &dyn Fn(Option<&Value>) -> bool| -> QueryResult<bool> {
            Ok(path.cells(data, place)?.iter().any(|cell| test(value(cell))))
        };
        let truth = |holds: bool| Ok(Ways(usize::from(holds)));
        match self {
            Self::On(path, comparison) => count(path, comparison).map(Ways),
            Self::Pairs(pairs) => {
                let mut ways = 1;
                for pair in pairs {
                    ways *= django::ways(pair, data, place)?.0;
                    if ways == 0 {
                        break;
                    }
                }
                Ok(Ways(ways))
            }
            Self::Json(path, tests) => {
                let cells = path.cells(data, place)?;
                for test in tests {
                    let mut holds = false;
                    for cell in &cells {
                        holds = holds || test.holds(value(cell))?;
                    }
                    if !holds {
                        return Ok(Ways(0));
                    }
                }
                Ok(Ways(1))
            }
            Self::Users(path, users) => {
                let cells = path.cells(data, place)?;
                let listed =
                    |cell: &_| value(cell).and_then(Value::as_str).is_some_and(|name| users.contains(name));
                Ok(Ways(cells.iter().filter(|cell| listed(cell)).count()))
            }
            Self::Between(path, from, until) => truth(count(path, from)? > 0 && count(path, until)? > 0),
            Self::Datasets(condition) => condition.ways(query, place),
            Self::Performance { percent, least } => truth(performance(query, place, *percent, *least)?),
            Self::Regions(regions) => regions.ways(query, place),
            Self::Histology(subjects, wanted) => {
                let nickname = data.table(query.endpoint).records()[place].value()["subject"].as_str();
                truth(nickname.is_some_and(|nickname| subjects.contains(nickname)) == *wanted)
            }
            Self::Alive(death, wanted) => truth(any(death, &alive)? == *wanted),
            Self::Stock(manages, wanted) => {
                truth(any(manages, &|value| value == Some(&Value::Bool(true)))? == *wanted)
            }
            Self::WaterRestricted { death, wanted } => {
                let endpoint = query.endpoint.name;
                let restrictions = Model::of(endpoint)
                    .and_then(|model| model.relation("actions_waterrestrictions"))
                    .ok_or_else(|| QueryError::beyond("know water restrictions"))?;
                let own = path::related(data, endpoint, place, restrictions)?;
                let records = data.named(restrictions.to).records();
                let open = own.iter().any(|place| records[*place].value()["end_time"].is_null());
                truth(open == *wanted && any(death, &alive)?)
            }
            Self::Nothing => Ok(Ways(1)),
        }
    }

    /// Whether its ways are rows of the joined tables.
    pub(super) fn multiplies(&self, filter: &Filter) -> bool {
        match self {
            Self::Pairs(pairs) => pairs.iter().any(LookupPair::multiplies),
            Self::On(path, _) => filter.joins(path.many()),
            Self::Datasets(condition) => condition.multiplies(),
            Self::Regions(_) => filter.rows == RowEffect::Multiply,
            _ => false,
        }
    }
}

fn value<'c>(cell: &'c PathValue<'_>) -> Option<&'c Value> {
    match cell {
        PathValue::Value(value) => Some(value.as_ref()),
        _ => None,
    }
}

fn alive(death: Option<&Value>) -> bool {
    let died = death.and_then(Value::as_str).and_then(|day| day.parse().ok());
    died.is_none_or(|died: jiff::civil::Date| died > Query::today())
}

/// 100 × correct / trials as PostgreSQL divides whole numbers; null where either is.
fn performance(query: &Query<'_>, place: usize, percent: f64, least: bool) -> QueryResult<bool> {
    let table = query.data.table(query.endpoint);
    let missing = || QueryError::beyond("have the detail of every session");
    let detail = table.detail(place).ok_or_else(missing)?;
    let number = |field: &str| detail.value()[field].as_i64();
    let (Some(trials), Some(correct)) = (number("n_trials"), number("n_correct_trials")) else {
        return Ok(false);
    };
    // Whether Alyx evaluates such a row, and fails, depends on the plan of its database.
    let own = (100 * correct).checked_div(trials).ok_or_else(|| QueryError::beyond("divide by no trials"))?;
    #[allow(clippy::cast_precision_loss, reason = "a percentage")]
    let own = own as f64;
    Ok(if least { own >= percent } else { own <= percent })
}

/// The nicknames of subjects of which a session has the procedure `Histology`.
fn subjects_with_histology(query: &Query<'_>) -> QueryResult<HashSet<String>> {
    let procedures = Path::resolve("sessions", "procedures__name")?;
    let mut subjects = HashSet::new();
    for (place, record) in query.data.named("sessions").records().iter().enumerate() {
        let cells = procedures.cells(query.data, place)?;
        if cells.iter().any(|cell| value(cell).is_some_and(|name| name == "Histology"))
            && let Some(nickname) = record.value()["subject"].as_str()
        {
            if query.data.index("subjects", "nickname", false).get(nickname).map_or(0, Vec::len) > 1 {
                return Err(QueryError::beyond(&format!(
                    "tell apart the subjects that are named {nickname}"
                )));
            }
            subjects.insert(nickname.to_owned());
        }
    }
    Ok(subjects)
}
