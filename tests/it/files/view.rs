//! `data_url` below `/-/one`: it leads to this proxy for those who come there, and for nobody else.

use std::sync::Arc;

use alyx_proxy::alyx::record;
use reqwest::Method;
use serde_json::{Value, json};

use super::{DataServer, alyx::Lab, setup};
use crate::support::{Client, Proxy, Reply, Upstream, kept::send, miniature};

const NAME: &str = "alf/spikes.times.npy";

/// A lab whose files lie at this data server; the id of one dataset.
async fn lab_at(origin: &DataServer) -> (Lab, String) {
    let lab = Lab::start().await;
    let place = format!("/data-repository/{}", lab.repository);
    let url = format!("{}/lab/Subjects/", origin.url());
    let (status, shown) = send(&lab.alyx, Method::PATCH, &place, Some(json!({ "data_url": url }))).await;
    assert_eq!(status, 200, "{shown}");
    let id = lab.register(NAME, "", 10).await;
    (lab, id)
}

fn demo(proxy: &Proxy) -> Client {
    let token = &alyx_proxy::miniature::Options::default().users[0].token;
    proxy.client().with_authorization(&format!("Token {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_lead_here_for_those_who_come_there() {
    let origin = DataServer::start().await;
    let (lab, id) = lab_at(&origin).await;
    let proxy = lab.proxy(setup(origin.url())).await;
    let targets = [
        format!("/datasets/{id}"),
        format!("/sessions/{}", lab.eid),
        format!("/datasets?django=id,{id}"),
        format!("/data-repository/{}", lab.repository),
        "/sessions?limit=1".to_owned(),
    ];
    let (mut moved, root) = (0, proxy.url());
    // From Alyx, from what is stored or mirrored, and while Alyx is away.
    for round in 0..3 {
        if round == 2 {
            lab.alyx.cut();
            proxy.until_upstream_is("down").await;
        }
        for target in &targets {
            let plain = demo(&proxy).get(target).await.expect(200);
            let there = demo(&proxy).get(&format!("/-/one{target}")).await.expect(200);
            let own = format!("{}/lab/", origin.url());
            let shown = plain.text().replace(&own, &format!("{root}/-/data/lab/"));
            // Alyx's own links lead there as well; those of data files are no such links.
            let shown = shown
                .replace(&format!("\"{root}/"), &format!("\"{root}/-/one/"))
                .replace(&format!("{root}/-/one/-/data/"), &format!("{root}/-/data/"));
            assert_eq!(there.json(), serde_json::from_str::<Value>(&shown).unwrap(), "{target}");
            assert!(!there.text().contains(&own), "{target}");
            assert_eq!(there.header("content-length").unwrap(), there.body.len().to_string());
            moved += usize::from(plain.text().contains(&own));
        }
    }
    assert!(moved >= 9, "{moved}: the targets show no files");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_back_is_alyxs_own() {
    let origin = DataServer::start().await;
    let (lab, _) = lab_at(&origin).await;
    let proxy = lab.proxy(setup(origin.url())).await;
    let place = format!("/data-repository/{}", lab.repository);
    let before = record::parse(&miniature::get(&lab.alyx, &place).await);
    let shown = demo(&proxy).get(&format!("/-/one{place}")).await.expect(200).json();
    assert_eq!(shown["data_url"], format!("{}/-/data/lab/Subjects/", proxy.url()));
    // What the miniature takes a change of.
    let shown = json!({ "data_url": shown["data_url"], "globus_path": "/elsewhere/" });
    demo(&proxy).ask("PATCH", &format!("/-/one{place}")).json(&shown).send().await.expect(200);
    let after = record::parse(&miniature::get(&lab.alyx, &place).await);
    assert_eq!(after["globus_path"], "/elsewhere/");
    assert_eq!(after["data_url"], before["data_url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_of_the_proxys_gets_into_alyx() {
    let origin = DataServer::start().await;
    let alyx = Upstream::start(Arc::new(|_| Reply::new(200, "application/json", "{}"))).await;
    let proxy = setup(origin.url()).upstream(&alyx.url()).start().await;
    let (root, there) = (proxy.url(), origin.url().to_owned());
    let sent = json!({
        "data_url": format!("{root}/-/data/lab/a.npy"),
        "file_records": [{ "data_url": format!("{root}/-/data/lab/b.npy"), "exists": true }],
        "session": format!("{root}/-/one/sessions/1"),
        "narrative": format!("see {root}/-/one/sessions/1"),
        "json": { "data_url": format!("{root}/-/data/lab/c.npy") },
    });
    let passed = json!({
        "data_url": format!("{there}/lab/a.npy"),
        "file_records": [{ "data_url": format!("{there}/lab/b.npy"), "exists": true }],
        "session": format!("{root}/sessions/1"),
        "narrative": format!("see {root}/-/one/sessions/1"),
        "json": { "data_url": format!("{root}/-/data/lab/c.npy") },
    });
    for method in ["POST", "PUT", "PATCH"] {
        alyx.forget();
        proxy.client().ask(method, "/-/one/datasets/1").json(&sent).send().await.expect(200);
        let asked = alyx.last("/datasets/1");
        assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap(), passed, "{method}");
        // At the root all passes as it is.
        alyx.forget();
        proxy.client().ask(method, "/datasets/1").json(&sent).send().await.expect(200);
        assert_eq!(
            serde_json::from_slice::<Value>(&alyx.last("/datasets/1").body).unwrap(),
            sent,
            "{method}"
        );
    }
    // What is no JSON, or none after all, passes as it is.
    for (kind, body) in [("text/plain", "{\"data_url\":1"), ("application/json", "{\"data_url\":1")] {
        alyx.forget();
        proxy.client().ask("POST", "/-/one/notes").body(kind, body).send().await;
        assert_eq!(alyx.last("/notes").body, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_such_place_without_data_files_and_none_of_the_proxys_own() {
    let origin = DataServer::start().await;
    let (lab, id) = lab_at(&origin).await;
    let proxy = lab.proxy(setup(origin.url())).await;
    for own in ["/-/one/-/status.json", "/-/one/-/data/lab/x", "/-/one/-/api/purge"] {
        demo(&proxy).get(own).await.expect(404);
    }
    // Who may not read at the root may not read there.
    let refused = proxy.client().anonymous().get(&format!("/-/one/datasets/{id}")).await;
    assert_eq!(refused.status, proxy.client().anonymous().get(&format!("/datasets/{id}")).await.status);
    assert!(refused.status.is_client_error(), "{}", refused.describe());
    let proxy = proxy.restart_with("files.enabled", "false").await;
    demo(&proxy).get(&format!("/-/one/datasets/{id}")).await.expect(404);
}
