//! What is sent, checked as Alyx's serializers do, and written as they write it (ALYX.md 7).

use serde_json::{Map, Value};

use super::WriteResult;
use crate::{
    alyx::{
        Endpoint,
        model::{ColumnKind, Join, Model, Relation},
        record,
    },
    miniature::{answer::ViewResponse, data::Data, sample},
};

/// Fields that Alyx fills itself, and ignores where they are sent.
const READ_ONLY: &[&str] = &["id", "url", "auto_datetime", "session_info", "hash", "description_html"];
/// Times that Alyx fills itself.
const STAMPS: &[(&str, &str)] = &[("trajectories", "datetime"), ("tasks", "datetime")];

/// Fields without which nothing is created.
const REQUIRED: &[(&str, &[&str])] = &[
    ("sessions", &["subject"]),
    ("subjects", &["lab"]),
    ("trajectories", &["x", "y", "depth", "theta", "phi", "provenance"]),
    ("weighings", &["subject", "weight"]),
    ("water-administrations", &["subject"]),
    ("notes", &["content_type", "object_id"]),
    ("files", &["dataset", "data_repository", "relative_path"]),
    ("fields-of-view", &["session"]),
];

/// The fields without which nothing is created, and that are not sent.
fn missing(endpoint: &Endpoint, sent: &Map<String, Value>) -> impl Iterator<Item = &'static str> {
    let needed =
        REQUIRED.iter().find(|(name, _)| *name == endpoint.name).map_or(&[][..], |(_, fields)| fields);
    needed.iter().copied().filter(|field| !sent.contains_key(*field))
}

/// The fields that are sent, as texts of JSON; unknown ones are ignored, as Alyx does. Where the record is
/// `whole`, none may be missing that Alyx needs.
pub(super) fn fields(
    data: &Data,
    endpoint: &Endpoint,
    sent: &Map<String, Value>,
    whole: bool,
) -> WriteResult<Vec<(String, String)>> {
    let Some(model) = Model::of(endpoint.name) else {
        return Err(ViewResponse::beyond("write such records"));
    };
    let (mut fields, mut invalid) = (Vec::new(), Vec::new());
    if whole {
        let required = || vec!["This field is required.".to_owned()];
        invalid.extend(missing(endpoint, sent).map(|field| (field, required())));
    }
    for (name, value) in sent {
        let stamp = STAMPS.contains(&(endpoint.name, name.as_str()));
        if READ_ONLY.contains(&name.as_str()) || stamp {
            continue;
        }
        match field(data, model, name, value) {
            Some(Ok(text)) => fields.push((name.clone(), text)),
            Some(Err(FieldProblem::Invalid(message))) => invalid.push((name.as_str(), vec![message])),
            Some(Err(FieldProblem::Refused(answer))) => return Err(answer),
            None => {}
        }
    }
    if invalid.is_empty() {
        return Ok(fields);
    }
    // Alyx tells them in the order of a record's fields.
    let example = data.table(endpoint).records().first();
    invalid.sort_by_key(|(name, _)| {
        example.and_then(|one| record::fields(one.text()).position(|(field, _)| field == *name))
    });
    Err(ViewResponse::invalid(invalid))
}

enum FieldProblem {
    Invalid(String),
    Refused(ViewResponse),
}

/// The text of a field; none for a field that the model does not have.
fn field(
    data: &Data,
    model: &Model,
    name: &str,
    value: &Value,
) -> Option<std::result::Result<String, FieldProblem>> {
    if (model.endpoint, name) == ("notes", "content_type") {
        return Some(content_type(value));
    }
    if (model.endpoint, name) == ("notes", "image") {
        let file = value.as_str().filter(|file| !file.is_empty())?;
        return Some(Ok(format!("\"{}/uploaded/2026/11/23/{file}\"", sample::BASE)));
    }
    let root = |at: &'static str| at.trim_end_matches(['[', ']', '#']);
    let holds = |relation: &&Relation| match relation.join {
        Join::Holds { at, .. } => root(at) == name,
        Join::HeldAs(_) => false,
    };
    if let Some(relation) = model.relations.iter().find(holds) {
        return Some(reference(data, relation, value));
    }
    let column = model.columns.iter().find(|column| column.at == name)?;
    if column.name.contains("__") {
        let known = data.named(model.endpoint).records().iter().any(|record| record.value()[name] == *value);
        let unknown = || FieldProblem::Invalid(format!("Object with name={} does not exist.", plain(value)));
        return Some(if known { Ok(value.to_string()) } else { Err(unknown()) });
    }
    Some(scalar(column.kind, value))
}

/// The keys of records that exist.
fn reference(data: &Data, relation: &Relation, value: &Value) -> std::result::Result<String, FieldProblem> {
    let Join::Holds { at, key, .. } = relation.join else {
        return Err(FieldProblem::Refused(ViewResponse::beyond("write this relation")));
    };
    if at.contains("].") {
        return Err(FieldProblem::Refused(ViewResponse::beyond(&format!("write {} so", relation.name))));
    }
    let column = Model::of(relation.to).and_then(|model| model.column(key)).map_or(key, |column| column.at);
    let index = data.index(relation.to, column, false);
    let one = |value: &Value| {
        let text = plain(value);
        let own_key = if at.ends_with('#') { text.rsplit('/').next().unwrap_or_default() } else { &text };
        match index.get(own_key).map_or(0, Vec::len) {
            0 if key == "id" => {
                Err(FieldProblem::Invalid(format!("Invalid pk \"{text}\" - object does not exist.")))
            }
            0 => Err(FieldProblem::Invalid(format!("Object with {key}={text} does not exist."))),
            1 if at.ends_with('#') => Ok(format!("\"{}/{}/{own_key}\"", sample::BASE, relation.to)),
            1 => Ok(value.to_string()),
            _ if relation.to == "locations" => Ok(value.to_string()),
            count => {
                let model = Endpoint::named(relation.to).map_or("", |endpoint| endpoint.model);
                let text = format!("get() returned more than one {model} -- it returned {count}!");
                Err(FieldProblem::Refused(ViewResponse::failed(&text)))
            }
        }
    };
    match value {
        Value::Null => Ok("null".to_owned()),
        Value::Array(items) if relation.many => {
            let texts = items.iter().map(one).collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(format!("[{}]", texts.join(",")))
        }
        single if relation.many => Ok(format!("[{}]", one(single)?)),
        single => one(single),
    }
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn scalar(kind: ColumnKind, value: &Value) -> std::result::Result<String, FieldProblem> {
    let invalid = |message: &str| Err(FieldProblem::Invalid(message.to_owned()));
    if value.is_null() {
        return Ok("null".to_owned());
    }
    let text = plain(value);
    match kind {
        // Forms send JSON as text.
        ColumnKind::Json => match value {
            Value::String(text)
                if text.starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_ok() =>
            {
                Ok(text.clone())
            }
            other => Ok(other.to_string()),
        },
        ColumnKind::Text if value.is_string() || value.is_number() => Ok(Value::from(text).to_string()),
        ColumnKind::Text => invalid("Not a valid string."),
        ColumnKind::Integer => match text.trim().parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => invalid("A valid integer is required."),
        },
        ColumnKind::Float => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(format!("{number:?}")),
            _ => invalid("A valid number is required."),
        },
        ColumnKind::Boolean => match text.to_lowercase().as_str() {
            "true" | "1" => Ok("true".to_owned()),
            "false" | "0" => Ok("false".to_owned()),
            _ => invalid("Must be a valid boolean."),
        },
        ColumnKind::Uuid if text.len() == 36 => Ok(Value::from(text).to_string()),
        ColumnKind::Uuid => invalid("Must be a valid UUID."),
        ColumnKind::Labels(labels) => {
            if let Some(label) = labels.label(&text) {
                return Ok(Value::from(label).to_string());
            }
            let choices: Vec<&str> = labels.labels.iter().map(|(_, label)| *label).collect();
            invalid(&format!("Invalid {}, choices are: {}", labels.name, choices.join(", ")))
        }
        ColumnKind::DateTime => match text.parse::<jiff::civil::DateTime>() {
            Ok(time) if time.subsec_nanosecond() == 0 => {
                Ok(time.strftime("\"%Y-%m-%dT%H:%M:%S\"").to_string())
            }
            Ok(time) => Ok(time.strftime("\"%Y-%m-%dT%H:%M:%S.%6f\"").to_string()),
            Err(_) => Err(FieldProblem::Refused(ViewResponse::beyond(&format!("read {text} as a time")))),
        },
        ColumnKind::Date => match text.parse::<jiff::civil::Date>() {
            Ok(day) => Ok(format!("\"{day}\"")),
            Err(_) => Err(FieldProblem::Refused(ViewResponse::beyond(&format!("read {text} as a day")))),
        },
        ColumnKind::Array if value.is_array() => Ok(value.to_string()),
        ColumnKind::Array => Err(FieldProblem::Refused(ViewResponse::beyond("write such an array"))),
    }
}

/// The model that a note is about, with its app.
fn content_type(value: &Value) -> std::result::Result<String, FieldProblem> {
    const APPS: &[(&str, &str)] = &[
        ("session", "actions.session"),
        ("probeinsertion", "experiments.probeinsertion"),
        ("trajectoryestimate", "experiments.trajectoryestimate"),
        ("subject", "subjects.subject"),
        ("dataset", "data.dataset"),
    ];
    let name = value.as_str().unwrap_or_default();
    let found = APPS.iter().find(|(model, full)| *model == name || *full == name);
    let unknown = || FieldProblem::Refused(ViewResponse::beyond(&format!("write notes about {name}")));
    found.map(|(_, full)| format!("\"{full}\"")).ok_or_else(unknown)
}
