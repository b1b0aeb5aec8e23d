//! Alyx counts a user's requests wherever they come from: the proxies keep to one pace together.

use std::time::Instant;

use futures_util::future::join_all;

use super::{Shared, cluster};
use crate::support::{Lab, Proxy, until, users};

/// Requests a minute that one user may make.
const RATE: u64 = 120;
/// As many may come at once.
const BURST: usize = 40;

async fn paced(lab: &Lab) -> Shared {
    let rate = RATE.to_string();
    Shared::with(&lab.url(), 3, |setup| {
        setup
            .set("upstream.requests_per_minute", &rate)
            .set("upstream.timeout", "2s")
            .set("upstream.retries", "0")
            .set("upstream.concurrency", "64")
    })
    .await
}

/// So many new questions of one user through each proxy at once.
async fn ask_all(proxies: &[Proxy], each: usize, name: &str) -> Vec<u16> {
    let questions = proxies.iter().enumerate().flat_map(|(n, proxy)| {
        (0..each).map(move |i| {
            let client = proxy.client();
            async move { client.get(&format!("/subjects?nickname={name}-{n}-{i}")).await.status.as_u16() }
        })
    });
    join_all(questions).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_asks_alyx_through_all_proxies_as_often_as_through_one() {
    let lab = Lab::open().await;
    let mut shared = paced(&lab).await;
    let start = Instant::now();
    let turns =
        |since: Instant| usize::try_from(((since.elapsed().as_secs() + 1) * RATE).div_ceil(60)).unwrap();
    let allowed = |since: Instant| BURST + turns(since) + 1;
    let statuses = ask_all(&shared.proxies, 60, "together").await;
    let asked = lab.count("/subjects");
    println!("{asked} of 180 questions went to Alyx in {:?}, of {} allowed", start.elapsed(), allowed(start));
    assert!(asked <= allowed(start) && asked >= 3, "{asked}");
    let answered = statuses.iter().filter(|status| **status == 200).count();
    assert!(answered <= asked, "each answer is one of Alyx's");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429 | 503 | 504)), "{statuses:?}");
    // Without PostgreSQL each has its part, and nobody waits for it.
    shared.postgres.kill();
    for proxy in &shared.proxies {
        until("it is alone", async || cluster(proxy).await["state"] == "alone").await;
    }
    let (alone, before) = (Instant::now(), lab.count("/subjects"));
    ask_all(&shared.proxies, 20, "alone").await;
    let asked = lab.count("/subjects") - before;
    let turns = turns(alone);
    println!("{asked} of 60 questions went to Alyx in {:?} without PostgreSQL", alone.elapsed());
    assert!(asked >= 1 && asked <= turns + 3, "{asked} of {turns}: nothing is saved, and each has its part");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_alyx_asks_one_proxy_for_holds_for_all() {
    let lab = Lab::open().await;
    let shared = paced(&lab).await;
    for proxy in &shared.proxies {
        proxy.client().with(users::ADMIN).get("/labs").await.expect(200);
        proxy.get("/labs").await.expect(200);
    }
    lab.throttle(Some(60));
    assert_eq!(shared.proxies[0].get("/subjects?nickname=throttled").await.status, 429);
    lab.throttle(None);
    for (n, proxy) in shared.proxies.iter().enumerate() {
        until("the others keep to it", async || {
            let before = lab.count("/subjects");
            let answer = proxy.get(&format!("/subjects?nickname=paused-{n}")).await;
            answer.status == 429 && lab.count("/subjects") == before
        })
        .await;
        let other = proxy.client().with(users::ADMIN);
        other.get(&format!("/subjects?nickname=other-{n}")).await.expect(200);
    }
}
