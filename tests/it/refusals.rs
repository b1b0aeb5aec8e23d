//! Every response is counted, once: `/-/metrics` tells how many requests were refused, whatever refused them.

use crate::support::{Fault, Lab, Proxy, Reply, Setup, Upstream, client::Ask, raw, until, users};

/// The counter of responses that came about so.
async fn counted(proxy: &Proxy, outcome: &str) -> u64 {
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
    let name = format!("alyx_proxy_responses_total{{outcome=\"{outcome}\"}} ");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(name.as_str()));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Sends each request, which is refused with that status, and counted as refused.
async fn refused(proxy: &Proxy, requests: Vec<(u16, Ask)>) {
    for (number, (status, ask)) in requests.into_iter().enumerate() {
        let before = counted(proxy, "refused").await;
        let answer = ask.send().await;
        let about = format!("request {number}: {}", answer.describe());
        assert_eq!(answer.status, status, "{about}");
        assert!(!answer.cache().hit() && answer.cache().fwd().is_none(), "{about}");
        assert_eq!(counted(proxy, "refused").await, before + 1, "{about}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_counted_once() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url())
        .set("server.max_body", "10 kB")
        .set("server.max_url", "16 KiB")
        .set("access.login_attempts", "1");
    let proxy = setup.start().await;
    let (client, nobody) = (proxy.client(), proxy.client().anonymous());
    let admin = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    let admin = proxy.client().with_authorization(&format!("Bearer {}", admin.trim()));
    let long = format!("/labs?x={}", "y".repeat(20_000));
    let many = format!("/labs?{}", "a&".repeat(1001));
    refused(
        &proxy,
        vec![
            // The way in.
            (414, client.ask("GET", &long)),
            (414, client.ask("GET", &many)),
            (400, client.ask("GET", "/labs\\x")),
            (413, client.ask("POST", "/weighings").body("application/json", vec![b' '; 20_000])),
            // The proxy's own site.
            (404, nobody.ask("GET", "/-/nothing")),
            (405, nobody.ask("PUT", "/-/status")),
            (403, nobody.ask("POST", "/-/login").header("origin", "https://elsewhere.org").form(&[])),
            (403, nobody.ask("GET", "/-/history")),
            (401, nobody.ask("POST", "/-/api/purge")),
            (405, admin.ask("GET", "/-/api/purge")),
            (415, admin.ask("POST", "/-/api/purge").body("text/plain", "all")),
            (400, admin.ask("POST", "/-/api/purge").body("application/json", "all")),
            (400, admin.ask("POST", "/-/api/purge").body("application/json", "{}")),
            (404, admin.ask("POST", "/-/api/nothing").body("application/json", "{}")),
            (409, admin.ask("POST", "/-/api/sync").body("application/json", "{}")),
            (415, admin.ask("POST", "/-/api/import").body("text/plain", "x")),
            (400, admin.ask("POST", "/-/api/import").body("application/zstd", "x")),
            // The floors.
            (504, client.ask("GET", "/labs").header("cache-control", "only-if-cached")),
            (404, client.ask("GET", "/cache.zip?tag=a-b")),
        ],
    )
    .await;
    // Which client could send no Host by itself?
    let before = counted(&proxy, "refused").await;
    assert!(raw(proxy.address(), b"GET /labs HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 400"));
    assert_eq!(counted(&proxy, "refused").await, before + 1, "without a Host");
    client.get("/labs").await.expect(200);
    let log_in = [("username", users::ONEUSER.name), ("password", users::ONEUSER.password)];
    nobody.ask("POST", "/auth-token").form(&log_in).send().await.expect(200);
    client.get("/-/history?days=x").await.expect(400);
    lab.upstream.cut().await;
    // Nobody looks for an Alyx of which nothing is asked.
    refused(&proxy, vec![(504, client.ask("GET", "/subjects?lab=one"))]).await;
    proxy.until_upstream_is("down").await;
    let unknown = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    let wrong = [("username", "nobody"), ("password", "nothing")];
    let known = [("username", users::ONEUSER.name), ("password", "wrong")];
    refused(
        &proxy,
        vec![
            (504, client.ask("GET", "/subjects?lab=two")),
            (504, unknown.ask("GET", "/labs")),
            (403, nobody.ask("GET", "/labs")),
            (503, client.ask("POST", "/weighings").json(&serde_json::json!({}))),
            (504, client.ask("GET", "/admin/")),
            (400, nobody.ask("POST", "/auth-token").form(&[])),
            (504, nobody.ask("POST", "/auth-token").form(&wrong)),
            (400, nobody.ask("POST", "/auth-token").form(&known)),
            (429, nobody.ask("POST", "/auth-token").form(&known)),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_counted_as_refused() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("server.max_requests", "1").start().await;
    // A look that is cut off would have it taken for away.
    proxy.until_upstream_is("up").await;
    lab.upstream.break_down(Fault::Silence).await;
    let client = proxy.client();
    let waiting = tokio::spawn(async move { client.ask("GET", "/labs").try_send().await });
    until("one is under way", async || {
        let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
        metrics.text().contains("alyx_proxy_requests_in_flight 1")
    })
    .await;
    let again = [proxy.client().ask("GET", "/subjects"), proxy.client().ask("GET", "/-/login")];
    refused(&proxy, again.map(|ask| (503, ask)).into()).await;
    waiting.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn own_pages_are_counted_and_are_no_refusals() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let (own, refused) = (counted(&proxy, "own").await, counted(&proxy, "refused").await);
    proxy.client().get("/-/health").await.expect(200);
    // The look at the metrics counts too, when it has been answered.
    assert_eq!(counted(&proxy, "own").await, own + 3);
    assert_eq!(counted(&proxy, "refused").await, refused);
    assert_eq!(proxy.status().await["responses"]["refused"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_by_the_standard_counts_its_responses() {
    let origin = Upstream::start(std::sync::Arc::new(|asked: &crate::support::Asked| {
        let age = asked.parameter("age").unwrap_or_default();
        let reply =
            Reply::new(200, "text/plain", "answer").header("cache-control", &format!("max-age={age}"));
        reply.header("etag", "\"a\"")
    }))
    .await;
    let setup = Setup::new(&origin.url()).set("cache.profile", "rfc9111").set("server.max_body", "10 kB");
    let proxy = setup.start().await;
    let nobody = proxy.client().anonymous();
    for (outcome, target) in [("upstream", "/?age=60"), ("memory", "/?age=60"), ("upstream", "/?age=0")] {
        let before = counted(&proxy, outcome).await;
        nobody.get(target).await.expect(200);
        assert_eq!(counted(&proxy, outcome).await, before + 1, "{target}");
    }
    refused(
        &proxy,
        vec![
            (413, nobody.ask("POST", "/").body("text/plain", vec![b' '; 20_000])),
            (504, nobody.ask("GET", "/?age=1").header("cache-control", "only-if-cached")),
        ],
    )
    .await;
    origin.break_down(Fault::Refuse).await;
    refused(&proxy, vec![(502, nobody.ask("GET", "/?age=2"))]).await;
}
