//! A snapshot, whole or of a lab or a project, is a world of its own: what belongs together is in it, and answered.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Home, text};
use crate::support::{Proxy, Setup, command, miniature, users};
use alyx_proxy::miniature::{Miniature, Options};

const TABLES: [&str; 15] = [
    "labs",
    "projects",
    "users",
    "subjects",
    "sessions",
    "insertions",
    "trajectories",
    "datasets",
    "weighings",
    "water-administrations",
    "data-repository",
    "dataset-types",
    "data-formats",
    "tags",
    "notes",
];

fn mirroring(url: &str) -> Setup {
    Setup::new(url)
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &TABLES.join(","))
        .set("mirror.details", "sessions")
        .set("mirror.verify_per_minute", "0")
}

/// A proxy that has mirrored these tables.
async fn mirrored() -> (Arc<Miniature>, Proxy) {
    let alyx = Arc::new(miniature::start(Options::default()).await);
    let proxy = mirroring(&alyx.url()).start().await;
    proxy.until_mirrored(TABLES.len()).await;
    (alyx, proxy)
}

async fn results(proxy: &Proxy, question: &str) -> Vec<Value> {
    let answer = proxy.get(question).await.expect(200).json();
    answer["results"].as_array().or(answer.as_array()).cloned().unwrap_or_default()
}

async fn count(proxy: &Proxy, question: &str) -> u64 {
    proxy.get(question).await.expect(200).json()["count"].as_u64().unwrap()
}

/// What the whole and the part say to a question, by their counts.
async fn same(whole: &Proxy, of: &str, part: &Proxy, question: &str) -> u64 {
    let (there, here) = (count(whole, of).await, count(part, question).await);
    assert_eq!(here, there, "{question} of the part, {of} of the whole");
    here
}

#[tokio::test(flavor = "multi_thread")]
async fn point_4_a_lab_served_alone_answers_every_question_from_what_is_in_it() {
    let (_alyx, whole) = mirrored().await;
    let home = Home::new();
    let file = home.path("cortexlab.tar.zst");
    let output = command::run_for(&whole, &["export", text(&file), "--lab", "cortexlab", "--json"]);
    let told: Value = serde_json::from_str(&command::done(&output)).unwrap();
    let left_out = told["contents"]["left_out"].as_object().unwrap();
    assert_eq!(left_out.keys().collect::<Vec<_>>(), ["notes"], "{told:#}");
    assert!(!left_out["notes"].as_str().unwrap().contains('{'), "{told:#}");

    let part = Setup::of_snapshot(&file).start().await;
    let sessions = same(&whole, "/sessions?lab=cortexlab&limit=1", &part, "/sessions?limit=1").await;
    assert!(sessions > 0 && sessions < count(&whole, "/sessions?limit=1").await);
    assert!(same(&whole, "/insertions?lab=cortexlab&limit=1", &part, "/insertions?limit=1").await > 0);
    assert!(same(&whole, "/datasets?lab=cortexlab&limit=1", &part, "/datasets?limit=1").await > 0);
    let of_lab = "django=probe_insertion__session__lab__name,cortexlab";
    assert!(
        same(&whole, &format!("/trajectories?{of_lab}&limit=1"), &part, "/trajectories?limit=1").await > 0
    );
    // Nobody else's are there, and that is an answer.
    assert_eq!(count(&part, "/sessions?lab=mainenlab&limit=1").await, 0);
    let ephys = "/sessions?task_protocol=ephys&limit=1";
    same(&whole, &format!("{ephys}&lab=cortexlab"), &part, ephys).await;
    // What belongs together: a session's subject, its details, its datasets.
    for session in results(&part, "/sessions?limit=5").await {
        let (id, subject) = (session["id"].as_str().unwrap(), session["subject"].as_str().unwrap());
        part.get(&format!("/sessions/{id}")).await.expect(200);
        assert_eq!(count(&part, &format!("/subjects?nickname={subject}")).await, 1, "{subject}");
        same(
            &whole,
            &format!("/datasets?session={id}&limit=1"),
            &part,
            &format!("/datasets?session={id}&limit=1"),
        )
        .await;
    }
    assert!(count(&part, "/subjects?limit=1").await < count(&whole, "/subjects?limit=1").await);
    // It says of which part it is.
    let notice = part.get("/sessions?limit=1").await;
    let notice = notice.header("alyx-api-notice").unwrap();
    assert!(notice.contains("lab cortexlab only"), "{notice}");
    // Also at the next start.
    let part = part.restart().await;
    same(&whole, "/insertions?lab=cortexlab&limit=1", &part, "/insertions?limit=1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn point_5_a_project_holds_its_subjects_and_all_that_is_of_them() {
    let (_alyx, whole) = mirrored().await;
    let session = results(&whole, "/sessions?limit=1&lab=cortexlab").await.remove(0);
    let project = session["projects"][0].as_str().unwrap().to_owned();
    let home = Home::new();
    let file = home.path("project.tar.zst");
    let output = command::run_for(&whole, &["export", text(&file), "--project", &project, "--json"]);
    let told: Value = serde_json::from_str(&command::done(&output)).unwrap();
    let records = |name: &str| told["contents"]["tables"][name]["records"].as_u64().unwrap_or_default();
    for endpoint in ["sessions", "subjects", "datasets", "insertions", "labs", "dataset-types"] {
        assert!(records(endpoint) > 0, "{endpoint}: {told:#}");
    }
    let left_out = told["contents"]["left_out"].to_string();
    assert!(!left_out.contains("\\\"") && !left_out.contains("UUID"), "{left_out}");

    let part = Setup::of_snapshot(&file).start().await;
    let query: String = form_urlencoded::byte_serialize(project.as_bytes()).collect();
    let exact = format!("django=projects__name,{query}");
    same(&whole, &format!("/sessions?{exact}&limit=1"), &part, "/sessions?limit=1").await;
    same(&whole, &format!("/sessions?{exact}&limit=1"), &part, &format!("/sessions?project={query}&limit=1"))
        .await;
    let of_sessions = format!("django=session__projects__name,{query}");
    same(&whole, &format!("/datasets?{of_sessions}&limit=1"), &part, "/datasets?limit=1").await;
    for session in results(&part, "/sessions?limit=5").await {
        let subject = session["subject"].as_str().unwrap();
        assert_eq!(count(&part, &format!("/subjects?nickname={subject}")).await, 1, "{subject}");
        let weighed = format!("/weighings?nickname={subject}&limit=1");
        same(&whole, &weighed, &part, &weighed).await;
    }
}

/// What `export` writes of what was chosen, served alone, and what it told.
async fn exported(whole: &Proxy, home: &Home, chosen: &[&str]) -> (Proxy, Value) {
    let file = home.path(&format!("{}.tar.zst", chosen.join("")));
    let output = command::run_for(whole, &[&["export", text(&file), "--json"], chosen].concat());
    let told = serde_json::from_str(&command::done(&output)).unwrap();
    (Setup::of_snapshot(&file).start().await, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn single_sessions_travel_with_all_that_is_theirs() {
    let (_alyx, whole) = mirrored().await;
    let home = Home::new();
    let mut sessions = results(&whole, "/insertions?limit=40").await;
    let mut ids: Vec<String> =
        sessions.drain(..).map(|one| one["session"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    ids.truncate(2);
    let chosen = ["--session", &ids[0], "--session", &ids[1]];
    let (part, told) = exported(&whole, &home, &chosen).await;
    assert_eq!(told["contents"]["left_out"].as_object().unwrap().keys().collect::<Vec<_>>(), ["notes"]);
    assert_eq!(count(&part, "/sessions?limit=1").await, 2);
    for id in &ids {
        for list in ["datasets", "insertions"] {
            let question = format!("/{list}?session={id}&limit=1");
            same(&whole, &question, &part, &question).await;
        }
        let session = part.get(&format!("/sessions/{id}")).await.expect(200).json();
        let subject = session["subject"].as_str().unwrap();
        assert_eq!(count(&part, &format!("/subjects?nickname={subject}")).await, 1);
        let weighed = format!("/weighings?nickname={subject}&limit=1");
        same(&whole, &weighed, &part, &weighed).await;
    }
    let nobody = "00000000-0000-4000-8000-000000000000";
    let file = home.path("none.tar.zst");
    let output = command::run_for(&whole, &["export", text(&file), "--session", nobody]);
    let said = command::failed(&output, 1);
    assert!(said.contains(&format!("there is no session `{nobody}`")) && !file.exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_says_which_details_are_not_in_it() {
    let alyx = miniature::start(Options::default()).await;
    let whole = mirroring(&alyx.url()).set("mirror.details", "").start().await;
    whole.until_mirrored(TABLES.len()).await;
    let home = Home::new();
    let file = home.path("lab.tar.zst");
    let said = command::done(&command::run_for(&whole, &["export", text(&file)]));
    let line = said.lines().find(|line| line.starts_with("sessions: ")).expect("a remark");
    assert!(line.contains("of its records are without details"), "{line}");
    let alone = Setup::of_snapshot(&file).start().await;
    let id = results(&alone, "/sessions?limit=1").await[0]["id"].as_str().unwrap().to_owned();
    let refused = alone.get(&format!("/sessions/{id}")).await.expect(504);
    assert!(refused.text().contains("have it made again"), "{}", refused.text());
    assert!(!refused.text().contains("mirror.details"), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_subjects_of_one_nickname_it_is_asked_which_is_meant() {
    let (_alyx, whole) = mirrored().await;
    let home = Home::new();
    let file = home.path("mouse.tar.zst");
    let export = |more: &[&str]| {
        command::run_for(&whole, &[&["export", text(&file), "--subject", "dup_mouse"], more].concat())
    };
    let said = command::failed(&export(&[]), 1);
    assert!(said.contains("2 subjects are called `dup_mouse`"), "{said}");
    assert!(said.contains("cortexlab") && said.contains("wittenlab") && said.contains("--lab"), "{said}");
    command::done(&export(&["--lab", "cortexlab"]));
    let part = Setup::of_snapshot(&file).start().await;
    let subjects = results(&part, "/subjects?limit=10").await;
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert_eq!(subjects[0]["lab"], "cortexlab");

    // One that no other is called after.
    let (part, _) = exported(&whole, &home, &["--subject", "KS004"]).await;
    assert!(same(&whole, "/sessions?subject=KS004&limit=1", &part, "/sessions?limit=1").await > 0);
    assert_eq!(count(&part, "/subjects?limit=1").await, 1);
    let wrong = command::run_for(&whole, &["export", text(&home.path("x.tar.zst")), "--subject", "KS04"]);
    let said = command::failed(&wrong, 1);
    assert!(said.contains("there is no subject `KS04`; did you mean `KS004`?"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_7_a_snapshot_comes_in_before_the_first_fill_has_ended() {
    let (alyx, whole) = mirrored().await;
    let home = Home::new();
    let file = home.path("lab.tar.zst");
    command::done(&command::run_for(&whole, &["export", text(&file)]));
    drop(whole);
    // The fill of this one takes an hour.
    let there = mirroring(&alyx.url()).set("upstream.requests_per_minute", "6").start().await;
    let output = command::run_for(&there, &["import", text(&file), "--once", "--json"]);
    let told: Value = serde_json::from_str(&command::done(&output)).unwrap();
    for endpoint in ["sessions", "datasets", "insertions", "weighings"] {
        assert!(told["tables"].as_array().unwrap().contains(&json!(endpoint)), "{told:#}");
    }
    assert_eq!(count(&there, "/sessions?limit=1&lab=cortexlab").await, {
        let status = there.status().await;
        assert!(status["mirror"]["tables"].as_array().unwrap().len() >= TABLES.len() - 1, "{status:#}");
        results(&there, "/sessions?lab=cortexlab").await.len() as u64
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn point_10_an_older_program_changes_nothing_of_a_newer_mirror() {
    let alyx = miniature::start(Options::default()).await;
    let mut proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs")
        .start()
        .await;
    proxy.until_mirrored(1).await;
    proxy.terminate().await;
    let mirror = proxy.database().with_file_name("mirror.db");
    let connection = rusqlite::Connection::open(&mirror).unwrap();
    connection.execute_batch("PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
    drop(connection);
    let before = std::fs::read(&mirror).unwrap();
    let why = proxy.setup().clone().refusal().await;
    assert!(why.contains("newer alyx-proxy") && why.contains("mirror.db"), "{why}");
    assert!(std::fs::read(&mirror).unwrap() == before, "it is as it was");
    let folder = std::fs::read_dir(mirror.parent().unwrap()).unwrap();
    let names: Vec<String> = folder.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.starts_with("damaged-")), "{names:?}");
}
