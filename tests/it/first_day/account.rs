//! The mirror's account: a mistake in it is told once, and costs Alyx one log-in.

use alyx_proxy::miniature::{Miniature, Options};

use super::Home;
use crate::support::{Setup, command, miniature, until, users};

const TABLES: [&str; 6] = ["labs", "projects", "users", "subjects", "sessions", "insertions"];

fn log_ins(alyx: &Miniature) -> usize {
    let is_log_in = |asked: &&alyx_proxy::miniature::LoggedRequest| {
        asked.method == "POST" && asked.path_and_query == "/auth-token"
    };
    alyx.requests().iter().filter(is_log_in).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn point_8_a_wrong_password_is_tried_once_and_point_9_told_in_one_line() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.username", users::ADMIN.name)
        .set("mirror.password", "wrong")
        .set("mirror.interval", "1s")
        .set("mirror.full_interval", "1s")
        .start()
        .await;
    until("the account is refused", async || proxy.status().await["mirror"]["account_refused"].is_string())
        .await;
    assert_eq!(log_ins(&alyx), 1);
    // Somebody who asks for it has it tried once more.
    let home = Home::beside(&proxy, &alyx.url());
    let folder = proxy.data_dir();
    let said = command::failed(&home.run(&["sync", "--data-dir", super::text(&folder)]), 1);
    assert!(
        said.contains("not all was synchronised: Alyx does not accept the account's user name"),
        "{said}"
    );
    assert!(said.contains("`mirror.password`"), "{said}");
    assert_eq!(log_ins(&alyx), 2);
    // Rounds go by, and nothing of it in the log but one line.
    let rounds = || alyx.requests().iter().filter(|asked| asked.method == "GET").count();
    let before = rounds();
    for question in ["/labs", "/projects"] {
        proxy.get(question).await.expect(200);
    }
    until("Alyx was asked for people", async || rounds() > before).await;
    assert_eq!(log_ins(&alyx), 2);
    let told = |level: &str| {
        let is_it = |line: &&str| line.contains(level) && line.contains("synchronise");
        proxy.output().lines().filter(is_it).count()
    };
    assert!((1..=2).contains(&told("ERROR")), "{}", proxy.output());
    assert_eq!(told("WARN"), 0, "{}", proxy.output());
    // It stands where one looks.
    let said = command::done(&command::run_for(&proxy, &["status"]));
    assert!(said.contains("ATTENTION") && said.contains("does not accept the account's user name"), "{said}");
    for page in ["/-/status", "/-/mirror"] {
        let shown = proxy.client().anonymous().get(page).await.expect(200);
        assert!(shown.text().contains("nothing is synchronised"), "{page}");
        assert!(!shown.text().contains("does not accept"), "{page}");
    }
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
    assert!(metrics.text().contains("alyx_proxy_mirror_account_refused 1"), "{}", metrics.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn point_11_a_short_cut_does_not_pause_the_first_fill() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &TABLES.join(","))
        .set("mirror.details", "sessions")
        .set("mirror.verify_per_minute", "0")
        // Whoever waits for the next round waits for ever.
        .set("mirror.interval", "30d")
        .set("upstream.requests_per_minute", "600")
        .start()
        .await;
    until("it has begun", async || {
        proxy.status().await["mirror"]["tables"].as_array().is_some_and(|tables| !tables.is_empty())
    })
    .await;
    alyx.cut();
    proxy.until_upstream_is("down").await;
    alyx.restore().await.unwrap();
    proxy.until_mirrored(TABLES.len()).await;
}
