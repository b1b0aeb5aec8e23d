//! The sample lab: every table and detail of a synthetic Alyx, compressed into the program.
//!
//! `sample/tables-detail.tar.zst` holds `tables/<endpoint>.jsonl` (the records of each list, in the
//! order in which Alyx served them) and `detail/<endpoint>.jsonl` with the paths of its lines in
//! `.paths`. It is unpacked once in a process, and records are parsed only when a filter looks at one.

use std::{
    collections::HashMap,
    io::{self, Read},
    sync::{Arc, LazyLock},
};

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    data::{Data, ListTable},
    omit,
};
use crate::alyx::{ENDPOINTS, Endpoint, record::Record};

/// The base of every absolute link in the sample.
pub(crate) const BASE: &str = "http://127.0.0.1:8010";

/// The day that the server's clock stood at when the sample was made: filters such as `alive`
/// compare with it (ALYX.md 2.7.14).
pub(crate) const TODAY: jiff::civil::Date = jiff::civil::date(2026, 11, 23);

/// The time of that clock when the computed parts of the subjects were recorded.
pub(crate) fn now() -> jiff::civil::DateTime {
    TODAY.at(6, 0, 0, 0)
}

/// ONE's cache tables, made by Alyx from the sample.
pub(crate) const CACHE_ZIP: &[u8] = include_bytes!("../../sample/cache.zip");
/// Their description.
pub(crate) const CACHE_INFO: &str = include_str!("../../sample/cache_info.json");

/// Their description for a tag that has tables of its own.
pub(crate) const TAGGED_CACHE_INFO: &[(&str, &str)] =
    &[("2022_Q4_IBL_et_al_BWM", include_str!("../../sample/cache_info.2022_Q4_IBL_et_al_BWM.json"))];

const ARCHIVE: &[u8] = include_bytes!("../../sample/tables-detail.tar.zst");

static AS_RECORDED: LazyLock<Result<Arc<Data>, String>> =
    LazyLock::new(|| unpack().map(Arc::new).map_err(|error| format!("the sample lab is damaged: {error}")));

static WITH_START_TIMES: LazyLock<Result<Arc<Data>, String>> = LazyLock::new(|| {
    let mut data = Data::clone(AS_RECORDED.as_ref().map_err(Clone::clone)?);
    omit::sessions_without_start(&mut data);
    Ok(Arc::new(data))
});

/// The name of the demo's user.
pub(crate) const DEMO_NAME: &str = "demo";

/// Its record; it is of the lab that its sessions are of.
const DEMO_USER: &str = "{\"id\":\"d3300000-0000-4000-8000-000000000001\",\"username\":\"demo\",\"email\":\"\",\"subjects_responsible\":[],\"lab\":[\"cortexlab\"],\"allowed_users\":[],\"is_stock_manager\":false}";

/// The subject of which the user of the demo made all sessions, together with whoever else did.
const DEMO_SUBJECT: &str = "KS020";

/// Whoever logs in as `demo` is among the users, and made sessions.
fn with_demo_user(data: &mut Data) {
    if let Some(users) = Endpoint::named("users") {
        let records = data.change(users).records_mut();
        // Alyx lists users by name.
        let place = records.partition_point(|one| one.plain("username").is_some_and(|name| name < DEMO_NAME));
        records.insert(place, Arc::new(Record::new(DEMO_USER)));
    }
    let Some(sessions) = Endpoint::named("sessions") else { return };
    for detail in data.change(sessions).details_mut().values_mut() {
        if detail.plain("subject") == Some(DEMO_SUBJECT) {
            let mut users: Vec<&str> =
                detail.value()["users"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            users.push(DEMO_NAME);
            users.sort_unstable();
            let users = serde_json::json!(users).to_string();
            *detail = Arc::new(detail.with("users", &users));
        }
    }
}

/// The sample lab: complete, or without the sessions that have no start time, on which ONE's own search fails, and
/// what hangs on them; with the user `demo` if there shall be one.
pub(crate) fn load(complete: bool, with_demo: bool) -> io::Result<Arc<Data>> {
    let loaded = if complete { &AS_RECORDED } else { &WITH_START_TIMES };
    let data = LazyLock::force(loaded).clone().map_err(io::Error::other)?;
    if !with_demo {
        return Ok(data);
    }
    let mut data = Data::clone(&data);
    with_demo_user(&mut data);
    Ok(Arc::new(data))
}

fn unpack() -> io::Result<Data> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(ARCHIVE)?);
    let mut files = HashMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        files.insert(name, text);
    }
    let lines = |name: String| -> Vec<Arc<Record>> {
        let text = files.get(&name).map(String::as_str).unwrap_or_default();
        text.lines().map(|line| Arc::new(Record::new(line))).collect()
    };
    let mut data = Data::default();
    for endpoint in ENDPOINTS {
        let name = endpoint.name;
        let paths = files.get(&format!("detail/{name}.paths")).map(String::as_str).unwrap_or_default();
        let keys = paths.lines().map(key);
        let details = keys.zip(lines(format!("detail/{name}.jsonl"))).collect();
        data.insert(endpoint, ListTable::new(endpoint, lines(format!("tables/{name}.jsonl")), details));
    }
    match ENDPOINTS.iter().find(|endpoint| data.table(endpoint).records().is_empty()) {
        Some(Endpoint { name, .. }) => Err(io::Error::other(format!("tables/{name}.jsonl is missing"))),
        None => Ok(data),
    }
}

/// The decoded last segment of a path.
fn key(path: &str) -> String {
    let segment = path.rsplit('/').next().unwrap_or_default();
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}
