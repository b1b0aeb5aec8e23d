//! What happens while the mirror waits for Alyx is not lost, and nothing is current before it is.

use crate::support::{
    kept::{list, mirrored_behind_a_lens, send, whole},
    lens::unnoted,
    miniature,
};
use alyx_proxy::{
    alyx::{Endpoint, record},
    mirror::sync::Cycle,
};
use reqwest::Method;
use serde_json::json;

fn id(text: &str) -> String {
    let record = record::Record::new(text);
    let link = record.plain("id").or_else(|| record.plain("url")).unwrap();
    link.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_created_while_it_is_looked_for_is_here_once() {
    let (alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    // It is found by the count alone.
    lens.show(unnoted("sessions"));
    let subject = record::parse(&list(&alyx.url(), "subjects").await[0])["nickname"].clone();
    let body = json!({ "subject": subject, "start_time": "2026-01-02T03:04:05", "number": 1, "users": [] });
    let (status, session) = send(&alyx, Method::POST, "/sessions", Some(body)).await;
    assert_eq!(status, 201, "{session}");
    lens.hold("/sessions?limit=1000");
    let synchroniser = kept.synchroniser.clone();
    let cycle = tokio::spawn(async move { synchroniser.cycle(Cycle::Due).await.len() });
    lens.holds().await;
    // As if it had been written through the proxy.
    kept.synchroniser.touch(Endpoint::named("sessions").unwrap(), &id(&session)).await.unwrap();
    lens.release();
    assert_eq!(cycle.await.unwrap(), 0);
    whole(&alyx.url(), &kept.mirror).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_it_is_fetched_is_fetched_again_and_is_old_until_then() {
    let (alyx, lens, _folder, kept) = mirrored_behind_a_lens().await;
    let synced_at = |endpoint: &str| kept.mirror.states().of(endpoint).unwrap().synced_at;
    let mut found = None;
    for session in list(&alyx.url(), "sessions").await {
        let detail = record::parse(&miniature::get(&alyx, &format!("/sessions/{}", id(&session))).await);
        if let Some(shown) = detail["data_dataset_session_related"].get(0) {
            let default = shown["default_revision"] == "True";
            found = Some((id(&session), shown["id"].as_str().unwrap().to_owned(), default));
            break;
        }
    }
    let (session, dataset, was) = found.unwrap();
    let path = format!("/datasets/{dataset}");
    let endpoint = Endpoint::named("datasets").unwrap();
    // What a session says of it in words of its own is fetched.
    let change = async |default: bool| {
        let body = json!({ "default_dataset": default });
        let (status, text) = send(&alyx, Method::PATCH, &path, Some(body)).await;
        assert_eq!(status, 200, "{text}");
    };
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let written: i64 = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis().try_into().unwrap();
    change(!was).await;
    kept.synchroniser.touch(endpoint, &dataset).await.unwrap();
    assert!(synced_at("sessions") < written, "a session shows it");
    lens.hold(&format!("/sessions/{session}"));
    let synchroniser = kept.synchroniser.clone();
    let cycle = tokio::spawn(async move { synchroniser.cycle(Cycle::Due).await.len() });
    lens.holds().await;
    // All lists have been asked for after the write, and the session is as it was before.
    assert!(synced_at("datasets") > written);
    assert!(synced_at("sessions") < written, "it is not fetched yet");
    // The answer that is held back does not have this.
    change(was).await;
    kept.synchroniser.touch(endpoint, &dataset).await.unwrap();
    lens.release();
    assert_eq!(cycle.await.unwrap(), 0);
    kept.now().await;
    assert!(synced_at("sessions") > written);
    whole(&alyx.url(), &kept.mirror).await;
}
