//! How long an answer is fresh, what a request may ask for instead, and what is never kept (RFC 9111, 5861).

use std::time::Duration;

use super::{
    LIST, get, open, open_with,
    support::{Client, Fault, Lab, Proxy, lab, until},
    version,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_where_it_came_from_and_how_old_it_is() {
    let (lab, proxy) = open().await;
    let first = proxy.get(LIST).await.expect(200);
    let status = first.cache();
    assert_eq!(
        (status.hit(), status.fwd(), status.has("stored")),
        (false, Some("uri-miss"), true),
        "{}",
        status.text
    );
    assert_eq!(status.get("fwd-status"), Some("200"));

    tokio::time::sleep(Duration::from_millis(2100)).await;
    let second = proxy.get(LIST).await.expect(200);
    let status = second.cache();
    assert!(status.hit(), "{}", status.text);
    let age = second.age().expect("an Age");
    assert!((2..60).contains(&age), "{age}");
    // Records are fresh for five minutes.
    let ttl = status.ttl().expect("a ttl");
    assert!((200..=298).contains(&ttl), "{ttl}");
    assert!(status.get("detail").is_some_and(|detail| !detail.is_empty()), "a named reason: {}", status.text);
    assert_eq!(second.header("alyx-api-notice"), None, "a fresh answer is nothing to warn of");
    assert_eq!(lab.count("/sessions"), 1);

    for (target, status) in [("/sessions?number=x", 400), ("/subjects/dup_mouse", 500), ("/no/such", 404)] {
        let answer = proxy.get(target).await.expect(status);
        assert!(!answer.cache().hit() && !answer.cache().has("stored"), "{}", answer.describe());
    }
    for target in ["/admin/x", "/static/x", "/-/health", "/-/nosuch"] {
        proxy.get(target).await.cache();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_of_the_request_are_honoured() {
    let settings = [("freshness.reference", "300ms"), ("cache.stale_while_revalidate", "0s")];
    let (lab, proxy) = open_with(&settings).await;
    let with =
        async |target: &str, directive: &str| get(&proxy, target, &[("cache-control", directive)]).await;

    // Fresh for five minutes.
    proxy.get(LIST).await.expect(200);
    let upstream = async |directive: &str| {
        let before = lab.count("/sessions");
        let answer = with(LIST, directive).await.expect(200);
        assert_eq!(lab.count("/sessions"), before + 1, "{directive}");
        assert!(!answer.cache().hit(), "{directive}: {}", answer.cache().text);
        assert_eq!(answer.cache().fwd(), Some("request"), "{directive}");
    };
    let stored = async |target: &str, directive: &str| {
        let before = lab.upstream.asked().len();
        let answer = with(target, directive).await.expect(200);
        assert_eq!(lab.upstream.asked().len(), before, "{directive}");
        assert!(answer.cache().hit(), "{directive}: {}", answer.cache().text);
        version(&answer)
    };
    upstream("no-cache").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    upstream("max-age=0").await;
    upstream("min-fresh=1000").await;
    for directive in ["max-age=600", "max-age=600, min-fresh=5", "only-if-cached", "max-stale", "MAX-AGE=600"]
    {
        stored(LIST, directive).await;
    }
    let new = lab.renew();
    upstream("No-Cache").await;
    assert_eq!(stored(LIST, "only-if-cached").await, new, "what `no-cache` brought is stored");

    // Stale after 300 ms.
    proxy.get("/labs").await.expect(200);
    tokio::time::sleep(Duration::from_millis(400)).await;
    stored("/labs", "max-stale").await;
    stored("/labs", "max-stale=60").await;
    let answer = with("/labs", "only-if-cached").await.expect(504);
    assert_eq!(lab.count("/labs"), 1, "{}", answer.describe());
    assert!(version(&with("/labs", "max-age=600").await.expect(200)) == new && lab.count("/labs") == 2);

    // Not stored.
    assert_eq!(with("/projects", "only-if-cached").await.expect(504).json()["status_code"], 504);
    assert_eq!(lab.count("/projects"), 0);
    with("/projects", "no-store").await.expect(200);
    with("/projects", "only-if-cached").await.expect(504);
    // `no-store` is about this answer, not about what is stored already.
    stored(LIST, "only-if-cached").await;
    // What nobody knows is nothing.
    stored(LIST, "max-age=soon, x-unknown=\"a, b\", stale-if-error").await;
}

/// All of it on one page.
const ALL: &str = "/sessions";

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_comes_at_once_and_is_refreshed_behind_it() {
    let (lab, proxy) = open_with(&[("freshness.records", "200ms")]).await;
    proxy.get(ALL).await.expect(200);
    let new = lab.renew();
    tokio::time::sleep(Duration::from_millis(300)).await;
    lab.upstream.break_down(Fault::Slow(400)).await;
    let answer = proxy.get(ALL).await.expect(200);
    assert!(answer.cache().hit() && version(&answer) == 1, "{}", answer.describe());
    assert!(answer.cache().ttl().is_some_and(|ttl| ttl <= 0), "{}", answer.cache().text);
    until("it is refreshed", async || {
        let answer = get(&proxy, ALL, &[("cache-control", "only-if-cached, max-stale")]).await;
        answer.status == 200 && version(&answer) == new
    })
    .await;
    assert_eq!(lab.count("/sessions"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_one_query_belong_together() {
    let (lab, proxy) = open().await;
    let pages =
        ["/sessions?lab=a&limit=3", "/sessions?lab=a&limit=3&offset=3", "/sessions?lab=a&limit=3&offset=6"];
    let other = "/sessions?lab=b&limit=3&offset=3";
    for page in pages.into_iter().chain([other]) {
        proxy.get(page).await.expect(200);
    }
    let new = lab.renew();
    get(&proxy, pages[0], &[("cache-control", "no-cache")]).await.expect(200);
    for page in pages {
        let answer = proxy.get(page).await.expect(200);
        assert_eq!(
            version(&answer),
            new,
            "{page}: of another time than the first page: {}",
            answer.cache().text
        );
    }
    assert_eq!(version(&proxy.get(other).await.expect(200)), 1, "another query is as fresh as it was");

    // Offline the old siblings are better than none.
    get(&proxy, pages[0], &[("cache-control", "no-cache")]).await.expect(200);
    lab.upstream.cut().await;
    for page in pages {
        proxy.get(page).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_found_is_remembered_briefly() {
    let settings = [("cache.negative_ttl", "500ms"), ("cache.stale_while_revalidate", "0s")];
    let (lab, proxy) = open_with(&settings).await;
    let missing = format!("/sessions/{}", lab::session_id(999));
    proxy.get(LIST).await.expect(200);
    let first = proxy.get(&missing).await.expect(404);
    let again = proxy.get(&missing).await.expect(404);
    assert_eq!(again.text(), first.text());
    assert!(again.cache().hit() && lab.count(&missing) == 1, "{}", again.cache().text);
    tokio::time::sleep(Duration::from_millis(600)).await;
    proxy.get(&missing).await.expect(404);
    assert_eq!(lab.count(&missing), 2);
    // Alyx's page for what it doesn't route is no answer about a record.
    for _ in 0..2 {
        proxy.get("/sessions/not-a-uuid").await.expect(404);
    }
    assert_eq!(lab.count("/sessions/not-a-uuid"), 2);
    lab.upstream.cut().await;
    assert_eq!(proxy.get(&missing).await.expect(404).text(), first.text());
    proxy.get("/sessions/not-a-uuid").await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_current_is_asked_for_each_time() {
    let (lab, proxy) = open().await;
    for target in [
        "/tasks",
        "/water-requirement/KS004",
        "/check-protected",
        "/sessions?number=x",
        "/subjects/dup_mouse",
    ] {
        let path = target.split('?').next().unwrap();
        for n in 1..=2 {
            proxy.get(target).await;
            assert_eq!(lab.count(path), n, "{target}");
        }
    }
    lab.upstream.cut().await;
    for target in ["/tasks", "/water-requirement/KS004"] {
        let answer = proxy.get(target).await.expect(200);
        assert!(answer.header("alyx-api-notice").is_some_and(|notice| notice.starts_with("!!!")), "{target}");
    }
    for target in ["/sessions?number=x", "/subjects/dup_mouse", "/check-protected"] {
        proxy.get(target).await.expect(504);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_varies_in_ways_unknown_is_not_stored() {
    let (lab, proxy) = open().await;
    lab.vary("*");
    for n in 1..=2 {
        proxy.get(LIST).await.expect(200);
        assert_eq!(lab.count("/sessions"), n);
    }
    lab.upstream.cut().await;
    proxy.get(LIST).await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_media_type_is_part_of_the_question() {
    let (lab, proxy) = open().await;
    // Three ways to ask for JSON.
    for accept in ["application/json", "*/*", "application/json;q=0.5, text/html;q=0.1"] {
        get(&proxy, LIST, &[("accept", accept)]).await.expect(200);
    }
    proxy.client().ask("GET", LIST).without("accept").send().await.expect(200);
    assert_eq!(lab.count("/sessions"), 1);
    // Another one.
    get(&proxy, LIST, &[("accept", "application/json; indent=4")]).await.expect(200);
    get(&proxy, LIST, &[("accept", "text/html")]).await.expect(200);
    assert_eq!(lab.count("/sessions"), 3);
    let accepts: Vec<_> =
        lab.upstream.asked().iter().map(|a| a.header("accept").unwrap_or_default().to_owned()).collect();
    assert!(accepts.contains(&"application/json; indent=4".to_owned()), "{accepts:?}");
    assert!(accepts.contains(&"text/html".to_owned()), "{accepts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_to_keep_is_passed_on_whole() {
    let (lab, proxy) = open_with(&[("cache.max_response", "1 KiB")]).await;
    let direct = Client::new(lab.upstream.address()).get("/sessions").await.expect(200);
    assert!(direct.body.len() > 1024);
    // The first one shows that it is too large, and is asked for once more to be passed on.
    for n in 3..=4 {
        let answer = proxy.get("/sessions").await.expect(200);
        assert_eq!(answer.json()["results"].as_array().unwrap().len(), lab::SESSIONS);
        assert_eq!(lab.count("/sessions"), n);
    }
    lab.upstream.cut().await;
    proxy.get("/sessions").await.expect(504);
    // The token was accepted with those answers, and is not refused when Alyx is known to be away: ONE would drop it.
    proxy.until_upstream_is("down").await;
    proxy.get("/sessions").await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_upstream_has_a_memory_of_its_own() {
    let (one, two) = (Lab::open().await, Lab::open().await);
    two.renew();
    let mut proxy = Proxy::start(&one.url()).await;
    assert_eq!(version(&proxy.get(LIST).await.expect(200)), 1);
    let setup = proxy.setup().clone();
    proxy.terminate().await;
    let mut proxy = setup.clone().upstream(&two.url()).start().await;
    assert_eq!(version(&proxy.get(LIST).await.expect(200)), 2, "never the other's answer");
    proxy.terminate().await;
    one.upstream.cut().await;
    let proxy = setup.start().await;
    assert_eq!(version(&proxy.get(LIST).await.expect(200)), 1);
}
