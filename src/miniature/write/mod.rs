//! Writes, kept in memory until the miniature ends (ALYX.md 7).
//!
//! A write changes a copy of the tables and puts it in place, so that readers see all of it or
//! nothing. It carries what it changes to the records that show it ([`effects`]); what it can't do as Alyx
//! would is refused with 501, and then nothing has changed. What Alyx computes of water and weight is not
//! computed anew.

mod check;
mod create;
mod effects;
mod order;
mod register;
mod repository;
mod shown;

use std::{collections::HashSet, sync::Arc, time::Instant};

use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    answer::ViewResponse,
    data::{Data, id},
    form, omit,
    respond::ViewRequest,
    sample,
};
use crate::alyx::{Class, DetailKey, Endpoint, record::Record};
pub(super) use register::register;

type WriteResult<T> = std::result::Result<T, ViewResponse>;

/// Carries out a write on a list or a record.
pub(super) fn answer(
    data: &mut Data,
    endpoint: &'static Endpoint,
    key: Option<&str>,
    ask: &ViewRequest,
) -> WriteResult<ViewResponse> {
    match (&ask.method, key) {
        (&Method::POST, None) => post(data, endpoint, ask),
        (&Method::PUT | &Method::PATCH, Some(key)) => change(data, endpoint, key, ask),
        (&Method::DELETE, Some(key)) => delete(data, endpoint, key),
        _ => Err(ViewResponse::beyond("know such a write")),
    }
}

/// Creates a record; of channels also several.
fn post(data: &mut Data, endpoint: &'static Endpoint, ask: &ViewRequest) -> WriteResult<ViewResponse> {
    let sent = form::value(ask)?;
    let text = match (endpoint.name, sent) {
        ("channels", Value::Array(items)) => {
            let mut texts = Vec::new();
            for item in items {
                let Value::Object(fields) = item else { return Err(form::not_an_object(&item)) };
                texts.push(create::record(data, endpoint, &fields, ask)?);
            }
            format!("[{}]", texts.join(","))
        }
        (_, Value::Object(fields)) => create::record(data, endpoint, &fields, ask)?,
        (_, other) => return Err(form::not_an_object(&other)),
    };
    Ok(ViewResponse::records(StatusCode::CREATED, text))
}

/// Changes the fields that are sent.
fn change(
    data: &mut Data,
    endpoint: &'static Endpoint,
    key: &str,
    ask: &ViewRequest,
) -> WriteResult<ViewResponse> {
    let place = place(data, endpoint, key)?;
    let sent = form::fields(ask)?;
    if endpoint.name == "notes"
        && let Some(missing) = ["content_type", "object_id"].iter().find(|f| !sent.contains_key(**f))
    {
        return Err(ViewResponse::failed(&format!("'{missing}'")));
    }
    let fields = check::fields(data, endpoint, &sent, ask.method == Method::PUT)?;
    may_change(endpoint, &fields)?;
    may_write(endpoint, &data.table(endpoint).records()[place])?;
    let before = effects::Touched::by(data, endpoint, place);
    let old = Arc::clone(&data.table(endpoint).records()[place]);
    let stamp = stamp(data);
    let record = changed(endpoint, &old, &fields, &stamp);
    let mut record = match endpoint.name {
        "insertions" => record.with("datasets", &effects::datasets_of(data, &record)),
        "datasets" => effects::flags(data, &record),
        _ => record,
    };
    let table = data.change(endpoint);
    let old_key = table.key_of(&old);
    if let (DetailKey::Name(_), Some(new_key)) = (table_key(endpoint), table.key_of(&record))
        && Some(&new_key) != old_key.as_ref()
    {
        let path = super::services::encoded(&new_key);
        record = record.with("url", &format!("\"{}/{}/{path}\"", sample::BASE, endpoint.name));
    }
    if let Some(detail) = old_key.and_then(|key| table.details_mut().remove(&key)) {
        let mut detail = changed(endpoint, &detail, &fields, &stamp);
        if let Some(url) = record.field("url") {
            detail = detail.with("url", url);
        }
        if let Some(key) = table.key_of(&record) {
            table.details_mut().insert(key, Arc::new(detail));
        }
    }
    let record = Arc::new(record);
    table.records_mut()[place] = Arc::clone(&record);
    effects::renamed(data, endpoint, &old, &record);
    save_with(data, endpoint, &record, &stamp);
    repository::moved(data, endpoint, &old, &record);
    let mut touched = before.and(effects::Touched::by(data, endpoint, place));
    // Of its subject a session shows the nickname alone.
    if endpoint.name == "subjects" && old.field("nickname") == record.field("nickname") {
        touched.sessions.clear();
    }
    effects::carry(data, &touched);
    order::restore(data, endpoint);
    let key = data.table(endpoint).key_of(&record).unwrap_or_default();
    let detail =
        data.table(endpoint).find(&key).first().and_then(|place| data.table(endpoint).detail(*place));
    let detail = detail.ok_or_else(|| ViewResponse::beyond("have the detail of this record"))?;
    Ok(ViewResponse::records(StatusCode::OK, detail.text().to_owned()))
}

/// Which record Alyx saves with one of an endpoint (ALYX.md 6.1): the field that names it, its endpoint and the time of it.
const SAVED_WITH: [(&str, &str, &str, &str); 2] = [
    ("channels", "trajectory_estimate", "trajectories", "datetime"),
    ("files", "dataset", "datasets", "auto_datetime"),
];

/// Saves what Alyx saves with a record.
fn save_with(data: &mut Data, endpoint: &Endpoint, record: &Record, stamp: &str) {
    for (_, field, others, time) in SAVED_WITH.iter().filter(|(name, ..)| *name == endpoint.name) {
        let (other, stamp) = (effects::last(record, field), format!("\"{stamp}\""));
        effects::each(data, others, |one| (id(one) == Some(&other)).then(|| one.with(time, &stamp)));
    }
}

/// The record, or its detail, with these of its fields changed.
fn changed(endpoint: &'static Endpoint, old: &Record, fields: &[(String, String)], stamp: &str) -> Record {
    let mut record = create::stamped(endpoint, old, stamp);
    for (name, text) in fields {
        if old.field(name).is_some() {
            record = record.with(name, text);
        }
    }
    record
}

fn table_key(endpoint: &Endpoint) -> DetailKey {
    endpoint.detail.map_or(DetailKey::Uuid, |detail| detail.key)
}

/// Refuses writes to what is shown within fields of view and stacks, which are not made anew.
fn may_write(endpoint: &Endpoint, record: &Record) -> WriteResult<()> {
    let in_stack = endpoint.name == "fields-of-view" && record.plain("stack").is_some();
    if in_stack || matches!(endpoint.name, "fov-location" | "imaging-stack") {
        return Err(ViewResponse::beyond(&format!("write {} of stacks", endpoint.name)));
    }
    Ok(())
}

/// Refuses changes that would have to be carried to records that the miniature does not look through.
fn may_change(endpoint: &Endpoint, fields: &[(String, String)]) -> WriteResult<()> {
    let free = ["json", "description"];
    let carried = |name: &str| endpoint.name == "data-repository" && repository::CARRIED.contains(&name);
    let embedded = fields.iter().find(|(name, _)| !free.contains(&name.as_str()) && !carried(name));
    match embedded {
        Some((name, _)) if endpoint.class == Class::Reference => {
            Err(ViewResponse::beyond(&format!("change {name} of {}", endpoint.name)))
        }
        _ => Ok(()),
    }
}

/// Deletes a record and what hangs on it.
fn delete(data: &mut Data, endpoint: &'static Endpoint, key: &str) -> WriteResult<ViewResponse> {
    let place = place(data, endpoint, key)?;
    if endpoint.class == Class::Reference {
        return Err(ViewResponse::beyond(&format!("delete {}", endpoint.name)));
    }
    let touched = effects::Touched::by(data, endpoint, place);
    let record = Arc::clone(&data.table(endpoint).records()[place]);
    may_write(endpoint, &record)?;
    if endpoint.name == "datasets" && record.field("protected") != Some("0") {
        return Err(ViewResponse::beyond("refuse to delete protected datasets in Alyx's words"));
    }
    let mut gone: HashSet<String> = id(&record).map(str::to_owned).into_iter().collect();
    if endpoint.name == "subjects" {
        for name in ["sessions", "surgeries", "weighings", "water-administrations"] {
            let theirs = data
                .named(name)
                .records()
                .iter()
                .filter(|one| one.field("subject") == record.field("nickname"));
            gone.extend(theirs.filter_map(|one| id(one)).map(str::to_owned));
        }
    }
    omit::records(data, gone);
    effects::carry(data, &touched);
    Ok(ViewResponse::empty(StatusCode::NO_CONTENT))
}

/// Where the record of this key is.
fn place(data: &Data, endpoint: &'static Endpoint, key: &str) -> WriteResult<usize> {
    match data.table(endpoint).find(key) {
        [] => Err(ViewResponse::not_found(endpoint.model)),
        [place] => Ok(*place),
        _ => Err(ViewResponse::beyond(&format!("tell apart the {} that are named {key}", endpoint.name))),
    }
}

/// The time at the server: its clock stood at six in the morning when the miniature began.
pub(super) fn now(data: &Data) -> jiff::civil::DateTime {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let micros = i64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(i64::MAX);
    // Whoever synchronises believes that a server's clock is about right, however old the sample is.
    let real = jiff::tz::TimeZone::UTC.to_datetime(match &data.clock {
        Some(clock) => jiff::Timestamp::from_millisecond(clock.now()).unwrap_or_default(),
        None => jiff::Timestamp::now(),
    });
    let sample = sample::now().saturating_add(jiff::SignedDuration::from_micros(micros));
    real.max(sample)
}

/// That time as Alyx writes it.
fn stamp(data: &Data) -> String {
    now(data).strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string()
}
