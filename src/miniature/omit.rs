//! Leaves records out, with all that hangs on them: deletion as Alyx cascades it (ALYX.md 6.3).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::data::{Data, id};
use crate::alyx::{
    Endpoint,
    record::{Record, members},
};

/// A record goes when the record that this field refers to goes.
const CASCADE: &[(&str, &str)] = &[
    ("insertions", "session"),
    ("trajectories", "probe_insertion"),
    ("channels", "trajectory_estimate"),
    ("datasets", "session"),
    ("files", "dataset"),
    ("downloads", "dataset"),
    ("fields-of-view", "session"),
    ("tasks", "session"),
];

/// A reference that becomes null, or leaves the list it is in.
const MENTIONS: &[(&str, &str)] = &[
    ("datasets", "file_records"),
    ("insertions", "datasets"),
    ("insertions", "chronic_insertion"),
    ("trajectories", "chronic_insertion"),
    ("chronic-insertions", "probe_insertion"),
    ("fields-of-view", "datasets"),
    ("fields-of-view", "location"),
    ("imaging-stack", "slices"),
    ("data-notices", "datasets"),
    ("tasks", "parents"),
    ("water-administrations", "session"),
    ("sessions", "parent_session"),
    ("sessions", "wateradmin_session_related"),
    ("sessions", "data_dataset_session_related"),
    ("sessions", "probe_insertion"),
    ("sessions", "field_of_view"),
    ("sessions", "notes"),
    ("subjects", "weighings"),
    ("subjects", "water_administrations"),
];

/// Leaves out the sessions without a start time, and their notes.
pub(super) fn sessions_without_start(data: &mut Data) {
    let sessions = data.named("sessions").records();
    let undated = sessions.iter().filter(|record| record.plain("start_time").is_none());
    let mut gone: HashSet<String> = undated.filter_map(|record| id(record)).map(str::to_owned).collect();
    let notes = data.named("notes").records();
    let theirs = notes.iter().filter(|note| note.plain("object_id").is_some_and(|id| gone.contains(id)));
    let theirs: Vec<String> = theirs.filter_map(|note| id(note)).map(str::to_owned).collect();
    gone.extend(theirs);
    records(data, gone);
}

/// Leaves out the records with these ids.
pub(super) fn records(data: &mut Data, mut gone: HashSet<String>) {
    for (name, field) in CASCADE {
        let falls = |record: &Record| refers(record, field, &gone);
        let more: Vec<String> = data
            .named(name)
            .records()
            .iter()
            .filter(|record| falls(record))
            .filter_map(|record| id(record))
            .map(str::to_owned)
            .collect();
        gone.extend(more);
    }
    for endpoint in crate::alyx::ENDPOINTS {
        remove(data, endpoint, &gone);
    }
    for (name, field) in MENTIONS {
        if let Some(endpoint) = Endpoint::named(name) {
            forget(data, endpoint, field, &gone);
        }
    }
    slices(data);
}

/// A stack is listed once for each of its slices.
fn slices(data: &mut Data) {
    let Some(endpoint) = Endpoint::named("imaging-stack") else { return };
    let mut listed: HashMap<String, usize> = HashMap::new();
    data.change(endpoint).records_mut().retain(|stack| {
        let slices = stack.field("slices").map_or(0, |text| members(text).count());
        let times = listed.entry(id(stack).unwrap_or_default().to_owned()).or_default();
        *times += 1;
        *times <= slices.max(1)
    });
}

fn refers(record: &Record, field: &str, gone: &HashSet<String>) -> bool {
    record.plain(field).and_then(|text| text.rsplit('/').next()).is_some_and(|id| gone.contains(id))
}

fn remove(data: &mut Data, endpoint: &'static Endpoint, gone: &HashSet<String>) {
    let stays = |record: &Record| id(record).is_none_or(|id| !gone.contains(id));
    if data.table(endpoint).records().iter().all(|record| stays(record)) {
        return;
    }
    let table = data.change(endpoint);
    table.records_mut().retain(|record| stays(record));
    table.details_mut().retain(|_, record| stays(record));
}

fn forget(data: &mut Data, endpoint: &'static Endpoint, field: &str, gone: &HashSet<String>) {
    let cleaned = |record: &Record| -> Option<Arc<Record>> {
        let text = record.field(field)?;
        let new = if text.starts_with('[') {
            let kept: Vec<&str> = members(text).filter(|item| !mentions(item, gone)).collect();
            format!("[{}]", kept.join(","))
        } else if mentions(text, gone) {
            "null".to_owned()
        } else {
            return None;
        };
        (new != text).then(|| Arc::new(record.with(field, &new)))
    };
    let table = data.change(endpoint);
    let details = table.details_mut().values_mut().collect::<Vec<_>>();
    for record in details {
        if let Some(new) = cleaned(record) {
            *record = new;
        }
    }
    for record in table.records_mut() {
        if let Some(new) = cleaned(record) {
            *record = new;
        }
    }
}

/// Whether the text is, or holds as its own id, one of these ids.
fn mentions(text: &str, gone: &HashSet<String>) -> bool {
    if text.starts_with('{') {
        let record = Record::new(text);
        return id(&record).is_some_and(|id| gone.contains(id));
    }
    text.trim_matches('"').rsplit('/').next().is_some_and(|id| gone.contains(id))
}
