//! The same request again is answered without looking at it twice, and never with what is no longer right.

use crate::support::{Answer, Client, Lab, Proxy, Setup, lab, users};
use serde_json::json;

const LIST: &str = "/sessions?limit=3";
const RECORD: &str = "/subjects/one";

/// Asks until the answer is one that is given again without a second look: the third at the latest.
async fn primed(client: &Client, path: &str) -> Answer {
    client.get(path).await.expect(200);
    client.get(path).await.expect(200);
    let again = client.get(path).await.expect(200);
    assert!(again.cache().hit(), "{}", again.describe());
    again
}

async fn open() -> (Lab, Proxy) {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    (lab, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_grows_older_and_counts_like_any_other() {
    let (lab, proxy) = open().await;
    let first = primed(&proxy.client(), RECORD).await;
    let before = proxy.status().await["responses"]["memory"].as_u64().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let later = proxy.get(RECORD).await.expect(200);
    assert!(later.age() >= first.age().map(|age| age + 2), "{}", later.describe());
    assert!(later.cache().ttl() < first.cache().ttl(), "{}", later.describe());
    assert_eq!(first.body, later.body);
    assert_eq!(proxy.status().await["responses"]["memory"], before + 1);
    assert_eq!(lab.count(RECORD), 1);
    let id = |answer: &Answer| answer.header("x-request-id").unwrap().to_owned();
    assert_ne!(id(&first), id(&later), "each request has a name of its own");
    let named = proxy.client().ask("GET", RECORD).header("x-request-id", "mine").send().await;
    assert_eq!(id(&named), "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_gets_another_answer() {
    let (lab, proxy) = open().await;
    let client = proxy.client();
    let usual = primed(&client, LIST).await;
    let ask = |name: &'static str, value: &'static str| client.ask("GET", LIST).header(name, value).send();
    let elsewhere = ask("host", "lab-server:8040").await.expect(200);
    assert!(elsewhere.text().contains("http://lab-server:8040/sessions"), "{}", elsewhere.text());
    assert_eq!(ask("accept-encoding", "gzip").await.expect(200).header("content-encoding"), Some("gzip"));
    let tag = usual.header("etag").unwrap().to_owned();
    client.ask("GET", LIST).header("if-none-match", &tag).send().await.expect(304);
    assert!(client.ask("HEAD", LIST).send().await.expect(200).body.is_empty());
    let count = lab.count("/sessions");
    assert!(ask("cache-control", "no-cache").await.expect(200).cache().fwd().is_some());
    assert_eq!(lab.count("/sessions"), count + 1);
    let explained = ask("x-alyx-proxy-explain", "1").await.expect(200).json();
    assert_eq!(explained["decision"], "stored");
    client.anonymous().get(LIST).await.expect(403);
    client.with_authorization("Token 0123456789").get(LIST).await.expect(403);
    assert_eq!(
        client.get(LIST).await.expect(200).header("content-encoding"),
        None,
        "and the first as before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_seen_at_once() {
    let (lab, proxy) = open().await;
    let client = proxy.client();

    // A write through this proxy. (Who writes has details from Alyx for an hour, and nothing of them again.)
    primed(&client, RECORD).await;
    let new = lab.renew();
    let writer = proxy.client().with(users::ADMIN);
    writer.ask("PATCH", RECORD).json(&json!({ "description": "new" })).send().await.expect(200);
    assert_eq!(lab::version(&client.get(RECORD).await.expect(200).json()), new);

    // A newer first page: later ones from before no longer count.
    let later = "/sessions?limit=3&offset=3";
    client.get(LIST).await.expect(200);
    primed(&client, later).await;
    let new = lab.renew();
    client.ask("GET", LIST).header("cache-control", "no-cache").send().await.expect(200);
    assert_eq!(lab::version(&client.get(later).await.expect(200).json()), new);

    // Stored answers are purged.
    primed(&client, RECORD).await;
    let new = lab.renew();
    let token = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    let admin = client.with_authorization(&format!("Bearer {token}"));
    admin.ask("POST", "/-/api/purge").json(&json!({ "endpoint": "subjects" })).send().await.expect(200);
    assert_eq!(lab::version(&client.get(RECORD).await.expect(200).json()), new);

    // Alyx refuses the token, and says so to another question.
    primed(&client, RECORD).await;
    lab.revoke(users::ONEUSER);
    client.ask("GET", "/labs").header("cache-control", "no-cache").send().await;
    client.get(RECORD).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_that_alyx_is_away_and_is_not_fresh_for_longer_than_others() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("freshness.records", "2s")
        .set("cache.stale_while_revalidate", "0s")
        .start()
        .await;
    let client = proxy.client();
    primed(&client, RECORD).await;
    let new = lab.renew();
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    assert_eq!(lab::version(&client.get(RECORD).await.expect(200).json()), new, "its time was over");

    primed(&client, RECORD).await;
    drop(lab);
    client.get("/weighings").await;
    proxy.until_upstream_is("down").await;
    let away = client.get(RECORD).await.expect(200);
    assert!(away.header("alyx-api-notice").is_some(), "{}", away.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_no_older_than_the_request_allows() {
    let (lab, proxy) = open().await;
    let ask = || proxy.client().ask("GET", RECORD).header("cache-control", "max-age=1").send();
    for _ in 0..3 {
        ask().await.expect(200);
    }
    let new = lab.renew();
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(lab::version(&ask().await.expect(200).json()), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_judged_anew_when_its_time_is_over() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("access.token_ttl", "2s").start().await;
    let client = proxy.client();
    primed(&client, RECORD).await;
    lab.revoke(users::ONEUSER);
    tokio::time::sleep(std::time::Duration::from_millis(2200)).await;
    client.get(RECORD).await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_what_the_read_then_gets() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("freshness.records", "1s")
        .set("cache.stale_while_revalidate", "1m")
        .start()
        .await;
    let client = proxy.client();
    let explained = async || {
        let explain = client.ask("GET", RECORD).header("x-alyx-proxy-explain", "1");
        explain.send().await.expect(200).json()["decision"].clone()
    };
    client.get("/labs").await.expect(200);
    assert_eq!(explained().await, "forwarded");
    assert_eq!(client.get(RECORD).await.cache().get("fwd"), Some("uri-miss"));
    assert_eq!(explained().await, "stored");
    assert!(client.get(RECORD).await.cache().hit());
    // Out of date, and given while it is refreshed.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(explained().await, "stored");
    let stale = client.get(RECORD).await;
    assert!(stale.cache().hit() && stale.header("alyx-api-notice").is_some(), "{}", stale.describe());
}
