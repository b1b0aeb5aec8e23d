//! What the mirror asks of Alyx by itself is in proportion to what it saves it: at most a twentieth of the reads that were
//! answered here, or 250 a day. A virtual day, by a clock that is moved on.

use std::{path::Path, sync::Arc};

use alyx_proxy::{
    clock::{Clock, Millis},
    miniature::{self as demo, Miniature, Options},
    mirror::sync::{
        Cycle,
        budget::{BudgetUse, Purpose},
    },
};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    Setup, command,
    kept::{Kept, equal, list, send, settings},
    moved_clock::MovedClock,
    users,
};

/// The mirror's default.
const PER_DAY: u64 = 250;
const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

fn open(alyx: &Miniature, folder: &Path, clock: &Arc<MovedClock>) -> Kept {
    let mut settings = settings(&alyx.url());
    settings.mirror.background_per_day = PER_DAY.try_into().unwrap();
    Kept::open_by(folder, settings, clock.clone())
}

/// Rounds for so long, as often as the proxy makes them; the most that it had asked by itself in any 24 hours.
async fn rounds(kept: &Kept, clock: &MovedClock, long: Millis) -> BudgetUse {
    let mut most = BudgetUse::default();
    for _ in 0..long / (4 * MINUTE) {
        clock.move_on(4 * MINUTE);
        let errors = kept.synchroniser.cycle(Cycle::Due).await;
        assert!(errors.is_empty(), "{errors:?}");
        let now = used(kept);
        if now.background() > most.background() {
            most = now;
        }
    }
    most
}

fn used(kept: &Kept) -> BudgetUse {
    kept.synchroniser.budget.used()
}

/// GETs that the miniature got, log-ins apart.
fn asked(alyx: &Miniature) -> u64 {
    alyx.requests().iter().filter(|asked| asked.method == Method::GET).count() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_nobody_asks_looks_at_each_table_once_a_night() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(MovedClock::default()));
    let kept = open(&alyx, folder.path(), &clock);
    assert!(kept.synchroniser.cycle(Cycle::Due).await.is_empty());
    let first = used(&kept);
    assert!(first.of(Purpose::Fill) > 100 && first.background() < 10, "{first:?}");
    // A night, from which on it is as every day.
    rounds(&kept, &clock, 24 * HOUR).await;

    let sessions = list(&alyx.url(), "sessions").await;
    let gone = alyx_proxy::alyx::record::parse(&sessions[0])["id"].as_str().unwrap().to_owned();
    let (status, text) = send(&alyx, Method::DELETE, &format!("/sessions/{gone}"), None).await;
    assert_eq!(status, 204, "{text}");
    let weighing =
        json!({ "subject": "KS004", "user": "demo", "date_time": "2026-11-23T09:00:00", "weight": 19.5 });
    let (status, text) = send(&alyx, Method::POST, "/weighings", Some(weighing)).await;
    assert_eq!(status, 201, "{text}");
    alyx.forget_requests();
    let most = rounds(&kept, &clock, 24 * HOUR).await;
    let asked = asked(&alyx);
    let told = format!("{asked} requests in a day that nobody asked in, at the most in 24 hours {most:?}");
    println!("{told}");
    assert!(most.background() <= PER_DAY && asked <= PER_DAY, "{told}");
    // What was deleted, and what is new, is found within a day.
    equal(&alyx.url(), &kept.mirror).await;

    // A restart forgets nothing of it.
    let before = used(&kept);
    kept.mirror.close();
    let kept = open(&alyx, folder.path(), &clock);
    clock.move_on(4 * MINUTE);
    assert!(kept.synchroniser.cycle(Cycle::Due).await.is_empty());
    let after = used(&kept);
    assert!(
        after.background() + 10 >= before.background() && after.of(Purpose::Fill) == 0,
        "{before:?} {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_about_is_followed_as_it_pays() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(MovedClock::default()));
    let kept = open(&alyx, folder.path(), &clock);
    assert!(kept.synchroniser.cycle(Cycle::Due).await.is_empty());
    clock.move_on(4 * MINUTE);
    kept.synchroniser.cycle(Cycle::Due).await;
    let looked = |kept: &Kept, endpoint: &str| kept.mirror.states().of(endpoint).unwrap().synced_at;
    let (sessions, insertions) = (looked(&kept, "sessions"), looked(&kept, "insertions"));
    // Two requests pay off from forty questions on.
    for (uses, follows) in [(39, false), (1, true)] {
        for _ in 0..uses {
            kept.synchroniser.budget.note_uses(std::iter::once("sessions"));
        }
        clock.move_on(5 * MINUTE);
        kept.synchroniser.cycle(Cycle::Due).await;
        assert_eq!(looked(&kept, "sessions") > sessions, follows, "{uses}");
    }
    assert_eq!(looked(&kept, "insertions"), insertions, "nobody asks about it");
    // What is saved counts by the twentieth.
    for _ in 0..20 * (PER_DAY + 50) {
        kept.synchroniser.budget.note_saved();
    }
    assert_eq!(used(&kept).allowed, Some(PER_DAY + 50));
    // What was written is looked at soon.
    kept.synchroniser.request(["insertions"], clock.stamp());
    kept.synchroniser.cycle(Cycle::Due).await;
    assert!(looked(&kept, "insertions") > insertions);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_page_and_metrics_say_what_is_asked_and_what_is_saved() {
    let alyx = crate::support::miniature::start_for_all().await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,projects")
        .set("mirror.background_per_day", "250")
        .start()
        .await;
    proxy.until_mirrored(2).await;
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    for _ in 0..3 {
        assert!(proxy.get("/labs?limit=2").await.expect(200).cache().hit());
    }
    let requests = proxy.status().await["mirror"]["requests"].clone();
    assert_eq!((&requests["reads_saved"], &requests["allowed"]), (&json!(3), &json!(250)), "{requests:#}");
    assert!(requests["by_purpose"]["fill"].as_u64() >= Some(2), "{requests:#}");
    let background = requests["background"].as_u64().unwrap();
    assert_eq!(requests["left"].as_u64(), Some(250 - background), "{requests:#}");
    let page = proxy.client().anonymous().get("/-/mirror").await.expect(200).text().to_owned();
    assert!(
        page.contains("Answered here without asking Alyx: <b>3</b>") && page.contains("of 250 that it may")
    );
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200).text().to_owned();
    for line in ["alyx_proxy_mirror_reads_saved 3", "alyx_proxy_mirror_background_requests_allowed 250"] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    let status = command::done(&command::run_for(&proxy, &["status"]));
    assert!(status.contains("3 reads answered without Alyx in 24 hours"), "{status}");
}
