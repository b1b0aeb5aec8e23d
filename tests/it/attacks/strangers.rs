//! Those whom Alyx has not accepted stand in a queue of their own: whatever they hold, users and their log-ins go on.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;

use super::WORKER;
use crate::support::{Fault, Lab, Proxy, Setup, until, users};

const MADE_UP: &str = "Authorization: Token 1111111111111111111111111111111111111111\r\n";

/// Brings a long body at just more than the slowest pace until told to stop; what it is told.
fn slow_upload(
    proxy: &Proxy,
    fields: &'static str,
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<String> {
    let (address, stop) = (proxy.address(), stop.clone());
    tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!("POST /notes HTTP/1.1\r\nHost: lab\r\n{fields}Content-Length: 900000000\r\n\r\n");
        stream.write_all((head + &" ".repeat(70_000)).as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        while said.is_empty() && !stop.load(Ordering::Relaxed) && stream.write_all(&[b' '; 400]).is_ok() {
            if let Ok(read) = stream.read(&mut buffer) {
                said.extend_from_slice(&buffer[..read]);
            }
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn their_slow_uploads_hold_up_no_user() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("upstream.timeout", "10s").start().await;
    proxy.client().with(WORKER).get("/labs").await.expect(200);
    let stop = Arc::new(AtomicBool::new(false));
    let uploads: Vec<_> = ["", MADE_UP, "", MADE_UP, "Cookie: sessionid=1\r\n"]
        .into_iter()
        .map(|fields| slow_upload(&proxy, fields, &stop))
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        let upload = proxy.client().with(WORKER).ask("POST", "/register-file");
        upload.body("application/json", " ".repeat(100_000)).send().await.expect(201);
    }
    // None of them has a place for longer than a request may take.
    until_ended(&uploads, Duration::from_secs(40)).await;
    stop.store(true, Ordering::Relaxed);
}

async fn until_ended<T>(tasks: &[tokio::task::JoinHandle<T>], patience: Duration) {
    let start = std::time::Instant::now();
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        assert!(start.elapsed() < patience, "they still go on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn their_requests_take_no_place_that_users_need() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("server.max_requests", "64")
        .set("server.trusted_proxies", "127.0.0.1")
        .start()
        .await;
    let client = proxy.client().with(WORKER);
    client.get("/labs").await.expect(200);
    lab.upstream.behave(Fault::Slow(300));
    let stop = Arc::new(AtomicBool::new(false));
    let guests: Vec<_> = (0..100)
        .map(|n| {
            let (address, stop) = (proxy.client().address(), stop.clone());
            tokio::spawn(async move {
                let guest = crate::support::Client::new(address);
                let token = if n % 2 == 0 { String::new() } else { format!("Token {n:040}") };
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let ask = guest.ask("GET", &format!("/subjects/{n}-{round}"));
                    let ask = ask.header("x-forwarded-for", &format!("10.0.{}.7", n % 10));
                    let ask = if token.is_empty() {
                        ask.without("authorization")
                    } else {
                        ask.header("authorization", &token)
                    };
                    let _ = ask.try_send().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    for n in 0..20 {
        client.get(&format!("/subjects/of-mine-{n}")).await.expect(200);
    }
    for user in [users::ADMIN, users::PUBLIC] {
        let log_in = proxy.client().anonymous().ask("POST", "/auth-token");
        let log_in = log_in.form(&[("username", user.name), ("password", user.password)]);
        log_in.header("x-forwarded-for", "10.0.99.1").send().await.expect(200);
    }
    proxy.client().anonymous().get("/-/health").await.expect(200);
    stop.store(true, Ordering::Relaxed);
    join_all(guests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_from_one_address_leave_the_pace_to_others() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("upstream.requests_per_minute", "60")
        .set("upstream.timeout", "5s")
        .set("server.trusted_proxies", "127.0.0.1")
        .start()
        .await;
    let log_in = |user: users::User, from: &str| {
        let ask = proxy.client().anonymous().ask("POST", "/auth-token").header("x-forwarded-for", from);
        ask.form(&[("username", user.name), ("password", user.password)])
    };
    let many: Vec<_> = (0..30).map(|_| tokio::spawn(log_in(WORKER, "10.0.0.1").send())).collect();
    let guests: Vec<_> = (0..30)
        .map(|n| {
            tokio::spawn(
                proxy
                    .client()
                    .anonymous()
                    .ask("GET", &format!("/subjects/{n}"))
                    .header("x-forwarded-for", "10.0.0.1")
                    .send(),
            )
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    log_in(users::ADMIN, "10.0.0.2").send().await.expect(200);
    join_all(many.into_iter().chain(guests)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn their_silent_connections_keep_nobody_out() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).with_files(1024).start().await;
    let client = proxy.client().with(WORKER);
    client.get("/labs").await.expect(200);
    rlimit::increase_nofile_limit(1 << 16).unwrap();
    let silent: Vec<TcpStream> = (0..800)
        .map(|n: usize| {
            let mut stream = TcpStream::connect(proxy.address()).unwrap();
            if n.is_multiple_of(2) {
                stream.write_all(b"GET /labs HTTP/1.1\r\nHost: l").unwrap();
            }
            stream
        })
        .collect();
    for n in 0..20 {
        proxy.client().anonymous().get("/-/health").await.expect(200);
        client.get(&format!("/subjects/of-mine-{n}")).await.expect(200);
    }
    drop(silent);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_show_a_good_token_are_all_served() {
    const MANY: usize = 2_000;
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).start().await;
    proxy.client().with(WORKER).get("/labs").await.expect(200);
    rlimit::increase_nofile_limit(1 << 16).unwrap();
    let head = format!(
        "GET /labs HTTP/1.1\r\nHost: lab\r\nAccept: application/json\r\nAuthorization: {}\r\n\r\n",
        WORKER.authorization()
    );
    let address = proxy.address();
    let served = tokio::task::spawn_blocking(move || {
        let mut all: Vec<TcpStream> = (0..MANY).map(|_| TcpStream::connect(address).unwrap()).collect();
        // A second time each: they are kept open.
        let mut served = 0;
        for _ in 0..2 {
            for stream in &mut all {
                stream.write_all(head.as_bytes()).unwrap();
                let mut said = vec![0; 4096];
                let read = stream.read(&mut said).unwrap();
                served += usize::from(said[..read].starts_with(b"HTTP/1.1 200"));
            }
        }
        served
    });
    assert_eq!(served.await.unwrap(), 2 * MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_heads_have_little_room() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).start().await;
    let client = proxy.client().with(WORKER);
    client.get("/labs").await.expect(200);
    rlimit::increase_nofile_limit(1 << 16).unwrap();
    let head = format!("GET /labs HTTP/1.1\r\nHost: lab\r\nx: {}", "y".repeat(100_000));
    let unfinished: Vec<TcpStream> = (0..1_500)
        .map(|_| {
            let mut stream = TcpStream::connect(proxy.address()).unwrap();
            // One for which there is no room is ended.
            let _ = stream.write_all(head.as_bytes());
            stream
        })
        .collect();
    for n in 0..5 {
        client.get(&format!("/subjects/of-mine-{n}")).await.expect(200);
    }
    until("most of them have ended", async || {
        let mut ended = 0;
        for mut stream in &unfinished {
            stream.set_nonblocking(true).unwrap();
            ended += usize::from(match stream.read(&mut [0; 512]) {
                Ok(_) => true,
                Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
            });
        }
        ended > 1_000
    })
    .await;
}
