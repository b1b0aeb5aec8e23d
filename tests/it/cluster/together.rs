//! While all are together: what is written through one is read through all, a token that is refused at one is refused at all,
//! and PostgreSQL holds nothing that can be read.

use std::{fs, path::Path};

use serde_json::json;

use super::{Shared, counted, notice, prime, session, three, write};
use crate::support::{Lab, lab, users};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_through_one_is_read_through_all() {
    let (lab, shared) = three().await;
    let (record, list) = (session(), "/sessions?lab=cortexlab");
    for round in 0..18 {
        for proxy in &shared.proxies {
            for path in [record.as_str(), list] {
                prime(proxy, path).await;
                let again = proxy.get(path).await.expect(200);
                assert!(again.cache().hit(), "round {round}: {}", again.cache().text);
            }
        }
        let new = lab.renew();
        let written = write(&shared.proxies[round % 3]).await;
        assert_eq!(notice(&written), None, "round {round}");
        for (n, proxy) in shared.proxies.iter().enumerate() {
            for path in [record.as_str(), list] {
                let answer = proxy.get(path).await.expect(200);
                assert_eq!(
                    lab::version(&answer.json()),
                    new,
                    "round {round}, proxy {n}, {path}: {}",
                    answer.cache().text
                );
                assert_eq!(notice(&answer), None, "round {round}, proxy {n}");
            }
        }
    }
    for proxy in &shared.proxies {
        let lapsed = counted(proxy, "alyx_proxy_cluster_barrier_lapsed_total").await;
        println!("waited for a lease: {lapsed}");
        let waited = counted(proxy, "alyx_proxy_cluster_barrier_seconds_sum").await;
        let writes = counted(proxy, "alyx_proxy_cluster_barrier_seconds_count").await;
        println!("waited for the others: {writes} writes, {:.1} ms each", 1000.0 * waited / writes.max(1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_at_one_is_refused_at_all() {
    let (lab, shared) = three().await;
    let path = "/subjects?lab=cortexlab";
    for proxy in &shared.proxies {
        for user in [users::ONEUSER, users::ADMIN] {
            proxy.client().with(user).get(path).await.expect(200);
            proxy.client().with(user).get(path).await.expect(200);
        }
    }
    lab.revoke(users::ONEUSER);
    let still = shared.proxies[1].get(path).await.expect(200);
    assert!(still.cache().hit(), "it is known to nobody yet: {}", still.cache().text);
    let asked = shared.proxies[0].client().ask("GET", path).header("cache-control", "no-cache").send().await;
    assert_eq!(asked.status, 403, "{}", asked.describe());
    for proxy in &shared.proxies {
        let refused = proxy.get(path).await;
        assert_eq!(refused.status, 403, "{}", refused.describe());
        let other = proxy.client().with(users::ADMIN).get(path).await.expect(200);
        assert!(other.cache().hit(), "nobody else is concerned: {}", other.cache().text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_at_one_is_purged_at_all() {
    let (lab, shared) = three().await;
    for proxy in &shared.proxies {
        prime(proxy, "/subjects").await;
    }
    let before = lab.count("/subjects");
    let token = fs::read_to_string(shared.proxies[0].data_dir().join("admin-token")).unwrap();
    let asked = shared.proxies[0].client().anonymous().ask("POST", "/-/api/purge");
    let asked = asked.header("authorization", &format!("Bearer {}", token.trim()));
    asked.json(&json!({"endpoint": "subjects"})).send().await.expect(200);
    for proxy in &shared.proxies[1..] {
        crate::support::until("it is forgotten", async || {
            !proxy.get("/subjects").await.expect(200).cache().hit()
        })
        .await;
    }
    assert!(lab.count("/subjects") > before);
}

/// Files below a folder that hold one of these texts.
fn holding(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, texts));
        } else if let Ok(bytes) = fs::read(&path) {
            let has = |text: &&&str| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
            found.extend(texts.iter().filter(has).map(|text| format!("{text} in {}", path.display())));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_holds_nothing_that_can_be_read() {
    let lab = Lab::open().await;
    let shared = Shared::before(&lab.url(), 2).await;
    let nickname = "KS_a_nickname_that_is_nowhere_else";
    for proxy in &shared.proxies {
        for user in [users::ONEUSER, users::ADMIN] {
            proxy.client().with(user).get("/subjects").await.expect(200);
        }
        let body = json!({"nickname": nickname});
        let path = format!("/subjects/{nickname}");
        let written = proxy.client().ask("PATCH", &path).json(&body).send().await;
        assert!(written.status.is_success() && notice(&written).is_none(), "{}", written.describe());
    }
    lab.revoke(users::ONEUSER);
    let asked =
        shared.proxies[0].client().ask("GET", "/subjects").header("cache-control", "no-cache").send().await;
    assert_eq!(asked.status, 403);
    // That something would be found is seen by what is not sealed: the name of this machine.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(!holding(&shared.postgres.data(), &[host.trim()]).is_empty(), "the log of changes is there");
    let texts = [nickname, users::ONEUSER.token, "record subjects", "lists subjects"];
    assert_eq!(holding(&shared.postgres.data(), &texts), Vec::<String>::new());
    // Nor is the password told by a proxy.
    for proxy in &shared.proxies {
        let page = proxy.client().with(users::ADMIN).get("/-/cluster.json").await;
        let said = format!("{}{:#}{}", proxy.output(), proxy.status().await, page.describe());
        assert!(!said.contains(shared.postgres.password()), "the password is told");
    }
}
