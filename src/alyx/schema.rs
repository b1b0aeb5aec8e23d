//! The description of the interface at `/api/schema`: OpenAPI 3.0.3, generated from the data of this
//! module in words of our own (ALYX.md 5, 9.2).
//!
//! It has Alyx's paths, methods and parameters, and for each kind of record the fields that Alyx takes.
//! ONE reads `paths` (methods, the names of parameters) and `components.schemas` (the fields of a record
//! that is sent). What answers look like is left out.

use serde_json::{Map, Value, json};

use super::{
    Detail, DetailKey, ENDPOINTS, Endpoint,
    filter::{Filter, Input, Lookup, Predicate},
    model::{ColumnKind, Join, Model},
};

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        paths.insert(format!("/{}", endpoint.name), list(endpoint));
        if let Some(detail) = endpoint.detail {
            let (name, _) = key(detail.key);
            paths.insert(format!("/{}/{{{name}}}", endpoint.name), record(endpoint, detail));
        }
    }
    paths.extend(other_paths());
    paths.sort_keys();
    let schemas: Map<String, Value> = ENDPOINTS
        .iter()
        .filter_map(|endpoint| Some((endpoint.model.to_owned(), fields(Model::of(endpoint.name)?))))
        .collect();
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Alyx", "version": "3.6.1" },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "tokenAuth": { "type": "apiKey", "in": "header", "name": "Authorization" }
            }
        }
    })
}

/// What is not a list or a record by its key.
fn other_paths() -> Vec<(String, Value)> {
    let named = parameter("name", "path", "string", None, "Any name: the whole list is answered.");
    let water_type = |parameters: Value| json!({ "parameters": parameters, "tags": ["water-type"] });
    let mut water_types = water_type(json!([named, limit(), offset()]));
    water_types["description"] = json!("Lists water types, whatever the name.");
    let path = |name: &str| json!([parameter(name, "path", "string", None, "")]);
    let operation = |tag: &str, text: &str| json!({ "description": text, "tags": [tag] });
    let with = |mut operation: Value, parameters: Value| {
        operation["parameters"] = parameters;
        operation
    };
    let text = |name: &str, description: &str| parameter(name, "query", "string", None, description);
    vec![
        ("/water-type/{name}".to_owned(), json!({ "get": water_types, "post": water_type(json!([named])) })),
        (
            "/water-requirement/{nickname}".to_owned(),
            json!({ "get": with(
                operation("water-requirement", "What a subject has drunk and needs, day by day."),
                path("nickname"),
            ) }),
        ),
        (
            "/api/schema".to_owned(),
            json!({ "get": with(operation("api", "This document."), json!([text("format", "json or yaml.")])) }),
        ),
        (
            "/auth-token".to_owned(),
            json!({ "post": operation("auth-token", "Gives the token of a user for name and password.") }),
        ),
        ("/cache.zip".to_owned(), json!({ "get": operation("cache.zip", "ONE's cache tables.") })),
        (
            "/cache/info/".to_owned(),
            json!({ "get": operation("cache", "When ONE's cache tables were made.") }),
        ),
        (
            "/check-protected".to_owned(),
            json!({ "get": with(
                operation("check-protected", "Whether datasets that are to be registered are protected."),
                // Alyx names these two, and not `path` and `filenames`, which it needs.
                json!([limit(), offset()]),
            ) }),
        ),
        ("/docs/".to_owned(), json!({ "get": operation("docs", "The interface described for people.") })),
        ("/new-download".to_owned(), json!({ "post": operation("new-download", "Counts downloads.") })),
        (
            "/register-file".to_owned(),
            json!({ "post": operation("register-file", "Registers files of a session.") }),
        ),
        (
            "/sync-file-status".to_owned(),
            json!({
                "get": operation("sync-file-status", "What a synchronisation with Globus would change."),
                "post": operation("sync-file-status", "Synchronises with Globus."),
            }),
        ),
        (
            "/uploaded/{img_url}".to_owned(),
            json!({ "get": with(operation("uploaded", "A picture of a note."), path("img_url")) }),
        ),
    ]
}

fn list(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = endpoint.filters.iter().map(filter).collect();
    parameters.extend([limit(), offset()]);
    parameters.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let tags = json!([endpoint.name]);
    let mut operations = Map::new();
    operations.insert(
        "get".to_owned(),
        json!({
            "description": format!("Lists records of {}.", endpoint.model),
            "parameters": parameters,
            "tags": tags,
        }),
    );
    if endpoint.create {
        let description = format!("Creates a record of {}.", endpoint.model);
        operations.insert(
            "post".to_owned(),
            json!({ "description": description, "requestBody": body(endpoint), "tags": tags }),
        );
    }
    Value::Object(operations)
}

fn record(endpoint: &Endpoint, detail: Detail) -> Value {
    let (name, kind) = key(detail.key);
    let format = (name == "id" && kind == "string").then_some("uuid");
    let parameters = json!([parameter(name, "path", kind, format, "")]);
    let mut operations = Map::new();
    let methods = std::iter::once(&"GET").chain(detail.writes);
    for method in methods {
        let (does, sends) = match *method {
            "GET" => ("Reads", false),
            "PUT" => ("Replaces", true),
            "PATCH" => ("Changes fields of", true),
            _ => ("Deletes", false),
        };
        let mut operation = json!({
            "description": format!("{does} a record of {}.", endpoint.model),
            "parameters": parameters,
            "tags": [endpoint.name],
        });
        if sends {
            operation["requestBody"] = body(endpoint);
        }
        operations.insert(method.to_ascii_lowercase(), operation);
    }
    Value::Object(operations)
}

/// The name and type of the last segment of a record's path.
fn key(key: DetailKey) -> (&'static str, &'static str) {
    match key {
        DetailKey::Uuid => ("id", "string"),
        DetailKey::Integer => ("id", "integer"),
        DetailKey::Name(name) => (name, "string"),
    }
}

fn body(endpoint: &Endpoint) -> Value {
    let schema = json!({ "$ref": format!("#/components/schemas/{}", endpoint.model) });
    json!({ "content": { "application/json": { "schema": schema } } })
}

fn parameter(name: &str, place: &str, kind: &str, format: Option<&str>, description: &str) -> Value {
    let mut schema = json!({ "type": kind });
    if let Some(format) = format {
        schema["format"] = json!(format);
    }
    let mut parameter = json!({ "name": name, "in": place, "schema": schema });
    if place == "path" {
        parameter["required"] = json!(true);
    }
    if !description.is_empty() {
        parameter["description"] = json!(description);
    }
    parameter
}

fn limit() -> Value {
    parameter("limit", "query", "integer", None, "Records on a page: 250 where it is absent, 1000 at most.")
}

fn offset() -> Value {
    parameter("offset", "query", "integer", None, "Records before the page.")
}

fn filter(filter: &Filter) -> Value {
    let (kind, format) = match filter.input {
        Input::Number => ("number", None),
        Input::SelectedBoolean | Input::Boolean => ("boolean", None),
        Input::DateTime | Input::FormDateTime => ("string", Some("date-time")),
        Input::Date => ("string", Some("date")),
        Input::Key(keyed) if keyed.integer => ("integer", None),
        Input::Uuid | Input::Key(_) => ("string", Some("uuid")),
        Input::Keys(_) | Input::Uuids => ("array", None),
        _ => ("string", None),
    };
    let mut parameter = parameter(filter.name, "query", kind, format, &description(filter));
    match filter.input {
        Input::Keys(keyed) if keyed.integer => parameter["schema"]["items"] = json!({ "type": "integer" }),
        Input::Keys(_) | Input::Uuids => {
            parameter["schema"]["items"] = json!({ "type": "string", "format": "uuid" });
        }
        Input::Choice(codes) => parameter["schema"]["enum"] = json!(codes),
        Input::Label(labels) => {
            let labels: Vec<&str> = labels.labels.iter().map(|(_, label)| *label).collect();
            parameter["schema"]["enum"] = json!(labels);
        }
        Input::CodeLabel(codes) => {
            let labels: Vec<&str> = codes.iter().map(|(_, label)| *label).collect();
            parameter["schema"]["enum"] = json!(labels);
        }
        _ => {}
    }
    parameter
}

/// What a filter asks for, in a sentence.
fn description(filter: &Filter) -> String {
    let of = |path: &str| path.replace("__", " ▸ ");
    match filter.test {
        Predicate::Column(path, lookup) => match (lookup, filter.input) {
            (_, Input::Key(_) | Input::Keys(_)) => format!("The primary key of {}.", of(path)),
            (_, Input::Label(_) | Input::CodeLabel(_)) => format!("The label of {}, in any case.", of(path)),
            (Lookup::Exact, Input::Text) => format!("Exactly {}, case-sensitive.", of(path)),
            (Lookup::Exact, _) => format!("Exactly {}.", of(path)),
            (Lookup::IExact, _) => format!("Exactly {}, in any case.", of(path)),
            (Lookup::IContains, _) => format!("A part of {}, in any case.", of(path)),
            (Lookup::Date, _) => format!("The day of {}, YYYY-MM-DD.", of(path)),
            (Lookup::DateFrom, _) => format!("On the day of {} or later.", of(path)),
            (Lookup::DateUntil, _) => format!("On the day of {} or earlier.", of(path)),
            (other, _) => format!("{} of {}.", other.names().join(" "), of(path)),
        },
        Predicate::Django => {
            "Pairs of a Django field lookup and a value: field,value,field,value; ~ before a field excludes."
                .to_owned()
        }
        Predicate::JsonKeys(column) => {
            format!("Pairs of a key in {column} and a value: key,value,key,value.")
        }
        Predicate::JsonText(column) => format!("A part of the text of {column}, in any case."),
        Predicate::Users => "Comma-separated user names, all of which must be among the record's.".to_owned(),
        Predicate::DateRange => "Two days, first and last: YYYY-MM-DD,YYYY-MM-DD.".to_owned(),
        Predicate::DatasetTypes(_) => {
            "Comma-separated names of dataset types, all of which there must be.".to_owned()
        }
        Predicate::SessionDatasets | Predicate::Datasets { .. } => {
            "Comma-separated names of datasets, all of which there must be.".to_owned()
        }
        Predicate::DatasetQc(_) => "The worst quality that a dataset may have.".to_owned(),
        Predicate::PerformanceFrom => "At least this percentage of trials correct.".to_owned(),
        Predicate::PerformanceUntil => "At most this percentage of trials correct.".to_owned(),
        Predicate::Region(_) => "A brain region, with all below it.".to_owned(),
        Predicate::Histology => "Whether the subject has had histology.".to_owned(),
        Predicate::Alive => "Whether the subject is alive today.".to_owned(),
        Predicate::Stock => "Whether the responsible user manages stock.".to_owned(),
        Predicate::WaterRestricted => "Whether the subject is alive and under water restriction.".to_owned(),
        Predicate::ExistsOnServer => "Whether a file of it exists on a server.".to_owned(),
        Predicate::OfInsertion => "The datasets of this insertion.".to_owned(),
        Predicate::Tagged(flag) => format!("Whether a tag makes it {flag}."),
        Predicate::Ancestors => "This region and those above it, instead of all other questions.".to_owned(),
        Predicate::Descendants => {
            "This region and those below it, instead of all other questions.".to_owned()
        }
        Predicate::AnyDataset => "Comma-separated ids of datasets, any of which.".to_owned(),
        Predicate::Broken => "Does not work in Alyx 3.6.1.".to_owned(),
    }
}

/// The fields of the records of a model, as far as it is known here.
fn fields(model: &Model) -> Value {
    let root = |at: &'static str| at.split(['.', '[', '#', '<', '>']).next().unwrap_or(at);
    let mut properties = Map::new();
    for column in model.columns {
        let property = match column.kind {
            ColumnKind::Text | ColumnKind::Labels(_) => json!({ "type": "string" }),
            ColumnKind::Uuid => json!({ "type": "string", "format": "uuid" }),
            ColumnKind::Integer => json!({ "type": "integer" }),
            ColumnKind::Float => json!({ "type": "number" }),
            ColumnKind::Boolean => json!({ "type": "boolean" }),
            ColumnKind::DateTime => json!({ "type": "string", "format": "date-time" }),
            ColumnKind::Date => json!({ "type": "string", "format": "date" }),
            ColumnKind::Json => json!({}),
            ColumnKind::Array => json!({ "type": "array", "items": { "type": "number" } }),
        };
        let name = root(column.at);
        if name != "url" {
            properties.insert(name.to_owned(), property);
        }
    }
    for relation in model.relations {
        if let Join::Holds { at, .. } = relation.join {
            let item = json!({ "type": "string" });
            let property = if relation.many { json!({ "type": "array", "items": item }) } else { item };
            properties.insert(root(at).to_owned(), property);
        }
    }
    json!({ "type": "object", "properties": properties })
}
