//! What shows that Alyx accepts a token, and what doesn't: whoever has one that counts reads all that is stored.

use std::sync::Arc;

use crate::support::{Client, Fault, Lab, Proxy, Reply, Setup, Upstream, raw, tried, until, users};

const STORED: &str = "/labs";

fn stranger(proxy: &Proxy) -> Client {
    proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN))
}

async fn is_nobody(stranger: &Client, about: &str) {
    let answer = stranger.get(STORED).await;
    assert_eq!(answer.status, 403, "{about}: {}", answer.describe());
    assert!(answer.text().contains("Invalid token."), "{about}: {}", answer.text());
}

async fn cut(lab: &Lab, proxy: &Proxy) {
    lab.upstream.cut().await;
    proxy.get("/insertions").await.expect(504);
    proxy.until_upstream_is("down").await;
}

/// Alyx looks at the token before it looks at the question: its own error about that is a check of the token, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_wrong_vouches_for_its_token() {
    for wrong in
        ["/sessions?number=x", "/subjects/dup_mouse", "/sessions/00000000-0000-0000-0000-000000000000"]
    {
        let lab = Lab::open().await;
        let proxy = Proxy::start(&lab.url()).await;
        proxy.get(STORED).await.expect(200);
        let other = proxy.client().with(users::ADMIN);
        assert!(!other.get(wrong).await.status.is_success());
        let answer = other.get(STORED).await.expect(200);
        assert!(answer.cache().hit(), "after {wrong}: {}", answer.describe());
    }
}

/// Django answers its own pages without a look at the token, and a network's page for a log-in has never seen one.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_anybody_gets_vouches_for_no_token() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(STORED).await.expect(200);
    let stranger = stranger(&proxy);
    for page in ["/admin/login/", "/static/style.css"] {
        stranger.get(page).await.expect(200);
        is_nobody(&stranger, page).await;
    }
    lab.upstream.break_down(Fault::Portal).await;
    stranger.ask("GET", STORED).header("cache-control", "no-store").send().await;
    lab.upstream.restore().await;
    stranger.get("/admin/login/").await;
    cut(&lab, &proxy).await;
    is_nobody(&stranger, "offline").await;
}

/// What `Connection` names ends at the proxy (RFC 9110 7.6.1): Alyx answers a request of nobody's, where anybody is
/// answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_alyx_does_not_see_is_not_vouched_for() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(STORED).await.expect(200);
    let stranger = stranger(&proxy);
    let lines = [
        "GET /api/schema HTTP/1.1\r\nCache-Control: no-store\r\nConnection: authorization, close",
        "GET /api/schema HTTP/1.1\r\nConnection: close\r\nConnection: x,AUTHORIZATION",
        "GET /check-protected?path=a&filenames=b HTTP/1.1\r\nConnection: Authorization, close",
        "OPTIONS /docs/ HTTP/1.1\r\nConnection: Authorization, close",
        "POST /check-protected HTTP/1.1\r\nContent-Length: 0\r\nConnection: authorization, close",
    ];
    for line in lines {
        let request = format!("{line}\r\nHost: lab\r\nAuthorization: Token {}\r\n\r\n", users::UNKNOWN_TOKEN);
        let address = proxy.address();
        let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 2"), "{line}: {said}");
        let path = line.split([' ', '?']).nth(1).unwrap();
        let sent = lab.upstream.last(path);
        assert_eq!(sent.header("authorization"), None, "{line}");
        is_nobody(&stranger, line).await;
    }
    cut(&lab, &proxy).await;
    is_nobody(&stranger, "offline").await;
    tried("vouching", lines.len());
}

/// The refusal is the newer word, whatever comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_brings_no_refused_token_back() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(STORED).await.expect(200);
    lab.upstream.behave(Fault::Slow(1500));
    let client = proxy.client();
    let slow = tokio::spawn(async move { client.get("/projects").await });
    until("the slow one is upstream", async || lab.count("/projects") == 1).await;
    lab.upstream.behave(Fault::None);
    lab.revoke(users::ONEUSER);
    proxy.get("/insertions").await.expect(403);
    is_nobody(&proxy.client(), "refused").await;
    // Alyx knew the token yet when it was asked.
    slow.await.unwrap().expect(200);
    is_nobody(&proxy.client(), "refused before that came").await;
}

/// Two ask the same at once, and what comes says that it is for one of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_one_only_is_not_given_to_whoever_asked_with_them() {
    for (name, value) in
        [("cache-control", "private"), ("set-cookie", "sid=a"), ("vary", "Accept, Authorization")]
    {
        let upstream = Upstream::start(Arc::new(move |asked| {
            let who = asked.header("authorization").unwrap_or("nobody");
            let body = serde_json::json!({ "you": who }).to_string();
            Reply::new(200, "application/json", body).header(name, value)
        }))
        .await;
        let proxy = Proxy::start(&upstream.url()).await;
        let clients = [users::ONEUSER, users::ADMIN].map(|user| (user, proxy.client().with(user)));
        for (_, client) in &clients {
            // Not remembered, but both are known from now on.
            client.get("/labs").await.expect(200);
            client.get("/labs").await.expect(200);
        }
        let before = upstream.asked().len();
        upstream.behave(Fault::Slow(700));
        let both =
            clients.map(|(user, client)| async move { (user, client.get("/projects").await.expect(200)) });
        for (user, answer) in futures_util::future::join_all(both).await {
            assert_eq!(answer.json()["you"], user.authorization(), "{name}: {}", answer.describe());
        }
        assert_eq!(upstream.asked().len(), before + 2, "{name}");
    }
}

/// Gateways say 200 and nothing; Alyx has something to say to every read.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_anything_in_it_vouches_for_no_token() {
    for (status, kind) in [(200, "text/plain"), (200, "application/json"), (204, "application/json")] {
        let unknown = format!("Token {}", users::UNKNOWN_TOKEN);
        let upstream = Upstream::start(Arc::new(move |asked| {
            if asked.header("authorization") == Some(&unknown) {
                return Reply::new(status, kind, "");
            }
            Reply::new(200, "application/json", "[]")
        }))
        .await;
        let proxy = Setup::new(&upstream.url()).set("upstream.retries", "0").start().await;
        let about = format!("{status} {kind}");
        proxy.get(STORED).await.expect(200);
        let stranger = stranger(&proxy);
        for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
            stranger.ask(method, "/subjects/x").header("cache-control", "no-store").send().await;
            stranger.ask(method, "/subjects/x").send().await;
        }
        let answer = stranger.get(STORED).await;
        assert_ne!(answer.status, 200, "{about}: {}", answer.describe());
        upstream.cut().await;
        proxy.get("/subjects/y").await;
        proxy.until_upstream_is("down").await;
        // Refused where Alyx said so; elsewhere nobody can tell.
        let answer = stranger.get(STORED).await;
        assert!([403, 504].contains(&answer.status.as_u16()), "{about}: {}", answer.describe());
    }
}
