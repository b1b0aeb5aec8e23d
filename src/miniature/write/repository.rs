//! A repository that moves takes the addresses of its files with it; no dataset's time says so (ALYX.md 6.2).

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    effects::each,
    shown::{data_url, with_id},
};
use crate::{
    alyx::{Endpoint, record::Record},
    miniature::data::{Data, id},
};

/// What of a repository is carried to those who show it.
pub(super) const CARRIED: [&str; 2] = ["data_url", "globus_path"];

/// Carries where a repository is to its files.
pub(super) fn moved(data: &mut Data, endpoint: &Endpoint, old: &Record, new: &Record) {
    if endpoint.name != "data-repository" || CARRIED.iter().all(|name| old.field(name) == new.field(name)) {
        return;
    }
    let repository = new.value();
    each(data, "datasets", |dataset| {
        let mut files = dataset.value()["file_records"].clone();
        let own = id(dataset).unwrap_or_default();
        for file in files.as_array_mut()?.iter_mut() {
            if file["data_repository"] == repository["name"] {
                let path = file["relative_path"].as_str().unwrap_or_default();
                let root = repository["data_url"].as_str().filter(|root| !root.is_empty());
                let url = root.map(|root| format!("{root}{}", with_id(path, own)));
                file["data_repository_path"] = repository["globus_path"].clone();
                file["data_url"] = json!(url);
            }
        }
        let differs = files != dataset.value()["file_records"];
        differs.then(|| dataset.with("file_records", &files.to_string()))
    });
    let urls: HashMap<String, Value> = data
        .named("datasets")
        .records()
        .iter()
        .filter_map(|dataset| Some((id(dataset)?.to_owned(), data_url(dataset, data))))
        .collect();
    for (name, at) in [("sessions", "data_dataset_session_related"), ("insertions", "datasets")] {
        let Some(endpoint) = Endpoint::named(name) else { continue };
        for detail in data.change(endpoint).details_mut().values_mut() {
            let mut datasets = detail.value()[at].clone();
            for dataset in datasets.as_array_mut().into_iter().flatten() {
                if let Some(url) = dataset["id"].as_str().and_then(|id| urls.get(id)) {
                    dataset["data_url"] = url.clone();
                }
            }
            if datasets != detail.value()[at] {
                *detail = Arc::new(detail.with(at, &datasets.to_string()));
            }
        }
    }
}
