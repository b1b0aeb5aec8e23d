//! What follows from another record is computed here, as Alyx computes it, and Alyx is not asked for it.

use std::{collections::HashMap, path::Path};

use crate::{
    judge::tables,
    support::{
        kept::{
            Kept, details_equal, equal_of, mirrored, mirrored_behind_a_lens, mirrored_in_one_sweep, send,
            whole,
        },
        miniature, tried as noted,
    },
};
use alyx_proxy::{
    alyx::{
        ENDPOINTS, Endpoint,
        change_tracking::rules_by,
        derived::{BESIDES, Copied},
        record,
    },
    miniature::Miniature,
    mirror::sync::{CatchUp, Cycle},
};
use reqwest::Method;
use serde_json::{Value, json};

/// The least of each rule that the recordings must have.
const LEAST: usize = 30;

/// All texts of an endpoint in the recordings: of its list, and its details.
fn recorded<'f>(files: &'f tables::Files, endpoint: &str, detail: bool) -> impl Iterator<Item = &'f String> {
    let details = files.get(&format!("detail/{endpoint}.jsonl")).into_iter().flatten();
    let list = files.get(&format!("tables/{endpoint}.jsonl")).into_iter().flatten().filter(move |_| !detail);
    list.chain(details)
}

/// What the other is said to be named by, in its list.
fn by_key<'f>(files: &'f tables::Files, endpoint: &str, copied: &Copied) -> HashMap<String, &'f String> {
    recorded(files, endpoint, false).filter_map(|text| Some((copied.key_of(text)?, text))).collect()
}

#[test]
fn every_rule_holds_for_every_recorded_record() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/tables-detail.tar.zst");
    let files = tables::archive(Path::new(file));
    let besides = recorded(&files, BESIDES.0, false);
    let besides: HashMap<String, String> = besides
        .map(|text| (record::Record::new(text.as_str()).plain(BESIDES.1).unwrap().to_owned(), text.clone()))
        .collect();
    let rules: Vec<_> = ENDPOINTS.iter().flat_map(|endpoint| rules_by(endpoint.name)).collect();
    assert!(!rules.is_empty());
    let mut all = 0;
    for (rule, copied) in rules {
        let others = by_key(&files, rule.of, copied);
        let mut tried = 0;
        for text in recorded(&files, rule.by, rule.detail) {
            for other in copied.keys(text).into_iter().filter_map(|key| others.get(key)) {
                for (shown, made) in copied.shown(text, other, &besides) {
                    assert_eq!(made.as_deref(), Some(shown), "{} in {}: {text}", rule.of, rule.by);
                    tried += 1;
                }
            }
        }
        println!("{} in {}: {tried} fields", rule.of, rule.by);
        assert!(tried >= LEAST, "{} in {}: only {tried} fields were recorded", rule.of, rule.by);
        all += tried;
    }
    noted("derived fields", all);
}

async fn change(alyx: &Miniature, path: &str, body: Value) {
    let (status, text) = send(alyx, Method::PATCH, path, Some(body)).await;
    assert_eq!(status, 200, "{path}: {text}");
}

/// The repository that most files are in, and where it is.
async fn repository(alyx: &Miniature) -> (String, String) {
    let mut files: HashMap<String, usize> = HashMap::new();
    for text in miniature::list(alyx, "files").await {
        *files.entry(record::parse(&text)["data_repository"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let repositories = miniature::list(alyx, "data-repository").await;
    let served =
        repositories.iter().map(|text| record::parse(text)).filter(|one| one["data_url"].is_string());
    let named = served
        .map(|one| (one["name"].as_str().unwrap().to_owned(), one["data_url"].as_str().unwrap().to_owned()));
    named.max_by_key(|(name, _)| files.get(name).copied()).unwrap()
}

async fn catch_up(kept: &Kept, endpoint: &'static str) {
    assert!(kept.synchroniser.catch_up(CatchUp::Table(endpoint)).await, "{endpoint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_moves_costs_one_request() {
    let (alyx, _folder, kept) = mirrored().await;
    let (name, _) = repository(&alyx).await;
    let before = miniature::list(&alyx, "datasets").await;
    let body = json!({ "data_url": "https://elsewhere.test/ü/", "globus_path": "/elsewhere/" });
    change(&alyx, &format!("/data-repository/{name}"), body).await;
    let after = miniature::list(&alyx, "datasets").await;
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert!(moved > 500, "{moved} datasets have moved");
    alyx.forget_requests();
    catch_up(&kept, "data-repository").await;
    let asked = alyx.requests();
    assert!(asked.len() <= 3, "{asked:?}");
    // Nothing is due: no table is old because of it.
    whole(&alyx.url(), &kept.mirror).await;
    alyx.forget_requests();
    kept.now().await;
    let usual = alyx.requests().len();
    change(&alyx, &format!("/data-repository/{name}"), json!({ "data_url": "https://again.test/" })).await;
    alyx.forget_requests();
    kept.now().await;
    assert!(alyx.requests().len() <= usual + 3, "{usual} without the move, {}", alyx.requests().len());
    whole(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_says_that_was_asked_for_before_a_repository_moved_is_asked_again() {
    let (alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    let (name, _) = repository(&alyx).await;
    let dataset =
        miniature::list(&alyx, "datasets").await.into_iter().find(|text| text.contains(&name)).unwrap();
    let path =
        record::parse(&dataset)["url"].as_str().unwrap().rsplit_once("/datasets/").unwrap().1.to_owned();
    change(&alyx, &format!("/datasets/{path}"), json!({ "file_size": 4711 })).await;
    lens.hold("/datasets?");
    let synchroniser = kept.synchroniser.clone();
    let page = tokio::spawn(async move { synchroniser.catch_up(CatchUp::Table("datasets")).await });
    lens.holds().await;
    change(&alyx, &format!("/data-repository/{name}"), json!({ "data_url": "https://elsewhere.test/" }))
        .await;
    catch_up(&kept, "data-repository").await;
    lens.release();
    assert!(page.await.unwrap());
    kept.now().await;
    whole(&alyx.url(), &kept.mirror).await;
}

fn id(record: &Value) -> String {
    let link = record.get("id").filter(|id| id.is_string()).or(record.get("url")).unwrap();
    link.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn records(alyx: &Miniature, endpoint: &str) -> Vec<Value> {
    miniature::list(alyx, endpoint).await.iter().map(|text| record::parse(text)).collect()
}

/// A session with insertions and datasets that its detail shows; and one of each.
async fn session(alyx: &Miniature) -> (Value, Value, Value) {
    let (sessions, datasets) = (records(alyx, "sessions").await, records(alyx, "datasets").await);
    for insertion in records(alyx, "insertions").await {
        let detail = record::parse(&miniature::get(alyx, &format!("/insertions/{}", id(&insertion))).await);
        let Some(shown) = detail["datasets"].get(0) else { continue };
        let dataset = datasets.iter().find(|one| id(one) == id(shown)).unwrap();
        let session = sessions.iter().find(|one| one["id"] == insertion["session"]).unwrap();
        return (session.clone(), insertion, dataset.clone());
    }
    panic!("no insertion shows a dataset");
}

/// Nothing but this endpoint was asked.
fn asked_only(alyx: &Miniature, endpoint: &str) {
    for asked in alyx.requests() {
        let path = asked.path_and_query.split(['/', '?']).nth(1);
        assert_eq!(path, Some(endpoint), "{}", asked.path_and_query);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_record_is_shown_by_all_and_asked_for_itself_alone() {
    let (alyx, _folder, kept) = mirrored().await;
    let (session, insertion, dataset) = session(&alyx).await;
    let edits = [
        ("datasets", id(&dataset), json!({ "file_size": 4711, "hash": "4711", "qc": "WARNING" })),
        ("sessions", id(&session), json!({ "task_protocol": "edited \"so\"", "number": 12 })),
        ("insertions", id(&insertion), json!({ "json": { "qc": "PASS", "picks": [[1.50, 2]] } })),
    ];
    for (endpoint, id, body) in edits {
        // Alyx makes an insertion's datasets anew where it is saved: that is another change.
        if endpoint == "insertions" {
            change(&alyx, &format!("/{endpoint}/{id}"), json!({ "serial": "x" })).await;
            kept.now().await;
        }
        change(&alyx, &format!("/{endpoint}/{id}"), body).await;
        alyx.forget_requests();
        catch_up(&kept, endpoint).await;
        asked_only(&alyx, endpoint);
        whole(&alyx.url(), &kept.mirror).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_renamed_takes_all_that_show_it_along() {
    let (alyx, _folder, kept) = mirrored().await;
    kept.now().await;
    alyx.forget_requests();
    kept.now().await;
    let usual = alyx.requests().len();
    let (session, _, _) = session(&alyx).await;
    let nickname = session["subject"].as_str().unwrap();
    change(&alyx, &format!("/subjects/{nickname}"), json!({ "nickname": "renamed" })).await;
    let theirs = records(&alyx, "sessions").await;
    assert!(theirs.iter().filter(|one| one["subject"] == "renamed").count() > 3);
    alyx.forget_requests();
    kept.now().await;
    let asked: Vec<_> = alyx.requests().into_iter().map(|asked| asked.path_and_query).collect();
    // No list is read once more. Its own detail is, and those of sessions whose trajectories show it, of which there is no rule.
    let probed: std::collections::HashSet<String> = records(&alyx, "insertions")
        .await
        .iter()
        .filter(|one| one["session_info"]["subject"] == "renamed")
        .map(|one| one["session"].to_string())
        .collect();
    let lists = asked.iter().filter(|path| path.contains('?')).count();
    let details = asked.len() - lists;
    assert!(lists <= usual && details <= 2 + probed.len(), "{usual} without it, {asked:#?}");
    whole(&alyx.url(), &kept.mirror).await;
}

/// As `FileRecord.objects.update()` in a script: no time says so, neither the file's nor its dataset's.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_script_moves_is_elsewhere_in_its_dataset_at_once() {
    for (read, other) in [("files", "datasets"), ("datasets", "files")] {
        let (alyx, lens, folder, kept) = mirrored_in_one_sweep().await;
        let (_, _, dataset) = session(&alyx).await;
        let path = dataset["file_records"][0]["relative_path"].as_str().unwrap().to_owned();
        let with_id = |path: &str| {
            let (stem, extension) = path.rsplit_once('.').unwrap();
            format!("{stem}.{}.{extension}", id(&dataset))
        };
        let moved = format!("moved/{path}");
        let (from, to) = (with_id(&path), with_id(&moved));
        lens.show(move |_, status, body| (status, body.replace(&path, &moved).replace(&from, &to)));
        // Read as a whole, as once a day.
        let connection = rusqlite::Connection::open(folder.path().join("mirror.db")).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        connection.execute("UPDATE state SET listed_at = 0 WHERE endpoint = ?1", [read]).unwrap();
        assert!(kept.synchroniser.cycle(Cycle::Now(&[Endpoint::named(read).unwrap()])).await.is_empty());
        equal_of(&lens.url(), &kept.mirror, &[read, other]).await;
        for (endpoint, field) in [("sessions", "url"), ("insertions", "id")] {
            details_equal(&lens.url(), &kept.mirror, endpoint, field).await;
        }
    }
}
