//! New records: every field in Alyx's order, with its value or its default (ALYX.md 3, 7).

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{WriteResult, check, effects, order, stamp};
use crate::{
    alyx::{Endpoint, record::Record},
    miniature::{answer::ViewResponse, data::Data, respond::ViewRequest, sample, services::encoded},
};

/// The fields of list records and their defaults. `=` stands for what Alyx makes itself.
const LISTED: &[(&str, &[(&str, &str)])] = &[
    (
        "sessions",
        &[
            ("id", "="),
            ("subject", ""),
            ("start_time", "null"),
            ("number", "null"),
            ("lab", "null"),
            ("projects", "[]"),
            ("url", "="),
            ("task_protocol", "\"\""),
        ],
    ),
    (
        "subjects",
        &[
            ("nickname", "\"-\""),
            ("url", "="),
            ("id", "="),
            ("responsible_user", "null"),
            ("birth_date", "null"),
            ("age_weeks", "0"),
            ("death_date", "null"),
            ("species", "null"),
            ("sex", "\"U\""),
            ("litter", "null"),
            ("strain", "null"),
            ("source", "null"),
            ("line", "null"),
            ("projects", "[]"),
            ("session_projects", "[]"),
            ("lab", ""),
            ("genotype", "[]"),
            ("description", "\"\""),
            ("alive", "true"),
            ("reference_weight", "0.0"),
            ("last_water_restriction", "null"),
            ("expected_water", "0.0"),
            ("remaining_water", "0.0"),
            ("json", "null"),
        ],
    ),
    (
        "insertions",
        &[
            ("id", "="),
            ("session", "null"),
            ("model", "null"),
            ("session_info", "null"),
            ("name", "\"\""),
            ("json", "null"),
            ("serial", "\"\""),
            ("auto_datetime", "="),
            ("chronic_insertion", "null"),
            ("datasets", "[]"),
        ],
    ),
    (
        "trajectories",
        &[
            ("id", "="),
            ("probe_insertion", "null"),
            ("x", ""),
            ("y", ""),
            ("z", "null"),
            ("depth", ""),
            ("theta", ""),
            ("phi", ""),
            ("roll", "null"),
            ("provenance", ""),
            ("session", "null"),
            ("probe_name", "null"),
            ("coordinate_system", "null"),
            ("datetime", "="),
            ("json", "null"),
            ("chronic_insertion", "null"),
        ],
    ),
    (
        "channels",
        &[
            ("id", "="),
            ("trajectory_estimate", "null"),
            ("brain_region", "null"),
            ("name", "\"\""),
            ("json", "null"),
            ("axial", "null"),
            ("lateral", "null"),
            ("x", "null"),
            ("y", "null"),
            ("z", "null"),
        ],
    ),
    ("weighings", &[("subject", ""), ("date_time", "="), ("weight", ""), ("user", "null"), ("url", "=")]),
    (
        "water-administrations",
        &[
            ("subject", ""),
            ("date_time", "="),
            ("water_administered", "null"),
            ("water_type", "null"),
            ("user", "null"),
            ("url", "="),
            ("session", "null"),
            ("adlib", "false"),
        ],
    ),
    (
        "notes",
        &[
            ("id", "="),
            ("user", "null"),
            ("date_time", "="),
            ("content_type", ""),
            ("object_id", ""),
            ("text", "\"\""),
            ("image", "null"),
            ("json", "null"),
        ],
    ),
    (
        "tasks",
        &[
            ("id", "="),
            ("parents", "[]"),
            ("session", "null"),
            ("data_repository", "null"),
            ("status", ""),
            ("name", "null"),
            ("priority", "null"),
            ("io_charge", "null"),
            ("level", "null"),
            ("gpu", "null"),
            ("cpu", "null"),
            ("ram", "null"),
            ("time_out_secs", "null"),
            ("time_elapsed_secs", "null"),
            ("executable", "null"),
            ("graph", "null"),
            ("log", "null"),
            ("version", "null"),
            ("datetime", "="),
            ("arguments", "null"),
        ],
    ),
    (
        "files",
        &[
            ("url", "="),
            ("dataset", ""),
            ("data_repository", ""),
            ("name", "\"\""),
            ("json", "null"),
            ("relative_path", ""),
            ("exists", "false"),
        ],
    ),
    (
        "fields-of-view",
        &[
            ("id", "="),
            ("imaging_type", "null"),
            ("location", "[]"),
            ("name", "\"\""),
            ("json", "null"),
            ("session", ""),
            ("stack", "null"),
            ("datasets", "[]"),
        ],
    ),
];

/// The fields of details that differ from the list record, in the same way; what a list record has is
/// taken from there.
const DETAILED: &[(&str, &[(&str, &str)])] = &[
    (
        "sessions",
        &[
            ("subject", ""),
            ("users", "[]"),
            ("location", "null"),
            ("procedures", "[]"),
            ("lab", ""),
            ("projects", ""),
            ("type", "null"),
            ("task_protocol", ""),
            ("number", ""),
            ("start_time", ""),
            ("end_time", "null"),
            ("narrative", "\"\""),
            ("parent_session", "null"),
            ("n_correct_trials", "null"),
            ("n_trials", "null"),
            ("url", ""),
            ("extended_qc", "null"),
            ("qc", "\"NOT_SET\""),
            ("wateradmin_session_related", "[]"),
            ("data_dataset_session_related", "[]"),
            ("auto_datetime", "="),
            ("id", ""),
            ("json", "null"),
            ("probe_insertion", "[]"),
            ("field_of_view", "[]"),
            ("notes", "[]"),
        ],
    ),
    (
        "insertions",
        &[
            ("id", ""),
            ("session", ""),
            ("model", ""),
            ("session_info", ""),
            ("datasets", ""),
            ("name", ""),
            ("json", ""),
            ("serial", ""),
            ("auto_datetime", ""),
            ("chronic_insertion", ""),
        ],
    ),
    ("subjects", &[("weighings", "[]"), ("water_administrations", "[]")]),
];

/// Creates a record and carries it to those that show it; its text as Alyx answers it.
pub(super) fn record(
    data: &mut Data,
    endpoint: &'static Endpoint,
    sent: &Map<String, Value>,
    ask: &ViewRequest,
) -> WriteResult<String> {
    let template = LISTED.iter().find(|(name, _)| *name == endpoint.name).map(|(_, fields)| *fields);
    let template = template.ok_or_else(|| ViewResponse::beyond(&format!("create {}", endpoint.name)))?;
    if endpoint.name == "tasks" && !sent.contains_key("status") {
        return Err(ViewResponse::beyond("create tasks without a status, on which Alyx itself fails"));
    }
    let mut fields = check::fields(data, endpoint, sent, true)?;
    fill_in(data, endpoint, &mut fields, ask)?;
    let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
    let id = Uuid::new_v4().to_string();
    let key = value("nickname")
        .and_then(|text| serde_json::from_str::<String>(text).ok())
        .unwrap_or_else(|| id.clone());
    let made = |name: &str| match name {
        "id" => format!("\"{id}\""),
        "url" => format!("\"{}/{}/{}\"", sample::BASE, endpoint.name, encoded(&key)),
        _ => format!("\"{}\"", stamp(data)),
    };
    let mut record = Record::new("{}");
    for (name, default) in template {
        let text = match value(name) {
            Some(text) => text.to_owned(),
            None if *default == "=" => made(name),
            None => (*default).to_owned(),
        };
        record = record.with(name, &text);
    }
    if endpoint.name == "insertions" {
        record = record.with("datasets", &effects::datasets_of(data, &record));
    }
    super::may_write(endpoint, &record)?;
    let detail = DETAILED.iter().find(|(name, _)| *name == endpoint.name).map(|(_, fields)| *fields);
    let detail = detail.map(|template| {
        let mut detail = Record::new(if endpoint.name == "subjects" { record.text() } else { "{}" });
        for (name, default) in template {
            let text = value(name).or_else(|| record.field(name)).map(str::to_owned);
            let text =
                text.unwrap_or_else(|| if *default == "=" { made(name) } else { (*default).to_owned() });
            detail = detail.with(name, &text);
        }
        Arc::new(detail)
    });
    let table = data.change(endpoint);
    if let Some(detail) = detail {
        table.details_mut().insert(key.clone(), detail);
    }
    let record = Arc::new(record);
    table.records_mut().push(Arc::clone(&record));
    let place = table.records().len() - 1;
    let now = stamp(data);
    super::save_with(data, endpoint, &record, &now);
    let touched = effects::Touched::by(data, endpoint, place);
    effects::carry(data, &touched);
    order::restore(data, endpoint);
    let table = data.table(endpoint);
    let place =
        table.find(&crate::miniature::data::id(&table.records()[place]).map_or(key.clone(), |_| key.clone()));
    let place = *place.first().ok_or_else(|| ViewResponse::beyond("find what it has created"))?;
    let listed = endpoint.name == "insertions";
    let answer = if listed { None } else { table.detail(place) };
    Ok(answer.unwrap_or_else(|| Arc::clone(&table.records()[place])).text().to_owned())
}

/// What Alyx takes from elsewhere where it is not sent: the user who asks, the lab of the subject.
fn fill_in(
    data: &Data,
    endpoint: &Endpoint,
    fields: &mut Vec<(String, String)>,
    ask: &ViewRequest,
) -> WriteResult<()> {
    let has = |fields: &[(String, String)], name: &str| fields.iter().any(|(known, _)| known == name);
    let user = Value::from(ask.user.as_deref().unwrap_or_default()).to_string();
    match endpoint.name {
        "sessions" => {
            if !has(fields, "users") {
                fields.push(("users".to_owned(), format!("[{user}]")));
            }
            if !has(fields, "lab") {
                let subject = fields.iter().find(|(name, _)| name == "subject").map(|(_, text)| text.clone());
                let subjects = data.named("subjects").records().iter();
                let lab = subjects
                    .filter(|one| one.field("nickname") == subject.as_deref())
                    .find_map(|one| one.field("lab"));
                fields.push(("lab".to_owned(), lab.unwrap_or("null").to_owned()));
            }
        }
        "trajectories" => {
            let key = fields
                .iter()
                .find(|(name, _)| name == "probe_insertion")
                .map(|(_, text)| text.trim_matches('"'));
            let insertions = data.named("insertions");
            if let Some(place) = key.and_then(|key| insertions.find(key).first()) {
                let insertion = &insertions.records()[*place];
                for (field, from) in [("probe_name", "name"), ("session", "session_info")] {
                    fields.push((field.to_owned(), insertion.field(from).unwrap_or("null").to_owned()));
                }
            }
        }
        "weighings" | "water-administrations" | "notes" if !has(fields, "user") => {
            fields.push(("user".to_owned(), user));
        }
        "subjects" => {
            let nickname =
                fields.iter().find(|(name, _)| name == "nickname").map(|(_, text)| text.trim_matches('"'));
            if nickname.is_some_and(|nickname| !data.named("subjects").find(nickname).is_empty()) {
                return Err(ViewResponse::beyond("create subjects of a nickname that there is already"));
            }
            if !has(fields, "responsible_user") {
                fields.push(("responsible_user".to_owned(), user));
            }
        }
        _ => {}
    }
    if endpoint.name == "notes" {
        about_something(data, fields)?;
    }
    Ok(())
}

/// A note is about a record that exists.
fn about_something(data: &Data, fields: &[(String, String)]) -> WriteResult<()> {
    let text = |name: &str| {
        fields.iter().find(|(known, _)| known == name).map_or("", |(_, text)| text.trim_matches('"'))
    };
    let (endpoint, model) = match text("content_type") {
        "actions.session" => ("sessions", "Session"),
        "experiments.probeinsertion" => ("insertions", "ProbeInsertion"),
        "experiments.trajectoryestimate" => ("trajectories", "TrajectoryEstimate"),
        "data.dataset" => ("datasets", "Dataset"),
        _ => ("subjects", "Subject"),
    };
    let known = data.index(endpoint, if endpoint == "datasets" { "url#" } else { "id" }, false);
    if known.contains_key(text("object_id")) {
        return Ok(());
    }
    Err(ViewResponse::failed(&format!("{model} matching query does not exist.")))
}

/// The record with the time of its change, where it has one.
pub(super) fn stamped(endpoint: &Endpoint, record: &Record, stamp: &str) -> Record {
    let field = match endpoint.name {
        "trajectories" | "tasks" => "datetime",
        _ => "auto_datetime",
    };
    match record.field(field) {
        Some(_) => record.with(field, &format!("\"{stamp}\"")),
        None => Record::new(record.text()),
    }
}
