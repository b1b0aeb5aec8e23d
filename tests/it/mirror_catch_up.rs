//! A question whose tables are too old: the smallest thing that brings them up to date is asked of Alyx, once for all who
//! wait, and the answer comes from the mirror.

use std::time::Duration;

use alyx_proxy::miniature::Miniature;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Answer, Client, Proxy, Setup, kept::send, miniature};

/// So long tables count as recent here.
const RECENT: Duration = Duration::from_secs(3);

async fn mirrored() -> (Miniature, Proxy) {
    mirrored_with(&[]).await
}

async fn mirrored_with(settings: &[(&str, &str)]) -> (Miniature, Proxy) {
    let alyx = miniature::start_for_all().await;
    let setup = Setup::new(&alyx.url())
        .set("mirror.username", "demo")
        .set("mirror.password", "demo")
        .set("mirror.endpoints", "sessions,labs,subjects,projects,weighings")
        .set("mirror.details", "")
        .set("mirror.interval", "1h")
        .set("mirror.full_interval", "1d")
        .set("mirror.max_age", "3s")
        .set("mirror.verify_per_minute", "0")
        .set("upstream.serve_stale_after", "20s");
    let setup = settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value));
    let proxy = setup.start().await;
    proxy.until_mirrored(5).await;
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    (alyx, proxy)
}

async fn grown_old(alyx: &Miniature) {
    tokio::time::sleep(RECENT + Duration::from_millis(500)).await;
    alyx.forget_requests();
}

/// Changes a session past the proxy; its id.
async fn change_elsewhere(alyx: &Miniature, fields: serde_json::Value) -> String {
    let session = Client::new(alyx.addr()).get("/sessions?limit=1").await.expect(200).json();
    let id = session["results"][0]["id"].as_str().unwrap().to_owned();
    let (status, text) = send(alyx, reqwest::Method::PATCH, &format!("/sessions/{id}"), Some(fields)).await;
    assert_eq!(status, 200, "{text}");
    id
}

fn asked(alyx: &Miniature) -> Vec<String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    alyx.requests().iter().map(|asked| decode(&asked.path_and_query)).collect()
}

fn is_caught_up(answer: &Answer) -> bool {
    answer.cache().fwd() == Some("stale") && answer.cache().get("detail") == Some("caught-up")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_asked_for_and_not_the_question() {
    let (alyx, proxy) = mirrored().await;
    grown_old(&alyx).await;
    let first = proxy.get("/sessions?number=1&limit=1").await.expect(200);
    assert!(is_caught_up(&first), "{}", first.describe());
    let requests = asked(&alyx);
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests[0].contains("auto_datetime__gt") && requests[1] == "/sessions?limit=1", "{requests:?}");
    // The next one lives by the same.
    let next = proxy.get("/sessions?number=2&limit=1").await.expect(200);
    assert_eq!(next.cache().get("detail"), Some("mirror"), "{}", next.describe());
    // A table without change times is read as a whole: it is small.
    grown_old(&alyx).await;
    assert!(is_caught_up(&proxy.get("/labs?name=cortexlab").await.expect(200)));
    assert_eq!(asked(&alyx), ["/labs?limit=1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_asked_once_for_all_who_wait_and_shows_what_has_changed() {
    let (alyx, proxy) = mirrored().await;
    change_elsewhere(&alyx, json!({ "task_protocol": "changed elsewhere" })).await;
    grown_old(&alyx).await;
    let questions = (0..40).map(|n| {
        let proxy = &proxy;
        async move {
            proxy
                .get(&format!("/sessions?task_protocol=changed%20elsewhere&limit={}", n + 1))
                .await
                .expect(200)
        }
    });
    for answer in join_all(questions).await {
        assert_eq!(answer.json()["count"], 1, "{}", answer.describe());
        let detail = answer.cache().get("detail").map(str::to_owned);
        assert!(matches!(detail.as_deref(), Some("caught-up" | "mirror")), "{}", answer.describe());
    }
    let requests = asked(&alyx);
    assert!(requests.len() <= 4, "{requests:?}");
    assert!(requests.iter().all(|asked| !asked.contains("task_protocol")), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_says_what_would_be_asked_and_asks_nothing() {
    let (alyx, proxy) = mirrored().await;
    grown_old(&alyx).await;
    let explain = |path: &'static str| {
        let client = proxy.client();
        async move { client.ask("GET", path).header("x-alyx-proxy-explain", "1").send().await.expect(200).json() }
    };
    let sessions = explain("/sessions?number=1").await;
    assert_eq!(sessions["reason"], "not-synchronised", "{sessions:#}");
    let would_ask = ["/sessions?django=auto_datetime__gt,…", "/sessions?limit=1"];
    assert_eq!(sessions["would_ask"], json!(would_ask), "{sessions:#}");
    assert_eq!(explain("/labs?name=cortexlab").await["would_ask"], json!(["/labs?limit=1000"]));
    assert!(asked(&alyx).is_empty(), "{:?}", asked(&alyx));
    // Who says how old an answer may be is answered by Alyx itself.
    let current =
        proxy.client().ask("GET", "/sessions?number=3").header("cache-control", "max-age=1").send().await;
    assert!(!is_caught_up(&current.expect(200)));
    assert_eq!(asked(&alyx), ["/sessions?number=3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn for_lists_without_records_what_has_changed_is_asked_once_and_not_each_of_them() {
    let settings = [("mirror.max_age", "1h"), ("freshness.records", "1h"), ("cache.negative_ttl", "3s")];
    let (alyx, proxy) = mirrored_with(&settings).await;
    grown_old(&alyx).await;
    let none = |number: usize| format!("/sessions?number={}&limit=1", 100_000 + number);
    for number in 0..8 {
        let answer = proxy.get(&none(number)).await.expect(200);
        assert_eq!(answer.json()["count"], 0, "{}", answer.describe());
    }
    let requests = asked(&alyx);
    assert!(requests.iter().all(|asked| asked.contains("auto_datetime__gt")), "{requests:?}");
    assert!(requests.len() <= 3, "once in three seconds: {requests:?}");
    // What is made meanwhile is in the next such list.
    change_elsewhere(&alyx, json!({ "number": 100_007 })).await;
    grown_old(&alyx).await;
    let answer = proxy.get(&none(7)).await.expect(200);
    assert_eq!(answer.json()["count"], 1, "{}", answer.describe());
    assert!(asked(&alyx).iter().all(|asked| asked.contains("auto_datetime__gt")), "{:?}", asked(&alyx));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_waits_for_no_details_that_it_does_not_read() {
    let (alyx, proxy) =
        mirrored_with(&[("mirror.details", "sessions"), ("mirror.background_per_day", "1")]).await;
    let id = change_elsewhere(&alyx, json!({ "task_protocol": "changed elsewhere" })).await;
    grown_old(&alyx).await;
    let answer = proxy.get("/sessions?task_protocol=changed%20elsewhere").await.expect(200);
    assert_eq!(answer.json()["count"], 1, "{}", answer.describe());
    let requests = asked(&alyx);
    assert!(requests.iter().all(|asked| !asked.starts_with("/sessions/")), "{requests:?}");
    // Whoever reads the record has what it is now.
    let detail = proxy.get(&format!("/sessions/{id}")).await.expect(200).json();
    assert_eq!(detail["task_protocol"], "changed elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_brought_up_to_date_is_not_fetched_again_for_another_table_that_an_empty_answer_needs() {
    let ages =
        [("mirror.max_age", "1h"), ("freshness.endpoints.sessions", "2s"), ("cache.negative_ttl", "1s")];
    let (alyx, proxy) = mirrored_with(&ages).await;
    grown_old(&alyx).await;
    let answer = proxy.get("/sessions?django=subject__nickname__startswith,nobody").await.expect(200);
    assert_eq!(answer.json()["count"], 0, "{}", answer.describe());
    let requests = asked(&alyx);
    let changes = requests.iter().filter(|asked| asked.contains("auto_datetime__gt")).count();
    assert_eq!(changes, 1, "{requests:?}");
}
