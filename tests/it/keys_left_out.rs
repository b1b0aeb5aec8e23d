//! A record that is less than Alyx's never looks like Alyx's: keys that were left out of a snapshot are not given as
//! empty ones, which somebody would write back over the full ones.

use std::{io::Write, path::Path};

use alyx_proxy::miniature::Miniature;
use serde_json::Value;

use crate::support::{Answer, Proxy, Setup, command, miniature, users};

const WHY: &str = "its keys were left out of the snapshot";

async fn cut(alyx: &Miniature, proxy: &Proxy) {
    alyx.cut();
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await;
    proxy.until_upstream_is("down").await;
}

/// A repository with keys, and one without.
async fn repositories(alyx: &Miniature) -> (String, String) {
    let list: Vec<Value> = miniature::list(alyx, "data-repository")
        .await
        .iter()
        .map(|text| alyx_proxy::alyx::record::parse(text))
        .collect();
    let has_keys =
        |record: &&Value| record["json"]["Secret access key"].as_str().is_some_and(|key| !key.is_empty());
    let name = |record: &Value| record["name"].as_str().unwrap().to_owned();
    let with = list.iter().find(has_keys).map(name).expect("a repository with keys");
    let without = list.iter().find(|record| !has_keys(record)).map(name).expect("one without");
    (with, without)
}

fn exported(proxy: &Proxy, file: &Path) {
    command::done(&command::run_for(proxy, &["export", file.to_str().unwrap()]));
}

fn refused(answer: Answer, about: &str) {
    let answer = answer.expect(504);
    assert!(answer.text().contains(WHY), "{about}: {}", answer.text());
    assert_eq!(answer.cache().get("detail"), Some("keys-left-out"), "{about}");
}

/// Everything that would show a record which the keys were left out of is refused, and what needs none is given.
async fn gives_nothing_that_is_less(proxy: &Proxy, with: &str, without: &str, mirrored: bool) {
    let detail = format!("/data-repository/{with}");
    for question in [detail.as_str(), "/data-repository"] {
        refused(proxy.get(question).await, question);
        let explore = proxy.get(&format!("/-/explore{question}.json")).await;
        assert!(!explore.text().contains("Secret access key\\\":\\\"\\\""), "{}", explore.text());
    }
    if mirrored {
        for question in [
            "/data-repository?django=json__icontains,AKIA",
            "/datasets?limit=1&django=file_records__data_repository__json__icontains,AKIA",
        ] {
            let answer = proxy.get(question).await;
            assert_eq!(answer.status, 504, "{question}: {}", answer.describe());
        }
        proxy.get(&format!("/data-repository/{without}")).await.expect(200);
        proxy.get("/labs").await.expect(200);
    }
}

/// As revisions before this one have written it: secrets are empty texts, and nothing tells of it.
fn as_before(file: &Path, to: &Path) {
    let mut archive = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(file).unwrap()).unwrap());
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        let text =
            text.replace(alyx_proxy::alyx::redact::LEFT_OUT, "").replace(",\"secrets_marked\":true", "");
        let mut header = tar::Header::new_ustar();
        header.set_path(&name).unwrap();
        header.set_size(text.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    let mut bytes = tar.into_inner().unwrap().finish().unwrap();
    let checksum = blake3::hash(&bytes);
    bytes.write_all(&[0x5D, 0x2A, 0x4D, 0x18, 40, 0, 0, 0]).unwrap();
    bytes.write_all(b"ALYXSNAP").unwrap();
    bytes.write_all(checksum.as_bytes()).unwrap();
    std::fs::write(to, bytes).unwrap();
}

async fn is_never_given(mirrored: bool) {
    let alyx = miniature::start_for_all().await;
    let (with, without) = repositories(&alyx).await;
    let detail = format!("/data-repository/{with}");
    let setup = Setup::new(&alyx.url());
    let setup = if mirrored {
        setup
            .set("mirror.token", users::ADMIN.token)
            .set("mirror.endpoints", "data-repository,labs,datasets")
            .set("mirror.verify_per_minute", "0")
    } else {
        setup
    };
    let proxy = setup.start().await;
    if mirrored {
        proxy.until_mirrored(3).await;
    } else {
        proxy.get("/data-repository").await.expect(200);
    }
    let whole = proxy.get(&detail).await.expect(200).text().replace(&proxy.url(), "BASE");
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("lab.tar.zst"), folder.path().join("old.tar.zst"));
    exported(&proxy, &file);
    as_before(&file, &old);
    for snapshot in [&file, &old] {
        let frozen = Setup::of_snapshot(snapshot).with_the_word(&["--unsigned"]).start().await;
        gives_nothing_that_is_less(&frozen, &with, &without, mirrored).await;
        drop(frozen);

        let there = Setup::new(&alyx.url()).set("access.anonymous", "true").start().await;
        cut(&alyx, &there).await;
        let import = ["import", snapshot.to_str().unwrap(), "--once", "--unsigned"];
        command::done(&command::run_for(&there, &import));
        gives_nothing_that_is_less(&there, &with, &without, mirrored).await;
        // While Alyx is there it says what there is; from then on that is remembered.
        alyx.restore().await.unwrap();
        there.until_upstream_is("up").await;
        let now = there.get(&detail).await.expect(200);
        assert_eq!(now.text().replace(&there.url(), "BASE"), whole);
        cut(&alyx, &there).await;
        let again = there.get(&detail).await.expect(200);
        assert_eq!(again.text().replace(&there.url(), "BASE"), whole);
        // What is exported of an import tells of it, too.
        let second = folder.path().join("second.tar.zst");
        alyx.restore().await.unwrap();
        exported(&there, &second);
        drop(there);
        let frozen = Setup::of_snapshot(&second).start().await;
        refused(frozen.get(&detail).await, "a snapshot of an import");
        std::fs::remove_file(&second).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_less_is_given_of_tables() {
    is_never_given(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_less_is_given_of_stored_answers() {
    is_never_given(false).await;
}
