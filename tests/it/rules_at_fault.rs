//! What the mirror makes of a question otherwise than Alyx, though every record is the same, is found and goes to Alyx from then on.

use std::time::Duration;

use alyx_proxy::{alyx::record, miniature::Options};
use serde_json::json;

use crate::support::{Answer, Proxy, Setup, lens::Lens, miniature, until, users};

fn setup(alyx: &Lens) -> Setup {
    Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,sessions")
        .set("mirror.details", "")
        .set("mirror.interval", "500ms")
        .set("mirror.verify_per_minute", "600")
        .set("upstream.requests_per_minute", "0")
        // Nothing but the mirror answers.
        .set("storage.max_disk", "0 B")
        .set("storage.max_memory", "0 B")
}

fn detail(answer: &Answer) -> String {
    answer.cache().get("detail").unwrap_or_default().to_owned()
}

/// Asks until the question is out of use for good: it is found to differ, its tables are read anew, and it is found again.
async fn until_at_fault(proxy: &Proxy, question: &str) {
    let start = std::time::Instant::now();
    // What is asked again word by word is answered by a copy, and compared once.
    let mut asked = (0..).map(|number| format!("{question}&asked={number}"));
    while detail(&proxy.get(&asked.next().unwrap()).await.expect(200)) != "rule-at-fault" {
        assert!(start.elapsed() < Duration::from_mins(2), "not at fault:\n{}", proxy.output());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_alyx_understands_otherwise_is_out_of_use_for_good() {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let lens = Lens::before(&alyx.url()).await;
    // This Alyx counts one of them more.
    lens.show(|asked, status, body| {
        let other = asked.contains("number=1") && asked.starts_with("/sessions");
        (status, if other { body.replacen("{\"count\":", "{\"count\":1", 1) } else { body })
    });
    let mut proxy = setup(&lens).start().await;
    proxy.until_mirrored(2).await;
    until_at_fault(&proxy, "/sessions?number=1&limit=3").await;
    let status = proxy.status().await;
    let tables = status["mirror"]["tables"].as_array().unwrap();
    let sessions = tables.iter().find(|table| table["endpoint"] == "sessions").unwrap();
    assert_eq!(sessions["at_fault"], json!(["number"]), "{sessions}");
    // What is asked otherwise is answered as before.
    until("others are answered here", async || {
        detail(&proxy.get("/sessions?lab=cortexlab&limit=3").await.expect(200)).starts_with("mirror")
    })
    .await;
    // Offline it is refused by name, also after a restart.
    proxy.terminate().await;
    alyx.cut();
    let proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    let refused = proxy.get("/sessions?number=1&limit=3").await.expect(504).text().to_owned();
    assert!(refused.contains("`number`"), "{refused}");
    proxy.get("/sessions?number=2&lab=cortexlab").await.expect(504);
    proxy.get("/sessions?lab=cortexlab").await.expect(200);
    // Until somebody who knows better says so.
    let admin = proxy.client().with_authorization(&format!("Bearer {}", proxy.admin_token().trim()));
    admin.ask("POST", "/-/api/trust").json(&json!({})).send().await.expect(200);
    until("it is trusted again", async || {
        let status = proxy.status().await;
        let tables = status["mirror"]["tables"].as_array().unwrap();
        tables.iter().all(|table| table["at_fault"] == json!([]))
    })
    .await;
    // At once: its tables need not be read anew before.
    proxy.get("/sessions?number=1&limit=3&asked=again").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_alyx_orders_otherwise_is_out_of_use() {
    let alyx = miniature::start(Options { complete: true, ..Options::default() }).await;
    let lens = Lens::before(&alyx.url()).await;
    // This Alyx lists a page the other way round; no record is another.
    lens.show(|asked, status, body| {
        let results = record::fields(&body).find(|(name, _)| *name == "results");
        let Some((_, results)) =
            results.filter(|_| asked.starts_with("/sessions?") && asked.contains("lab=cortexlab"))
        else {
            return (status, body);
        };
        let mut records: Vec<&str> = record::members(results).collect();
        records.reverse();
        let page = body.replace(results, &format!("[{}]", records.join(",")));
        (status, page)
    });
    let proxy = setup(&lens).set("mirror.endpoints", "labs,sessions").start().await;
    proxy.until_mirrored(2).await;
    until_at_fault(&proxy, "/sessions?lab=cortexlab").await;
}
