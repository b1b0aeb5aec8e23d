//! What Alyx's answers say of Alyx's own origin reaches no browser as the proxy's, and what is in them does nothing there.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    browser::Browser,
    support::{Answer, Asked, Proxy, Reply, Setup, Upstream, users},
};

/// Fields that no answer of Alyx's may bring here, whether it is stored or passed on.
const NEVER: &[(&str, &str)] = &[
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("alt-svc", "h3=\":443\"; ma=2592000"),
    ("nel", "{\"report_to\":\"x\",\"max_age\":2592000}"),
    ("report-to", "{\"group\":\"x\"}"),
    ("reporting-endpoints", "x=\"https://evil.example/\""),
    ("clear-site-data", "\"*\""),
    ("refresh", "0; url=https://evil.example/"),
    ("access-control-allow-origin", "*"),
    ("access-control-allow-credentials", "true"),
    ("access-control-allow-private-network", "true"),
    ("access-control-expose-headers", "*"),
    ("link", "<https://evil.example/x.js>; rel=preload; as=script"),
    ("service-worker-allowed", "/"),
    ("public-key-pins", "pin-sha256=\"x\""),
    ("expect-ct", "max-age=1"),
    ("x-never-heard-of", "evil"),
];
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
/// What an upload does where it may: it says so in its title, and reads a page of the proxy's own.
const SCRIPT: &str =
    "<script>document.title = 'ran'; fetch('/-/status.json').then(() => document.title = 'read');</script>";
const ADD: &str = "<!doctype html><title>Add lab</title><form method=post><input type=hidden name=csrfmiddlewaretoken value=c1>
    <input name=name><button disabled>Save</button></form><p id=said>nothing</p>
    <script>document.querySelector('button').disabled = false;
    fetch(location.hash.slice(1) + '/-/status.json').then(() => 'read', () => 'refused')
        .then((said) => document.getElementById('said').textContent = said);</script>";

struct Alyx {
    upstream: Upstream,
    saved: Arc<AtomicUsize>,
}

/// One that sends all of these fields with everything, has uploads, and an admin page as Django makes them.
async fn hostile() -> Alyx {
    let saved = Arc::new(AtomicUsize::new(0));
    let counted = saved.clone();
    let answer = move |asked: &Asked| -> Reply {
        let html = |body: &str| Reply::new(200, "text/html; charset=utf-8", body.to_owned());
        match (asked.method.as_str(), asked.path().as_str()) {
            ("GET", "/admin/misc/lab/add/") => {
                html(ADD).header("set-cookie", "csrftoken=c1; Path=/; SameSite=Lax")
            }
            ("POST", "/admin/misc/lab/add/") => {
                let form = String::from_utf8_lossy(&asked.body).into_owned();
                let own = asked.header("origin") == Some(asked.base().as_str());
                let cookie = asked.header("cookie").is_some_and(|cookie| cookie == "csrftoken=c1");
                if !own || !cookie || !form.contains("csrfmiddlewaretoken=c1") {
                    return Reply::new(403, "text/html", format!("<h1>CSRF</h1>{:?}", asked.headers));
                }
                counted.fetch_add(1, Ordering::SeqCst);
                Reply::new(302, "text/html; charset=utf-8", "").header("location", "/admin/misc/lab/")
            }
            ("GET", "/admin/misc/lab/") => html("<!doctype html><h1>Labs</h1><p id=saved>It was saved.</p>"),
            ("GET", path) if path.contains("x.html") || path.contains("y.html") => html(SCRIPT),
            ("GET", path) if path.contains("x.svg") => {
                let script = "document.documentElement.setAttribute('data-ran', '1')";
                let body = format!("<svg xmlns='http://www.w3.org/2000/svg'><script>{script}</script></svg>");
                Reply::new(200, "image/svg+xml", body)
            }
            ("GET", path) if path.contains("x.xhtml") => Reply::new(
                200,
                "application/xhtml+xml",
                "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>x</title><script>document.title = 'ran'</script></head><body/></html>",
            ),
            ("GET", "/media/x.json") => Reply::new(200, "application/json", "{\"a\": \"<script>\"}"),
            ("POST", "/notes") => Reply::new(201, "application/json", "{}"),
            ("GET", "/subjects/none") => {
                Reply::new(404, "application/json", "{\"detail\":\"No.\",\"status_code\":404}")
            }
            ("GET", "/subjects/refused") => {
                Reply::new(400, "application/json", "{\"detail\":\"No.\",\"status_code\":400}")
            }
            _ => Reply::new(200, "application/json", "[{\"name\":\"<img src=x onerror=alert(1)>\"}]"),
        }
    };
    let upstream = Upstream::start(Arc::new(move |asked| {
        let cookie = asked.method == "GET" && asked.path() == "/media/x.html";
        let mut reply = answer(asked).header("location-of-evil", "x");
        for (name, value) in NEVER {
            reply = reply.header(name, value);
        }
        if asked.header("x-wish") == Some("location") || asked.path() == "/labs" {
            reply =
                reply.header("location", "https://evil.example/").header("content-location", "/elsewhere");
        }
        if cookie {
            reply = reply.header("set-cookie", "alyx_proxy_session=0000; Path=/-/");
        }
        reply
    }))
    .await;
    Alyx { upstream, saved }
}

fn is_harmless(what: &str, answer: &Answer) {
    for (name, _) in NEVER {
        assert_eq!(answer.header(name), None, "{what}: {}", answer.describe());
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}: {}", answer.describe());
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert_eq!(policy, "default-src 'none'; sandbox", "{what}: {}", answer.describe());
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert!(!format!("{cookies:?}").contains("alyx_proxy_session"), "{what}: {cookies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alyx_says_of_its_own_origin_stays_there() {
    let alyx = hostile().await;
    let proxy = Proxy::start(&alyx.upstream.url()).await;
    for round in ["asked", "stored", "again"] {
        for path in ["/labs", "/labs?limit=1", "/subjects/one", "/subjects/none"] {
            let answer = proxy.get(path).await;
            is_harmless(&format!("{path} {round}"), &answer);
            assert!(
                answer.header("location").is_none() && answer.header("content-location").is_none(),
                "{path}"
            );
        }
    }
    assert!(proxy.get("/labs").await.cache().hit(), "it was stored");
    for path in [
        "/subjects/refused",
        "/media/x.html",
        "/media/x.svg",
        "/uploaded/x.xhtml",
        "/media/x.json",
        "/x",
        "/",
    ] {
        is_harmless(path, &proxy.get(path).await);
        is_harmless(path, &proxy.client().ask("HEAD", path).send().await);
        is_harmless(path, &proxy.client().anonymous().ask("GET", path).header("accept", "*/*").send().await);
    }
    let write = proxy.client().ask("POST", "/notes").json(&serde_json::json!({}));
    is_harmless("a write", &write.send().await.expect(201));
    // The proxy's own cookie is nothing to Alyx.
    let cookie = "a=b; alyx_proxy_session=secret; __Secure-alyx_proxy_session=secret";
    proxy.client().ask("GET", "/media/y.html").header("cookie", cookie).send().await.expect(200);
    let asked = alyx.upstream.asked().into_iter().rfind(|asked| asked.path() == "/media/y.html").unwrap();
    assert_eq!(asked.header("cookie"), Some("a=b"));
    // What is stored stays so after a restart, and where Alyx is away.
    let proxy = proxy.restart().await;
    proxy.get("/subjects/one").await.expect(200);
    alyx.upstream.cut().await;
    for path in ["/labs", "/subjects/one", "/labs?never=asked"] {
        let answer = proxy.get(path).await;
        is_harmless(path, &answer);
    }
    crate::support::tried("fields of another origin", NEVER.len());
}

/// The profile by the standard alone passes on whatever there is, but for what is said of the origin.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_standard_alone_neither() {
    let alyx = hostile().await;
    let proxy = Setup::new(&alyx.upstream.url()).set("cache.profile", "rfc9111").start().await;
    for _ in 0..2 {
        let answer = proxy.get("/labs").await.expect(200);
        assert_eq!(answer.header("x-never-heard-of"), Some("evil"));
        // The public suite has these two stored.
        let others = ["link", "x-never-heard-of", "clear-site-data", "public-key-pins"];
        for (name, _) in NEVER.iter().filter(|(name, _)| !others.contains(name)) {
            assert_eq!(answer.header(name), None, "{}", answer.describe());
        }
    }
}

/// An upstream that goes over to another protocol, which nobody had asked for.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_switched_to_another_protocol() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut buffer = vec![0; 65536];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
                    if stream.write_all(head.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    for profile in ["alyx", "rfc9111"] {
        let proxy = Setup::new(&url).set("cache.profile", profile).set("upstream.retries", "0").start().await;
        for path in ["/labs", "/admin/x", "/media/x"] {
            for ask in [
                proxy.client().ask("GET", path),
                proxy
                    .client()
                    .ask("GET", path)
                    .header("connection", "upgrade")
                    .header("upgrade", "websocket"),
            ] {
                let answer = ask.send().await.expect(502);
                assert!(
                    answer.header("upgrade").is_none() && !answer.text().is_empty(),
                    "{}",
                    answer.describe()
                );
            }
        }
        // Whether it was carried out is not known.
        let write = proxy.client().ask("PATCH", "/labs/one").json(&serde_json::json!({})).send().await;
        assert_eq!(write.status, 502, "{}", write.describe());
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_shown_the_way_to_alyxs_own_pages() {
    let alyx = hostile().await;
    let proxy = Proxy::start(&alyx.upstream.url()).await;
    let shown = async |path: &str| {
        proxy.client().anonymous().ask("GET", path).header("accept", BROWSER).send().await.expect(200)
    };
    for path in ["/admin/misc/lab/add/?x=%22%3E%3Cscript%3E", "/media/x.html", "/uploaded/x.xhtml"] {
        let page = shown(path).await;
        let way = format!("href=\"{}{path}\"", alyx.upstream.url());
        assert!(page.text().contains(&way), "{path}: {}", page.text());
        assert!(
            !page.text().contains("csrfmiddlewaretoken") && !page.text().contains("document.title"),
            "{path}"
        );
        assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"), "{path}");
        assert!(page.header("set-cookie").is_none(), "{path}");
    }
    // Pictures are no pages.
    let picture = shown("/media/x.svg").await;
    is_harmless("a picture", &picture);
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
}

/// The address of Alyx's own pages.
async fn pages(proxy: &Proxy) -> String {
    format!("http://{}", proxy.status().await["alyx_pages_listen"].as_str().expect("an address of its own"))
}

#[tokio::test(flavor = "multi_thread")]
async fn alyxs_own_pages_work_at_an_address_of_their_own() {
    let alyx = hostile().await;
    let proxy = Setup::new(&alyx.upstream.url())
        .set("server.alyx_pages_listen", "127.0.0.1:0")
        .set("server.public_url", "http://localhost:1")
        .start()
        .await;
    let place = pages(&proxy).await;
    let at_pages = crate::support::Client::new(place.trim_start_matches("http://").parse().unwrap());
    // Nothing of the proxy's own is there, and uploads do nothing there either.
    for path in ["/-/", "/-/status.json", "/-/health", "/-/api/offline", "/-/login"] {
        at_pages.get(path).await.expect(404);
    }
    for path in ["/media/x.html", "//media/x.html", "/%6dedia/x.html", "/uploaded/x.xhtml", "/labs"] {
        is_harmless(path, &at_pages.get(path).await.expect(200));
    }
    let page = at_pages.get("/admin/misc/lab/add/").await.expect(200);
    assert!(page.text().contains("csrfmiddlewaretoken") && page.header("content-security-policy").is_none());
    assert!(NEVER.iter().all(|(name, _)| page.header(name).is_none()), "{}", page.describe());

    let browser = Browser::open().await;
    let title =
        async |browser: &Browser| browser.run("return document.title").await.as_str().unwrap().to_owned();
    // An upload's script does nothing, wherever it is opened.
    for origin in [&proxy.url(), &place] {
        for path in ["/media/x.html", "//media/x.html", "/uploaded/x.xhtml", "/media/x.svg"] {
            browser.go(&format!("{origin}{path}")).await;
            let title = title(&browser).await;
            assert!(title != "ran" && title != "read", "{origin}{path}: {title}");
            let ran = browser.run("return document.documentElement.getAttribute('data-ran')").await;
            assert!(ran.is_null(), "{origin}{path}: its script ran");
        }
    }
    // An admin page is led to its own origin, works there, and reads nothing of the proxy's.
    alyx.saved.store(0, Ordering::SeqCst);
    let proxy = proxy.restart_with("server.public_url", "").await;
    let place = pages(&proxy).await;
    browser.go(&format!("{}/admin/misc/lab/add/#{}", proxy.url(), proxy.url())).await;
    let here = browser.run("return location.href").await.as_str().unwrap().to_owned();
    assert!(here.starts_with(&format!("{place}/admin/misc/lab/add/")), "{here}");
    browser.until("it tried", async |browser| browser.text("#said").await != "nothing").await;
    assert_eq!(browser.text("#said").await, "refused");
    browser.fill("input[name=name]", "newlab").await;
    browser.click("button").await;
    browser.until("saved", async |browser| !browser.texts("#saved").await.is_empty()).await;
    assert_eq!(alyx.saved.load(Ordering::SeqCst), 1);
    let here = browser.run("return location.href").await.as_str().unwrap().to_owned();
    assert!(here.starts_with(&format!("{place}/admin/misc/lab/")), "it stays there: {here}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alyxs_pages_have_the_base_that_is_set() {
    let alyx = hostile().await;
    let proxy = Setup::new(&alyx.upstream.url())
        .set("server.alyx_pages_listen", "127.0.0.1:0")
        .set("server.alyx_pages_url", "https://alyx-pages.lab.example")
        .set("access.anonymous", "true")
        .start()
        .await;
    let led =
        proxy.client().ask("GET", "/admin/misc/lab/?q=1").header("accept", BROWSER).send().await.expect(303);
    assert_eq!(led.header("location"), Some("https://alyx-pages.lab.example/admin/misc/lab/?q=1"));
    // Its name is known, and others are not.
    let client =
        crate::support::Client::new(pages(&proxy).await.trim_start_matches("http://").parse().unwrap());
    proxy.client().with(users::ONEUSER).get("/labs").await.expect(200);
    let at = async |host: &str| client.anonymous().ask("GET", "/labs").header("host", host).send().await;
    at("alyx-pages.lab.example").await.expect(200);
    at("rebind.evil.example").await.expect(421);
}
