//! Records as a table, with links to what they name.

use askama::Template;
use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::{FloorAnswer, PAGE, Visit, calls, choices, csv, form, place};
use crate::{
    admin::{
        pages::{
            error::ProxyError,
            frame::{Frame, page},
        },
        router::text_response,
    },
    alyx::{
        Endpoint,
        endpoint::DetailKey,
        model::{Join, Model},
        pagination::Window,
        query_string::{self, Pairs},
    },
};

/// Characters of a cell that are shown.
const LONGEST: usize = 90;
/// Columns that are shown; the record's own page has all.
const WIDEST: usize = 12;

#[derive(Template)]
#[template(path = "list.html")]
struct ListingPage {
    frame: Frame,
    endpoint: &'static str,
    fields: Vec<form::FormField>,
    /// From which day to which, where the endpoint can be asked so.
    dates: Option<(String, String)>,
    known: Vec<choices::KnownValues>,
    facets: Vec<choices::Facet>,
    meant: Vec<choices::Meant>,
    csv: String,
    limit: u64,
    told: FloorAnswer,
    count: Option<u64>,
    first: u64,
    last: u64,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    previous: Option<String>,
    next: Option<String>,
    one: String,
    curl: String,
    error: String,
}

/// What stands in a table's cell.
#[derive(Debug, Default, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Where it leads; empty if nowhere.
    pub(super) link: String,
}

impl Visit {
    pub(super) async fn list(
        &self,
        endpoint: &'static Endpoint,
        authorization: HeaderValue,
        as_json: bool,
    ) -> Response<Body> {
        let mut pairs = form::asked(endpoint, self.uri.query().unwrap_or_default());
        let asked: Pairs = pairs
            .iter()
            .filter(|(name, value)| name != "limit" || *value != PAGE.to_string())
            .cloned()
            .collect();
        if !pairs.iter().any(|(name, _)| name == "limit") {
            pairs.push(("limit".to_owned(), PAGE.to_string()));
        }
        let path_and_query = format!("/{}?{}", endpoint.name, query_string::encode_sorted(&pairs));
        let told = self.told(&path_and_query, &authorization).await;
        if as_json {
            return text_response(&told_json(&path_and_query, &told), "application/json");
        }
        let window = Window::of(&pairs);
        let records: &[Value] = match (&told.body["results"], &told.body) {
            (Value::Array(records), _) | (_, Value::Array(records)) => records,
            _ => &[],
        };
        let count = told.body["count"].as_u64();
        let (columns, rows) = table(endpoint, records);
        let turned = |offset: u64| turned(endpoint, &pairs, offset);
        let shown = u64::try_from(records.len()).unwrap_or(0);
        let more = count.is_some_and(|count| window.offset + shown < count);
        let status = told.status;
        let known = self.known(endpoint).await;
        let questions: Pairs =
            asked.iter().filter(|(name, _)| name != "limit" && name != "offset").cloned().collect();
        let facets = if status == 200 { self.facets(endpoint, &questions).await } else { Vec::new() };
        let is_empty = status == 200 && count.is_none_or(|count| count == 0) && records.is_empty();
        let content = ListingPage {
            frame: self.frame("explore", endpoint.name),
            endpoint: endpoint.name,
            dates: form::dates(endpoint, &asked),
            fields: form::fields(endpoint, &asked),
            meant: if is_empty { choices::meant(endpoint, &questions, &known) } else { Vec::new() },
            known,
            facets,
            csv: format!("/-/explore/{}.csv?{}", endpoint.name, query_string::encode_sorted(&questions)),
            limit: window.limit,
            count,
            first: if shown > 0 { window.offset + 1 } else { 0 },
            last: window.offset + shown,
            columns,
            rows,
            previous: (window.offset > 0).then(|| turned(window.offset.saturating_sub(window.limit))),
            next: more.then(|| turned(window.offset + window.limit)),
            one: calls::list(&self.base, endpoint, &asked),
            curl: calls::curl(&self.base, &path_and_query),
            error: if status == 200 { String::new() } else { error_of(&told.body) },
            told,
        };
        page(&content, if status == 200 { 200 } else { status })
    }

    /// The records of a list as CSV: as many as Alyx puts on a page.
    pub(super) async fn csv(
        &self,
        endpoint: &'static Endpoint,
        authorization: HeaderValue,
    ) -> Response<Body> {
        let mut pairs = form::asked(endpoint, self.uri.query().unwrap_or_default());
        if !pairs.iter().any(|(name, _)| name == "limit") {
            pairs.push(("limit".to_owned(), "1000".to_owned()));
        }
        let path_and_query = format!("/{}?{}", endpoint.name, query_string::encode_sorted(&pairs));
        let told = self.told(&path_and_query, &authorization).await;
        if told.status != 200 {
            let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::BAD_GATEWAY);
            return ProxyError::refused(status, &error_of(&told.body)).into();
        }
        let records = told.body["results"].as_array().or(told.body.as_array());
        let mut response =
            text_response(&csv::of(records.map_or(&[], Vec::as_slice)), "text/csv; charset=utf-8");
        if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{}.csv\"", endpoint.name)) {
            response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
        }
        response
    }
}

/// The page of a list from this record on.
fn turned(endpoint: &Endpoint, pairs: &Pairs, offset: u64) -> String {
    let mut pairs: Pairs = pairs.iter().filter(|(name, _)| name != "offset").cloned().collect();
    if offset > 0 {
        pairs.push(("offset".to_owned(), offset.to_string()));
    }
    format!("/-/explore/{}?{}", endpoint.name, query_string::encode_sorted(&pairs))
}

/// An answer with where it came from, for programs.
pub(super) fn told_json(path_and_query: &str, told: &FloorAnswer) -> String {
    json!({
        "question": path_and_query,
        "status": told.status,
        "cache_status": told.source,
        "decision": told.explanation.decision,
        "why": told.explanation.why,
        "answer": told.body,
    })
    .to_string()
}

/// What an error of Alyx's or the proxy's says.
pub(super) fn error_of(body: &Value) -> String {
    match &body["detail"] {
        Value::String(detail) => detail.clone(),
        _ => fields_of(body).unwrap_or_else(|| body.to_string()),
    }
}

/// What is wrong with single parameters, where that is what Alyx says: `{"id": ["Enter a valid UUID."]}`.
fn fields_of(body: &Value) -> Option<String> {
    let fields = body.as_object()?.iter().filter(|(name, _)| *name != "status_code");
    let wrong = fields.map(|(name, messages)| {
        let messages: Option<Vec<&str>> = messages.as_array()?.iter().map(Value::as_str).collect();
        Some(format!("{name}: {}", messages?.join(" ")))
    });
    let wrong: Option<Vec<String>> = wrong.collect();
    wrong.filter(|wrong| !wrong.is_empty()).map(|wrong| wrong.join(" "))
}

/// The columns that say something, the record's own key first, and the cells.
fn table(endpoint: &'static Endpoint, records: &[Value]) -> (Vec<String>, Vec<Vec<Cell>>) {
    let mut names: Vec<&String> = Vec::new();
    for name in records.iter().filter_map(Value::as_object).flat_map(|record| record.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let says = |name: &&String| records.iter().any(|record| !is_empty(&record[name.as_str()]));
    names.retain(|name| says(name) && name.as_str() != "url");
    let keyed = |name: &&String| {
        records
            .iter()
            .all(|record| endpoint.key_of(record).is_some_and(|key| text_of(&record[name.as_str()]) == key))
    };
    let own = names.iter().position(keyed);
    if let Some(own) = own {
        let name = names.remove(own);
        names.insert(0, name);
    }
    // Long nested things are for the record's page.
    let nested = |name: &String| records.iter().any(|record| is_nested(&record[name.as_str()]));
    names.sort_by_key(|name| nested(name));
    names.truncate(WIDEST);
    let linked = endpoint.detail.is_some();
    let row = |record: &Value| {
        let key = endpoint.key_of(record).filter(|_| linked);
        let mut cells: Vec<Cell> =
            names.iter().map(|name| cell(endpoint, name, &record[name.as_str()])).collect();
        let link = key.as_deref().map(|key| place(endpoint.name, key)).unwrap_or_default();
        match (own, cells.first_mut()) {
            (Some(_), Some(first)) => first.link = link,
            _ => cells.insert(0, Cell { text: "open".to_owned(), link }),
        }
        cells
    };
    let rows = records.iter().map(row).collect();
    let mut columns: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
    if own.is_none() {
        columns.insert(0, "record".to_owned());
    }
    (columns, rows)
}

/// A field's value; it leads to the record that it names.
pub(super) fn cell(endpoint: &'static Endpoint, name: &str, value: &Value) -> Cell {
    let text = text_of(value);
    let link = target(endpoint, name)
        .filter(|_| !text.is_empty() && matches!(value, Value::String(_) | Value::Number(_)))
        .map(|target| place(target, text.rsplit('/').next().unwrap_or(&text)))
        .unwrap_or_default();
    let text = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    Cell { text, link }
}

/// The endpoint of the records that a field names by their own keys.
fn target(endpoint: &'static Endpoint, name: &str) -> Option<&'static str> {
    let relations = Model::of(endpoint.name)?.relations;
    relations.iter().find_map(|relation| {
        let Join::Holds { at, key, .. } = relation.join else { return None };
        let to = Endpoint::named(relation.to)?;
        let by = match to.detail?.key {
            DetailKey::Name(name) => name,
            DetailKey::Uuid | DetailKey::Integer => "id",
        };
        let field = at.trim_end_matches('#');
        (field == name && by == key).then_some(relation.to)
    })
}

/// A value as people read it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !is_nested(item)) => {
            items.iter().map(text_of).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => format!("[{}]", items.len()),
        value => value.to_string(),
    }
}

pub(super) fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(items) => items.iter().any(|item| item.is_array() || item.is_object()),
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
