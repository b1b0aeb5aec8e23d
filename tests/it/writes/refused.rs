//! What the proxy itself says to a write: that it was not sent (503), or that it was and nobody knows what came of it (504).
//! Clients throw a write away for other refusals (the MATLAB client's queue), and send it again by themselves for 429 and
//! 503 (ONE). What Alyx says is passed on as it is.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::{
    create, posts,
    support::{Answer, Asked, Fault, Lab, Proxy, Reply, Setup, Upstream, client::Ask, users},
};

fn setup(lab: &Lab) -> Setup {
    Setup::new(&lab.url())
        .set("upstream.timeout", "2s")
        .set("upstream.connect_timeout", "1s")
        .set("upstream.retries", "0")
}

/// Each way to write.
fn writes(proxy: &Proxy) -> Vec<Ask> {
    let client = proxy.client();
    let weighing = json!({"subject": "KS004", "weight": 21.5});
    vec![
        client.ask("POST", "/weighings").json(&weighing),
        client.ask("PATCH", super::SESSION).json(&json!({"json": {"a": 1}})),
        client.ask("DELETE", super::SESSION),
        client.ask("POST", "/notes").multipart(&[("text", "a note")]),
        client.ask("POST", "/register-file").json(&json!({"path": "KS004/2020-01-01/001"})),
        client.ask("POST", "/admin/misc/lab/add/").form(&[("name", "new")]),
    ]
}

#[track_caller]
fn assert_not_sent(answer: &Answer, why: &str) {
    assert_eq!(answer.status, 503, "{why}: {}", answer.describe());
    let seconds: u64 = answer.header("retry-after").expect("when to come again").parse().unwrap();
    assert!(seconds > 0);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("was not sent") && detail.contains(why), "{why}: {detail}");
    assert_eq!(answer.json()["status_code"], 503);
}

#[track_caller]
fn assert_unknown(answer: &Answer, about: &str) {
    assert_eq!(answer.status, 504, "{about}: {}", answer.describe());
    assert_eq!(answer.header("retry-after"), None, "{about}: nobody shall send it again by itself");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("ook before you send it again"), "{about}: {detail}");
    assert!(!detail.contains("not sent") && !detail.contains("nothing was"), "{about}: {detail}");
}

fn sent(lab: &Lab) -> usize {
    let is_write = |asked: &&Asked| asked.method != "GET";
    lab.upstream.asked().iter().filter(is_write).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_others_or_an_earlier_one_of_ones_own_is_no_answer_to_a_write() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    for user in [users::ONEUSER, users::ADMIN, users::PUBLIC] {
        proxy.client().with(user).get("/labs").await.expect(200);
    }
    lab.throttle(Some(90));
    // What Alyx says to a write is told as Alyx said it.
    let told =
        proxy.client().with(users::ADMIN).ask("POST", "/notes").json(&json!({})).send().await.expect(429);
    assert_eq!((told.header("retry-after"), told.cache().fwd()), (Some("90"), Some("method")));
    // The same user's next write is not sent.
    let again = proxy.client().with(users::ADMIN).ask("POST", "/notes").json(&json!({})).send().await;
    assert_not_sent(&again, "it asks for a pause of");
    assert_eq!(lab.count("/notes"), 1);
    proxy.client().with(users::PUBLIC).get("/projects").await.expect(429);
    proxy.client().anonymous().get("/api/schema").await.expect(429);
    // Three have been told so: Alyx counts by address.
    lab.throttle(None);
    lab.upstream.forget();
    for write in writes(&proxy) {
        assert_not_sent(&write.send().await, "it asks several users for a pause");
    }
    assert_eq!(sent(&lab), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxys_own_pace_is_told_as_what_it_is() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("upstream.requests_per_minute", "2").start().await;
    proxy.get("/labs").await.expect(200);
    for _ in 0..2 {
        create(&proxy).send().await.expect(201);
    }
    assert_not_sent(&create(&proxy).send().await, "`upstream.requests_per_minute`");
    assert_eq!(posts(&lab), 2);
    let read = proxy.get("/projects").await.expect(503);
    assert!(read.header("retry-after").is_some() && !read.text().contains("pause"), "{}", read.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_place_in_time_is_no_fault_of_the_write() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("upstream.concurrency", "1").start().await;
    proxy.get("/labs").await.expect(200);
    lab.upstream.behave(Fault::Slow(1900));
    let client = proxy.client();
    let (reads, write) = tokio::join!(
        futures_util::future::join_all(["/tags", "/users", "/projects"].map(|path| client.get(path))),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            create(&proxy).send().await
        }
    );
    assert_eq!(reads.len(), 3);
    if write.status != 201 {
        assert_not_sent(&write, "turn did not come in time");
        assert_eq!(posts(&lab), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_is_told_so() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    proxy.get("/labs").await.expect(200);
    for fault in [Fault::Refuse, Fault::Drop] {
        lab.upstream.break_down(fault).await;
        // Whoever finds out, and whoever comes when it is known.
        for _ in 0..2 {
            for write in writes(&proxy) {
                let answer = write.send().await;
                assert_not_sent(&answer, "out of reach since");
                // ONE waits for no longer than 300 seconds, and shows what takes longer at once.
                assert_eq!(answer.header("retry-after"), Some("300"), "{fault:?}");
            }
            proxy.until_upstream_is("down").await;
        }
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
    }
    assert_eq!(sent(&lab), 0, "nothing is sent later");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_carried_out_is_told_so() {
    let faults = [
        Fault::Silence,
        Fault::Reset,
        Fault::Truncated,
        Fault::NotJson,
        Fault::Gateway(502),
        Fault::Gateway(503),
        Fault::Gateway(504),
    ];
    for fault in faults {
        let lab = Lab::open().await;
        let proxy = setup(&lab).start().await;
        for _ in 0..2 {
            proxy.get("/labs").await.expect(200);
        }
        lab.upstream.break_down(fault).await;
        let answer = create(&proxy).send().await;
        // A connection may be gone before anything was sent by it.
        if fault == Fault::Reset && answer.status == 503 {
            assert_not_sent(&answer, "connection");
            continue;
        }
        assert_unknown(&answer, &format!("{fault:?}"));
        if fault != Fault::Reset {
            assert_eq!(posts(&lab), 1, "{fault:?}: Alyx has it, once");
        }
    }
}

/// `requests` makes a GET of a POST that is redirected, and ONE takes the list that comes for what it has made.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_redirected_or_met_by_a_page_is_no_success() {
    let places = [
        ("https://portal.invalid/log-in?secret=x", "https://portal.invalid"),
        ("https://127.0.0.1/sessions", "set `upstream.url` to that"),
        ("/sessions/", "another path of its own"),
    ];
    for (to, told) in places {
        let status = Arc::new(AtomicU16::new(0));
        let now = status.clone();
        let answer = move |asked: &Asked| match asked.method.as_str() {
            "GET" => Reply::new(
                200,
                "application/json",
                r#"{"count": 0, "next": null, "previous": null, "results": []}"#,
            ),
            _ => Reply::new(now.load(Ordering::SeqCst), "text/html", "<html>Moved</html>")
                .header("location", to),
        };
        let upstream = Upstream::start(Arc::new(answer)).await;
        let proxy = Setup::new(&upstream.url()).start().await;
        proxy.get("/labs").await.expect(200);
        for redirect in [301, 302, 303, 307, 308] {
            status.store(redirect, Ordering::SeqCst);
            let mut writes = writes(&proxy);
            // What is no REST is a browser's, which goes where it is led.
            let form = writes.pop().unwrap().send().await;
            assert_eq!(form.status, redirect);
            for write in writes {
                let answer = write.send().await;
                assert_unknown(&answer, &format!("{redirect} to {to}"));
                assert!(
                    answer.text().contains(told) && !answer.text().contains("secret"),
                    "{}",
                    answer.describe()
                );
                assert_eq!(answer.header("location"), None);
            }
            let log_in = [("username", "a"), ("password", "b")];
            let answer = proxy.client().anonymous().ask("POST", "/auth-token").form(&log_in).send().await;
            assert_eq!(answer.status, 504, "{}", answer.describe());
            assert!(answer.text().contains(told), "{}", answer.describe());
        }
    }
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    proxy.get("/labs").await.expect(200);
    lab.upstream.break_down(Fault::Portal).await;
    assert_unknown(&create(&proxy).send().await, "a portal");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alyx_refuses_is_told_as_it_says() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    let refused =
        proxy.client().ask("POST", "/sessions").json(&json!({"reject": 1})).send().await.expect(400);
    assert_eq!(refused.text(), r#"{"subject":["This field is required."],"status_code":400}"#);
    let failed =
        proxy.client().ask("POST", "/register-file").json(&json!({"half": 1})).send().await.expect(500);
    assert_eq!(failed.json()["detail"], "Dataset type could not be determined");
    proxy.client().with(users::PUBLIC).ask("DELETE", super::SESSION).send().await.expect(403);
}

/// Sends these bytes, ends its side or not, and reads what comes until the other side ends.
fn wire(address: SocketAddr, bytes: &[u8], ends: bool) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    if ends {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut said, mut buffer) = (Vec::new(), vec![0; 65536]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_too_slowly_or_breaks_off_is_no_fault_that_stays() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    proxy.get("/labs").await.expect(200);
    let address = proxy.address();
    let begin = |length: usize| {
        format!(
            "POST /notes HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{",
            users::ONEUSER.authorization()
        )
        .into_bytes()
    };
    let mut large = begin(1 << 20);
    large.extend(vec![b' '; 70_000]);
    let ask = |bytes: Vec<u8>, ends| tokio::task::spawn_blocking(move || wire(address, &bytes, ends));
    let (small, large, broken) = tokio::join!(ask(begin(10), false), ask(large, false), ask(begin(10), true));
    let (small, large, broken) = (small.unwrap(), large.unwrap(), broken.unwrap());
    // All of a small one is here before anything is sent; of a large one what is here is sent on.
    assert!(small.starts_with("HTTP/1.1 503 ") && small.contains("\r\nretry-after: "), "{small}");
    assert!(small.contains("too slowly") && small.contains("was not sent"), "{small}");
    assert!(large.starts_with("HTTP/1.1 504 ") && large.contains("ook before you send it again"), "{large}");
    assert!(!large.contains("retry-after"), "{large}");
    // Whoever has gone reads nothing; whoever still listens is told.
    assert!(broken.is_empty() || broken.starts_with("HTTP/1.1 503 "), "{broken}");
    assert_eq!(lab.count("/notes"), 0, "nothing of it was taken for a request");
}
