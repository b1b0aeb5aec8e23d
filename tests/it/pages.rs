//! The pages, as people use them, in a real browser; and that nobody is kept out of them.

use std::sync::Arc;

use crate::browser::Browser;
use crate::support::{Proxy, Setup, miniature, serve, users};
use alyx_proxy::miniature::{Miniature, Options};

const ADMIN_TOKEN: &str = "the-token-of-the-administrator";

async fn miniature() -> Arc<Miniature> {
    Arc::new(miniature::start(Options::default()).await)
}

/// A server of data files that are all the same.
async fn data_server() -> String {
    let fields = [("etag", "\"a\""), ("content-type", "application/octet-stream")];
    let (url, _) = serve(axum::Router::new().fallback(async move || (fields, "numbers"))).await;
    url
}

async fn proxy(alyx: &Miniature) -> Proxy {
    Setup::new(&alyx.url())
        .set("files.enabled", "true")
        .set("files.origin", &data_server().await)
        .set("files.min_free", "0 B")
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.verify_per_minute", "0")
        .set("access.admin_token", ADMIN_TOKEN)
        .start()
        .await
}

async fn log_in(browser: &Browser) {
    browser.fill("input[name=username]", users::ONEUSER.name).await;
    browser.fill("input[name=password]", users::ONEUSER.password).await;
    browser.click("main form button").await;
    browser
        .until("logged in", async |browser| {
            !browser.run("return document.title").await.as_str().unwrap().starts_with("Log in")
        })
        .await;
}

async fn go(browser: &Browser, proxy: &Proxy, path: &str) {
    browser.go(&format!("{}{path}", proxy.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_explore_watch_synchronise_and_go_on_offline() {
    let alyx = miniature().await;
    let proxy = proxy(&alyx).await;
    proxy.until_mirrored(mirrored(&alyx)).await;
    // From now on at a pace at which people can watch.
    let proxy = proxy.restart_with("upstream.requests_per_minute", "300").await;
    let browser = Browser::open().await;
    browser.size(1280, 900).await;

    // Nothing of Alyx's data without a log-in; it leads back to what was wanted.
    go(&browser, &proxy, "/-/explore/sessions?lab=cortexlab").await;
    assert!(browser.text("h1").await.contains("Log in"));
    browser.fill("input[name=username]", users::ONEUSER.name).await;
    browser.fill("input[name=password]", "wrong").await;
    browser.click("main form button").await;
    browser.until("refused", async |browser| !browser.texts("[role=alert]").await.is_empty()).await;
    go(&browser, &proxy, "/-/explore/sessions?lab=cortexlab").await;
    log_in(&browser).await;

    // The three queries of ONE's documentation: sessions by lab, insertions of one, a session's details.
    assert_eq!(browser.text("h1").await, "sessions");
    let sessions: u64 = browser.text(".count b").await.parse().unwrap();
    assert!(sessions > 10, "{sessions}");
    assert!(browser.text("details.told summary").await.contains("mirror"));
    let call = browser.text("#one-call").await;
    assert!(call.contains("one.search(lab='cortexlab', query_type='remote')"), "{call}");
    browser.click("button[data-copy=one-call]").await;
    browser
        .until("copied", async |browser| browser.text("button[data-copy=one-call]").await == "Copied")
        .await;
    browser.run("document.querySelector('details.told').open = true").await;
    assert!(browser.text("details.told").await.contains("SELECT"));

    go(&browser, &proxy, "/-/explore/insertions?limit=5").await;
    browser.click(".records tbody a").await;
    browser.until("a record", async |browser| !browser.texts("dl.fields").await.is_empty()).await;
    let insertion = browser.text("h1").await;
    browser.follow("trajectories").await;
    browser.until("its trajectories", async |browser| browser.text("h1").await == "trajectories").await;
    assert!(browser.text("#curl-call").await.contains(&insertion));
    browser.click(".records tbody a").await;
    browser.until("a trajectory", async |browser| !browser.texts("dl.fields").await.is_empty()).await;
    assert!(browser.text("dl.fields").await.contains("provenance"));
    // And back up: to its insertion, and to the session of that.
    browser.follow(&insertion).await;
    browser.until("the insertion", async |browser| browser.text("h1").await == insertion).await;

    // What was just done shows in the picture.
    go(&browser, &proxy, "/-/status").await;
    assert!(!browser.texts("svg.chart rect.k-mirror").await.is_empty());
    assert!(browser.texts("td.q").await.iter().any(|text| text.contains("cortexlab")));

    // A synchronisation is started by an administrator only, and its bars move.
    go(&browser, &proxy, "/-/mirror").await;
    assert!(browser.texts("button[value=sync]").await.is_empty());
    go(&browser, &proxy, "/-/admin").await;
    browser.fill("input[name=token]", "not-the-token-at-all").await;
    browser.click("main form button").await;
    browser.until("refused", async |browser| !browser.texts("[role=alert]").await.is_empty()).await;
    browser.fill("input[name=token]", ADMIN_TOKEN).await;
    browser.click("main form button").await;
    browser
        .until("an administrator", async |browser| !browser.texts("button[value=sync]").await.is_empty())
        .await;
    browser.click("button[value=sync]").await;
    browser
        .until("a bar", async |browser| bars(browser).await.as_array().is_some_and(|bars| !bars.is_empty()))
        .await;
    let first = bars(&browser).await;
    browser.until("another state of the bars", async |browser| bars(browser).await != first).await;
    browser.until("the end", async |browser| bars(browser).await.as_array().is_some_and(Vec::is_empty)).await;

    // Alyx goes away: what is shown says so, and goes on with what nobody has asked.
    alyx.cut();
    let _ = proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await;
    proxy.until_upstream_is("down").await;
    go(&browser, &proxy, "/-/explore/sessions?number=1&limit=3").await;
    assert!(browser.text(".top .state").await.contains("out of reach"));
    assert!(browser.text(".message.warn").await.contains("out of reach"));
    assert_eq!(browser.texts(".records tbody tr").await.len(), 3);
    // What can't be told says what is missing.
    go(&browser, &proxy, "/-/explore/tasks").await;
    assert!(browser.text("[role=alert]").await.contains("504"));
    go(&browser, &proxy, "/-/status").await;
    let events = browser.text(".events").await;
    assert!(events.contains("Alyx is out of reach"), "{events}");

    browser.click("header form button").await;
    browser.until("logged out", async |browser| browser.texts(".top form").await.is_empty()).await;
    go(&browser, &proxy, "/-/explore/sessions").await;
    assert!(browser.text("h1").await.contains("Log in"));
    browser.close().await;
}

/// The bars that are to be seen, with their values.
async fn bars(browser: &Browser) -> serde_json::Value {
    let script = "return [...document.querySelectorAll('#tables progress:not([hidden])')]
        .map((bar) => bar.getAttribute('aria-label') + ' ' + bar.value)";
    browser.run(script).await
}

/// How many tables a proxy of this Alyx mirrors.
fn mirrored(_: &Miniature) -> usize {
    alyx_proxy::settings::MirrorSettings::default().kept().count()
}

const PAGES: &[(&str, &str)] = &[
    ("login", "/-/login"),
    ("status", "/-/status"),
    ("explore", "/-/explore"),
    ("list", "/-/explore/sessions?lab=cortexlab"),
    ("meant", "/-/explore/sessions?subject=ks04"),
    ("error", "/-/explore/sessions?id=x"),
    ("record", ""),
    ("session", ""),
    ("lost", "/-/statsu"),
    ("mirror", "/-/mirror"),
    ("answers", "/-/answers"),
    ("files", "/-/files"),
    ("cluster", "/-/cluster"),
    ("docs", "/-/docs/offline"),
    ("start", "/-/docs/start"),
    ("settings", "/-/docs/settings"),
    ("admin", "/-/admin"),
    ("audit", "/-/audit"),
    // A page of Alyx's own, while it is away.
    ("refused", "/admin/"),
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_kept_out_and_every_page_has_its_picture() {
    let alyx = miniature().await;
    let proxy = proxy(&alyx).await;
    proxy.until_mirrored(mirrored(&alyx)).await;
    let browser = Browser::open().await;
    for name in ["a.npy", "b.f5a9c9e2-2b5a-4b6a-9a53-2f7f2c2f3c11.npy"] {
        let file = format!("/-/data/lab/Subjects/a-subject-with-a-long-name/2021-03-01/001/alf/{name}");
        proxy.client().anonymous().get(&file).await.expect(200);
    }
    let mut barriers = Vec::new();
    for (name, path) in PAGES {
        if *name == "status" {
            go(&browser, &proxy, "/-/login").await;
            log_in(&browser).await;
        }
        if *name == "audit" {
            browser.fill("input[name=token]", ADMIN_TOKEN).await;
            browser.click("main form button").await;
            browser
                .until("an administrator", async |browser| {
                    !browser.texts("button[value=sync]").await.is_empty()
                })
                .await;
        }
        if *name == "refused" {
            alyx.cut();
            let _ = proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await;
            proxy.until_upstream_is("down").await;
        }
        let listed = [("record", "subjects"), ("session", "sessions")].into_iter().find(|(of, _)| of == name);
        if let Some((_, endpoint)) = listed {
            go(&browser, &proxy, &format!("/-/explore/{endpoint}?limit=1")).await;
            browser.click(".records tbody a").await;
        } else {
            go(&browser, &proxy, path).await;
        }
        for (shade, dark) in [("light", false), ("dark", true)] {
            browser.dark(dark).await;
            for (width, wide) in [(1280, "wide"), (375, "phone")] {
                browser.size(width, 900).await;
                browser.picture(&format!("{name}-{shade}-{wide}")).await;
                // Nothing but what scrolls by itself is wider than the screen.
                let overflow = browser.run("return document.documentElement.scrollWidth - innerWidth").await;
                assert!(overflow.as_i64().unwrap() <= 0, "{name} is {overflow} too wide ({wide})");
            }
            barriers.extend(
                browser.barriers().await.into_iter().map(|found| format!("{name}, {shade}: {found}")),
            );
        }
    }
    browser.close().await;
    assert!(barriers.is_empty(), "{barriers:#?}");
}
