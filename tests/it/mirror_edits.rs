//! Many records edited at Alyx at once: what it takes to have all tables right again.

use alyx_proxy::{
    alyx::{DetailKey, ENDPOINTS, Endpoint, record},
    miniature::{self as demo, Miniature, Options},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    kept::{Kept, equal, list, send, settings},
    miniature,
};

/// Edits, over all tables that can be edited.
const EDITS: usize = 110;
/// What Alyx allows a user in half a minute (550 a minute, ALYX.md 4.2).
const HALF_A_MINUTE: usize = 275;

/// What its detail is asked by.
fn key(endpoint: &Endpoint, record: &Value) -> Option<String> {
    let text = |field: &str| record[field].as_str().map(str::to_owned);
    match endpoint.detail?.key {
        DetailKey::Name(field) => text(field).filter(|name| !name.contains(['/', ' ', '%'])),
        DetailKey::Integer => record["id"].as_u64().map(|id| id.to_string()),
        DetailKey::Uuid => text("id").or_else(|| Some(text("url")?.rsplit('/').next()?.to_owned())),
    }
}

/// Edits a record in a way that its list or its detail shows; whether there was one.
async fn edit(alyx: &Miniature, endpoint: &Endpoint, record: &Value, n: usize) -> bool {
    let Some(key) = key(endpoint, record) else { return false };
    let path = format!("/{}/{key}", endpoint.name);
    let before = miniature::get(alyx, &path).await;
    let shown = record::parse(&before);
    for field in ["narrative", "description", "notes", "text", "json", "task_protocol"] {
        if shown.get(field).is_none() {
            continue;
        }
        let value = if field == "json" { json!({ "edited": n }) } else { json!(format!("edited {n}")) };
        let (status, _) = send(alyx, Method::PATCH, &path, Some(json!({ field: value }))).await;
        if status == 200 && miniature::get(alyx, &path).await != before {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_edits_in_all_tables_are_here_within_half_a_minute_of_requests() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&alyx.url()));
    kept.now().await;
    let mut tables = Vec::new();
    for endpoint in ENDPOINTS {
        if endpoint.detail.is_some_and(|detail| detail.writes.contains(&"PATCH")) {
            tables.push((endpoint, list(&alyx.url(), endpoint.name).await.into_iter()));
        }
    }
    let (mut edits, mut edited) = (0, std::collections::BTreeSet::new());
    while edits < EDITS && !tables.is_empty() {
        let mut left = Vec::new();
        for (endpoint, mut records) in tables {
            let Some(text) = records.next().filter(|_| edits < EDITS) else { continue };
            if edit(&alyx, endpoint, &record::parse(&text), edits).await {
                edits += 1;
                edited.insert(endpoint.name);
                left.push((endpoint, records));
            }
        }
        tables = left;
    }
    assert!(edits == EDITS && edited.len() >= 10, "{edits} edits in {edited:?}");
    alyx.forget_requests();
    kept.now().await;
    let asked = alyx.requests().len();
    assert!(asked <= HALF_A_MINUTE, "{asked} requests for {edits} edits in {edited:?}");
    equal(&alyx.url(), &kept.mirror).await;
}
