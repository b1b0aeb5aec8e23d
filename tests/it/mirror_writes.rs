//! A write, then the cable is cut: what was written is there, or the question is refused by name; never the state before.

use crate::support::{
    Answer, Proxy, Setup,
    kept::{Kept, list, mirrored_behind_a_lens, send},
    lens::Lens,
    miniature, users,
};
use alyx_proxy::{
    alyx::{
        Endpoint, record,
        side_effects::{self, Before},
    },
    miniature::{Miniature, Options},
    mirror::sync::{Cycle, OwnWrite},
};
use reqwest::Method;
use serde_json::{Value, json};

/// All that the details of sessions and subjects show, and what is written here.
const TABLES: &str = "sessions,subjects,labs,projects,datasets,insertions,fields-of-view,water-administrations,notes,\
                      trajectories,weighings,water-restriction,files";

/// A mirror that gets nothing from Alyx any more: no change, and no record by its key.
async fn mirrored() -> (Miniature, Lens, Proxy) {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let lens = Lens::before(&alyx.url()).await;
    let proxy = Setup::new(&lens.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", TABLES)
        .set("mirror.interval", "1h")
        .set("mirror.full_interval", "1d")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(TABLES.split(',').count()).await;
    lens.show(|asked, status, body| {
        if asked.contains("django=") {
            return (500, r#"{"status_code":500,"detail":"not now"}"#.to_owned());
        }
        (status, body)
    });
    (alyx, lens, proxy)
}

async fn current(proxy: &Proxy, question: &str) -> Answer {
    proxy.client().ask("GET", question).header("cache-control", "no-cache").send().await
}

async fn write(proxy: &Proxy, method: &str, path: &str, body: Value) -> Value {
    let answer = proxy.client().ask(method, path).json(&body).send().await;
    assert!(answer.status.is_success(), "{method} {path}: {}", answer.describe());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// What a question must show after a write; `true` where it must be answered, too.
struct Shown {
    question: String,
    what: String,
    there: bool,
    answered: bool,
}

fn shows(question: impl Into<String>, what: impl Into<String>) -> Shown {
    Shown { question: question.into(), what: what.into(), there: true, answered: true }
}

impl Shown {
    fn no_more(self) -> Self {
        Self { there: false, ..self }
    }

    fn or_refused(self) -> Self {
        Self { answered: false, ..self }
    }

    async fn holds(&self, proxy: &Proxy, when: &str) {
        let answer = proxy.get(&self.question).await;
        let about = format!("{when}, {} ({}): {}", self.question, self.what, answer.describe());
        match answer.status.as_u16() {
            200 => assert_eq!(answer.text().contains(&self.what), self.there, "the state before; {about}"),
            404 => assert!(!self.there, "{about}"),
            504 => {
                assert!(!self.answered, "{about}");
                assert_eq!(answer.cache().get("detail"), Some("written"), "{about}");
                assert!(answer.text().contains("written through this proxy"), "{about}: {}", answer.text());
            }
            _ => panic!("{about}"),
        }
    }
}

/// Each question as it was before is stored; then all is written, the network is gone, and the program is killed.
async fn holds_without_alyx(shown: &[Shown], lens: Lens, mut proxy: Proxy) {
    drop(lens);
    for when in ["offline", "after a restart"] {
        current(&proxy, "/labs?never=asked").await;
        proxy.until_upstream_is("down").await;
        for shown in shown {
            shown.holds(&proxy, when).await;
        }
        if when == "offline" {
            proxy.kill();
            proxy = proxy.restart().await;
        }
    }
}

fn id(record: &Value) -> String {
    let link = record.get("id").or(record.get("url")).and_then(Value::as_str).unwrap();
    link.rsplit('/').next().unwrap().to_owned()
}

async fn some(proxy: &Proxy, question: &str) -> Vec<Value> {
    current(proxy, question).await.expect(200).json()["results"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_when_the_cable_is_cut() {
    let (_alyx, lens, proxy) = mirrored().await;
    let sessions = some(&proxy, "/sessions?limit=3").await;
    let [session, noted] = [&sessions[0], &sessions[1]].map(id);
    let dataset = id(&some(&proxy, "/datasets?limit=1").await[0]);
    let subject = some(&proxy, "/subjects?limit=1").await[0]["nickname"].as_str().unwrap().to_owned();
    let note = json!({ "content_type": "session", "object_id": noted, "text": "to go", "user": "alba" });
    let note = id(&write(&proxy, "POST", "/notes", note).await);
    let shown = vec![
        shows("/sessions?task_protocol=patched&limit=9", "patched"),
        shows("/sessions?limit=1000", "patched"),
        shows("/sessions?task_protocol=created&limit=9", "created"),
        shows(format!("/subjects/{subject}"), "a patched subject"),
        shows("/subjects?limit=1000", "a patched subject"),
        shows(format!("/datasets/{dataset}"), "4711"),
        shows("/datasets?limit=3", "4711"),
        shows("/notes?limit=1000", "a new note"),
        shows("/notes?limit=1000", "to go").no_more(),
        // Its detail shows notes.
        shows(format!("/sessions/{noted}"), "a new note").or_refused(),
    ];
    for shown in &shown {
        current(&proxy, &shown.question).await.expect(200);
    }
    let path = format!("/sessions/{session}");
    current(&proxy, &path).await.expect(200);
    write(&proxy, "PATCH", &path, json!({ "task_protocol": "patched" })).await;
    let new = json!({
        "subject": subject, "start_time": "2026-01-02T03:04:05", "number": 1, "users": [], "type": "Experiment",
        "task_protocol": "created", "projects": [],
    });
    write(&proxy, "POST", "/sessions", new).await;
    let described = json!({ "description": "a patched subject" });
    write(&proxy, "PATCH", &format!("/subjects/{subject}"), described).await;
    write(&proxy, "PATCH", &format!("/datasets/{dataset}"), json!({ "file_size": 4711 })).await;
    let new = json!({ "content_type": "session", "object_id": noted, "text": "a new note", "user": "alba" });
    write(&proxy, "POST", "/notes", new).await;
    write(&proxy, "DELETE", &format!("/notes/{note}"), Value::Null).await;
    holds_without_alyx(&shown, lens, proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_a_write_has_changed_is_refused_by_name() {
    let (_alyx, lens, proxy) = mirrored().await;
    let sessions = some(&proxy, "/sessions?limit=3").await;
    let gone = id(&sessions[0]);
    let subject = some(&proxy, "/subjects?limit=1").await[0]["nickname"].as_str().unwrap().to_owned();
    let shown = vec![
        // Alyx reckons a subject's water by it.
        shows(format!("/subjects/{subject}"), "31.25").or_refused(),
        shows("/weighings?limit=1000", "31.25"),
        shows("/sessions?limit=1000", &gone).no_more(),
        shows(format!("/sessions/{gone}"), &gone).no_more(),
        // Its datasets have gone with it.
        shows(format!("/datasets?session={gone}&limit=1000"), &gone).no_more().or_refused(),
        shows("/datasets?limit=1000", &gone).no_more().or_refused(),
    ];
    for shown in &shown {
        current(&proxy, &shown.question).await.expect(200);
    }
    let weighing =
        json!({ "subject": subject, "weight": 31.25, "date_time": "2026-01-02T03:04:05", "user": "alba" });
    write(&proxy, "POST", "/weighings", weighing).await;
    write(&proxy, "DELETE", &format!("/sessions/{gone}"), Value::Null).await;
    holds_without_alyx(&shown, lens, proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_writes_are_answered_from_here_at_once() {
    let (alyx, _lens, proxy) = mirrored().await;
    let session = id(&some(&proxy, "/sessions?limit=1").await[0]);
    alyx.forget_requests();
    for number in 0..5 {
        let protocol = format!("as written {number}");
        write(&proxy, "PATCH", &format!("/sessions/{session}"), json!({ "task_protocol": protocol })).await;
        let found = proxy.get(&format!("/sessions?task_protocol=as%20written%20{number}")).await.expect(200);
        assert_eq!(found.json()["count"], 1, "{}", found.describe());
        assert_eq!(found.cache().get("detail"), Some("mirror"), "{}", found.describe());
    }
    let asked = alyx.requests();
    assert!(asked.iter().all(|asked| !asked.path_and_query.contains("task_protocol=")), "{asked:?}");
}

fn own_write(endpoint: &'static str, key: &str, answer: Option<String>) -> OwnWrite {
    let at = alyx_proxy::clock::stamp();
    OwnWrite {
        endpoint: Endpoint::named(endpoint).unwrap(),
        key: Some(key.to_owned()),
        answer: answer.map(Into::into),
        at,
        marked: vec![(endpoint, i64::MIN)],
    }
}

async fn here(kept: &Kept, endpoint: &'static str, text: &str) -> bool {
    list_of(kept, endpoint).await.iter().any(|list| list.contains(text))
}

/// What was asked before a write and comes after it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_a_write_does_not_bring_the_state_before_back() {
    let (alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    let note = record::parse(&list(&alyx.url(), "notes").await[0]);
    let (path, key) = (format!("/notes/{}", id(&note)), id(&note));
    // Scripts have changed another, so that the list is read.
    let (status, _) = send(&alyx, Method::DELETE, &format!("/notes/{}", second(&alyx).await), None).await;
    assert_eq!(status, 204);
    for (method, body) in [(Method::PATCH, Some("written-now")), (Method::DELETE, None)] {
        lens.hold("/notes?limit=1000");
        let synchroniser = kept.synchroniser.clone();
        let notes = Endpoint::named("notes").unwrap();
        let cycle = tokio::spawn(async move { synchroniser.cycle(Cycle::Now(&[notes])).await.len() });
        lens.holds().await;
        let sent = body.map(|text| {
            json!({ "text": text, "content_type": note["content_type"], "object_id": note["object_id"] })
        });
        let (status, answer) = send(&alyx, method, &path, sent).await;
        assert!(status < 300, "{answer}");
        let answer = body.map(|_| answer);
        kept.mirror.absorb(own_write("notes", &key, answer)).await.unwrap();
        assert_eq!(here(&kept, "notes", "written-now").await, body.is_some());
        lens.release();
        assert_eq!(cycle.await.unwrap(), 0);
        assert_eq!(here(&kept, "notes", "written-now").await, body.is_some(), "the state before");
        let own = list_of(&kept, "notes").await.iter().filter(|note| note.contains(&key)).count();
        assert_eq!(own, usize::from(body.is_some()), "the state before");
    }
    // What is asked after it counts again.
    kept.now().await;
    crate::support::kept::equal(&alyx.url(), &kept.mirror).await;
}

async fn list_of(kept: &Kept, endpoint: &'static str) -> Vec<String> {
    let sql = format!("SELECT list FROM \"{endpoint}__body\"");
    let read = kept.mirror.read(move |connection, _| {
        connection.prepare(&sql)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    });
    read.await.unwrap()
}

async fn second(alyx: &Miniature) -> String {
    id(&record::parse(&list(&alyx.url(), "notes").await[1]))
}

/// By the sample, which a real Alyx has answered so.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_the_list_is_had_from_the_detail() {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let token = users::ADMIN.authorization();
    let client = crate::support::Client::new(alyx.addr()).with_authorization(&token);
    let mut tried = 0;
    for (name, key) in [
        ("sessions", "id"),
        ("subjects", "nickname"),
        ("fov-location", "id"),
        ("datasets", "url"),
        ("labs", "name"),
    ] {
        let endpoint = Endpoint::named(name).unwrap();
        let page = client.get(&format!("/{name}?limit=30")).await.expect(200);
        let results =
            record::fields(page.text()).find(|(field, _)| *field == "results").unwrap().1.to_owned();
        let lists: Vec<&str> = record::members(&results).collect();
        for list in &lists {
            let key = record::parse(list)[key].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            let detail = client.get(&format!("/{name}/{key}")).await;
            if detail.status != 200 {
                continue;
            }
            let before = Before { list, detail: Some(detail.text()) };
            let made = side_effects::listed(endpoint, detail.text(), Some(before), lists[0]);
            assert_eq!(made.as_deref(), Some(*list), "{name}/{key}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}
