//! What is said of the mirror's tables is so.

use super::Home;
use crate::support::{Answer, Proxy, Setup, command, lens::Lens, miniature, until, users};
use alyx_proxy::miniature::Options;

/// What the page Mirror says of a table.
async fn state_of(proxy: &Proxy, endpoint: &str) -> String {
    let page: Answer = proxy.client().anonymous().get("/-/mirror").await.expect(200);
    let (_, row) = page.text().split_once(&format!("data-endpoint=\"{endpoint}\"")).expect("a row");
    let (_, cell) = row.split_once("data-label=\"State\"").unwrap();
    let (_, text) = cell.split_once("\">").unwrap();
    text.split('<').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn point_29_details_that_alyx_does_not_give_are_not_to_come_for_ever() {
    let alyx = miniature::start(Options::default()).await;
    let lens = Lens::before(&alyx.url()).await;
    lens.show(|asked, status, body| {
        let is_detail = asked.starts_with("/fov-location/");
        if is_detail {
            (404, "{\"detail\":\"Not found.\",\"status_code\":404}".to_owned())
        } else {
            (status, body)
        }
    });
    let proxy = Setup::new(&lens.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,fov-location")
        .set("mirror.details", "fov-location")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(2).await;
    until("it is known that they are not given", async || {
        state_of(&proxy, "fov-location").await.ends_with("details that Alyx does not give")
    })
    .await;
    let said = command::done(&Home::new().run(&["status", "--url", &proxy.url()]));
    let line = said.lines().find(|line| line.contains("fov-location")).unwrap();
    assert!(line.contains("details but for ") && line.contains("that Alyx does not give"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_9_what_goes_on_does_not_hide_what_happens() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,sessions")
        .set("mirror.details", "sessions")
        .start()
        .await;
    proxy.until_mirrored(2).await;
    until("the details are here", async || state_of(&proxy, "sessions").await == "complete").await;
    let told = |text: &&str| text.contains("details of a table are fetched");
    assert!(proxy.output().lines().filter(told).count() > 3, "the log has each tenth: {}", proxy.output());
    let status = proxy.status().await;
    let events = status["activity"]["events"].as_array().unwrap();
    let texts: Vec<&str> = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(texts.iter().filter(|text| told(text)).count() <= 1, "{texts:#?}");
}
