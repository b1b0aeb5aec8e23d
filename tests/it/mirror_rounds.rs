//! A round of the synchroniser: no table waits for another, and what happened between two rounds is seen, whatever it was.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    kept::{Kept, mirrored, mirrored_behind_a_lens, send, whole},
    miniature, until,
};
use alyx_proxy::{
    alyx::record,
    miniature::Miniature,
    mirror::{schema::Schema, sync::Cycle},
};
use reqwest::Method;
use serde_json::{Value, json};

/// The requests of half a minute at half of the default pace, which is there while people ask.
const HALF_A_MINUTE: usize = 120;

fn id(record: &Value) -> String {
    let link = record.get("id").filter(|id| id.is_string()).or(record.get("url")).unwrap();
    link.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn records(alyx: &Miniature, endpoint: &str) -> Vec<Value> {
    miniature::list(alyx, endpoint).await.iter().map(|text| record::parse(text)).collect()
}

async fn done(alyx: &Miniature, method: Method, path: &str, body: Option<Value>) -> Value {
    let (status, text) = send(alyx, method.clone(), path, body).await;
    assert!(status < 300, "{method} {path}: {status} {text}");
    record::parse(&text)
}

async fn due(kept: &Kept) {
    let errors = kept.synchroniser.cycle(Cycle::Due).await;
    assert!(errors.is_empty(), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_table_waits_for_another() {
    let (_alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    let ages = || -> BTreeMap<&'static str, i64> {
        let states = kept.mirror.states();
        let tables = Schema::get().tables().iter().map(|table| table.endpoint.name);
        tables.filter_map(|name| Some((name, states.of(name)?.synced_at))).collect()
    };
    let before = ages();
    lens.hold("/labs?");
    let synchroniser = kept.synchroniser.clone();
    let cycle = tokio::spawn(async move { synchroniser.cycle(Cycle::Now(&[])).await.len() });
    lens.holds().await;
    until("all others are current", || {
        let (before, now) = (&before, ages());
        let old: BTreeSet<_> =
            now.iter().filter(|(name, at)| **at <= before[*name]).map(|(name, _)| *name).collect();
        async move { old == BTreeSet::from(["labs"]) }
    })
    .await;
    lens.release();
    assert_eq!(cycle.await.unwrap(), 0);
    assert!(ages()["labs"] > before["labs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_and_created_between_two_rounds_is_seen() {
    let (alyx, _folder, kept) = mirrored().await;
    let count = |endpoint: &str| kept.mirror.states().of(endpoint).unwrap().rows;
    let session = records(&alyx, "sessions").await.remove(0);
    let subject = &session["subject"];
    let new = [
        (
            "sessions",
            json!({ "subject": subject, "start_time": "2026-01-02T03:04:05", "number": 1, "users": [] }),
        ),
        ("notes", json!({ "content_type": "session", "object_id": session["id"], "text": "new" })),
        ("weighings", json!({ "subject": subject, "weight": 25.5 })),
        ("water-administrations", json!({ "subject": subject, "water_administered": 1.5 })),
    ];
    for (endpoint, body) in new {
        let before = count(endpoint);
        let gone = records(&alyx, endpoint).await.pop().unwrap();
        done(&alyx, Method::DELETE, &format!("/{endpoint}/{}", id(&gone)), None).await;
        done(&alyx, Method::POST, &format!("/{endpoint}"), Some(body)).await;
        due(&kept).await;
        assert_eq!(count(endpoint), before, "{endpoint}: as many as before");
        whole(&alyx.url(), &kept.mirror).await;
    }
}

/// What is edited of a record of each of these tables, and how many of them are.
fn edits() -> Vec<(&'static str, usize, &'static str, Value)> {
    vec![
        ("sessions", 10, "narrative", json!("edited")),
        ("insertions", 10, "serial", json!("edited")),
        ("trajectories", 18, "json", json!({ "edited": 1 })),
        ("datasets", 15, "file_size", json!(4711)),
        ("files", 5, "json", json!({ "edited": 1 })),
        ("data-notices", 2, "description", json!("edited")),
        ("tasks", 10, "log", json!("edited")),
        ("subjects", 8, "description", json!("edited")),
        ("water-administrations", 5, "water_administered", json!(0.5)),
        ("chronic-insertions", 2, "serial", json!("edited")),
        ("surgeries", 5, "narrative", json!("edited")),
        ("labs", 2, "json", json!({ "edited": 1 })),
        ("projects", 2, "description", json!("edited")),
        ("tags", 3, "description", json!("edited")),
        ("revisions", 2, "description", json!("edited")),
        ("dataset-types", 3, "description", json!("edited")),
        ("data-formats", 2, "description", json!("edited")),
        ("data-repository", 3, "json", json!({ "edited": 1 })),
        ("data-repository-type", 1, "json", json!({ "edited": 1 })),
        ("locations", 2, "json", json!({ "edited": 1 })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_edits_in_twenty_tables_are_here_within_half_a_minute_of_requests() {
    let (alyx, _folder, kept) = mirrored().await;
    let (mut made, mut tables) = (0, 0);
    for (endpoint, many, field, value) in edits() {
        let key = Schema::get().table(endpoint).unwrap().endpoint.detail.unwrap().key;
        let mut edited = 0;
        for one in records(&alyx, endpoint).await.iter().step_by(3) {
            let key = match key {
                alyx_proxy::alyx::DetailKey::Name(name) => one[name].as_str().unwrap().to_owned(),
                _ => id(one),
            };
            let key =
                percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC).to_string();
            let (status, _) =
                send(&alyx, Method::PATCH, &format!("/{endpoint}/{key}"), Some(json!({ field: value })))
                    .await;
            edited += usize::from(status == 200);
            if edited == many {
                break;
            }
        }
        (made, tables) = (made + edited, tables + usize::from(edited > 0));
    }
    assert!(made >= 100 && tables >= 19, "{made} edits in {tables} tables");
    alyx.forget_requests();
    kept.now().await;
    let asked = alyx.requests().len();
    println!("{made} edits in {tables} tables: {asked} requests");
    assert!(asked <= HALF_A_MINUTE, "{asked} requests");
    whole(&alyx.url(), &kept.mirror).await;
}
