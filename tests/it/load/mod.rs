//! Much at once: everything is bounded, whoever comes when too much is under way is told so at once, and whoever is slow
//! holds up nobody else.

mod slow;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::support::{Fault, Lab, Proxy, Setup, lab, until, users};
use futures_util::future::join_all;

/// What is meant for the proxy itself and has a body: its media type, and what it is called.
const OF_THE_PROXY: [(&str, &str, &str); 3] = [
    ("/auth-token", "application/x-www-form-urlencoded", "A log-in"),
    ("/-/login", "application/x-www-form-urlencoded", "A form"),
    ("/-/api/purge", "application/json", "An action"),
];
const TIMEOUT: Duration = Duration::from_secs(1);

fn setup(lab: &Lab) -> Setup {
    Setup::new(&lab.url()).set("server.client_timeout", "1s").set("upstream.timeout", "3s")
}

/// Sends these bytes and reads what comes until the other side ends, or for so long.
fn raw(address: SocketAddr, bytes: &[u8], patience: Duration) -> (String, bool) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (mut said, start) = (Vec::new(), Instant::now());
    let mut buffer = vec![0; 65536];
    while start.elapsed() < patience {
        match stream.read(&mut buffer) {
            Ok(0) => return (String::from_utf8_lossy(&said).into_owned(), true),
            Ok(read) => said.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return (String::from_utf8_lossy(&said).into_owned(), true);
            }
            Err(_) => {}
        }
    }
    (String::from_utf8_lossy(&said).into_owned(), false)
}

/// What an administrator says to be one.
fn admin(proxy: &Proxy) -> String {
    format!("Bearer {}", std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap().trim())
}

fn status(said: &str) -> &str {
    said.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_can_send_has_limits() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("server.max_body", "10 kB").set("server.max_url", "2 KiB").start().await;
    let address = proxy.address();
    let head = |fields: &str| format!("GET /labs HTTP/1.1\r\nHost: lab\r\n{fields}\r\n");
    let ask = |request: String| raw(address, request.as_bytes(), Duration::from_secs(5)).0;
    // Its head: in bytes, and in fields.
    let many: String = (0..200).fold(String::new(), |all, n| format!("{all}x-{n}: y\r\n"));
    for (what, fields) in
        [("one large field", format!("x: {}\r\n", "y".repeat(200_000))), ("many fields", many)]
    {
        let said = ask(head(&fields));
        assert_eq!(status(&said), "431", "{what}: {said:.100}");
    }
    // Its address: in bytes, and in parameters.
    proxy.get(&format!("/labs?x={}", "y".repeat(3000))).await.expect(414);
    let parameters = |count: usize| (0..count).map(|_| "a&").collect::<String>();
    let setup = proxy.setup().clone().set("server.max_url", "64 KiB");
    drop(proxy);
    let proxy = setup.start().await;
    let refused = proxy.get(&format!("/labs?{}", parameters(1001))).await.expect(414);
    assert!(refused.text().contains("1002 parameters"), "{}", refused.text());
    proxy.get(&format!("/labs?{}", parameters(900))).await.expect(200);
    // Its body: as it says, and as it comes.
    let body = "x".repeat(10_001);
    proxy.client().ask("POST", "/notes").body("text/plain", body.clone()).send().await.expect(413);
    let chunked = format!(
        "POST /notes HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n2711\r\n{body}\r\n0\r\n\r\n",
        users::ONEUSER.authorization()
    );
    let (said, _) = raw(proxy.address(), chunked.as_bytes(), Duration::from_secs(3));
    assert_eq!(status(&said), "413", "{said}");
    // A log-in, an action, a form.
    let large = "x".repeat(100_000);
    for (path, kind, what) in OF_THE_PROXY {
        let ask = proxy.client().ask("POST", path).header("authorization", &admin(&proxy));
        let refused = ask.body(kind, large.clone()).send().await.expect(413);
        assert!(refused.text().contains(what), "{path}: {}", refused.text());
    }
    assert_eq!(lab.count("/notes"), 0, "none of that went on");
    assert_eq!(proxy.status().await["upstream"]["state"], "up");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_at_once_is_refused_at_once_with_when_to_come_again() {
    let lab = Lab::open().await;
    let proxy = setup(&lab)
        .set("server.max_requests", "20")
        .set("server.max_requests_per_client", "8")
        .set("server.trusted_proxies", "127.0.0.1")
        .set("upstream.timeout", "20s")
        .start()
        .await;
    let from = |address: &str, path: &str| {
        proxy.client().ask("GET", path).header("x-forwarded-for", address).header("cache-control", "no-cache")
    };
    from("10.0.0.1", "/labs").send().await.expect(200);
    lab.upstream.break_down(Fault::Slow(1500)).await;
    let start = Instant::now();
    // Each for something else, so that nobody shares.
    let asks = |address: &'static str, count: usize| {
        (0..count).map(move |n| (address, format!("/subjects/{}-{n}", address.replace('.', "-"))))
    };
    let all: Vec<_> = asks("10.0.0.1", 12).chain(asks("10.0.0.2", 8)).chain(asks("10.0.0.3", 8)).collect();
    let answers = join_all(all.iter().map(|(address, path)| from(address, path).send())).await;
    let of =
        |reason: &str| answers.iter().filter(|answer| answer.cache().get("detail") == Some(reason)).count();
    let (own, total) = (of("too-many-requests-of-one-client"), of("overload"));
    // Twenty of twenty-eight find a place, in whatever order they come; the one who asks for twelve gets eight at most.
    assert!(own + total == 8 && total >= 4, "{own} and {total}");
    for answer in &answers {
        if answer.status == 503 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert!(answer.elapsed < Duration::from_secs(1), "at once: {:?}", answer.elapsed);
        } else {
            assert_eq!(answer.status, 200, "{}", answer.describe());
        }
    }
    assert!(start.elapsed() >= Duration::from_millis(1400));
    // Whoever watches it sees that; and it is over when it is over.
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
    assert!(
        metrics.text().contains("alyx_proxy_requests_rejected_total{reason=\"overload\"}"),
        "{}",
        metrics.text()
    );
    assert!(metrics.text().contains("alyx_proxy_requests_in_flight 0"), "{}", metrics.text());
    lab.upstream.behave(Fault::None);
    from("10.0.0.1", "/subjects/again").send().await.expect(200);
}

/// Pages that ask Alyx, or have passwords tried, for anybody count as other requests do; the status is always there.
#[tokio::test(flavor = "multi_thread")]
async fn pages_that_cost_something_count_too() {
    let lab = Lab::open().await;
    let proxy = setup(&lab)
        .set("server.max_requests", "1")
        .set("upstream.timeout", "60s")
        .set("health.timeout", "60s")
        .start()
        .await;
    lab.upstream.behave(Fault::Slow(8000));
    let client = proxy.client();
    let slow = tokio::spawn(async move { client.get("/labs").await });
    until("one is under way", async || lab.count("/labs") == 1).await;
    let guest = proxy.client().anonymous();
    let form = guest.ask("POST", "/-/login").form(&[("username", "a"), ("password", "b")]);
    form.send().await.expect(503);
    guest.get("/-/explore/labs").await.expect(503);
    guest.get("/-/status").await.expect(200);
    slow.await.unwrap().expect(200);
}

/// One who asks for very much at once is not ahead of the others with all of it.
#[tokio::test(flavor = "multi_thread")]
async fn one_user_does_not_hold_up_the_others() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("upstream.timeout", "60s").set("upstream.concurrency", "4").start().await;
    for user in users::ALL {
        proxy.client().with(user).get("/labs").await.expect(200);
    }
    lab.upstream.break_down(Fault::Slow(200)).await;
    let greedy = proxy.client();
    let much = tokio::spawn(async move {
        let paths: Vec<String> = (0..60).map(|n| format!("/subjects/much-{n}")).collect();
        join_all(paths.iter().map(|path| greedy.get(path))).await
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    for n in 0..5 {
        let path = format!("/subjects/little-{n}");
        let before = lab.upstream.asked().len();
        proxy.client().with(users::ADMIN).get(&path).await.expect(200);
        let asked = lab.upstream.asked();
        let ahead = asked[before..].iter().position(|asked| asked.path() == path).unwrap();
        // At most two for each of the three places that the other one has, however slow this machine is.
        assert!(ahead <= 6, "{ahead}");
    }
    assert!(!much.is_finished(), "the other one is not done yet");
    for answer in much.await.unwrap() {
        answer.expect(200);
    }
}

/// How many requests are under way.
async fn under_way(proxy: &Proxy) -> usize {
    let metrics = proxy.client().anonymous().get("/-/metrics").await.expect(200);
    let text = metrics.text().lines().find_map(|line| line.strip_prefix("alyx_proxy_requests_in_flight "));
    text.unwrap().parse().unwrap()
}

/// What nobody waits for any more is not asked of Alyx, nor does it pile up.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_clients_that_went_before_their_turn_are_gone() {
    const GONE: usize = 60;
    let lab = Lab::open().await;
    let proxy = setup(&lab)
        .set("upstream.timeout", "60s")
        .set("upstream.concurrency", "1")
        .set("upstream.retries", "0")
        .start()
        .await;
    proxy.get("/labs").await.expect(200);
    // One has the only place, and no answer.
    lab.upstream.behave(Fault::Silence);
    let client = proxy.client();
    let first = tokio::spawn(async move { client.get("/subjects/first").await });
    until("the first one is at Alyx", async || lab.count("/subjects/first") == 1).await;
    let gone: Vec<TcpStream> = (0..GONE)
        .map(|n| {
            let mut stream = TcpStream::connect(proxy.address()).unwrap();
            let head = format!(
                "GET /subjects/gone-{n} HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\n\r\n",
                users::ONEUSER.authorization()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    until("all of them are here", async || under_way(&proxy).await == GONE + 1).await;
    drop(gone);
    until("all of them are gone", async || under_way(&proxy).await == 1).await;
    lab.upstream.restore().await;
    // Its connection was cut off.
    first.await.unwrap();
    proxy.until_upstream_is("up").await;
    for n in 0..20 {
        proxy.get(&format!("/subjects/next-{n}")).await.expect(200);
    }
    assert_eq!(lab.count_below("/subjects/gone"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_slow_uploads_leave_room_for_anothers() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("upstream.timeout", "5s").set("upstream.concurrency", "4").start().await;
    for user in users::ALL {
        proxy.client().with(user).get("/labs").await.expect(200);
    }
    let address = proxy.address();
    let (slow, said): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let upload = move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let token = users::ONEUSER.authorization();
                let head = format!("POST /notes HTTP/1.1\r\nHost: lab\r\nAuthorization: {token}\r\nContent-Length: 9000000\r\n\r\n");
                stream.write_all((head + &" ".repeat(70_000)).as_bytes()).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
                // More than the slowest that goes on (1 KiB/s), until something is said.
                while said.is_empty() && stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                    if stream.write_all(&[b' '; 1000]).is_err() {
                        break;
                    }
                    if let Ok(read) = stream.read(&mut buffer) {
                        said.extend_from_slice(&buffer[..read]);
                    }
                }
                String::from_utf8_lossy(&said).into_owned()
            };
            (stop, tokio::task::spawn_blocking(upload))
        })
        .unzip();
    until("both uploads are here", async || under_way(&proxy).await == 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for _ in 0..3 {
        let other = proxy.client().with(users::ADMIN).ask("POST", "/register-file");
        other.body("application/json", " ".repeat(100_000)).send().await.expect(201);
    }
    // The second one is told that too much is asked, not that Alyx is slow.
    until("one has its answer", async || said.iter().any(tokio::task::JoinHandle::is_finished)).await;
    drop(slow);
    let said = join_all(said).await.into_iter().map(Result::unwrap);
    let refused: Vec<String> = said.filter(|said| !said.is_empty()).map(|said| said.to_lowercase()).collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].starts_with("http/1.1 503") && refused[0].contains("retry-after: 5"),
        "{}",
        refused[0]
    );
    assert_eq!(proxy.status().await["upstream"]["state"], "up");
}
