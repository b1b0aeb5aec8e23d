//! What strangers see of the proxy's own pages: counts and kinds, and no name of a record, a lab, a host, a file, a snapshot.

use std::{sync::Arc, time::Duration};

use crate::support::{
    Answer, Lab, Proxy, Setup, command,
    lens::{Broken, Lens},
    miniature, users,
};

/// What is shown besides the proxy's own pages.
const OTHERS: &[&str] = &[
    "/-/ready",
    "/-/health",
    "/-/explore/sessions",
    "/-/explore/sessions.json",
    "/-/docs/mirror",
    "/-/docs/settings",
    "/-/one-setup.py",
    "/-/api/offline",
];

async fn walk(proxy: &Proxy, marks: &[&str]) {
    let made_up = format!("Token {}", users::UNKNOWN_TOKEN);
    for path in super::OWN.iter().chain(OTHERS) {
        for authorization in ["", &made_up, "Bearer none", "Bearer "] {
            let ask = proxy.client().anonymous().ask("GET", path);
            let ask = if authorization.is_empty() { ask } else { ask.header("authorization", authorization) };
            let answer: Answer = ask.send().await;
            let said = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
            for mark in marks {
                assert!(!said.contains(mark), "{path} tells {authorization:?} of {mark}: {said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_names_of_records_labs_and_hosts() {
    let alyx = miniature::start_for_all().await;
    let lens = Lens::before(&alyx.url()).await;
    let session: serde_json::Value =
        serde_json::from_str(&miniature::list(&alyx, "sessions").await.remove(3)).unwrap();
    let bad = format!("/sessions/{}", session["id"].as_str().unwrap());
    let lab = session["lab"].as_str().unwrap().to_owned();
    lens.break_at(&bad, Broken::Status(403));
    let proxy = Setup::new(&lens.url())
        .set("mirror.username", "demo")
        .set("mirror.password", "demo")
        .set("mirror.endpoints", "sessions,subjects,labs,projects")
        .set("mirror.details", "sessions")
        .set("mirror.scope.sessions.lab", &lab)
        .set("upstream.timeout", "2s")
        .start()
        .await;
    let start = std::time::Instant::now();
    while !proxy.status().await["mirror"]["tables"].to_string().contains(&bad) {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "the record is not named: {:#}",
            proxy.status().await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let host = lens.url().trim_start_matches("http://").to_owned();
    let key = bad.trim_start_matches("/sessions/").to_owned();
    // Its owner sees all of it, and so does who is logged in.
    let told = proxy.status().await.to_string();
    assert!([&key, &lab, &host].iter().all(|mark| told.contains(*mark)), "{told}");
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    let page = proxy.get("/-/mirror").await.expect(200);
    assert!(page.text().contains(&key) && page.text().contains(&lab), "{}", page.text());
    let guest = proxy.client().anonymous().get("/-/mirror.json").await.expect(200).json();
    let sessions =
        guest["mirror"]["tables"].as_array().unwrap().iter().find(|table| table["endpoint"] == "sessions");
    assert_eq!(sessions.unwrap()["unreadable_count"], 1, "they are counted: {guest}");
    assert_eq!(sessions.unwrap()["scope"], serde_json::json!(["lab"]));
    walk(&proxy, &[&key, &lab, &host]).await;
    // All of it again when Alyx fails, in other words.
    lens.show(|_, _, _| (400, "{\"detail\":\"No.\",\"status_code\":400}".to_owned()));
    let sync = proxy.client().ask("POST", "/-/api/sync").json(&serde_json::json!({ "wait": true }));
    sync.header("authorization", &format!("Bearer {}", proxy.admin_token())).send().await;
    walk(&proxy, &[&key, &lab, &host]).await;
    drop(lens);
    drop(alyx);
    proxy.get("/labs?never=asked").await;
    walk(&proxy, &[&key, &lab, &host]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_names_of_files_and_snapshots() {
    let lab = Arc::new(Lab::open().await);
    let mut proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.tar.zst");
    let export = ["export", "--name", "mark-of-a-snapshot", file.to_str().unwrap()];
    command::done(&command::run_for(&proxy, &export));
    proxy.terminate().await;
    std::fs::write(proxy.database(), vec![7; 100_000]).unwrap();
    let proxy = proxy.restart().await;
    let aside = proxy.status().await["quarantined_file"].as_str().unwrap().to_owned();
    let home = proxy.data_dir().parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    assert!(aside.contains(&home), "{aside}");
    walk(&proxy, &[&home, &lab.url()]).await;
    let frozen = Setup::of_snapshot(&file).start().await;
    assert_eq!(frozen.status().await["snapshot"]["name"], "mark-of-a-snapshot");
    walk(&frozen, &["mark-of-a-snapshot", &lab.url()]).await;
}
