//! Before an Alyx of another version the proxy says nothing that this Alyx would not have said.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alyx_proxy::miniature::{Miniature, Options};
use serde_json::{Value, json};

use crate::support::{Answer, Client, Proxy, Setup, lens::Lens, miniature, until, users};

/// Asked of Alyx's tables, and of stored answers.
const QUESTIONS: [&str; 3] = ["/subjects?sex=F&limit=10", "/labs/cortexlab", "/sessions?number=1&limit=5"];

async fn behind_a_lens() -> (Miniature, Lens) {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let lens = Lens::before(&alyx.url()).await;
    (alyx, lens)
}

fn setup(alyx: &Lens) -> Setup {
    Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,subjects,sessions")
        .set("mirror.details", "")
        .set("mirror.interval", "500ms")
        .set("mirror.verify_per_minute", "0")
        .set("upstream.requests_per_minute", "0")
        .set("health.idle_interval", "100ms")
}

fn is_mirrored(answer: &Answer) -> bool {
    answer.cache().get("detail").is_some_and(|detail| detail.starts_with("mirror"))
}

async fn what_alyx_is(proxy: &Proxy) -> Value {
    proxy.status().await["mirror"]["alyx"].clone()
}

/// Changes the description of the interface that passes, and nothing else.
fn describes(change: impl Fn(&mut Value) + Send + 'static) -> impl Fn(&str, u16, String) -> (u16, String) {
    move |path, status, body| {
        if !path.starts_with("/api/schema") {
            return (status, body);
        }
        let mut document = serde_json::from_str(&body).unwrap();
        change(&mut document);
        (status, document.to_string())
    }
}

/// A parameter that no Alyx has which is known.
fn add_parameter(document: &mut Value) {
    let parameters = document["paths"]["/sessions"]["get"]["parameters"].as_array_mut().unwrap();
    parameters.push(json!({ "name": "n_trials_gte", "in": "query", "schema": { "type": "number" } }));
}

/// The count of a page, for questions that contain this.
fn counts(question: &'static str, count: u64) -> impl Fn(&str, u16, String) -> (u16, String) {
    move |asked, status, body| {
        if !asked.contains(question) {
            return (status, body);
        }
        (200, json!({ "count": count, "next": null, "previous": null, "results": [] }).to_string())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alyx_that_nobody_knows_is_answered_as_far_as_it_has_shown() {
    let (alyx, lens) = behind_a_lens().await;
    let asked = Arc::new(AtomicU64::new(0));
    let counted = asked.clone();
    let described = describes(add_parameter);
    let other_lab = counts("lab=", 7);
    lens.show(move |path, status, body| {
        let probed = path.contains("limit=1&") && !path.contains("django")
            || path.contains("limit=25")
            || path.contains("offset=1000000");
        counted.fetch_add(u64::from(probed), Ordering::Relaxed);
        let (status, body) = described(path, status, body);
        // It means something else by the lab of a session.
        if path.starts_with("/sessions?") { other_lab(path, status, body) } else { (status, body) }
    });
    let proxy = setup(&lens).start().await;
    proxy.until_mirrored(3).await;
    let found = what_alyx_is(&proxy).await;
    assert_eq!(
        (&found["release"], &found["differences"]),
        (&Value::Null, &json!(["knows a `n_trials_gte` of /sessions"]))
    );
    // What it has shown is answered: pages, the order of a list, a single record, a parameter.
    for question in
        ["/labs/cortexlab", "/subjects?sex=F&limit=10", "/sessions?limit=5", "/sessions?subject=ks004"]
    {
        until(question, async || is_mirrored(&proxy.get(question).await.expect(200))).await;
    }
    let probes = asked.load(Ordering::Relaxed);
    assert!(probes <= 60, "{probes} questions");
    alyx.cut();
    proxy.until_upstream_is("down").await;
    let some = proxy.get("/sessions?subject=KS005&limit=3").await.expect(200);
    assert!(is_mirrored(&some), "{}", some.describe());
    // Of a new parameter, of one that means something else, and of records that no list has nothing is made up.
    for (asked, why) in [
        ("/sessions?n_trials_gte=200", "`n_trials_gte`"),
        ("/sessions?lab=cortexlab", "`lab` of /sessions"),
        ("/sessions?subject=KS005&lab=cortexlab", "`lab` of /sessions"),
        ("/labs/nosuch", "no list has"),
    ] {
        let refused = proxy.get(asked).await.expect(504).text().to_owned();
        assert!(refused.contains(why), "{asked}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_alyx_is_answered_by_its_own_rules() {
    let (alyx, lens) = behind_a_lens().await;
    lens.show(|path, status, body| {
        if path.starts_with("/data-notices") {
            return (404, "<h1>Not Found</h1>".to_owned());
        }
        let to_3_3 = |document: &mut Value| {
            let paths = document["paths"].as_object_mut().unwrap();
            paths.retain(|path, _| !path.starts_with("/data-notices"));
            let parameters = paths["/subjects"]["get"]["parameters"].as_array_mut().unwrap();
            parameters.extend(["reduced", "cull_method"].map(|name| json!({ "name": name, "in": "query" })));
        };
        describes(to_3_3)(path, status, body)
    });
    let proxy = setup(&lens).set("mirror.endpoints", "labs,subjects,sessions,data-notices").start().await;
    proxy.until_mirrored(3).await;
    assert_eq!(what_alyx_is(&proxy).await["release"], "3.3");
    proxy.get("/labs").await.expect(200);
    alyx.cut();
    proxy.until_upstream_is("down").await;
    let page = |target: &'static str| async { proxy.get(target).await.expect(200).json() };
    // It has no greatest page; the newest puts a thousand on one.
    let all = page("/sessions?limit=2000&offset=1").await;
    assert!(all["previous"].as_str().unwrap().ends_with("limit=2000"), "{}", all["previous"]);
    // It has a parameter that the newest has not: what it asks is not known, and it is not ignored.
    let refused = proxy.get("/subjects?reduced=True").await.expect(504).text().to_owned();
    assert!(refused.contains("`reduced`"), "{refused}");
    // A relation to what it does not list is none that it is known to have: no error is told in its place.
    let notices = "data_dataset_session_related__data_notices";
    for (asked, value) in [("isnull", "0"), ("id", "x"), ("nosuch", "1")] {
        let question = format!("/sessions?django={notices}__{asked},{value}");
        let refused = proxy.get(&question).await.expect(504).text().to_owned();
        assert!(refused.contains("data-notices"), "{question}: {refused}");
    }
    // Django's words for several lookups at once are those of its version.
    proxy.get("/sessions?django=users__startswith__foo,4").await.expect(504);
    let one = proxy.get("/sessions?django=users__startswith,4").await.expect(500).text().to_owned();
    assert!(one.contains("Unsupported lookup 'startswith'"), "{one}");
    // One that neither has is ignored.
    assert_eq!(page("/labs?nosuch=1").await["count"], page("/labs").await["count"]);
    // A list that it does not have is no failure.
    let status = proxy.status().await;
    assert!(status["mirror"]["progress"]["data-notices"]["error"].is_null(), "{}", status["mirror"]);
}

/// Until its description is asked for again a record that was changed shows that Alyx writes records otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_form_has_its_table_read_anew() {
    let (alyx, lens) = behind_a_lens().await;
    let proxy = setup(&lens).start().await;
    proxy.until_mirrored(3).await;
    until("the mirror answers", async || is_mirrored(&proxy.get("/sessions?lab=cortexlab&limit=3").await))
        .await;
    lens.show(|_, status, body| {
        (status, body.replace(r#""task_protocol":"#, r#""extra":null,"task_protocol":"#))
    });
    let first = proxy.get("/sessions?limit=1").await.expect(200).json()["results"][0].clone();
    let id = first["id"].as_str().unwrap();
    Client::new(alyx.addr())
        .ask("PATCH", &format!("/sessions/{id}"))
        .json(&json!({ "narrative": "x" }))
        .send()
        .await
        .expect(200);
    until("all sessions have the new form", async || {
        let page = proxy.get("/sessions?lab=cortexlab&limit=3").await.expect(200);
        is_mirrored(&page) && page.text().matches(r#""extra":null"#).count() == 3
    })
    .await;
    assert!(proxy.output().contains("records have another form"), "{}", proxy.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alyx_that_becomes_another_is_read_anew() {
    let (_alyx, lens) = behind_a_lens().await;
    let mut proxy = setup(&lens).start().await;
    proxy.until_mirrored(3).await;
    until("the mirror answers", async || is_mirrored(&proxy.get(QUESTIONS[1]).await)).await;
    assert_eq!(what_alyx_is(&proxy).await["release"], "3.6");
    proxy.get("/labs?limit=1").await.expect(200);
    proxy.terminate().await;

    // The next release shows a record otherwise, which nobody has changed, and then is as the one before.
    lens.show(|path, status, body| {
        let body = body.replace(r#""institution":"#, r#""founded":1826,"institution":"#);
        describes(add_parameter)(path, status, body)
    });
    let mut proxy = proxy.restart().await;
    until("it is seen", async || what_alyx_is(&proxy).await["release"].is_null()).await;
    until("it is told", async || proxy.output().contains("Alyx has become another")).await;
    let lab = proxy.get("/labs/cortexlab").await.expect(200);
    assert!(lab.text().contains(r#""founded":1826"#), "{}", lab.describe());
    // An answer that is stored from before is no longer fresh.
    let list = proxy.get("/labs?limit=1").await.expect(200).text().to_owned();
    assert!(list.contains(r#""founded":1826"#), "{list}");
    proxy.terminate().await;

    lens.show(|_, status, body| {
        (status, body.replace(r#""institution":"#, r#""founded":1827,"institution":"#))
    });
    let proxy = proxy.restart().await;
    until("it is seen", async || what_alyx_is(&proxy).await["release"] == "3.6").await;
    until("it is told", async || proxy.output().contains("Alyx has become another")).await;
    let start = std::time::Instant::now();
    for asked in 0.. {
        // Asked otherwise each time, so that it is no stored answer.
        let lab = proxy.get(&format!("/labs?name=cortexlab&asked={asked}")).await.expect(200);
        // From the first answer on it is right, whoever gives it.
        assert!(lab.text().contains(r#""founded":1827"#), "{}", lab.describe());
        if is_mirrored(&lab) {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "not read anew:\n{}", proxy.output());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
