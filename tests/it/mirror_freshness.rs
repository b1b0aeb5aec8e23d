//! How old the mirror's tables may be while Alyx can be reached: `mirror.max_age`, or what `[freshness]` says of the
//! endpoint; the shorter of both holds, each way.

use std::time::Duration;

use alyx_proxy::miniature::Miniature;

use crate::support::{Proxy, Setup, miniature};

/// A question about sessions alone, one about a reference table, and one that needs both.
const SESSIONS: &str = "/sessions?number=1&limit=1";
const LABS: &str = "/labs?name=cortexlab";

type Settings<'s> = &'s [(&'s str, &'s str)];

async fn mirrored(settings: Settings<'_>) -> (Miniature, Proxy) {
    let alyx = miniature::start_for_all().await;
    let setup = Setup::new(&alyx.url())
        .set("mirror.username", "demo")
        .set("mirror.password", "demo")
        .set("mirror.endpoints", "sessions,labs,subjects,projects")
        .set("mirror.details", "")
        .set("mirror.interval", "1h")
        .set("mirror.verify_per_minute", "0");
    let proxy = settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value)).start().await;
    proxy.until_mirrored(4).await;
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    (alyx, proxy)
}

async fn is_mirrored(proxy: &Proxy, question: &str) -> bool {
    let answer = proxy.get(question).await.expect(200);
    answer.cache().get("detail").is_some_and(|detail| detail.starts_with("mirror"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shorter_of_both_holds_each_way() {
    let cases: [(Settings, bool, bool); 8] = [
        (&[], true, true),
        (&[("mirror.max_age", "1s")], false, false),
        (&[("freshness.records", "1s")], false, true),
        (&[("freshness.reference", "1s")], true, false),
        (&[("freshness.endpoints.sessions", "1s")], false, true),
        (&[("freshness.endpoints.labs", "1s")], true, false),
        (&[("mirror.max_age", "1s"), ("freshness.endpoints.sessions", "1h")], false, false),
        (&[("mirror.max_age", "1h"), ("freshness.endpoints.sessions", "1s")], false, true),
    ];
    for (settings, sessions, labs) in cases {
        let (alyx, proxy) = mirrored(settings).await;
        assert_eq!(is_mirrored(&proxy, SESSIONS).await, sessions, "{settings:?}");
        assert_eq!(is_mirrored(&proxy, LABS).await, labs, "{settings:?}");
        // While Alyx is away any age will do.
        alyx.cut();
        proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
        proxy.until_upstream_is("down").await;
        assert!(is_mirrored(&proxy, "/sessions?number=2&limit=1").await, "{settings:?}");
    }
}
