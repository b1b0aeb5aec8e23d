//! What a write changes in other records: the parts of them that are made from the record written
//! (ALYX.md 3, 7).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};

use super::shown::{of_probe, of_session, of_water, served, with_id};
use crate::{
    alyx::{
        Endpoint,
        model::{Join, Model},
        record::Record,
    },
    miniature::{
        data::{Data, id},
        sample,
    },
};

/// The records whose parts must be made anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) sessions: BTreeSet<String>,
    pub(super) subjects: BTreeSet<String>,
    pub(super) datasets: BTreeSet<String>,
}

impl Touched {
    /// What the record at this place is shown by.
    pub(super) fn by(data: &Data, endpoint: &Endpoint, place: usize) -> Self {
        let record = &data.table(endpoint).records()[place];
        let mut touched = Self::default();
        match endpoint.name {
            "sessions" => touched.sessions.extend(id(record).map(str::to_owned)),
            "subjects" => {
                touched.subjects.extend(text(record, "nickname"));
                let theirs = data.named("sessions").records().iter();
                let theirs = theirs.filter(|one| one.field("subject") == record.field("nickname"));
                touched.sessions.extend(theirs.filter_map(|one| id(one)).map(str::to_owned));
            }
            "notes" => touched.sessions.extend(text(record, "object_id")),
            "trajectories" => {
                let insertions = data.named("insertions");
                let insertion = insertions.find(&last(record, "probe_insertion")).first();
                let session = insertion.map(|place| last(&insertions.records()[*place], "session"));
                touched.sessions.extend(session.filter(|id| !id.is_empty()));
            }
            "files" => touched.dataset(data, &last(record, "dataset")),
            "datasets" => touched.dataset(data, id(record).unwrap_or_default()),
            _ => {
                touched.sessions.extend(Some(last(record, "session")).filter(|id| !id.is_empty()));
                touched.subjects.extend(text(record, "subject"));
            }
        }
        if endpoint.name == "sessions" {
            touched.subjects.extend(text(record, "subject"));
        }
        touched
    }

    fn dataset(&mut self, data: &Data, id: &str) {
        let datasets = data.named("datasets");
        if let Some(place) = datasets.find(id).first() {
            let session = last(&datasets.records()[*place], "session");
            self.sessions.extend(Some(session).filter(|id| !id.is_empty()));
        }
        self.datasets.insert(id.to_owned());
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.sessions.extend(other.sessions);
        self.subjects.extend(other.subjects);
        self.datasets.extend(other.datasets);
        self
    }
}

fn text(record: &Record, field: &str) -> Option<String> {
    record.value()[field].as_str().map(str::to_owned)
}

/// The id at the end of a field, which may be a link.
pub(super) fn last(record: &Record, field: &str) -> String {
    record.plain(field).and_then(|text| text.rsplit('/').next()).unwrap_or_default().to_owned()
}

/// Whether the id at the end of a field is this one: most records can be told by their text.
fn refers(record: &Record, field: &str, to: &str) -> bool {
    record.text().contains(to) && last(record, field) == to
}

/// Makes anew what the touched records show of others.
pub(super) fn carry(data: &mut Data, touched: &Touched) {
    for id in &touched.datasets {
        files_of(data, id);
    }
    for id in &touched.sessions {
        session(data, id);
    }
    for nickname in &touched.subjects {
        subject(data, nickname);
    }
}

/// Changes records of a list, and their details, for which `new` gives another field.
pub(super) fn each(data: &mut Data, name: &str, new: impl Fn(&Record) -> Option<Record>) {
    let Some(endpoint) = Endpoint::named(name) else { return };
    let changes: Vec<(usize, Record)> = data
        .table(endpoint)
        .records()
        .iter()
        .enumerate()
        .filter_map(|(place, record)| Some((place, new(record)?)))
        .collect();
    if changes.is_empty() {
        return;
    }
    let table = data.change(endpoint);
    for (place, record) in changes {
        table.records_mut()[place] = Arc::new(record);
    }
}

/// Changes the detail of one record.
fn detail(data: &mut Data, name: &str, key: &str, new: impl FnOnce(&Record) -> Record) {
    let Some(endpoint) = Endpoint::named(name) else { return };
    if let Some(detail) = data.change(endpoint).details_mut().get_mut(key) {
        *detail = Arc::new(new(detail));
    }
}

fn array<'r>(texts: impl Iterator<Item = &'r str>) -> String {
    format!("[{}]", texts.collect::<Vec<_>>().join(","))
}

/// The records of a list that refer to this id, or to this name, in a field.
fn referring(data: &Data, name: &str, field: &str, to: &str) -> Vec<Arc<Record>> {
    let records = data.named(name).records().iter();
    records.filter(|record| refers(record, field, to)).map(Arc::clone).collect()
}

/// Makes anew what shows a session, and what its detail shows.
fn session(data: &mut Data, key: &str) {
    let sessions = data.named("sessions");
    let Some(place) = sessions.find(key).first() else { return };
    let own = Arc::clone(&sessions.records()[*place]);
    let info = ["subject", "start_time", "number", "lab", "id", "projects", "task_protocol"]
        .into_iter()
        .fold(Record::new("{}"), |info, field| info.with(field, own.field(field).unwrap_or("null")));
    each(data, "insertions", |one| {
        let differs = refers(one, "session", key) && one.field("session_info") != Some(info.text());
        differs.then(|| one.with("session_info", info.text()))
    });
    let number = own.field("number").unwrap_or("null").to_owned();
    each(data, "datasets", |one| {
        let differs = refers(one, "session", key) && one.field("experiment_number") != Some(&number);
        differs.then(|| one.with("experiment_number", &number))
    });
    let insertions = referring(data, "insertions", "session", key);
    for insertion in &insertions {
        let (id, name) = (id(insertion).unwrap_or_default(), insertion.field("name").unwrap_or("null"));
        each(data, "trajectories", |one| {
            let differs =
                || one.field("session") != Some(info.text()) || one.field("probe_name") != Some(name);
            (refers(one, "probe_insertion", id) && differs())
                .then(|| one.with("session", info.text()).with("probe_name", name))
        });
    }
    in_chronic_insertions(data, &insertions);
    let datasets = referring(data, "datasets", "session", key);
    let served = served(data, &datasets);
    for insertion in &insertions {
        probe(data, insertion, info.text(), &served);
    }
    let datasets: Vec<String> = served.iter().map(|dataset| of_session(data, dataset).to_string()).collect();
    let notes = referring(data, "notes", "object_id", key);
    let fields = referring(data, "fields-of-view", "session", key);
    let water = referring(data, "water-administrations", "session", key);
    detail(data, "sessions", key, |old| {
        let insertions = array(insertions.iter().map(|one| one.text()));
        let mut new = old.with("probe_insertion", &insertions);
        new = new.with("notes", &array(notes.iter().map(|one| one.text())));
        new = new.with("field_of_view", &array(fields.iter().map(|one| one.text())));
        new = new.with("data_dataset_session_related", &array(datasets.iter().map(String::as_str)));
        let known = old.value()["wateradmin_session_related"].as_array().cloned().unwrap_or_default();
        let water: Vec<String> = water.iter().map(|one| of_water(one, &known).to_string()).collect();
        new.with("wateradmin_session_related", &array(water.iter().map(String::as_str)))
    });
}

/// Chronic insertions show the insertions that they were, with their sessions.
fn in_chronic_insertions(data: &mut Data, insertions: &[Arc<Record>]) {
    each(data, "chronic-insertions", |chronic| {
        let mut shown = chronic.value()["probe_insertion"].clone();
        for one in shown.as_array_mut()? {
            let Some(insertion) = insertions.iter().find(|insertion| id(insertion) == one["id"].as_str())
            else {
                continue;
            };
            for field in ["name", "serial", "session_info"] {
                one[field] = insertion.value()[field].clone();
            }
        }
        (shown != chronic.value()["probe_insertion"])
            .then(|| chronic.with("probe_insertion", &shown.to_string()))
    });
}

/// The datasets of an insertion: those of its session with its name in the collection.
pub(super) fn datasets_of(data: &Data, insertion: &Record) -> String {
    let name = insertion.value()["name"].as_str().unwrap_or_default().to_uppercase();
    let datasets = match last(insertion, "session") {
        session if session.is_empty() => Vec::new(),
        session => referring(data, "datasets", "session", &session),
    };
    let theirs = datasets.iter().filter(|dataset| is_of(dataset, &name));
    json!(theirs.filter_map(|dataset| id(dataset)).collect::<Vec<_>>()).to_string()
}

/// Whether a collection contains this name, which is in upper case.
fn is_of(dataset: &Record, name: &str) -> bool {
    dataset.value()["collection"].as_str().is_some_and(|collection| collection.to_uppercase().contains(name))
}

/// The numbers of a dataset's tags that make it protected and public.
pub(super) fn flags(data: &Data, dataset: &Record) -> Record {
    let own = dataset.value()["tags"].as_array().cloned().unwrap_or_default();
    let tags = data.named("tags").records();
    let count = |flag: &str| {
        let flagged = tags.iter().filter(|tag| tag.value()[flag] == Value::Bool(true));
        flagged.filter(|tag| own.contains(&tag.value()["name"])).count().to_string()
    };
    dataset.with("protected", &count("protected")).with("public", &count("public"))
}

/// The detail of an insertion: its session, and the datasets whose collection contains its name.
fn probe(data: &mut Data, insertion: &Record, info: &str, served: &[Arc<Record>]) {
    let name = insertion.value()["name"].as_str().unwrap_or_default().to_uppercase();
    let own = served.iter().filter(|dataset| is_of(dataset, &name));
    let datasets: Vec<String> = own.map(|dataset| of_probe(data, dataset).to_string()).collect();
    let key = id(insertion).unwrap_or_default();
    detail(data, "insertions", key, |old| {
        old.with("session_info", info).with("datasets", &array(datasets.iter().map(String::as_str)))
    });
}

/// Makes the files of a dataset anew from their own records.
fn files_of(data: &mut Data, key: &str) {
    let files = referring(data, "files", "dataset", key);
    let repositories = data.named("data-repository");
    let shown: Vec<String> = files
        .iter()
        .map(|file| {
            let own = file.value();
            let name = own["data_repository"].as_str().unwrap_or_default();
            let repository =
                repositories.find(name).first().map(|place| repositories.records()[*place].value());
            let path = own["relative_path"].as_str().unwrap_or_default();
            let url = repository.and_then(|one| one["data_url"].as_str());
            json!({
                "id": id(file),
                "data_repository": own["data_repository"],
                "data_repository_path": repository.map_or(Value::Null, |one| one["globus_path"].clone()),
                "relative_path": own["relative_path"],
                "data_url": url.map(|base| format!("{base}{}", with_id(path, key))),
                "exists": own["exists"],
            })
            .to_string()
        })
        .collect();
    let shown = array(shown.iter().map(String::as_str));
    let stamp = super::stamp(data);
    each(data, "datasets", |one| {
        let differs =
            one.text().contains(key) && id(one) == Some(key) && one.field("file_records") != Some(&shown);
        differs.then(|| one.with("file_records", &shown).with("auto_datetime", &format!("\"{stamp}\"")))
    });
}

/// Makes anew what the detail of a subject shows, and the subjects that users answer for.
fn subject(data: &mut Data, nickname: &str) {
    let named = |name: &str| -> Vec<Arc<Record>> {
        let records = data.named(name).records().iter();
        records.filter(|one| text(one, "subject").as_deref() == Some(nickname)).map(Arc::clone).collect()
    };
    let (weighings, water, sessions) =
        (named("weighings"), named("water-administrations"), named("sessions"));
    let mut projects: Vec<Value> = Vec::new();
    for project in sessions.iter().flat_map(|one| one.value()["projects"].as_array().into_iter().flatten()) {
        if !projects.contains(project) {
            projects.push(project.clone());
        }
    }
    let same = |known: &Value| {
        let known = known.as_array().map(Vec::as_slice).unwrap_or_default();
        known.len() == projects.len() && projects.iter().all(|project| known.contains(project))
    };
    let projects_text = json!(projects).to_string();
    each(data, "subjects", |one| {
        let own = text(one, "nickname").as_deref() == Some(nickname);
        (own && !same(&one.value()["session_projects"])).then(|| one.with("session_projects", &projects_text))
    });
    detail(data, "subjects", nickname, |old| {
        let mut new = old.with("weighings", &array(weighings.iter().map(|one| one.text())));
        if !same(&old.value()["session_projects"]) {
            new = new.with("session_projects", &projects_text);
        }
        new.with("water_administrations", &array(water.iter().map(|one| one.text())))
    });
    let subjects: Vec<Arc<Record>> = data.named("subjects").records().to_vec();
    each(data, "users", |user| {
        let theirs = subjects.iter().filter(|one| one.field("responsible_user") == user.field("username"));
        let theirs = array(theirs.filter_map(|one| one.field("nickname")));
        (user.field("subjects_responsible") != Some(&theirs))
            .then(|| user.with("subjects_responsible", &theirs))
    });
}

/// Carries a subject's new nickname to all that show it.
pub(super) fn renamed(data: &mut Data, endpoint: &Endpoint, old: &Record, new: &Record) {
    let (Some(before), Some(after)) = (old.field("nickname"), new.field("nickname")) else { return };
    if endpoint.name != "subjects" || before == after {
        return;
    }
    for other in crate::alyx::ENDPOINTS {
        let shows = Model::of(other.name).and_then(|model| model.relation("subject"));
        if !shows.is_some_and(|relation| matches!(relation.join, Join::Holds { at: "subject", .. })) {
            continue;
        }
        each(data, other.name, |one| {
            (one.field("subject") == Some(before)).then(|| one.with("subject", after))
        });
        for detail in data.change(other).details_mut().values_mut() {
            if detail.field("subject") == Some(before) {
                *detail = Arc::new(detail.with("subject", after));
            }
        }
    }
    let (before, after) = (before.trim_matches('"'), after.trim_matches('"'));
    let url = format!("{}/subjects/{before}\"", sample::BASE);
    let new_url = format!("{}/subjects/{}\"", sample::BASE, crate::miniature::services::encoded(after));
    each(data, "water-restricted-subjects", |one| {
        let same = one.plain("nickname") == Some(before);
        same.then(|| {
            Record::new(one.with("nickname", &json!(after).to_string()).text().replace(&url, &new_url))
        })
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sorted(record: &Record) -> Value {
        let mut value = record.value().clone();
        for field in value.as_object_mut().unwrap().values_mut() {
            if let Some(items) = field.as_array_mut() {
                items.sort_by_key(Value::to_string);
            }
        }
        value
    }

    /// What is made anew from the recorded records is what Alyx made of them.
    #[test]
    fn parts_made_anew_are_alyx_own() {
        let recorded = sample::load(true, false).unwrap();
        let mut data = Data::clone(&recorded);
        let every = |name: &str, field: &str| -> BTreeSet<String> {
            recorded.named(name).records().iter().filter_map(|one| text(one, field)).collect()
        };
        let sessions = every("sessions", "id").into_iter().step_by(8).collect();
        // The details of the two subjects of one name were not recorded.
        let subjects = every("subjects", "nickname").into_iter().filter(|name| name != "dup_mouse").collect();
        let datasets = recorded.named("datasets").records().iter().step_by(400);
        let datasets = datasets.filter_map(|one| id(one)).map(str::to_owned).collect();
        carry(&mut data, &Touched { sessions, subjects, datasets });
        for name in ["sessions", "subjects", "insertions", "users"] {
            let (before, after) = (recorded.named(name), data.named(name));
            for place in 0..before.records().len() {
                let (Some(before), Some(after)) = (before.detail(place), after.detail(place)) else {
                    continue;
                };
                assert_eq!(sorted(&after), sorted(&before), "{name}");
            }
        }
        for place in 0..recorded.named("datasets").records().len() {
            let files =
                |data: &Data| sorted(&data.named("datasets").records()[place])["file_records"].clone();
            assert_eq!(files(&data), files(&recorded));
        }
    }
}
