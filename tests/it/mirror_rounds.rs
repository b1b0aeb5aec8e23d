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
