//! The mirror becomes what Alyx is, keeps up with it, survives being killed, and asks for little.

use std::{collections::BTreeMap, time::Duration};

use crate::support::{
    Reply, Setup, Upstream,
    kept::{Kept, details_equal, equal, list, mirrored, send, settings},
    until,
};
use alyx_proxy::{
    alyx::{Endpoint, record},
    miniature::{self as demo, Miniature, Options},
    mirror::{schema::Schema, sync::Cycle},
};
use serde_json::{Value, json};

fn by_endpoint(alyx: &Miniature) -> BTreeMap<&'static str, u64> {
    let mut counted = BTreeMap::new();
    for asked in alyx.requests() {
        let name = asked.path_and_query.trim_start_matches('/').split(['/', '?']).next().unwrap().to_owned();
        if let Some(endpoint) = Endpoint::named(&name) {
            *counted.entry(endpoint.name).or_default() += 1;
        }
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_sample_is_taken_over_with_few_requests() {
    let alyx = demo::start(Options { complete: true, ..Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&alyx.url()));
    let start = std::time::Instant::now();
    kept.now().await;
    let seconds = start.elapsed().as_secs_f64();
    let first = by_endpoint(&alyx);
    alyx.forget_requests();
    kept.now().await;
    let idle = by_endpoint(&alyx);
    let states = kept.mirror.states();
    println!("a first fill took {seconds:.1} s; requests of the first fill and of a cycle without changes:");
    for (endpoint, state) in states.iter() {
        let table = Schema::get().table(endpoint).unwrap();
        let details = if table.has_details() { state.rows } else { 0 };
        let (first, idle) = (first[endpoint], idle.get(endpoint).copied().unwrap_or_default());
        println!("{endpoint:<26} {:>6} rows {details:>4} details {first:>5} {idle:>3}", state.rows);
        assert!(first <= state.rows / 1000 + details + 10, "{endpoint}: {first}");
        // Details that Alyx has none of are asked for again.
        let lacking = if state.details { 0 } else { details };
        // Datasets are counted for each tag.
        let tags = if endpoint == "datasets" { states.of("tags").unwrap().rows } else { 0 };
        assert!(idle <= 2.max(state.rows.div_ceil(900)) + lacking + tags, "{endpoint}: {idle}");
    }
    alyx.forget_requests();
    let errors = kept.synchroniser.cycle(Cycle::Due).await;
    assert!(errors.is_empty(), "{errors:?}");
    for (endpoint, requests) in by_endpoint(&alyx) {
        let lacking = if states.of(endpoint).unwrap().details { 0 } else { 100 };
        assert!(requests <= 2 + lacking, "{endpoint}: {requests}");
    }
    equal(&alyx.url(), &kept.mirror).await;
    details_equal(&alyx.url(), &kept.mirror, "insertions", "id").await;
    details_equal(&alyx.url(), &kept.mirror, "subjects", "nickname").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_all_kinds_are_found() {
    use reqwest::Method;
    let (alyx, _folder, kept) = mirrored().await;
    let first = |endpoint: &'static str| {
        let alyx = &alyx;
        async move { record::parse(&list(&alyx.url(), endpoint).await[0]) }
    };
    let id = |value: &Value| {
        let link = value.get("id").or(value.get("url")).unwrap().as_str().unwrap();
        link.rsplit('/').next().unwrap().to_owned()
    };
    let session = first("sessions").await;
    let dataset = first("datasets").await;
    let trajectory = first("trajectories").await;
    let insertion = first("insertions").await;
    let subject = first("subjects").await;
    let tag = first("tags").await;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let writes = [
        (Method::PATCH, format!("/sessions/{}", id(&session)), Some(json!({ "task_protocol": "changed" }))),
        (Method::PATCH, format!("/datasets/{}", id(&dataset)), Some(json!({ "file_size": 4711 }))),
        (Method::PATCH, format!("/trajectories/{}", id(&trajectory)), Some(json!({ "x": 1.5 }))),
        (Method::PATCH, format!("/tags/{}", text(&tag, "name")), Some(json!({ "description": "changed" }))),
        (
            Method::PATCH,
            format!("/subjects/{}", text(&subject, "nickname")),
            Some(json!({ "description": "changed" })),
        ),
        (
            Method::POST,
            "/sessions".to_owned(),
            Some(json!({
                "subject": text(&subject, "nickname"), "start_time": "2026-01-02T03:04:05", "number": 1,
                "users": [], "type": "Experiment", "task_protocol": "new",
            })),
        ),
        (Method::DELETE, format!("/insertions/{}", id(&insertion)), None),
    ];
    for (method, path, body) in writes {
        let (status, text) = send(&alyx, method.clone(), &path, body).await;
        println!("{method} {path}: {status} {}", if status >= 400 { text } else { String::new() });
    }
    kept.now().await;
    equal(&alyx.url(), &kept.mirror).await;
    details_equal(&alyx.url(), &kept.mirror, "sessions", "url").await;
    // Something that hangs on others goes.
    for path in [
        format!("/datasets/{}", id(&dataset)),
        format!("/sessions/{}", id(&session)),
        "/tags/brand%20new".to_owned(),
    ] {
        let (status, text) = send(&alyx, Method::DELETE, &path, None).await;
        println!("DELETE {path}: {status} {}", if status >= 400 { text } else { String::new() });
    }
    kept.now().await;
    equal(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_is_killed_goes_on_where_it_was() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&alyx.url());
    settings.mirror.details = Vec::new();
    let scratch = tempfile::tempdir().unwrap();
    let whole = Kept::open(scratch.path(), settings.clone());
    let start = std::time::Instant::now();
    whole.now().await;
    let (took, needed) = (start.elapsed(), by_endpoint(&alyx).values().sum::<u64>());
    alyx.forget_requests();
    let mut kills = 0;
    for kill in 1..=30_u32 {
        let kept = Kept::open(folder.path(), settings.clone());
        let cycle = kept.synchroniser.cycle(Cycle::Due);
        let ended = tokio::time::timeout(took * (kill % 7 + 1) / 40 + Duration::from_millis(30), cycle).await;
        kills += u32::from(ended.is_err());
        for (endpoint, state) in kept.mirror.states().iter() {
            let theirs = list(&alyx.url(), endpoint).await.len() as u64;
            assert_eq!(state.rows, theirs, "{endpoint} is not whole after kill {kill}");
        }
        kept.mirror.close();
    }
    alyx.forget_requests();
    let kept = Kept::open(folder.path(), settings);
    kept.now().await;
    let after = by_endpoint(&alyx).values().sum::<u64>();
    println!("{kills} kills; {needed} requests from nothing, {after} after the last kill");
    equal(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_logs_in_anew_whatever_alyx_says_of_its_token() {
    for refusal in ["Invalid token.", "User inactive or deleted."] {
        let alyx = Upstream::start(std::sync::Arc::new(move |asked| {
            let json = |status, body: Value| Reply::new(status, "application/json", body.to_string());
            match (asked.path().as_str(), asked.header("authorization")) {
                ("/auth-token", _) => json(200, json!({ "token": "new" })),
                (_, Some("Token old")) => json(403, json!({ "detail": refusal, "status_code": 403 })),
                _ => json(200, json!({ "count": 0, "next": null, "previous": null, "results": [] })),
            }
        }))
        .await;
        let proxy = Setup::new(&alyx.url())
            .set("mirror.username", "account")
            .set("mirror.password", "password")
            .set("mirror.token", "old")
            .start()
            .await;
        let with =
            |token: &str| alyx.asked().iter().any(|asked| asked.header("authorization") == Some(token));
        until(refusal, async || with("Token new")).await;
        assert!(with("Token old"), "{refusal}");
        drop(proxy);
    }
}
