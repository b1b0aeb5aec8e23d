//! Issue "For the people in the lab", acceptance 5: ONE's cache tables, made of what is mirrored, are as good to ONE as
//! the proxy that they come from.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod one;
mod support;

use std::fs;

use alyx_proxy::demo::{self, Miniature, Options, User};
use one::{LOCAL, Login, One};
use serde_json::{Value, json};
use support::{Proxy, Setup, command, users};

/// A miniature Alyx, of whose sessions all have a start time: ONE's own search fails on others.
async fn miniature() -> Miniature {
    let user = |user: users::User| User {
        name: user.name.to_owned(),
        password: user.password.to_owned(),
        token: user.token.to_owned(),
        public: false,
    };
    demo::start(Options { users: users::ALL.map(user).to_vec(), ..Options::default() }).await.unwrap()
}

async fn mirroring(alyx: &Miniature, endpoints: &[&str]) -> Proxy {
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &endpoints.join(","))
        .set("mirror.details", "sessions")
        .set("mirror.verify", "0")
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
