//! `POST /register-file` in its simple form: files of a session on one repository (ALYX.md 7).

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{WriteResult, effects, stamp};
use crate::{
    alyx::{Endpoint, record::Record},
    miniature::{answer::ViewResponse, data::Data, form, respond::ViewRequest, sample},
};

/// What is registered, besides the files themselves.
struct Registration<'r> {
    session: Arc<Record>,
    /// subject/date/number
    path: String,
    repository: String,
    created_by: Value,
    fields: &'r Map<String, Value>,
}

/// Registers the files that are sent.
pub(in crate::miniature) fn register(data: &mut Data, ask: &ViewRequest) -> WriteResult<ViewResponse> {
    let fields = form::fields(ask)?;
    let bad = |detail: &str| {
        ViewResponse::json(StatusCode::BAD_REQUEST, &json!({ "status_code": 400, "detail": detail }))
    };
    if let Some(field) =
        ["content_type", "labs", "projects", "hostname", "server_only"].into_iter().find(|field| {
            fields.get(*field).is_some_and(|value| !value.is_null() && value != "" && value != false)
        })
    {
        return Err(ViewResponse::beyond(&format!("register files with {field}")));
    }
    let path = fields.get("path").and_then(Value::as_str).unwrap_or_default();
    let Some(session) = session_at(data, path) else {
        return Err(bad(&format!("No session found for path {path}")));
    };
    let repository = fields.get("name").and_then(Value::as_str).unwrap_or_default();
    if data.named("data-repository").find(repository).is_empty() {
        return Err(bad(&format!("Data repository {repository} does not exist")));
    }
    let created_by = match fields.get("created_by") {
        Some(Value::String(name)) if !name.is_empty() => json!(name),
        _ => ask.user.clone().map_or(Value::Null, Value::from),
    };
    let registration = Registration {
        session,
        path: path.to_owned(),
        repository: repository.to_owned(),
        created_by,
        fields: &fields,
    };
    let names = items(fields.get("filenames"));
    let mut shown = Vec::new();
    for (at, name) in names.iter().enumerate() {
        shown.push(one(data, &registration, name, at)?);
    }
    Ok(ViewResponse::records(StatusCode::CREATED, json!(shown).to_string()))
}

/// A list, or the parts of a comma-separated text.
fn items(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        Some(Value::String(text)) => text.split(',').map(|item| item.trim().to_owned()).collect(),
        Some(Value::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

/// The session of a path subject/date/number.
fn session_at(data: &Data, path: &str) -> Option<Arc<Record>> {
    let mut pieces = path.trim_matches('/').split('/');
    let (subject, day) = (pieces.next()?, pieces.next()?);
    let number: i64 = pieces.next()?.parse().ok()?;
    let sessions = data.named("sessions").records().iter();
    let mut found = sessions.filter(|one| {
        let own = one.value();
        own["subject"] == subject
            && own["number"] == number
            && own["start_time"].as_str().is_some_and(|start| start.starts_with(day))
    });
    found.next().map(Arc::clone)
}

/// Registers one file: a dataset, new or known, and its file on the repository.
fn one(data: &mut Data, registration: &Registration<'_>, name: &str, at: usize) -> WriteResult<Value> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    if folder.contains('#') {
        return Err(ViewResponse::beyond("register revisions"));
    }
    let dataset_type = dataset_type(data, file)?;
    let format = file.rsplit_once('.').map(|(_, extension)| format!(".{extension}")).unwrap_or_default();
    let formats = data.named("data-formats").records().iter();
    let format = formats
        .filter(|one| one.value()["file_extension"] == format.as_str())
        .find_map(|one| one.field("name"));
    let format = format.unwrap_or("\"unknown\"").to_owned();
    let session_id = registration.session.plain("id").unwrap_or_default().to_owned();
    let session_url = format!("{}/sessions/{session_id}", sample::BASE);
    let known = data.named("datasets").records().iter().position(|one| {
        let own = one.value();
        own["session"] == session_url.as_str()
            && own["name"] == file
            && own["collection"] == folder
            && own["revision"] == ""
    });
    let datasets = data.named("datasets");
    let id = known
        .and_then(|place| super::id(&datasets.records()[place]))
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
    let item = |field: &str| items(registration.fields.get(field)).get(at).cloned();
    let stamp = json!(stamp(data));
    let size = item("filesizes").and_then(|size| size.parse::<i64>().ok());
    let created =
        known.map_or(stamp.clone(), |place| datasets.records()[place].value()["created_datetime"].clone());
    let record = json!({
        "url": format!("{}/datasets/{id}", sample::BASE),
        "name": file,
        "created_by": registration.created_by,
        "created_datetime": created,
        "dataset_type": dataset_type,
        "data_format": format.trim_matches('"'),
        "collection": folder,
        "session": session_url,
        "file_size": size,
        "hash": item("hashes").unwrap_or_default(),
        "version": item("versions").unwrap_or_default(),
        "experiment_number": registration.session.value()["number"],
        "file_records": [],
        "auto_datetime": stamp,
        "revision": "",
        "default_dataset": true,
        "protected": 0,
        "public": 0,
        "tags": [],
        "qc": "NOT_SET",
        "json": null,
    });
    put(data, "datasets", known, record.to_string());
    let path = format!("{}/{name}", registration.path.trim_matches('/'));
    let dataset_url = format!("{}/datasets/{id}", sample::BASE);
    let file_known = data.named("files").records().iter().position(|one| {
        let own = one.value();
        own["dataset"] == dataset_url.as_str() && own["data_repository"] == registration.repository.as_str()
    });
    if file_known.is_none() {
        let file = json!({
            "url": format!("{}/files/{}", sample::BASE, Uuid::new_v4()),
            "dataset": dataset_url,
            "data_repository": registration.repository,
            "name": "",
            "json": null,
            "relative_path": path,
            "exists": true,
        });
        put(data, "files", None, file.to_string());
    }
    add_to_insertions(data, &session_id, folder, &id);
    let touched = effects::Touched {
        sessions: [session_id.clone()].into(),
        datasets: [id.clone()].into(),
        ..effects::Touched::default()
    };
    effects::carry(data, &touched);
    Ok(shown(data, registration, &id))
}

fn put(data: &mut Data, name: &str, place: Option<usize>, text: String) {
    let Some(endpoint) = Endpoint::named(name) else { return };
    let record = Arc::new(Record::new(text));
    let records = data.change(endpoint).records_mut();
    match place {
        Some(place) => records[place] = record,
        None => records.push(record),
    }
}

/// A dataset in `alf/<insertion>` belongs to that insertion.
fn add_to_insertions(data: &mut Data, session: &str, folder: &str, id: &str) {
    let Some(name) = folder.split('/').nth(1) else { return };
    let Some(endpoint) = Endpoint::named("insertions") else { return };
    for record in data.change(endpoint).records_mut() {
        let own = record.value();
        if own["session"] == session && own["name"] == name {
            let mut datasets = own["datasets"].as_array().cloned().unwrap_or_default();
            if !datasets.iter().any(|known| known == id) {
                datasets.push(json!(id));
                *record = Arc::new(record.with("datasets", &Value::Array(datasets).to_string()));
            }
        }
    }
}

/// The one dataset type whose pattern, or name, the file has.
fn dataset_type(data: &Data, file: &str) -> WriteResult<String> {
    let name_of = |one: &Arc<Record>| one.value()["name"].as_str().unwrap_or_default().to_owned();
    let types = data.named("dataset-types").records();
    let by_name = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let matching: Vec<String> = types
        .iter()
        .filter(|one| {
            let pattern = one.value()["filename_pattern"].as_str().unwrap_or_default();
            !pattern.is_empty() && glob(pattern, file)
        })
        .map(name_of)
        .collect();
    match matching.as_slice() {
        [one] => Ok(one.clone()),
        [] => types
            .iter()
            .map(name_of)
            .find(|name| by_name == name || by_name.ends_with(&format!("_{name}")))
            .ok_or_else(|| ViewResponse::beyond(&format!("know the dataset type of {file}"))),
        _ => Err(ViewResponse::beyond(&format!("choose between the dataset types of {file}"))),
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn glob(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    let parts: Vec<&str> = pattern.split('*').collect();
    for (at, part) in parts.iter().enumerate() {
        let found = match at {
            0 => rest.starts_with(part).then_some(0),
            _ if at == parts.len() - 1 => rest.ends_with(part).then(|| rest.len() - part.len()),
            _ => rest.find(part),
        };
        match found {
            Some(start) => rest = &rest[start + part.len()..],
            None => return false,
        }
    }
    parts.len() > 1 || rest.is_empty()
}

/// The dataset as this answer shows it.
fn shown(data: &Data, registration: &Registration<'_>, id: &str) -> Value {
    let datasets = data.named("datasets");
    let record =
        datasets.find(id).first().map(|place| datasets.records()[*place].value().clone()).unwrap_or_default();
    let files = record["file_records"].as_array().into_iter().flatten().map(|file| {
        json!({
            "id": file["id"],
            "data_repository": file["data_repository"],
            "relative_path": file["relative_path"],
            "exists": file["exists"],
        })
    });
    let sessions = data.named("sessions");
    let key = registration.session.plain("id").unwrap_or_default();
    let detail = sessions.find(key).first().and_then(|place| sessions.detail(*place));
    let users = detail.map(|detail| detail.value()["users"].clone()).unwrap_or_default();
    let session = registration.session.value();
    json!({
        "id": id,
        "name": record["name"],
        "file_size": record["file_size"],
        "subject": session["subject"],
        "created_by": record["created_by"],
        "created_datetime": record["created_datetime"],
        "dataset_type": record["dataset_type"],
        "data_format": record["data_format"],
        "session": session["id"],
        "session_number": session["number"],
        "session_users": users,
        "session_start_time": session["start_time"],
        "collection": record["collection"],
        "revision": null,
        "default": record["default_dataset"],
        "qc": 0,
        "file_records": files.collect::<Vec<_>>(),
    })
}
