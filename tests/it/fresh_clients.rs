//! A client that nobody has used before needs nothing that isn't here: with a synchronised mirror, a snapshot of it, or what
//! was packed, and Alyx away from the beginning.

use std::{path::Path, process::Command};

use alyx_proxy::miniature::{self as demo, Miniature, Options};
use serde_json::{Value, json};

use crate::{
    one::{Document, Login, One},
    support::{
        Client, Proxy, Setup, command,
        lens::{Broken, Lens},
        until,
    },
};

const FRESH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/fresh.py");
const SEARCH: &str = "/sessions?lab=cortexlab";
const DEMO: Login = Login::Password { username: "demo", password: "demo" };

async fn log_in(proxy: &Proxy) -> String {
    let ask = proxy.client().anonymous().ask("POST", "/auth-token");
    let login = json!({ "username": "demo", "password": "demo" });
    ask.json(&login).send().await.expect(200).json()["token"].as_str().unwrap().to_owned()
}

/// A client of the user who has logged in.
fn demo_client(proxy: &Proxy) -> Client {
    proxy.client().with_authorization(&format!("Token {}", Options::default().users[0].token))
}

/// What is asked for by its path is stored, be it in another form than a browser's.
async fn is_stored(proxy: &Proxy, path: &str, accept: &str) -> bool {
    let ask = demo_client(proxy).ask("GET", path).header("accept", accept);
    let answer = ask.header("cache-control", "only-if-cached").send().await;
    answer.cache().hit()
}

/// A proxy with a synchronised mirror that has only been logged in to.
async fn synchronised(url: &str) -> Proxy {
    let proxy = Setup::new(url)
        .set("mirror.username", "demo")
        .set("mirror.password", "demo")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    let all = async || {
        let status = proxy.status().await;
        let tables = status["mirror"]["tables"].as_array().unwrap().clone();
        let has =
            |name: &str| tables.iter().any(|table| table["endpoint"] == name && table["details"] == true);
        ["sessions", "subjects", "insertions"].iter().all(|name| has(name)) && tables.len() > 20
    };
    let start = std::time::Instant::now();
    while !all().await {
        assert!(start.elapsed().as_secs() < 120, "{:#}", proxy.status().await["mirror"]);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    log_in(&proxy).await;
    proxy
}

/// Both descriptions are here, without anybody having asked for them.
async fn until_described(proxy: &Proxy) {
    for (path, accept) in
        [("/api/schema", "application/vnd.oai.openapi+json"), ("/docs/", "application/coreapi+json")]
    {
        until("the descriptions are here", || is_stored(proxy, path, accept)).await;
    }
}

/// What a fresh ONE says, both of today and of the generation before, what MATLAB's client asks, and a browser.
async fn works_with_every_client(proxy: &Proxy, direct: &[Document; 2], session: &str, about: &str) {
    for (one, direct) in [One::newest(), One::last_of_2()].iter().zip(direct) {
        one.run_script(FRESH, &proxy.url(), DEMO).must_equal(direct, about);
    }
    let token = log_in(proxy).await;
    let matlab = proxy.client().with_authorization(&format!("Token {token}"));
    for target in [SEARCH, &format!("/sessions/{session}"), &format!("/datasets?session={session}")] {
        matlab.ask("GET", target).without("accept").send().await.expect(200);
    }
    let browser = proxy.client().anonymous();
    for page in ["/-/status", "/-/answers", "/-/docs"] {
        browser.ask("GET", page).header("accept", "text/html").send().await.expect(200);
    }
}

fn direct(alyx: &Miniature) -> ([Document; 2], String) {
    let said = [One::newest(), One::last_of_2()].map(|one| one.run_script(FRESH, &alyx.url(), DEMO));
    let session = said[0].get("first").as_str().unwrap().to_owned();
    (said, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_mirror_or_a_snapshot_of_it() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let (said, session) = direct(&alyx);
    let proxy = synchronised(&alyx.url()).await;
    until_described(&proxy).await;
    alyx.cut();
    let proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    works_with_every_client(&proxy, &said, &session, "with a mirror, Alyx away from the beginning").await;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.tar.zst");
    command::done(&command::run_for(&proxy, &["export", file.to_str().unwrap()]));
    drop(proxy);
    let frozen = Setup::of_snapshot(&file).start().await;
    works_with_every_client(&frozen, &said, &session, "with a snapshot").await;
}

fn pack(proxy: &Proxy, token: &str, home: &Path, wanted: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    command.arg("pack").args(wanted).args(["--json", "--url", &proxy.url()]).env_clear();
    command.env("HOME", home).env("ALYX_PROXY_TOKEN", token);
    serde_json::from_str(&command::done(&command.output().unwrap())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_what_was_packed() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let (said, session) = direct(&alyx);
    let proxy = Proxy::start(&alyx.url()).await;
    let token = log_in(&proxy).await;
    let home = tempfile::tempdir().unwrap();
    let told = pack(&proxy, &token, home.path(), &[SEARCH, &session]);
    assert!(
        told["wanted"].as_array().unwrap().iter().all(|wanted| wanted["works_offline"] == true),
        "{told:#}"
    );
    alyx.cut();
    let proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    works_with_every_client(&proxy, &said, &session, "with what was packed").await;
}

/// An older Alyx has no `/api/schema`; ONE then asks for the older description. That 404 is kept as any answer.
#[tokio::test(flavor = "multi_thread")]
async fn before_an_alyx_that_has_no_newer_description() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let lens = Lens::before(&alyx.url()).await;
    // Links in answers lead to where they were asked, as an Alyx's own do.
    let (own, before) = (alyx.url(), lens.url());
    lens.show(move |_, status, text| (status, text.replace(&own, &before)));
    lens.break_at("/api/schema", Broken::NotRouted);
    let (said, session) = direct(&alyx);
    let proxy = synchronised(&lens.url()).await;
    until("the 404 is kept", async || {
        let ask = demo_client(&proxy)
            .ask("GET", "/api/schema")
            .header("accept", "application/vnd.oai.openapi+json");
        lens.mend();
        let kept = ask.header("cache-control", "only-if-cached, max-stale=100000").send().await.status == 404;
        lens.break_at("/api/schema", Broken::NotRouted);
        kept
    })
    .await;
    until("the older description is here", || is_stored(&proxy, "/docs/", "application/coreapi+json")).await;
    alyx.cut();
    lens.show(|_, _, _| (502, String::new()));
    let proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    works_with_every_client(&proxy, &said, &session, "before an older Alyx").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.tar.zst");
    command::done(&command::run_for(&proxy, &["export", file.to_str().unwrap()]));
    drop(proxy);
    let frozen = Setup::of_snapshot(&file).start().await;
    works_with_every_client(&frozen, &said, &session, "with a snapshot of an older Alyx").await;
}
