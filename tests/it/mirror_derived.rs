//! What follows from another record is computed here, as Alyx computes it, and Alyx is not asked for it.

use std::{collections::HashMap, path::Path};

use crate::{
    judge::tables,
    support::{
        kept::{Kept, mirrored, mirrored_behind_a_lens, send, whole},
        miniature, tried as noted,
    },
};
use alyx_proxy::{
    alyx::{
        ENDPOINTS,
        change_tracking::{EmbeddedIn, shows},
        derived::{BESIDES, Copied},
        record,
    },
    miniature::Miniature,
    mirror::sync::CatchUp,
};
use reqwest::Method;
use serde_json::{Value, json};

/// The least of each rule that the recordings must have.
const LEAST: usize = 50;

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
    let rules: Vec<(&EmbeddedIn, &Copied)> = ENDPOINTS
        .iter()
        .flat_map(|endpoint| shows(endpoint.name))
        .filter_map(|shown| Some((shown, shown.copied?)))
        .collect();
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
