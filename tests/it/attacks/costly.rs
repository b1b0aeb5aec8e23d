//! Questions that cost much: a curious user asks them as well as a hostile one.

use std::{io::Write, net::TcpStream, time::Duration};

use futures_util::future::join_all;

use super::{WORKER, is_mirrored, miniature, mirroring, works};
use crate::support::{Proxy, users};

/// From a dataset to all of its subject's: 150 times as many rows in the sample.
const ALL_OF_THE_SUBJECT: &str = "session__subject__actions_sessions__data_dataset_session_related__";

fn costly(times: usize, text: &str) -> String {
    format!("/datasets?limit=1&django={}name__icontains,{text}", ALL_OF_THE_SUBJECT.repeat(times))
}

/// So many conditions that each lead there, and that datasets fulfil.
fn joined(count: usize) -> String {
    const ASKED: [&str; 8] = [
        "name__icontains,s",
        "name__contains,s",
        "name__iendswith,y",
        "name__endswith,y",
        "name__istartswith,s",
        "name__startswith,s",
        "collection__icontains,a",
        "collection__contains,a",
    ];
    ASKED[..count].iter().map(|asked| format!(",{ALL_OF_THE_SUBJECT}{asked}")).collect::<Vec<_>>().concat()
}

/// Asks as this user, and hangs up after a moment.
fn ask_and_go(proxy: &Proxy, user: users::User, path: &str) {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: lab\r\nAccept: application/json\r\nAuthorization: {}\r\n\r\n",
        user.authorization()
    );
    stream.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_stops_nobody() {
    let alyx = miniature().await;
    let proxy = mirroring(&alyx, &[]).await;
    let worker = proxy.client().with(WORKER);
    for (times, text) in [(4, "a"), (4, "s"), (3, "t"), (2, "y")] {
        ask_and_go(&proxy, users::PUBLIC, &costly(times, text));
    }
    // Those who hung up, and one who stays: many at once, of kinds that the plan can't tell are costly.
    let many = joined(8);
    let insistent: Vec<_> = (0..12)
        .map(|n| {
            let client = proxy.client().with(users::PUBLIC);
            let path = format!("/datasets?limit={}&django=name__icontains,s{many}", n + 1);
            tokio::spawn(async move { client.get(&path).await.status.as_u16() })
        })
        .collect();
    for limit in 1..=6 {
        for endpoint in ["subjects", "labs", "sessions", "projects"] {
            works(&worker, &format!("/{endpoint}?limit={limit}")).await;
        }
    }
    assert_eq!(proxy.client().anonymous().get("/-/ready").await.expect(200).text(), "ready\n");
    // Each has its answer, be it from Alyx.
    for status in join_all(insistent).await {
        assert!(matches!(status, Ok(200 | 501)), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_goes_on_with_that_reason() {
    let alyx = miniature().await;
    let proxy = mirroring(&alyx, &[]).await;
    let client = proxy.client().with(WORKER);
    let forwarded = client.get(&costly(4, "x")).await;
    assert_eq!(forwarded.cache().fwd(), Some("uri-miss"), "{}", forwarded.describe());
    assert_eq!(forwarded.cache().get("detail"), Some("too-costly"), "{}", forwarded.describe());
    let explained =
        client.ask("GET", &costly(4, "x")).header("x-alyx-proxy-explain", "1").send().await.expect(200);
    assert!(explained.text().contains("too-costly"), "{}", explained.text());
    // Its operator sees which, and how often; nobody else does.
    let given_up = proxy.status().await["activity"]["too_costly"].clone();
    assert_eq!(
        (&given_up[0]["endpoint"], &given_up[0]["reason"]),
        (&"datasets".into(), &"too-costly".into())
    );
    assert!(given_up[0]["question"].as_str().unwrap().starts_with("/datasets?limit=1&django="), "{given_up}");
    let strangers = proxy.client().anonymous().get("/-/status.json").await.expect(200).json();
    let strangers = &strangers["activity"]["too_costly"];
    assert!(strangers[0]["question"].is_null() && strangers[0]["count"].as_u64() >= Some(1), "{strangers}");
    let metrics = proxy.client().get("/-/metrics").await.expect(200);
    let counted =
        metrics.text().lines().find(|line| line.contains("too_costly_total{reason=\"too-costly\"}"));
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{counted:?}");
    assert!(!proxy.output().contains("__dataset_session_related"), "what people ask is not in the log");
    // Once is as exact as it was.
    let once = client.get(&costly(1, "spikes")).await.expect(200);
    assert!(is_mirrored(&once), "{}", once.describe());
    let direct = crate::support::Client::new(alyx.addr());
    let said = direct.get(&costly(1, "spikes")).await.expect(200).json();
    assert_eq!(once.json()["count"], said["count"]);
    // Where the number of ways does not matter a path may go through it again.
    let without = costly(2, "nothing-of-this-name").replace("django=", "django=~");
    assert!(is_mirrored(&client.get(&without).await.expect(200)));
    alyx.cut();
    client.ask("GET", "/labs").header("cache-control", "no-cache").send().await;
    proxy.until_upstream_is("down").await;
    let refused = client.get(&costly(4, "x")).await.expect(504);
    assert_eq!(refused.cache().get("detail"), Some("too-costly"), "{}", refused.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_has_its_time_and_no_more() {
    let alyx = miniature().await;
    // A time in which nothing can be looked up.
    let proxy = mirroring(&alyx, &[]).await.restart_with("mirror.query_timeout", "1ms").await;
    let client = proxy.client().with(WORKER);
    let many = joined(8);
    let path = format!("/datasets?limit=1&django=name__icontains,s{many}");
    let answer = client.get(&path).await;
    assert!(
        matches!(answer.cache().get("detail"), Some("too-costly" | "mirror-busy")),
        "{}",
        answer.describe()
    );
}
