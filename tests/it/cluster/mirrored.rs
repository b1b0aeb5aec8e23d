//! Tables that a proxy mirrors by itself don't bring back what was there before a write through another.

use serde_json::json;

use super::{Shared, notice};
use crate::support::{miniature, until, users};
use alyx_proxy::miniature::Options;

#[tokio::test(flavor = "multi_thread")]
async fn tables_obey_what_was_written_through_another() {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let shared = Shared::with(&alyx.url(), 2, |setup| {
        setup
            .set("mirror.token", users::ADMIN.token)
            .set("mirror.endpoints", "subjects,labs,projects")
            .set("mirror.interval", "1s")
            .set("mirror.full_interval", "1s")
            .set("mirror.verify_per_minute", "0")
    })
    .await;
    for proxy in &shared.proxies {
        proxy.until_mirrored(3).await;
    }
    let first = shared.proxies[1].get("/subjects?limit=1").await.expect(200).json();
    let nickname = first["results"][0]["nickname"].as_str().unwrap().to_owned();
    let question = format!("/subjects?nickname={nickname}");
    for round in 0..5 {
        until("it is mirrored", async || {
            let answer = shared.proxies[1].get(&question).await.expect(200);
            answer.cache().text.contains("mirror")
        })
        .await;
        let written = format!("written in round {round}");
        let body = json!({ "description": written });
        let ask =
            shared.proxies[0].client().with(users::ADMIN).ask("PATCH", &format!("/subjects/{nickname}"));
        let answer = ask.json(&body).send().await;
        assert!(answer.status.is_success() && notice(&answer).is_none(), "{}", answer.describe());
        let answer = shared.proxies[1].get(&question).await.expect(200);
        let said = answer.json();
        assert_eq!(said["results"][0]["description"], written, "round {round}: {}", answer.cache().text);
        assert_eq!(notice(&answer), None);
    }
}
