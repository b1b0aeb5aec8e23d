//! When something is away: PostgreSQL, or one of the proxies.

use std::{process::Command, time::Instant};

use super::{Shared, cluster, counted, notice, prime, session, three, write};
use crate::support::{Lab, Proxy, Setup, lab, until};

async fn until_alone(proxy: &Proxy) {
    until("it is alone", async || cluster(proxy).await["state"] == "alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_postgresql_is_away_answers_say_that_they_may_miss_something() {
    let (lab, mut shared) = three().await;
    let record = session();
    for proxy in &shared.proxies {
        prime(proxy, &record).await;
    }
    shared.postgres.kill();
    for proxy in &shared.proxies {
        until_alone(proxy).await;
        let answer = proxy.get(&record).await.expect(200);
        assert!(
            answer.cache().hit() && notice(&answer).is_some_and(|text| text.contains("cluster")),
            "{}",
            answer.describe()
        );
        println!("a read while PostgreSQL is away took {:?}", answer.elapsed);
    }
    // Writes go on, and are told when it is back.
    let new = lab.renew();
    let written = write(&shared.proxies[0]).await;
    assert!(
        notice(&written).is_some_and(|text| text.contains("could not be told")),
        "{}",
        written.describe()
    );
    assert_eq!(
        lab::version(&shared.proxies[0].get(&record).await.expect(200).json()),
        new,
        "the writer reads it"
    );
    let missed = shared.proxies[1].get(&record).await.expect(200);
    assert!(lab::version(&missed.json()) == new || notice(&missed).is_some());
    shared.postgres.again();
    let back = Instant::now();
    shared.until_together().await;
    println!("together {:?} after PostgreSQL was back", back.elapsed());
    for proxy in &shared.proxies {
        until("it is told of what was written meanwhile", async || {
            let answer = proxy.get(&record).await.expect(200);
            lab::version(&answer.json()) == new && notice(&answer).is_none()
        })
        .await;
    }
    let new = lab.renew();
    assert_eq!(notice(&write(&shared.proxies[1]).await), None, "as before");
    assert_eq!(lab::version(&shared.proxies[2].get(&record).await.expect(200).json()), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_strict_nothing_is_written_that_others_can_not_be_told() {
    let lab = Lab::open().await;
    let mut shared = Shared::with(&lab.url(), 1, |setup| setup.set("cluster.strict", "true")).await;
    let record = session();
    prime(&shared.proxies[0], &record).await;
    shared.postgres.kill();
    until_alone(&shared.proxies[0]).await;
    let before = lab.upstream.asked().len();
    let refused = shared.proxies[0].client().ask("PATCH", &record).json(&serde_json::json!({})).send().await;
    assert_eq!(
        (refused.status.as_u16(), refused.header("retry-after")),
        (503, Some("5")),
        "{}",
        refused.describe()
    );
    let asked = lab.upstream.asked();
    assert!(asked[before..].iter().all(|asked| asked.method != "PATCH"), "it was sent to Alyx");
    assert!(notice(&shared.proxies[0].get(&record).await.expect(200)).is_some());
    shared.postgres.again();
    shared.until_together().await;
    assert_eq!(notice(&write(&shared.proxies[0]).await), None);
}

fn signal(proxy: &Proxy, name: &str) {
    assert!(Command::new("kill").args([name, &proxy.pid().to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_stands_still_is_waited_for_until_its_lease_has_lapsed() {
    let (lab, shared) = three().await;
    let record = session();
    for proxy in &shared.proxies {
        prime(proxy, &record).await;
    }
    signal(&shared.proxies[1], "-STOP");
    let lapsed = "alyx_proxy_cluster_barrier_lapsed_total";
    let before = counted(&shared.proxies[0], lapsed).await;
    for _ in 0..5 {
        let new = lab.renew();
        let written = write(&shared.proxies[0]).await;
        println!("a write beside one that stands still took {:?}", written.elapsed);
        assert_eq!(notice(&written), None);
        assert_eq!(lab::version(&shared.proxies[2].get(&record).await.expect(200).json()), new);
    }
    until("it is taken out", async || {
        cluster(&shared.proxies[0]).await["members"].as_array().is_some_and(|members| members.len() == 2)
    })
    .await;
    let waited = counted(&shared.proxies[0], lapsed).await - before;
    assert!((0.0..5.0).contains(&waited), "each write waited for a lease: {waited}");
    let gone = counted(&shared.proxies[0], lapsed).await;
    let new = lab.renew();
    write(&shared.proxies[0]).await;
    assert!((counted(&shared.proxies[0], lapsed).await - gone).abs() < 0.5, "nobody waits for it any more");
    signal(&shared.proxies[1], "-CONT");
    let answer = shared.proxies[1].get(&record).await.expect(200);
    let version = lab::version(&answer.json());
    assert!(version == new || notice(&answer).is_some(), "{}", answer.describe());
    shared.until_together().await;
    let answer = shared.proxies[1].get(&record).await.expect(200);
    assert_eq!((lab::version(&answer.json()), notice(&answer)), (new, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_or_leaves_comes_back_with_all_that_was_written() {
    let lab = Lab::open().await;
    let mut shared = Shared::before(&lab.url(), 2).await;
    let record = session();
    for proxy in &shared.proxies {
        prime(proxy, &record).await;
    }
    let mut other = shared.proxies.pop().unwrap();
    other.kill();
    let new = lab.renew();
    write(&shared.proxies[0]).await;
    shared.proxies.push(other.restart().await);
    let answer = shared.proxies[1].get(&record).await.expect(200);
    assert!(lab::version(&answer.json()) == new || notice(&answer).is_some(), "{}", answer.describe());
    shared.until_together().await;
    // One that ends by itself is waited for by nobody.
    let before = counted(&shared.proxies[0], "alyx_proxy_cluster_barrier_lapsed_total").await;
    let mut other = shared.proxies.pop().unwrap();
    other.terminate().await;
    write(&shared.proxies[0]).await;
    let after = counted(&shared.proxies[0], "alyx_proxy_cluster_barrier_lapsed_total").await;
    assert!((after - before).abs() < 0.5);
    // Its folder goes on without the cluster. What it writes there the others doubt when it is back.
    let setup: Setup = other.setup().clone();
    let mut alone = setup.clone().set("cluster.url_file", "").set("cluster.key_file", "").start().await;
    let written = lab.renew();
    assert_eq!(notice(&write(&alone).await), None);
    assert!(cluster(&alone).await.is_null());
    assert_eq!(lab::version(&alone.get(&record).await.expect(200).json()), written);
    alone.terminate().await;
    shared.proxies.push(setup.start().await);
    shared.until_together().await;
    until("the other asks anew", async || {
        lab::version(&shared.proxies[0].get(&record).await.expect(200).json()) == written
    })
    .await;
}
