//! What each write makes stale, row by row (ALYX.md 7), and what writes beside the rows.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    SESSION, meant, old_reads, primed, reads,
    support::{Lab, Proxy, lab, users},
};

/// A row of ALYX.md 7: the write, and what shows it. `x` stands for the list `x` and the record of it; `x/` for the
/// record alone and `x?` for the list alone.
struct Row {
    write: (&'static str, &'static str),
    changes: &'static [&'static str],
}

const fn row(method: &'static str, path: &'static str, changes: &'static [&'static str]) -> Row {
    Row { write: (method, path), changes }
}

const BELOW_A_SESSION: &[&str] = &[
    "sessions",
    "insertions",
    "trajectories",
    "channels",
    "chronic-insertions",
    "datasets",
    "files",
    "tasks",
    "subjects",
    "fields-of-view",
    "fov-location",
    "imaging-stack",
];
const SHOW_A_NICKNAME: &[&str] = &[
    "subjects",
    "sessions",
    "insertions",
    "trajectories",
    "chronic-insertions",
    "datasets",
    "surgeries",
    "weighings",
    "water-administrations",
    "water-restriction?",
    "water-restricted-subjects?",
    "users",
];

const ROWS: &[Row] = &[
    row(
        "POST",
        "/register-file",
        &["datasets", "files?", "sessions", "insertions", "fields-of-view", "revisions?"],
    ),
    row(
        "POST",
        "/sessions",
        &[
            "sessions?",
            "datasets?",
            "subjects",
            "tasks",
            "insertions?",
            "trajectories?",
            "chronic-insertions?",
        ],
    ),
    row(
        "PATCH",
        SESSION,
        &["sessions", "insertions", "trajectories", "chronic-insertions", "datasets", "subjects", "tasks"],
    ),
    row(
        "PUT",
        SESSION,
        &["sessions", "insertions", "trajectories", "chronic-insertions", "datasets", "subjects", "tasks"],
    ),
    row("DELETE", SESSION, BELOW_A_SESSION),
    row("POST", "/insertions", &["insertions?", "sessions", "chronic-insertions", "datasets"]),
    row("PATCH", "/insertions/{uuid}", &["insertions", "sessions", "chronic-insertions", "datasets"]),
    row("POST", "/trajectories", &["trajectories?", "sessions?", "insertions?", "chronic-insertions?"]),
    row(
        "PATCH",
        "/trajectories/{uuid}",
        &["trajectories", "sessions?", "insertions?", "chronic-insertions?"],
    ),
    row("DELETE", "/trajectories/{uuid}", &["trajectories", "channels", "sessions?", "insertions?"]),
    row(
        "POST",
        "/channels",
        &["channels?", "trajectories", "sessions?", "insertions?", "chronic-insertions?"],
    ),
    row("PATCH", "/channels/{uuid}", &["channels", "trajectories", "sessions?", "insertions?"]),
    row("POST", "/fields-of-view", &["fields-of-view?", "sessions", "imaging-stack"]),
    row("POST", "/fov-location", &["fov-location", "fields-of-view", "sessions", "imaging-stack"]),
    row("POST", "/imaging-stack", &["imaging-stack?", "fields-of-view", "sessions"]),
    row("PATCH", "/datasets/{uuid}", &["datasets", "files", "sessions", "insertions", "tags"]),
    row("DELETE", "/datasets/{uuid}", &["datasets", "files", "sessions", "insertions", "tags"]),
    row("PATCH", "/files/{uuid}", &["files", "datasets", "sessions"]),
    row("POST", "/files", &["files?", "datasets", "sessions"]),
    row("DELETE", "/files/{uuid}", &["files", "datasets", "sessions"]),
    row("POST", "/notes", &["notes?", "sessions/"]),
    row("PATCH", "/notes/{uuid}", &["notes", "sessions/"]),
    row("DELETE", "/notes/{uuid}", &["notes", "sessions/"]),
    row("POST", "/tasks", &["tasks?"]),
    row("PATCH", "/tasks/{uuid}", &["tasks"]),
    row("DELETE", "/tasks/{uuid}", &["tasks"]),
    row("POST", "/weighings", &["weighings?", "subjects", "water-restricted-subjects?"]),
    row("DELETE", "/weighings/{uuid}", &["weighings", "subjects", "water-restricted-subjects?"]),
    row(
        "POST",
        "/water-administrations",
        &["water-administrations?", "subjects", "water-restricted-subjects?", "sessions/"],
    ),
    row(
        "PATCH",
        "/water-administrations/{uuid}",
        &["water-administrations", "subjects", "water-restricted-subjects?", "sessions/"],
    ),
    row("POST", "/subjects", &["subjects?"]),
    row("PATCH", "/subjects/one", SHOW_A_NICKNAME),
    row("DELETE", "/subjects/one", SHOW_A_NICKNAME),
    row(
        "PATCH",
        "/data-repository/one",
        &["data-repository", "datasets", "files", "sessions/", "insertions/", "labs"],
    ),
    row("PATCH", "/chronic-insertions/{uuid}", &["chronic-insertions", "insertions", "trajectories"]),
    row("POST", "/new-download", &["downloads?"]),
];

/// Names that are displayed almost everywhere.
const REFERENCE_ROWS: &[Row] = &[
    row("PATCH", "/labs/one", &["labs", "sessions", "insertions", "subjects", "users", "locations"]),
    row("PATCH", "/dataset-types/one", &["dataset-types", "datasets", "sessions/", "insertions/"]),
    row("PATCH", "/data-formats/one", &["data-formats", "datasets"]),
    row("PATCH", "/tags/one", &["tags", "datasets"]),
    row("PATCH", "/revisions/one", &["revisions", "datasets", "sessions/"]),
    row("PATCH", "/projects/one", &["projects", "sessions", "subjects", "insertions"]),
    row("PATCH", "/users/oneuser", &["users", "sessions/", "subjects", "notes"]),
];

/// What a write of an experiment does not change (ALYX.md 7): these must not cost Alyx a request.
const UNRELATED: &[&str] = &[
    "brain-regions?",
    "brain-regions/",
    "dataset-types?",
    "dataset-types/",
    "data-formats?",
    "data-formats/",
    "projects?",
    "projects/",
    "procedures?",
];

fn path_of(row: &Row) -> String {
    let uuid = lab::TABLES.iter().find(|(table, _)| *table == "datasets").unwrap().1;
    row.write.1.replace("{uuid}", uuid)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_write_others_read_the_new_state() {
    let mut wrong = Vec::new();
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let rows = ROWS.iter().map(|row| (row, UNRELATED)).chain(REFERENCE_ROWS.iter().map(|row| (row, &[][..])));
    for (row, unrelated) in rows {
        // Whatever the last row has left behind is read afresh.
        lab.renew();
        let reader = proxy.client().with(users::ADMIN);
        for read in reads() {
            let ask = reader.ask("GET", &format!("/{read}")).header("cache-control", "no-cache");
            ask.send().await.expect(200);
        }
        let new = lab.renew();
        let (method, path) = (row.write.0, path_of(row));
        let write = proxy.client().ask(method, &path).json(&json!({"name": "new"})).send().await;
        assert!(write.status.is_success(), "{method} {path}: {}", write.describe());
        // Another client reads.
        let old = old_reads(&proxy, users::ADMIN, new).await;
        let meant_to_change: Vec<String> = row.changes.iter().flat_map(|entry| meant(entry)).collect();
        assert!(!meant_to_change.is_empty());
        for read in meant_to_change.iter().filter(|read| old.contains(*read)) {
            wrong.push(format!("{method} {path}: /{read} is of before the write"));
        }
        for read in unrelated.iter().flat_map(|entry| meant(entry)) {
            if !old.contains(&read) {
                wrong.push(format!("{method} {path}: /{read} was forgotten, and has nothing to do with it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n  {}", wrong.len(), wrong.join("\n  "));
}

/// What Alyx is asked each time.
const NEVER_FRESH: [&str; 5] =
    ["tasks", "weighings", "water-administrations", "water-restriction", "water-restricted-subjects"];

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_alyx_rejects_changes_nothing() {
    let (lab, proxy, new) = primed().await;
    let all: BTreeSet<String> = reads().into_iter().collect();
    let never_fresh: BTreeSet<String> =
        all.iter().filter(|read| NEVER_FRESH.iter().any(|name| read.starts_with(name))).cloned().collect();
    let rejected =
        proxy.client().ask("POST", "/sessions").json(&json!({"reject": 1})).send().await.expect(400);
    assert_eq!(rejected.text(), r#"{"subject":["This field is required."],"status_code":400}"#);
    let public = proxy.client().with(users::PUBLIC);
    public.ask("PATCH", SESSION).json(&json!({})).send().await.expect(403);
    proxy.client().anonymous().ask("DELETE", SESSION).send().await.expect(403);
    let unknown = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    unknown.ask("POST", "/sessions").json(&json!({})).send().await.expect(403);
    assert_eq!(lab.upstream.asked().iter().filter(|asked| asked.method != "GET").count(), 4, "Alyx decides");
    let old = old_reads(&proxy, users::ADMIN, new).await;
    assert_eq!(old, all.difference(&never_fresh).cloned().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_failed_half_way_may_have_changed_something() {
    // Alyx registers files one by one, without a transaction (ALYX.md 7).
    let (_lab, proxy, new) = primed().await;
    proxy.client().ask("POST", "/register-file").json(&json!({"half": 1})).send().await.expect(500);
    let old = old_reads(&proxy, users::ADMIN, new).await;
    for read in ["datasets", "sessions/"].iter().flat_map(|entry| meant(entry)) {
        assert!(!old.contains(&read), "/{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_was_forbidden_half_way_may_have_changed_something() {
    // What is protected is found out file by file; those before it are registered.
    let (_lab, proxy, new) = primed().await;
    let public = proxy.client().with(users::PUBLIC);
    public.ask("POST", "/register-file").json(&json!({"path": 1})).send().await.expect(403);
    let old = old_reads(&proxy, users::ADMIN, new).await;
    for read in ["datasets", "sessions/"].iter().flat_map(|entry| meant(entry)) {
        assert!(!old.contains(&read), "/{read}");
    }
}

/// Anybody can try to log in to the admin pages, and is sent there whatever they post.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_not_logged_in_makes_nothing_stale() {
    let (lab, proxy, new) = primed().await;
    let guest = proxy.client().anonymous();
    guest
        .ask("POST", "/admin/login/?next=/admin/")
        .form(&[("username", "a"), ("password", "b")])
        .send()
        .await;
    assert_eq!(lab.upstream.last("/admin/login/").method, "POST", "it was passed on");
    guest.ask("POST", "/admin/misc/lab/add/?as=nobody").form(&[("name", "new")]).send().await.expect(302);
    let old = old_reads(&proxy, users::ADMIN, new).await;
    assert!(old.contains("sessions") && old.contains("labs"), "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_writes_counts_as_a_write() {
    // `check-protected` adds its user to the session (ALYX.md 5).
    let (_lab, proxy, new) = primed().await;
    proxy.get("/check-protected?path=KS004/2020-01-01/001&filenames=a").await.expect(200);
    let old = old_reads(&proxy, users::ADMIN, new).await;
    for read in meant("sessions") {
        assert!(!old.contains(&read), "/{read}");
    }
    assert!(old.contains("brain-regions"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_the_admin_pages_makes_everything_stale() {
    let (_lab, proxy, new) = primed().await;
    let form = proxy.client().anonymous().ask("POST", "/admin/misc/lab/add/").form(&[("name", "new")]);
    let answer = form.header("cookie", "sessionid=s1").send().await;
    assert!(answer.status.is_success() || answer.status.is_redirection(), "{}", answer.describe());
    assert_eq!(old_reads(&proxy, users::ADMIN, new).await, BTreeSet::new());
}
