//! One record: all its fields, and what belongs to it.

use askama::Template;
use axum::body::Body;
use http::{HeaderValue, Response};
use serde_json::Value;

use super::{
    FloorAnswer, Visit, calls,
    table::{Cell, cell, error_of, is_nested, told_json},
};
use crate::{
    admin::{
        pages::frame::{Frame, page},
        router::text_response,
    },
    alyx::{
        Endpoint,
        filter::{Lookup, Predicate},
        model::{Join, Model},
        query_string,
    },
};

#[derive(Template)]
#[template(path = "record.html")]
struct RecordPage {
    frame: Frame,
    endpoint: &'static str,
    key: String,
    heading: String,
    told: FloorAnswer,
    fields: Vec<RecordField>,
    related: Vec<Related>,
    one: String,
    curl: String,
    error: String,
}

struct RecordField {
    name: String,
    cell: Cell,
    /// What is nested in it, written out; empty where nothing is.
    nested: String,
    count: usize,
}

/// Records that name this one.
struct Related {
    endpoint: &'static str,
    link: String,
}

impl Visit {
    pub(super) async fn record(
        &self,
        endpoint: &'static Endpoint,
        key: &str,
        authorization: HeaderValue,
        as_json: bool,
    ) -> Response<Body> {
        let path = query_string::canonical_path(&[endpoint.name.to_owned(), key.to_owned()]);
        let told = self.told(&path, &authorization).await;
        if as_json {
            return text_response(&told_json(&path, &told), "application/json");
        }
        let (status, found) = (told.status, told.status == 200);
        let fields = told.body.as_object().filter(|_| found);
        let fields = fields.into_iter().flatten().map(|(name, value)| field(endpoint, name, value)).collect();
        let heading = title_of(endpoint, key, &told.body);
        let content = RecordPage {
            frame: self.frame("explore", format!("{heading} · {}", endpoint.name)),
            endpoint: endpoint.name,
            key: key.to_owned(),
            heading,
            fields,
            related: if found { related(endpoint, key) } else { Vec::new() },
            one: calls::record(&self.base, endpoint, key, &told.body),
            curl: calls::curl(&self.base, &path),
            error: if found { String::new() } else { error_of(&told.body) },
            told,
        };
        page(&content, status)
    }
}

/// What people call it: a session by its subject, day and number, all else by its key.
fn title_of(endpoint: &Endpoint, key: &str, record: &Value) -> String {
    let day = record["start_time"].as_str().and_then(|start| start.get(..10));
    match (record["subject"].as_str(), day, record["number"].as_u64()) {
        (Some(subject), Some(day), Some(number)) if endpoint.name == calls::SESSIONS => {
            format!("{subject} {day} {number:03}")
        }
        _ => key.to_owned(),
    }
}

fn field(endpoint: &'static Endpoint, name: &str, value: &Value) -> RecordField {
    let nested = if is_nested(value) { format!("{value:#}") } else { String::new() };
    let count = value.as_array().map_or(0, Vec::len);
    RecordField { name: name.to_owned(), cell: cell(endpoint, name, value), nested, count }
}

/// What can be asked for of this record, by a filter where there is an exact one.
fn related(endpoint: &'static Endpoint, key: &str) -> Vec<Related> {
    let relations = Model::of(endpoint.name).map(|model| model.relations).unwrap_or_default();
    let own = match endpoint.detail.map(|detail| detail.key) {
        Some(crate::alyx::endpoint::DetailKey::Name(name)) => Some(name),
        _ => None,
    };
    let link = |to: &'static Endpoint, by: &str| {
        let exact = to.filter(by).filter(|filter| {
            own.is_none() && matches!(filter.test, Predicate::Column(_, Lookup::Exact | Lookup::IExact))
        });
        let pair = match (exact, own) {
            (Some(_), _) => (by.to_owned(), key.to_owned()),
            // A comma in a value can't be said so.
            _ if key.contains(',') => return None,
            (None, Some(name)) => ("django".to_owned(), format!("{by}__{name},{key}")),
            (None, None) => ("django".to_owned(), format!("{by},{key}")),
        };
        to.filter(&pair.0)?;
        Some(format!("/-/explore/{}?{}", to.name, query_string::encode_sorted(&[pair])))
    };
    relations
        .iter()
        .filter_map(|relation| {
            let Join::HeldAs(by) = relation.join else { return None };
            let to = Endpoint::named(relation.to)?;
            Some(Related { endpoint: to.name, link: link(to, by)? })
        })
        .collect()
}
