//! Conditions on datasets and their files (ALYX.md 2.7.1, 2.7.2, 2.7.11).

use std::collections::HashSet;

use serde_json::Value;

use super::{
    Query, Ways,
    compare::Compares,
    path::{self, Leads},
};
use crate::alyx::{
    filter::{Filter, Predicate},
    filterset::{
        QueryError, QueryResult, compare::Comparison, form::CleanedValue, lookups, path::Path,
        python_literal::Python,
    },
    model::{Model, QC, Relation},
};

/// The quality that datasets may have at worst, where nothing is said.
const FAIL: i64 = 40;

/// What is asked of datasets.
pub(super) enum DatasetCondition {
    /// Over the relation: datasets that pass, and how many different values of this field there must be.
    Several { relation: &'static Relation, wanted: DatasetFilter, least: usize },
    /// A file of the dataset that exists, or not, on a server; no question where there are no servers.
    OnServer { servers: HashSet<String>, exists: bool },
    /// Of this session, with this in the collection.
    Of { session: String, name: String },
    /// With a tag, or without any, of these.
    Tagged { tags: HashSet<String>, wanted: bool },
    /// Any of these.
    Any(HashSet<String>),
    /// Not asked.
    Nothing,
}

/// Which datasets pass, and what of them is counted.
pub(super) struct DatasetFilter {
    types: Option<HashSet<String>>,
    names: Option<HashSet<String>>,
    quality: Option<i64>,
    servers: Option<HashSet<String>>,
    counts: Counted,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    Types,
    Names,
    Datasets,
}

impl DatasetCondition {
    pub(super) fn new(query: &Query<'_>, filter: &Filter, asked: &CleanedValue) -> QueryResult<Self> {
        let relation = |name: &str| {
            let model = Model::of(query.endpoint.name);
            model
                .and_then(|model| model.relation(name))
                .ok_or_else(|| QueryError::beyond("know such datasets"))
        };
        let items = |text: &str| -> (HashSet<String>, usize) {
            (text.split(',').map(str::to_owned).collect(), text.split(',').count())
        };
        Ok(match (filter.test, asked) {
            (Predicate::DatasetTypes(name), CleanedValue::Text(text)) => {
                let (types, least) = items(text);
                let wanted = DatasetFilter { types: Some(types), ..DatasetFilter::all(Counted::Types) };
                Self::Several { relation: relation(name)?, wanted, least }
            }
            (Predicate::SessionDatasets, CleanedValue::Text(text)) => {
                let (names, least) = items(text);
                let quality = Some(quality(query)?);
                let servers = Some(servers(query));
                let wanted = DatasetFilter {
                    names: Some(names),
                    quality,
                    servers,
                    ..DatasetFilter::all(Counted::Names)
                };
                Self::Several { relation: relation("data_dataset_session_related")?, wanted, least }
            }
            (Predicate::Datasets { relation: name, qc }, CleanedValue::Text(text)) => {
                let (names, least) = items(text);
                let quality = if qc { Some(quality(query)?) } else { None };
                let wanted =
                    DatasetFilter { names: Some(names), quality, ..DatasetFilter::all(Counted::Datasets) };
                Self::Several { relation: relation(name)?, wanted, least }
            }
            // Its presence is enough, with whatever value.
            (Predicate::DatasetQc(_), _) if query.raw("datasets").is_some() => Self::Nothing,
            (Predicate::DatasetQc(name), CleanedValue::Text(text)) => {
                let wanted = DatasetFilter {
                    quality: Some(lookups::quality(text)?),
                    ..DatasetFilter::all(Counted::Datasets)
                };
                Self::Several { relation: relation(name)?, wanted, least: 1 }
            }
            (Predicate::ExistsOnServer, CleanedValue::Bool(exists)) => {
                Self::OnServer { servers: servers(query), exists: *exists }
            }
            (Predicate::OfInsertion, CleanedValue::Uuid(id)) => Self::of_insertion(query, id)?,
            (Predicate::Tagged(flag), CleanedValue::Bool(wanted)) => {
                let tags = query.data.named("tags").records().iter();
                let flagged = tags.filter(|tag| tag.value()[flag] == Value::Bool(true));
                let tags =
                    flagged.filter_map(|tag| tag.value()["name"].as_str()).map(str::to_owned).collect();
                Self::Tagged { tags, wanted: *wanted }
            }
            (Predicate::AnyDataset, CleanedValue::Keys(ids)) => Self::Any(ids.iter().cloned().collect()),
            _ => return Err(QueryError::beyond(&format!("evaluate {}", filter.name))),
        })
    }

    fn of_insertion(query: &Query<'_>, id: &str) -> QueryResult<Self> {
        let insertions = query.data.named("insertions");
        let Some(place) = insertions.find(id).first() else {
            return Err(QueryError::failed("ProbeInsertion matching query does not exist."));
        };
        let insertion = insertions.records()[*place].value();
        match (insertion["session"].as_str(), insertion["name"].as_str()) {
            (Some(session), Some(name)) => {
                Ok(Self::Of { session: session.to_owned(), name: name.to_owned() })
            }
            _ => Err(QueryError::beyond("know the datasets of an insertion without a session")),
        }
    }

    pub(super) fn ways(&self, query: &Query<'_>, place: usize) -> QueryResult<Ways> {
        let record = query.data.table(query.endpoint).records()[place].value();
        let truth = |holds: bool| Ok(Ways(usize::from(holds)));
        match self {
            Self::Several { relation, wanted, least } => {
                let datasets = query.data.named("datasets");
                let (mut rows, mut distinct) = (0, HashSet::new());
                for place in path::related(query.data, query.endpoint.name, place, relation)? {
                    let dataset = datasets.records()[place].value();
                    if wanted.passes(dataset) {
                        rows += 1;
                        distinct.insert(wanted.counted(dataset));
                    }
                }
                Ok(Ways(if distinct.len() >= *least { rows } else { 0 }))
            }
            Self::OnServer { servers, .. } if servers.is_empty() => Ok(Ways(1)),
            Self::OnServer { servers, exists } => Ok(Ways(files(record, servers, *exists))),
            Self::Of { session, name } => {
                let of_session =
                    record["session"].as_str().is_some_and(|url| url.ends_with(session.as_str()));
                let path = Path::resolve("datasets", "collection__icontains")?;
                let wanted = Python::Text(name.clone());
                let contains = Comparison::new(&path, &wanted)?;
                let cells = path.cells(query.data, place)?;
                let mut holds = of_session;
                for cell in &cells {
                    holds = holds && contains.holds(path.leaf, cell)?;
                }
                truth(holds)
            }
            Self::Tagged { tags, wanted } => {
                let own = record["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let flagged = own.filter(|tag| tags.contains(*tag)).count();
                Ok(Ways(if *wanted { flagged } else { usize::from(flagged == 0) }))
            }
            Self::Any(ids) => {
                let own = record["datasets"].as_array().into_iter().flatten().filter_map(Value::as_str);
                Ok(Ways(own.filter(|id| ids.contains(*id)).count()))
            }
            Self::Nothing => Ok(Ways(1)),
        }
    }

    /// Whether its ways are rows of the joined tables.
    pub(super) fn multiplies(&self) -> bool {
        match self {
            // The names of a session's datasets, and files, are looked for in queries of their own.
            Self::Several { wanted, .. } => wanted.counts != Counted::Names,
            Self::Any(_) => true,
            Self::Tagged { wanted, .. } => *wanted,
            Self::OnServer { .. } | Self::Of { .. } | Self::Nothing => false,
        }
    }
}

impl DatasetFilter {
    fn all(counts: Counted) -> Self {
        Self { types: None, names: None, quality: None, servers: None, counts }
    }

    fn passes(&self, dataset: &Value) -> bool {
        let text = |field: &str| dataset[field].as_str().unwrap_or_default();
        let among = |wanted: &Option<HashSet<String>>, field: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.contains(text(field)))
        };
        let good = self.quality.is_none_or(|worst| QC.number(text("qc")).is_some_and(|own| own <= worst));
        let served = self.servers.as_ref().is_none_or(|servers| files(dataset, servers, true) > 0);
        among(&self.types, "dataset_type") && among(&self.names, "name") && good && served
    }

    /// What of a dataset counts as different from others.
    fn counted(&self, dataset: &Value) -> String {
        let field = match self.counts {
            Counted::Types => "dataset_type",
            Counted::Names => "name",
            Counted::Datasets => "url",
        };
        dataset[field].as_str().unwrap_or_default().to_owned()
    }
}

/// How many files of a dataset exist, or don't, on these repositories.
fn files(dataset: &Value, servers: &HashSet<String>, exists: bool) -> usize {
    let files = dataset["file_records"].as_array().into_iter().flatten();
    let on_server = |file: &&Value| {
        file["exists"] == Value::Bool(exists)
            && file["data_repository"].as_str().is_some_and(|name| servers.contains(name))
    };
    files.filter(on_server).count()
}

/// The repositories that are not personal.
fn servers(query: &Query<'_>) -> HashSet<String> {
    let repositories = query.data.named("data-repository").records().iter();
    let servers = repositories.filter(|one| one.value()["globus_is_personal"] == Value::Bool(false));
    servers.filter_map(|one| one.value()["name"].as_str()).map(str::to_owned).collect()
}

/// The worst quality that is asked for beside `datasets`, as it stands in the request.
fn quality(query: &Query<'_>) -> QueryResult<i64> {
    query.raw("dataset_qc_lte").map_or(Ok(FAIL), lookups::quality)
}
