//! The same question to the mirror again is answered without looking at it twice, and never with what is no longer right.

use std::time::Duration;

use alyx_proxy::miniature::{Miniature, Options};
use serde_json::{Value, json};

use crate::support::{Answer, Proxy, Setup, miniature, users};

const TABLES: &str = "sessions,labs,subjects,projects";
const QUESTION: &str = "/sessions?number=1&limit=2";

async fn mirrored(settings: &[(&str, &str)]) -> (Miniature, Proxy) {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let setup = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", TABLES)
        .set("mirror.interval", "1h")
        .set("mirror.verify_per_minute", "0");
    let proxy = settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value)).start().await;
    proxy.until_mirrored(TABLES.split(',').count()).await;
    (alyx, proxy)
}

fn is_mirrored(answer: &Answer) -> bool {
    answer.cache().get("detail").is_some_and(|detail| detail.starts_with("mirror"))
}

/// Asks until the answer is one that is given again without a second look.
async fn primed(proxy: &Proxy, question: &str) -> Answer {
    proxy.get("/labs").await.expect(200);
    let first = proxy.get(question).await.expect(200);
    for _ in 0..2 {
        let again = proxy.get(question).await.expect(200);
        assert!(is_mirrored(&again) && again.body == first.body, "{}", again.describe());
    }
    first
}

fn first_of(answer: &Answer) -> Value {
    answer.json()["results"][0].clone()
}

fn path_of(record: &Value) -> String {
    format!("/sessions/{}", record["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_grows_older_counts_as_before_and_is_told_that_alyx_is_away() {
    let (alyx, proxy) = mirrored(&[]).await;
    let first = primed(&proxy, QUESTION).await;
    let before = proxy.status().await["responses"]["mirror"].as_u64().unwrap();
    alyx.forget_requests();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let later = proxy.get(QUESTION).await.expect(200);
    assert!(is_mirrored(&later) && later.age() > first.age(), "{}", later.describe());
    assert_eq!(proxy.status().await["responses"]["mirror"], before + 1);
    assert!(alyx.requests().is_empty(), "{:?}", alyx.requests());
    let other = proxy.client().ask("GET", QUESTION).header("host", "lab-server:8040").send().await;
    assert!(other.expect(200).text().contains("http://lab-server:8040/sessions"));
    let (writer, reader) = (users::ADMIN, proxy.client());
    reader.with(writer).get(QUESTION).await.expect(200);
    reader.anonymous().get(QUESTION).await.expect(403);

    alyx.cut();
    reader.ask("GET", "/labs").header("cache-control", "no-cache").send().await;
    proxy.until_upstream_is("down").await;
    let away = reader.get(QUESTION).await.expect(200);
    assert!(away.header("alyx-api-notice").is_some(), "{}", away.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_seen_at_once() {
    let (alyx, proxy) = mirrored(&[]).await;
    let record = first_of(&primed(&proxy, QUESTION).await);
    let changed = |protocol: &str| json!({ "task_protocol": protocol });
    let shows = async |protocol: &str| {
        let answer = proxy.get(QUESTION).await.expect(200);
        assert_eq!(first_of(&answer)["task_protocol"], protocol, "{}", answer.describe());
    };

    // By somebody else, through this proxy.
    let writer = proxy.client().with(users::ADMIN);
    writer.ask("PATCH", &path_of(&record)).json(&changed("here")).send().await.expect(200);
    shows("here").await;

    // Past it, and then the tables are brought up to date.
    primed(&proxy, QUESTION).await;
    let (status, text) = send_as_admin(&alyx, &path_of(&record), changed("there")).await;
    assert_eq!(status, 200, "{text}");
    let token = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    let admin = proxy.client().with_authorization(&format!("Bearer {token}"));
    let wish = json!({ "endpoints": ["sessions"], "wait": true });
    admin.ask("POST", "/-/api/sync").json(&wish).send().await.expect(200);
    shows("there").await;
}

async fn send_as_admin(alyx: &Miniature, path: &str, body: Value) -> (u16, String) {
    let request = miniature::client()
        .patch(format!("{}{path}", alyx.url()))
        .header("accept", "application/json")
        .header("authorization", format!("Token {}", users::ADMIN.token))
        .header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_given_for_longer_than_its_tables_count_as_recent() {
    let (alyx, proxy) = mirrored(&[("mirror.max_age", "3s")]).await;
    let first = proxy.get(QUESTION).await.expect(200);
    let record = first_of(&first);
    proxy.get(QUESTION).await.expect(200);
    let (status, text) = send_as_admin(&alyx, &path_of(&record), json!({ "task_protocol": "there" })).await;
    assert_eq!(status, 200, "{text}");
    proxy.get(QUESTION).await.expect(200);
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let later = proxy.get(QUESTION).await.expect(200);
    assert_eq!(first_of(&later)["task_protocol"], "there", "{}", later.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_page_is_not_given_after_one_that_alyx_gave() {
    let (alyx, proxy) = mirrored(&[]).await;
    let (first, later) = ("/sessions?limit=2", "/sessions?limit=2&offset=2");
    primed(&proxy, first).await;
    primed(&proxy, later).await;
    let record = first_of(&proxy.get(later).await);
    let (status, text) = send_as_admin(&alyx, &path_of(&record), json!({ "task_protocol": "there" })).await;
    assert_eq!(status, 200, "{text}");
    proxy.client().ask("GET", first).header("cache-control", "no-cache").send().await.expect(200);
    let answer = proxy.get(later).await.expect(200);
    assert_eq!(first_of(&answer)["task_protocol"], "there", "{}", answer.describe());
}
