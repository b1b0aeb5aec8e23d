//! Acceptance 6: a write goes to Alyx as it came, and whoever reads after it reads the new state (REST.md 7).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::json;
use support::{Answer, Fault, Lab, Proxy, Setup, client::Ask, lab, until, users};

/// Every list and a record of each kind.
fn reads() -> Vec<String> {
    let session = format!("sessions/{}", lab::session_id(0));
    let mut reads = vec!["sessions".to_owned(), session, "users".to_owned(), "users/oneuser".to_owned()];
    for (table, key) in lab::TABLES {
        reads.extend([(*table).to_owned(), format!("{table}/{key}")]);
    }
    reads.extend(lab::LISTS.iter().map(|list| (*list).to_owned()));
    reads
}

/// Reads everything as `user`; what of it is of an older version than `new`.
async fn old_reads(proxy: &Proxy, user: users::User, new: usize) -> BTreeSet<String> {
    let mut old = BTreeSet::new();
    for read in reads() {
        let answer = proxy.client().with(user).get(&format!("/{read}")).await.expect(200);
        if lab::version(&answer.json()) != new {
            assert!(answer.cache().hit(), "{read}: {}", answer.cache().text);
            old.insert(read);
        }
    }
    old
}

/// A proxy that has stored everything for both users, before the data change.
async fn primed() -> (Lab, Proxy, usize) {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    for user in [users::ONEUSER, users::ADMIN] {
        assert!(old_reads(&proxy, user, 1).await.is_empty());
    }
    let new = lab.renew();
    (lab, proxy, new)
}

/// A row of REST.md 7: the write, and what shows it. `x` stands for the list `x` and the record of it; `x/` for the
/// record alone and `x?` for the list alone.
struct Row {
    write: (&'static str, &'static str),
    changes: &'static [&'static str],
}

const fn row(method: &'static str, path: &'static str, changes: &'static [&'static str]) -> Row {
    Row { write: (method, path), changes }
}

const SESSION: &str = "/sessions/00000000-0000-4000-8000-000000000000";
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
    row("PATCH", "/labs/one", &["labs", "sessions", "insertions", "subjects", "users", "locations"]),
    row("PATCH", "/dataset-types/one", &["dataset-types", "datasets", "sessions/", "insertions/"]),
    row("PATCH", "/data-formats/one", &["data-formats", "datasets"]),
    row("PATCH", "/tags/one", &["tags", "datasets"]),
    row("PATCH", "/revisions/one", &["revisions", "datasets", "sessions/"]),
    row("PATCH", "/projects/one", &["projects", "sessions", "subjects", "insertions"]),
    row("PATCH", "/users/oneuser", &["users", "sessions/", "subjects", "notes"]),
];

/// What a write of an experiment does not change (REST.md 7): these must not cost Alyx a request.
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

/// The reads that an entry of the table stands for.
fn meant(entry: &str) -> Vec<String> {
    let name = entry.trim_end_matches(['?', '/']);
    let all = reads();
    let detail = |read: &&String| read.split_once('/').is_some_and(|(table, _)| table == name);
    let list = |read: &&String| *read == name;
    all.iter()
        .filter(|read| (list(read) && !entry.ends_with('/')) || (detail(read) && !entry.ends_with('?')))
        .cloned()
        .collect()
}

fn path_of(row: &Row) -> String {
    let uuid = lab::TABLES.iter().find(|(table, _)| *table == "datasets").unwrap().1;
    row.write.1.replace("{uuid}", uuid)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_write_others_read_the_new_state() {
    let mut wrong = Vec::new();
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let mut now = 1;
    for row in ROWS {
        // Whatever the last row has left behind is read afresh.
        now = lab.renew();
        for read in reads() {
            for user in [users::ONEUSER, users::ADMIN] {
                let ask = proxy.client().with(user).ask("GET", &format!("/{read}"));
                ask.header("cache-control", "no-cache").send().await.expect(200);
            }
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
        let of_reference = row.changes.iter().any(|c| {
            ["labs", "dataset-types", "data-formats", "tags", "revisions", "projects", "users"].contains(c)
                && path.contains(c)
        });
        for read in UNRELATED.iter().flat_map(|entry| meant(entry)).filter(|_| !of_reference) {
            if !old.contains(&read) {
                wrong.push(format!("{method} {path}: /{read} was forgotten, and has nothing to do with it"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows at version {now}:\n  {}",
        wrong.len(),
        ROWS.len(),
        wrong.join("\n  ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_alyx_rejects_changes_nothing() {
    let (lab, proxy, new) = primed().await;
    let all: BTreeSet<String> = reads().into_iter().collect();
    let never_fresh: BTreeSet<String> =
        all.iter().filter(|read| read.starts_with("tasks")).cloned().collect();
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
    // Alyx registers files one by one, without a transaction (REST.md 7).
    let (_lab, proxy, new) = primed().await;
    proxy.client().ask("POST", "/register-file").json(&json!({"half": 1})).send().await.expect(500);
    let old = old_reads(&proxy, users::ADMIN, new).await;
    for read in ["datasets", "sessions/"].iter().flat_map(|entry| meant(entry)) {
        assert!(!old.contains(&read), "/{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_writes_counts_as_a_write() {
    // `check-protected` adds its user to the session (REST.md 5).
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

#[tokio::test(flavor = "multi_thread")]
async fn bodies_reach_alyx_as_they_came() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let client = proxy.client();
    let mut image: Vec<u8> = (0..=255u8).cycle().take(3_000_000).collect();
    image[..8].copy_from_slice(b"\x89PNG\r\n\x1a\n");
    let boundary = "----a-boundary";
    let mut multipart = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nü\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
    )
    .into_bytes();
    multipart.extend(&image);
    multipart.extend(format!("\r\n--{boundary}--\r\n").bytes());
    let cases: Vec<(&str, String, Bytes)> = vec![
        (
            "PATCH",
            "application/json".to_owned(),
            Bytes::from(r#"{ "x" : NaN, "n":123456789012345678901234567890 ,"z": 1e-05}"#),
        ),
        ("POST", "application/json".to_owned(), Bytes::from("[{\"a\":1},\n {\"a\":2}]")),
        ("POST", "application/x-www-form-urlencoded".to_owned(), Bytes::from("a=1&b=%20+%C3%BC&a=2")),
        ("POST", format!("multipart/form-data; boundary={boundary}"), multipart.into()),
        ("PUT", "application/json; charset=utf-8".to_owned(), Bytes::from("{}")),
        ("POST", "text/plain".to_owned(), Bytes::from_static(b"\xff\x00\xfe")),
    ];
    for (method, kind, body) in cases {
        let target = "/sessions/x?a=%20&b=/";
        let answer = client.ask(method, target).body(&kind, body.clone()).send().await;
        assert!(answer.status.is_success(), "{}", answer.describe());
        let said = answer.json();
        assert_eq!(said["hash"], blake3::hash(&body).to_hex().to_string(), "{method} {kind}");
        assert_eq!(said["length"], body.len(), "{method} {kind}");
        assert_eq!(said["content_type"], kind);
        let sent = lab.upstream.asked().pop().unwrap();
        assert_eq!((sent.method.as_str(), sent.target.as_str()), (method, target));
        assert_eq!(
            sent.header("authorization"),
            Some(users::ONEUSER.authorization().as_str()),
            "with the caller's own token"
        );
    }
    let deleted = client.ask("DELETE", SESSION).send().await.expect(204);
    assert!(deleted.body.is_empty());

    // ONE asks `check-protected` by a GET with a body.
    let body = r#"{"path": "KS004/2020-01-01/001", "filenames": ["a", "b"]}"#;
    let answer =
        client.ask("GET", "/check-protected").body("application/json", body).send().await.expect(200);
    assert_eq!(answer.json()["asked"], body);
    // On any other path it is passed on as well, and is no question that could be remembered.
    for n in 1..=2 {
        client.ask("GET", "/projects").body("application/json", "{\"a\":1}").send().await.expect(200);
        assert_eq!(lab.count("/projects"), n);
    }
    assert_eq!(lab.upstream.asked().pop().unwrap().body, "{\"a\":1}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused_and_changes_nothing() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("server.max_body", "1 KiB").start().await;
    proxy.client().ask("POST", "/notes").body("application/json", "1".repeat(1024)).send().await.expect(201);
    let answer = proxy.client().ask("POST", "/notes").body("application/json", "1".repeat(1025)).send().await;
    assert_eq!(answer.expect(413).json()["status_code"], 413, "Alyx's shape");
    assert_eq!(lab.count("/notes"), 1);
}

fn create(proxy: &Proxy) -> Ask {
    proxy.client().ask("POST", "/sessions").json(&json!({"subject": "KS004"}))
}

fn posts(lab: &Lab) -> usize {
    lab.upstream.asked().iter().filter(|asked| asked.method == "POST").count()
}

fn assert_gone(answer: &Answer) {
    assert_eq!(answer.status, 504, "{}", answer.describe());
    assert_eq!(answer.json()["status_code"], 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_write_is_refused_and_not_kept() {
    let (lab, proxy, _) = primed().await;
    lab.upstream.cut().await;
    assert_gone(&create(&proxy).send().await);
    proxy.until_upstream_is("down").await;
    for ask in [
        create(&proxy),
        proxy.client().ask("PATCH", SESSION).json(&json!({"json": {"a": 1}})),
        proxy.client().ask("DELETE", SESSION),
        proxy.client().ask("POST", "/notes").multipart(&[("text", "a note")]),
        proxy.client().ask("POST", "/register-file").json(&json!({"path": "KS004/2020-01-01/001"})),
        proxy.client().ask("GET", "/check-protected").body("application/json", "{}"),
    ] {
        assert_gone(&ask.send().await);
    }
    // What is stored is as good as it was.
    assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), 1);
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    proxy.get("/projects").await.expect(200);
    assert_eq!(posts(&lab), 0, "nothing is sent later");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_sent_once_and_counts_as_made_if_its_answer_is_lost() {
    for fault in [Fault::Silence, Fault::Truncated, Fault::Gateway(502), Fault::Gateway(504)] {
        let lab = Lab::open().await;
        let proxy = Setup::new(&lab.url()).set("upstream.timeout", "1s").start().await;
        assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), 1);
        lab.upstream.behave(fault);
        // Alyx has it, but nobody hears so.
        let new = lab.renew();
        let answer = create(&proxy).try_send().await;
        assert!(
            answer.as_ref().is_err()
                || answer.as_ref().is_ok_and(|a| a.status.is_server_error() || a.status == 201),
            "{fault:?}: {answer:?}"
        );
        assert_eq!(posts(&lab), 1, "{fault:?}: a write must not be tried again");
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
        let read = proxy.get("/sessions").await.expect(200);
        assert_eq!(lab::version(&read.json()), new, "{fault:?}: {}", read.cache().text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_the_write_is_not_fresh_after_it() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    // The read is answered in Alyx before the write, and arrives after it.
    lab.upstream.behave(Fault::Slow(1000));
    let client = proxy.client();
    let reading = tokio::spawn(async move { client.get("/sessions").await });
    until("the read is upstream", async || lab.count("/sessions") == 1).await;
    lab.upstream.behave(Fault::None);
    let new = lab.renew();
    create(&proxy).send().await.expect(201);
    // Whoever wrote asks at once, while the earlier read is still under way.
    assert_eq!(
        lab::version(&proxy.get("/sessions").await.expect(200).json()),
        new,
        "joined a read of before"
    );
    assert_eq!(lab::version(&reading.await.unwrap().expect(200).json()), 1, "it was asked before");
    assert_eq!(
        lab::version(&proxy.get("/sessions").await.expect(200).json()),
        new,
        "the late answer was stored"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_by_a_write_is_not_given_while_upstream_is_there() {
    // `stale_while_revalidate` is for age, not for what is known to have changed.
    let (lab, proxy, new) = primed().await;
    create(&proxy).send().await.expect(201);
    assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), new);
    // Offline it is better than nothing, and told.
    create(&proxy).send().await.expect(201);
    lab.upstream.cut().await;
    let answer = proxy.get("/sessions").await.expect(200);
    assert!(
        answer.header("alyx-api-notice").is_some_and(|notice| notice.starts_with("!!!")),
        "{}",
        answer.describe()
    );
}
