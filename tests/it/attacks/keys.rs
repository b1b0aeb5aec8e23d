//! Keys of file stores, which Alyx shows in records of `/data-repository`, lie nowhere on the disk in clear: whoever has the
//! disk, or a copy without `secret.key`, has none of them. Alyx's answers have them as ever.

use std::path::{Path, PathBuf};

use alyx_proxy::miniature::Miniature;
use serde_json::Value;

use crate::support::{Answer, Proxy, Setup, miniature, proxy::database, users};

/// The upstream of the stored directory; nobody listens there.
const UPSTREAM: &str = "http://127.0.0.1:9";
/// Whose token it was made by.
const MAKER: &str = "d3300d3300d3300d3300d3300d3300d3300d3300";

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// The files that hold one of these texts, in whatever form a database may keep it.
fn holding(folder: &Path, keys: &[String]) -> Vec<PathBuf> {
    let mut found = files(folder);
    found.retain(|file| {
        let bytes = std::fs::read(file).unwrap_or_default();
        keys.iter().any(|key| memchr::memmem::find(&bytes, key.as_bytes()).is_some()) || packed(file, keys)
    });
    found
}

/// Whether a database of answers has one in a body that is only packed.
fn packed(file: &Path, keys: &[String]) -> bool {
    if file.file_name().is_none_or(|name| name != "proxy.db") {
        return false;
    }
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut bodies = connection.prepare("SELECT body FROM responses").unwrap();
    let bodies = bodies.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let plain = bodies.filter_map(|body| zstd::decode_all(body.unwrap().as_slice()).ok());
    plain.into_iter().any(|body| keys.iter().any(|key| memchr::memmem::find(&body, key.as_bytes()).is_some()))
}

/// The keys in these records, and the first record that has some.
fn keys_of(records: &[Value]) -> (Vec<String>, String) {
    let key = |record: &Value| record["json"]["Secret access key"].as_str().map(str::to_owned);
    let keys: Vec<String> = records.iter().filter_map(key).filter(|key| !key.is_empty()).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.len() > 8), "{keys:?}");
    let with = records.iter().find(|record| key(record).is_some_and(|key| !key.is_empty())).unwrap();
    (keys, format!("/data-repository/{}", with["name"].as_str().unwrap()))
}

async fn records(alyx: &Miniature) -> Vec<Value> {
    let list = miniature::list(alyx, "data-repository").await;
    list.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

async fn everything(alyx: &Miniature) -> Proxy {
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "data-repository,data-repository-type,labs")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(3).await;
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn they_lie_nowhere_in_clear_and_are_answered_as_ever() {
    let alyx = miniature::start_for_all().await;
    let (keys, detail) = keys_of(&records(&alyx).await);
    let mut proxy = everything(&alyx).await;
    let questions = ["/data-repository", "/data-repository?limit=3", &detail, "/data-repository-type"];
    let mut whole = Vec::new();
    for question in questions {
        let current = proxy.client().ask("GET", question).header("cache-control", "no-cache").send().await;
        let stored = proxy.client().ask("GET", question).header("cache-control", "max-age=3600").send().await;
        let other = if question.contains('?') { "&" } else { "?" };
        let mirrored = proxy.get(&format!("{question}{other}never=asked")).await.expect(200);
        assert_eq!(current.expect(200).text(), stored.expect(200).text(), "{question}");
        whole.push(stored_text(&proxy, &mirrored));
    }
    assert!(whole[2].contains(&keys[0]), "{}", whole[2]);
    let found = holding(&proxy.data_dir(), &keys);
    assert!(found.is_empty(), "while it runs: {found:?}");
    proxy.terminate().await;
    let found = holding(&proxy.data_dir(), &keys);
    assert!(found.is_empty(), "{found:?}");
    // Offline, from mirror and disk, after a restart.
    alyx.cut();
    let proxy = proxy.restart().await;
    proxy.get("/labs").await.expect(200);
    for (question, whole) in questions.iter().zip(&whole) {
        assert_eq!(stored_text(&proxy, &proxy.get(question).await.expect(200)), *whole, "{question}");
    }
    let found = holding(&proxy.data_dir(), &keys);
    assert!(found.is_empty(), "after a restart: {found:?}");
}

/// The records that an answer shows, whatever it was asked by, and at whichever address the proxy listens.
fn stored_text(proxy: &Proxy, answer: &Answer) -> String {
    let body = answer.json();
    body.get("results").unwrap_or(&body).to_string().replace(&proxy.url(), "http://proxy")
}

/// Without the folder's key they are lost, and nothing is given that is less than Alyx's.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_folders_key_nothing_of_them_is_given() {
    let alyx = miniature::start_for_all().await;
    let (_, detail) = keys_of(&records(&alyx).await);
    let mut proxy = everything(&alyx).await;
    proxy.get("/data-repository").await.expect(200);
    proxy.terminate().await;
    alyx.cut();
    std::fs::remove_file(proxy.data_dir().join("secret.key")).unwrap();
    let proxy = proxy.restart_with("access.anonymous", "true").await;
    proxy.get("/labs").await.expect(200);
    for question in ["/data-repository", &detail] {
        let answer = proxy.get(question).await;
        assert_eq!(answer.status, 504, "{question}: {}", answer.describe());
    }
}

/// A folder of before, with keys in answers and tables, and in what was deleted of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_in_clear_is_sealed_at_the_first_start() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/stored/keys-in-clear.tar.zst");
    let packed = std::fs::File::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let setup = Setup::new(UPSTREAM)
        .set("mirror.token", MAKER)
        .set("mirror.endpoints", "data-repository,data-repository-type");
    tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(setup.data_dir()).unwrap();
    let mirror = database(&setup.data_dir()).with_file_name("mirror.db");
    let list: Vec<Value> = {
        let connection = rusqlite::Connection::open(&mirror).unwrap();
        let mut texts = connection.prepare("SELECT list FROM data_repository__body").unwrap();
        let texts = texts.query_map([], |row| row.get::<_, String>(0)).unwrap();
        texts.map(|text| serde_json::from_str(&text.unwrap()).unwrap()).collect()
    };
    let (keys, detail) = keys_of(&list);
    {
        // What has been deleted lies in the file yet.
        let connection = rusqlite::Connection::open(&mirror).unwrap();
        let dropped = "CREATE TABLE copied AS SELECT list FROM data_repository__body; DROP TABLE copied";
        connection.execute_batch(dropped).unwrap();
    }
    assert_eq!(holding(&setup.data_dir(), &keys).len(), 2, "both databases");
    let mut proxy = setup.start().await;
    let client = proxy.client().with_authorization(&format!("Token {MAKER}"));
    let found = holding(&proxy.data_dir(), &keys);
    assert!(found.is_empty(), "{found:?}");
    for question in
        ["/data-repository?limit=3", "/data-repository", &detail, "/data-repository?name=never-asked"]
    {
        let answer = client.get(question).await.expect(200);
        let shows = keys.iter().any(|key| answer.text().contains(key));
        assert_eq!(shows, !question.contains("never"), "{question}: {}", answer.text());
    }
    proxy.terminate().await;
    let found = holding(&proxy.data_dir(), &keys);
    assert!(found.is_empty(), "{found:?}");
    // Once is enough.
    let log = proxy.output().matches("are sealed").count();
    let proxy = proxy.restart().await;
    assert_eq!(proxy.output().matches("are sealed").count(), log);
}
