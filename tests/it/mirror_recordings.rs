//! Issue "The mirror", acceptance 1: with the sample lab synchronised and Alyx gone, every recorded question that
//! is answered is answered as a real Alyx answered it; what can't be decided is refused with the reason.

use std::path::Path;

use crate::judge::{Said, tables};
use crate::support::{Setup, miniature, users};
use crate::wire::Wire;
use alyx_proxy::{alyx::ENDPOINTS, miniature::Options};

/// Of the questions that can be decided, so many percent must be answered.
const LEAST: f64 = 98.0;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_answered_without_alyx_or_refused() {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let everything: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &everything.join(","))
        .set("access.private_paths", "")
        .start()
        .await;
    proxy.until_mirrored(everything.len()).await;
    // Alyx is asked once, about nothing, so that it vouches for the reader's token.
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    alyx.cut();
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    proxy.until_upstream_is("down").await;

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings.jsonl.zst");
    let recordings = tables::recordings_in(Path::new(file));
    let headers = [
        ("Host", tables::HOST.to_owned()),
        ("Accept", "application/json".to_owned()),
        ("Authorization", users::ONEUSER.authorization()),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value));
    let address = proxy.address();
    let verdict = tokio::task::spawn_blocking(move || {
        let mut wire = Wire::open(address);
        crate::judge::judge(&recordings, |path| {
            let answer = wire.ask("GET", path, &headers, "");
            if answer.status != 504 {
                return Said::Answer { status: answer.status, body: answer.body };
            }
            let outcome = answer.header("cache-status").unwrap().to_owned();
            assert!(answer.body.contains("\"detail\":\"Alyx"), "{}", answer.body);
            let reason: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            let text = reason["detail"].as_str().unwrap().split_once(". ").map_or("", |(_, text)| text);
            assert!(!text.is_empty(), "{path}: refused without a reason: {}", answer.body);
            Said::Refused { reason: text.to_owned(), decidable: !outcome.contains("hidden") }
        })
    });
    let verdict = verdict.await.unwrap();
    verdict.print();
    assert!(verdict.wrong.is_empty(), "{} wrong:\n{}", verdict.wrong.len(), verdict.wrong.join("\n"));
    assert!(verdict.share() >= LEAST, "{:.2} %", verdict.share());
    assert!(verdict.total().answered > 2000, "only {} answered", verdict.total().answered);
}
