//! Links in bodies lead to the base that the client used (ALYX.md 2.1, 4.3, 9.2), and nothing else is moved.

use serde_json::{Value, json};

use super::{
    LIST, get, open, open_with,
    support::{Answer, lab},
};

#[tokio::test(flavor = "multi_thread")]
async fn links_lead_to_the_base_that_the_client_used() {
    let (lab, proxy) = open().await;
    let expected = |base: &str| {
        // All of it is the lab's own, byte for byte, but for links that Alyx has made.
        let from = lab.url();
        let record = |n: usize| {
            let id = lab::session_id(n);
            json!({
                "id": id, "subject": "KS004", "url": format!("{base}/sessions/{id}"), "version": 1,
                "json": {"note": lab::LOOKALIKE.replace("{base}", &from), "url": format!("{from}/sessions/{id}")},
            })
        };
        let next = format!("{base}/sessions?limit=3&offset=3");
        let results: Vec<Value> = (0..3).map(record).collect();
        json!({"count": lab::SESSIONS, "next": next, "previous": null, "results": results}).to_string()
    };
    assert_eq!(proxy.get(LIST).await.expect(200).text(), expected(&proxy.url()));
    for host in ["lab-server:8040", "localhost", "[::1]:8040", "lab-server.example.org"] {
        let answer = get(&proxy, LIST, &[("host", host)]).await.expect(200);
        assert_eq!(answer.text(), expected(&format!("http://{host}")));
    }
    // Nobody but a trusted proxy may say under which name it was asked.
    let forwarded = [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https")];
    assert_eq!(get(&proxy, LIST, &forwarded).await.expect(200).text(), expected(&proxy.url()));
    assert_eq!(lab.count("/sessions"), 1, "one entry for all names");
    for asked in lab.upstream.asked() {
        assert_eq!(asked.header("host"), Some(lab.upstream.address().to_string().as_str()));
        assert_eq!(asked.header("x-forwarded-host"), None, "its host is Alyx's own (ALYX.md 4.3)");
    }

    // What is no host is refused, not put into links.
    for host in ["a b", "x/y", "evil.example\"", "u:p@h"] {
        get(&proxy, LIST, &[("host", host)]).await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_or_the_settings_say_under_which_name_it_was_asked() {
    let next = |answer: Answer| answer.expect(200).json()["next"].as_str().unwrap().to_owned();
    let forwarded = [("x-forwarded-host", "alyx.lab.org"), ("x-forwarded-proto", "https")];

    let (_lab, proxy) = open_with(&[("server.trusted_proxies", "[\"127.0.0.1\"]")]).await;
    let trusted = get(&proxy, LIST, &forwarded).await;
    assert_eq!(next(trusted), "https://alyx.lab.org/sessions?limit=3&offset=3");
    assert_eq!(next(proxy.get(LIST).await), format!("{}/sessions?limit=3&offset=3", proxy.url()));

    let (_lab, proxy) = open_with(&[("server.public_url", "https://alyx.lab.org")]).await;
    for headers in [&forwarded[..], &[], &[("host", "other")]] {
        let told = get(&proxy, LIST, headers).await;
        assert_eq!(next(told), "https://alyx.lab.org/sessions?limit=3&offset=3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn following_the_links_reads_every_record_through_the_proxy() {
    let (lab, proxy) = open().await;
    for offline in [false, true] {
        if offline {
            lab.upstream.cut().await;
        }
        let (mut target, mut ids) = ("/sessions?limit=2".to_owned(), Vec::new());
        loop {
            let page = proxy.get(&target).await.expect(200).json();
            ids.extend(page["results"].as_array().unwrap().iter().map(|record| record["id"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            target = next.strip_prefix(&proxy.url()).expect("a link that leaves the proxy").to_owned();
        }
        let all: Vec<Value> = (0..lab::SESSIONS).map(|n| json!(lab::session_id(n))).collect();
        assert_eq!(ids, all, "offline: {offline}");
    }
}
