//! Questions that nobody has asked before: answered from the mirror as Alyx would, or refused with the reason.

mod explained;

use std::{sync::Arc, time::Duration};

use crate::support::{Answer, Proxy, Setup, lens::Lens, miniature, until, users};
use alyx_proxy::{
    alyx::ENDPOINTS,
    miniature::{self as demo, Miniature, Options},
};
use serde_json::{Value, json};

/// Someone whose token the service account has not.
const READER: users::User = users::ONEUSER;

async fn miniature() -> Arc<Miniature> {
    Arc::new(miniature::start(Options { complete: true, ..Options::default() }).await)
}

/// A proxy that mirrors as `users::ADMIN`.
fn setup(alyx: &Miniature) -> Setup {
    setup_before(&alyx.url())
}

fn setup_before(url: &str) -> Setup {
    Setup::new(url)
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.interval", "1s")
        .set("mirror.full_interval", "2s")
        .set("mirror.verify_per_minute", "0")
}

/// Waits until these tables are whole, and until Alyx has accepted the reader's token.
async fn mirrored(proxy: &Proxy, wanted: &[&str]) {
    let start = std::time::Instant::now();
    loop {
        let status = proxy.status().await;
        let tables = status["mirror"]["tables"].as_array().unwrap().clone();
        let whole = |name: &&str| {
            let own = ENDPOINTS.iter().any(|endpoint| endpoint.name == *name && endpoint.has_own_details());
            tables.iter().any(|table| table["endpoint"] == *name && (!own || table["details"] == true))
        };
        if wanted.iter().all(whole) {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(2), "not mirrored: {status:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
}

fn is_mirrored(answer: &Answer) -> bool {
    answer.cache().get("detail").is_some_and(|detail| detail.starts_with("mirror"))
}

/// Asks, each time anew by what is put behind the question, until the answer is as wanted.
async fn asked_until(proxy: &Proxy, question: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let start = std::time::Instant::now();
    loop {
        let answer = proxy.get(&format!("{question}{}", start.elapsed().as_millis())).await.expect(200);
        if wanted(&answer) {
            return answer;
        }
        assert!(start.elapsed() < Duration::from_secs(40), "{:#}", proxy.status().await["mirror"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn cut(alyx: &Miniature, proxy: &Proxy) {
    alyx.cut();
    proxy.get("/labs?never=asked").await;
    proxy.until_upstream_is("down").await;
}

const NEW: &[&str] = &[
    "/sessions?lab=cortexlab&performance_gte=70&limit=3",
    "/sessions?django=start_time__year__gte,2019,~lab__name,x&limit=2&offset=1",
    "/insertions?lab=cortexlab&limit=5",
    "/datasets?limit=7&offset=3",
    "/trajectories?provenance=Planned&limit=2",
    "/brain-regions?acronym=CA1",
    "/labs/cortexlab",
];

#[tokio::test(flavor = "multi_thread")]
async fn new_questions_are_answered_as_alyx_answers_them() {
    let alyx = miniature().await;
    let proxy = setup(&alyx).start().await;
    mirrored(&proxy, &["sessions", "insertions", "datasets", "trajectories", "brain-regions", "labs"]).await;
    let direct = crate::support::Client::new(alyx.addr());
    let mut said = Vec::new();
    for question in NEW {
        said.push(direct.get(question).await.expect(200).text().replace(&alyx.url(), &proxy.url()));
    }
    alyx.forget_requests();
    for (question, said) in NEW.iter().zip(&said) {
        let answer = proxy.get(question).await.expect(200);
        assert!(is_mirrored(&answer), "{question}: {}", answer.describe());
        assert_eq!(answer.cache().get("detail"), Some("mirror"), "{question}");
        assert!(answer.age().is_some_and(|age| age < 60), "{question}");
        assert_eq!(sorted(&answer.json()), sorted(&serde_json::from_str(said).unwrap()), "{question}");
    }
    let path = |asked: &demo::LoggedRequest| asked.path_and_query.clone();
    let asked: Vec<String> =
        alyx.requests().iter().map(path).filter(|asked| NEW.contains(&asked.as_str())).collect();
    assert!(asked.is_empty(), "Alyx was asked: {asked:?}");

    cut(&alyx, &proxy).await;
    for (question, said) in NEW.iter().zip(&said) {
        let answer = proxy.get(question).await.expect(200);
        assert_eq!(answer.cache().get("detail"), Some("mirror, offline"), "{question}");
        assert!(
            answer
                .header("alyx-api-notice")
                .is_some_and(|notice| notice.starts_with("!!!Alyx is out of reach"))
        );
        assert_eq!(sorted(&answer.json()), sorted(&serde_json::from_str(said).unwrap()), "{question}");
    }
    // What Alyx refuses is refused as by Alyx.
    proxy.get("/sessions?number=x").await.expect(400);
    proxy.get("/sessions/00000000-0000-4000-8000-000000000000").await.expect(404);
    let status = proxy.status().await;
    assert!(status["responses"]["mirror"].as_u64().unwrap() >= 2 * NEW.len() as u64, "{status:#}");
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
    assert!(metrics.text().contains("alyx_proxy_mirror_rows{endpoint=\"sessions\"}"), "{}", metrics.text());
}

/// Alyx leaves the order of many lists open.
fn sorted(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(records) = body["results"].as_array_mut() {
        records.sort_by_key(ToString::to_string);
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn while_alyx_is_there_it_is_asked_for_what_must_be_current() {
    let alyx = miniature().await;
    let proxy = setup(&alyx).start().await;
    mirrored(&proxy, &["sessions", "labs", "subjects"]).await;
    let forwarded = |answer: &Answer| answer.cache().fwd().map(ToOwned::to_owned);
    // A record that is not here may have been created a moment ago.
    let unknown = proxy.get("/labs/nobody").await.expect(404);
    assert_eq!(forwarded(&unknown).as_deref(), Some("uri-miss"));
    assert_eq!(unknown.cache().get("detail"), Some("may-be-new"));
    let current =
        proxy.client().ask("GET", "/sessions?limit=1").header("cache-control", "no-cache").send().await;
    assert!(forwarded(&current.expect(200)).is_some());
    assert!(forwarded(&proxy.get("/tasks?limit=1").await.expect(200)).is_some());
    // Fields that change with the time of day are as they were.
    let subjects = proxy.get("/subjects?limit=1").await.expect(200);
    assert_eq!(subjects.cache().get("detail"), Some("mirror, as-synchronised"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_decided_is_refused_with_the_reason_and_the_remedy() {
    let alyx = miniature().await;
    let proxy = setup(&alyx).set("mirror.endpoints", "sessions,labs").start().await;
    mirrored(&proxy, &["sessions", "labs"]).await;
    cut(&alyx, &proxy).await;
    let missing = proxy.get("/insertions?name=probe00").await.expect(504);
    let detail = missing.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("/insertions") && detail.contains("`mirror.endpoints`"), "{detail}");
    assert_eq!(missing.cache().get("detail"), Some("not-mirrored"));
    let apart = proxy.get("/users?limit=1").await.expect(504);
    assert!(apart.text().contains("access.private_paths"), "{}", apart.text());
}

/// Issue "The mirror", acceptance 6.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_lab_all_is_answered_and_of_others_nothing() {
    let alyx = miniature().await;
    let proxy = setup(&alyx)
        .set("mirror.endpoints", "sessions,labs")
        .set("mirror.scope.sessions.lab", "cortexlab")
        .start()
        .await;
    mirrored(&proxy, &["sessions", "labs"]).await;
    let upstream = crate::support::Client::new(alyx.addr());
    let new = "/sessions?lab=cortexlab&performance_gte=60&limit=4&offset=1";
    let (others, unscoped) = ("/sessions?lab=mainenlab&limit=3", "/sessions?number=1&limit=3");
    let theirs = |answer: &Answer| answer.text().replace(&alyx.url(), &proxy.url());
    let said = theirs(&upstream.get(new).await);
    assert!(said.contains("\"next\":\"http"), "{said}");
    let here = proxy.get(new).await;
    assert!(is_mirrored(&here) && here.text() == said, "{}", here.describe());
    for path in [others, unscoped] {
        let forwarded = proxy.get(path).await;
        assert!(!is_mirrored(&forwarded), "{}", forwarded.describe());
        assert_eq!(forwarded.text(), theirs(&upstream.get(path).await));
    }
    alyx.cut();
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    proxy.until_upstream_is("down").await;
    let asked_anew = "/sessions?number=1&lab=cortexlab&limit=2";
    assert!(is_mirrored(&proxy.get(asked_anew).await.expect(200)));
    for path in ["/sessions?lab=mainenlab&limit=4", "/sessions?number=2", "/insertions?lab=cortexlab"] {
        let refusal = proxy.get(path).await.expect(504);
        let text = refusal.json()["detail"].as_str().unwrap().to_owned();
        let reasons =
            ["Of /sessions only lab=cortexlab is mirrored here.", "/insertions, which is needed, is not"];
        assert!(reasons.iter().any(|reason| text.contains(reason)), "{text}");
        assert!(text.contains("to have it next time"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_without_a_token_that_alyx_has_accepted() {
    let alyx = miniature().await;
    let proxy = setup(&alyx).set("mirror.endpoints", "labs").start().await;
    mirrored(&proxy, &["labs"]).await;
    let stranger = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    for _ in 0..2 {
        let explain = |client: crate::support::Client| async move {
            client.ask("GET", "/labs?limit=1").header("x-alyx-proxy-explain", "1").send().await
        };
        for client in [proxy.client().anonymous(), stranger.clone()] {
            client.get("/labs?limit=2").await.expect(403);
            explain(client).await.expect(403);
        }
        cut(&alyx, &proxy).await;
    }
    proxy.get("/labs?limit=2").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_reads_their_own_write() {
    let alyx = miniature().await;
    // Those that a session's detail shows: a round over all tables takes its time.
    let tables = "sessions,subjects,labs,projects,datasets,insertions,fields-of-view,water-administrations,notes,trajectories";
    let proxy = setup(&alyx).set("mirror.endpoints", tables).start().await;
    mirrored(&proxy, &["sessions", "subjects", "labs", "projects"]).await;
    let session = proxy.get("/sessions?limit=1").await.expect(200).json()["results"][0]["id"].clone();
    let path = format!("/sessions/{}", session.as_str().unwrap());
    for number in 0..3 {
        let narrative = format!("as written {number}");
        let write = proxy.client().ask("PATCH", &path).json(&json!({ "task_protocol": narrative }));
        write.send().await.expect(200);
        let list = format!("/sessions?task_protocol=written%20{number}&limit=9");
        until("the mirror has synchronised", async || {
            // Who has written has details from Alyx; others have them from the mirror, as new.
            let detail = proxy.get(&path).await.expect(200);
            assert_eq!(detail.json()["task_protocol"], narrative, "{}", detail.describe());
            let others = proxy.client().with(users::ADMIN).get(&path).await.expect(200);
            assert_eq!(others.json()["task_protocol"], narrative, "{}", others.describe());
            let found = proxy.get(&list).await.expect(200);
            assert_eq!(found.json()["count"], 1, "{}", found.describe());
            is_mirrored(&others) && is_mirrored(&found)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_details_show_of_other_tables_is_current_too() {
    let alyx = miniature().await;
    // Tables without change times are read as a whole once an hour; in between they are counted.
    let whole = setup(&alyx).set("mirror.full_interval", "1h").start().await;
    let part = setup(&alyx).set("mirror.endpoints", "sessions,labs").start().await;
    mirrored(&part, &["sessions", "labs"]).await;
    mirrored(&whole, &["sessions", "labs", "notes", "datasets"]).await;
    let session = whole.get("/sessions?limit=1").await.expect(200).json()["results"][0]["id"].clone();
    let path = format!("/sessions/{}", session.as_str().unwrap());
    // What it shows is not followed.
    let forwarded = part.get(&path).await.expect(200);
    assert!(!is_mirrored(&forwarded), "{}", forwarded.describe());
    assert_eq!(forwarded.cache().get("detail"), Some("not-mirrored"));
    assert!(is_mirrored(&part.get("/sessions?limit=2").await.expect(200)));
    until("it is answered from the mirror", async || is_mirrored(&whole.get(&path).await.expect(200))).await;
    let note =
        json!({ "content_type": "session", "object_id": session, "text": "made at Alyx", "user": "alba" });
    let direct = crate::support::Client::new(alyx.addr());
    direct.ask("POST", "/notes").json(&note).send().await.expect(201);
    until("the note is shown from the mirror", async || {
        let detail = whole.get(&path).await.expect(200);
        is_mirrored(&detail) && detail.text().contains("made at Alyx")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_detail_is_found_and_fetched_again() {
    let alyx = miniature().await;
    let lens = Lens::before(&alyx.url()).await;
    let proxy = setup_before(&lens.url()).set("mirror.verify_per_minute", "600").start().await;
    mirrored(&proxy, &["sessions", "labs", "notes", "datasets"]).await;
    let session = proxy.get("/sessions?limit=1").await.expect(200).json()["results"][0]["id"].clone();
    let path = format!("/sessions/{}", session.as_str().unwrap());
    until("it is answered from the mirror", async || is_mirrored(&proxy.get(&path).await.expect(200))).await;
    // A script changes what only the detail shows, and leaves no trace.
    let changed = path.clone();
    lens.show(move |asked, status, body| {
        let is_it = asked.starts_with(&changed);
        (status, if is_it { body.replace(r#""narrative":""#, r#""narrative":"Mended. "#) } else { body })
    });
    let mended = |answer: &Answer| {
        assert!(is_mirrored(answer), "{}", answer.describe());
        answer.text().contains("Mended. ")
    };
    asked_until(&proxy, &format!("{path}?x="), mended).await;
    until("it is logged", async || proxy.output().contains("the record was fetched again")).await;
    // All else is answered as before.
    assert!(is_mirrored(&proxy.get("/sessions?limit=3").await.expect(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_is_found_and_no_longer_given() {
    let alyx = miniature().await;
    let proxy = setup(&alyx)
        .set("mirror.endpoints", "sessions,labs,subjects,projects")
        .set("mirror.verify_per_minute", "600")
        .set("mirror.interval", "3s")
        .start()
        .await;
    mirrored(&proxy, &["sessions", "subjects", "labs", "projects"]).await;
    let question = "/sessions?task_protocol=ephys&limit=2";
    until("a right answer is found to be right", async || {
        proxy.get(question).await.expect(200);
        proxy.status().await["mirror"]["verifications"]["same"].as_u64().unwrap() > 0
    })
    .await;
    let right = proxy.get(question).await.expect(200).json();
    // What the tables say is changed behind the proxy's back; the records' text stays, so that comparing texts does not
    // show it.
    let database = rusqlite::Connection::open(proxy.database().with_file_name("mirror.db")).unwrap();
    database.busy_timeout(Duration::from_secs(5)).unwrap();
    let changed = database.execute("UPDATE sessions SET task_protocol = 'other'", []).unwrap();
    assert!(changed > 0);
    let is_distrusted = |answer: &Answer| answer.cache().get("detail") == Some("distrusted");
    asked_until(&proxy, &format!("{question}&x="), is_distrusted).await;
    assert!(proxy.status().await["mirror"]["verifications"]["different"].as_u64().unwrap() > 0);
    assert!(proxy.output().contains("differs from Alyx's"), "it is logged");
    // The tables are read as a whole, and put down anew though no text has changed: the answer is right then.
    let trusted = |answer: &Answer| {
        assert!(is_mirrored(answer) || is_distrusted(answer), "{}", answer.describe());
        is_mirrored(answer)
    };
    let again = asked_until(&proxy, &format!("{question}&y="), trusted).await;
    assert_eq!(again.json()["count"], right["count"]);
    assert_eq!(again.json()["results"], right["results"]);
}
