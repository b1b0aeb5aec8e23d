//! What is one user's alone is not shared (RFC 9111 3, 4.3.4, 4.3.5).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{ask, get};
use crate::support::{Asked, Proxy, Reply, Setup, Upstream};

const ALICE: (&str, &str) = ("cookie", "alice");
/// Somebody who is authorised.
const BOB: (&str, &str) = ("authorization", "Basic Ym9i");

/// An origin of pages with a tag. To users it says that they still hold, or what they are (HEAD), with the `Cache-Control` that
/// the query has, and greets them with a cookie.
async fn open() -> (Upstream, Proxy) {
    let upstream = Upstream::start(Arc::new(|asked: &Asked| {
        let user = asked.header("cookie").or_else(|| asked.header("authorization"));
        let (status, body) = match asked.header("if-none-match") {
            Some("\"a\"") => (304, ""),
            _ => (200, "the page"),
        };
        let reply = Reply::new(status, "text/plain", body).header("etag", "\"a\"");
        match user {
            None => reply.header("cache-control", "max-age=0"),
            Some(user) => reply
                .header("cache-control", &asked.parameter("says").unwrap())
                .header("set-cookie", &format!("sessionid=secret-of-{user}")),
        }
    }))
    .await;
    let proxy = Setup::new(&upstream.url()).set("cache.profile", "rfc9111").start().await;
    (upstream, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_304_or_a_head_says_to_one_user_stays_with_that_user() {
    let (upstream, proxy) = open().await;
    let new = "a page that is asked for anew";
    let same = "a page that is asked whether it still holds";
    for (number, (method, user, says, then)) in [
        ("GET", ALICE, "private, max-age=60", new),
        ("GET", ALICE, "no-store, max-age=60", new),
        ("GET", ALICE, "private=\"set-cookie\", max-age=60", new),
        ("HEAD", ALICE, "private, max-age=60", new),
        ("HEAD", ALICE, "no-store, max-age=60", new),
        // Nothing is said of sharing what is said to the authorised (RFC 9111 3.5).
        ("GET", BOB, "max-age=60", same),
        ("HEAD", BOB, "max-age=60", same),
    ]
    .into_iter()
    .enumerate()
    {
        let case = format!("{method} by {}: {says}", user.1);
        let encoded: String = form_urlencoded::byte_serialize(says.as_bytes()).collect();
        let target = format!("/{number}?says={encoded}");
        let first = get(&proxy, &target, &[]).await.expect(200);
        upstream.forget();
        let own = ask(&proxy, method, &target, &[user]).await.expect(200);
        let secret = format!("sessionid=secret-of-{}", user.1);
        assert_eq!(own.header("set-cookie"), Some(&*secret), "{case}: whose it is gets it");
        if method == "GET" {
            assert_eq!(upstream.asked()[0].header("if-none-match"), Some("\"a\""), "{case}");
            assert_eq!(own.body, first.body, "{case}");
        }
        let other = get(&proxy, &target, &[]).await.expect(200);
        assert_eq!(other.header("set-cookie"), None, "{case}: {}", other.describe());
        assert_eq!(other.body, first.body, "{case}");
        let asked = upstream.asked();
        assert_eq!(asked.len(), 2, "{case}: {}", other.describe());
        let condition = asked[1].header("if-none-match");
        assert_eq!(condition.is_some(), then == same, "{case}: {then}: {condition:?}");
    }
    // What is for all is given to all.
    for method in ["GET", "HEAD"] {
        let target = format!("/{method}?says=max-age=60");
        get(&proxy, &target, &[]).await.expect(200);
        ask(&proxy, method, &target, &[ALICE]).await.expect(200);
        let other = get(&proxy, &target, &[]).await.expect(200);
        assert!(other.cache().hit() && other.cache().ttl() > Some(0), "{method}: {}", other.cache().text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_beyond_ascii_hide_no_directive() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(Arc::new(move |_: &Asked| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Reply::new(200, "text/plain", format!("for user {number}"))
            .header("cache-control", "private, community=\"\u{dc}\"")
            .header("cache-control", "max-age=60")
    }))
    .await;
    let proxy = Setup::new(&upstream.url()).set("cache.profile", "rfc9111").start().await;
    let bodies = [get(&proxy, "/", &[]).await.body, get(&proxy, "/", &[]).await.body];
    assert_eq!(bodies, ["for user 0", "for user 1"]);
}
