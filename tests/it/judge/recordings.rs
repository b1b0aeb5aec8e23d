//! What a real Alyx said to questions, read from a folder of recordings.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use alyx_proxy::alyx::record;
use serde_json::Value;

use super::{Recording, endpoint, tables::lines};

/// The recordings of one file with bodies as text.
pub fn recordings_in(file: &Path) -> Vec<Recording> {
    lines(file).filter_map(|line| of_text(&serde_json::from_str(&line).unwrap())).collect()
}

/// The recorded GETs of lists and details, asked as ONE asks.
pub fn recordings(folder: &Path) -> Vec<Recording> {
    let packed = folder.join("golden.jsonl.zst");
    if packed.exists() {
        return recordings_in(&packed);
    }
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("golden")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| lines(file)).filter_map(|line| of_json(&record::parse(&line))).collect()
}

fn is_plain(path: &str) -> bool {
    if path.contains('#') {
        return false;
    }
    endpoint(path).is_some()
}

/// Whether Alyx gave up, and said nothing of the question.
fn gave_up(body: &str) -> bool {
    body.contains("canceling statement due to statement timeout")
}

fn of_text(recording: &Value) -> Option<Recording> {
    let path = recording["path"].as_str()?.to_owned();
    let usual = recording
        .get("accept")
        .is_none_or(|accept| accept.is_null() || accept == "application/json" || accept == "*/*")
        && recording.get("authorization").is_none()
        && recording.get("request_headers").is_none()
        && recording.get("request_body").is_none();
    let body = recording["body_text"].as_str()?.to_owned();
    let json = recording["headers"]["content-type"] == "application/json";
    let plain = recording["method"] == "GET" && usual && json && is_plain(&path) && !gave_up(&body);
    plain.then(|| Recording { path, status: status(recording), body, exact: true })
}

fn of_json(recording: &Value) -> Option<Recording> {
    let path = recording["path_and_query"].as_str()?.to_owned();
    let json = recording["headers"]["content-type"] == "application/json";
    // Asked under another name, Alyx makes other links.
    let headers = &recording["req_headers"];
    let usual = ["Host", "X-Forwarded-Host", "X-Forwarded-Proto"].iter().all(|name| headers[name].is_null());
    let plain = recording["method"] == "GET"
        && json
        && usual
        && recording["body"].is_object()
        && !matches!(status(recording), 401 | 403 | 406 | 429)
        && is_plain(&path);
    let body = recording["body"].to_string();
    (plain && !gave_up(&body)).then(|| Recording { path, status: status(recording), body, exact: false })
}

fn status(recording: &Value) -> u16 {
    u16::try_from(recording["status"].as_u64().unwrap()).unwrap()
}
