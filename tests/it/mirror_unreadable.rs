//! One record that Alyx can't give costs itself alone, whenever that is met; and a trouble of Alyx's is laid on no record.

use std::{collections::BTreeSet, time::Duration};

use alyx_proxy::{
    miniature::{self as demo, Miniature, Options},
    mirror::sync::Cycle,
    settings::{Settings, value::Span},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Proxy, Setup,
    command::{done, run_for},
    kept::{self, Kept, details_equal, equal_of, send},
    lens::{Broken, Lens},
    miniature, rounds, tried, until,
};

/// One of each kind first: these are tried in every run, all with `--long`.
const FAULTS: [Broken; 14] = [
    Broken::Status(403),
    Broken::Status(404),
    Broken::Status(500),
    Broken::CutJson,
    Broken::Redirect,
    Broken::Silence,
    Broken::Status(400),
    Broken::Status(410),
    Broken::Status(413),
    Broken::Status(414),
    Broken::Status(502),
    Broken::Status(504),
    Broken::Nonsense,
    Broken::Html,
];

/// Tables that are mirrored here: sessions with their details, and what these need.
const TABLES: [&str; 4] = ["sessions", "subjects", "labs", "projects"];

fn settings(url: &str) -> Settings {
    let mut settings = kept::settings(url);
    settings.mirror.endpoints = TABLES.map(str::to_owned).to_vec();
    settings.mirror.details = vec!["sessions".to_owned()];
    settings.upstream.timeout = Span::seconds(10);
    settings
}

/// The paths of all sessions.
async fn sessions(alyx: &Miniature) -> Vec<String> {
    let path = |list: &String| {
        let record: Value = serde_json::from_str(list).unwrap();
        format!("/sessions/{}", record["id"].as_str().unwrap())
    };
    let mut paths: Vec<_> = kept::list(&alyx.url(), "sessions").await.iter().map(path).collect();
    paths.sort();
    paths
}

/// What is told of records that could not be read.
fn unreadable(kept: &Kept) -> Vec<String> {
    let states = kept.mirror.states();
    let told = states.iter().flat_map(|(_, state)| state.unreadable.told.clone());
    told.map(|record| record.path).collect()
}

/// Only this session's detail is missing; all else is as Alyx has it.
async fn only_this_is_missing(alyx: &Miniature, kept: &Kept, path: &str, about: &str) {
    assert_eq!(unreadable(kept), [path], "{about}");
    equal_of(&alyx.url(), &kept.mirror, &TABLES).await;
    details_equal(&alyx.url(), &kept.mirror, "sessions", "id").await;
    let missing: Vec<String> = kept
        .mirror
        .read(|connection, _| {
            let sql =
                "SELECT '/sessions/' || json_extract(list, '$.id') FROM sessions__body WHERE detail IS NULL";
            connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        })
        .await
        .unwrap();
    assert_eq!(missing, [path], "{about}");
}

async fn all_is_here(alyx: &Miniature, kept: &Kept, about: &str) {
    assert_eq!(unreadable(kept), Vec::<String>::new(), "{about}");
    assert!(kept.mirror.states().of("sessions").unwrap().details, "{about}");
    equal_of(&alyx.url(), &kept.mirror, &TABLES).await;
    details_equal(&alyx.url(), &kept.mirror, "sessions", "id").await;
}

/// One fault, met in every phase one after the other.
async fn one_fault(broken: Broken) {
    let alyx = demo::start(Options::default()).await.unwrap();
    let paths = sessions(&alyx).await;
    let (bad, other) = (&paths[3], &paths[7]);
    let lens = Lens::before(&alyx.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&lens.url()));
    let about = |phase: &str| format!("{broken:?} while {phase}");
    let heals = async |phase: &str| {
        lens.mend();
        kept.now().await;
        all_is_here(&alyx, &kept, &about(phase)).await;
    };

    lens.break_at(bad, broken);
    kept.now().await;
    only_this_is_missing(&alyx, &kept, bad, &about("filling")).await;
    // A cycle of no one's asking leaves it alone for a moment, and goes on with the others.
    assert!(kept.synchroniser.cycle(Cycle::Due).await.is_empty());
    heals("filling").await;

    lens.break_at(bad, broken);
    for path in [bad, other] {
        let (status, text) = send(&alyx, Method::PATCH, path, Some(json!({ "narrative": "changed" }))).await;
        assert_eq!(status, 200, "{text}");
    }
    kept.now().await;
    only_this_is_missing(&alyx, &kept, bad, &about("following changes")).await;
    heals("following changes").await;

    // Another record, which it shows, is changed: its detail is fetched again.
    lens.break_at(bad, broken);
    let (status, text) = send(&alyx, Method::PATCH, bad, Some(json!({ "task_protocol": "another" }))).await;
    assert_eq!(status, 200, "{text}");
    let key = bad.rsplit('/').next().unwrap();
    kept.synchroniser.touch(alyx_proxy::alyx::Endpoint::named("sessions").unwrap(), key).await.unwrap();
    only_this_is_missing(&alyx, &kept, bad, &about("fetching one again")).await;
    heals("fetching one again").await;

    // A disk has got something wrong: the table is looked through, and fetched anew.
    lens.break_at(bad, broken);
    let database = rusqlite::Connection::open(folder.path().join("mirror.db")).unwrap();
    database.execute("UPDATE sessions__body SET list = replace(list, '\"', ' ') WHERE n = 5", []).unwrap();
    database.execute("UPDATE meta SET value = 0 WHERE key = 'scrubbed_at'", []).unwrap();
    drop(database);
    kept.now().await;
    only_this_is_missing(&alyx, &kept, bad, &about("mending a disk's damage")).await;
    heals("mending a disk's damage").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_can_not_be_read_costs_itself_alone_in_every_phase() {
    let faults = &FAULTS[..rounds(6, FAULTS.len())];
    futures_util::future::join_all(faults.iter().map(|fault| one_fault(*fault))).await;
    tried("records at fault", faults.len() * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trouble_of_alyx_is_laid_on_no_record() {
    let statuses = [400, 403, 410, 500, 502];
    let alyx = demo::start(Options::default()).await.unwrap();
    let lens = Lens::before(&alyx.url()).await;
    for (status, everything) in statuses.iter().flat_map(|status| [(*status, true), (*status, false)]) {
        let about = format!("status {status} for {}", if everything { "everything" } else { "all details" });
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(folder.path(), settings(&lens.url()));
        let fails = move |asked: &str, right: u16, body: String| {
            if asked.starts_with("/sessions/") || everything && !asked.starts_with("/auth-token") {
                return (status, r#"{"detail":"No.","status_code":1}"#.to_owned());
            }
            (right, body)
        };
        lens.show(fails);
        let errors = kept.synchroniser.cycle(Cycle::Now(&[])).await;
        assert!(errors.iter().any(|(table, _)| *table == "sessions"), "{about}: {errors:?}");
        assert_eq!(unreadable(&kept), Vec::<String>::new(), "{about}");
        lens.clear();
        kept.now().await;
        all_is_here(&alyx, &kept, &about).await;
        // The same when all was here, and one has changed.
        let bad = sessions(&alyx).await.remove(3);
        let (changed, text) = send(&alyx, Method::PATCH, &bad, Some(json!({ "narrative": about }))).await;
        assert_eq!(changed, 200, "{text}");
        lens.show(fails);
        let errors = kept.synchroniser.cycle(Cycle::Now(&[])).await;
        assert!(errors.iter().any(|(table, _)| *table == "sessions"), "{about}: {errors:?}");
        assert_eq!(unreadable(&kept), Vec::<String>::new(), "{about}");
        lens.clear();
        kept.now().await;
        all_is_here(&alyx, &kept, &about).await;
    }
}

/// A record of the list that does not fit its table is not here at all: lists are refused, other records are given.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_its_table_costs_itself_alone() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let bad = sessions(&alyx).await.remove(3);
    let id = bad.rsplit('/').next().unwrap().to_owned();
    let lens = Lens::before(&alyx.url()).await;
    let odd = move |asked: &str, status: u16, body: String| {
        let Ok(mut page) = serde_json::from_str::<Value>(&body) else { return (status, body) };
        for record in page["results"].as_array_mut().into_iter().flatten() {
            if asked.starts_with("/sessions?") && record["id"] == id.as_str() {
                record["number"] = json!("many");
                return (status, page.to_string());
            }
        }
        (status, body)
    };
    lens.show(odd.clone());
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&lens.url()));
    let rows = || kept.mirror.states().of("sessions").unwrap().rows;
    kept.now().await;
    let all = sessions(&alyx).await.len() as u64;
    assert_eq!((unreadable(&kept), rows()), (vec![bad.clone()], all - 1));
    kept.now().await;
    assert_eq!((unreadable(&kept), rows()), (vec![bad.clone()], all - 1));
    lens.clear();
    kept.now().await;
    all_is_here(&alyx, &kept, "after it fits again").await;
    lens.show(odd);
    let (status, text) = send(&alyx, Method::PATCH, &bad, Some(json!({ "narrative": "changed" }))).await;
    assert_eq!(status, 200, "{text}");
    kept.now().await;
    assert_eq!((unreadable(&kept), rows()), (vec![bad], all - 1));
    lens.clear();
    kept.now().await;
    all_is_here(&alyx, &kept, "after it fits again").await;
}

/// A page of a list that fails because of one record on it: the record is looked for, and costs itself alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_can_not_be_listed_costs_itself_alone() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let bad = sessions(&alyx).await.remove(3);
    let all = sessions(&alyx).await.len() as u64;
    let id = bad.rsplit('/').next().unwrap().to_owned();
    let lens = Lens::before(&alyx.url()).await;
    let fails = move |asked: &str, status: u16, body: String| {
        if asked.starts_with("/sessions?") && body.contains(&id) {
            return (500, r#"{"detail":"No.","status_code":500}"#.to_owned());
        }
        (status, body)
    };
    lens.show(fails.clone());
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&lens.url()));
    let rows = || kept.mirror.states().of("sessions").unwrap().rows;
    for cycle in 0..2 {
        kept.now().await;
        assert_eq!((unreadable(&kept).len(), rows()), (1, all - 1), "{cycle}: {:?}", unreadable(&kept));
    }
    lens.clear();
    kept.now().await;
    all_is_here(&alyx, &kept, "when it can be listed again").await;
    lens.show(fails);
    let (status, text) = send(&alyx, Method::PATCH, &bad, Some(json!({ "narrative": "changed" }))).await;
    assert_eq!(status, 200, "{text}");
    for cycle in 0..2 {
        kept.now().await;
        assert_eq!((unreadable(&kept), rows()), (vec![bad.clone()], all - 1), "{cycle}");
    }
    lens.clear();
    kept.now().await;
    all_is_here(&alyx, &kept, "when it can be listed again").await;

    // Where no record can be listed, none of them is at fault.
    lens.show(|asked, status, body| {
        if asked.starts_with("/sessions?") && body.contains("\"start_time\"") {
            return (500, r#"{"detail":"No.","status_code":500}"#.to_owned());
        }
        (status, body)
    });
    for folder in [None, Some(tempfile::tempdir().unwrap())] {
        let fresh = folder.as_ref().map(|folder| Kept::open(folder.path(), settings(&lens.url())));
        let kept = fresh.as_ref().unwrap_or(&kept);
        if fresh.is_none() {
            send(&alyx, Method::PATCH, &bad, Some(json!({ "narrative": "changed again" }))).await;
        }
        let errors = kept.synchroniser.cycle(Cycle::Now(&[])).await;
        assert!(errors.iter().any(|(table, _)| *table == "sessions"), "{errors:?}");
        assert_eq!(unreadable(kept), Vec::<String>::new());
    }
}

async fn mirrored_but_one(broken: Broken, tables: &str) -> (std::sync::Arc<Miniature>, Lens, Proxy, String) {
    let alyx = std::sync::Arc::new(miniature::start_for_all().await);
    let lens = Lens::before(&alyx.url()).await;
    let bad = sessions(&alyx).await.remove(3);
    lens.break_at(&bad, broken);
    let proxy = Setup::new(&lens.url())
        .set("mirror.username", "demo")
        .set("mirror.password", "demo")
        .set("mirror.endpoints", tables)
        .set("mirror.details", "sessions")
        .set("upstream.timeout", "2s")
        .start()
        .await;
    let start = std::time::Instant::now();
    while !proxy.status().await["mirror"]["tables"].to_string().contains(&bad) {
        assert!(start.elapsed() < Duration::from_mins(2), "the record is not named");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    (alyx, lens, proxy, bad)
}

/// What depends on it is refused with its name; what surely doesn't is answered.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_named_wherever_it_is_missed() {
    let (alyx, lens, proxy, bad) = mirrored_but_one(Broken::Status(403), &TABLES.join(",")).await;
    let right: Value = serde_json::from_str(&miniature::get(&alyx, &bad).await).unwrap();
    let (lab, day) =
        (right["lab"].as_str().unwrap().to_owned(), right["start_time"].as_str().unwrap()[..10].to_owned());
    let others = format!("/sessions?qc=NOT_SET&date_range=1990-01-01,1990-01-02&lab={lab}");
    let depends = format!("/sessions?qc=NOT_SET&date_range={day},{day}&lab={lab}");
    let command = done(&run_for(&proxy, &["status"]));
    assert!(command.contains(&bad) && command.contains("403"), "{command}");
    let page = proxy.get("/-/mirror").await.expect(200);
    assert!(page.text().contains(&bad) && page.text().contains("403"), "{}", page.text());
    alyx.cut();
    lens.show(|_, _, _| (502, String::new()));
    proxy.get("/labs?never=asked").await;
    proxy.until_upstream_is("down").await;
    for question in [bad.as_str(), depends.as_str(), "/sessions?qc=NOT_SET", "/sessions?performance_gte=1"] {
        let refused = proxy.get(question).await.expect(504);
        let text = refused.text();
        assert!(
            text.contains(&bad) && text.contains("403") && text.contains("asked for again at"),
            "{question}: {text}"
        );
        assert_eq!(refused.cache().get("detail"), Some("unreadable-record"), "{question}");
    }
    let other = sessions_of(&proxy).await.into_iter().find(|path| *path != bad).unwrap();
    for question in [others.as_str(), "/sessions?limit=3", &format!("/sessions?lab={lab}"), &other] {
        let answer = proxy.get(question).await.expect(200);
        assert!(answer.cache().get("detail").unwrap().starts_with("mirror"), "{question}");
    }
}

/// Has an administrator's wish carried out.
async fn wish(proxy: &Proxy, action: &str) {
    let token = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    let admin = proxy.client().with_authorization(&format!("Bearer {token}"));
    let asked = admin.ask("POST", &format!("/-/api/{action}")).json(&json!({})).send().await;
    assert!(asked.status.is_success(), "{}", asked.describe());
}

async fn sessions_of(proxy: &Proxy) -> BTreeSet<String> {
    let list = proxy.get("/sessions?limit=20").await.expect(200).json();
    let path = |record: &Value| format!("/sessions/{}", record["id"].as_str().unwrap());
    list["results"].as_array().unwrap().iter().map(path).collect()
}

/// What was answered from here lately is compared with Alyx's; that it can't give one record takes nothing else away.
#[tokio::test(flavor = "multi_thread")]
async fn comparing_goes_on_beside_it() {
    // A detail is answered only where all tables that it shows are here.
    let (_alyx, lens, proxy, bad) = mirrored_but_one(Broken::Status(403), "all").await;
    lens.mend();
    wish(&proxy, "sync").await;
    until("the record is here", async || {
        !proxy.status().await["mirror"]["tables"].to_string().contains(&bad)
    })
    .await;
    // Silence counts as Alyx being away, and then nothing is compared.
    for broken in [Broken::Status(500), Broken::Status(400), Broken::Html] {
        let before = proxy.status().await["mirror"]["verifications"]["unknown"].as_u64().unwrap();
        lens.break_at(&bad, broken);
        let answer = proxy.get(&bad).await.expect(200);
        assert!(answer.cache().get("detail").unwrap().starts_with("mirror"), "{broken:?}");
        let compared = async || {
            wish(&proxy, "verify").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.status().await["mirror"]["verifications"]["unknown"].as_u64().unwrap() > before
        };
        until(&format!("it is compared ({broken:?})"), compared).await;
        lens.mend();
        let table = proxy.status().await["mirror"]["tables"].to_string();
        assert!(!table.contains("distrusted\":[\""), "{broken:?}: {table}");
        proxy.get(&bad).await.expect(200);
    }
}
