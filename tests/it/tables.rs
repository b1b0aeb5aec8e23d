//! Issue "For the people in the lab", acceptance 5: ONE's cache tables, made of what is mirrored, are as good to ONE as
//! the proxy that they come from.

use std::fs;

use crate::one::{LOCAL, Login, One};
use crate::support::{Break, Breaker, Proxy, Setup, command, miniature, users};
use alyx_proxy::miniature::{Miniature, Options};
use serde_json::{Value, json};

/// A miniature Alyx, of whose sessions all have a start time: ONE's own search fails on others.
async fn miniature() -> Miniature {
    with(Options::default()).await
}

async fn with(options: Options) -> Miniature {
    miniature::start(options).await
}

async fn mirroring(alyx: &Miniature, endpoints: &[&str]) -> Proxy {
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &endpoints.join(","))
        .set("mirror.details", "sessions")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(endpoints.len()).await;
    proxy
}

/// Runs `alyx-proxy tables` beside the running proxy.
fn tables(alyx: &Miniature, proxy: &Proxy, to: &str) -> std::process::Output {
    let (data_dir, upstream) = (proxy.data_dir(), format!("upstream.url={}", alyx.url()));
    command::run(&["tables", to, "--json", "--data-dir", data_dir.to_str().unwrap(), "--set", &upstream])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_finds_in_the_tables_what_it_finds_through_the_proxy() {
    let alyx = miniature().await;
    let proxy =
        mirroring(&alyx, &["sessions", "datasets", "data-repository", "labs", "subjects", "projects"]).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("tables");
    let told: Value =
        serde_json::from_str(&command::done(&tables(&alyx, &proxy, folder.to_str().unwrap()))).unwrap();
    let info: Value = serde_json::from_slice(&fs::read(folder.join("cache_info.json")).unwrap()).unwrap();
    assert_eq!(info, told["info"]);
    assert_eq!(info["origin"], "127.0.0.1");
    assert!(info["tables"]["datasets"]["nrecs"].as_u64().unwrap() > 1_000, "{info}");
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    let all = proxy.get("/sessions?limit=1000").await.expect(200).json();
    let whole = |session: &&Value| {
        ["subject", "start_time", "number", "lab"].iter().all(|field| !session[field].is_null())
    };
    let all = all["results"].as_array().unwrap();
    let whole = all.iter().filter(whole).count();
    assert!(whole < all.len(), "some sessions lack what ONE needs");
    assert_eq!(info["tables"]["sessions"]["nrecs"], whole);

    let zip = home.path().join("cache.zip");
    command::done(&tables(&alyx, &proxy, zip.to_str().unwrap()));
    let mut archive = zip::ZipArchive::new(fs::File::open(&zip).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names, ["sessions.pqt", "datasets.pqt", "cache_info.json"]);
    for name in names {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name(&name).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, fs::read(folder.join(&name)).unwrap(), "{name}");
    }
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left lying about: {left:?}");

    let url = proxy.url();
    let document = tokio::task::spawn_blocking(move || {
        let login = Login::Password { username: users::ONEUSER.name, password: users::ONEUSER.password };
        (One::newest().run_at(home.path(), LOCAL, &url, login), home)
    });
    let (document, _home) = document.await.unwrap();
    let mut compared = 0;
    for (name, local) in &document.results {
        let Some(step) = name.strip_prefix("local: ") else { continue };
        assert_eq!(local, document.get(&format!("remote: {step}")), "{step}");
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
    for some in ["search lab", "search datasets", "search quality", "search lab and day"] {
        assert!(document.count(&format!("local: {some}")) > 0, "{some}");
    }
    assert_eq!(document.get("qualities"), &json!(["NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL"]));
    assert_eq!(document.get("quality is ordered"), &json!(true));
    assert_eq!(document.get("types")["file_size"], "UInt64");
    assert_eq!(document.get("origin"), &json!(["127.0.0.1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named() {
    let alyx = miniature().await;
    let proxy = mirroring(&alyx, &["sessions", "data-repository"]).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("tables");
    let said = command::failed(&tables(&alyx, &proxy, to.to_str().unwrap()), 1);
    assert!(said.contains("/datasets") && said.contains("alyx-proxy sync"), "{said}");
    assert!(!to.exists(), "nothing is made");
    let elsewhere =
        command::run(&["tables", to.to_str().unwrap(), "--data-dir", folder.path().to_str().unwrap()]);
    assert!(command::failed(&elsewhere, 1).contains("nothing of"), "{elsewhere:?}");
}

const NEEDED: [&str; 3] = ["sessions", "datasets", "data-repository"];

#[tokio::test(flavor = "multi_thread")]
async fn where_alyx_offers_none_the_proxy_makes_its_own() {
    let alyx = with(Options { cache_tables: false, ..Options::default() }).await;
    let proxy = mirroring(&alyx, &NEEDED).await;
    let info = proxy.get("/cache/info/").await.expect(200);
    assert_eq!(info.header("cache-status"), Some("alyx-proxy; hit; detail=mirror"));
    let info = info.json();
    assert_eq!(info["origin"], "127.0.0.1");
    let zip = proxy.get("/cache.zip").await.expect(200);
    assert_eq!(zip.header("content-type"), Some("application/zip"));
    let member = |zip: &[u8], name: &str| {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip.to_vec())).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name(name).unwrap(), &mut bytes).unwrap();
        bytes
    };
    let inside: Value = serde_json::from_slice(&member(&zip.body, "cache_info.json")).unwrap();
    assert_eq!(inside, info, "the description is that of the tables");
    let part = proxy.client().ask("GET", "/cache.zip").header("range", "bytes=0-3").send().await.expect(206);
    assert_eq!(&part.body[..], b"PK\x03\x04");
    let of_tag = proxy.get("/cache.zip?tag=2022_Q4").await.expect(404);
    assert!(of_tag.text().contains("/cache/info/"), "tables of a tag are Alyx's alone");
    proxy.get("/labs").await.expect(200);

    alyx.cut();
    let info = proxy.get("/cache/info/").await.expect(200);
    let zip = proxy.get("/cache.zip").await.expect(200);
    assert!(info.header("cache-status").unwrap().contains("mirror, offline"), "{info:?}");
    let inside: Value = serde_json::from_slice(&member(&zip.body, "cache_info.json")).unwrap();
    assert_eq!(inside, info.json());
    let length = zip.body.len().to_string();
    let head = proxy.client().ask("HEAD", "/cache.zip").send().await.expect(200);
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let stranger = proxy.client().with_authorization("Token 0123456789012345678901234567890123456789");
    stranger.ask("GET", "/cache.zip").send().await.expect(504);
}

/// An Alyx without its database says 500 to everybody, and does not look who asks.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_tables_or_explanations_while_alyx_judges_nobody() {
    let alyx = miniature().await;
    let breaker = Breaker::before(alyx.addr()).await;
    let proxy = Setup::new(&breaker.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &NEEDED.join(","))
        .start()
        .await;
    proxy.until_mirrored(NEEDED.len()).await;
    let unknown = "Token 0123456789012345678901234567890123456789";
    for status in [404, 500] {
        breaker.set(Break::Gateway(status)).await;
        for client in [proxy.client().anonymous(), proxy.client().with_authorization(unknown)] {
            for path in ["/cache/info/", "/cache.zip"] {
                let answer = client.get(path).await;
                assert_eq!(answer.status, status, "{path}: {}", answer.describe());
            }
            let explain = client.ask("GET", "/sessions?lab=cortexlab").header("x-alyx-proxy-explain", "1");
            let answer = explain.send().await;
            assert_eq!(answer.status, status, "{}", answer.describe());
        }
        breaker.set(Break::Nothing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_part_of_alyx_no_tables_are_made_unasked() {
    let alyx = with(Options { cache_tables: false, ..Options::default() }).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &NEEDED.join(","))
        .set("mirror.scope.sessions.lab", "cortexlab")
        .start()
        .await;
    proxy.until_mirrored(NEEDED.len()).await;
    for path in ["/cache/info/", "/cache.zip"] {
        assert_eq!(proxy.get(path).await.status, 500, "what Alyx says: {path}");
    }
    proxy.get("/labs").await.expect(200);
    alyx.cut();
    for path in ["/cache/info/", "/cache.zip"] {
        assert_eq!(proxy.get(path).await.status, 504, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_a_proxy_elsewhere_are_fetched_by_its_url() {
    let alyx = miniature().await;
    let proxy = mirroring(&alyx, &["sessions", "datasets", "data-repository"]).await;
    let home = tempfile::tempdir().unwrap();
    let run = |to: &str, token: &str| {
        let to = home.path().join(to);
        let run = ["tables", to.to_str().unwrap(), "--json", "--url", &proxy.url(), "--token", token];
        command::run(&run)
    };
    let token = users::ONEUSER.token;
    // By a token that this proxy has not seen before.
    let told: Value = serde_json::from_str(&command::done(&run("folder", token))).unwrap();
    let offered = proxy.get("/cache.zip").await.expect(200);
    let mut offered = zip::ZipArchive::new(std::io::Cursor::new(offered.body)).unwrap();
    let names: Vec<String> = offered.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(told["files"], json!(names));
    for name in &names {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut offered.by_name(name).unwrap(), &mut bytes).unwrap();
        assert_eq!(bytes, fs::read(home.path().join("folder").join(name)).unwrap(), "{name}");
    }
    command::done(&run("cache.zip", token));
    assert_eq!(
        zip::ZipArchive::new(fs::File::open(home.path().join("cache.zip")).unwrap()).unwrap().len(),
        names.len()
    );

    // Who may not have them leaves nothing behind, and what was there stays.
    let refused = run("folder", users::UNKNOWN_TOKEN);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Invalid token."), "{refused:?}");
    assert!(names.iter().all(|name| home.path().join("folder").join(name).exists()));
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left lying about: {left:?}");
}
