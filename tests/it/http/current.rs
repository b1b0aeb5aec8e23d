//! Who asks for what is current gets it, or nothing: while Alyx is there, however busy, no older answer stands in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use super::{
    LIST, get, open, open_with,
    support::{Asked, Fault, Reply, Setup, Upstream, lab},
    version,
};

/// Whoever makes what is missing asks for it again at once, and must find it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_never_said_of_an_earlier_time() {
    let settings = [("cache.negative_ttl", "300ms"), ("upstream.serve_stale_after", "300ms")];
    let (lab, proxy) = open_with(&settings).await;
    proxy.get(LIST).await.expect(200);
    let record = format!("/sessions/{}", lab::session_id(999));
    for target in [record.as_str(), "/tags?name=nobody", "/users?name=nobody", "/sessions?name=nobody"] {
        let path = target.split('?').next().unwrap();
        let before = lab.count(path);
        let first = proxy.get(target).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        // Alyx takes longer than anybody's patience: not even then.
        lab.upstream.behave(Fault::Slow(900));
        let again = proxy.get(target).await;
        assert_eq!((again.status, lab.count(path)), (first.status, before + 2), "{}", again.describe());
        assert!(!again.cache().hit(), "{target}: {}", again.cache().text);
        lab.upstream.behave(Fault::None);
    }
    lab.upstream.cut().await;
    proxy.get("/tags?name=nobody").await.expect(200);
    proxy.get(&record).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_something_is_missing_is_believed_for_a_moment() {
    let (lab, proxy) = open().await;
    proxy.get(LIST).await.expect(200);
    for target in ["/tags?name=nobody", "/users?name=nobody", "/data-repository?name=nobody"] {
        proxy.get(target).await;
        let ttl = proxy.get(target).await.cache().ttl();
        assert!(ttl.is_some_and(|ttl| ttl <= 30), "{target}: {ttl:?}");
        assert_eq!(lab.count(target.split('?').next().unwrap()), 1, "{target}");
    }
}

/// Requests that ask for what is current: by what they say, by a setting, by what they ask.
const CURRENT: [(&str, &[(&str, &str)]); 8] = [
    (LIST, &[("cache-control", "no-cache")]),
    (LIST, &[("cache-control", "max-age=0")]),
    (LIST, &[("cache-control", "min-fresh=1000")]),
    (LIST, &[("pragma", "no-cache")]),
    ("/notes", &[]),
    ("/tasks", &[]),
    ("/weighings", &[]),
    ("/water-requirement/KS004", &[]),
];

/// A busy Alyx is no outage: who asks for what is current waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_current_answer_waits_for_it() {
    let settings = [
        ("upstream.serve_stale_after", "300ms"),
        ("upstream.timeout", "4s"),
        ("freshness.endpoints.notes", "0s"),
    ];
    let (lab, proxy) = open_with(&settings).await;
    for (target, _) in CURRENT {
        proxy.get(target).await.expect(200);
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let new = lab.renew();
    lab.upstream.behave(Fault::Slow(1200));
    for (target, headers) in CURRENT {
        let answer = get(&proxy, target, headers).await.expect(200);
        assert!(!answer.cache().hit(), "{target} {headers:?}: {}", answer.cache().text);
        assert_eq!(lab::version(&answer.json()), new, "{target} {headers:?}");
    }
    // It takes longer than anybody waits, and is not away: no answer is better than an old one.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    lab.upstream.behave(Fault::Trickle);
    let asking = CURRENT.map(|(target, headers)| {
        let proxy = &proxy;
        async move { (target, get(proxy, target, headers).await) }
    });
    for (target, answer) in futures_util::future::join_all(asking).await {
        assert_eq!(answer.status, 504, "{target}: {}", answer.describe());
    }
    assert_eq!(proxy.status().await["upstream"]["state"], "up");
    // An Alyx that is away is another matter.
    lab.upstream.cut().await;
    proxy.get("/projects").await;
    proxy.until_upstream_is("down").await;
    for (target, headers) in CURRENT {
        let answer = get(&proxy, target, headers).await.expect(200);
        assert!(answer.header("alyx-api-notice").is_some(), "{target}: {}", answer.describe());
    }
}

/// An animal must not be watered twice because an answer was old.
#[tokio::test(flavor = "multi_thread")]
async fn what_decides_about_an_animal_is_asked_for_each_time() {
    let (lab, proxy) = open().await;
    for target in [
        "/water-administrations",
        "/water-administrations/00000000-0000-4000-8000-00000000000a",
        "/water-restriction",
        "/water-restricted-subjects",
        "/weighings",
        "/weighings/00000000-0000-4000-8000-00000000000a",
        "/water-requirement/KS004",
    ] {
        for n in 1..=2 {
            proxy.get(target).await.expect(200);
            assert_eq!(lab.count(target), n, "{target}");
        }
    }
    // Keys that an administrator changes, and what can be drunk, are not believed for a day.
    for target in ["/data-repository", "/data-repository/one", "/water-type"] {
        proxy.get(target).await;
        let ttl = proxy.get(target).await.cache().ttl();
        assert!(ttl.is_some_and(|ttl| ttl <= 300), "{target}: {ttl:?}");
    }
}

/// Also where somebody has set that it is remembered for a while.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_animal_was_given_shows_in_what_it_is_to_be_given() {
    let (lab, proxy) = open_with(&[("freshness.volatile", "1h")]).await;
    let target = "/water-requirement/KS004";
    let record = "00000000-0000-4000-8000-00000000000a";
    let writes = [
        ("POST", "/water-administrations".to_owned()),
        ("POST", "/weighings".to_owned()),
        ("DELETE", format!("/weighings/{record}")),
        ("PATCH", format!("/water-administrations/{record}")),
        ("PATCH", format!("/surgeries/{record}")),
        ("PATCH", "/subjects/KS004".to_owned()),
    ];
    for (method, path) in writes {
        proxy.get(target).await.expect(200);
        assert!(proxy.get(target).await.expect(200).cache().hit());
        let new = lab.renew();
        let write = proxy.client().ask(method, &path).json(&serde_json::json!({})).send().await;
        assert!(write.status.is_success(), "{}", write.describe());
        assert_eq!(version(&proxy.get(target).await.expect(200)), new, "{method} {path}");
    }
}

/// A filter whose record was deleted meanwhile: its answer is no answer any more, also when nobody else can be asked.
#[tokio::test(flavor = "multi_thread")]
async fn what_alyx_takes_back_does_not_come_again() {
    let says = Arc::new(AtomicU16::new(200));
    let now = says.clone();
    let upstream = Upstream::start(Arc::new(move |asked: &Asked| {
        let list = r#"{"count": 9, "next": null, "previous": null, "results": [{"version": 1}]}"#;
        let refusal = r#"{"trajectory_estimate": ["Select a valid choice."], "status_code": 400}"#;
        match now.load(Ordering::SeqCst) {
            _ if asked.path() != "/channels" => Reply::new(200, "application/json", list),
            200 => Reply::new(200, "application/json", list),
            1 => Reply::new(400, "text/html", "<html>400 Request Header Or Cookie Too Large</html>"),
            status => Reply::new(status, "application/json", refusal).header("retry-after", "1"),
        }
    }))
    .await;
    let proxy = Setup::new(&upstream.url()).set("upstream.retries", "0").start().await;
    let pages =
        ["/channels?trajectory_estimate=T&limit=3", "/channels?trajectory_estimate=T&limit=3&offset=3"];
    let other = "/channels?trajectory_estimate=U";
    let anew = async |target: &str| get(&proxy, target, &[("cache-control", "no-cache")]).await;
    let stored = async |target: &str| {
        let answer = get(&proxy, target, &[("cache-control", "only-if-cached, max-stale")]).await;
        answer.status == 200
    };
    for status in [400, 404, 410] {
        says.store(200, Ordering::SeqCst);
        for target in pages.into_iter().chain([other]) {
            anew(target).await.expect(200);
        }
        // What is said of the asker, or by others than Alyx, takes nothing back.
        for status in [403, 429, 1] {
            says.store(status, Ordering::SeqCst);
            let said = anew(pages[0]).await.status;
            assert!(said == 400 || said == status, "{said}");
            assert!(stored(pages[0]).await && stored(pages[1]).await, "{status}");
            proxy.until_upstream_is("up").await;
            tokio::time::sleep(Duration::from_millis(if status == 429 { 1100 } else { 0 })).await;
        }
        says.store(status, Ordering::SeqCst);
        assert_eq!(anew(pages[0]).await.status, status);
        assert!(status == 404 || !stored(pages[0]).await, "{status}");
        assert!(stored(other).await, "{status}: another question");
        if status != 404 {
            assert!(!stored(pages[1]).await, "{status}: another page of the same list");
        }
    }
    upstream.cut().await;
    proxy.get("/labs").await;
    proxy.until_upstream_is("down").await;
    proxy.get(other).await.expect(200);
    proxy.get(pages[0]).await.expect(504);
    let proxy = proxy.restart().await;
    proxy.get(other).await.expect(200);
    proxy.get(pages[0]).await.expect(504);
}
