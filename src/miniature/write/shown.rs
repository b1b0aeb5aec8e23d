//! How other records show a dataset and an administration of water (ALYX.md 3).

use std::{collections::HashSet, sync::Arc};

use serde_json::{Map, Value, json};

use crate::{
    alyx::{model::QC, record::Record},
    miniature::data::{Data, id},
};

/// The datasets of which a file exists on a repository that is not personal; all, if there is none such.
pub(super) fn served(data: &Data, datasets: &[Arc<Record>]) -> Vec<Arc<Record>> {
    let repositories = data.named("data-repository").records().iter();
    let servers: HashSet<&str> = repositories
        .filter(|one| one.value()["globus_is_personal"] == Value::Bool(false))
        .filter_map(|one| one.value()["name"].as_str())
        .collect();
    let on_server = |dataset: &&Arc<Record>| {
        let mut files = dataset.value()["file_records"].as_array().into_iter().flatten();
        files.any(|file| {
            let server = file["data_repository"].as_str().is_some_and(|name| servers.contains(name));
            server && file["exists"] == Value::Bool(true)
        })
    };
    datasets.iter().filter(|dataset| servers.is_empty() || on_server(dataset)).map(Arc::clone).collect()
}

/// Where a dataset is read from: of its files that exist, one on a server first.
pub(super) fn data_url(dataset: &Record, data: &Data) -> Value {
    let repositories = data.named("data-repository");
    let rank = |file: &&Value| {
        let name = file["data_repository"].as_str().unwrap_or_default();
        let personal = repositories
            .find(name)
            .first()
            .and_then(|place| repositories.records()[*place].value()["globus_is_personal"].as_bool());
        // Not personal, personal, unknown; then the last by name.
        (personal.map_or(2, u8::from), std::cmp::Reverse(name.to_owned()))
    };
    let files = dataset.value()["file_records"].as_array().into_iter().flatten();
    let files = files.filter(|file| file["exists"] == Value::Bool(true) && !file["data_url"].is_null());
    files.min_by_key(rank).map_or(Value::Null, |file| file["data_url"].clone())
}

/// What the details of a session and of an insertion both show of a dataset.
fn dataset_fields(data: &Data, dataset: &Record) -> Map<String, Value> {
    let own = dataset.value();
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(id(dataset)));
    for name in ["name", "dataset_type"] {
        fields.insert(name.to_owned(), own[name].clone());
    }
    fields.insert("data_url".to_owned(), data_url(dataset, data));
    for name in ["url", "file_size", "hash", "version", "collection"] {
        fields.insert(name.to_owned(), own[name].clone());
    }
    fields
}

/// A dataset as the detail of its session shows it.
pub(super) fn of_session(data: &Data, dataset: &Record) -> Value {
    let own = dataset.value();
    let revisions = data.named("revisions");
    let revision = own["revision"].as_str().and_then(|name| revisions.find(name).first());
    let revision = revision.map_or(json!(""), |place| revisions.records()[*place].value()["id"].clone());
    let default = if own["default_dataset"] == Value::Bool(true) { "True" } else { "False" };
    let mut fields = dataset_fields(data, dataset);
    fields.insert("revision".to_owned(), revision);
    fields.insert("default_revision".to_owned(), json!(default));
    fields.insert("qc".to_owned(), own["qc"].clone());
    Value::Object(fields)
}

/// A dataset as the detail of an insertion shows it; its quality is a number there.
pub(super) fn of_probe(data: &Data, dataset: &Record) -> Value {
    let quality = QC.number(dataset.value()["qc"].as_str().unwrap_or_default());
    let mut fields = dataset_fields(data, dataset);
    fields.insert("qc".to_owned(), json!(quality));
    Value::Object(fields)
}

/// An administration of water as the detail of its session shows it; its own record lacks the name.
pub(super) fn of_water(water: &Record, known: &[Value]) -> Value {
    let name = known.iter().find(|one| one["id"].as_str() == id(water)).map(|one| one["name"].clone());
    let own = water.value();
    json!({
        "id": id(water),
        "name": name.unwrap_or_else(|| json!("")),
        "water_type": own["water_type"],
        "water_administered": own["water_administered"],
    })
}

/// A path with the id of its dataset before its extension.
pub(super) fn with_id(path: &str, id: &str) -> String {
    match path.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}.{id}.{extension}"),
        None => format!("{path}.{id}"),
    }
}
