//! Records show null for a JSON column that holds nothing and for one that holds JSON's null. Alyx is asked once which it is.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alyx_proxy::{alyx::record, miniature::Miniature};
use serde_json::json;

use crate::support::{Answer, Client, Proxy, Setup, kept::list, lens::Lens, miniature, until, users};

/// A proxy that mirrors the sessions of an Alyx, and what is known of these.
struct Mirrored {
    proxy: Proxy,
    /// How many of them show null in their `json`.
    shown: u64,
    /// How often Alyx was asked about them by `limit=1`.
    asked: Arc<AtomicU64>,
    _alyx: (Miniature, Lens),
}

/// So many of those that show null have nothing there.
async fn before(empty: fn(u64) -> u64) -> Mirrored {
    let alyx = miniature::start_for_all().await;
    let lens = Lens::before(&alyx.url()).await;
    let direct = Client::new(alyx.addr()).with_authorization(&format!("Token {}", users::ADMIN.token));
    let mut shown = 0;
    let sessions = list(&alyx.url(), "sessions").await;
    for text in &sessions {
        let id = record::parse(text)["id"].as_str().unwrap().to_owned();
        let detail = direct.get(&format!("/sessions/{id}")).await.expect(200).json();
        shown += u64::from(detail["json"].is_null());
    }
    let (rows, nothing) = (sessions.len() as u64, empty(shown));
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    lens.show(move |asked, status, body| {
        if asked.contains("json__isnull") && asked.contains("limit=1") {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        let count = match (asked.contains("json__isnull"), asked.contains("True")) {
            (true, true) => nothing,
            (true, false) => rows - nothing,
            _ => return (status, body),
        };
        (200, json!({"count": count, "next": null, "previous": null, "results": []}).to_string())
    });
    let proxy = Setup::new(&lens.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "sessions")
        .set("mirror.interval", "1h")
        .set("mirror.verify_per_minute", "0")
        .set("upstream.requests_per_minute", "0")
        .start()
        .await;
    Mirrored { proxy, shown, asked, _alyx: (alyx, lens) }
}

fn is_mirrored(answer: &Answer) -> bool {
    answer.cache().get("detail").is_some_and(|detail| detail.contains("mirror"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_nulls_hold_is_asked_once_and_decides() {
    for (empty, counted) in [((|shown| shown) as fn(u64) -> u64, true), (|_| 0, false)] {
        let Mirrored { proxy, shown, asked, .. } = &before(empty).await;
        let shown = *shown;
        assert!(shown > 0);
        until("it is known", async || {
            is_mirrored(&proxy.get("/sessions?django=json__isnull,True&limit=3").await)
        })
        .await;
        let answer = proxy.get("/sessions?django=json__isnull,True&limit=2").await.expect(200);
        assert!(is_mirrored(&answer), "{}", answer.describe());
        assert_eq!(answer.json()["count"], if counted { shown } else { 0 });
        // Excluding leaves what holds nothing, and not what holds a null without that key.
        let left = proxy.get("/sessions?django=~json__no_such_key,1&limit=1").await.expect(200);
        assert!(is_mirrored(&left), "{}", left.describe());
        assert_eq!(left.json()["count"], if counted { shown } else { 0 });
        assert_eq!(asked.load(Ordering::Relaxed), 2, "what has nothing, and what has not");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_some_hold_nothing_and_some_a_null_alyx_decides() {
    let Mirrored { proxy, shown, .. } = &before(|shown| shown / 2).await;
    assert!(*shown > 1);
    proxy.until_mirrored(1).await;
    for _ in 0..3 {
        let answer = proxy.get("/sessions?django=json__isnull,True&limit=1").await.expect(200);
        assert!(!is_mirrored(&answer), "{}", answer.describe());
    }
}
