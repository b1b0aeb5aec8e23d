//! Whatever an earlier version has stored, this one goes on with: stored data directories of every schema.

use std::path::{Path, PathBuf};

use crate::support::{Setup, proxy::database, users};

/// The upstream of the stored directories; nobody listens there.
const UPSTREAM: &str = "http://127.0.0.1:9";
/// Whose token those with a mirror were made by.
const MIRRORS: &str = "d3300d3300d3300d3300d3300d3300d3300d3300";
const STORED: [&str; 3] = ["/labs", "/sessions?limit=3", "/subjects/other"];
/// The same, written after it was stored.
const WRITTEN: &str = "/subjects/KS004";

fn stored(schema: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/stored/schema-{schema}.tar.zst"))
}

fn version(database: &Path) -> usize {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_every_earlier_version_has_stored_is_answered() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    // Those of other databases have folders of their own.
    let own = |entry: &std::fs::DirEntry| entry.path().extension().is_some_and(|ending| ending == "sql");
    let schemas = std::fs::read_dir(migrations).unwrap().filter(|entry| own(entry.as_ref().unwrap())).count();
    assert!(schemas > 3, "{schemas}");
    for schema in 1..=schemas {
        let file = stored(schema);
        let packed = std::fs::File::open(&file).unwrap_or_else(|e| {
            panic!("{}: {e}; a new migration needs one (see README.md there)", file.display())
        });
        let setup = Setup::new(UPSTREAM);
        tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(setup.data_dir()).unwrap();
        let database = database(&setup.data_dir());
        assert_eq!(version(&database), schema, "{}", file.display());
        let proxy = setup.start().await;
        // What was written through the proxy after it was stored is not given while Alyx is away: it is the state before.
        let before = proxy.get(WRITTEN).await.expect(504);
        assert_eq!(before.cache().get("detail"), Some("written"), "schema {schema}: {}", before.describe());
        for target in STORED {
            let answer = proxy.get(target).await.expect(200);
            assert!(answer.cache().hit(), "schema {schema}: {}", answer.describe());
            let name = target.split(['/', '?']).nth(1).unwrap();
            let body = answer.json();
            let record = body.pointer("/results/0").unwrap_or(&body);
            assert!(
                record["url"].as_str().unwrap().starts_with(&format!("{}/{name}/", proxy.url())),
                "{body}"
            );
        }
        // Who was let in is let in, with token and with password; nobody else is.
        let unknown = format!("Token {}", users::UNKNOWN_TOKEN);
        proxy.client().with_authorization(&unknown).get("/labs").await.expect(504);
        let log_in = |password: &str| {
            let form = [("username", users::ONEUSER.name), ("password", password)];
            proxy.client().anonymous().ask("POST", "/auth-token").multipart(&form)
        };
        let answer = log_in(users::ONEUSER.password).send().await.expect(200);
        assert_eq!(answer.json()["token"], users::ONEUSER.token, "schema {schema}");
        assert_ne!(log_in("wrong").send().await.status, 200);
        let mut proxy = proxy;
        proxy.terminate().await;
        assert_eq!(version(&database), schemas, "schema {schema} was brought up to date");
        let connection = rusqlite::Connection::open(&database).unwrap();
        let marks: i64 = connection.query_row("SELECT count(*) FROM marks", [], |row| row.get(0)).unwrap();
        assert!(marks > 0, "schema {schema}: what was written is not forgotten");
        let answers: i64 =
            connection.query_row("SELECT count(*) FROM responses", [], |row| row.get(0)).unwrap();
        assert!(answers >= 4, "schema {schema}: nothing that was stored is gone, but {answers}");
    }
}

/// A data directory with a mirror of this form.
fn mirrored(form: usize) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/stored/mirror-{form}.tar.zst"))
}

/// The index of the data files has forms of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_every_earlier_version_has_kept_of_data_files_is_given() {
    const ALICE: &str = "Basic YWxpY2U6d29uZGVyLWxhbmQtMQ==";
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/files");
    let now = std::fs::read_dir(migrations).unwrap().count();
    for form in 1..now {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/stored/files-{form}.tar.zst"));
        let packed = std::fs::File::open(&file).unwrap_or_else(|e| {
            panic!(
                "{}: {e}; a new migration needs one of the form before (see README.md there)",
                file.display()
            )
        });
        // Whoever was given a file counts for as long as can be said.
        let setup = Setup::new(UPSTREAM)
            .set("files.enabled", "true")
            .set("files.origin", UPSTREAM)
            .set("access.grace", "3650d");
        tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(setup.data_dir()).unwrap();
        let places = std::fs::read_dir(setup.data_dir().join("data-files")).unwrap();
        let index = places.map(|place| place.unwrap().path().join("index.db")).next().unwrap();
        assert_eq!(version(&index), form);
        let mut proxy = setup.start().await;
        let alice = proxy.client().with_authorization(ALICE);
        let plain = alice.get("/-/data/lab/plain.bin").await.expect(200);
        let right: Vec<u8> = (0..=255).cycle().take(102_400).collect();
        assert!(plain.body == right, "form {form}");
        // Of this one Alyx's record is not here.
        let other = "/-/data/lab/spikes.times.0f5a9c9e-2b5a-4b6a-9a53-2f7f2c2f3c11.npy";
        alice.get(other).await.expect(504);
        proxy.client().anonymous().get("/-/data/lab/plain.bin").await.expect(401);
        proxy.terminate().await;
        assert_eq!(version(&index), now, "form {form} was brought up to date");
    }
}

/// The mirror's file has forms of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_every_earlier_version_has_mirrored_is_answered() {
    for form in 1.. {
        let file = mirrored(form);
        let packed = std::fs::File::open(&file).unwrap_or_else(|e| {
            panic!("{}: {e}; a new form needs one of the form before (see README.md there)", file.display())
        });
        let setup =
            Setup::new(UPSTREAM).set("mirror.token", MIRRORS).set("mirror.endpoints", "tags,weighings");
        tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(setup.data_dir()).unwrap();
        let mirror = database(&setup.data_dir()).with_file_name("mirror.db");
        assert_eq!(version(&mirror), form, "{}", file.display());
        let mut proxy = setup.start().await;
        let client = proxy.client().with_authorization(&format!("Token {MIRRORS}"));
        for (target, count) in [("/tags?limit=2", 15), ("/weighings?limit=1", 230)] {
            let answer = client.get(target).await.expect(200);
            assert!(answer.cache().text.contains("mirror"), "form {form}: {}", answer.describe());
            assert_eq!(answer.json()["count"], count, "form {form}: {target}");
        }
        proxy.terminate().await;
        let now = version(&mirror);
        assert!(now > form, "form {form} was brought up to date");
        let aside = std::fs::read_dir(mirror.parent().unwrap()).unwrap();
        let aside =
            aside.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("damaged"));
        assert_eq!(aside.count(), 0, "form {form}: nothing was set aside");
        if now == form + 1 {
            break;
        }
    }
}

/// Columns and indexes that a version has anew are made from the texts that lie there: nobody is asked for them.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_mirrored_in_another_form_is_answered_without_alyx() {
    let last = (1..99).take_while(|form| mirrored(*form).exists()).last().unwrap();
    let setup = Setup::new(UPSTREAM).set("mirror.token", MIRRORS).set("mirror.endpoints", "tags,weighings");
    let packed = std::fs::File::open(mirrored(last)).unwrap();
    tar::Archive::new(zstd::Decoder::new(packed).unwrap()).unpack(setup.data_dir()).unwrap();
    let mirror = database(&setup.data_dir()).with_file_name("mirror.db");
    let connection = rusqlite::Connection::open(&mirror).unwrap();
    let another = "UPDATE state SET shape = 'another'; DROP TABLE weighings; CREATE TABLE weighings(n INTEGER PRIMARY KEY);
                   CREATE TABLE tags__gone(n)";
    connection.execute_batch(another).unwrap();
    drop(connection);
    let mut proxy = setup.start().await;
    let client = proxy.client().with_authorization(&format!("Token {MIRRORS}"));
    for (target, count) in
        [("/tags?limit=2", 15), ("/weighings?limit=1", 230), ("/weighings?django=weight__gt,0", 230)]
    {
        let answer = client.get(target).await.expect(200);
        assert!(answer.cache().text.contains("mirror"), "{}", answer.describe());
        assert_eq!(answer.json()["count"], count, "{target}");
    }
    assert!(proxy.output().contains("brought to this version's form"), "{}", proxy.output());
    proxy.terminate().await;
}
