//! The first fill: lists first, details beside, the newest first; lists do not grow old meanwhile, a question that lacks few
//! details has them fetched, and whoever waits is told how far it is.

use std::{sync::Arc, time::Duration};

use alyx_proxy::{
    alyx::record,
    miniature::{self as demo, Miniature, Options},
    mirror::sync::Cycle,
};

use crate::support::{
    Setup,
    kept::{Kept, equal, list, settings, whole},
    lens::{Broken, Lens},
    miniature,
    moved_clock::MovedClock,
    until, users,
};

fn decoded(alyx: &Miniature) -> Vec<String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    alyx.requests().iter().map(|asked| decode(&asked.path_and_query)).collect()
}

/// The id of a session whose detail was asked for.
fn session(path: &str) -> Option<&str> {
    path.strip_prefix("/sessions/").filter(|id| !id.contains('?'))
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_looked_after_while_details_are_fetched_and_the_newest_come_first() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let lens = Lens::before(&alyx.url()).await;
    // Each detail takes a second.
    let clock = Arc::new(MovedClock::default());
    let moved = clock.clone();
    lens.show(move |asked, status, body| {
        if session(asked).is_some() {
            moved.move_on(1_000);
        }
        (status, body)
    });
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&lens.url());
    settings.mirror.interval = "20s".parse().unwrap();
    let kept = Kept::open_by(folder.path(), settings, clock);
    let errors = kept.synchroniser.cycle(Cycle::Due).await;
    assert!(errors.is_empty(), "{errors:?}");
    let asked = decoded(&alyx);
    let first = asked.iter().position(|path| session(path).is_some()).unwrap();
    let last = asked.iter().rposition(|path| session(path).is_some()).unwrap();
    for state in ["labs", "tags", "subjects", "datasets", "insertions", "trajectories", "channels"] {
        let listed = asked.iter().position(|path| path.starts_with(&format!("/{state}?"))).unwrap();
        assert!(listed < first, "{state} is listed before the first detail");
    }
    let looked = asked[first..last].iter().filter(|path| path.contains("auto_datetime__gt")).count();
    assert!(looked >= 4, "lists were looked after {looked} times while details were fetched");
    let starts: std::collections::HashMap<String, String> = list(&alyx.url(), "sessions")
        .await
        .iter()
        .map(|text| record::parse(text))
        .map(|one| (one["id"].as_str().unwrap().to_owned(), one["start_time"].to_string()))
        .collect();
    let order: Vec<&String> = asked.iter().filter_map(|path| starts.get(session(path)?)).collect();
    assert!(order.len() > 50, "{}", order.len());
    // Two are asked for at once.
    let wrong = order.windows(3).filter(|three| three[2] > three[0]).count();
    assert_eq!(wrong, 0, "the newest first: {order:?}");
    whole(&lens.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn details_go_on_where_they_were_after_a_kill() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&alyx.url());
    let mut kills = 0;
    for kill in 1..60_u64 {
        let kept = Kept::open(folder.path(), settings.clone());
        let cycle = kept.synchroniser.cycle(Cycle::Due);
        let ended = tokio::time::timeout(Duration::from_millis(50 * (kill % 9 + 1)), cycle).await;
        kept.mirror.close();
        if ended.is_ok() {
            break;
        }
        kills += 1;
    }
    let kept = Kept::open(folder.path(), settings);
    kept.synchroniser.cycle(Cycle::Due).await;
    let asked = decoded(&alyx);
    let details = asked.iter().filter(|path| session(path).is_some()).count();
    let sessions = list(&alyx.url(), "sessions").await.len();
    println!("{kills} kills: {details} details were asked for of {sessions} sessions");
    // What was under way at each kill is asked for again: a batch.
    assert!(details <= sessions + 40 * (kills + 1), "{details} of {sessions}, {kills} kills");
    equal(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_lacks_a_few_details_has_them_fetched() {
    let alyx = miniature::start_for_all().await;
    let lens = Lens::before(&alyx.url()).await;
    // No detail of a session can be had: all the rest is here.
    let sessions = list(&alyx.url(), "sessions").await;
    let ids: Vec<String> =
        sessions.iter().map(|text| record::parse(text)["id"].as_str().unwrap().to_owned()).collect();
    for id in &ids {
        lens.break_at(&format!("/sessions/{id}"), Broken::Status(500));
    }
    let proxy = Setup::new(&lens.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "sessions,labs,subjects,projects")
        .set("mirror.details", "sessions")
        .set("mirror.interval", "1h")
        .set("mirror.full_interval", "1d")
        .set("mirror.verify_per_minute", "0")
        .set("upstream.serve_stale_after", "20s")
        .start()
        .await;
    let labs = async || proxy.status().await["mirror"]["tables"].as_array().map_or(0, Vec::len) == 4;
    until("the lists are here", labs).await;
    // What asks for details by itself has given up, and rests.
    let rests = async || proxy.status().await["mirror"]["progress"]["sessions"]["phase"] == "waiting";
    until("the details rest", rests).await;
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    let subject = record::parse(&sessions[0])["subject"].as_str().unwrap().to_owned();
    let question = format!("/sessions?subject={subject}&qc=NOT_SET&number=1&limit=5");
    lens.mend();
    alyx.forget_requests();
    let answer = proxy.get(&question).await.expect(200);
    assert_eq!(answer.cache().get("detail"), Some("caught-up"), "{}", answer.describe());
    let asked = decoded(&alyx);
    assert!((1..=20).contains(&asked.len()) && asked.iter().all(|path| session(path).is_some()), "{asked:?}");
    let again = proxy.get(&format!("{question}&offset=1")).await.expect(200);
    assert_eq!(again.cache().get("detail"), Some("mirror"), "{}", again.describe());
    // It is told how far it is.
    let progress = proxy.status().await["mirror"]["progress"].clone();
    for field in ["per_second", "seconds_left", "here", "details_left", "text", "moving"] {
        assert!(progress["sessions"].get(field).is_some(), "{field}: {progress:#}");
    }
}
