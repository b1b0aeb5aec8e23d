//! A stored answer belongs to all tables that its question reads: also to those that it is only filtered or ordered by.

use serde_json::json;

use super::{
    SESSION, lab,
    support::{Lab, Proxy, Setup},
};

/// Questions, and the tables that they read besides their own.
const QUESTIONS: &[(&str, &[&str])] = &[
    // Along paths.
    ("/labs?django=session__task_protocol,V", &["sessions"]),
    ("/labs?django=~session__json__a,1", &["sessions"]),
    ("/labs?django=name,one,session__subject__nickname__icontains,x", &["sessions", "subjects"]),
    (
        "/brain-regions?django=channels__trajectory_estimate__probe_insertion__session__task_protocol,V",
        &["channels", "trajectories", "insertions", "sessions"],
    ),
    ("/water-administrations?django=session__task_protocol,V", &["sessions"]),
    ("/weighings?django=subject__actions_sessions__task_protocol,V", &["subjects", "sessions"]),
    ("/surgeries?django=subject__actions_sessions__number,1", &["subjects", "sessions"]),
    ("/labs?django=session__data_dataset_session_related__name,V", &["sessions", "datasets"]),
    ("/labs?django=subject__weighings__weight__gt,20", &["subjects", "weighings"]),
    // Of names of which nothing is known here any table may be read.
    ("/labs?django=something__else,V", &["sessions", "datasets", "notes", "tasks", "weighings"]),
    // By their own filters.
    ("/water-administrations?session=V", &["sessions"]),
    ("/tasks?lab=V", &["sessions"]),
    ("/data-notices?dataset_tag=V", &["datasets"]),
    ("/files?globus_is_personal=True", &["data-repository"]),
    ("/imaging-stack?atlas_id=5", &["fov-location", "fields-of-view"]),
    // By their order.
    ("/tasks", &["sessions"]),
    ("/fields-of-view", &["sessions"]),
];

/// A write to each table, and what it changes besides.
const WRITES: &[(&str, &str, &[&str])] = &[
    ("PATCH", SESSION, &["sessions"]),
    ("POST", "/sessions", &["sessions"]),
    ("POST", "/register-file", &["datasets", "files", "sessions"]),
    ("PATCH", "/datasets/{uuid}", &["datasets"]),
    ("DELETE", "/subjects/one", &["subjects", "sessions", "datasets", "tasks"]),
    ("PATCH", "/subjects/one", &["subjects"]),
    ("POST", "/channels", &["channels"]),
    ("PATCH", "/trajectories/{uuid}", &["trajectories"]),
    ("PATCH", "/insertions/{uuid}", &["insertions"]),
    ("POST", "/weighings", &["weighings"]),
    ("POST", "/notes", &["notes"]),
    ("POST", "/tasks", &["tasks"]),
    ("PATCH", "/data-repository/one", &["data-repository"]),
    ("POST", "/fov-location", &["fov-location"]),
    ("POST", "/fields-of-view", &["fields-of-view"]),
];

/// What none of these writes can change: also where the record of what is read shows what is written (a subject its weighings).
const OTHERS: &[&str] = &["/labs?django=institution,V", "/labs?name=one", "/projects"];

async fn proxy(lab: &Lab) -> Proxy {
    Setup::new(&lab.url()).set("freshness.volatile", "1h").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_shows_in_what_is_filtered_or_ordered_by_it() {
    let lab = Lab::open().await;
    let proxy = proxy(&lab).await;
    let uuid = lab::TABLES.iter().find(|(table, _)| *table == "datasets").unwrap().1;
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (method, path, changes) in WRITES {
        let questions = QUESTIONS.iter().map(|(question, _)| *question).chain(OTHERS.iter().copied());
        for question in questions {
            let ask = proxy.client().ask("GET", question).header("cache-control", "no-cache");
            ask.send().await.expect(200);
        }
        let new = lab.renew();
        let path = path.replace("{uuid}", uuid);
        let write = proxy.client().ask(method, &path).json(&json!({"name": "new"})).send().await;
        assert!(write.status.is_success(), "{method} {path}: {}", write.describe());
        for (question, reads) in
            QUESTIONS.iter().filter(|(_, reads)| reads.iter().any(|read| changes.contains(read)))
        {
            tried += 1;
            let answer = proxy.get(question).await.expect(200);
            if lab::version(&answer.json()) != new {
                wrong.push(format!("{method} {path}: {question} reads {reads:?}: {}", answer.cache().text));
            }
        }
        // Labs show their repositories.
        for question in OTHERS
            .iter()
            .filter(|question| !question.starts_with("/labs") || *path != *"/data-repository/one")
        {
            let answer = proxy.get(question).await.expect(200);
            assert!(answer.cache().hit(), "{method} {path}: {question} has nothing to do with it");
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {tried} are of before the write:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    );
}
