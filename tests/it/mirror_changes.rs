//! What changes at Alyx without the time of the record that shows it (ALYX.md 6.2) is found all the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    kept::{
        Kept, details_equal, equal, list, mirrored, mirrored_behind_a_lens, mirrored_in_one_sweep, send,
        settings, whole,
    },
    lens::{Lens, unnoted},
    miniature,
};
use alyx_proxy::{
    alyx::{ENDPOINTS, Endpoint, record},
    miniature::{self as demo, Miniature, Options},
    mirror::sync::Cycle,
    settings::Settings,
};
use reqwest::Method;
use serde_json::{Value, json};

const DAY: i64 = 86_400_000;

fn now() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis().try_into().unwrap()
}

async fn records(url: &str, endpoint: &str) -> Vec<Value> {
    list(url, endpoint).await.iter().map(|text| record::parse(text)).collect()
}

fn id(record: &Value) -> String {
    let link = record.get("id").filter(|id| id.is_string()).or(record.get("url")).unwrap();
    link.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn done(alyx: &Miniature, method: Method, path: &str, body: Option<Value>) -> Value {
    let (status, text) = send(alyx, method.clone(), path, body).await;
    assert!(status < 300, "{method} {path}: {status} {text}");
    record::parse(&text)
}

/// A dataset without a protected tag that a session shows, as details do not show what is on no server; and the session.
async fn shown_dataset(url: &str) -> (Value, String) {
    let datasets = records(url, "datasets").await;
    for session in records(url, "sessions").await {
        let detail = record::parse(&miniature::get_at(url, &format!("/sessions/{}", id(&session))).await);
        for shown in detail["data_dataset_session_related"].as_array().into_iter().flatten() {
            let dataset = datasets.iter().find(|one| id(one) == id(shown)).unwrap();
            if dataset["protected"] == 0 {
                return (dataset.clone(), id(&session));
            }
        }
    }
    panic!("no session shows a dataset");
}

/// Changes what the mirror knows, as if time had passed.
fn sql(folder: &std::path::Path, sql: &str) {
    let connection = rusqlite::Connection::open(folder.join("mirror.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
}

async fn due(kept: &Kept) {
    let errors = kept.synchroniser.cycle(Cycle::Due).await;
    assert!(errors.is_empty(), "{errors:?}");
}

/// Registers a dataset that is new; its id.
async fn register(alyx: &Miniature) -> String {
    let url = alyx.url();
    let insertion = records(&url, "insertions")
        .await
        .into_iter()
        .find(|one| !one["session_info"]["start_time"].is_null() && !one["session_info"]["number"].is_null())
        .unwrap();
    let repositories = records(&url, "data-repository").await;
    let server =
        repositories.iter().find(|one| one["globus_is_personal"] == false).unwrap_or(&repositories[0]);
    let info = &insertion["session_info"];
    let path = format!(
        "{}/{}/{}",
        info["subject"].as_str().unwrap(),
        &info["start_time"].as_str().unwrap()[..10],
        info["number"]
    );
    let before = list(&url, "datasets").await.len();
    for kind in records(&url, "dataset-types").await {
        let file =
            format!("alf/{}/{}.new", insertion["name"].as_str().unwrap(), kind["name"].as_str().unwrap());
        let body = json!({ "path": path, "name": server["name"], "filenames": [file] });
        let (status, text) = send(alyx, Method::POST, "/register-file", Some(body)).await;
        if status == 201 && list(&url, "datasets").await.len() > before {
            return id(&record::parse(&text)[0]);
        }
    }
    panic!("no dataset could be registered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_is_registered_appears_in_its_insertion() {
    let (alyx, _folder, kept) = mirrored().await;
    let dataset = register(&alyx).await;
    let holding = list(&alyx.url(), "insertions").await.iter().filter(|one| one.contains(&dataset)).count();
    assert_eq!(holding, 1);
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_shown_by_nobody() {
    let (alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    // Alyx notes nothing in the dataset whose file goes.
    lens.show(unnoted("datasets"));
    let file = &records(&alyx.url(), "files").await[0];
    done(&alyx, Method::DELETE, &format!("/files/{}", id(file)), None).await;
    let weighing = &records(&alyx.url(), "weighings").await[0];
    done(&alyx, Method::DELETE, &format!("/weighings/{}", id(weighing)), None).await;
    let (dataset, _) = shown_dataset(&alyx.url()).await;
    done(&alyx, Method::DELETE, &format!("/datasets/{}", id(&dataset)), None).await;
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_moves_takes_its_datasets_with_it() {
    let (_alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    let (dataset, session) = shown_dataset(&lens.url()).await;
    let detail = record::parse(&miniature::get_at(&lens.url(), &format!("/sessions/{session}")).await);
    let mut shown = detail["data_dataset_session_related"].as_array().unwrap().iter();
    let shown = shown.find(|one| id(one) == id(&dataset)).unwrap()["data_url"].as_str().unwrap().to_owned();
    let repositories = records(&lens.url(), "data-repository").await;
    let mut urls = repositories.iter().filter_map(|one| one["data_url"].as_str());
    let before = urls.find(|url| !url.is_empty() && shown.starts_with(url)).unwrap().to_owned();
    lens.show(move |_, status, body| (status, body.replace(&before, "https://elsewhere.test/")));
    let detail = miniature::get_at(&lens.url(), &format!("/sessions/{session}")).await;
    assert!(detail.contains("https://elsewhere.test/"), "{detail}");
    kept.now().await;
    whole(&lens.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_in_a_repository_is_no_reason_to_read_its_files_again() {
    let (alyx, _folder, kept) = mirrored().await;
    let name = records(&alyx.url(), "data-repository").await[0]["name"].as_str().unwrap().to_owned();
    let body = json!({ "json": { "alive": "a moment ago" } });
    done(&alyx, Method::PATCH, &format!("/data-repository/{name}"), Some(body)).await;
    alyx.forget_requests();
    kept.now().await;
    let asked =
        |path: &str| alyx.requests().iter().filter(|asked| asked.path_and_query.starts_with(path)).count();
    let (files, details) = (asked("/files?"), asked("/sessions/"));
    equal(&alyx.url(), &kept.mirror).await;
    assert!(files <= 4 && details == 0, "{files} requests for files, {details} for sessions");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_set_by_a_script_is_found_by_counting() {
    let (alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    lens.show(unnoted("datasets"));
    let tag = records(&alyx.url(), "tags").await[0]["name"].clone();
    let datasets = records(&alyx.url(), "datasets").await;
    let bare = datasets.iter().find(|one| one["tags"] == json!([])).unwrap();
    done(&alyx, Method::PATCH, &format!("/datasets/{}", id(bare)), Some(json!({ "tags": [tag] }))).await;
    kept.now().await;
    whole(&lens.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_day_tables_are_read_as_a_whole() {
    let (alyx, lens, folder, kept) = mirrored_in_one_sweep().await;
    lens.show(unnoted("datasets"));
    let dataset = &records(&alyx.url(), "datasets").await[0];
    done(&alyx, Method::PATCH, &format!("/datasets/{}", id(dataset)), Some(json!({ "file_size": 4711 })))
        .await;
    sql(
        folder.path(),
        &format!("UPDATE state SET listed_at = {} WHERE endpoint = 'datasets'", now() - 2 * DAY),
    );
    due(&kept).await;
    whole(&lens.url(), &kept.mirror).await;
    alyx.forget_requests();
    due(&kept).await;
    let again = alyx.requests().iter().filter(|asked| asked.path_and_query.starts_with("/datasets?")).count();
    assert!(again <= 2, "{again} requests right after");
}

fn datasets() -> &'static Endpoint {
    ENDPOINTS.iter().find(|endpoint| endpoint.name == "datasets").unwrap()
}

/// Begins to fill the datasets with these settings, and gets no further.
async fn begin(lens: &Lens, folder: &std::path::Path, settings: Settings) {
    let asked = AtomicUsize::new(0);
    lens.show(move |path, status, body| {
        if path.starts_with("/datasets?") && asked.fetch_add(1, Ordering::Relaxed) >= 2 {
            return (500, r#"{"detail":"a moment ago"}"#.to_owned());
        }
        (status, body)
    });
    let kept = Kept::open(folder, settings);
    assert_eq!(kept.synchroniser.cycle(Cycle::Now(&[datasets()])).await.len(), 1, "it is not all here");
    kept.mirror.close();
    lens.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_of_a_table_that_is_no_longer_named_is_gone() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let lens = Lens::before(&alyx.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&lens.url());
    begin(&lens, folder.path(), settings.clone()).await;
    let begun = || {
        let connection = rusqlite::Connection::open(folder.path().join("mirror.db")).unwrap();
        let sql = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'next:%'";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert!(begun() > 0);
    settings.mirror.endpoints = vec!["tags".to_owned()];
    let kept = Kept::open(folder.path(), settings);
    due(&kept).await;
    assert_eq!(begun(), 0);
}

/// Who names a part in the settings and takes that back, before the part is here, has the whole as before; and the part
/// as a whole, should they want it later.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_wanted_for_a_moment_leaves_no_trace() {
    let (alyx, lens, folder, kept) = mirrored_behind_a_lens().await;
    let mut usual = settings(&lens.url());
    usual.mirror.interval = serde_json::from_value(json!("12h")).unwrap();
    let mut part = usual.clone();
    part.mirror.scope = serde_json::from_value(json!({ "datasets": { "lab": "cortexlab" } })).unwrap();
    kept.mirror.close();

    begin(&lens, folder.path(), part.clone()).await;
    let kept = Kept::open(folder.path(), usual);
    sql(
        folder.path(),
        &format!("UPDATE state SET listed_at = {} WHERE endpoint = 'datasets'", now() - 2 * DAY),
    );
    due(&kept).await;
    whole(&alyx.url(), &kept.mirror).await;
    kept.mirror.close();

    let kept = Kept::open(folder.path(), part);
    assert!(kept.synchroniser.cycle(Cycle::Now(&[datasets()])).await.is_empty());
    let there = miniature::get_at(&alyx.url(), "/datasets?lab=cortexlab&limit=1").await;
    let state = kept.mirror.states().of("datasets").cloned().unwrap();
    assert_eq!(state.scope.len(), 1);
    assert_eq!(json!(state.rows), record::parse(&there)["count"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detail_that_fails_for_a_moment_is_fetched_later() {
    let (alyx, lens, folder, kept) = mirrored_behind_a_lens().await;
    let (dataset, session) = shown_dataset(&alyx.url()).await;
    let path = format!("/sessions/{session}");
    let failing = path.clone();
    lens.show(move |asked, status, body| {
        if asked == failing { (500, r#"{"detail":"a moment ago"}"#.to_owned()) } else { (status, body) }
    });
    // Its own change, and one of what it shows.
    done(&alyx, Method::PATCH, &path, Some(json!({ "narrative": "changed" }))).await;
    done(&alyx, Method::PATCH, &format!("/datasets/{}", id(&dataset)), Some(json!({ "file_size": 4711 })))
        .await;
    kept.now().await;
    // What it was is not given for what it is.
    details_equal(&alyx.url(), &kept.mirror, "sessions", "url").await;
    lens.clear();
    let reopened = {
        kept.mirror.close();
        Kept::open(folder.path(), settings(&lens.url()))
    };
    reopened.now().await;
    whole(&alyx.url(), &reopened.mirror).await;
    let detail: i64 = rusqlite::Connection::open(folder.path().join("mirror.db"))
        .unwrap()
        .query_row(
            "SELECT count(*) FROM sessions__body WHERE instr(list, ?1) AND detail IS NOT NULL",
            [&session],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(detail, 1, "it is here again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_follows_its_record_to_another_place() {
    let (alyx, _folder, kept) = mirrored().await;
    let subjects = records(&alyx.url(), "subjects").await;
    let weighed = subjects.iter().max_by_key(|one| one["nickname"].to_string()).unwrap();
    let weighing = json!({ "subject": weighed["nickname"], "weight": 25.5 });
    done(&alyx, Method::POST, "/weighings", Some(weighing)).await;
    // Before all others in the list: each gets another number.
    let new = json!({ "nickname": "000", "lab": weighed["lab"] });
    done(&alyx, Method::POST, "/subjects", Some(new)).await;
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shows_a_table_that_is_filled_anew_is_fetched_again() {
    let (alyx, folder, kept) = mirrored().await;
    let (dataset, session) = shown_dataset(&alyx.url()).await;
    let path = format!("/datasets/{}", id(&dataset));
    done(&alyx, Method::PATCH, &path, Some(json!({ "file_size": 4711 }))).await;
    // As where it was damaged.
    sql(folder.path(), "DELETE FROM state WHERE endpoint = 'datasets'");
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
    kept.mirror.close();

    // The one before is still here, with less in it: only what differs is fetched again.
    let mut narrow = settings(&alyx.url());
    let lab = record::parse(&miniature::get(&alyx, &format!("/sessions/{session}")).await)["lab"].clone();
    let scope = [("lab".to_owned(), lab.as_str().unwrap().to_owned())].into();
    narrow.mirror.scope.insert("datasets".to_owned(), scope);
    let kept = Kept::open(folder.path(), narrow);
    kept.now().await;
    kept.mirror.close();
    done(&alyx, Method::PATCH, &path, Some(json!({ "file_size": 4712 }))).await;
    let kept = Kept::open(folder.path(), settings(&alyx.url()));
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn details_that_are_no_longer_kept_are_gone() {
    let (alyx, folder, kept) = mirrored().await;
    kept.mirror.close();
    let mut plain = settings(&alyx.url());
    plain.mirror.details = Vec::new();
    let kept = Kept::open(folder.path(), plain);
    kept.now().await;
    let count = |sql: &'static str| {
        let mirror = kept.mirror.clone();
        async move {
            mirror.read(move |connection, _| connection.query_row(sql, [], |row| row.get(0))).await.unwrap()
        }
    };
    let left: i64 = count("SELECT count(*) FROM sessions__body WHERE detail IS NOT NULL").await;
    let columns: i64 = count("SELECT count(auto_datetime) FROM sessions").await;
    assert_eq!((left, columns), (0, 0));
    assert!(!kept.mirror.states().of("sessions").unwrap().details);
    equal(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_listed_in_the_future_is_listed_now() {
    let (alyx, folder, kept) = mirrored().await;
    let tag = &records(&alyx.url(), "tags").await[0];
    let path = format!("/tags/{}", tag["name"].as_str().unwrap());
    done(&alyx, Method::PATCH, &path, Some(json!({ "description": "changed" }))).await;
    sql(folder.path(), &format!("UPDATE state SET listed_at = {} WHERE endpoint = 'tags'", now() + 30 * DAY));
    due(&kept).await;
    equal(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_has_lost_nothing() {
    let (alyx, folder, kept) = mirrored().await;
    let ahead = now() + 3 * DAY;
    let low = (ahead - DAY) * 1000;
    sql(
        folder.path(),
        &format!("UPDATE state SET low = {low}, seen = {low}, seen_at = {ahead}, synced_at = {ahead}"),
    );
    let (dataset, session) = shown_dataset(&alyx.url()).await;
    done(&alyx, Method::PATCH, &format!("/sessions/{session}"), Some(json!({ "narrative": "changed" })))
        .await;
    done(&alyx, Method::PATCH, &format!("/datasets/{}", id(&dataset)), Some(json!({ "file_size": 4711 })))
        .await;
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
}
